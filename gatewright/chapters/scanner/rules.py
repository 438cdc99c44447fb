"""quarantine-attachments.txt, the scanner's rules, from the inventory's list."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from gatescan.judging import rules

from gatewright import MANAGED
from gatewright.domains import parse_domain
from gatewright.problems import Problems, as_list, check_keys, entry_name, kind_of

VARIABLE = "scanner_rules"
EXTRA = "scanner_extra_rules"
HEADER = f"# {MANAGED}\n"
SHIPPED = Path(__file__).resolve().parents[3] / "roles/scanner/files/gatescan/share/quarantine-attachments.txt"
"""The rules that the package ships and the role begins with. Its comments `# [name]` begin a section each."""
TODAY = "today"
"""The section of what is refused beside the paper's list."""
_SECTION = re.compile(r"# \[(\w+)\]")
_HEADER_RULE = re.compile(r"(Virus|Policy)-(.+):")
_KINDS = ("extension", "name", "header")
_KEYS = {*_KINDS, "size", "pattern", "virus", "direction", "domains", "description"}
_ANY_SIZE = "SIZE=-1"
# What stands behind a name's last dot; neither a list nor a pattern, which no name would ever match.
_EXTENSION = re.compile(r"[^\s./\\*?,;:|<>\"]+")
_HEADER_NAME = re.compile(r"[!-9;-~]+")


def scanner_rules(listed: object, variable: str = VARIABLE, extra: object = None) -> str:
    """Render the list of rules, one TAB-delimited line each.

    extra: the site's rules (scanner_extra_rules), which stand behind them. An item is an extension as a string (`exe`,
    with or without its dot), or a mapping with one of
    `extension`; `name` and, if it is to be exact, `size` in bytes; `header` (a header's name, or a virtual one)
    and `pattern` (a regular expression for all of its text). Further keys: `description` (a shipped extension has
    one already), `virus` (header rules only: a hit counts as a virus), `direction` (inbound or outbound) and
    `domains` (of recipients, `.example.org` for all below). Raises InventoryError with all problems.
    """
    problems = Problems()
    lines = read_rules(problems, {variable: listed, EXTRA: extra})
    problems.raise_if_any()
    return HEADER + "".join(f"{line}\n" for line in lines)


def read_rules(problems: Problems, lists: Mapping[str, object]) -> list[str]:
    """The lines of the rules in several lists, by the names of their variables.

    Twice in one list is a slip; in two lists the later one, the site's, takes the place of the other.
    """
    lines: dict[tuple[str, ...], str] = {}
    for variable, listed in lists.items():
        names: dict[tuple[str, ...], str] = {}
        for index, item in enumerate(as_list(problems, variable, listed)):
            _read_rule(problems, entry_name(variable, index, _shown(item)), item, lines, names)
    return list(lines.values())


def _shown(item: object) -> object:
    return next((item[kind] for kind in _KINDS if kind in item), item) if isinstance(item, dict) else item


def _read_rule(
    problems: Problems,
    where: str,
    item: object,
    lines: dict[tuple[str, ...], str],
    names: dict[tuple[str, ...], str],
) -> None:
    item = {"extension": item} if isinstance(item, str) else item
    if not isinstance(item, dict):
        problems.add(where, f"must be an extension or a mapping, not {kind_of(item)}")
        return
    before = len(problems.found)
    check_keys(problems, where, item, _KEYS)
    what = _what(problems, where, item)
    scope = _scope(problems, where, item)
    key = (what[0].lower() if "name" in item else what[0], *what[1:], *scope)  # names match in any case
    if names.setdefault(key, where) != where:
        problems.add(where, f"is a duplicate of {names[key]}")
    lines[key] = "\t".join((*what, _description(problems, where, item), *scope))
    if len(problems.found) == before:
        _ask_the_scanner(problems, where, lines[key])


def _ask_the_scanner(problems: Problems, where: str, line: str) -> None:
    """The scanner's own parser has the last word on a line."""
    try:
        rules.parse(line, where)
    except rules.RulesError as error:
        for problem in error.problems:
            problems.add(where, problem.removeprefix(f"{where}:1:").partition(": ")[2])


def shipped_rules(todays: bool = True) -> list[dict[str, object]]:
    """The shipped rules as the inventory would write them; without the section of today unless `todays`."""
    return [dict(rule) for section, rule in _shipped() if todays or section != TODAY]


@cache
def _shipped() -> tuple[tuple[str, dict[str, object]], ...]:
    found, section = [], ""
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        if begins := _SECTION.match(line):
            section = begins[1]
        elif line and not line.startswith("#"):
            found.append((section, _item(*line.split("\t"))))
    return tuple(found)


