"""One message from the daemon's hands to an answer: judge, decide, hold, tell, write down.

What must be safe is on the disk before the answer is given. What cannot be done safely is answered with 4xx,
so that the sender keeps the message and tries again: nothing is lost, and nothing passes that was not looked
at.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Protocol

from gatescan import __version__
from gatescan.config import Config
from gatescan.context import Context
from gatescan.health import metrics
from gatescan.judging import authentication
from gatescan.judging.judge import Engine, MessageReport, judge
from gatescan.judging.rules import ABSENT, FileState, RulesError, RuleSet, file_state, is_stale, load
from gatescan.model import Buffer, Finding, Verdict
from gatescan.outcome import asked, notify
from gatescan.outcome.alarm import Alarm
from gatescan.outcome.journal import Journal
from gatescan.outcome.letters import Event
from gatescan.outcome.policy import TEMPORARY, Decision, decide
from gatescan.outcome.quarantine import Entry, Quarantine, QuarantineFull, new_id
from gatescan.service.seldom import Seldom
from gatescan.text import printable

log = logging.getLogger("gatescan")


class Ids(Protocol):
    """What ties a message to other logs; `pid` is the queue client's, and then qmail-queue's."""

    @property
    def pid(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to the queue client.

    code 0 with headers_to_add: pass the message on with these lines in front. code 0 without: it is held, and
    done with. Any other code: the client's exit code; text goes to the custom text descriptor (first byte D
    or Z). replaced: bytes of the message's beginning in whose place the lines are.
    """

    code: int
    text: str = ""
    headers_to_add: bytes = b""
    replaced: int = 0


@dataclass(slots=True)
class Services:
    """All that a worker keeps from one message to the next. Open it after the fork."""

    config: Config
    journal: Journal
    quarantine: Quarantine
    counters: metrics.Counters
    notices: notify.Spool
    desk: asked.Desk
    alarm: Alarm
    complaints: Seldom
    engines: Sequence[Engine] = ()
    rules: RuleSet | None = None
    _rules_seen: FileState = ABSENT
    _stale: bool = field(default=False)

    @classmethod
    def open(cls, config: Config, engines: Sequence[Engine] = (), loaded: RuleSet | None = None) -> Services:
        """Open the logs and counters, and the rules unless `loaded`; OSError if a directory is missing."""
        versions = ", ".join(engine.name for engine in engines) or f"gatescan {__version__}"
        quarantine, notices = Quarantine(config.quarantine), notify.Spool(config)
        services = cls(
            config=config,
            journal=Journal(config.journal, versions),
            quarantine=quarantine,
            counters=metrics.Counters(config.journal.counters),
            notices=notices,
            desk=asked.Desk(config),
            alarm=Alarm(config, quarantine, notices),
            complaints=Seldom(log),
            engines=engines,
            rules=loaded,
            _rules_seen=loaded.file_state if loaded else ABSENT,
        )
        services.refresh_rules()
        return services

    def refresh_rules(self) -> None:
        """Load the compiled rules if they changed; what cannot be loaded leaves the old ones in force."""
        path = self.config.rules.compiled
        seen = file_state(path)
        if seen == self._rules_seen and self.rules is not None:
            return
        try:
            self.rules = load(path)
            log.info("%d rules from %s", len(self.rules.rules), path)
        except RulesError as error:
            self.counters.add("gatescan_rules_reload_failures_total")
            consequence = "the old rules stay in force" if self.rules else "every message gets 4xx"
            log.error("%s; %s", error, consequence)
        self._rules_seen = seen

    def publish_metrics(self) -> None:
        """Write the metrics file if it is due, and say once when the rules have become stale."""
        if not metrics.due(self.config):
            return
        stale = self.rules is None or is_stale(self.rules)
        if stale and not self._stale and self.rules is not None:
            log.warning("%s was edited; run `gatescan rules build`", self.rules.source)
        self._stale = stale
        with contextlib.suppress(OSError):
            metrics.publish(self.config, gauges(self.rules, stale, self.quarantine))

    def close(self) -> None:
        """Close what is open."""
        self.journal.close()
        self.quarantine.close()
        self.counters.close()


