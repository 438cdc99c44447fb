"""Zip, read as every reader might: by the central directory, by the local headers, and by what stands outside both.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.6. Where two readings differ in what they show, each is yielded
and the container gets an `ambiguous` finding.
"""

from __future__ import annotations

import bisect
import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from gatescan.judging.budget import Budget
from gatescan.model import Buffer, Part, Verdict
from gatescan.unpack.common import (
    MEMBER_MAX,
    Broken,
    check_name,
    make,
    note,
    spellings,
    spend_within,
    too_big,
    unique,
    unopenable,
)
from gatescan.unpack.zipmethods import METHODS, expand

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_SAT16 = 0xFFFF
_SAT32 = 0xFFFFFFFF
_ENCRYPTED = 0x0001
_DESCRIPTOR = 0x0008
_MASKED = 0x2000
_UTF8 = 0x0800
_AES = 99
_KNOWN_METHODS = frozenset((*METHODS, _AES))
"""Four bytes that look like the mark of a local header are one if the method is one of these."""
_TAIL = 22 + 65535
_SLACK = 64
"""Bytes around the archive that some honest tools leave: padding, line ends."""


@dataclass(slots=True)
class Entry:
    """One header's word about a member; sizes and offsets in bytes."""

    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    names: tuple[str, ...]
    data_start: int = 0


@dataclass(slots=True)
class Directory:
    """A central directory and what it says. start: where it stands; base: what to add to its offsets."""

    start: int
    end: int
    base: int
    entries: list[Entry] = field(default_factory=list)


def members(part: Part, data: bytes, budget: Budget, directories: list[Directory]) -> Iterator[Part]:
    """The members of every reading of the zip in `data`; bytes in front of it and behind it are allowed."""
    covered: list[tuple[int, int]] = []
    found = 0
    for directory in directories:
        covered.append((directory.start, directory.end))
        for entry in directory.entries:
            budget.tick()
            found += 1
            yield from _listed(part, data, budget, entry, directory, covered)
    for member in _unlisted(part, data, budget, covered, bool(directories)):
        found += 1
        yield member
    if not found and not (directories and not directories[0].entries):
        unopenable(part, "a zip file without any readable member")


def find_end(data: Buffer) -> int:
    """Where the last end record stands that points to a central directory; -1 if there is none near the end."""
    low = max(0, len(data) - _TAIL)
    tail = bytes(data[low:])
    for at in reversed(_places(tail, b"PK\x05\x06")):
        fields = tail[at : at + _END.size]
        if len(fields) < _END.size:
            continue
        _, _, _, _, count, size, offset, _ = _END.unpack(fields)
        for start in (low + at - size, offset):
            if count and start >= 0 and bytes(data[start : start + 4]) == b"PK\x01\x02":
                return low + at
    return -1


def directories(part: Part, data: bytes) -> list[Directory]:
    """Every central directory, the one that most readers take (the last) first."""
    found: list[Directory] = []
    places: list[tuple[int, int]] = []
    for at in reversed(_places(data, b"PK\x05\x06")):
        if len(data) - at < 22 or (found and _inside(at, data, found[0].base, places)):
            continue
        disk = int.from_bytes(data[at + 4 : at + 6], "little")
        if disk not in (0, _SAT16) and not found:
            note(part, Verdict.POLICY, "lone-volume", f"volume {disk + 1} of a set of zip volumes")
        for directory in _readings(part, data, at):
            if any(directory.start == other.start for other in found):
                continue
            if found:
                note(part, Verdict.AMBIGUOUS, "zip-two-directories", "a zip with more than one directory")
            else:
                places = sorted((entry.offset, entry.packed) for entry in directory.entries)
                _check_tail(part, data, at)
            _check_overlap(part, directory)
            found.append(directory)
    return found


def _places(data: bytes, mark: bytes) -> list[int]:
    """Where `mark` stands, at most the last 64 places."""
    places: list[int] = []
    at = data.find(mark)
    while at >= 0:
        places.append(at)
        at = data.find(mark, at + 4)
    return places[-64:]


