"""Which reader opens a part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gatescan.errors import Unavailable
from gatescan.judging import filetype
from gatescan.judging.budget import Budget, LimitReached
from gatescan.mime import apple, sealed
from gatescan.model import Buffer, Part, Verdict
from gatescan.text.large import holds
from gatescan.unpack import fields, officexml, packages, sheets, zipread
from gatescan.unpack.common import as_text, inflate, make, note, unopenable

Reader = Callable[[Part, bytes, Budget], Iterator[Part]]

_VOLUME = re.compile(
    r"\.(?:(?:7z|zip|rar|tar|cab|iso|arj|ace|gz|bz2|xz)\.\d{2,3}|[rz]\d\d|part\d{1,4}\.(?:rar|exe|7z))\s*$",
    re.IGNORECASE,
)
"""Names that only tools give to the second and later volumes of a set. A bare number is what instruments write, too:
see volumes.py; and so do receivers of satellites `.t02`: a volume of rar that has such a name begins as rar does."""
_COMPANION = re.compile(r"(?:.*[/\\])?(?:\._|~\$|\.~lock\.)[^/\\]*\Z", re.DOTALL)
_COMPANION_MAX = 512
"""Bytes of an owner file, which Word and Excel lay beside an open document: 162 or 165, and a name in it."""
_ARCHIVE_NAME = re.compile(
    r"\.(?:zip|zipx|rar|7z|gz|tgz|bz2|tbz2?|xz|txz|t?zst|lzma|lz4|tlz|tar|cab|iso|lzh|lha|arj|ace|arc|zoo|alz|egg"
    r"|jar|udf|vhdx?|dmg|docx|docm"
    r"|xlsx|xlsm|xlsb|pptx|pptm)\s*$",
    re.IGNORECASE,
)
_ARCHIVE_TYPE = re.compile(
    r"application/(?:x-)?(?:zip|rar|7z|gzip|tar|bzip2?|xz|iso9660|vnd\.rar|zip-compressed|arj|ace)"
)
_ZIP_NAME = re.compile(r"\.(?:zipx?|jar|docx|docm|xlsx|xlsm|xlsb|pptx|pptm)\s*$", re.IGNORECASE)
_ZIP_TYPE = re.compile(r"application/(?:x-)?zip")
_CARRIERS = (filetype.BY_LIBARCHIVE | filetype.DOCUMENTS | {"mail", "sqlite"}) - {"pdf"}
"""Kinds that may rightly hold a zip as it is, so that they end like one: both readings are looked at, silently."""
_SELF_EXTRACTING = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"MSCF\x00\x00\x00\x00")
_FRONT = 4 << 20
"""Bytes in which unpackers look for their archive's mark behind something else."""
_OLE_MARK = b"\xd0\xcf\x11\xe0"
_TRIALS = 8
"""Places with an archive's mark that are tried in a program, which is against policy by itself."""
_OF_A_CUT = {
    "zip": ("zip-no-directory", "zip-damaged"),
    **{kind: (f"{kind}-damaged", "unopenable") for kind in filetype.STREAMS},
    **dict.fromkeys(("tnef", "7z", "cab"), ("unopenable",)),
}
"""What is found of a file that lacks its end, by its kind."""
_SHORT_CUT = 64
"""Bytes that are too few for a file of any of these kinds."""
_PLAIN = frozenset(("data", "text", "xml", "html", "svg", "mail"))
_PROGRAMS = frozenset(("exe", "dos", "elf", "macho"))
_HIDING = filetype.IMAGES | {"data", "text", "html", "media"}
"""Kinds behind which unpackers look for an archive, and which hold none as it is."""


def members(part: Part, budget: Budget) -> Iterator[Part]:
    """Yield what is packed in `part`, one level deep; append findings to `part.findings`.

    Each member has depth + 1, a path below its container's and all its names; those that can't be read are `sealed`
    and have no data. Members and their bytes are accounted for in `budget`; the depth is the caller's to check.
    Findings are complete when the iterator is exhausted. Raises LimitReached when a bound is hit and Unavailable when
    this machine lacks what is needed to look; a broken container is a finding.
    """
    kind = part.kind = part.kind or filetype.kind(part.data)
    try:
        if reader := _READERS.get(kind):
            yield from reader(part, bytes(part.data), budget)
        elif kind in filetype.UNOPENABLE:
            note(part, Verdict.POLICY, "cannot-open", f"a container ({kind}) that nothing here can open")
        elif kind == "data":
            _unknown(part)
        if kind in _PLAIN and not part.inner:
            yield from _by_program(part, budget)
        if kind != "zip":
            yield from _second_face(part, budget, kind)
        if part.cut and _lacks_its_end(kind, part.data):
            # Nobody sees more of it than what was seen here.
            of_a_cut = _OF_A_CUT.get(kind, ()) if len(part.data) > _SHORT_CUT else ("unopenable", "cannot-open")
            part.findings = [finding for finding in part.findings if finding.code not in of_a_cut]
    except (LimitReached, Unavailable, GeneratorExit):
        raise
    except Exception as error:
        # A reader of ours met what it did not foresee: never deliver that as looked into.
        unopenable(part, f"can't be read ({kind}): {type(error).__name__}")


