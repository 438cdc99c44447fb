"""`gatescan daemon`: what supervise runs."""

from __future__ import annotations

import sys

from gatescan.cli.common import parser
from gatescan.service import daemon

DESCRIPTION = """\
Answer the queue client until SIGTERM. Logs to standard error, for multilog.

SIGHUP loads configuration and code anew without refusing a message; rules that were built anew are seen
by themselves. SIGTERM finishes the present messages first."""

RELOAD_SECONDS = 60


def run(words: list[str]) -> int:
    """Run the daemon; returns when it has ended."""
    made = parser("daemon", DESCRIPTION)
    made.add_argument("--check", action="store_true", help="only say whether it would start")
    made.add_argument("--allow-root", action="store_true", help="run as root, for tests in a container")
    made.add_argument(
        "--loaded-since",
        type=float,
        metavar="TIME",
        help="only wait until a daemon answers that was started or reloaded at TIME (seconds since 1970) or later",
    )
    options = made.parse_args(words)
    if options.loaded_since is not None:
        if daemon.wait_until_loaded(options.config, options.loaded_since, RELOAD_SECONDS):
            return 0
        print(
            f"gatescan: the daemon was not loaded anew within {RELOAD_SECONDS} seconds; look at its log",
            file=sys.stderr,
        )
        return 75
    return daemon.run(options.config, check=options.check, allow_root=options.allow_root)
