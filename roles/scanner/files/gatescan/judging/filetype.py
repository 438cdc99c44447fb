"""What a part is, by its bytes. Names and declared types lie; the first bytes and a few fixed offsets do so less.

`kind` looks at no more than the first `HEAD` bytes and at fixed offsets, so its cost does not depend on the size.
It gives one answer; what is two things at once (an image with a zip behind it) is found by `gatescan.unpack`.
"""

from __future__ import annotations

import re

from gatescan.judging.budget import Budget
from gatescan.model import Buffer

HEAD = 1024
"""Bytes looked at from the start."""

EXECUTABLES = frozenset(
    (
        *("exe", "dos", "elf", "macho", "class", "dex", "msi", "lnk", "chm"),
        *("hta", "batch", "encoded-script", "registry", "webquery"),
    )
)
"""Kinds that a double-click runs, or that run on a virtual machine which users have."""

UNOPENABLE = frozenset(
    (
        *("arj", "ace", "alz", "egg", "zoo", "lrzip", "rzip", "lzop", "zpaq", "stuffit", "sqx", "freearc", "kgb"),
        *("dmg", "vhd", "vhdx", "vmdk", "qcow", "wim", "udf", "squashfs", "cramfs", "disk"),
        *("vdi", "apple-disk", "apple-archive"),
        *("xar", "installshield", "szdd", "kwaj"),
    )
)
"""Containers and disk images which neither libarchive (as used here) nor a reader of ours opens."""

STREAMS = frozenset(("gzip", "bzip2", "xz", "lzma"))
"""Compressed streams that the standard library reads."""

BY_LIBARCHIVE = frozenset(
    ("rar", "7z", "cab", "iso", "lzh", "tar", "cpio", "ar", "deb", "rpm", "zstd", "lz4", "lzip", "compress")
)
"""Archives and streams that libarchive reads."""

ARCHIVES = STREAMS | BY_LIBARCHIVE | {"zip"}
"""Everything that is opened and is no document."""

DOCUMENTS = frozenset(("ole", "msi", "pdf", "rtf", "tnef", "onenote", "office-xml", "activemime"))
"""Documents that may carry other files or macros."""

IMAGES = frozenset(("png", "jpeg", "gif", "bmp", "webp", "tiff", "icon", "svg"))

