"""What old Office documents, Outlook messages and other compound files carry: macros, packages, attachments, locks.

Sources: MS-OVBA, MS-XLS (BoundSheet8, FilePass), MS-DOC (FibBase), MS-PPT, MS-OFFCRYPTO, MS-OLEDS, MS-OXMSG.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gatescan.judging import filetype, targets
from gatescan.judging.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import common, fields, officelock, packages, vba
from gatescan.unpack.common import Broken, make, note, spellings, too_big, unique, unopenable
from gatescan.unpack.compound import CompoundFile, Node

_VBA = re.compile(r"(?:.*/)?VBA\Z", re.IGNORECASE | re.DOTALL)
_LOCKED = frozenset(("encryptedpackage", "encryptioninfo", "encryptedsummary", "\x06dataspaces"))
_ATTACHMENT = re.compile(r"(?:^|.*/)__attach_version1\.0_#[0-9A-Fa-f]+(?=/)")
_CARRIERS = frozenset(("package", "contents", "ole10item"))
_OPENED = filetype.ARCHIVES | filetype.EXECUTABLES | filetype.DOCUMENTS | filetype.UNOPENABLE | {"html"}
_PPT_LOCKED = b"\xdf\xc4\xd1\xf3"
_PEEK = 1024
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_CONTROL_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PACKAGE_CLASS = bytes.fromhex("0c00030000000000c000000000000046")
LINK_CLASS = bytes.fromhex("0003000000000000c000000000000046")
"""StdOleLink: an object that is fetched from elsewhere."""
_URL_MONIKER = bytes.fromhex("e0c9ea79f9bace118c8200aa004ba90b")
_FILE_MONIKER = bytes.fromhex("0303000000000000c000000000000046")
_FETCHING = (_URL_MONIKER, bytes.fromhex("d30b2906aa48d2118432006008c3fbfc"))
"""Monikers that fetch or run something: of addresses (URL), of scripts."""
# Fields that ask another program for data, load a file or are a link, with what they say.
_TELLING = (b"DDE", b"LINK", b"INCLUDE", b"IMPORT", b"HYPERLINK")
_WORD_FIELD = re.compile(
    rb"\x13([ \t]{0,20}\"?(?:%s)[^\x00\x13-\x15]{1,600})"
    rb"|\x13\x00((?:[ \t]\x00){0,20}(?:\"\x00)?(?:%s)(?:[^\x13-\x15]\x00){1,600})"
    % (b"|".join(_TELLING), b"|".join(word.decode().encode("utf-16-le") for word in _TELLING)),
    re.IGNORECASE,
)
"""In a document's text in one byte a character or two."""
_WORD_QUOTE = re.compile(rb"\x13\x00?(?:[ \t]\x00?){0,20}Q\x00?U\x00?O\x00?T\x00?E", re.IGNORECASE)
_AROUND_QUOTE = 4096
_FIELD_MARKS = str.maketrans("\x11\x12\x13\x14\x15", f"  {fields.BEGIN}{fields.SEPARATE}{fields.END}")
"""What a document of Word has for the marks of `fields`."""
_LINK_MAX = 4096
_SLIDE_LINK = b"\x10\x00\xba\x0f"
"""CString with the target of a link in a presentation, or with the text of a comment."""
_RUN_PROGRAM = re.compile(rb"\xf3\x0f\x10\x00\x00\x00.{8}\x02", re.DOTALL)
"""InteractiveInfoAtom of a presentation: what a click does is to run a program."""


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The files that a compound file carries; findings for macros, packages and encryption. Raises LimitReached."""
    try:
        compound = CompoundFile(data, budget)
    except Broken as error:
        unopenable(part, str(error))
        return
    if compound.nodes[0].class_id == LINK_CLASS:
        note(part, Verdict.POLICY, "remote-template", "a document with a linked object")
    if compound.cut:
        note(part, Verdict.LIMIT, "ole-entries", "a compound file with more streams than are looked at")
    attachments: dict[str, Part] = {}
    names: dict[str, list[str]] = {}
    for node in compound.nodes:
        if not node.is_stream or not node.size:
            continue
        budget.tick()
        lower = node.name.lower()
        if lower.startswith("__substg1.0_") and (found := _ATTACHMENT.match(node.path)):
            yield from _attachment(part, budget, compound, node, found.group(), names, attachments)
        elif reader := _READERS.get(lower):
            yield from reader(part, budget, compound, node)
        elif not _VBA.match(node.path.rpartition("/")[0]):
            yield from _stream(part, budget, compound, node)
    for folder, member in attachments.items():
        member.names = unique(*names.get(folder, ()))
        yield member
    _macros(part, budget, compound)
    yield from _locked(part, budget, compound)


def _macros(part: Part, budget: Budget, compound: CompoundFile) -> None:
    """Each macro project: streams in a storage of the name VBA. One without a line of code is nothing."""
    projects: dict[str, dict[str, bytes]] = {}
    for node in compound.streams():
        folder = node.path.rpartition("/")[0]
        if node.size and _VBA.match(folder):
            projects.setdefault(folder, {})[node.path] = _whole(part, compound, node)
    for folder, streams in projects.items():
        if vba.has_code({path[len(folder) + 1 :]: data for path, data in streams.items()}, budget):
            note(part, Verdict.POLICY, "macro", "a document with a macro project")


def _locked(part: Part, budget: Budget, compound: CompoundFile) -> Iterator[Part]:
    """What is sealed: under the password that everybody has, it is opened."""
    found = {node.name.lower(): node for node in compound.nodes if node.name.lower() in _LOCKED}
    if not found:
        return
    info, package = found.get("encryptioninfo"), found.get("encryptedpackage")
    if info is not None and package is not None and package.size <= common.MEMBER_MAX:
        content = officelock.opened(compound.read(info, 1 << 16), compound.read(package), budget)
        if content is not None:
            yield make(part, budget, part.names, content)
            return
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
    """A file in an OLE package, with the names that it was given. Of a shortcut there are names alone."""

    names: tuple[str, ...]
    data: bytes


def read_package(raw: bytes, lenient: bool = True) -> Package | None:
    """The file in an Ole10Native stream, without the length in front; None when it is no package.

    lenient: it calls itself a package, so only its shape is asked for. The data of other programs, which may look
    like one, has to begin as packages do and to name a file.
    """
    try:
        at = 2
        label, at = _text(raw, at)
        path, at = _text(raw, at)
        (form,) = struct.unpack_from("<H", raw, at + 2)
        at += 4
        if form == 1:
            target = _text(raw, at + 2)[0] if raw[at : at + 2] == b"\x01\x00" else _text(raw, at)[0]
            return _package((label, path, target), b"") if _plausible(raw, label, path) else None
        (length,) = struct.unpack_from("<L", raw, at)
        temporary = raw[at + 4 : at + 4 + length].rstrip(b"\x00")
        at += 4 + length
        (size,) = struct.unpack_from("<L", raw, at)
    except (struct.error, ValueError):
        return None
    if length > 4096 or not (label or path) or not (lenient or _plausible(raw, label, path)):
        return None
    return _package((label, path, temporary), raw[at + 4 : at + 4 + size])


def _package(names: tuple[bytes, ...], data: bytes) -> Package:
    bases = (base for name in names for base in spellings(name.replace(b"\\", b"/").rpartition(b"/")[2]))
    return Package(unique(*bases), data)


def _plausible(raw: bytes, *names: bytes) -> bool:
    """Whether it begins with the mark of a package and two names without control bytes."""
    return raw[:2] == b"\x02\x00" and all(not _CONTROL.search(name) for name in names)


def _text(raw: bytes, at: int) -> tuple[bytes, int]:
    end = raw.index(b"\x00", at, at + 4096)
    return raw[at:end], end + 1


def _native(part: Part, budget: Budget, compound: CompoundFile, node: Node) -> Iterator[Part]:
    """An Ole10Native stream: a package, or the data of the program that its storage's class names."""
    folder = node.path.rpartition("/")[0]
    owner = next((n.class_id for n in compound.nodes if n.path == folder and not n.is_stream), b"")
    if not folder:
        owner = compound.nodes[0].class_id
    sure = owner == _PACKAGE_CLASS or not owner.strip(b"\x00")
    yield from native(part, budget, _whole(part, compound, node), owner == _PACKAGE_CLASS, sure)


