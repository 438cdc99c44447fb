"""What old Office documents, Outlook messages and other compound files carry: macros, packages, attachments, locks.

Sources: MS-OVBA, MS-XLS (BoundSheet8, FilePass), MS-DOC (FibBase), MS-PPT, MS-OFFCRYPTO, MS-OLEDS, MS-OXMSG.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from gatescan import filetype
from gatescan.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import common
from gatescan.unpack.common import Broken, make, note, spellings, too_big, unique, unopenable
from gatescan.unpack.compound import CompoundFile, Node

_MACRO = re.compile(r"(?:^|/)(?:_VBA_PROJECT(?:_CUR)?|VBA|Macros|VBAProject)(?:/|$)", re.IGNORECASE)
_ENCRYPTED = frozenset(("encryptedpackage", "encryptioninfo", "encryptedsummary", "\x06dataspaces"))
_ATTACHMENT = re.compile(r"(?:^|.*/)__attach_version1\.0_#[0-9A-Fa-f]+(?=/)")
_CARRIERS = frozenset(("package", "contents", "ole10item"))
_OPENED = filetype.ARCHIVES | filetype.EXECUTABLES | filetype.DOCUMENTS | filetype.UNOPENABLE | {"html"}
_PPT_LOCKED = b"\xdf\xc4\xd1\xf3"
_PEEK = 1024


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The files that a compound file carries; findings for macros, packages and encryption. Raises LimitReached."""
    try:
        compound = CompoundFile(data, budget)
    except Broken as error:
        unopenable(part, str(error))
        return
    attachments: dict[str, Part] = {}
    names: dict[str, list[str]] = {}
    for node in compound.nodes:
        _look_at_name(part, node)
        if not node.is_stream or not node.size:
            continue
        budget.tick()
        lower = node.name.lower()
        if lower.startswith("__substg1.0_") and (found := _ATTACHMENT.match(node.path)):
            yield from _attachment(part, budget, compound, node, found.group(), names, attachments)
        elif lower == "\x01ole10native":
            yield from native(part, budget, _whole(part, compound, node))
        elif lower in ("workbook", "book"):
            _workbook(part, compound.read(node))
        elif lower == "worddocument":
            _word(part, compound.read(node, 64))
        elif lower == "current user":
            _current_user(part, compound.read(node, 64))
        elif lower == "powerpoint document":
            yield from _powerpoint(part, budget, _whole(part, compound, node))
        else:
            yield from _stream(part, budget, compound, node)
    for folder, member in attachments.items():
        member.names = unique(*names.get(folder, ()))
        yield member


def _look_at_name(part: Part, node: Node) -> None:
    if _MACRO.search(node.path) or node.name.lower() == "_vba_project":
        note(part, Verdict.POLICY, "macro", "a document with a macro project")
    elif node.name.lower() in _ENCRYPTED:
        note(part, Verdict.ENCRYPTED, "encrypted-office", "a document that needs a password or a licence")


def _whole(part: Part, compound: CompoundFile, node: Node) -> bytes:
    if node.size > common.MEMBER_MAX:
        too_big(part, node.name)
        return b""
    return compound.read(node)


def _stream(part: Part, budget: Budget, compound: CompoundFile, node: Node) -> Iterator[Part]:
    """A stream that is a file of its own, by its name or by its bytes."""
    if node.name.lower() not in _CARRIERS:
        if filetype.kind(compound.read(node, _PEEK)) not in _OPENED:
            return
        if node.name.lower().startswith("__substg1.0_1009"):
            return
    yield make(part, budget, (), _whole(part, compound, node))


def _attachment(
    part: Part,
    budget: Budget,
    compound: CompoundFile,
    node: Node,
    folder: str,
    names: dict[str, list[str]],
    attachments: dict[str, Part],
) -> Iterator[Part]:
    """An Outlook message keeps an attachment's names and its bytes in streams that are named by property tags."""
    tag = node.name[12:20].upper()
    if tag in ("3704001F", "3707001F", "3001001F"):
        name = compound.read(node, 2048).decode("utf-16-le", "replace")
        names.setdefault(folder, []).append(name.rstrip("\x00"))
    elif tag in ("3704001E", "3707001E", "3001001E"):
        names.setdefault(folder, []).extend(spellings(compound.read(node, 1024).rstrip(b"\x00")))
    elif tag == "37010102":
        attachments[f"{folder}" if folder not in attachments else node.path] = make(
            part, budget, (), _whole(part, compound, node)
        )
    else:
        yield from _stream(part, budget, compound, node)


