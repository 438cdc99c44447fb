"""Large bodies, looked at where they lie: a message of 25 MB is there once, in the memory file that it came in.

A small body is bytes; a large one that isn't encoded is a view of the message. What can only be done with
bytes is done a block at a time.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator

from gatescan.model import Buffer

BLOCK = 1_000_000
"""Bytes that are copied at a time. A smaller body is copied wholly, as that is quicker."""


def piece(data: Buffer, start: int, end: int) -> Buffer:
    """data[start:end]: a copy if it is small, else a view."""
    return data[start:end] if end - start <= BLOCK else memoryview(data)[start:end]


def blocks(data: Buffer, last: bytes) -> Iterator[bytes]:
    """`data` in pieces of at least BLOCK bytes that end with the byte `last`, but for the last piece."""
    cut = re.compile(re.escape(last))
    start = 0
    while start < len(data):
        found = cut.search(data, start + BLOCK)
        end = found.end() if found else len(data)
        yield bytes(data[start:end])
        start = end


def windows(data: Buffer, overlap: int = 0) -> Iterator[bytes]:
    """Copies of all of `data`, one after another; two neighbours share `overlap` bytes."""
    for start in range(0, len(data), BLOCK):
        yield bytes(data[start : start + BLOCK + overlap])


def holds(data: Buffer, word: bytes) -> bool:
    """Whether `word` stands anywhere in `data`."""
    if isinstance(data, bytes):
        return word in data
    if isinstance(data, mmap.mmap):
        return data.find(word) >= 0
    return any(word in window for window in windows(data, len(word)))
