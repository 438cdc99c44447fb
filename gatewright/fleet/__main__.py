"""gw trace|quarantine|queue|status|console: dispatch. What stands behind `--` is given to `ansible` as it is."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Sequence

from gatewright.fleet import EXIT_USAGE, quarantine, queue, status, trace
from gatewright.fleet.ask import UsageError


def console(own: list[str], further: list[str]) -> int:
    """The page, whose packages the other commands do not need."""
    from gatewright.console import serve

    return serve.main(own, further)


VERBS: dict[str, Callable[[list[str], list[str]], int]] = {
    "trace": trace.main,
    "quarantine": quarantine.main,
    "queue": queue.main,
    "status": status.main,
    "console": console,
}


CHANGES = {"release", "delete", "flush", "hold", "resume", "drop"}
INTERRUPTED = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells have it."""


def main(words: Sequence[str]) -> int:
    """Run one verb; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # strangers' words may have letters that the terminal's locale has not
        sys.stdout.reconfigure(errors="backslashreplace")
    if not words or words[0] not in VERBS:
        print(f"usage: gw {' | '.join(VERBS)}", file=sys.stderr)
        return EXIT_USAGE
    own, further = list(words[1:]), []
    if "--" in own:
        place = own.index("--")
        own, further = own[:place], own[place + 1 :]
    try:
        return VERBS[words[0]](own, further)
    except UsageError as error:
        print(f"gw {words[0]}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        if CHANGES & set(own):
            print(
                f"gw {words[0]}: what a gateway was told already goes on there: look before you do more",
                file=sys.stderr,
            )
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has enough
        sys.stdout = None
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
