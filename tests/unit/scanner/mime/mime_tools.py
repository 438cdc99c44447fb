"""What the tests of the MIME layer share."""

from __future__ import annotations

from gatescan.judging import names
from gatescan.judging.budget import Budget, LimitReached, Limits
from gatescan.mime import Parsed, members, parse
from gatescan.model import Buffer, Finding, Part, Verdict


def take_apart(message: bytes, **limits: int) -> Parsed:
    """The message with all that the MIME layer finds in it, and what is odd about names, within a budget of its own."""
    return take_apart_within(message, Budget(Limits(**limits), len(message)))


def take_apart_within(message: Buffer, budget: Budget) -> Parsed:
    """The same within this budget."""
    parsed = parse(message, budget)
    leaves, parsed.parts = parsed.parts, []
    try:
        for leaf in leaves:
            _open(leaf, parsed, budget)
    except LimitReached as limit:
        parsed.findings.append(Finding(Verdict.LIMIT, f"limit-{limit.code}", limit.detail))
    return parsed


def _open(part: Part, parsed: Parsed, budget: Budget) -> None:
    parsed.parts.append(part)
    budget.check_depth(part.depth)
    parsed.findings += [finding for name in part.names for finding in names.anomalies(name, part.path)]
    for member in members(part, budget):
        _open(member, parsed, budget)
    parsed.findings += part.findings


def codes(parsed: Parsed) -> set[str]:
    """The codes of all findings."""
    return {finding.code for finding in parsed.findings}


def verdicts(parsed: Parsed) -> set[Verdict]:
    """The verdicts of all findings."""
    return {finding.verdict for finding in parsed.findings}


def extensions(parsed: Parsed) -> set[str]:
    """The extensions of all parts, in every reading."""
    return {e for part in parsed.parts for name in names.variants(part.names) for e in names.extensions(name)}


def contents(parsed: Parsed) -> list[bytes]:
    """The contents of all parts."""
    return [bytes(part.data) for part in parsed.parts]