class Handler:
    """What the daemon calls with each message.

    Made once, before the workers are forked, so that they share the code and the rules; each process opens
    logs and counters of its own with its first message.
    """

    def __init__(self, config: Config, engines: Sequence[Engine] = ()) -> None:
        self.config = config
        self.engines = engines
        self._services: Services | None = None
        self._aside: list[Services | None] = []
        self._loaded: RuleSet | None = None
        try:
            self._loaded = load(config.rules.compiled)
        except RulesError as error:
            log.error("%s; until then every message gets 4xx", error)

    def __call__(self, message: Buffer, context: Context, ids: Ids) -> Outcome:
        return handle(self._open(), message, context, ids)

    def doomed(self, message: Buffer, context: Context, ids: Ids, detail: str) -> Outcome:
        """Treat a message that killed who looked at it as a `limit`."""
        finding = Finding(Verdict.LIMIT, "limit-death", detail)
        return handle(self._open(), message, context, ids, MessageReport(size=len(message), findings=[finding]))

    def tick(self) -> None:
        """Without messages, too, the figures of the last ones are published, and stale rules are told of."""
        services = self._open()
        services.refresh_rules()
        services.publish_metrics()

    def apart(self) -> None:
        """In a copy of the process: logs and index are the other one's; they stay open and are not used."""
        self._aside.append(self._services)
        self._services = None

    def _open(self) -> Services:
        if self._services is None:
            self._services = Services.open(self.config, self.engines, self._loaded)
        return self._services


def gauges(loaded: RuleSet | None, stale: bool, quarantine: Quarantine) -> metrics.Gauges:
    """What is measured at the moment of a publication."""
    count, total = quarantine.totals()
    held = metrics.Gauges(
        rules_stale=stale, quarantine_messages=count, quarantine_bytes=total, quarantine_fill=quarantine.fill()
    )
    return held if loaded is None else replace(held, rules=len(loaded.rules), rules_built=loaded.built)


def handle(
    services: Services, message: Buffer, context: Context, ids: Ids, report: MessageReport | None = None
) -> Outcome:
    """Judge one message, unless there is a report on it, and do what follows. Never raises: what goes wrong is 4xx."""
    started = time.perf_counter()
    try:
        services.refresh_rules()
        report = report or _judged(services, message, context)
        _authenticate(report, context, services.config)
        decision = decide(report, context, services.config)
        outcome, decision, held = _carry_out(services, message, report, decision, context, started)
    except Exception:
        log.exception("a message from process %d could not be handled", ids.pid)
        return Outcome(TEMPORARY)
    # Its fate is sealed: nothing that fails from here on may change the answer.
    try:
        _account(services, report, decision, context, time.perf_counter() - started, ids.pid, held)
    except Exception:
        log.exception("a message from process %d could not be written down", ids.pid)
    return outcome


def _judged(services: Services, message: Buffer, context: Context) -> MessageReport:
    config = services.config
    if services.rules is None:
        report = MessageReport(size=len(message))
        detail = f"no rules: {config.rules.compiled} cannot be read; run `gatescan rules build`"
        report.findings.append(Finding(Verdict.ENGINE_ERROR, "rules-missing", detail))
    else:
        report = judge(message, context, services.rules, config, services.engines)
    return report


def _authenticate(report: MessageReport, context: Context, config: Config) -> None:
    """What gatekeeper said counts whatever else is found, and without its word nothing passes."""
    if authentication.is_needed(context, config):
        report.authentication = authentication.of(context, config)
        told = report.authentication
        report.findings += told.findings() if told else [authentication.missing()]


def _own_results(message: Buffer, report: MessageReport, config: Config) -> tuple[bytes, int]:
    """Our results and the message's beginning without forged ones, and for how many of its bytes they stand."""
    if report.authentication is None:
        return b"", 0
    beginning, replaced = authentication.cleaned(message, (config.hostname, *config.fleet))
    return report.authentication.field(config.hostname) + beginning, replaced


def _carry_out(
    services: Services,
    message: Buffer,
    report: MessageReport,
    decision: Decision,
    context: Context,
    started: float,
) -> tuple[Outcome, Decision, str]:
    """Do what was decided; also returns the decision that stands in the end and the id in quarantine."""
    wishes = asked.of(message, report, context, services.config)
    is_all = bool(wishes) and asked.goes_to_nobody(context, services.config)
    if (is_all or decision.delivered) and not _keep(services, wishes):
        return Outcome(TEMPORARY), Decision("tempfail", False, TEMPORARY), ""
    if is_all:  # whatever is in it, it goes to nobody
        return Outcome(0), Decision("asked", False, 0), ""
    if decision.delivered:
        headers = trace_headers(services.config, report, decision, context, time.perf_counter() - started)
        results, replaced = _own_results(message, report, services.config)
        return Outcome(0, "", headers + results, replaced), decision, ""
    held = ""
    if decision.quarantine:
        entry = _entry(report, decision, context)
        try:
            held = services.quarantine.store(entry, message, *_own_results(message, report, services.config))
        except (OSError, QuarantineFull) as error:
            services.counters.add("gatescan_quarantine_failures_total")
            services.complaints.say(f"a message could not be held and gets 4xx: {error}")
            services.alarm.look(str(error))
            failed = Decision("tempfail", False, TEMPORARY, "", decision.finding)
            return Outcome(TEMPORARY), failed, ""
        services.alarm.look()
    return Outcome(decision.code, decision.text), decision, held


