"""`gatescan stats`: the counters, for people and for programs."""

from __future__ import annotations

import re

from gatescan.cli import EXIT_OK
from gatescan.cli.common import add_json, config_or_defaults, human_size, parser, print_json, table
from gatescan.config import Config
from gatescan.engines import figures
from gatescan.health import metrics
from gatescan.judging import rules
from gatescan.outcome.quarantine import Quarantine

DESCRIPTION = """\
What was judged since the counters began: messages by direction, verdict and action, time, quarantine.
The same figures are in the file journal.metrics, in Prometheus' text format, for node_exporter."""

_MESSAGES = re.compile(r'gatescan_messages_total\{direction="([^"]*)",verdict="([^"]*)",action="([^"]*)"\}')


def run(words: list[str]) -> int:
    """Print the figures."""
    made = parser("stats", DESCRIPTION)
    add_json(made)
    made.add_argument("--prometheus", action="store_true", help="Prometheus' text format, as of now")
    options = made.parse_args(words)
    config = config_or_defaults(options.config)
    counters = metrics.collect(config.journal.counters)
    gauges = _gauges(config)
    if options.prometheus:
        print(metrics.exposition(counters, gauges, figures.series(config)), end="")
    elif options.json:
        counted = {key: value for key, value in counters.items() if value}
        print_json({**counted, **gauges.as_mapping(), **figures.series(config)})
    else:
        print(as_text(counters, gauges))
    return EXIT_OK


def _gauges(config: Config) -> metrics.Gauges:
    try:
        count, total = Quarantine(config.quarantine).measure()
    except OSError:
        count, total = 0, 0
    try:
        loaded = rules.load(config.rules.compiled)
    except rules.RulesError:
        return metrics.Gauges(rules_stale=True, quarantine_messages=count, quarantine_bytes=total)
    return metrics.Gauges(len(loaded.rules), loaded.built, rules.is_stale(loaded), count, total)


def as_text(counters: dict[str, float], gauges: metrics.Gauges) -> str:
    """The figures for people."""
    rows = [
        (*found.groups(), f"{value:.0f}")
        for key, value in counters.items()
        if value and (found := _MESSAGES.fullmatch(key))
    ]
    count, seconds = counters["gatescan_scan_seconds_count"], counters["gatescan_scan_seconds_sum"]
    mean = f"{1000 * seconds / count:.2f} ms a message" if count else "nothing judged yet"
    lines = [table(rows, ("DIRECTION", "VERDICT", "ACTION", "MESSAGES")), ""] if rows else []
    lines += [
        f"judged      {count:.0f}, {mean}",
        f"quarantine  {gauges.quarantine_messages} messages, {human_size(gauges.quarantine_bytes)}",
        f"rules       {gauges.rules}" + (", STALE: run `gatescan rules build`" if gauges.rules_stale else ""),
    ]
    failures = counters["gatescan_quarantine_failures_total"]
    if failures:
        lines.append(f"not held    {failures:.0f} messages got 4xx because the quarantine did not take them")
    return "\n".join(lines)