def _item(pattern: str, second: str, description: str) -> dict[str, object]:
    if header := _HEADER_RULE.fullmatch(second):
        made: dict[str, object] = {"header": header[2], "pattern": pattern}
        return {**made, **({"virus": True} if header[1] == "Virus" else {}), "description": description}
    if pattern.startswith("."):
        return {"extension": pattern[1:], "description": description}
    return {"name": pattern, "size": int(second), "description": description}


@cache
def _known_descriptions() -> dict[str, str]:
    """What the shipped rules say of an extension."""
    return {str(rule["extension"]): str(rule["description"]) for _, rule in _shipped() if "extension" in rule}


def scanner_domains(listed: Iterable[object]) -> list[str]:
    """The domains of routes or plain ones as the scanner compares them: in ASCII, and `.example.org` for all below.

    A route with `subdomains` is both. What is no domain is left out; the check of the inventory names it.
    """
    found: dict[str, None] = {}
    for item in listed:
        route = item if isinstance(item, Mapping) else {"domain": item}
        text = route.get("domain")
        if not isinstance(text, str):
            continue
        with contextlib.suppress(ValueError):
            dot = "." if text.startswith(".") else ""
            domain = parse_domain(text.removeprefix("."))
            found[dot + domain] = None
            if route.get("subdomains") is True:
                found["." + domain] = None
    return list(found)


def _what(problems: Problems, where: str, item: dict[str, object]) -> tuple[str, str]:
    """The first two columns."""
    kinds = [kind for kind in _KINDS if kind in item]
    if len(kinds) != 1:
        problems.add(where, f"needs exactly one of {', '.join(_KINDS)}")
        return where, ""
    kind = kinds[0]
    for key, owner in (("size", "name"), ("pattern", "header"), ("virus", "header")):
        if key in item and kind != owner:
            problems.add(where, f"{key} goes with {owner} only")
    value = item[kind]
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        problems.add(where, f"{kind} must be one line of text, without a TAB, not {value!r}")
        return where, ""
    if kind == "extension":
        if not _EXTENSION.fullmatch(value.removeprefix(".")):
            problems.add(where, f"{value!r} is not an extension, which is what stands behind a name's last dot")
        return f".{value.removeprefix('.').lower()}", _ANY_SIZE
    if kind == "name":
        return _name(problems, where, value), _size(problems, where, item.get("size", -1))
    return _header(problems, where, value, item)


def _name(problems: Problems, where: str, value: str) -> str:
    if value.startswith((".", "#")) or value != value.strip():
        problems.add(where, f"the name {value!r} begins with a dot or #, or has spaces around it")
    return value


def _size(problems: Problems, where: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int) or value < -1:
        problems.add(where, f"size must be a number of bytes (-1: any), not {value!r}")
    return _ANY_SIZE if value == -1 else str(value)


def _header(problems: Problems, where: str, value: str, item: dict[str, object]) -> tuple[str, str]:
    pattern = item.get("pattern")
    if not _HEADER_NAME.fullmatch(value):
        problems.add(where, f"{value!r} is not the name of a header (write it without its colon)")
    if not isinstance(pattern, str) or not pattern.strip():
        problems.add(where, "needs pattern, a regular expression for the header's text")
        pattern = ""
    if "\t" in pattern or "\n" in pattern or pattern.startswith("#") or pattern != pattern.strip():
        problems.add(where, "pattern has a TAB, a line's end, spaces around it or # first; write \\t, \\n, [ ] or [#]")
    try:
        re.compile(pattern)
    except re.error as error:
        problems.add(where, f"pattern is not a regular expression: {error}")
    virus = item.get("virus", False)
    if not isinstance(virus, bool):
        problems.add(where, f"virus must be true or false, not {virus!r}")
    return pattern, f"{'Virus' if virus else 'Policy'}-{value}:"


def _description(problems: Problems, where: str, item: dict[str, object]) -> str:
    extension = str(item.get("extension", "")).removeprefix(".").lower()
    value = item.get("description", _known_descriptions().get(extension, "Not allowed by policy"))
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        problems.add(where, "description must be one line of text, without a TAB")
        return ""
    return value.strip()


def _scope(problems: Problems, where: str, item: dict[str, object]) -> tuple[str, ...]:
    """The fourth column, or none."""
    words: list[str] = []
    direction = item.get("direction")
    if direction in ("inbound", "outbound"):
        words.append(str(direction))
    elif direction is not None:
        problems.add(where, f"direction must be inbound or outbound, not {direction!r}")
    for domain in as_list(problems, f"{where}: domains", item.get("domains")):
        text = domain if isinstance(domain, str) else ""
        try:
            words.append(f"@{'.' if text.startswith('.') else ''}{parse_domain(text.removeprefix('.'))}")
        except ValueError as error:
            problems.add(where, str(error))
    return (" ".join(words),) if words else ()
