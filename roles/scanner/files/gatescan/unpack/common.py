"""What every reader of a container uses: making members and findings, bounded decompression, names from raw bytes."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Protocol

from gatescan.errors import GatescanError
from gatescan.judging.budget import Budget
from gatescan.judging.names import MAX_LENGTH, longest_piece
from gatescan.model import Buffer, Finding, Part, Verdict
from gatescan.text import printable

MEMBER_MAX = 50_000_000
"""Bytes of one member that are ever held; a bigger one is a `limit` finding."""
BLOCK = 1 << 20
"""Bytes asked for at a time from a decompressor that may give much for little."""
FINDINGS_MAX = 50
"""Findings kept for one container: a hostile one may earn thousands of the same."""
LZMA_MEMORY = 100_000_000
"""Bytes an LZMA decoder may take for its dictionary."""


class Broken(GatescanError):
    """The container contradicts its own format; the text says how. Never leaves this package."""


class Decompressor(Protocol):
    """What bz2 and lzma decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def note(part: Part, verdict: Verdict, code: str, detail: str, member: str = "") -> None:
    """Add a finding to a container; `member` is the name of the member that it is about."""
    path = f"{part.path}/{printable(member)}" if member else part.path
    if len(part.findings) < FINDINGS_MAX and not any(f.code == code and f.part == path for f in part.findings):
        part.findings.append(Finding(verdict, code, detail, path))


def unopenable(part: Part, detail: str) -> None:
    """Say that a client might still show what we could not read."""
    note(part, Verdict.POLICY, "unopenable", detail)


def too_big(part: Part, member: str) -> None:
    note(part, Verdict.LIMIT, "member-size", f"a member of more than {MEMBER_MAX} bytes", member)


def make(part: Part, budget: Budget, names: tuple[str, ...], data: Buffer, sealed: bool = False) -> Part:
    """A member of `part`, counted as a part. Its bytes were accounted for when they were read out."""
    budget.part()
    label = printable(names[0]) if names else "?"
    return Part(f"{part.path}/{label}", names, "", data, part.depth + 1, sealed)


def spend_within(part: Part, budget: Budget, name: str, size: int) -> bool:
    """Account for `size` bytes of a member; False, with a finding, when it is too big to be looked at."""
    if size > MEMBER_MAX:
        too_big(part, name)
        return False
    budget.spend(size)
    return True


def room(budget: Budget) -> int:
    """Bytes a single read may give: one more than allowed, so that going over is seen."""
    return min(MEMBER_MAX, budget.bytes_left) + 1


def inflate(data: Buffer, budget: Budget, wbits: int = -15) -> tuple[bytes, bytes, bool]:
    """Inflate one stream: what came out, the bytes after the stream, and whether it ended properly.

    Returns more than MEMBER_MAX bytes never but for one; the caller sees that it is too big. Raises LimitReached.
    A broken stream gives what was readable.
    """
    decoder = zlib.decompressobj(wbits)
    allowed = room(budget)
    try:
        out = decoder.decompress(data, allowed)
    except zlib.error:
        out = inflate_broken(data, allowed, wbits)
        budget.spend(len(out))
        return out, b"", False
    budget.spend(len(out))
    return out, decoder.unused_data, decoder.eof


def inflate_broken(data: Buffer, allowed: int, wbits: int) -> bytes:
    """What comes out of a stream before the place where it breaks; fed in small bites to get near to it."""
    decoder = zlib.decompressobj(wbits)
    out = bytearray()
    try:
        for start in range(0, len(data), 64):
            out += decoder.decompress(bytes(data[start : start + 64]), max(1, allowed - len(out)))
            if len(out) >= allowed:
                break
    except zlib.error:
        pass
    return bytes(out)


def decompress(decoder: Decompressor, data: bytes, budget: Budget) -> tuple[bytes, bytes, bool]:
    """Like `inflate`, for bz2 and lzma decoders."""
    out: list[bytes] = []
    size = 0
    allowed = room(budget)
    feed = data
    try:
        while not decoder.eof and size < allowed:
            block = decoder.decompress(feed, min(BLOCK, allowed - size))
            feed = b""
            budget.spend(len(block))
            budget.tick()
            size += len(block)
            out.append(block)
            if not block and decoder.needs_input:
                break
    except (OSError, ValueError, EOFError, lzma.LZMAError, MemoryError):
        return b"".join(out), b"", False
    return b"".join(out), decoder.unused_data if decoder.eof else b"", decoder.eof


def bzip2_decoder() -> Decompressor:
    return bz2.BZ2Decompressor()


def xz_decoder() -> Decompressor:
    """For .xz and the older .lzma."""
    return lzma.LZMADecompressor(format=lzma.FORMAT_AUTO, memlimit=LZMA_MEMORY)


def spellings(raw: bytes, utf8_first: bool = True) -> tuple[str, ...]:
    """The readings of a name without a declared charset: UTF-8 where it is that, and the old DOS code page."""
    if raw.isascii():
        text = raw.decode("ascii")
        return (text, text.partition("\x00")[0]) if "\x00" in text else (text,)
    dos = raw.decode("cp437")
    try:
        utf8 = raw.decode("utf-8")
    except UnicodeDecodeError:
        return (dos, raw.decode("latin-1"))
    if len(dos) > MAX_LENGTH and longest_piece(dos) > MAX_LENGTH >= longest_piece(utf8):
        return (utf8,)  # in the old code page three times as long, which no system takes
    names = (utf8, dos) if utf8_first else (dos, utf8)
    return unique(*names, *(name.partition("\x00")[0] for name in names if "\x00" in name))


def unique(*names: str) -> tuple[str, ...]:
    """The names in their order, each once, without empty ones."""
    return tuple(dict.fromkeys(name for name in names if name))


def check_name(part: Part, name: str) -> None:
    """A member that wants to be written outside the folder that it is unpacked to is against policy."""
    if ".." in name and ".." in name.replace("\\", "/").split("/"):
        note(part, Verdict.POLICY, "path-traversal", "a member's name leads out of the archive", name)


def as_text(data: Buffer) -> str:
    """XML as text, by its mark or by its zeros."""
    data = bytes(data)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in data[:4]:
        return data.decode("utf-16-be" if data[:1] in (b"\xfe", b"\x00") else "utf-16-le", "replace")
    return data.decode("utf-8", "replace")