_PREFIXES: dict[bytes, tuple[tuple[bytes, str], ...]] = {}
"""Magic numbers, keyed by their first two bytes; within a key the longest stands first."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"PK00PK\x03\x04", "zip"),
    (b"Rar!\x1a\x07", "rar"),
    (b"RE~^", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"LZIP", "lzip"),
    (b"\x1f\x9d", "compress"),
    (b"\x1f\xa0", "lzh"),
    (b"MSCF\x00\x00\x00\x00", "cab"),
    (b"!<arch>\ndebian", "deb"),
    (b"!<arch>\n", "ar"),
    (b"\xed\xab\xee\xdb", "rpm"),
    (b"070701", "cpio"),
    (b"070702", "cpio"),
    (b"070707", "cpio"),
    (b"\xc7\x71", "cpio"),
    (b"\x71\xc7", "cpio"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (b"%PDF-", "pdf"),
    (b"{\\rt", "rtf"),
    (b"ActiveMime", "activemime"),
    (b"\x78\x9f\x3e\x22", "tnef"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "onenote"),
    (b"\x7fELF", "elf"),
    (b"\xfe\xed\xfa\xce", "macho"),
    (b"\xfe\xed\xfa\xcf", "macho"),
    (b"\xce\xfa\xed\xfe", "macho"),
    (b"\xcf\xfa\xed\xfe", "macho"),
    (b"dex\n03", "dex"),
    (b"L\x00\x00\x00\x01\x14\x02\x00", "lnk"),
    (b"ITSF", "chm"),
    (b"#@~^", "encoded-script"),
    (b"REGEDIT4", "registry"),
    (b"Windows Registry Editor", "registry"),
    (b"\xff\xfeW\x00i\x00n\x00d\x00o\x00w\x00s\x00 \x00R\x00e\x00g\x00i\x00s\x00t\x00r\x00y\x00", "registry"),
    (b"WEB\r\n1\r\n", "webquery"),
    (b"WEB\n1\n", "webquery"),
    (b"\x60\xea", "arj"),
    (b"ALZ\x01", "alz"),
    (b"EGGA", "egg"),
    (b"LRZI", "lrzip"),
    (b"RZIP", "rzip"),
    (b"\x89LZO\x00", "lzop"),
    (b"zPQ", "zpaq"),
    (b"7kSt", "zpaq"),
    (b"StuffIt", "stuffit"),
    (b"SIT!", "stuffit"),
    (b"-sqx-", "sqx"),
    (b"ArC\x01", "freearc"),
    (b"KGB_arch", "kgb"),
    (b"conectix", "vhd"),
    (b"vhdxfile", "vhdx"),
    (b"KDMV", "vmdk"),
    (b"# Disk DescriptorFile", "vmdk"),
    (b"QFI\xfb", "qcow"),
    (b"MSWIM\x00\x00\x00", "wim"),
    (b"encrcdsa", "apple-disk"),
    (b"sprs\x00", "apple-disk"),
    (b"AA01", "apple-archive"),
    (b"YAA1", "apple-archive"),
    (b"AEA1", "apple-archive"),
    *((b"pbz" + packer, "apple-archive") for packer in (b"e", b"z", b"4", b"b", b"x", b"-")),
    (b"hsqs", "squashfs"),
    (b"sqsh", "squashfs"),
    (b"\x45\x3d\xcd\x28", "cramfs"),
    (b"xar!", "xar"),
    (b"ISc(", "installshield"),
    (b"SZDD\x88\xf0\x27\x33", "szdd"),
    (b"KWAJ\x88\xf0\x27\xd1", "kwaj"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\x00\x00\x01\x00", "icon"),
    (b"wOFF", "font"),
    (b"wOF2", "font"),
    (b"OggS", "media"),
    (b"ID3", "media"),
    (b"fLaC", "media"),
    (b"SQLite format 3\x00", "sqlite"),
)
for _magic, _name in sorted(_MAGIC, key=lambda m: -len(m[0])):
    _PREFIXES[_magic[:2]] = (*_PREFIXES.get(_magic[:2], ()), (_magic, _name))

_WRITTEN = frozenset(
    ("pdf", "rtf", "ar", "deb", "vmdk", "bzip2", "activemime", "encoded-script", "registry", "webquery")
)
"""Kinds that begin as a text does. All others have control bytes near, if none in their mark: `SIT! said the woman`."""
_LZH = re.compile(rb"-(?:lh[0-9a-ex]|lz[2-8s]|pm[0-2s])-")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_HTML = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body|script|meta|table|div|p|iframe)(?=[\s>/])", re.IGNORECASE)
_MAIL = re.compile(
    rb"(?:From [^\n]{0,200}\n)?(?:Received|Return-Path|Delivered-To|Message-ID|MIME-Version|Subject|From|To|Date"
    rb"|Content-Type|X-[!-9;-~]{1,60}): ?[^\n]{0,990}\n(?:[!-9;-~]{1,70}:|[ \t])",
    re.IGNORECASE,
)
_OFFICE_XML = (b'progid="Word.Document"', b'progid="Excel.Sheet"', b"<pkg:package", b"<w:wordDocument")
_MSI_CLASSES = (
    bytes.fromhex("84100c0000000000c000000000000046"),  # {000C1084-...}: installer package
    bytes.fromhex("86100c0000000000c000000000000046"),  # {000C1086-...}: installer patch
    bytes.fromhex("82100c0000000000c000000000000046"),  # {000C1082-...}: installer transform
)
_HFS = (b"H+\x00\x04", b"HX\x00\x05")
"""A file system of macOS, whose image needs no mark at its end."""
_SECTOR = 2048
_PDF_AS_PS = re.compile(rb"%!PS-Adobe-[\d.]{1,8} PDF-")
_SKIPPABLE = b"\x2a\x4d\x18"
_SKIPPED_MOST = 16


def kind(data: Buffer) -> str:
    """The type of `data`: one of the names in the sets above, or `script`, `html`, `svg`, `mail`, `xml`, `text`,
    `media`, `font`, `sqlite`, `data` (none of them), `empty`. Never raises."""
    head = bytes(data[:HEAD])
    if not head:
        return "empty"
    for magic, name in _PREFIXES.get(head[:2], ()):
        if head.startswith(magic) and _holds(name, head, data) and not _only_says_so(magic, name, head):
            return _installer(head, data) if name == "ole" else name
    if head[:2] in (b"MZ", b"ZM"):
        return _dos(head, data)
    if head[:4] == b"\xca\xfe\xba\xbe":
        return _cafebabe(head)
    return _at_offset(head, data) or _textual(head)


def is_iso(data: Buffer) -> bool:
    """Whether an ISO 9660 volume descriptor stands where it must; anything may stand in front of it."""
    return len(data) > 17 * _SECTOR and bytes(data[16 * _SECTOR + 1 : 16 * _SECTOR + 6]) == b"CD001"


def has_udf(data: Buffer) -> bool:
    """Whether a UDF volume is recognised: then Windows shows the UDF tree, whatever ISO 9660 says."""
    return any(
        bytes(data[sector * _SECTOR + 1 : sector * _SECTOR + 6]) in (b"NSR02", b"NSR03")
        for sector in range(16, min(64, len(data) // _SECTOR))
    )


def _holds(name: str, head: bytes, data: Buffer) -> bool:
    """Whether a short magic number is more than chance."""
    if name == "gzip":
        return len(head) > 3 and head[2] == 8
    if name == "bzip2":
        return head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")
    if name == "arj":
        size = int.from_bytes(head[2:4], "little")
        return 30 <= size <= 2600 and len(head) > 10 and head[4] <= size
    if name == "cpio":
        return len(head) > 26
    if name == "compress":
        return len(head) > 3 and 9 <= (head[2] & 0x1F) <= 16
    if name == "lzh":
        return False
    if name == "icon":
        return 0 < int.from_bytes(head[4:6], "little") < 64 and head[9:10] == b"\x00"
    return True


def _only_says_so(magic: bytes, name: str, head: bytes) -> bool:
    """Whether a mark of letters stands at the beginning of a text."""
    return magic.isascii() and name not in _WRITTEN and _CONTROL.search(head) is None


def _installer(head: bytes, data: Buffer) -> str:
    """`msi` when the root storage has the installer's class, else `ole`."""
    shift = int.from_bytes(head[30:32], "little")
    sector = int.from_bytes(head[48:52], "little")
    if shift not in (9, 12):
        return "ole"
    root = (sector + 1) << shift
    return "msi" if bytes(data[root + 80 : root + 96]) in _MSI_CLASSES else "ole"


