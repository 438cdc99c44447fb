"""What a leaf still hides: files as text, in HTML, in signed or Macintosh wrappings, whole messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatescan.judging import filetype
from gatescan.judging.budget import Budget
from gatescan.mime import apple, armour, calendar, charsets, markup, scripts, sealed
from gatescan.mime.enclosed import starts_as_entity
from gatescan.model import Buffer, Finding, Part, Verdict
from gatescan.text.large import holds
from gatescan.text.words import loose_base64

_MEDIA = frozenset(("font", "media", "sqlite"))
_TEXTUAL = frozenset(("office-xml", "svg", "hta", "batch", "encoded-script", "registry", "webquery"))
_BINARY = (
    filetype.ARCHIVES | filetype.DOCUMENTS | filetype.IMAGES | filetype.UNOPENABLE | filetype.EXECUTABLES | _MEDIA
) - _TEXTUAL
_TEXT_NAMES = (".txt", ".text", ".log", ".asc", ".csv", ".json", ".md", ".uu", ".uue", ".hqx", ".yenc", ".ntx")
_NEVER_TEXT = ("image/jpeg", "image/png", "image/gif", "audio/", "video/", "font/")
"""Types in which no client would ever look for text, but for pages by their name, and for files that are none."""
_CODED_NAME = re.compile(r"(.+)\.(?:b64|base64)[ .]*\Z", re.IGNORECASE | re.DOTALL)
_ONLY_BASE64 = re.compile(rb"\s*[A-Za-z0-9+/]{4}[A-Za-z0-9+/\s]*(?:=[=\s]*)?\Z")
_SIGNED_NAME = re.compile(r"(.+)\.(?:p7[a-z]|m7m|tsd|sig)(?![a-z])", re.IGNORECASE | re.DOTALL)
_SMIME_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")


def members(part: Part, text: bool, budget: Budget) -> Iterator[Part]:
    """What `part`, a text or not, holds one level down; findings go to `part.findings`. Raises LimitReached."""
    head = bytes(part.data[:128])
    if sealed.looks_like_cms(head) or part.content_type in _SMIME_TYPES:
        yield from _cms(part, sealed.cms_in_text(part.data) or bytes(part.data), budget)
    elif apple.is_apple_file(head):
        yield from _children(part, apple.forks(bytes(part.data)), budget)
    elif part.content_type in ("application/macbinary", "application/x-macbinary"):
        unpacked = apple.macbinary(bytes(part.data))
        if unpacked:
            yield from _children(part, [unpacked], budget)
    elif head[:1] >= b"\x80" and _pgp_named(part):
        if sealed.is_sealed_packet(head):
            part.findings.append(_sealed(sealed.PGP, "an OpenPGP encrypted file", part))
    elif text:
        yield from _in_text(part, charsets.ascii_view(part.data, part.charset), budget)


def is_text(part: Part) -> bool:
    """Whether a reader may look for text in a part: it is shown as such, or not known to be anything else."""
    is_page = markup.shown_as_markup(part.content_type, part.names)
    kind = part.kind or filetype.kind(part.data)
    if not is_page and kind != "text" and part.content_type.startswith(_NEVER_TEXT):
        return False
    if part.inner and kind in ("xml", "text"):
        return False  # a piece of a document, which its program reads
    return is_page or _shown_as_text(part) or not (kind in _BINARY or charsets.looks_binary(part.data))


def _in_text(part: Part, data: Buffer, budget: Budget) -> Iterator[Part]:
    if holds(data, b"-----BEGIN PGP MESSAGE") and sealed.is_sealed_pgp(data):
        part.findings.append(_sealed(sealed.PGP, "an OpenPGP encrypted text", part))
    der = sealed.cms_in_text(data)
    if der is not None:
        yield from _cms(part, der, budget)
        return
    yield from _children(part, armour.files(data, budget), budget)
    yield from _children(part, _coded(part, data, budget), budget)
    if calendar.is_calendar(data):
        if calendar.starts_program(data):
            detail = "a calendar entry or a card with a link that starts a program"
            part.findings.append(Finding(Verdict.POLICY, "program-link", detail, part.path))
        yield from _children(part, calendar.files(data, budget), budget)
    if markup.is_markup(data, part.content_type, part.names):
        yield from _typed_children(part, markup.members(part, data, part.charset, budget), budget)


def _coded(part: Part, data: Buffer, budget: Budget) -> Iterator[tuple[str, bytes]]:
    """What a file in base64 holds that is named so, as `report.doc.b64` is."""
    named = [found[1] for name in part.names if (found := _CODED_NAME.match(name))]
    if named and _ONLY_BASE64.match(bytes(data[:1024])):
        content = loose_base64(data)
        budget.spend(len(content))
        yield named[0], content


def _shown_as_text(part: Part) -> bool:
    """Whether clients show a part as text by its type or name, whatever its bytes are."""
    return part.content_type.startswith("text/") or any(
        name.lower().rstrip(". ").endswith(_TEXT_NAMES) for name in part.names
    )


def _pgp_named(part: Part) -> bool:
    return "pgp" in part.content_type or any(n.lower().endswith((".pgp", ".gpg")) for n in part.names)


def _cms(part: Part, der: bytes, budget: Budget) -> Iterator[Part]:
    content = sealed.open_cms(der, budget)
    if content.kind in ("sealed", "unknown") and (content.kind == "sealed" or part.content_type in _SMIME_TYPES):
        part.findings.append(_sealed(sealed.SMIME, "an S/MIME encrypted or unreadable part", part))
    if content.content:
        budget.part()
        # What is signed is a message as often as it is a file, which then has the name without `.p7m`.
        content_type = "message/rfc822" if starts_as_entity(content.content) else ""
        names = tuple(filter(None, (_unsigned(name) for name in part.names)))
        yield Part(f"{part.path}/signed", names, content_type, content.content, part.depth + 1)


def _unsigned(name: str) -> str:
    """The name of what is in a signed or time-stamped file; empty if that has no extension of its own."""
    signed = _SIGNED_NAME.match(name)
    return signed[1] if signed and "." in signed[1] else ""


def _sealed(code: str, detail: str, part: Part) -> Finding:
    return Finding(Verdict.ENCRYPTED, code, detail, part.path)


def _children(
    part: Part, files: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]], budget: Budget
) -> Iterator[Part]:
    for number, (name, content) in enumerate(files, 1):
        budget.part()
        names = (name,) if name else ()
        yield Part(f"{part.path}/{number}", names, "", content, part.depth + 1)


def _typed_children(part: Part, files: Iterator[scripts.File], budget: Budget) -> Iterator[Part]:
    for number, (names, media_type, content) in enumerate(files, 1):
        budget.part()
        yield Part(f"{part.path}/{number}", names, media_type, content, part.depth + 1)
