"""Single compressed streams that the standard library reads: gzip, bzip2, xz and the older lzma."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from gatescan import filetype
from gatescan.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import common
from gatescan.unpack.archive import stripped
from gatescan.unpack.common import make, note, spellings, too_big, unique, unopenable

_SUFFIXES = {
    "gzip": (".gz", ".tgz"),
    "bzip2": (".bz2", ".tbz2", ".tbz"),
    "xz": (".xz", ".txz"),
    "lzma": (".lzma", ".tlz"),
}
_STREAMS_MAX = 1000


def members(part: Part, data: bytes, budget: Budget, kind: str) -> Iterator[Part]:
    """The one member: streams that follow one another belong together. Raises LimitReached."""
    names: list[str] = []
    blocks: list[bytes] = []
    size = 0
    rest: bytes = data
    ended = True
    count = 0
    while rest and count < _STREAMS_MAX and (not count or filetype.kind(rest) == kind):
        if kind == "gzip":
            names += _gzip_names(rest)
            block, rest, ended = common.inflate(rest, budget, zlib.MAX_WBITS | 16)
        else:
            decoder = common.bzip2_decoder() if kind == "bzip2" else common.xz_decoder()
            block, rest, ended = common.decompress(decoder, rest, budget)
        count += 1
        blocks.append(block)
        size += len(block)
        budget.tick()
        if size > common.MEMBER_MAX:
            too_big(part, "")
            return
        if not ended:
            break
    if not ended and not size:
        unopenable(part, f"a damaged file of type {kind}")
        return
    if not ended:
        note(part, Verdict.AMBIGUOUS, f"{kind}-damaged", "packed data that is damaged or cut off")
    content = blocks[0] if len(blocks) == 1 else b"".join(blocks)
    yield make(part, budget, unique(*names, *stripped(part.names, _SUFFIXES[kind])), content)
    yield from _trailing(part, rest, budget, kind)


def _trailing(part: Part, rest: bytes, budget: Budget, kind: str) -> Iterator[Part]:
    """Bytes behind the stream: padding is harmless, what could be opened is not."""
    rest = rest.lstrip(b"\x00")
    if len(rest) > 16 and filetype.kind(rest) not in ("data", "text"):
        note(part, Verdict.AMBIGUOUS, "trailing-data", f"{len(rest)} bytes behind the end of the {kind} stream")
        budget.spend(len(rest))
        yield make(part, budget, (), rest)


def _gzip_names(data: bytes) -> tuple[str, ...]:
    """The original name in a gzip header (RFC 1952), if there is one."""
    flags = data[3] if len(data) > 10 else 0
    at = 10
    if flags & 4:
        at += 2 + int.from_bytes(data[10:12], "little")
    if not flags & 8:
        return ()
    end = data.find(b"\x00", at, at + 4096)
    return spellings(data[at:end], utf8_first=False) if end > at else ()