def _inside(at: int, data: bytes, base: int, places: list[tuple[int, int]]) -> bool:
    """Whether a record stands in a member's data: then it belongs to a zip in the zip. places: offset and packed size
    of each member, in order; between them stand a header, a name and an extra field of any length."""
    number = bisect.bisect_right(places, at - base, key=lambda place: place[0]) - 1
    if number < 0:
        return False
    offset, packed = places[number]
    start = offset + base
    names = int.from_bytes(data[start + 26 : start + 28], "little")
    names += int.from_bytes(data[start + 28 : start + 30], "little")
    return at < start + _LOCAL.size + names + packed


def _check_overlap(part: Part, directory: Directory) -> None:
    """Members that lie over one another (a bomb), and names that come twice: readers show the one or the other."""
    ordered = sorted(directory.entries, key=lambda e: e.offset)
    for first, second in itertools.pairwise(ordered):
        if first.offset + _LOCAL.size + first.packed > second.offset:
            note(part, Verdict.AMBIGUOUS, "zip-overlap", "members that lie over one another")
            break
    if len({e.raw for e in ordered}) < len(ordered):
        note(part, Verdict.AMBIGUOUS, "same-name-twice", "two members of the same name")


def _readings(part: Part, data: bytes, at: int) -> list[Directory]:
    """The directories that one end record may mean: its own word and that of a zip64 record before it."""
    plain = _directory_at(data, at)
    zip64 = _directory64_at(data, at)
    saturated = _SAT16 in _END.unpack_from(data, at)[3:5] or _SAT32 in _END.unpack_from(data, at)[5:7]
    if zip64 is not None and plain is not None and not saturated and zip64.start != plain.start:
        note(
            part,
            Verdict.AMBIGUOUS,
            "zip64-mismatch",
            "the zip64 record and the plain one name different directories",
        )
    found = [d for d in ((zip64, plain) if saturated else (plain, zip64)) if d is not None]
    if saturated and zip64 is not None:
        found = [zip64]
    for directory in found:
        _read_entries(data, directory)
    return [d for d in found if d.entries or d.start == d.end]


def _directory_at(data: bytes, at: int) -> Directory | None:
    if len(data) - at < _END.size:
        return None
    _, _, _, _, count, size, offset, _ = _END.unpack_from(data, at)
    return _located(data, at, count, size, offset)


def _directory64_at(data: bytes, at: int) -> Directory | None:
    """The directory of a zip64 end record, by its locator in front of the plain end record."""
    place = at - _LOCATOR.size
    if place < 0 or data[place : place + 4] != b"PK\x06\x07":
        return None
    _, _, offset, _ = _LOCATOR.unpack_from(data, place)
    record = offset if data[offset : offset + 4] == b"PK\x06\x06" else data.rfind(b"PK\x06\x06", 0, place)
    if record < 0 or len(data) - record < _END64.size:
        return None
    fields = _END64.unpack_from(data, record)
    return _located(data, record, fields[7], fields[8], fields[9])


def _located(data: bytes, end: int, count: int, size: int, offset: int) -> Directory | None:
    """The directory that ends where its record stands, or, failing that, stands where the record says."""
    start = end - size
    if not count and not size:
        return Directory(end, end, 0)
    if start >= 0 and data[start : start + 4] == b"PK\x01\x02":
        return Directory(start, end, start - offset)
    if offset < end and data[offset : offset + 4] == b"PK\x01\x02":
        return Directory(offset, end, 0)
    return None


def _read_entries(data: bytes, directory: Directory) -> None:
    at = directory.start
    while at + _CENTRAL.size <= directory.end:
        fields = _CENTRAL.unpack_from(data, at)
        if fields[0] != b"PK\x01\x02":
            break
        name_end = at + _CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        raw = data[at + _CENTRAL.size : name_end]
        extra = data[name_end:extra_end] if fields[11] else b""
        size, packed, offset = fields[9], fields[8], fields[16]
        if _SAT32 in (size, packed, offset):
            size, packed, offset = _zip64_sizes(extra, size, packed, offset)
        names = _names(raw, extra, fields[3])
        entry = Entry(raw, fields[3], fields[4], fields[7], packed, size, offset, names)
        directory.entries.append(entry)
        at = extra_end + fields[12]
    directory.end = max(directory.end, at)


