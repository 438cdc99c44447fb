"""`gatescan daemon`: what supervise runs."""

from __future__ import annotations

from gatescan import daemon
from gatescan.cli.common import parser

DESCRIPTION = """\
Answer the queue client until SIGTERM. Logs to standard error, for multilog.

SIGHUP loads configuration and code anew without refusing a message; rules that were built anew are seen
by themselves. SIGTERM finishes the present messages first."""


def run(words: list[str]) -> int:
    """Run the daemon; returns when it has ended."""
    made = parser("daemon", DESCRIPTION)
    made.add_argument("--check", action="store_true", help="only say whether it would start")
    made.add_argument("--allow-root", action="store_true", help="run as root, for tests in a container")
    options = made.parse_args(words)
    return daemon.run(options.config, check=options.check, allow_root=options.allow_root)
