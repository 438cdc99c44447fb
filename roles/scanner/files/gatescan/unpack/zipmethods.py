"""The ways in which a zip member may be packed, read out within the budget."""

from __future__ import annotations

import lzma
import struct

from gatescan.judging.budget import Budget
from gatescan.model import Buffer
from gatescan.unpack import common

_STORED, _DEFLATED, _BZIP2, _LZMA, _XZ = 0, 8, 12, 14, 95
_BY_LIBARCHIVE = frozenset((93, 98))
"""Zstandard and PPMd."""
METHODS = frozenset((_STORED, _DEFLATED, _BZIP2, _LZMA, _XZ)) | _BY_LIBARCHIVE


def expand(method: int, data: bytes, start: int, packed: int, size: int, budget: Budget) -> tuple[bytes, bool]:
    """A packed member's bytes, and whether its data ended properly.

    start, packed: where the packed data stands in `data`, and its length; size: as declared. Raises LimitReached.
    """
    view: Buffer = data if not start and packed == len(data) else memoryview(data)[start : start + packed]
    if method == _DEFLATED:
        out, unused, ended = common.inflate(view, budget)
        if not ended and len(out) <= common.MEMBER_MAX and start + packed < len(data):
            # Readers that ignore the packed size go on to where the stream ends.
            longer, _, whole = common.inflate(memoryview(data)[start:], budget)
            return (longer, False) if whole and len(longer) > len(out) else (out, False)
        return out, ended and not unused
    if method in (_BZIP2, _XZ):
        decoder = common.bzip2_decoder() if method == _BZIP2 else common.xz_decoder()
        out, unused, ended = common.decompress(decoder, bytes(view), budget)
        return out, ended and not unused
    if method == _LZMA:
        return _lzma(bytes(view), size, budget)
    return _by_libarchive(method, bytes(view), size, budget)


def _lzma(packed: bytes, size: int, budget: Budget) -> tuple[bytes, bool]:
    """LZMA in zip: a version, the length of the properties, the properties, then the bare stream."""
    if len(packed) < 9 or packed[2:4] != b"\x05\x00" or packed[4] >= 225:
        return b"", False
    properties, dictionary = packed[4], int.from_bytes(packed[5:9], "little")
    if dictionary > common.LZMA_MEMORY:
        return b"", False
    filters = [
        {
            "id": lzma.FILTER_LZMA1,
            "dict_size": max(4096, dictionary),
            "lc": properties % 9,
            "lp": properties // 9 % 5,
            "pb": properties // 45,
        }
    ]
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    except (lzma.LZMAError, ValueError):
        return b"", False
    out, _, ended = common.decompress(decoder, packed[9:], budget)
    return out, ended or len(out) == size


def _by_libarchive(method: int, packed: bytes, size: int, budget: Budget) -> tuple[bytes, bool]:
    """Hand the one member to libarchive, wrapped as a zip of its own."""
    from gatescan.unpack import archive  # rare, and it loads a shared library

    header = struct.pack("<4s5H3L2H", b"PK\x03\x04", 63, 0, method, 0, 0, 0, len(packed), size, 1, 0) + b"x"
    central = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 63, 63, 0, method, 0, 0, 0, len(packed), size, 1, *bytes(4), 0, 0
    )
    body = header + packed
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central) + 1, len(body), 0)
    return archive.single(body + central + b"x" + end, budget)
