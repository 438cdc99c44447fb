"""The judge: opens a message wholly, applies the rules and the built-in policies, and asks the engines.

`judge` never raises for what a message contains. A bound that is hit is a `limit` finding; anything
unforeseen is an `engine-error`, because what could not be looked at is not known to be clean.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gatescan import mime, unpack
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import authentication, filetype, names
from gatescan.judging.authentication import Authentication
from gatescan.judging.budget import Budget, LimitReached
from gatescan.judging.rules import Rule, RuleSet
from gatescan.model import Buffer, Finding, Part, Report, Verdict
from gatescan.text import printable
from gatescan.text.words import decode_words

log = logging.getLogger("gatescan.judge")

_LINE_END = re.compile(r"[\r\n]+[ \t]*")
_CLSID = re.compile(r"\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}", re.IGNORECASE)
_DOUBLE = re.compile(r"\.[a-z][a-z0-9]{1,3}\s*\.[a-z][a-z0-9]{1,3}\s*$", re.IGNORECASE)
_SENSITIVE = frozenset({"personal", "private", "company-confidential"})
_SCRIPTS = frozenset(("batch", "registry", "webquery"))
_READ = frozenset(("txt", "text", "log", "md"))
"""Extensions of files that open in an editor."""
FEW_NAMES = 8
"""Names of one part. Formats that tie names loosely to files give each file all of them, which grows by the square."""
NAME_COST = 200
"""Bytes of the budget that a look at one more name counts as: it takes as long as unpacking so many."""
LONG_NAME = 255
"""A file name of more characters is what the virtual header FILELENGTHTOOLONG is about."""


class Engine(Protocol):
    """An antivirus or spam scanner. Raises, or reports `engine-error`, when it could not look."""

    name: str

    def scan(self, message: Buffer, report: MessageReport, context: Context) -> list[Finding]:
        """What it finds in the message as it came and in the parts of the report."""


@dataclass(slots=True)
class MessageReport(Report):
    """A Report with what the journal, the quarantine and the notices want to know of the message.

    sizes: decoded size in bytes of each of `parts`.
    authentication: who it is from; None: nobody was asked.
    automatic: from a list, a robot or a mail system: nobody is to be told about it by mail.
    """

    sizes: list[int] = field(default_factory=list)
    subject: str = ""
    from_: str = ""
    message_id: str = ""
    automatic: bool = False
    authentication: Authentication | None = None


def judge(
    data: Buffer,
    context: Context,
    rules: RuleSet,
    config: Config,
    engines: Sequence[Engine] = (),
) -> MessageReport:
    """Judge one message; `data` is all of it, without the header room of the spool."""
    budget = Budget(config.limits, len(data))
    walk = _Walk(data, context, rules, budget, keep_data=bool(engines))
    walk.report.authentication = authentication.of(context, config)
    budget.within_time(walk.run)
    report = walk.report
    if budget.is_late and not any(finding.code == "limit-time" for finding in report.findings):
        # The alarm was caught by code that goes on: what it looked at is not known.
        walk.out_of_time()
    for engine in engines:
        try:
            report.findings.extend(engine.scan(data, report, context))
        except Exception as error:
            log.exception("engine %s failed", engine.name)
            detail = f"{engine.name}: {type(error).__name__}: {printable(str(error), 200)}"
            report.findings.append(Finding(Verdict.ENGINE_ERROR, "engine-failed", detail, source=engine.name))
    return report


class _Walk:
    """One pass over a message's parts and everything that is packed in them."""

    def __init__(self, data: Buffer, context: Context, rules: RuleSet, budget: Budget, keep_data: bool) -> None:
        self.data = data
        self.context = context
        self.rules = rules
        self.budget = budget
        self.keep_data = keep_data
        self.report = MessageReport(size=len(data))
        self.volumes = unpack.Volumes()
        # A bound of the whole message was reached: nothing more is opened.
        self.spent = False

    def run(self) -> None:
        try:
            parsed = mime.parse(self.data, self.budget)
            self._read_headers(parsed)
            self.report.findings.extend(parsed.findings)
            for part in parsed.parts:
                self._open(part)
            self.report.findings += self.volumes.findings()
            self._virtual_headers(parsed)
        except LimitReached as limit:
            self._limit(limit, "")
        except MemoryError:
            self._limit(LimitReached("memory", "more memory than a worker may have"), "")
        except Exception as error:
            self._failed(error, "")

    def _open(self, top: Part) -> None:
        """Look at a leaf of the message and, depth first and without recursion, at what is packed in it."""
        self._look(top)
        open_parts = [(top, self._members(top))]
        while open_parts:
            part, members = open_parts[-1]
            try:
                member = next(members, None)
                if member is not None:
                    self.budget.check_depth(member.depth)
                    self._look(member)
                    open_parts.append((member, self._members(member)))
                    continue
            except LimitReached as limit:
                self._limit(limit, part.path)
                self.spent = limit.code != "depth"
            except MemoryError:
                self._limit(LimitReached("memory", "more memory than a worker may have"), part.path)
                self.spent = True
            except Exception as error:
                self._failed(error, part.path)
            open_parts.pop()
            self._done(part)
            if self.spent:
                self._abandon(open_parts)

    def _members(self, part: Part) -> Iterator[Part]:
        """What is packed in a part, one level down, by its bytes and by what mail programs see in them."""
        if self.spent or part.sealed or not len(part.data):
            return
        yield from unpack.members(part, self.budget)
        yield from mime.members(part, self.budget)

    def _abandon(self, open_parts: list[tuple[Part, Iterator[Part]]]) -> None:
        while open_parts:
            self._done(open_parts.pop()[0])

    def _done(self, part: Part) -> None:
        """Take over the findings of a part once nothing more comes out of it, and let its bytes go."""
        self.report.findings.extend(part.findings)
        part.findings = []
        if not self.keep_data and part.depth:
            part.data = b""

    def _look(self, part: Part) -> None:
        """Test the part's names and its real type."""
        report = self.report
        report.parts.append(part)
        size = len(part.data)
        report.sizes.append(size)
        if part.names:
            if len(part.names) > FEW_NAMES:
                self.budget.spend(NAME_COST * len(part.names))
            self._test_names(part, part.names, size)
            self.volumes.see(part)
        elif made_up := names.of_type(part.content_type):
            self._test_names(part, made_up, size)
        if part.sealed or not size:
            return
        if not part.kind:
            part.kind = filetype.kind(part.data)
        if part.kind in filetype.EXECUTABLES and not _is_only_read(part):
            detail = f"an executable program ({part.kind})"
            report.findings.append(Finding(Verdict.POLICY, "executable", detail, part.path))

    def _test_names(self, part: Part, known: tuple[str, ...], size: int) -> None:
        rules, context = self.rules, self.context
        for name in known:
            self.report.findings += names.anomalies(name, part.path)
        seen: set[int] = set()
        for name in names.variants(known):
            if (rule := rules.match_name(name, size, context)) and rule.line not in seen:
                seen.add(rule.line)
                self._hit(rule, "name", f"{printable(name)}: {rule.description}", part.path)
            # A piece of a document is opened by no one by its name: its bytes count.
            for extension in names.extensions(name) if not part.inner else ():
                if (rule := rules.match_extension(extension, context)) and rule.line not in seen:
                    seen.add(rule.line)
                    self._hit(rule, "extension", f"{printable(name)}: {rule.description}", part.path)

    def _hit(self, rule: Rule, what: str, detail: str, path: str = "") -> None:
        code = f"rule-{what}"
        self.report.findings.append(Finding(rule.verdict, code, detail, path, self.rules.where(rule)))

    def _read_headers(self, parsed: mime.Parsed) -> None:
        report = self.report
        report.subject = parsed.subject
        report.from_ = parsed.from_
        report.message_id = parsed.message_id
        report.automatic = parsed.is_list_or_auto
        wanted = self.rules.headers
        seen: set[int] = set()
        for key, value in parsed.headers:
            if key in wanted:
                for text in header_texts(value):
                    self._test_header(key, text, seen)
        if "content-type" in wanted:
            for part in parsed.parts:
                self._test_header("content-type", part.content_type, seen)

    def _test_header(self, key: str, text: str, seen: set[int]) -> None:
        for rule in self.rules.match_header(key, text, self.context):
            if rule.line not in seen:
                seen.add(rule.line)
                self._hit(rule, "header", f"{key}: {rule.description}")

    def _virtual_headers(self, parsed: mime.Parsed) -> None:
        wanted = self.rules.virtual
        if not wanted:
            return
        seen: set[int] = set()
        for key, texts in virtual_headers(self.report, parsed, self.context).items():
            for text in texts if key in wanted else ():
                self._test_header(key, text, seen)

    def out_of_time(self) -> None:
        """The time was up."""
        self._limit(LimitReached("time", f"more than {self.budget.limits.seconds:g} seconds"), "")

    def _limit(self, limit: LimitReached, path: str) -> None:
        self.report.findings.append(Finding(Verdict.LIMIT, f"limit-{limit.code}", limit.detail, path))

    def _failed(self, error: Exception, path: str) -> None:
        log.error("could not look into %s", path or "the message", exc_info=error)
        detail = f"could not look into it: {type(error).__name__}: {printable(str(error), 200)}"
        self.report.findings.append(Finding(Verdict.ENGINE_ERROR, "scanner-failed", detail, path))


