"""ISO 9660 images (ECMA-119) with Joliet and Rock Ridge names, read by every tree that they carry.

A reader of our own because libarchive's follows a chain of Rock Ridge continuation areas (`CE`) that leads back to
itself until the memory is used up, and then ends the process. Here a record follows a bounded number of areas.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from gatescan.judging import filetype
from gatescan.judging.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack.common import check_name, make, note, spellings, spend_within, unique, unopenable

_SECTOR = 2048
_FIRST = 16
_DESCRIPTORS_MAX = 64
_DIRECTORY, _MORE = 0x02, 0x80
_AREAS_MAX = 32
"""Continuation areas that one record may have: a name of 255 characters needs one or two."""
_NAME_MAX = 4096
_DEPTH_MAX = 64
_JOLIET = (b"%/@", b"%/C", b"%/E")
_PACKED = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"
"""What a file that was packed by mkzftree (zisofs) begins with."""


@dataclass(slots=True)
class _Record:
    """A directory record: where its bytes stand (first block, size in bytes), flags, name, system use area."""

    block: int
    size: int
    flags: int
    raw: bytes
    system: bytes


@dataclass(slots=True)
class _File:
    """A file of one tree, with its path by that tree's own names and, where it has them, by Rock Ridge's."""

    names: tuple[str, ...]
    pieces: list[tuple[int, int]]
    packed: bool = False
    link: bool = False


@dataclass(frozen=True, slots=True)
class _Volume:
    """A volume descriptor's tree. wide: its names are UTF-16 (Joliet)."""

    root: _Record
    block: int
    wide: bool


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The files of every tree; what was seen by the same name before is not yielded again. Raises LimitReached."""
    if filetype.has_udf(data):
        note(part, Verdict.POLICY, "cannot-open", "a disk image with a UDF file system, which nothing here can read")
    seen: set[tuple[tuple[str, ...], int, int]] = set()
    contents: list[set[tuple[int, int]]] = []
    whole = False
    for volume in _volumes(data):
        shown: set[tuple[int, int]] = set()
        whole = whole or _record(data, volume.root.block * volume.block) is not None
        for file in _files(part, data, budget, volume):
            content = _content(part, data, budget, volume, file)
            mark = (len(content or b""), zlib.crc32(content or b""))
            shown.add(mark)
            if (file.names, *mark) not in seen:
                seen.add((file.names, *mark))
                yield make(part, budget, file.names, content or b"", sealed=content is None)
        contents.append(shown)
    if any(shown != contents[0] for shown in contents):
        note(part, Verdict.AMBIGUOUS, "iso-trees-differ", "a disk image which shows other files to other systems")
    if not whole:
        unopenable(part, "a disk image without a readable directory")


def _volumes(data: bytes) -> Iterator[_Volume]:
    """The primary volume and those beside it: Joliet's, and the enhanced one of ISO 9660:1999."""
    for sector in range(_FIRST, _FIRST + _DESCRIPTORS_MAX):
        block = data[sector * _SECTOR : (sector + 1) * _SECTOR]
        if block[1:6] != b"CD001" or block[0] == 255:
            return
        if block[0] in (1, 2) and (root := _record(block, 156)) is not None:
            size = int.from_bytes(block[128:130], "little") or _SECTOR
            yield _Volume(root, size, block[0] == 2 and block[88:91] in _JOLIET)


def _record(data: bytes, at: int) -> _Record | None:
    """The directory record at `at`; None when there is none."""
    size = data[at] if at < len(data) else 0
    body = data[at : at + size]
    if size < 34 or len(body) < size:
        return None
    end = 33 + body[32]
    block = int.from_bytes(body[2:6], "little") + body[1]
    return _Record(block, int.from_bytes(body[10:14], "little"), body[25], body[33:end], body[end + end % 2 :])