def _dos(head: bytes, data: Buffer) -> str:
    """`exe` for PE, NE and LE, `dos` for the plain kind, `text` for prose that starts with MZ."""
    offset = int.from_bytes(head[60:64], "little")
    if bytes(data[offset : offset + 2]) in (b"PE", b"NE", b"LE", b"LX") and len(head) >= 64:
        return "exe"
    return "dos" if _CONTROL.search(head, 2, 64) else _textual(head)


def _cafebabe(head: bytes) -> str:
    """Java classes and fat Mach-O share a magic number: a class has a version of 45 or more there."""
    return "class" if int.from_bytes(head[4:8], "big") >= 45 else "macho"


def _at_offset(head: bytes, data: Buffer) -> str:
    """Kinds whose mark does not stand at the start; empty when there is none."""
    if head[257:262] == b"ustar" or _old_tar(head):
        return "tar"
    if head[2:3] == b"-" and _LZH.match(head, 2):
        return "lzh"
    if head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50:
        return _skipped(data)
    if head[7:14] == b"**ACE**":
        return "ace"
    if head[20:24] == b"\xdc\xa7\xc4\xfd":
        return "zoo"
    if head[4:8] == b"ftyp":
        return "media"
    if head[:4] == b"RIFF":
        return "webp" if head[8:12] == b"WEBP" else "media"
    if head[:2] == b"BM" and len(head) > 30 and head[6:10] == bytes(4):
        return "bmp"
    if head[:3] == b"\x5d\x00\x00" and len(head) > 13 and head[5:13] != bytes(8):
        return "lzma"
    if is_iso(data):
        return "iso"
    if len(data) > 17 * _SECTOR and bytes(data[16 * _SECTOR + 1 : 16 * _SECTOR + 6]) == b"BEA01":
        return "udf"
    if head[64:68] == b"\x7f\x10\xda\xbe":
        return "vdi"
    if head[32:36] == b"NXSB" or (head[:2] == b"ER" and head[512:514] == b"PM") or bytes(data[1024:1028]) in _HFS:
        return "apple-disk"
    if head[510:512] == b"\x55\xaa" and (head[:1] in b"\xeb\xe9" or head[446:447] in b"\x00\x80"):
        return "disk"
    return _at_end(data) or ("pdf" if b"%PDF-" in head or _PDF_AS_PS.match(head) else "")


