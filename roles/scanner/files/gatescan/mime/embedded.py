"""What a leaf still hides: files as text, in HTML, in signed or Macintosh wrappings, whole messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gatescan.budget import Budget
from gatescan.large import holds
from gatescan.mime import apple, armour, markup, sealed
from gatescan.model import Buffer, Finding, Part, Verdict

_MESSAGE_NAMES = (".eml", ".mht", ".mhtml", ".nws", ".mbox")
_MESSAGE_START = re.compile(rb"(?:>?From [^\n]*\n)?(?:[!-9;-~]{1,60}:[^\n]*\n(?:[ \t][^\n]*\n)*){2}", re.ASCII)
_MIME_LINE = re.compile(rb"^(?:mime-version|content-type|received|from|subject|date):", re.MULTILINE | re.IGNORECASE)
_SMIME_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")


def is_message(data: bytes, names: tuple[str, ...] = ()) -> bool:
    """Whether a client would open a leaf of these names as a message of its own."""
    return any(n.lower().endswith(_MESSAGE_NAMES) for n in names) and starts_as_message(data)


def starts_as_message(data: bytes) -> bool:
    """Whether `data` begins with at least two header fields, one of them well-known."""
    head = bytes(data[:4096])
    return _MESSAGE_START.match(head) is not None and _MIME_LINE.search(head) is not None


def members(part: Part, charset: str, budget: Budget) -> Iterator[Part]:
    """What `part` holds one level down; findings go to `part.findings`. Raises LimitReached."""
    head = bytes(part.data[:128])
    if sealed.looks_like_cms(head) or part.content_type in _SMIME_TYPES:
        yield from _cms(part, budget)
    elif apple.is_apple_file(head):
        name, forks = apple.forks(bytes(part.data))
        yield from _children(part, ((name, fork) for fork in forks), budget)
    elif part.content_type in ("application/macbinary", "application/x-macbinary"):
        unpacked = apple.macbinary(bytes(part.data))
        if unpacked:
            yield from _children(part, [unpacked], budget)
    elif _is_binary(head):
        if head[0] & 0x80 and _pgp_named(part) and sealed.is_sealed_packet(head):
            part.findings.append(_sealed(sealed.PGP, "an OpenPGP encrypted file", part))
    else:
        yield from _in_text(part, part.data, charset, budget)


def _in_text(part: Part, data: Buffer, charset: str, budget: Budget) -> Iterator[Part]:
    if holds(data, b"-----BEGIN PGP MESSAGE") and sealed.is_sealed_pgp(data):
        part.findings.append(_sealed(sealed.PGP, "an OpenPGP encrypted text", part))
    if _opaque(part):
        return
    yield from _children(part, armour.files(data, budget), budget)
    if markup.is_markup(data, part.content_type, part.names):
        findings, files = markup.inspect(data, part.content_type, part.names, charset, part.path, budget)
        part.findings += findings
        yield from _children(part, files, budget)


def _opaque(part: Part) -> bool:
    """Whether no client would ever look for text in a part of this type."""
    return part.content_type.startswith(("image/jpeg", "image/png", "image/gif", "audio/", "video/", "font/"))


def _is_binary(head: bytes) -> bool:
    """Whether NUL bytes show that this is no text; UTF-16 and UTF-32 are text."""
    if b"\0" not in head or head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[:4] == b"\0\0\xfe\xff":
        return head[:2] == b"\x1f\x8b"
    wide = head[:64]
    return not (b"<\0" in wide or b"\0<" in wide) or wide.count(0) * 3 < len(wide)


def _pgp_named(part: Part) -> bool:
    return "pgp" in part.content_type or any(n.lower().endswith((".pgp", ".gpg")) for n in part.names)


def _cms(part: Part, budget: Budget) -> Iterator[Part]:
    content = sealed.open_cms(bytes(part.data), budget)
    if content.kind in ("sealed", "unknown") and (content.kind == "sealed" or part.content_type in _SMIME_TYPES):
        part.findings.append(_sealed(sealed.SMIME, "an S/MIME encrypted or unreadable part", part))
    if content.content:
        budget.part()
        budget.check_depth(part.depth + 1)
        yield Part(f"{part.path}/smime", (), "message/rfc822", content.content, part.depth + 1)


def _sealed(code: str, detail: str, part: Part) -> Finding:
    return Finding(Verdict.ENCRYPTED, code, detail, part.path)


def _children(
    part: Part, files: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]], budget: Budget
) -> Iterator[Part]:
    for number, (name, content) in enumerate(files, 1):
        budget.part()
        budget.check_depth(part.depth + 1)
        names = (name,) if name else ()
        yield Part(f"{part.path}/{number}", names, "", content, part.depth + 1)
