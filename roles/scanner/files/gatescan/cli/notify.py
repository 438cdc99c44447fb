"""`gatescan notify`: send the notices that wait in the spool."""

from __future__ import annotations

import time

from gatescan.cli import EXIT_COULD_NOT, EXIT_OK
from gatescan.cli.common import add_key, config_or_defaults, key_for_release, parser, say
from gatescan.config import Config
from gatescan.outcome import nextqueue, notify

DESCRIPTION = """\
Send the notices that are due: to the administrator, and to local recipients of messages that were held
against policy. An address gets at most one in notices.digest_minutes; it lists all that was stopped."""

EPILOG = """\
It runs as a user of its own that may run qmail-queue and may read and write the notice spool, under
supervise with --loop, or by a timer without."""


def run(words: list[str]) -> int:
    """Send once, or again and again."""
    made = parser("notify", DESCRIPTION, EPILOG)
    made.add_argument("--loop", type=float, metavar="SECONDS", help="look again after so many seconds, for ever")
    add_key(made)
    options = made.parse_args(words)
    config = config_or_defaults(options.config)
    key = key_for_release(config, options.key)
    while True:
        status = _once(config, key)
        if not options.loop:
            return status
        time.sleep(options.loop)


def _once(config: Config, key: bytes) -> int:
    try:
        count = notify.run(config, key=key)
    except (nextqueue.QueueError, OSError) as error:
        say(f"notices wait: {error}")
        return EXIT_COULD_NOT
    if count:
        say(f"{count} notices sent")
    return EXIT_OK