def _names(raw: bytes, extra: bytes, flags: int) -> tuple[str, ...]:
    names = spellings(raw, bool(flags & _UTF8))
    if extra and b"\x75\x70" in extra:
        # A reader may take the first of them, or the first whose checksum is right.
        return unique(*names, *(value[5:].decode("utf-8", "replace") for value in _extras(extra, 0x7075)))
    return names


def _extras(extra: bytes, wanted: int) -> Iterator[bytes]:
    """The values of an extra field, which should be there once."""
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, at)
        if tag == wanted:
            yield extra[at + 4 : at + 4 + size]
        at += 4 + size


def _zip64_sizes(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    value = next(_extras(extra, 1), b"")
    numbers = [int.from_bytes(value[i : i + 8], "little") for i in range(0, len(value) - 7, 8)]
    result = [numbers.pop(0) if n == _SAT32 and numbers else n for n in (size, packed, offset)]
    return result[0], result[1], result[2]


def _local(data: bytes, at: int) -> Entry:
    """The local header at `at`. Raises Broken when there is none."""
    if at < 0 or at + _LOCAL.size > len(data):
        raise Broken("a member lies outside the file")
    fields = _LOCAL.unpack_from(data, at)
    if fields[0] != b"PK\x03\x04":
        raise Broken("no local header where the directory says")
    name_end = at + _LOCAL.size + fields[9]
    start = name_end + fields[10]
    raw = data[at + _LOCAL.size : name_end]
    extra = data[name_end:start]
    size, packed = fields[8], fields[7]
    if _SAT32 in (size, packed):
        size, packed, _ = _zip64_sizes(extra, size, packed, 0)
    return Entry(raw, fields[2], fields[3], fields[6], packed, size, at, _names(raw, extra, fields[2]), start)


def _listed(
    part: Part,
    data: bytes,
    budget: Budget,
    entry: Entry,
    directory: Directory,
    covered: list[tuple[int, int]],
) -> Iterator[Part]:
    """The readings of a member that the central directory lists."""
    shown = entry.names[0] if entry.names else ""
    try:
        local = _local(data, entry.offset + directory.base)
    except Broken as error:
        try:
            local = _local(data, entry.offset)
        except Broken:
            note(part, Verdict.POLICY, "unopenable", str(error), shown)
            if entry.names:
                yield make(part, budget, entry.names, b"", sealed=True)
            return
    end = local.data_start + entry.packed
    covered.append((local.offset, end))
    names = entry.names
    if local.raw != entry.raw and _folded(local.raw) != _folded(entry.raw):
        note(part, Verdict.AMBIGUOUS, "zip-names-differ", "two headers name the member differently", shown)
    if local.names != names:
        names = unique(*names, *local.names)
    check_name(part, shown)
    entry.data_start = local.data_start
    yield from _readings_of(part, data, budget, entry, local, names)


def _folded(raw: bytes) -> bytes:
    return raw.replace(b"\\", b"/").lower()


def _readings_of(
    part: Part, data: bytes, budget: Budget, entry: Entry, local: Entry, names: tuple[str, ...]
) -> Iterator[Part]:
    """The member as the directory describes it and, where the local header differs in substance, as that does."""
    content = _content(part, data, budget, entry, names, local.flags)
    if content == b"" and entry.raw.endswith((b"/", b"\\")) and local.packed == entry.packed:
        return  # a folder, which some tools write through their compressor
    yield make(part, budget, names, content or b"", sealed=content is None)
    streamed = local.flags & _DESCRIPTOR and not local.packed
    differs = local.method != entry.method or (not streamed and local.packed != entry.packed)
    if not differs or entry.flags & _ENCRYPTED:
        return
    local.crc = local.crc or entry.crc
    if streamed:
        local.packed, local.size = entry.packed, entry.size
    other = _content(part, data, budget, local, names, local.flags)
    if other != content:
        note(
            part,
            Verdict.AMBIGUOUS,
            "zip-headers-differ",
            "two headers describe the member differently",
            names[0],
        )
        yield make(part, budget, names, other or b"", sealed=other is None)


def _content(
    part: Part, data: bytes, budget: Budget, entry: Entry, names: tuple[str, ...], local_flags: int
) -> bytes | None:
    """A member's bytes; None, with a finding, when they can't be read."""
    shown = names[0] if names else ""
    if entry.method == _AES or (entry.flags & local_flags & _ENCRYPTED) or entry.flags & _MASKED:
        note(part, Verdict.ENCRYPTED, "encrypted-zip", "needs a password", shown)
        return None
    if (entry.flags ^ local_flags) & _ENCRYPTED:
        note(part, Verdict.AMBIGUOUS, "zip-headers-differ", "only one header says that it is encrypted", shown)
    if entry.method not in METHODS:
        note(
            part,
            Verdict.POLICY,
            "cannot-open",
            f"packed by a method ({entry.method}) nothing here can read",
            shown,
        )
        return None
    if not entry.method:
        return _stored(part, data, budget, entry, shown)
    out, ended = expand(entry.method, data, entry.data_start, entry.packed, entry.size, budget)
    if len(out) > MEMBER_MAX:
        too_big(part, shown)
        return None
    if not ended:
        note(part, Verdict.AMBIGUOUS, "zip-damaged", "packed data that is damaged or cut off", shown)
    elif len(out) != entry.size and entry.size:
        note(part, Verdict.AMBIGUOUS, "zip-bad-size", "it is not as long as the header says", shown)
    elif entry.crc != zlib.crc32(out) and (entry.crc or entry.size):
        note(part, Verdict.AMBIGUOUS, "zip-bad-crc", "its checksum is wrong", shown)
    return out


def _stored(part: Part, data: bytes, budget: Budget, entry: Entry, shown: str) -> bytes | None:
    size = max(entry.packed, entry.size)
    available = len(data) - entry.data_start
    if entry.packed != entry.size or available < size:
        note(part, Verdict.AMBIGUOUS, "zip-bad-size", "a stored member with two sizes, or cut off", shown)
        size = min(size, max(0, available))
    if not spend_within(part, budget, shown, size):
        return None
    out = data[entry.data_start : entry.data_start + size]
    if entry.crc != zlib.crc32(out):
        note(part, Verdict.AMBIGUOUS, "zip-bad-crc", "its checksum is wrong", shown)
    return out


def _unlisted(
    part: Part, data: bytes, budget: Budget, covered: list[tuple[int, int]], has_directory: bool
) -> Iterator[Part]:
    """Members that only a reader of local headers sees."""
    for start, end in _gaps(covered, len(data)):
        at = data.find(b"PK\x03\x04", start, end)
        while at >= 0:
            budget.tick()
            if int.from_bytes(data[at + 8 : at + 10], "little") not in _KNOWN_METHODS:
                at = data.find(b"PK\x03\x04", at + 4, end)
                continue
            try:
                local = _local(data, at)
            except Broken:
                break
            after = local.data_start + max(local.packed, 1)
            if local.raw and local.data_start <= end:
                code = "zip-hidden-member" if has_directory else "zip-no-directory"
                what = "a member which the directory does not list" if has_directory else "a zip without directory"
                note(part, Verdict.AMBIGUOUS, code, what, local.names[0] if has_directory else "")
                if not local.packed and local.flags & _DESCRIPTOR:
                    local.packed = end - local.data_start
                    local.size = local.crc = 0
                    after = local.data_start
                if not local.raw.endswith(b"/"):
                    content = _content(part, data, budget, local, local.names, local.flags)
                    yield make(part, budget, local.names, content or b"", sealed=content is None)
            else:
                after = at + 4
            at = data.find(b"PK\x03\x04", after, end)


def _gaps(covered: list[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """The extents that nothing covers."""
    at = 0
    for start, end in sorted(covered):
        if start > at:
            yield at, start
        at = max(at, end)
    if at < length:
        yield at, length


def _check_tail(part: Part, data: bytes, at: int) -> None:
    """Bytes behind the archive and its comment: padding is harmless."""
    comment = int.from_bytes(data[at + 20 : at + 22], "little")
    tail = data[at + 22 + comment :]
    if len(tail) > _SLACK and tail.strip(b"\x00\r\n \x1a"):
        note(part, Verdict.AMBIGUOUS, "trailing-data", f"{len(tail)} bytes behind the end of the archive")
