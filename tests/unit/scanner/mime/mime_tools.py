"""What the tests of the MIME layer share."""

from __future__ import annotations

from gatescan import names
from gatescan.budget import Budget, Limits
from gatescan.mime import Parsed, parse
from gatescan.model import Verdict


def take_apart(message: bytes, **limits: int) -> Parsed:
    """The message parsed within a budget of its own."""
    return parse(message, Budget(Limits(**limits), len(message)))


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
