"""Macintosh wrappings: AppleSingle, AppleDouble (RFC 1740) and MacBinary."""

from __future__ import annotations

from gatescan.text.words import text

_SINGLE = b"\x00\x05\x16\x00"
_DOUBLE = b"\x00\x05\x16\x07"
_DATA_FORK, _RESOURCE_FORK, _REAL_NAME = 1, 2, 3
_MAX_ENTRIES = 32


def is_apple_file(data: bytes) -> bool:
    """Whether `data` begins as AppleSingle or AppleDouble."""
    return data[:4] in (_SINGLE, _DOUBLE)


def forks(data: bytes) -> list[tuple[str, bytes]]:
    """The forks of an AppleSingle or AppleDouble file; what is cut off is shorter. The name is that of the data."""
    name, found = "", []
    for i in range(min(int.from_bytes(data[24:26], "big"), _MAX_ENTRIES)):
        entry = data[26 + 12 * i : 38 + 12 * i]
        kind, offset, size = (int.from_bytes(entry[j : j + 4], "big") for j in (0, 4, 8))
        content = data[offset : offset + size]
        if kind == _REAL_NAME:
            name = text(content[:255])
        elif kind in (_DATA_FORK, _RESOURCE_FORK) and content:
            found.append((kind, content))
    return [(name if kind == _DATA_FORK else "", content) for kind, content in found]


def macbinary(data: bytes) -> tuple[str, bytes] | None:
    """(name, data fork) of a MacBinary file; None if `data` is none."""
    if len(data) < 128 or data[0] or not 1 <= data[1] <= 63 or data[74] or data[82]:
        return None
    size = int.from_bytes(data[83:87], "big")
    if not 0 < size <= len(data) - 128:
        return None
    return text(data[2 : 2 + data[1]], "macintosh"), data[128 : 128 + size]
