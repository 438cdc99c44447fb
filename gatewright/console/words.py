"""The words of a page of HTML, for somebody who is to judge it: without what is no text of it, in linear time.

Python's own reader takes minutes for a page of 100 kB that opens one comment after another.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

BREAKS = frozenset(("p", "div", "br", "tr", "li", "h1", "h2", "h3", "table", "blockquote"))
"""Elements that begin a line."""
# A quote counts behind `=` alone, as for browsers. Nothing is tried twice: a stranger chose the page.
_TAG = re.compile(r"""<(/?)([a-z][^\s/>]*+)((?:=\s*+(?:"[^"]*+"|'[^']*+')|[^>=]|=)*+)>""", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s/=]++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s"']\S*+|))?+""")
_CODE_END = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style")}
# html.unescape fails at a number of thousands of digits
_REFERENCE = re.compile(r"&(?:#\w{1,9}(?!\w)|\w{2,32});?")


def words(page: str) -> str:
    """What a person reads, with line breaks; where a link leads stands behind it. What has no end stands as it is."""
    found, link = [], ""
    for text, tag in _pieces(page):
        found.append(f"{' '.join(unescaped(text).split())} " if text.strip() else "")
        if tag is None:
            continue
        name, is_end = tag[2].lower(), bool(tag[1])
        if name in BREAKS and not is_end:
            found.append("\n")
        elif name == "a":
            found.append(f"[{link}] " if is_end and link else "")
            link = "" if is_end else target(tag[3])
    return "\n".join(line for line in map(str.strip, "".join(found).split("\n")) if line)


def target(attributes: str) -> str:
    """Where a link leads: its first href."""
    for one in _ATTRIBUTE.finditer(attributes):
        if one[1].lower() == "href":
            return unescaped((one[2] or "").strip("\"'")).strip()
    return ""


def unescaped(text: str) -> str:
    """Text with its character references replaced."""
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text)


def _pieces(page: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Texts, each with the tag behind it, or None: a comment, or nothing at all."""
    place = 0
    while (start := page.find("<", place)) >= 0:
        tag = _TAG.match(page, start)
        end = _end(page, start, tag)
        if end < 0:
            break
        yield page[place : end if end == start + 1 else start], tag
        place = end
    yield page[place:], None


def _end(page: str, start: int, tag: re.Match[str] | None) -> int:
    """Where what begins with this `<` ends; -1 if it does not."""
    if tag is not None:
        code = None if tag[1] else _CODE_END.get(tag[2].lower())
        if code is None:
            return tag.end()
        closing = code.search(page, tag.end())
        return closing.start() if closing else -1
    opens = page[start + 1 : start + 2]
    if page.startswith("<!--", start):
        found = page.find("-->", start + 2)
        return found + 3 if found >= 0 else -1
    if opens in ("!", "?", "/"):
        return page.find(">", start) + 1 or -1
    return -1 if opens.isascii() and opens.isalpha() else start + 1