def _keep(services: Services, wishes: Sequence[asked.Asked]) -> bool:
    """Keep what is asked for, so far as it counts; False if that cannot be done now."""
    if not wishes:
        return True
    if len(wishes) > asked.MOST:
        services.complaints.say(f"a mail asks for {len(wishes)} messages; {asked.MOST} of them count")
    try:
        services.desk.put(wishes[: asked.MOST])
    except OSError as error:
        services.complaints.say(f"a reply to a notice could not be kept and gets 4xx: {error}")
        return False
    return True


def _entry(report: MessageReport, decision: Decision, context: Context) -> Entry:
    finding = decision.finding
    assert finding is not None
    now = time.time()
    return Entry(
        id=new_id(now),
        time=now,
        sender=context.sender,
        recipients=context.recipients,
        from_=printable(report.from_, 200),
        subject=printable(report.subject, 200),
        message_id=printable(report.message_id, 200),
        verdict=finding.verdict.value,
        code=finding.code,
        reason=printable(finding.detail, 300),
        rule=finding.source,
        size=report.size,
        direction=context.direction,
        remote_ip=context.remote_ip,
    )


def _account(
    services: Services,
    report: MessageReport,
    decision: Decision,
    context: Context,
    seconds: float,
    pid: int,
    held: str,
) -> None:
    services.journal.message(report, decision, context, seconds, pid, held)
    verdict = report.verdict.value
    services.counters.message(context.direction, verdict, decision.action, report.size, seconds)
    if decision.finding is not None:
        _tell(services, report, decision, decision.finding, context, held)
    services.publish_metrics()


def _tell(
    services: Services,
    report: MessageReport,
    decision: Decision,
    finding: Finding,
    context: Context,
    held: str,
) -> None:
    """Spool a notice, unless the message is a bounce, comes from a robot, or notices are off."""
    config = services.config
    if not config.notices.enabled or not context.sender or report.automatic:
        return
    # The recipient of a message that its sender is to try again has not missed anything yet.
    wanted = context.recipients if held else ()
    admin, recipients = notify.addressees(config, finding.verdict.value, wanted)
    if not admin and not recipients:
        return
    event = Event(
        time=time.time(),
        held=held,
        verdict=finding.verdict.value,
        reason=printable(finding.detail, 300),
        from_=printable(report.from_ or context.sender, 200),
        subject=printable(report.subject, 200),
        direction=context.direction,
        action=decision.action,
        recipient_count=len(context.recipients),
        admin=admin,
        recipients=recipients,
    )
    spooled = services.notices.put(event)
    services.counters.add("gatescan_notices_spooled_total" if spooled else "gatescan_notices_dropped_total")


def trace_headers(config: Config, report: MessageReport, decision: Decision, context: Context, seconds: float) -> bytes:
    """The lines that go in front of a delivered message; they name no recipient."""
    relay = "1" if context.relayclient else "0"
    peer = context.remote_ip or "local"
    # RFC 3848's word for SMTP by TLS; qmail-smtpd's own line below says SMTP in any case
    way = f"ESMTPS ({context.tls}), gatescan" if context.tls else "gatescan"
    summary = "Clear" if not decision.tags else "Tagged"
    lines = [
        f"Received: from {peer} by {config.hostname} with {way}-{__version__} ({report.verdict.value}); "
        f"{formatdate(time.time(), localtime=True)}",
        f"X-Qmail-Scanner: {__version__} ({summary}:RC:{relay}({peer}):. Processed in {seconds:.4f} secs)",
    ]
    lines += [f"X-Gatescan-Tag: {tag}" for tag in decision.tags]
    if any(tag.startswith("spam (") for tag in decision.tags):
        lines.append("X-Spam-Flag: YES")  # what mail programs and Sieve scripts look for
    return "".join(f"{printable(line, 900)}\n" for line in lines).encode("ascii", "replace")
