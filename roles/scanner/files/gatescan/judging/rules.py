"""quarantine-attachments.txt: read, compile, load and match the administrators' rules.

The file is the one of qmail-scanner 1.x and 2.x: three columns separated by TABs, `#` comments.

    .vbs             0                  Visual Basic script          extension, any size (2.x: SIZE=-1)
    EICAR.COM        69                 EICAR test virus             name (any case) and exact size in bytes
    invoice.zip      -1                 Outbreak of 22 November      name, any size
    Pickles.*Lunch   Virus-Subject:     Pickles worm                 header: case-sensitive, matched as ^...$
    .*\\.ru          Policy-MAILFROM:   No mail from there           virtual header
    spf=fail         Policy-AUTH:       Not from there               the same: what gatekeeper says of it

A fourth column, which older versions ignore, narrows a rule: `inbound` or `outbound`, and recipient domains
as `@example.org` (`@.example.org` for all below it); several are separated by spaces or commas.

`Virus-` makes a hit `infected`, everything else is `policy`. Virtual headers: MAILFROM, RCPTTO, REMOTEIPADDR
(and TCPREMOTEIP), ZIPPASSWORDPROTECTED, ISSENSITIVEANDNOCRYPTO, CRYPTODETAILS, FILELENGTHTOOLONG,
FILEDOUBLEBARRELED, FILECLSID, AUTH; judge.py says what text each of them has.

outbreak.txt beside the file, in the same format, is read after it: rules that are added for some days by one command
on all gateways, and taken back without a change of the inventory.

Header text is hostile and regexes can be slow, so a regex sees at most HEADER_BOUND characters from each end. Even
so, one like `(a+)+b` may take for ever: then the worker's deadline ends it, and the sender gets 4xx.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gatescan.context import Context, covers
from gatescan.errors import GatescanError
from gatescan.model import Verdict

FORMAT = 1
"""Version of the compiled file; another one must be built anew."""

HEADER_BOUND = 8192
"""Characters of a header's text that a regex gets to see, from its beginning and, if it is longer, from its
end.
"""

VIRTUAL_HEADERS = frozenset(
    {
        "mailfrom",
        "rcptto",
        "remoteipaddr",
        "tcpremoteip",
        "auth",
        "zippasswordprotected",
        "issensitiveandnocrypto",
        "cryptodetails",
        "filelengthtoolong",
        "filedoublebarreled",
        "fileclsid",
    }
)

ANY_SIZE = -1

OUTBREAK = "outbreak.txt"
"""Name of the file, beside the rules' own text, with the rules of an outbreak. There need be none."""

FileState = tuple[int, int, int]
"""Modification time in nanoseconds, size and inode: what tells a replaced file from the one that was read."""
ABSENT: FileState = (0, 0, 0)

Kind = Literal["extension", "name", "header"]

_SIZE = re.compile(r"(?:SIZE=)?(-?\d{1,15})", re.IGNORECASE)
_HEADER = re.compile(r"(Virus|Policy)-([!-9;-~]+):", re.IGNORECASE)
_TABS = re.compile(r"\t+")


class RulesError(GatescanError):
    """The rules cannot be read; `problems` has one line for each mistake, as file:line:column: what."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the file.

    pattern: the extension without its dot, or the name, both in lower case; or the regex as written.
    size: exact size in bytes of the decoded part; -1 is any.
    header: the header's name in lower case, for a header rule.
    direction: `inbound`, `outbound` or empty for both. domains: of recipients; none means all.
    file: name of the file that it stands in, if that is not the rules' own text.
    """

    line: int
    kind: Kind
    pattern: str
    verdict: Verdict
    description: str
    size: int = ANY_SIZE
    header: str = ""
    direction: str = ""
    domains: tuple[str, ...] = ()
    file: str = ""

    def applies(self, context: Context) -> bool:
        """Does the rule's fourth column cover this message? One recipient of the domain is enough."""
        if self.direction and self.direction != context.direction:
            return False
        if not self.domains:
            return True
        present = context.recipient_domains
        return any(covers(wanted, domain) for wanted in self.domains for domain in present)


