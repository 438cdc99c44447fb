"""Opens a container wholly, as the judge does, and tells what came out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gatescan import unpack
from gatescan.judging.budget import Budget, LimitReached, Limits
from gatescan.model import Finding, Part, Verdict


@dataclass
class Opened:
    """parts: all of them, the outermost first; limit: the bound that was hit, empty for none."""

    budget: Budget
    parts: list[Part] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    limit: str = ""

    @property
    def members(self) -> list[Part]:
        return self.parts[1:]

    @property
    def names(self) -> list[str]:
        """The first name of each member."""
        return [part.names[0] if part.names else "" for part in self.members]

    @property
    def codes(self) -> set[str]:
        return {finding.code for finding in self.findings}

    @property
    def verdicts(self) -> set[Verdict]:
        return {finding.verdict for finding in self.findings}

    def content(self, name: str) -> bytes:
        """The bytes of the only member that goes by that name."""
        (part,) = (part for part in self.members if name in part.names)
        return bytes(part.data)


def open_all(data: bytes, name: str = "attachment", limits: Limits | None = None, content_type: str = "") -> Opened:
    """Open `data` and everything in it, depth first, until it ends or a bound is hit."""
    opened = Opened(Budget(limits or Limits(), len(data)))
    todo = [Part("1", (name,), content_type, data)]
    while todo and not opened.limit:
        part = todo.pop()
        opened.parts.append(part)
        inner: list[Part] = []
        try:
            opened.budget.check_depth(part.depth)
            inner.extend(unpack.members(part, opened.budget))
        except LimitReached as limit:
            opened.limit = limit.code
        opened.findings += part.findings
        todo += reversed(inner)
    return opened
