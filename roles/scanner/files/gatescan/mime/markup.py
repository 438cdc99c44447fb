"""HTML and SVG: files carried in data: URLs, and scripts that build a file in the reader's browser."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from gatescan.budget import Budget
from gatescan.large import blocks, held, holds
from gatescan.model import Buffer, Finding, Verdict
from gatescan.words import codec, loose_base64

_MARKUP_TYPES = ("text/html", "application/xhtml", "image/svg")
_MARKUP_NAMES = (".html", ".htm", ".shtml", ".xhtml", ".svg", ".svgz", ".hta", ".mht", ".mhtml", ".xht")
_OPENING = re.compile(rb"<(?:!doctype\s+(?:html|svg)|html|head|body|script|svg)\b", re.I)
_DATA_URL = re.compile(rb"data:\s{0,20}([a-z0-9.+/;=\"'_-]{0,200}?)(;\s{0,9}base64\s{0,9})?,([^\"'<>)\\]*+)", re.I)
_DOWNLOAD = re.compile(rb"\bdownload\s{0,9}=\s{0,9}[\"']?([^\"'<>\s]{1,255})", re.I)
_LITERAL = re.compile(rb"[\"'`](TV[opqr][A-Za-z0-9+/=]{60,}+|UEsD[A-Za-z0-9+/=]{60,}+|UmFy[A-Za-z0-9+/=]{60,}+)")
_ENCODED_LETTER = re.compile(rb"&#(?:x0{0,9}[4-7][0-9a-f]|0{0,9}(?:6[5-9]|[7-9][0-9]|1[01][0-9]|12[0-2]))\b", re.I)
_UTF7_TAG = b"+ADw"
"""`<` in UTF-7."""
_ACTIVE = re.compile(
    rb"<script|\bon(?:load|click|mouseover|error|begin|focus)\s{0,9}=|javascript:|<foreignobject", re.I
)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w-]{1,40})", re.I)
_BOMS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# A browser saves what a script built by one of the first; the second is how the bytes get there.
_SAVES = (b"createobjecturl", b"mssaveoropenblob", b"mssaveblob", b".download")
_BUILDS = (b"atob(", b"uint8array", b"fromcharcode", b"new blob", b"new file(", b"unescape(", b"base64")
_WORDS = frozenset((*_SAVES, *_BUILDS, b"<html", b"<script", b"atob", b"data:", b"download"))

File = tuple[str, bytes]


def is_markup(data: Buffer, content_type: str, names: tuple[str, ...]) -> bool:
    """Whether a client would show `data` as HTML or SVG, by type, name or (if not plain text) first tags."""
    if content_type.startswith(_MARKUP_TYPES):
        return True
    if any(name.lower().rstrip(". ").endswith(_MARKUP_NAMES) for name in names):
        return True
    return content_type != "text/plain" and _OPENING.search(data, 0, 1024) is not None


def plain_bytes(data: Buffer, charset: str) -> tuple[Buffer, bool]:
    """(`data` in an ASCII-compatible charset, whether its charset hides tags from who reads bytes).

    Only UTF-7, UTF-16 and UTF-32 differ from ASCII where tags are concerned.
    """
    head = bytes(data[:1024])
    wide = next((name for bom, name in _BOMS if head.startswith(bom)), "")
    declared = codec(charset) if charset else None
    if not wide and declared and declared.startswith(("utf-16", "utf-32", "utf-7")):
        wide = declared
    if not wide and head[:64].count(0) >= 16:
        wide = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    tagged = not wide and holds(data, _UTF7_TAG)
    if not wide and (tagged or b"utf-7" in head.lower()):
        meta = _META_CHARSET.search(data, 0, 4096)
        if tagged or (meta and codec(meta[1].decode("ascii")) == "utf-7"):
            wide = "utf-7"
    if not wide:
        return data, False
    narrow = bytes(data)
    plain = narrow.decode(wide, "replace").encode("utf-8", "replace")
    return plain, b"<" in plain and (wide == "utf-7" and plain.count(b"<") > narrow.count(b"<"))


def inspect(
    data: Buffer, content_type: str, names: tuple[str, ...], charset: str, path: str, budget: Budget
) -> tuple[list[Finding], Iterator[File]]:
    """(what is wrong with the document itself, the files in it). Raises LimitReached."""
    budget.spend(len(data))
    plain, hidden = plain_bytes(data, charset)
    if holds(plain, b"&#") and _ENCODED_LETTER.search(plain):
        plain = _unescaped(plain)
    seen = held(plain, _WORDS)
    findings = []
    if hidden:
        findings.append(_finding(Verdict.AMBIGUOUS, "html-charset", "tags in UTF-7", path))
    if b"<svg" in bytes(plain[:4096]).lower() and _is_svg(seen, content_type, names) and _ACTIVE.search(plain):
        findings.append(_finding(Verdict.POLICY, "svg-script", "an SVG image with a script", path))
    elif b"<script" in seen and not seen.isdisjoint(_SAVES) and not seen.isdisjoint(_BUILDS):
        findings.append(_finding(Verdict.POLICY, "html-smuggling", "a script that builds a file to save", path))
    return findings, _files(plain, seen, budget)


def _unescaped(plain: Buffer) -> bytes:
    """HTML with its character references replaced; none of them has a `>` in it."""
    out = io.BytesIO()
    for block in blocks(plain, b">"):
        out.write(html.unescape(block.decode("utf-8", "replace")).encode("utf-8", "replace"))
    return out.getvalue()


def _finding(verdict: Verdict, code: str, detail: str, path: str) -> Finding:
    return Finding(verdict, code, detail, path)


def _is_svg(seen: set[bytes], content_type: str, names: tuple[str, ...]) -> bool:
    if content_type.startswith("image/svg") or any(n.lower().endswith((".svg", ".svgz")) for n in names):
        return True
    return b"<html" not in seen and not content_type.startswith("text/html")


def _files(plain: Buffer, seen: set[bytes], budget: Budget) -> Iterator[File]:
    if b"data:" in seen:
        label = _DOWNLOAD.search(plain) if b"download" in seen else None
        name = label[1].decode("utf-8", "replace") if label else ""
        for url in _DATA_URL.finditer(plain):
            content = loose_base64(unquote_to_bytes(url[3])) if url[2] else unquote_to_bytes(url[3])
            budget.spend(len(content))
            if content.strip():
                yield name, content
    if b"<script" in seen or b"atob" in seen:
        for literal in _LITERAL.finditer(plain):
            content = loose_base64(literal[1])
            budget.spend(len(content))
            yield "", content