@dataclass(slots=True)
class RuleSet:
    """The rules, arranged so that a name costs one look-up."""

    source: str
    rules: tuple[Rule, ...] = ()
    mtime_ns: int = 0
    size: int = 0
    sha256: str = ""
    built: float = 0.0
    file_state: FileState = ABSENT
    extensions: dict[str, list[Rule]] = field(init=False, default_factory=dict)
    names: dict[str, list[Rule]] = field(init=False, default_factory=dict)
    headers: dict[str, list[tuple[re.Pattern[str], Rule]]] = field(init=False, default_factory=dict)
    virtual: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule.kind == "extension":
                self.extensions.setdefault(rule.pattern, []).append(rule)
            elif rule.kind == "name":
                self.names.setdefault(rule.pattern, []).append(rule)
            else:
                self.headers.setdefault(rule.header, []).append((re.compile(rule.pattern), rule))
        self.virtual = VIRTUAL_HEADERS & self.headers.keys()

    def where(self, rule: Rule) -> str:
        """The rule's place for reports, such as `quarantine-attachments.txt:12`."""
        return f"{rule.file or os.path.basename(self.source)}:{rule.line}"

    def match_name(self, name: str, size: int, context: Context) -> Rule | None:
        """The rule for exactly this name (already in lower case) and size, if there is one."""
        for rule in self.names.get(name, ()):
            if rule.size in (ANY_SIZE, size) and rule.applies(context):
                return rule
        return None

    def match_extension(self, extension: str, context: Context) -> Rule | None:
        """The rule for this extension (without the dot, in lower case), if there is one."""
        for rule in self.extensions.get(extension, ()):
            if rule.applies(context):
                return rule
        return None

    def match_header(self, name: str, text: str, context: Context) -> Iterator[Rule]:
        """The rules that the text of header `name` (in lower case) hits; the text has no line breaks."""
        candidates = self.headers.get(name)
        if not candidates:
            return
        looks = (text,) if len(text) <= HEADER_BOUND else (text[:HEADER_BOUND], text[-HEADER_BOUND:])
        for pattern, rule in candidates:
            if rule.applies(context) and any(pattern.fullmatch(look) for look in looks):
                yield rule


def parse(text: str, source: str) -> tuple[Rule, ...]:
    """Read the rules' text; raise RulesError naming every bad line and column."""
    rules: list[Rule] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            rules.append(_parse_line(line, number))
        except _LineError as error:
            problems.append(f"{source}:{number}:{error.column}: {error.problem}")
    if problems:
        raise RulesError(problems)
    return tuple(rules)


class _LineError(GatescanError):
    def __init__(self, column: int, problem: str) -> None:
        super().__init__(problem)
        self.column = column
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    column: int


def _cells(line: str) -> list[_Cell]:
    """The columns of a line with their places, counted from 1. Several TABs in a row separate like one."""
    cells = []
    start = 0
    for gap in _TABS.finditer(line):
        cells.append(_Cell(line[start : gap.start()], start + 1))
        start = gap.end()
    cells.append(_Cell(line[start:], start + 1))
    if len(cells) > 1 and not cells[-1].text.strip():
        cells.pop()
    return [_Cell(cell.text.strip(" "), cell.column) for cell in cells]


def _parse_line(line: str, number: int) -> Rule:
    cells = _cells(line)
    if len(cells) == 1:
        spaces = re.search(r" +", line)
        column = spaces.start() + 1 if spaces else len(line) + 1
        raise _LineError(column, "no TAB in this line; the columns are separated by TABs, not by spaces")
    pattern, second = cells[0], cells[1]
    if not pattern.text:
        raise _LineError(1, "the first column (extension, name or regex) is empty")
    if len(cells) < 3 or not cells[2].text:
        gap = re.search(r" {2,}", second.text)
        column = second.column + gap.start() if gap else len(line) + 1
        raise _LineError(column, "the third column (description) is missing; are there spaces for a TAB?")
    if len(cells) > 4:
        raise _LineError(cells[4].column, "more than four columns")
    direction, domains = _parse_scope(cells[3]) if len(cells) == 4 else ("", ())
    description = cells[2].text
    if "-" in second.text and (header := _HEADER.fullmatch(second.text)):
        _check_regex(pattern)
        verdict = Verdict.INFECTED if header[1].lower() == "virus" else Verdict.POLICY
        name = header[2].lower()
        return Rule(number, "header", pattern.text, verdict, description, ANY_SIZE, name, direction, domains)
    size = _parse_size(second)
    if pattern.text.startswith(".") and len(pattern.text) > 1:
        text = pattern.text[1:].lower()
        return Rule(number, "extension", text, Verdict.POLICY, description, ANY_SIZE, "", direction, domains)
    text = pattern.text.lower()
    return Rule(number, "name", text, Verdict.POLICY, description, size, "", direction, domains)


def _parse_size(cell: _Cell) -> int:
    found = _SIZE.fullmatch(cell.text)
    if found is None:
        if re.match(r"(virus|policy)-", cell.text, re.IGNORECASE):
            raise _LineError(cell.column, f"a header rule says Virus-Name: or Policy-Name:, not {cell.text!r}")
        raise _LineError(cell.column, f"not a size (such as 69, 0 or SIZE=-1) or Virus-Header: {cell.text!r}")
    return max(ANY_SIZE, int(found[1]))


