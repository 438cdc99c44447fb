"""A held message that can do nothing: its header, its text, its parts with what was found in them, and why it is held.

The scanner's own reader finds the parts, within bounds; nothing is unpacked, run or fetched. What an archive holds is
known from the scanner's findings alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatescan.judging.budget import Budget, Limits
from gatescan.mime.header import unfold
from gatescan.mime.tree import Walk, read_every_way
from gatescan.model import Part
from gatescan.text.words import decode_words, text

from gatewright.chapters.scanner.rules import shipped_rules
from gatewright.console.words import words

LIMITS = Limits(bytes_out=60_000_000, parts=500, seconds=5.0)
_DOMAIN = re.compile(r"[a-z0-9.-]+")
LONGEST_TEXT = 20_000
"""Characters of a text that are shown."""
MOST_FIELDS = 100
WHY = {
    "infected": "it was recognised as malware",
    "policy": "a rule of this site holds such mail",
    "encrypted": "it has content that is sealed, so that nobody on the way can look into it",
    "ambiguous": "mail programs may show something else than what was looked at",
    "limit": "it could not wholly be looked into within the bounds of time and size",
    "engine-error": "an engine could not look at it",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A part in the tree. depth: how far it is indented. found: what was found in it."""

    path: str
    depth: int
    names: Sequence[str]
    type: str
    size: int | None
    found: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What is shown of a message. is_cut: whether the text goes on."""

    fields: Sequence[tuple[str, str]]
    text: str
    is_cut: bool
    is_of_html: bool
    rows: Sequence[Row]


def preview(message: bytes, findings: Iterable[Mapping[str, Any]]) -> Preview:
    """Look at a message."""
    walk = read_every_way(message, Budget(LIMITS, len(message)))
    chosen = readable(walk.parts)
    is_html = chosen is not None and chosen.content_type == "text/html"
    shown = shown_text(chosen) if chosen else ""
    return Preview(header(walk), shown[:LONGEST_TEXT], len(shown) > LONGEST_TEXT, is_html, tree(walk.parts, findings))


def header(walk: Walk) -> list[tuple[str, str]]:
    """The fields in their order, decoded."""
    fields = walk.top.fields[:MOST_FIELDS] if walk.top else []
    return [(name.decode("latin-1").title(), decode_words(unfold(value))) for name, value in fields]


def readable(parts: Sequence[Part]) -> Part | None:
    """The text to show: a plain one before one of HTML, and no file."""
    texts = [part for part in parts if part.content_type in ("text/plain", "text/html") and not part.names]
    return min(texts, key=lambda part: part.content_type != "text/plain", default=None)


def shown_text(part: Part) -> str:
    """A part's text; of HTML the words alone."""
    # HTML takes more room than its words
    decoded = text(bytes(part.data[: 10 * LONGEST_TEXT]), part.charset)
    return words(decoded) if part.content_type == "text/html" else decoded.replace("\r\n", "\n")


def tree(parts: Sequence[Part], findings: Iterable[Mapping[str, Any]]) -> list[Row]:
    """All parts, with members of archives that something was found in, in their order."""
    found: dict[str, list[str]] = {}
    for one in findings:
        said = found.setdefault(str(one.get("part", "")), [])
        said.append(": ".join(str(one[name]) for name in ("verdict", "detail") if one.get(name)))
    rows = [Row(part.path, _depth(part.path), part.names, part.content_type, len(part.data)) for part in parts]
    known = {row.path for row in rows}
    rows += [Row(path, _depth(path), (path.rpartition("/")[2],), "", None) for path in found if path not in known]
    whole = [Row("", 0, (), "the whole message", None, found[""])] if "" in found else []
    rows = [Row(r.path, r.depth, r.names, r.type, r.size, found.pop(r.path, ())) for r in rows if r.path]
    return whole + sorted(rows, key=lambda row: _order(row.path))


def _depth(path: str) -> int:
    return path.count(".", 0, (path + "/").index("/")) + path.count("/")


def _order(path: str) -> tuple[Any, ...]:
    place, _, members = path.partition("/")
    return ([int(word) if word.isdigit() else 0 for word in place.split(".")], members)


def why(entry: Mapping[str, Any]) -> str:
    """Why it is held, in a sentence."""
    verdict, reason, rule = (str(entry.get(name, "")) for name in ("verdict", "reason", "rule"))
    by = f" ({'by' if verdict == 'infected' else 'rule'} {rule})" if rule else ""
    sentence = f"It is held because {WHY.get(verdict, 'the scanner stopped it')}{by}"
    return f"{sentence}: {reason}." if reason else f"{sentence}."


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the inventory would say so that such mail passes. lines: to be copied, empty if there is none."""

    says: str
    lines: Sequence[str] = field(default=())


NEVER = {
    "infected": "Malware cannot be allowed. If it was none, tell the engine's maker, and release this message.",
    "engine-error": "Nothing can be allowed here: an engine failed. `gw status` says which.",
}


def allowance(entry: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> Allowance:
    """The inventory's lines for the recipients' domains; the host is never changed from here."""
    verdict = str(entry.get("verdict", ""))
    if verdict in NEVER:
        return Allowance(NEVER[verdict])
    suffixes = set(map(_suffix, findings))
    if verdict == "policy" and suffixes and "" not in suffixes:
        return _without(suffixes)
    return _by_domain(entry, verdict)


def _suffix(finding: Mapping[str, Any]) -> str:
    """The extension that a rule holds, if there is one and it can be written into an inventory as it is."""
    if finding.get("code") != "rule-extension":
        return ""
    suffix = str(finding.get("detail", "")).partition(": ")[0].rpartition(".")[2].lower()
    return suffix if suffix.isascii() and suffix.isalnum() else ""


def _without(suffixes: Collection[str]) -> Allowance:
    shipped = [rule for rule in shipped_rules() if rule.get("extension") in suffixes]
    if len(shipped) < len(suffixes):
        return Allowance("This is a rule of your own: take it out of scanner_rules or scanner_extra_rules.")
    return Allowance(
        "For everybody: files with this extension are not held any more. Where the inventory has a list of its own, "
        "take the extension out there.",
        [f'scanner_rules: "{{{{ scanner_todays_extensions | scanner_shipped_rules | difference({shipped}) }}}}"'],
    )


def _by_domain(entry: Mapping[str, Any], verdict: str) -> Allowance:
    domains = sorted({address.rpartition("@")[2].lower() for address in map(str, entry.get("recipients", ()))})
    if not domains or not verdict or not all(_DOMAIN.fullmatch(domain) for domain in domains):
        return Allowance("There is no line for this; release what is right.")
    actions = ", ".join(f"{domain}: {{{verdict}: tag}}" for domain in domains)
    return Allowance(
        f"For these recipients' domains: all mail with the verdict {verdict} is tagged and passes. That is a lot; an "
        "entry that stands in the inventory already is to be joined with it.",
        [f"scanner_actions: {{domains: {{{actions}}}}}"],
    )
