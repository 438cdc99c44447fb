"""Figures in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_HELP = {
    "gatekeeper_answers_total": ("counter", "Answers by their code; DUNNO lets the client go on."),
    "gatekeeper_authenticated_total": ("counter", "Messages from outside by what DMARC says."),
    "gatekeeper_alerts_total": ("counter", "Alerts, such as of a limit that is passed."),
    "gatekeeper_list_addresses": ("gauge", "Addresses of a file of recipients that are in force."),
    "gatekeeper_list_refused": ("gauge", "1 while a file of recipients is not in force, as it is broken or cut."),
    "gatekeeper_dns_list_left_out": ("gauge", "1 while a DNS list has no say."),
    "gatekeeper_state_unwritten": ("gauge", "1 while the state cannot be written."),
}
Figure = tuple[str, str, str, float]
"""Name, label, the label's value, number."""


def figures(
    status: Mapping[str, Any], answers: Mapping[str, int], alerts: Mapping[str, int], dmarc: Mapping[str, int]
) -> Iterable[Figure]:
    """All figures of a daemon. status: as its commands have it."""
    yield from (("gatekeeper_answers_total", "code", code, count) for code, count in sorted(answers.items()))
    yield from (("gatekeeper_authenticated_total", "dmarc", result, count) for result, count in sorted(dmarc.items()))
    yield from (("gatekeeper_alerts_total", "kind", kind, count) for kind, count in sorted(alerts.items()))
    for item in status["lists"]:
        yield "gatekeeper_list_addresses", "file", item["path"], item["addresses"] or 0
        yield "gatekeeper_list_refused", "file", item["path"], bool(item["trouble"])
    for item in status["dns_lists"]:
        yield "gatekeeper_dns_list_left_out", "zone", item["zone"], bool(item["trouble"])
    yield "gatekeeper_state_unwritten", "file", status["state"]["path"], bool(status["state"]["trouble"])


def text_of(found: Iterable[Figure]) -> str:
    """The figures as text, with those of a name together."""
    lines = []
    for name, label, value, number in sorted(found):
        if f"# TYPE {name} {_HELP[name][0]}" not in lines:
            lines += [f"# HELP {name} {_HELP[name][1]}", f"# TYPE {name} {_HELP[name][0]}"]
        shown = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'{name}{{{label}="{shown}"}} {number:g}')
    return "\n".join(lines) + "\n"


def publish(path: Path, text: str) -> None:
    """Put the figures in the place of the old ones; raise OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
    os.chmod(fresh, 0o644)
    fresh.replace(path)
