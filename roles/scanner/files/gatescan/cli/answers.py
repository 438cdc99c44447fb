"""`gatescan answers`: release what recipients have asked for by mail."""

from __future__ import annotations

import logging
import sys

from gatescan.cli import EXIT_OK, EXIT_USAGE
from gatescan.cli.common import add_key, become_owner, config_or_defaults, key_for_release, parser, say
from gatescan.outcome.answers import Answers

DESCRIPTION = """\
Answer the replies to notices that wait: a held message goes to the recipient who asked for it, once, or our word
for him to the gateway that holds it. systemd starts it when there is a reply."""


def run(words: list[str]) -> int:
    """Answer until nothing waits."""
    made = parser("answers", DESCRIPTION)
    add_key(made)
    options = made.parse_args(words)
    config = config_or_defaults(options.config)
    key = key_for_release(config, options.key)
    if not key:
        say("release by mail is off, or no key was given (--key)")
        return EXIT_USAGE
    become_owner(config.quarantine.directory)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    say(f"{Answers(config, key).run()} replies were answered")
    return EXIT_OK
