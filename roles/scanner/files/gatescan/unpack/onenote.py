"""OneNote sections (MS-ONESTORE): the files that a click in the note opens."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatescan.judging import filetype
from gatescan.judging.budget import Budget
from gatescan.model import Part
from gatescan.unpack.common import make, spend_within, unique

_FILE_DATA = bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac")
_TEXT = re.compile(rb"(?:[^\x00-\x1f\"*/:<>?\\|]\x00){3,300}+")
"""A run of UTF-16 without what no file name has; possessive, so that the cost stays linear."""
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")
_NAMES_MAX = 200


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The embedded files, and the file names in the section: the format ties the two loosely, so each file that is
    no image goes by all of them. Raises LimitReached."""
    blobs: list[bytes] = []
    at = data.find(_FILE_DATA)
    while at >= 0:
        budget.tick()
        start = at + 36
        size = int.from_bytes(data[at + 16 : at + 24], "little")
        size = min(size, len(data) - start)
        if size > 0 and spend_within(part, budget, "", size):
            blobs.append(data[start : start + size])
        at = data.find(_FILE_DATA, at + 16)
    names: tuple[str, ...] = ()
    if any(filetype.kind(blob) not in filetype.IMAGES for blob in blobs):
        found = (match.group().decode("utf-16-le", "replace") for match in _TEXT.finditer(data))
        names = unique(*(text for text in found if _SUFFIX.search(text)))[:_NAMES_MAX]
    for blob in blobs:
        image = filetype.kind(blob) in filetype.IMAGES
        yield make(part, budget, () if image else names, blob)