def _is_only_read(part: Part) -> bool:
    """Whether a script is the text of a mail or a file that an editor shows, as in `@echo off ...` for a colleague: it
    runs by its name alone."""
    if part.kind not in _SCRIPTS:
        return False
    if not part.names:
        return part.content_type.startswith("text/")
    return all(extensions and extensions <= _READ for extensions in map(names.extensions, part.names))


def header_texts(value: bytes) -> list[str]:
    """A header's text as rules see it: on one line, as it came and, if it has encoded words, decoded too."""
    try:
        raw = value.decode("utf-8")
    except UnicodeDecodeError:
        raw = value.decode("latin-1")
    raw = _LINE_END.sub(" ", raw).strip()
    if "=?" not in raw:
        return [raw]
    decoded = _LINE_END.sub(" ", decode_words(value)).strip()
    return [raw] if decoded == raw else [raw, decoded]


def virtual_headers(report: MessageReport, parsed: mime.Parsed, context: Context) -> dict[str, list[str]]:
    """The texts of qmail-scanner's virtual headers for one message.

    Where the old ones were flags, there is one text `1` and, to name them, the file's name as another.
    """
    file_names = [name for part in report.parts for name in part.names]
    protected = [f.part.rpartition("/")[2] for f in report.findings if f.verdict is Verdict.ENCRYPTED]
    crypto = [f.code for f in report.findings if f.verdict is Verdict.ENCRYPTED]
    sensitivity = [v.strip().lower() for n, v in parsed.headers if n.lower() == "sensitivity"]
    bare = not crypto and any(value.decode("latin-1") in _SENSITIVE for value in sensitivity)
    return {
        "mailfrom": [context.sender],
        "rcptto": list(context.recipients),
        "remoteipaddr": [context.remote_ip],
        "tcpremoteip": [context.remote_ip],
        "zippasswordprotected": _flag(protected),
        "issensitiveandnocrypto": ["1"] if bare else [],
        "cryptodetails": crypto,
        "filelengthtoolong": _flag([name for name in file_names if len(name) > LONG_NAME]),
        "filedoublebarreled": _flag([name for name in file_names if _DOUBLE.search(name)]),
        "auth": authentication.texts(report.authentication),
        "fileclsid": _flag([name for name in file_names if _CLSID.search(name)]),
    }


def _flag(found: list[str]) -> list[str]:
    return ["1", *found] if found else []
