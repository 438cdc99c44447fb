"""The headers of a RAR archive (versions 1.5 to 4, and 5): names, volumes and encryption, not the content.

Source: RARLAB's technote.txt for both formats. libarchive reads the content, but says nothing of volumes and gives up
at the first encrypted member.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_ENTRIES_MAX = 5000
_MARK4 = b"Rar!\x1a\x07\x00"
_MARK5 = b"Rar!\x1a\x07\x01\x00"


@dataclass(frozen=True, slots=True)
class RarEntry:
    """A file header: its raw name and its flags."""

    raw: bytes
    encrypted: bool
    directory: bool


@dataclass(slots=True)
class Listing:
    """What the headers say. volume: it is one of a set; sealed: the headers themselves are encrypted."""

    volume: bool = False
    sealed: bool = False
    entries: list[RarEntry] = field(default_factory=list)


def read(data: bytes) -> Listing:
    """The listing of the archive that starts at the first byte; what can't be read ends it, without an error."""
    listing = Listing()
    try:
        if data.startswith(_MARK5):
            _read5(data, listing)
        elif data.startswith(_MARK4):
            _read4(data, listing)
    except (struct.error, IndexError):
        pass
    return listing


def _read4(data: bytes, listing: Listing) -> None:
    at = len(_MARK4)
    while at + 7 <= len(data) and len(listing.entries) < _ENTRIES_MAX:
        _, kind, flags, size = struct.unpack_from("<HBHH", data, at)
        if size < 7:
            return
        packed = struct.unpack_from("<L", data, at + 7)[0] if flags & 0x8000 or kind == 0x74 else 0
        if kind == 0x73:
            listing.volume = bool(flags & 0x0001)
            if flags & 0x0080:
                listing.sealed = True
                return
        elif kind == 0x74:
            name_size, _ = struct.unpack_from("<HL", data, at + 26)
            name_at = at + 32
            if flags & 0x0100:
                packed += struct.unpack_from("<L", data, name_at)[0] << 32
                name_at += 8
            raw = data[name_at : name_at + name_size].partition(b"\x00")[0]
            listing.entries.append(RarEntry(raw, bool(flags & 0x0004), flags & 0x00E0 == 0x00E0))
            listing.volume = listing.volume or bool(flags & 0x0003)
        elif kind == 0x7B:
            return
        at += size + packed


def _read5(data: bytes, listing: Listing) -> None:
    at = len(_MARK5)
    while at + 6 < len(data) and len(listing.entries) < _ENTRIES_MAX:
        size, body = _vint(data, at + 4)
        end = body + size
        kind, place = _vint(data, body)
        flags, place = _vint(data, place)
        extra = packed = 0
        if flags & 1:
            extra, place = _vint(data, place)
        if flags & 2:
            packed, place = _vint(data, place)
        if kind == 1:
            listing.volume = bool(_vint(data, place)[0] & 1)
        elif kind == 2:
            listing.entries.append(_file5(data, place, end, extra))
            listing.volume = listing.volume or bool(flags & 0x18)
        elif kind == 4:
            listing.sealed = True
            return
        elif kind == 5:
            return
        at = end + packed


def _file5(data: bytes, place: int, end: int, extra: int) -> RarEntry:
    flags, place = _vint(data, place)
    _, place = _vint(data, place)
    _, place = _vint(data, place)
    place += (4 if flags & 2 else 0) + (4 if flags & 4 else 0)
    _, place = _vint(data, place)
    _, place = _vint(data, place)
    length, place = _vint(data, place)
    return RarEntry(data[place : place + length], _has_crypt(data, end - extra, end), bool(flags & 1))


def _has_crypt(data: bytes, place: int, end: int) -> bool:
    """Whether the extra area has an encryption record."""
    while 0 <= place < end:
        size, body = _vint(data, place)
        if _vint(data, body)[0] == 1:
            return True
        place = body + size
        if not size:
            break
    return False


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number and the place behind it. Raises IndexError past the end."""
    value = shift = 0
    while shift <= 63:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            break
        shift += 7
    return value, at
