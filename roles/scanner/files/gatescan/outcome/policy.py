"""The policy: which action a report earns, by verdict, direction and recipient domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gatescan.config import ACTIONS, DEFAULT_ACTIONS, Config
from gatescan.context import Context, covers
from gatescan.judging.authentication import HELD_FOR_POLICY
from gatescan.mime import END_TO_END
from gatescan.model import Finding, Report, Verdict
from gatescan.text import printable

PERMANENT = 31
TEMPORARY = 71
TEXT_BOUND = 250
"""qmail-smtpd reads at most 255 bytes of a custom text."""

_STRICTNESS: Mapping[str, int] = {action: rank for rank, action in enumerate(ACTIONS)}
_STATUS = {Verdict.UNAUTHENTICATED: "5.7.1", Verdict.SPOOFED: "5.7.1", Verdict.AUTH_TEMPERROR: "4.7.0"}
"""Findings of which the sender's server is always told, and their status."""
_DELIVERED = frozenset({"accept", "tag"})


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with a message.

    action: one of config.ACTIONS. quarantine: a copy is held.
    code, text: the queue client's exit code and the custom text (first byte D or Z; empty for none).
    finding: the reason, None for a clean message. tags: what a delivered message is marked with.
    """

    action: str
    quarantine: bool
    code: int
    text: str = ""
    finding: Finding | None = None
    tags: tuple[str, ...] = ()

    @property
    def delivered(self) -> bool:
        """Does the message go on to its recipients?"""
        return self.action in _DELIVERED


ACCEPT = Decision("accept", False, 0)


def decide(report: Report, context: Context, config: Config) -> Decision:
    """The decision on a message.

    The findings are asked from the most severe on; the first one whose action stops the message decides. A
    message to recipients of several domains is one message: the strictest of their actions counts.
    """
    if not report.findings:
        return ACCEPT
    tags: list[str] = []
    for finding in sorted(report.findings, key=lambda f: -f.verdict.severity):
        verdict = _policy_name(finding)
        if not verdict:
            continue
        action = finding.action or action_for(verdict, context, config)
        if action not in _DELIVERED:
            return _stop(action, finding, config)
        if action == "tag":
            tag = f"{verdict} ({finding.code})" if not finding.action else f"{finding.code} ({finding.detail})"
            if tag not in tags:
                tags.append(tag)
    return Decision("tag" if tags else "accept", False, 0, tags=tuple(tags))


def action_for(verdict: str, context: Context, config: Config) -> str:
    """The strictest action that the recipients' domains, the direction or the defaults have for a verdict."""
    actions = config.actions
    table = actions.outbound if context.direction == "outbound" else actions.inbound
    general = table.get(verdict, DEFAULT_ACTIONS[verdict])
    if not actions.domains:
        return general
    domains = context.recipient_domains or {""}
    return max((_domain_action(verdict, domain, config, general) for domain in domains), key=_STRICTNESS.__getitem__)


def _domain_action(verdict: str, domain: str, config: Config, general: str) -> str:
    """The action of the longest pattern that covers the domain, else the general one."""
    fitting = [
        pattern for pattern, table in config.actions.domains.items() if covers(pattern, domain) and verdict in table
    ]
    return config.actions.domains[max(fitting, key=len)][verdict] if fitting else general


def _policy_name(finding: Finding) -> str:
    if finding.verdict is Verdict.CLEAN:
        return ""
    if finding.verdict is Verdict.ENCRYPTED and finding.code in END_TO_END:
        return "encrypted-mail"
    if finding.code == HELD_FOR_POLICY:
        return "unauthenticated-quarantine"
    return finding.verdict.value


def _stop(action: str, finding: Finding, config: Config) -> Decision:
    if action == "quarantine":
        return Decision(action, True, 0, "", finding)
    keep = action == "quarantine+reject"
    if action == "tempfail":
        return Decision(
            action,
            False,
            TEMPORARY,
            _text("Z", "message could not be checked, try again later", config, finding),
            finding,
        )
    return Decision(
        action, keep, PERMANENT, _text("D", f"message refused: {_reason(finding)}", config, finding), finding
    )


def _reason(finding: Finding) -> str:
    return f"{finding.verdict.value} ({finding.code}) {finding.detail}"


def _text(kind: str, text: str, config: Config, finding: Finding) -> str:
    status = _STATUS.get(finding.verdict, "") if (kind == "Z") == (finding.verdict is Verdict.AUTH_TEMPERROR) else ""
    if not config.actions.reason and not status:
        return ""
    shown = printable(text, TEXT_BOUND - 20).encode("ascii", "replace").decode("ascii")[: TEXT_BOUND - 20]
    return f"{kind}{shown} (#{status})" if status else kind + shown
