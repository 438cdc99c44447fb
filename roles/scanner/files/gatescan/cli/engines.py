"""`gatescan engines`: the antivirus and spam scanners, and how they are."""

from __future__ import annotations

import io
import time

from gatescan.cli import EXIT_COULD_NOT, EXIT_FOUND, EXIT_OK
from gatescan.cli.common import add_json, config_or_defaults, parser, print_json, say, table
from gatescan.config import Config
from gatescan.engines.status import Status, statuses
from gatescan.outcome.nextqueue import QueueError, submit

DESCRIPTION = """\
List the engines: version and age of signatures as they tell now, mean time and last error as the daemon's
workers have noted them.

exit status: 0 all answer and have fresh signatures, 1 one does not, 2 usage, 75 could not send the mail"""


def run(words: list[str]) -> int:
    """Print one line an engine; with --mail, tell the administrator what is wrong."""
    made = parser("engines", DESCRIPTION)
    add_json(made)
    made.add_argument(
        "--mail",
        action="store_true",
        help="for the nightly timer: print nothing, and mail the administrator if something is wrong",
    )
    options = made.parse_args(words)
    config = config_or_defaults(options.config)
    found = list(statuses(config))
    troubles = [line for status in found for line in complaints(status)]
    if options.mail:
        return _mail(config, troubles) if troubles else EXIT_OK
    if options.json:
        for status in found:
            print_json(as_json(status))
    elif found:
        print(as_text(found))
    else:
        say("no engines are configured: see docs/engines.md")
    for line in troubles:
        say(line)
    return EXIT_FOUND if troubles else EXIT_OK


def complaints(status: Status) -> list[str]:
    """What is wrong with an engine, a line each, and what to do."""
    lines = []
    if status.error:
        lines.append(f"engine {status.name}: {status.error}; {status.advice}")
    if status.stale:
        lines.append(
            f"engine {status.name}: its signatures are {status.age:.1f} days old, more than {status.max_age:g}; "
            "does its updater run, and reach its server?"
        )
    if status.left_alone:
        lines.append(f"engine {status.name}: failed {status.record.streak} times in a row: {status.record.why}")
    return lines


def as_json(status: Status) -> dict[str, object]:
    """What --json prints of an engine."""
    record = status.record
    return {
        "name": status.name,
        "group": status.group,
        "version": status.version,
        "signatures": status.signatures,
        "stale": status.stale,
        "error": status.error,
        "asked": record.asked,
        "mean_seconds": round(record.mean, 5),
        "errors": record.errors,
        "failures_in_a_row": record.streak,
        "last_error": record.why,
        "last_error_time": record.failed,
    }


def as_text(found: list[Status]) -> str:
    """The same for people."""
    rows = []
    for status in found:
        record = status.record
        age = "-" if status.age is None else f"{status.age:.1f} days" + (" OLD" if status.stale else "")
        mean = f"{1000 * record.mean:.1f} ms" if record.asked else "-"
        last = f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(record.failed))} {record.why}" if record.why else "-"
        rows.append(
            (status.name, status.version or "NO ANSWER", age, str(record.asked), mean, str(record.errors), last)
        )
    return table(rows, ("ENGINE", "VERSION", "SIGNATURES", "ASKED", "MEAN", "ERRORS", "LAST ERROR"))


def _mail(config: Config, troubles: list[str]) -> int:
    admin = config.notices.admin
    address = admin if "@" in admin else f"{admin}@{config.hostname}"
    text = "\n\n".join(troubles)
    message = (
        f"From: {config.notices.sender_name} <{address}>\nTo: <{address}>\n"
        f"Subject: gatescan on {config.hostname}: {len(troubles)} complaint(s) about its engines\n"
        f"Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{text}\n"
    )
    try:
        submit(config, io.BytesIO(message.encode()), "", [address])
    except QueueError as error:
        say(f"cannot mail {address}: {error}; what was to be said: {text}")
        return EXIT_COULD_NOT
    return EXIT_FOUND