def _parse_scope(cell: _Cell) -> tuple[str, tuple[str, ...]]:
    direction = ""
    domains = []
    for found in re.finditer(r"[^\s,]+", cell.text):
        word = found[0].lower()
        if word in ("inbound", "outbound") and not direction:
            direction = word
        elif word.startswith("@") and len(word) > 1:
            domains.append(word[1:])
        else:
            problem = f"the fourth column is inbound, outbound or @domain, not {found[0]!r}"
            raise _LineError(cell.column + found.start(), problem)
    return direction, tuple(domains)


def _check_regex(cell: _Cell) -> None:
    try:
        re.compile(cell.text)
    except (re.error, OverflowError) as error:
        place = getattr(error, "pos", None) or 0
        raise _LineError(cell.column + place, f"bad regular expression: {error}") from error


def build(source: Path, compiled: Path) -> RuleSet:
    """Compile `source` into `compiled`; raise RulesError and leave the old file alone on any mistake."""
    rules = read(source)
    compiled.parent.mkdir(parents=True, exist_ok=True)
    temporary = compiled.with_name(f".{compiled.name}.{os.getpid()}")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            # The daemon's user reads what root built, whatever root's umask is.
            os.fchmod(file.fileno(), 0o644)
            json.dump(_to_json(rules), file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, compiled)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RulesError([f"{compiled}: cannot write: {error.strerror}"]) from error
    return rules


def read(source: Path) -> RuleSet:
    """Parse the text file itself and the outbreak's beside it, as `gatescan check --rules` and `rules build` do."""
    states, raws = [], []
    rules: tuple[Rule, ...] = ()
    problems: list[str] = []
    for path in _texts(source):
        try:
            raw = path.read_bytes()
            states.append(path.stat())
            found = parse(raw.decode("utf-8"), str(path))
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            column = error.start - raw.rfind(b"\n", 0, error.start)
            problems.append(f"{path}:{line}:{column}: not UTF-8 text")
        except RulesError as error:
            problems.extend(error.problems)
        except OSError as error:
            problems.append(f"{path}: cannot read: {error.strerror}")
        else:
            raws.append(raw)
            rules += found if path == source else tuple(replace(rule, file=path.name) for rule in found)
    if problems:
        raise RulesError(problems)
    digest = hashlib.sha256(b"".join(raws)).hexdigest()
    return RuleSet(str(source), rules, *_edition(states), digest, time.time())


def _texts(source: Path) -> list[Path]:
    outbreak = source.with_name(OUTBREAK)
    return [source, outbreak] if outbreak.exists() else [source]


def _edition(states: Iterable[os.stat_result]) -> tuple[int, int]:
    """When the texts were last edited (in nanoseconds), and their bytes."""
    listed = list(states)
    return max(state.st_mtime_ns for state in listed), sum(state.st_size for state in listed)


def load(compiled: Path) -> RuleSet:
    """Load the compiled rules; raise RulesError when the file is missing, damaged or of another version."""
    state = file_state(compiled)
    try:
        data = json.loads(compiled.read_bytes())
        if data["format"] != FORMAT:
            raise RulesError([f"{compiled}: format {data['format']}; run `gatescan rules build`"])
        rules = _from_json(data)
        rules.file_state = state
        return rules
    except OSError as error:
        problem = f"{compiled}: cannot read: {error.strerror}; run `gatescan rules build`"
        raise RulesError([problem]) from error
    except (ValueError, KeyError, TypeError, re.error) as error:
        raise RulesError([f"{compiled}: damaged ({error}); run `gatescan rules build`"]) from error


def file_state(path: Path) -> FileState:
    """What `path` is now; ABSENT if it cannot be seen. Cheap enough for every message."""
    try:
        state = os.stat(path)
    except OSError:
        return ABSENT
    return state.st_mtime_ns, state.st_size, state.st_ino


def _to_json(rules: RuleSet) -> dict[str, object]:
    head = {key: getattr(rules, key) for key in ("source", "mtime_ns", "size", "sha256", "built")}
    return {"format": FORMAT, **head, "rules": [asdict(rule) for rule in rules.rules]}


def _from_json(data: dict[str, Any]) -> RuleSet:
    values = {key: data[key] for key in ("source", "mtime_ns", "size", "sha256", "built")}
    listed = data["rules"]
    if not isinstance(listed, list):
        raise TypeError("rules is not a list")
    rules = tuple(
        Rule(**{**entry, "verdict": Verdict(entry["verdict"]), "domains": tuple(entry["domains"])}) for entry in listed
    )
    return RuleSet(rules=rules, **values)


def is_stale(rules: RuleSet) -> bool:
    """Was the text edited since the rules were built? Then `gatescan rules build` was forgotten."""
    try:
        texts = _texts(Path(rules.source))
        if _edition(path.stat() for path in texts) == (rules.mtime_ns, rules.size):
            return False
        return hashlib.sha256(b"".join(path.read_bytes() for path in texts)).hexdigest() != rules.sha256
    except OSError:
        return True
