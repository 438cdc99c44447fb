"""Everything that was judged and delivered in a time, counted: an answer that does not grow with the logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .asked import Request
from .logs import line_time, parsed, written_time
from .mail import number

COUNTED = 20_000
"""Names of one kind (senders, say) that are counted at the same time: strangers choose them."""
TOLD = 10
"""Names of one kind that are told, the most frequent ones."""
LONGEST_NAME = 200
"""Characters of a name."""


class Tally:
    """How often each name came; of very many, those that came seldom are forgotten on the way."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: Any) -> None:
        """One more."""
        if name and isinstance(name, str):
            self.counts[name[:LONGEST_NAME]] += 1
        if len(self.counts) > COUNTED:
            self.counts = Counter(dict(self.counts.most_common(COUNTED // 2)))

    def top(self) -> list[tuple[str, int]]:
        """The most frequent ones."""
        return self.counts.most_common(TOLD)


class Figures:
    """What was judged and delivered, by time and by name."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.verdicts: dict[str, list[int]] = {}
        self.deliveries: dict[str, list[int]] = {}
        self.tops = {name: Tally() for name in ("rules", "extensions", "senders", "recipients")}
        self.actions, self.tls = Tally(), Tally()

    def read_judged(self, blocks: Iterator[bytes]) -> None:
        """Read the scanner's log."""
        for block in blocks:
            for line in block.split(b"\n"):
                if b'"verdict":' in line and b'"event":' not in line and line_time(line) >= self.request.since:
                    self._judged(parsed(line))

    def read_delivered(self, blocks: Iterator[bytes]) -> None:
        """Read gatepost's log."""
        for block in blocks:
            for line in map(parsed, block.split(b"\n")):
                if self._count(self.deliveries, line.get("result"), written_time(str(line.get("time", "")))):
                    self._delivered(line)

    def _judged(self, line: dict[str, Any]) -> None:
        if not self._count(self.verdicts, line.get("verdict"), number(line.get("time"))):
            return
        self.actions.add(line.get("action"))
        self.tops["senders"].add(line.get("from"))
        for address in listed(line.get("to")):
            self.tops["recipients"].add(address)
        found = [one for one in listed(line.get("findings")) if isinstance(one, dict)]
        for rule in {rule_of(one) for one in found}:
            self.tops["rules"].add(rule)
        for suffix in {extension(one) for one in found if one.get("code") == "rule-extension"}:
            self.tops["extensions"].add(suffix)

    def _delivered(self, line: dict[str, Any]) -> None:
        if line["result"] == "success":
            version = str(line.get("tls") or "")
            self.tls.add(f"{version}{' verified' if line.get('verified') else ''}" if version else "without TLS")

    def _count(self, rows: dict[str, list[int]], name: Any, time: float) -> bool:
        """Add one to the row of this name; whether its time is asked for."""
        request = self.request
        place = int((time - request.since) / (request.before - request.since) * request.spans)
        if not request.is_within(time) or not isinstance(name, str) or (name not in rows and len(rows) >= TOLD):
            return False
        rows.setdefault(name[:LONGEST_NAME], [0] * request.spans)[min(place, request.spans - 1)] += 1
        return True

    def record(self) -> dict[str, Any]:
        """As they are told."""
        told: dict[str, Any] = {"since": self.request.since, "before": self.request.before}
        told |= {"verdicts": self.verdicts, "deliveries": self.deliveries}
        tallies = self.tops | {"actions": self.actions, "tls": self.tls}
        return told | {name: tally.top() for name, tally in tallies.items()}


def listed(value: Any) -> list[Any]:
    """A list of a log's line, empty if it is none."""
    return value if isinstance(value, list) else []


def rule_of(found: dict[str, Any]) -> str:
    """What hit, in a few words: a rule with what it is about, an engine, or the kind of a finding."""
    place, code = str(found.get("source") or ""), str(found.get("code") or "")
    about = str(found.get("detail", "")).rpartition(": ")[2] if code.startswith("rule-") else ""
    return f"{about} ({place})" if about and place else place or code


def extension(found: dict[str, Any]) -> str:
    """The extension that a rule holds, of a finding's `name.exe: what it is`."""
    name = str(found.get("detail", "")).partition(": ")[0]
    return f".{name.rpartition('.')[2].lower()}"
