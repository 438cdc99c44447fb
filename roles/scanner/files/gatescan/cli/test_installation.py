"""`gatescan test-installation`: the paper's four messages through the real gateway."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from gatescan.cli import EXIT_FOUND, EXIT_OK
from gatescan.cli.common import add_json, config_or_defaults, parser, print_json
from gatescan.health import testmail

DESCRIPTION = """\
Send four messages through qmail-inject and the scanner, and report what became of each:
  clean   harmless; must arrive
  rule    an attachment with the name and size of EICAR.COM; must be held by the rules
  virus   the EICAR test file as sneaky.txt; must be held if there is a virus scanner
  spam    the GTUBE test spam; must be tagged or held if there is a spam scanner"""

EPILOG = """\
Run it on the gateway, as a user who may read the journal and the quarantine (root). Without --maildir,
"arrived" means that the queue has taken the message.

exit status: 0 each as it should be (or no engine to find it), 1 one was not, 2 usage, 75 could not send"""


def run(words: list[str]) -> int:
    """Send, wait, and report."""
    made = parser("test-installation", DESCRIPTION, EPILOG)
    add_json(made)
    made.add_argument("-doit", action="store_true", help="ignored; the old script wanted it")
    made.add_argument("--to", metavar="ADDRESS", help="recipient (default: the administrator)")
    made.add_argument("--from", dest="sender", metavar="ADDRESS", help="sender (default: the administrator)")
    made.add_argument("--maildir", type=Path, metavar="DIR", help="where the recipient's mail arrives")
    made.add_argument("--inject", default="/var/qmail/bin/qmail-inject", metavar="PROGRAM")
    made.add_argument(
        "--queue",
        default=os.environ.get("QMAILQUEUE", "/var/qmail/bin/qmail-scanner-queue"),
        metavar="PROGRAM",
        help="the scanner's client (default: $QMAILQUEUE, else %(default)s)",
    )
    made.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="for each message")
    options = made.parse_args(words)
    config = config_or_defaults(options.config)
    admin = config.notices.admin
    address = admin if "@" in admin else f"{admin}@{config.hostname}"
    route = testmail.Route(
        inject=options.inject,
        queue=options.queue,
        sender=options.sender or address,
        recipient=options.to or address,
        timeout=options.timeout,
        maildir=options.maildir,
    )
    failed = False
    for fate in testmail.run(config, route):
        failed |= fate.ok is False
        if options.json:
            print_json(asdict(fate))
        else:
            mark = {True: "ok", False: "FAILED", None: "not tested"}[fate.ok]
            print(f"{fate.name:<6} {fate.state:<10} {mark}: {fate.detail}", flush=True)
    return EXIT_FOUND if failed else EXIT_OK
