"""`gatescan digest`: tell each recipient what is held for him."""

from __future__ import annotations

import time

from gatescan.cli import EXIT_COULD_NOT, EXIT_OK
from gatescan.cli.common import add_key, become_owner, config_or_defaults, key_for_release, parser, say
from gatescan.outcome import digest, nextqueue

DESCRIPTION = """\
Mail each local recipient what is still held for him of what came since his last digest. A timer runs it once a
day, if the inventory says so; an address gets no second one within a day."""


def run(words: list[str]) -> int:
    """Send what is due."""
    made = parser("digest", DESCRIPTION)
    add_key(made)
    options = made.parse_args(words)
    config = config_or_defaults(options.config)
    key = key_for_release(config, options.key)
    become_owner(config.quarantine.directory)
    try:
        count = digest.run(config, time.time(), key)
    except nextqueue.QueueError as error:
        say(f"digests wait: {error}")
        return EXIT_COULD_NOT
    say(f"{count} digests sent")
    return EXIT_OK
