"""HTML and SVG: files carried in data: URLs, and scripts that build a file in the reader's browser."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from gatescan.budget import Budget
from gatescan.model import Finding, Verdict
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

File = tuple[str, bytes]


def is_markup(data: bytes, content_type: str, names: tuple[str, ...]) -> bool:
    """Whether a client would show `data` as HTML or SVG, by type, name or (if not plain text) first tags."""
    if content_type.startswith(_MARKUP_TYPES):
        return True
    if any(name.lower().rstrip(". ").endswith(_MARKUP_NAMES) for name in names):
        return True
    return content_type != "text/plain" and _OPENING.search(data, 0, 1024) is not None


def plain_bytes(data: bytes, charset: str) -> tuple[bytes, bool]:
    """(`data` in an ASCII-compatible charset, whether its charset hides tags from who reads bytes).

    Only UTF-7, UTF-16 and UTF-32 differ from ASCII where tags are concerned.
    """
    wide = next((name for bom, name in _BOMS if data.startswith(bom)), "")
    declared = codec(charset) if charset else None
    if not wide and declared and declared.startswith(("utf-16", "utf-32", "utf-7")):
        wide = declared
    if not wide and data[:64].count(0) >= 16:
        wide = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    if not wide and (b"utf-7" in data[:1024].lower() or _UTF7_TAG in data):
        meta = _META_CHARSET.search(data, 0, 4096)
        if _UTF7_TAG in data or (meta and codec(meta[1].decode("ascii")) == "utf-7"):
            wide = "utf-7"
    if not wide:
        return data, False
    plain = data.decode(wide, "replace").encode("utf-8", "replace")
    return plain, b"<" in plain and (wide == "utf-7" and plain.count(b"<") > data.count(b"<"))


def inspect(
    data: bytes, content_type: str, names: tuple[str, ...], charset: str, path: str, budget: Budget
) -> tuple[list[Finding], Iterator[File]]:
    """(what is wrong with the document itself, the files in it). Raises LimitReached."""
    budget.spend(len(data))
    plain, hidden = plain_bytes(data, charset)
    if b"&#" in plain and _ENCODED_LETTER.search(plain):
        plain = html.unescape(plain.decode("utf-8", "replace")).encode("utf-8", "replace")
    lower = plain.lower()
    findings = []
    if hidden:
        findings.append(_finding(Verdict.AMBIGUOUS, "html-charset", "tags in UTF-7", path))
    if b"<svg" in lower[:4096] and _is_svg(lower, content_type, names) and _ACTIVE.search(lower):
        findings.append(_finding(Verdict.POLICY, "svg-script", "an SVG image with a script", path))
    elif b"<script" in lower and _smuggles(lower):
        findings.append(_finding(Verdict.POLICY, "html-smuggling", "a script that builds a file to save", path))
    return findings, _files(plain, lower, budget)


def _finding(verdict: Verdict, code: str, detail: str, path: str) -> Finding:
    return Finding(verdict, code, detail, path)


def _is_svg(lower: bytes, content_type: str, names: tuple[str, ...]) -> bool:
    if content_type.startswith("image/svg") or any(n.lower().endswith((".svg", ".svgz")) for n in names):
        return True
    return b"<html" not in lower and not content_type.startswith("text/html")


def _smuggles(lower: bytes) -> bool:
    return any(word in lower for word in _SAVES) and any(word in lower for word in _BUILDS)


def _files(plain: bytes, lower: bytes, budget: Budget) -> Iterator[File]:
    if b"data:" in lower:
        label = _DOWNLOAD.search(plain) if b"download" in lower else None
        name = label[1].decode("utf-8", "replace") if label else ""
        for url in _DATA_URL.finditer(plain):
            content = loose_base64(unquote_to_bytes(url[3])) if url[2] else unquote_to_bytes(url[3])
            budget.spend(len(content))
            if content.strip():
                yield name, content
    if b"<script" in lower or b"atob" in lower:
        for literal in _LITERAL.finditer(plain):
            content = loose_base64(literal[1])
            budget.spend(len(content))
            yield "", content