def native(part: Part, budget: Budget, raw: bytes, named: bool, lenient: bool) -> Iterator[Part]:
    """The file in an Ole10Native stream. A package runs its file when one clicks on it: against policy.

    named: its class says that it is a package, whatever its bytes are. lenient: no class says that it is none.
    """
    package = read_package(raw[4:], named) or read_package(raw, named)
    if package is None and lenient and not named:
        package = _clean(read_package(raw[4:])) or _clean(read_package(raw))
    if package is None and not named:
        yield make(part, budget, (), raw[4:])
        return
    shown = package.names[0] if package and package.names else ""
    note(part, Verdict.POLICY, "embedded-package", "a document with a packed file in it", shown)
    yield make(part, budget, package.names if package else (), package.data if package else raw[4:])


def _clean(package: Package | None) -> Package | None:
    """The package if its names could be names: other programs' data gives some by chance."""
    if package is None or not package.data or any(_CONTROL_TEXT.search(name) for name in package.names):
        return None
    return package


def _link(part: Part, budget: Budget, compound: CompoundFile, node: Node) -> Iterator[Part]:
    """The \x01Ole stream of an object: where a linked one comes from."""
    stream = compound.read(node, 1 << 16)
    if any(moniker in stream for moniker in _FETCHING):
        note(part, Verdict.POLICY, "remote-template", "a document with an object that is fetched from elsewhere")
    yield from ()


