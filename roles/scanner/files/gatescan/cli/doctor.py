"""`gatescan doctor`: is everything in place?"""

from __future__ import annotations

from gatescan.cli import EXIT_FOUND, EXIT_OK
from gatescan.cli.common import add_json, parser, print_json
from gatescan.health import doctor

DESCRIPTION = """\
Look at all that the scanner needs, and say what to do about what is missing. Changes nothing.

exit status: 0 nothing is broken (there may be warnings), 1 something is"""

_MARKS = {"ok": "ok     ", "warning": "WARNING", "broken": "BROKEN "}


def run(words: list[str]) -> int:
    """Print one line a check."""
    made = parser("doctor", DESCRIPTION)
    add_json(made)
    options = made.parse_args(words)
    broken = False
    for check in doctor.examine(options.config):
        broken |= check.state == "broken"
        if options.json:
            print_json({"state": check.state, "what": check.what, "advice": check.advice})
            continue
        print(f"{_MARKS[check.state]}  {check.what}")
        if check.advice:
            print(f"         -> {check.advice}")
    return EXIT_FOUND if broken else EXIT_OK