@dataclass(frozen=True, slots=True)
class Package:
    """A file in an OLE package, with the names that it was given."""

    names: tuple[str, ...]
    data: bytes


def read_package(raw: bytes) -> Package | None:
    """The file in an Ole10Native stream, without the length in front; None when it is no package."""
    try:
        at = 2
        label, at = _text(raw, at)
        path, at = _text(raw, at)
        at += 4
        (length,) = struct.unpack_from("<L", raw, at)
        temporary = raw[at + 4 : at + 4 + length].rstrip(b"\x00")
        at += 4 + length
        (size,) = struct.unpack_from("<L", raw, at)
    except (struct.error, ValueError):
        return None
    if length > 4096 or not (label or path):
        return None
    names = (
        base for name in (label, path, temporary) for base in spellings(name.replace(b"\\", b"/").rpartition(b"/")[2])
    )
    return Package(unique(*names), raw[at + 4 : at + 4 + size])


def _text(raw: bytes, at: int) -> tuple[bytes, int]:
    end = raw.index(b"\x00", at, at + 4096)
    return raw[at:end], end + 1


def native(part: Part, budget: Budget, raw: bytes) -> Iterator[Part]:
    """The file in an Ole10Native stream. A package runs its file when one clicks on it: against policy."""
    package = read_package(raw[4:]) or read_package(raw)
    if package is None:
        yield make(part, budget, (), raw[4:])
        return
    shown = package.names[0] if package.names else ""
    note(part, Verdict.POLICY, "embedded-package", "a document with a packed file in it", shown)
    yield make(part, budget, package.names, package.data)


def _workbook(part: Part, stream: bytes) -> None:
    """The records of an Excel workbook up to the end of its global part: sheets that are macros, and locks."""
    at = 0
    while at + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, at)
        body = stream[at + 4 : at + 4 + size]
        if kind == 0x2F:
            note(part, Verdict.ENCRYPTED, "encrypted-office", "a workbook that needs a password")
            return
        if kind == 0x85 and len(body) > 5 and body[5] == 1:
            note(part, Verdict.POLICY, "macro-sheet", "a workbook with a macro sheet (Excel 4.0)")
        elif kind == 0x0A:
            return
        at += 4 + size


def _word(part: Part, head: bytes) -> None:
    if len(head) > 12 and head[11] & 0x01:
        note(part, Verdict.ENCRYPTED, "encrypted-office", "a document that needs a password")


def _current_user(part: Part, head: bytes) -> None:
    if head[12:16] == _PPT_LOCKED:
        note(part, Verdict.ENCRYPTED, "encrypted-office", "a presentation that needs a password")


def _powerpoint(part: Part, budget: Budget, stream: bytes) -> Iterator[Part]:
    """Compressed compound files among the records of a presentation: its macros and embedded objects."""
    at = stream.find(b"\x11\x10")
    while at >= 2:
        instance, _, size = struct.unpack("<HHL", stream[at - 2 : at + 6].ljust(8, b"\x00"))
        if instance == 0x10 and stream[at + 10 : at + 11] == b"\x78":
            out, _, _ = common.inflate(memoryview(stream)[at + 10 : at + 6 + size], budget, 15)
            if out.startswith(b"\xd0\xcf\x11\xe0"):
                yield make(part, budget, (), out)
        elif instance == 0 and stream.startswith(b"\xd0\xcf\x11\xe0", at + 6):
            body = stream[at + 6 : at + 6 + size]
            budget.spend(len(body))
            yield make(part, budget, (), body)
        budget.tick()
        at = stream.find(b"\x11\x10", at + 2)
