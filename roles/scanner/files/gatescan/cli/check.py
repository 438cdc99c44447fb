"""`gatescan check`: judge files as the daemon would, and change nothing."""

from __future__ import annotations

import argparse
import mmap
import sys
import time
from pathlib import Path

from gatescan.cli import EXIT_COULD_NOT, EXIT_FOUND, EXIT_OK
from gatescan.cli.common import (
    add_json,
    config_or_defaults,
    human_size,
    parser,
    print_json,
    rules_for_looking,
    say,
)
from gatescan.context import Context
from gatescan.engines.build import panel
from gatescan.judging.judge import MessageReport, judge
from gatescan.model import Buffer, Verdict
from gatescan.outcome.journal import finding_json
from gatescan.outcome.policy import Decision, decide
from gatescan.text import printable

DESCRIPTION = """\
Judge messages in files ("-" is standard input) as the daemon would, without it, and without engines
unless --engines says so. Nothing is held, sent or written down."""

EPILOG = """\
examples:
  gatescan check suspicious.eml                     what is it, and why
  gatescan check --rules new-rules.txt *.eml        would these rules stop it
  gatescan check --json mail.eml | jq .verdict      one JSON object a message

exit status: 0 all would be delivered, 1 at least one would be stopped, 2 usage, 75 could not look at one"""


def run(words: list[str]) -> int:
    """Judge each file; the worst of them gives the exit status."""
    options = _options(words)
    config = config_or_defaults(options.config)
    loaded = rules_for_looking(options.rules, config)
    context = Context(
        sender=options.sender,
        recipients=tuple(options.to),
        remote_ip=options.ip,
        relayclient=options.outbound,
    )
    asked = panel(config, keep=False) if options.engines else None
    status = EXIT_OK
    for name in options.messages:
        try:
            data = read_message(name)
        except OSError as error:
            say(f"{name}: {error.strerror}")
            status = EXIT_COULD_NOT
            continue
        started = time.perf_counter()
        report = judge(data, context, loaded, config, (asked,) if asked else ())
        decision = decide(report, context, config)
        seconds = time.perf_counter() - started
        if options.json:
            print_json(as_json(name, report, decision, seconds))
        else:
            print(as_text(name, report, decision, parts=options.parts))
        status = max(status, exit_status(report, decision))
    return status


def _options(words: list[str]) -> argparse.Namespace:
    made = parser("check", DESCRIPTION, EPILOG)
    add_json(made)
    made.add_argument(
        "--rules", type=Path, metavar="FILE", help="rules as text, instead of the built ones; need no build"
    )
    made.add_argument("--engines", action="store_true", help="ask the configured engines, too")
    made.add_argument("--parts", action="store_true", help="list all parts, also of messages that are clean")
    made.add_argument("--from", dest="sender", default="", metavar="ADDRESS", help="envelope sender")
    made.add_argument("--to", action="append", default=[], metavar="ADDRESS", help="envelope recipient")
    made.add_argument("--ip", default="", metavar="ADDRESS", help="address that it came from")
    made.add_argument("--outbound", action="store_true", help="as if from a relay client")
    made.add_argument("messages", nargs="+", metavar="MESSAGE")
    return made.parse_args(words)


def exit_status(report: MessageReport, decision: Decision) -> int:
    """0 would be delivered, 1 would be stopped, 75 could not be looked at."""
    if report.verdict is Verdict.ENGINE_ERROR:
        return EXIT_COULD_NOT
    return EXIT_OK if decision.delivered else EXIT_FOUND


def read_message(name: str) -> Buffer:
    """A message's bytes, mapped and not copied; `-` is standard input."""
    if name == "-":
        return sys.stdin.buffer.read()
    with open(name, "rb") as file:
        if file.seek(0, 2) == 0:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def as_json(name: str, report: MessageReport, decision: Decision, seconds: float) -> dict[str, object]:
    """What --json prints of one message."""
    return {
        "file": name,
        "verdict": report.verdict.value,
        "action": decision.action,
        "reasons": [finding_json(finding) for finding in report.reasons],
        "findings": [finding_json(finding) for finding in report.findings],
        "parts": [
            {
                "path": printable(part.path, 300),
                "names": [printable(name, 300) for name in part.names],
                "content_type": part.content_type,
                "kind": part.kind,
                "size": size,
                "sealed": part.sealed,
            }
            for part, size in zip(report.parts, report.sizes, strict=True)
        ],
        "subject": printable(report.subject, 300),
        "size": report.size,
        "seconds": round(seconds, 5),
    }


def as_text(name: str, report: MessageReport, decision: Decision, parts: bool) -> str:
    """The same for people."""
    lines = [f"{name}: {report.verdict.value} -> {decision.action}"]
    lines += [
        f"  {finding.verdict.value}: {finding.code}"
        + (f" in {printable(finding.part)}" if finding.part else "")
        + f": {printable(finding.detail, 200)}"
        + (f"  [{finding.source}]" if finding.source else "")
        for finding in report.findings
    ]
    if parts:
        lines += [
            f"  part {printable(part.path)}: {part.kind or part.content_type or '-'}, {human_size(size)}"
            + (f", named {', '.join(map(printable, part.names))}" if part.names else "")
            + (", sealed" if part.sealed else "")
            for part, size in zip(report.parts, report.sizes, strict=True)
        ]
    return "\n".join(lines)
