"""HTML and SVG: files carried in data: addresses, and scripts that build a file in the reader's browser."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator

from gatescan.judging import targets
from gatescan.judging.budget import Budget
from gatescan.mime import charsets
from gatescan.mime.scripts import Evidence, File, Peeler
from gatescan.model import Buffer, Finding, Part, Verdict
from gatescan.text.large import blocks, holds, windows

_MARKUP_TYPES = ("text/html", "application/xhtml", "image/svg")
_SVG_NAMES = (".svg", ".svgz")
_MARKUP_NAMES = (
    *(".html", ".htm", ".shtml", ".shtm", ".xhtml", ".xht", ".xhtm", ".hta", ".mht", ".mhtml", ".htc", ".xml", ".xsl"),
    *_SVG_NAMES,
)
_OPENING = re.compile(rb"<(?:!doctype\s+(?:html|svg)|(?:[\w.-]{1,40}:)?(?:html|head|body|script|svg|iframe)\b)", re.I)
_OPENING_BOUND = 1024
_BEHIND_COMMENTS = 1_000_000
"""Bytes in which a page that begins with `<` may have its first tag: comments of any length stand before it."""
_SVG = re.compile(rb"<(?:[\w.-]{1,40}:)?svg\b", re.I)
# Character references that write a letter otherwise than as itself, or break a word of an address.
_ENCODED_LETTER = re.compile(
    rb"&(?:#(?:x0{0,9}(?:[4-7][0-9a-f]|3a|9|a|d)|0{0,9}(?:58|6[5-9]|[7-9][0-9]|1[01][0-9]|12[0-2]|9|10|13))\b"
    rb"|(?:colon|tab|newline);)",
    re.I,
)
_REFERENCE = re.compile(rb"&(?:#\w{1,12}|[a-z]{2,8});?", re.I)
_SVG_ACTIVE = re.compile(
    rb"<(?:[\w.-]{1,40}:)?(?:script|iframe|embed|object|applet|handler|listener|form)\b"
    rb"|[\s\"'/]on[a-z]{3,24}\s{0,9}=\s{0,9}[\"'&]|attributename\s{0,9}=\s{0,9}[\"']?\s{0,9}on[a-z]"
    rb"|j\s{0,3}a\s{0,3}v\s{0,3}a\s{0,3}s\s{0,3}c\s{0,3}r\s{0,3}i\s{0,3}p\s{0,3}t\s{0,3}:|vbscript:|data:text/(?:html|xml|xsl)"
    rb"|<!attlist[^>]{0,200}\son[a-z]|<!entity\s[^>]{0,200}[\"'][^\"'>]{0,200}(?:<|&#x?0*3c|&#0*60)|http-equiv\s{0,9}=",
    re.I,
)
_SCRIPT_WORDS = (b"<script", b":script", b"script:")
_WORDS = (b"srcdoc", b"<html", b"data:")
_HANDLERS = (
    *(b"search-ms:", b"search:query=", b"search:crumb=", b"search:displayname="),
    *(b"ms-msdt:", b"ms-officecmd:", b"ms-appinstaller:"),
)
"""Addresses that Windows hands to a program of its own, which starts others or shows another machine's files."""
_TO_HANDLER = re.compile(
    rb"(?:href|src|action|data|url|location|open|assign|replace)[\"'`\])]{0,2}\s{0,9}[=(:]\s{0,9}[\"'`]?\s{0,9}(?:%s)"
    % b"|".join(_HANDLERS),
    re.IGNORECASE,
)
_TO_FILE = re.compile(rb"href\s{0,9}=\s{0,9}[\"']?\s{0,9}(file:[^\"'<>]{1,500})")
_LONGEST_LINK = 600
_SVG_WORD = re.compile(rb"v(?<=sv)g")
"""Found by its rarest letter, in half the time."""
_HANDLER = re.compile(rb"on[a-z]{3,24}\s{0,9}=")
_BEFORE_ATTRIBUTES = b" \t\r\n\f\"'/"
_SCRIPTED = frozenset((b"<script", b":script", b"script:", b"srcdoc", b"on"))


def is_markup(data: Buffer, content_type: str, names: tuple[str, ...]) -> bool:
    """Whether a client would show `data` as HTML or SVG, by type, name or (if not plain text) first tags."""
    return shown_as_markup(content_type, names) or (content_type != "text/plain" and opens_as_markup(data))


