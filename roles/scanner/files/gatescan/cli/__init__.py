"""The command `gatescan`: one module a subcommand, imported only when it is asked for.

Exit status: 0 all is well (clean, done), 1 something was found or failed, 2 usage, 75 could not look: try
again.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence

EXIT_OK = 0
EXIT_FOUND = 1
EXIT_USAGE = 2
EXIT_COULD_NOT = 75

COMMANDS: Mapping[str, str] = {
    "check": "judge message files, without the daemon",
    "rules": "build, test or list the rules of quarantine-attachments.txt",
    "quarantine": "list, show, release, delete or expire held messages",
    "notify": "send the notices that are due",
    "digest": "tell each recipient what is held for him (run by a timer)",
    "answers": "release what recipients have asked for by mail",
    "engines": "the antivirus and spam scanners: versions, signatures, errors, times",
    "stats": "what was judged, in figures",
    "doctor": "is everything in place, and what to do if not",
    "test-installation": "send test messages through the gateway and see what becomes of them",
    "daemon": "be the scanner daemon (run under supervise)",
    "version": "print the version",
}

OLD_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "-g": ("rules", "build"),
    "-r": ("rules", "list"),
    "-z": ("quarantine", "expire"),
    "-v": ("version",),
    "--version": ("version",),
}
"""What qmail-scanner-queue's options are today."""


def main(argv: Sequence[str]) -> int:
    """Run the command line `argv` (with the program's name in front); return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # strangers' words may have letters that the terminal's locale has not
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(argv[1:])
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return EXIT_OK if words else EXIT_USAGE
    words[:1] = OLD_OPTIONS.get(words[0], (words[0],))
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        print(f"gatescan: no such command: {name}\n\n{usage()}", file=sys.stderr)
        return EXIT_USAGE
    module = importlib.import_module(f"gatescan.cli.{name.replace('-', '_')}")
    return _run(module.run, rest)


def _run(command: object, words: list[str]) -> int:
    from gatescan.config import ConfigError
    from gatescan.judging.rules import RulesError
    from gatescan.outcome.tokens import KeyProblem

    assert callable(command)
    try:
        return int(command(words))
    except (ConfigError, KeyProblem, RulesError) as error:
        print(f"gatescan: {error}", file=sys.stderr)
    except BrokenPipeError:
        # The reader (such as `head`) has seen enough; nothing more can be said to it, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_OK
    except OSError as error:
        print(f"gatescan: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return EXIT_COULD_NOT


def usage() -> str:
    """The help text of the command as a whole."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return f"""\
usage: gatescan COMMAND [OPTION...]     gatescan COMMAND --help tells more

Opens, judges and accounts for every message that crosses the gateway.

{commands}

As qmail-scanner-queue: -g is `rules build`, -r `rules list`, -z `quarantine expire`, -v `version`.

The configuration is /etc/gatescan/config.json, or the file that --config or $GATESCAN_CONFIG names.
Exit status: 0 all is well, 1 something was found or failed, 2 usage, 75 could not look: try again."""