def _by_program(part: Part, budget: Budget) -> Iterator[Part]:
    """What Office opens by its first bytes, though it is a text or nothing to everybody else."""
    if sheets.is_sylk(part.data):
        yield from sheets.sylk(part, bytes(part.data), budget)
    elif sheets.is_old(part.data):
        yield from sheets.old(part, bytes(part.data), budget)
    elif officexml.is_one(part.data):
        yield from officexml.members(part, bytes(part.data), budget)
    elif sheets.is_page(part, part.kind):
        yield from sheets.page(part, bytes(part.data), budget)
    named = any(holds(part.data, mark) for mark in (b":AttachedTemplate", b":WorksheetSource"))
    if named and sheets.loads_from_elsewhere(as_text(part.data)):
        note(part, Verdict.POLICY, "remote-template", "a page with its template or a sheet elsewhere")
    if holds(part.data, b"field-begin") and fields.asks_program(fields.of_page(as_text(part.data))):
        note(part, Verdict.POLICY, "dde-link", "a document that asks another program for data")


def _lacks_its_end(kind: str, data: Buffer) -> bool:
    """Whether a file ends before it should by what it says itself; kinds that are read from the front need not."""
    if kind == "7z":
        offset, size = (int.from_bytes(data[at : at + 8], "little") for at in (12, 20))
        return len(data) < 32 + offset + size or len(data) < 32
    return kind != "cab" or len(data) < int.from_bytes(data[8:12], "little") or len(data) < 36


def _unknown(part: Part) -> None:
    """Bytes of no known kind, under a name or a type that says archive."""
    if _companion(part):
        return
    is_zip = zipread.find_end(part.data) >= 0
    for name in part.names:
        if is_zip and _ZIP_NAME.search(name):
            continue
        if _VOLUME.search(name):
            note(part, Verdict.POLICY, "lone-volume", "a later volume of a set")
        elif _ARCHIVE_NAME.search(name):
            note(part, Verdict.POLICY, "cannot-open", "named as an archive, but of no kind that is known here")
    if _ARCHIVE_TYPE.match(part.content_type) and not (is_zip and _ZIP_TYPE.match(part.content_type)):
        note(part, Verdict.POLICY, "cannot-open", "declared as an archive, but of no kind that is known here")


def _hides_archive(data: Buffer) -> bool:
    """Whether another archive's mark stands in front of the zip: unrar and its kin look for theirs behind any bytes."""
    return _has_mark(bytes(data[:_FRONT]).partition(b"PK\x03\x04")[0])


def _has_mark(front: bytes) -> bool:
    return any(mark in front for mark in _SELF_EXTRACTING)


def _may_hide(part: Part, kind: str) -> bool:
    """Whether unpackers look for an archive in it: what they open for its name, a picture, or what nobody knows."""
    return kind in _HIDING or (kind not in filetype.ARCHIVES and any(_ARCHIVE_NAME.search(name) for name in part.names))


def _companion(part: Part) -> bool:
    """Whether it is what a system lays beside a document, under the document's name with a mark in front: the
    attributes that macOS keeps (AppleDouble), or who has the document open."""
    small = len(part.data) <= _COMPANION_MAX
    return _wraps(part.data) or (small and bool(part.names) and all(_COMPANION.match(name) for name in part.names))


def _wraps(data: Buffer) -> bool:
    """Whether it is a wrapping that holds a file as it is, under that file's name: a Macintosh one, or a signature."""
    head = bytes(data[:128])
    return apple.is_apple_file(head) or sealed.looks_like_cms(head) or apple.macbinary(bytes(data)) is not None


def _second_face(part: Part, budget: Budget, kind: str) -> Iterator[Part]:
    """What else the same bytes are: a zip is recognised by its end, a disk image by its 17th sector, a PDF anywhere in
    its first kilobyte."""
    data = part.data
    if len(data) > 22 and (end := zipread.find_end(data)) >= 0:
        carried = (
            kind in _CARRIERS or (kind == "pdf" and _in_pdf_stream(data, end)) or (kind == "data" and _wraps(data))
        )
        yield from _face(part, budget, kind, "zip", carried)
    elif kind in _PROGRAMS or (_may_hide(part, kind) and _has_mark(bytes(data[:_FRONT]))):
        yield from _self_extracting(part, bytes(data), budget)
    if kind in filetype.IMAGES and b"%PDF-" in bytes(data[: filetype.HEAD]):
        yield from _face(part, budget, kind, "pdf", carried=False)
    if kind not in ("udf", "iso") and filetype.is_iso(data):
        yield from _face(part, budget, kind, "iso", kind in _CARRIERS)


