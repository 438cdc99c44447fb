"""Single compressed streams that the standard library reads: gzip, bzip2, xz and the older lzma."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gatescan.judging import filetype
from gatescan.judging.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import common
from gatescan.unpack.archive import stripped
from gatescan.unpack.common import Decompressor, make, note, spellings, too_big, unique, unopenable

_FEED = 1 << 16
"""Bytes that a decoder gets at a time: what is left of them at a stream's end is all that is copied."""


class _Gzip:
    """zlib's decoder with the interface of those of bz2 and lzma."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))


_DECODERS: dict[str, Callable[[], Decompressor]] = {
    "gzip": _Gzip,
    "bzip2": common.bzip2_decoder,
    "xz": common.xz_decoder,
    "lzma": common.xz_decoder,
}


@dataclass(frozen=True, slots=True)
class _Stream:
    """One of the streams that follow one another. end: where the next begins; whole: it ended properly."""

    names: tuple[str, ...]
    content: bytes
    end: int
    whole: bool


def members(part: Part, data: bytes, budget: Budget, kind: str) -> Iterator[Part]:
    """The one member: streams that follow one another belong together. Those of gzip that have a name of their own
    are members, too, as some programs unpack each by its name. Raises LimitReached."""
    streams: list[_Stream] = []
    size = at = 0
    while at < len(data) and (not streams or filetype.kind(memoryview(data)[at:]) == kind):
        stream = _read(data, at, budget, kind)
        at = stream.end
        size += len(stream.content)
        if size > common.MEMBER_MAX:
            too_big(part, "")
            return
        streams.append(stream)
        if not stream.whole:
            break
    if not streams or not (streams[-1].whole or size):
        unopenable(part, f"a damaged file of type {kind}")
        return
    if not streams[-1].whole:
        note(part, Verdict.AMBIGUOUS, f"{kind}-damaged", "packed data that is damaged or cut off")
    content = streams[0].content if len(streams) == 1 else b"".join(stream.content for stream in streams)
    names = (name for stream in streams for name in stream.names)
    yield make(part, budget, unique(*names, *stripped(part.names)), content)
    if len(streams) > 1:
        for stream in streams:
            if stream.names and stream.content:
                yield make(part, budget, stream.names, stream.content)
    yield from _trailing(part, data[at:], budget, kind)


def _read(data: bytes, start: int, budget: Budget, kind: str) -> _Stream:
    """The stream that begins at `start`; of a broken one, what was readable. Raises LimitReached."""
    names = _gzip_names(data[start : start + 70_000]) if kind == "gzip" else ()
    decoder = _DECODERS[kind]()
    blocks: list[bytes] = []
    size, at, allowed = 0, start, common.room(budget)
    try:
        while not decoder.eof and size < allowed:
            feed = data[at : at + _FEED] if decoder.needs_input else b""
            at += len(feed)
            block = decoder.decompress(feed, min(common.BLOCK, allowed - size))
            budget.spend(len(block))
            budget.tick()
            size += len(block)
            blocks.append(block)
            if not block and not feed and decoder.needs_input:
                break
    except zlib.error:
        content = common.inflate_broken(memoryview(data)[start:], allowed, zlib.MAX_WBITS | 16)
        budget.spend(max(0, len(content) - size))
        return _Stream(names, content, len(data), False)
    except (OSError, ValueError, EOFError, lzma.LZMAError, MemoryError):
        return _Stream(names, b"".join(blocks), len(data), False)
    end = at - len(decoder.unused_data) if decoder.eof else at
    return _Stream(names, blocks[0] if len(blocks) == 1 else b"".join(blocks), end, decoder.eof)


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
