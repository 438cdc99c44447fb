"""Field codes of Word: those that ask another program for data (DDE, DDEAUTO), those that load a file from another
machine, and links that start a program, however they are put together.

Readers of docx, RTF and XML documents hand over a document's field codes as one text, in which a field stands between
BEGIN and END, and its result behind SEPARATE.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from gatescan.judging import targets

BEGIN, SEPARATE, END = "\x11", "\x12", "\x13"

_INNERMOST = re.compile(rf"{BEGIN}([^{BEGIN}{SEPARATE}{END}]*)(?:{SEPARATE}[^{BEGIN}{END}]*)?{END}")
_QUOTE = re.compile(r"\s*QUOTE\b(.*)\Z", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"0x[0-9a-f]{1,4}|\d{1,5}", re.IGNORECASE)
_DDE = re.compile(r"\s*\"?DDE(?:AUTO)?(?![a-z0-9_])", re.IGNORECASE)
_LOADS = re.compile(
    r"\s*\"?(?:(LINK)\s+(?:\"[^\"]*\"|\S+)|(INCLUDEPICTURE|IMPORT)|INCLUDE(?:TEXT)?)\s+(?:\"([^\"]*)\"?|(\S+))",
    re.IGNORECASE,
)
_LINK = re.compile(r"\s*\"?HYPERLINK\s+(?:\"([^\"]*)\"?|([^\s\\]\S*|\\{2}\S+))", re.IGNORECASE)
_TAG_OR_TEXT = re.compile(r"<([^>]*)>?|([^<]+)")
_MARK = re.compile(r"mso-element\s{0,9}:\s{0,9}field-(begin|separator|end)", re.IGNORECASE)
_MARKS = {"begin": BEGIN, "separator": SEPARATE, "end": END}
_ROUNDS = 5
"""Fields in fields that are put together: an honest document nests no instruction in an instruction's first word."""


def asks_program(text: str) -> bool:
    """Whether a field's instruction is DDE or DDEAUTO, be it put together by QUOTE with the numbers of its letters."""
    return any(_DDE.match(code) for code in _codes(text))


def loads_from_elsewhere(text: str) -> bool:
    """Whether a field loads a text, an object or a picture from another machine. Pictures on the web are everyday
    things, as links are."""
    for code in _codes(text):
        if found := _LOADS.match(code):
            link, picture, quoted, bare = found.groups()
            kind = "link" if link else "picture" if picture else "attachedtemplate"
            if targets.from_elsewhere(kind, (quoted or bare or "").replace("\\\\", "\\")):
                return True
    return False


def starts_program(text: str) -> bool:
    """Whether a field is a link that starts a program."""
    links = filter(None, (_LINK.match(code) for code in _codes(text)))
    return any(targets.starts_program((link[1] or link[2] or "").replace("\\\\", "\\")) for link in links)


def of_page(text: str) -> str:
    """The text of a web page that Word wrote, with its fields between their marks."""
    out = []
    for found in _TAG_OR_TEXT.finditer(text):
        tag, plain = found.groups()
        if plain is not None:
            out.append(html.unescape(plain))
        elif mark := _MARK.search(tag):
            out.append(_MARKS[mark[1].lower()])
    return "".join(out)


def _codes(text: str) -> Iterator[str]:
    """The instructions of a text's fields, and those that other fields put together."""
    for _ in range(_ROUNDS):
        yield from text.split(BEGIN)[1:]
        inner, text = text, _INNERMOST.sub(_result, text)
        if text == inner:
            return


def _result(found: re.Match[str]) -> str:
    """What a field leaves behind: of QUOTE its text, of others nothing."""
    quote = _QUOTE.match(found.group(1))
    if quote is None:
        return ""
    text = quote.group(1).strip()
    numbers = text.split()
    if numbers and all(_NUMBER.fullmatch(number) for number in numbers):
        codes = (int(n, 16) if n[:2].lower() == "0x" else int(n) for n in numbers)
        return "".join(chr(code) if code < 0xD800 else "" for code in codes)
    return text.strip('"')
