"""The overview as one file that needs nothing else: for playbooks/report.yml, and for a gateway's mail about itself."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gatewright.console import overview
from gatewright.console.overview import Overview
from gatewright.console.render import STYLE, page, plain
from gatewright.fleet import ask
from gatewright.fleet.ask import Answers


def overview_report(answers: Mapping[str, Mapping[str, Any]], days: int = 7) -> str:
    """The page. answers: of each gateway `status` and `figures` as the modules packed them, or why it is `silent`."""
    return html_report(overview.overview(days, unpacked(answers, "status"), unpacked(answers, "figures")))


def html_report(told: Overview) -> str:
    """The page."""
    style = STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    # our own file, of which the page's policy has the digest: whatever else gets into the page is no style of it
    return page("report.html", told=told, silent=told.silent, style=Markup(style), style_hash=f"sha256-{digest}")


def plain_report(told: Overview) -> str:
    """The same as plain text."""
    figures = [(told.judged, "messages judged"), (told.stopped, "of them stopped"), (told.held, "held now")]
    parts = [counted([*figures, (told.queue, "in the queues now")])]
    parts += [titled(one.name, [f"{title}: {plain(cell)}" for title, cell in one.cells]) for one in told.gateways]
    parts += [titled("Not answered", [f"{host}: {plain(why)}" for host, why in told.silent.items()])]
    for title, sums in (("Messages by verdict", told.verdicts.sums), ("Deliveries by result", told.deliveries.sums)):
        parts.append(titled(title, counted((count, plain(kind)) for kind, count in sums).splitlines()))
    for title, shares in (("Delivery by TLS", told.tls), *((name.capitalize(), told.tops[name]) for name in told.tops)):
        parts.append(titled(title, counted((one.count, plain(one.name, 60) or "<>") for one in shares).splitlines()))
    return "\n\n".join(part for part in (*parts, *map(plain, told.remarks)) if part) + "\n"


def counted(rows: Iterable[tuple[int, str]]) -> str:
    """Counts and what they are of, a line each."""
    return "\n".join(f"{count:>8} {what}" for count, what in rows)


def titled(title: str, lines: Sequence[str]) -> str:
    """Lines below their title; nothing if there are none."""
    return "\n".join([title, *lines]) if lines else ""


def report_request(days: int, now: float | None = None) -> str:
    """What mail_trace is asked for the figures of so many days."""
    question = overview.questions(days, time.time() if now is None else now)[1]
    return base64.b64encode(json.dumps(question.request).encode("ascii")).decode("ascii")


def unpacked(answers: Mapping[str, Mapping[str, Any]], name: str) -> Answers:
    """One kind of answers of all gateways."""
    found = Answers()
    for host, one in answers.items():
        if one.get(name):
            try:
                found.said[host] = ask.answer_of({"answer": one[name]})
            except ask.UNREADABLE as error:
                found.silent[host] = f"what it answered cannot be read: {error}"
        else:
            found.silent[host] = str(one.get("silent") or "it did not answer")
    return found