def shown_as_markup(content_type: str, names: tuple[str, ...]) -> bool:
    """Whether a client would show a part as HTML or SVG by its type or name, whatever its bytes are."""
    if content_type.startswith(_MARKUP_TYPES):
        return True
    return bool(names) and any(name.lower().rstrip(". ").endswith(_MARKUP_NAMES) for name in names)


def opens_as_markup(data: Buffer) -> bool:
    """Whether the first tags are those of a page or an image."""
    head = bytes(data[:64]).lstrip(b"\xef\xbb\xbf\0 \t\r\n\f")
    return _OPENING.search(data, 0, _BEHIND_COMMENTS if head[:1] == b"<" else _OPENING_BOUND) is not None


def members(part: Part, plain: Buffer, charset: str, budget: Budget) -> Iterator[File]:
    """The files in a page or an image; what is wrong with it itself goes to `part.findings`. Raises LimitReached.

    `plain` is the part's text as `charsets.ascii_view` shows it.
    """
    budget.spend(len(plain))
    decoded = charsets.from_utf7(plain, charset)
    if decoded is not None:
        if decoded.count(b"<") > bytes(plain).count(b"<"):
            _note(part, Verdict.AMBIGUOUS, "html-charset", "tags in UTF-7")
        plain = decoded
    if _ENCODED_LETTER.search(plain):
        plain = _unescaped(plain)
    seen = _seen(plain)
    if b"svg" in seen and _is_svg(part, seen) and _SVG.search(plain) and _SVG_ACTIVE.search(plain):
        _note(part, Verdict.POLICY, "svg-script", "an SVG image with a script")
    if b"handler" in seen:
        _note(part, Verdict.POLICY, "program-link", "a page with a link that starts a program")
    peeler = Peeler(budget)
    if not seen.isdisjoint(_SCRIPTED):
        yield from peeler.files(_unescaped(plain))
        _judge_scripts(part, peeler.evidence)
    elif b"data:" in seen:
        yield from peeler.addresses(plain)


def _seen(plain: Buffer) -> set[bytes]:
    """Which of the words above stand in a page, in any case, however addresses are broken; `on` for a handler,
    `handler` for an address that a program of Windows handles."""
    found: set[bytes] = set()
    for window in windows(plain, _LONGEST_LINK):
        lower = window.lower()
        flat = lower.translate(None, b"\t\r\n")
        words = (*_WORDS, *_SCRIPT_WORDS) if b"script" in flat else _WORDS
        if any(word in flat and _TO_HANDLER.search(flat) for word in _HANDLERS):
            found.add(b"handler")
        links = _TO_FILE.finditer(flat) if b"file:" in flat else ()
        if any(targets.starts_program_of_page(link[1].decode("latin-1")) for link in links):
            found.add(b"handler")
        found.update(word for word in words if word in flat)
        if _SVG_WORD.search(flat):
            found.add(b"svg")
        if any(lower[at.start() - 1] in _BEFORE_ATTRIBUTES for at in _HANDLER.finditer(lower, 1)):
            found.add(b"on")
    return found


def _judge_scripts(part: Part, evidence: Evidence) -> None:
    if evidence.builds_a_file:
        _note(part, Verdict.POLICY, "html-smuggling", "a script that builds a file to save")
    elif evidence.hides_a_script:
        _note(part, Verdict.POLICY, "html-hidden-script", "a script that hides what it does")


def _note(part: Part, verdict: Verdict, code: str, detail: str) -> None:
    part.findings.append(Finding(verdict, code, detail, part.path))


def _unescaped(plain: Buffer) -> Buffer:
    """HTML with its character references replaced, but for `<`, which is text where it is written so."""
    if not holds(plain, b"&"):
        return plain
    out = io.BytesIO()
    known: dict[bytes, bytes] = {}
    for block in blocks(plain, b">"):
        out.write(_REFERENCE.sub(lambda found: _character(found[0], known), block))
    return out.getvalue()


def _character(reference: bytes, known: dict[bytes, bytes]) -> bytes:
    if (found := known.get(reference)) is None:
        text = html.unescape(reference.decode("ascii", "replace")).encode("utf-8", "replace")
        found = known[reference] = reference if text[:1] in (b"<", b"\0") else text
    return found


def _is_svg(part: Part, seen: set[bytes]) -> bool:
    if part.content_type.startswith("image/svg") or any(n.lower().endswith(_SVG_NAMES) for n in part.names):
        return True
    return b"<html" not in seen and not part.content_type.startswith("text/html")