def _in_pdf_stream(data: Buffer, end: int) -> bool:
    """Whether the zip whose end record stands there is, as it is, an attachment of the PDF."""
    comment = int.from_bytes(bytes(data[end + 20 : end + 22]), "little")
    behind = bytes(data[end + 22 + comment : end + 22 + comment + 32]).lstrip(b"\r\n")
    size, offset = (int.from_bytes(bytes(data[end + at : end + at + 4]), "little") for at in (12, 16))
    start = end - size - offset
    before = bytes(data[max(0, start - 16) : max(0, start)]).rstrip(b"\r\n")
    return behind.startswith(b"endstream") and before.endswith(b"stream") and bytes(data[start : start + 2]) == b"PK"


def _face(part: Part, budget: Budget, kind: str, other: str, carried: bool) -> Iterator[Part]:
    """Open the part as another kind. Where that fails nobody sees anything, so it is no reason of its own.

    carried: the kind may hold the other as it is, so that looking at both is enough.
    """
    if not carried and (kind != "data" or _hides_archive(part.data)):
        # What nobody else knows shows nobody anything: some programs write a mark of their own in front of a zip.
        _say_face(part, kind, other)
    trial = Part(part.path, part.names, "", b"", part.depth)
    try:
        yield from _READERS[other](trial, bytes(part.data), budget)
    finally:
        dropped = Verdict.AMBIGUOUS if carried else None
        part.findings += (f for f in trial.findings if f.code != "unopenable" and f.verdict is not dropped)


def _say_face(part: Part, kind: str, other: str) -> None:
    if kind in _PROGRAMS:
        note(part, Verdict.POLICY, "self-extracting", f"a program that is a {other} archive too")
    else:
        note(part, Verdict.AMBIGUOUS, "polyglot", f"it is {kind} and {other} at the same time")


def _self_extracting(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The archive behind a program's own code or a picture. The mark may be part of that, too: then it is none."""
    for mark in _SELF_EXTRACTING:
        at = data.find(mark, 2)
        for _ in range(_TRIALS):
            if at < 0:
                break
            inner = filetype.kind(memoryview(data)[at:])
            trial = Part(part.path, part.names, "", b"", part.depth)
            opened = False
            for member in _READERS[inner](trial, data[at:], budget) if inner in _READERS else ():
                opened = True
                yield member
            if opened or any(f.verdict is Verdict.ENCRYPTED for f in trial.findings):
                if part.kind != "data":
                    _say_face(part, part.kind, inner)
                part.findings += trial.findings
                return
            at = data.find(mark, at + 4)
            budget.tick()


def _archive(kind: str) -> Reader:
    def read(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
        from gatescan.unpack import archive  # loads a shared library: only when such a thing comes

        return archive.members(part, data, budget, kind)

    return read


def _stream(kind: str) -> Reader:
    def read(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
        from gatescan.unpack import streams

        return streams.members(part, data, budget, kind)

    return read


def _iso(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    from gatescan.unpack import iso

    return iso.members(part, data, budget)


def _ole(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    from gatescan.unpack import ole

    return ole.members(part, data, budget)


def _rtf(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    from gatescan.unpack import rtf

    return rtf.members(part, data, budget)


def _pdf(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    from gatescan.unpack import pdf

    return pdf.members(part, data, budget)


def _tnef(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    from gatescan.unpack import tnef

    return tnef.members(part, data, budget)


def _onenote(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    from gatescan.unpack import onenote

    return onenote.members(part, data, budget)


def _active_mime(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """What a document that was saved as a web page or as XML keeps as a packed compound file: often its macros."""
    for start in dict.fromkeys((int.from_bytes(data[30:32], "little") + 46, 50, 554, data.find(b"x"))):
        content, _, _ = inflate(memoryview(data)[max(0, start) :], budget, 15)
        if content.startswith(_OLE_MARK):
            yield make(part, budget, (), content)
            return
    note(part, Verdict.POLICY, "macro", "the macro project of a document, which can't be read")


_READERS: dict[str, Reader] = {
    "zip": packages.members,
    **{k: _archive(k) for k in filetype.BY_LIBARCHIVE},
    **{k: _stream(k) for k in filetype.STREAMS},
    "iso": _iso,
    "ole": _ole,
    "msi": _ole,
    "rtf": _rtf,
    "pdf": _pdf,
    "tnef": _tnef,
    "onenote": _onenote,
    "office-xml": officexml.members,
    "activemime": _active_mime,
}