def _files(part: Part, data: bytes, budget: Budget, volume: _Volume) -> Iterator[_File]:
    """Every file below the root; a directory that was read before is passed over."""
    todo: list[tuple[_Record, tuple[str, ...], int]] = [(volume.root, ("",), 0)]
    seen: set[int] = set()
    skip = _suspension(data, volume)
    while todo:
        directory, paths, depth = todo.pop()
        if directory.block in seen or depth > _DEPTH_MAX:
            continue
        seen.add(directory.block)
        before: _File | None = None
        for record in _records(data, volume, directory):
            budget.tick()
            names, packed, link = _names(data, volume, record, skip)
            if record.flags & _DIRECTORY:
                budget.part()
                todo.append((record, _joined(paths, names, "/"), depth + 1))
                continue
            place = (record.block * volume.block, record.size)
            if before is not None:
                before.pieces.append(place)
            else:
                before = _File(_joined(paths, names, ""), [place], packed, link)
                check_name(part, before.names[0] if before.names else "")
            if not record.flags & _MORE:
                yield before
                before = None
        if before is not None:
            yield before


def _joined(paths: tuple[str, ...], names: tuple[str, ...], end: str) -> tuple[str, ...]:
    """A member's paths. Of a folder's spellings the last (Rock Ridge's, if it has one) is enough."""
    return unique(*(f"{paths[-1]}{name}{end}" for name in names))


def _records(data: bytes, volume: _Volume, directory: _Record) -> Iterator[_Record]:
    """The records of a directory without those for itself and its parent; none crosses a sector's end."""
    start = directory.block * volume.block
    end = min(start + directory.size, len(data))
    at = start
    while at < end:
        record = _record(data, at)
        if record is None:
            at = start + ((at - start) // _SECTOR + 1) * _SECTOR
            continue
        if record.raw not in (b"\x00", b"\x01"):
            yield record
        at += data[at]


def _suspension(data: bytes, volume: _Volume) -> int:
    """Bytes in front of each system use area, as the root's own record says (SP)."""
    own = _record(data, volume.root.block * volume.block)
    if own is not None and own.system[:2] == b"SP" and own.system[4:6] == b"\xbe\xef":
        return own.system[6] if len(own.system) > 6 else 0
    return 0


def _names(data: bytes, volume: _Volume, record: _Record, skip: int) -> tuple[tuple[str, ...], bool, bool]:
    """A record's own name and Rock Ridge's; whether its data is packed; whether it is a link."""
    raw = record.raw
    if volume.wide:
        text = raw.decode("utf-16-be", "replace")
        return (_plain(text),), False, False
    own = tuple(_plain(name) for name in spellings(raw))
    name = b""
    packed = link = False
    for tag, body in _system_use(data, volume, record.system[skip:]):
        if tag == b"NM" and body and not body[0] & 6 and len(name) < _NAME_MAX:
            name += body[1:]
        elif tag == b"ZF":
            packed = True
        elif tag == b"SL":
            link = True
    return unique(*own, *spellings(name)), packed, link


def _plain(name: str) -> str:
    """A name without its version, and without the dot of an empty extension."""
    stem, mark, version = name.rpartition(";")
    if mark and version.isdigit():
        name = stem
    return name.removesuffix(".")


def _system_use(data: bytes, volume: _Volume, area: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a system use area and of those that continue it; an area is read once."""
    seen: set[tuple[int, int]] = set()
    while area:
        following = b""
        at = 0
        while at + 4 <= len(area) and 4 <= area[at + 2] <= len(area) - at:
            tag, body = area[at : at + 2], area[at + 4 : at + area[at + 2]]
            if tag == b"ST":
                break
            if tag == b"CE" and len(body) >= 24:
                start = int.from_bytes(body[:4], "little") * volume.block + int.from_bytes(body[8:12], "little")
                length = min(int.from_bytes(body[16:20], "little"), _SECTOR)
                if (start, length) not in seen and len(seen) < _AREAS_MAX:
                    seen.add((start, length))
                    following = data[start : start + length]
            else:
                yield tag, body
            at += area[at + 2]
        area = following


def _content(part: Part, data: bytes, budget: Budget, volume: _Volume, file: _File) -> bytes | None:
    """A file's bytes; None, with a finding, when they can't be read."""
    shown = file.names[0] if file.names else ""
    if file.link:
        return b""
    there = [(start, max(0, min(length, len(data) - start))) for start, length in file.pieces]
    if there != file.pieces:
        note(part, Verdict.POLICY, "unopenable", "a file that lies outside the image, or is cut off", shown)
    if not spend_within(part, budget, shown, sum(length for _, length in there)):
        return None
    content = b"".join(data[start : start + length] for start, length in there)
    if file.packed and content.startswith(_PACKED):
        note(part, Verdict.POLICY, "cannot-open", "a file packed by zisofs, which nothing here can read", shown)
        return None
    return content