def behind_skippable(data: Buffer, most: int, budget: Budget | None = None) -> int:
    """Where what follows the frames begins that zstd and lz4 pass over, of which at most so many are looked at. Raises
    LimitReached if there is a budget."""
    at = 0
    for number in range(most):
        if budget and number % 1000 == 0:
            budget.tick()
        frame = bytes(data[at : at + 8])
        if len(frame) < 8 or frame[1:4] != _SKIPPABLE or frame[0] & 0xF0 != 0x50:
            break
        at += 8 + int.from_bytes(frame[4:], "little")
    return at


def _skipped(data: Buffer) -> str:
    """Which stream begins behind such frames; empty for none."""
    start = bytes(data[(at := behind_skippable(data, _SKIPPED_MOST)) : at + 4])
    if start[1:] == _SKIPPABLE:
        return "zstd"  # whoever writes more of them has something to hide
    return next((name for magic, name in _PREFIXES.get(start[:2], ()) if start == magic), "")


def _at_end(data: Buffer) -> str:
    """Disk images that have their header as a footer."""
    if len(data) < 1024:
        return ""
    footer = bytes(data[-512:-504])
    if footer == b"conectix":
        return "vhd"
    if bytes(data[-8:]) == b"cdsaencr":
        return "apple-disk"
    return "dmg" if footer[:4] == b"koly" else ""


def _old_tar(head: bytes) -> bool:
    """A tar header without magic: its checksum must be right."""
    if len(head) < 512 or not head[0]:
        return False
    field = head[148:156].strip(b" \x00")
    if not field or not field.isdigit() or any(digit > 0x37 for digit in field):
        return False
    return int(field, 8) == sum(head[:148]) + 8 * 32 + sum(head[156:512])


def _textual(head: bytes) -> str:
    """Which sort of text it is; `data` when it is none."""
    text = head
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head[2:].replace(b"\x00", b"")
    elif head[:3] == b"\xef\xbb\xbf":
        text = head[3:]
    if _CONTROL.search(text):
        return "data"
    start = text.lstrip()[:64].lower()
    if start.startswith(b"{\\rt"):
        return "rtf"
    if start.startswith(b"<") or _HTML.match(text):
        return _markup(text, start)
    if start.startswith(b"#!"):
        return "script"
    if start.startswith((b"@echo off", b"@echo on")):
        return "batch"
    return "mail" if _MAIL.match(text) else "text"


def _markup(text: bytes, start: bytes) -> str:
    lower = text.lower()
    if b"<hta:application" in lower:
        return "hta"
    if any(mark in text for mark in _OFFICE_XML):
        return "office-xml"
    if b"<svg" in lower and b"<html" not in lower:
        return "svg"
    if b"<html" in lower or _HTML.match(text) or b"<!doctype html" in lower:
        return "html"
    return "xml" if start.startswith(b"<?xml") else "text"
