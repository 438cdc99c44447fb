"""Macro projects (MS-OVBA): whether a project has a line of code.

Excel writes an empty module for each sheet as soon as somebody has looked into the editor, so that a project by itself
says nothing. What counts are the lines of its modules, in the source and in the compiled form (p-code) in front of it:
Office runs the latter where its version fits, whatever the source says.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

from gatescan.judging.budget import Budget
from gatescan.unpack.common import Broken

_CHUNK = 4096
_SIGNATURE = re.compile(rb"\x01..\x00Attribut", re.DOTALL)
"""How a module's compressed source begins: container, chunk, eight literal bytes."""
_NO_MODULE = re.compile(r"(?:dir|_vba_project|__srp_[0-9a-f]+)\Z", re.IGNORECASE)
_NO_CODE = re.compile(
    rb"\s*(?:Attribute\s+VB_\w+(?:\.\w+)?\s*=|Option\s+(?:Explicit|Base|Compare|Private)\b)[^:\r\n]*\Z", re.I
)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_PCODE = b"\xfe\xca\x01\x00"
_OPTION_EXPLICIT = 0xCD
_STREAM_NAME, _OFFSET, _VERSION = 0x32, 0x31, 0x09


def has_code(streams: Mapping[str, bytes], budget: Budget) -> bool:
    """Whether a project has a line that could run. `streams`: what lies in its VBA storage, by name.

    True as well when a module can't be read: nothing is known of it then. Raises LimitReached.
    """
    by_name = {name.lower(): data for name, data in streams.items()}
    offsets = _offsets(by_name.get("dir", b""), budget)
    return any(
        data and not _NO_MODULE.match(name) and _module_has_code(data, offsets.get(name), budget)
        for name, data in by_name.items()
    )


def _offsets(packed: bytes, budget: Budget) -> dict[str, int]:
    """Where the source stands in each module's stream, by the project's `dir` stream; as far as that can be read."""
    found: dict[str, int] = {}
    data = b""
    try:
        for chunk in chunks(packed, 0, budget):
            data += chunk
    except Broken:
        pass
    at = 0
    name = ""
    while at + 6 <= len(data):
        kind, size = struct.unpack_from("<HL", data, at)
        if kind == _VERSION:
            size = 6
        body = data[at + 6 : at + 6 + size]
        if kind == _STREAM_NAME:
            name = body.decode("utf-16-le", "replace").lower()
        elif kind == _OFFSET and len(body) == 4:
            found[name] = int.from_bytes(body, "little")
        at += 6 + size
        budget.tick()
    return found


def _module_has_code(data: bytes, offset: int | None, budget: Budget) -> bool:
    if offset is None:
        found = _SIGNATURE.search(data)
        if found is None:
            return bool(data.strip(b"\x00"))
        offset = found.start()
    try:
        return _compiled(data[:offset]) or _source_has_code(data, offset, budget)
    except Broken:
        return True


def _source_has_code(data: bytes, offset: int, budget: Budget) -> bool:
    """Whether anything but attributes, options and empty lines stands in the source. Raises Broken."""
    rest = b""
    for chunk in chunks(data, offset, budget):
        *lines, rest = _LINE_END.split(rest + chunk)
        if any(_is_code(line) for line in lines) or len(rest) > _CHUNK:
            return True
    return _is_code(rest)


def _is_code(line: bytes) -> bool:
    return bool(line.strip(b" \t\x00")) and not _NO_CODE.match(line)


def _compiled(cache: bytes) -> bool:
    """Whether a line stands in the compiled form: behind its mark the number of lines, twelve bytes for each (length
    at 4, offset at 8), ten bytes, and the lines themselves. One word long is `Option Explicit`, and nothing else."""
    at = cache.find(_PCODE)
    while at >= 0:
        count = int.from_bytes(cache[at + 4 : at + 6], "little")
        start = at + 6 + 12 * count + 10
        table = cache[at + 6 : start - 10]
        for _, size, offset in struct.iter_unpack("<LHxxL", table[: len(table) // 12 * 12]):
            line = cache[start + offset : start + offset + size]
            if size and not (size == 2 and int.from_bytes(line, "little") & 0x3FF == _OPTION_EXPLICIT):
                return True
        at = cache.find(_PCODE, at + 4)
    return False


def chunks(data: bytes, at: int, budget: Budget) -> Iterator[bytes]:
    """What a compressed container holds, at most 4096 bytes at a time. Raises Broken and LimitReached."""
    if data[at : at + 1] != b"\x01":
        raise Broken("no compressed container")
    at += 1
    while at + 2 < len(data):
        header = int.from_bytes(data[at : at + 2], "little")
        if header >> 12 & 7 != 3:
            if data[at:].strip(b"\x00"):
                raise Broken("no compressed chunk")
            return
        end = min(at + (header & 0xFFF) + 3, len(data))
        out = _expanded(data, at + 2, end) if header >> 15 else data[at + 2 : at + 2 + _CHUNK]
        budget.spend(len(out))
        budget.tick()
        yield out
        at = end


def _expanded(data: bytes, at: int, end: int) -> bytes:
    out = bytearray()
    while at < end:
        flags = data[at]
        at += 1
        for bit in range(8):
            if at >= end:
                break
            if not flags >> bit & 1:
                out.append(data[at])
                at += 1
                continue
            token = int.from_bytes(data[at : at + 2], "little")
            at += 2
            width = max(4, (len(out) - 1).bit_length())
            length, back = (token & (0xFFFF >> width)) + 3, (token >> (16 - width)) + 1
            if back > len(out) or len(out) + length > _CHUNK + 3:
                raise Broken("a compressed chunk that points outside itself")
            piece = bytes(out[len(out) - back : len(out) - back + length])
            out += (piece * (length // len(piece) + 1))[:length]
    return bytes(out)