def _workbook(part: Part, budget: Budget, compound: CompoundFile, node: Node) -> Iterator[Part]:
    """The records of an Excel workbook up to the end of its global part: sheets that are macros, DDE, and locks."""
    stream = _whole(part, compound, node)
    files = _links(stream, budget, _FILE_MONIKER, 2, "latin-1")
    if any(targets.starts_program(target) for target in (*_links(stream, budget, _URL_MONIKER), *files)):
        note(part, Verdict.POLICY, "program-link", "a workbook with a link that starts a program")
    lock: officelock.Workbook | None = None
    asks = old = False
    for at, kind, body in _records(stream, budget):
        if lock is not None and kind not in (0x809, 0x2F):
            body = lock.plain(body, at)
        if kind == 0x2F:
            lock = officelock.workbook(body)
            if lock is None:
                note(part, Verdict.ENCRYPTED, "encrypted-office", "a workbook that needs a password")
                return
        elif kind == 0x85:
            if len(body) > 5 and body[5] == 1:
                note(part, Verdict.POLICY, "macro-sheet", "a workbook with a macro sheet (Excel 4.0)")
        elif kind == 0x809:
            old = len(body) > 1 and body[1] < 6
        elif kind == 0x1AE or (kind == 0x17 and old):
            asks = b"\x03" in body[2:]
        elif asks and kind != 0x17 and body and not body[0] & 0x10:
            note(part, Verdict.POLICY, "dde-link", "a workbook that asks another program for data")
    yield from ()


def _links(stream: bytes, budget: Budget, mark: bytes, skipped: int = 0, coding: str = "utf-16-le") -> Iterator[str]:
    """The targets of links, each behind a mark, so many bytes and its size."""
    at = stream.find(mark)
    while at >= 0:
        start = at + len(mark) + skipped + 4
        size = min(int.from_bytes(stream[start - 4 : start], "little"), _LINK_MAX)
        budget.spend(size)
        budget.tick()
        yield stream[start : start + size].decode(coding, "replace").partition("\x00")[0]
        at = stream.find(mark, start)


def _records(stream: bytes, budget: Budget) -> Iterator[tuple[int, int, bytes]]:
    """The records of a workbook's global part that are looked at: where the body stands, kind, body."""
    at = count = 0
    end = len(stream) - 4
    while at <= end:
        kind, size = _RECORD.unpack_from(stream, at)
        if kind == 0x0A:
            return
        if kind in _LOOKED_AT:
            yield at + 4, kind, stream[at + 4 : at + 4 + size]
        at += 4 + size
        count += 1
        if not count & 0xFFF:
            budget.tick()


_RECORD = struct.Struct("<HH")
_LOOKED_AT = frozenset((0x85, 0x1AE, 0x17, 0x23, 0x223, 0x2F, 0x809))
"""BoundSheet8, SupBook, ExternSheet, ExternName (two), FilePass, BOF."""


def _word(part: Part, budget: Budget, compound: CompoundFile, node: Node) -> Iterator[Part]:
    stream = _whole(part, compound, node)
    if len(stream) > 12 and stream[11] & 0x01:
        note(part, Verdict.ENCRYPTED, "encrypted-office", "a document that needs a password")
    else:
        packages.look_at_fields(part, "".join(fields.BEGIN + code for code in set(_telling_fields(stream))))
        for text in _around_quotes(stream):
            packages.look_at_fields(part, text)
            budget.tick()
    yield from ()


def _around_quotes(stream: bytes) -> Iterator[str]:
    """Fields near those that QUOTE letters by their numbers: one may put another together."""
    at = 0
    while found := _WORD_QUOTE.search(stream, at):
        start, at = max(at, found.start() - _AROUND_QUOTE), found.end() + _AROUND_QUOTE
        coding = "utf-16-le" if found.group()[1:2] == b"\x00" else "latin-1"
        start += (found.start() - start) % 2
        yield stream[start:at].decode(coding, "replace").translate(_FIELD_MARKS)


def _telling_fields(stream: bytes) -> Iterator[str]:
    """The instructions of such fields, whether a character has one byte or two."""
    for found in _WORD_FIELD.finditer(stream):
        code = found.group(1) or found.group(2)
        yield code.decode("latin-1" if found.group(1) else "utf-16-le", "replace")


def _current_user(part: Part, budget: Budget, compound: CompoundFile, node: Node) -> Iterator[Part]:
    if compound.read(node, 64)[12:16] == _PPT_LOCKED:
        note(part, Verdict.ENCRYPTED, "encrypted-office", "a presentation that needs a password")
    yield from ()


def _powerpoint(part: Part, budget: Budget, compound: CompoundFile, node: Node) -> Iterator[Part]:
    """Compressed compound files among the records of a presentation: its macros and embedded objects."""
    stream = _whole(part, compound, node)
    links = _links(stream, budget, _SLIDE_LINK)
    if _RUN_PROGRAM.search(stream) or any(targets.starts_program_by_address(target) for target in links):
        note(part, Verdict.POLICY, "program-link", "a presentation that starts a program")
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


Reader = Callable[[Part, Budget, CompoundFile, Node], Iterator[Part]]
_READERS: dict[str, Reader] = {
    "\x01ole10native": _native,
    "\x01ole": _link,
    "workbook": _workbook,
    "book": _workbook,
    "worddocument": _word,
    "current user": _current_user,
    "powerpoint document": _powerpoint,
}
