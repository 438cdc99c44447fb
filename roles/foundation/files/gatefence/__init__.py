"""A fence that a program builds around itself, without privilege, so that it stands in containers, too.

The programs of several roles use it: each has this folder as a package of its own, by a link here and by a copy in its
Debian package. What a program needs, it says itself; all else is refused by Landlock (files, TCP ports) and by a filter
of system calls. A part that a kernel or a container does not allow is left out, which is a line in the log and never
a message that waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from . import landlock, process, seccomp

State = Literal["full", "part", "off"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of the fence stands, in a word and in a line."""

    state: State
    text: str

    @classmethod
    def parse(cls, text: str) -> Standing | None:
        """What `str` has made; None for anything else."""
        word, _, rest = text.partition(" ")
        return next((cls(state, rest) for state in ("full", "part", "off") if state == word), None)

    def __str__(self) -> str:
        return f"{self.state} {self.text}"


def enclose(
    rules: Iterable[landlock.Rule], ports: Iterable[int], calls: Callable[[], seccomp.Filter], note: str = ""
) -> Standing:
    """Shut this process in, for good: these files, these TCP ports to connect to, and what `calls` lets through.

    Returns how far that went, with `note` behind the filter. The process must have one thread.
    """
    said, missing = [], False
    process.close_memory()
    try:
        known = landlock.restrict(rules, ports)
        said.append(f"files{' and TCP' if known >= landlock.PORTS_FROM else ''} by Landlock {known}")
    except Exception as error:  # whatever it is, mail goes on
        missing = True
        said.append(f"no Landlock ({error})")
    try:
        calls().load()
        said.append(f"system calls filtered{note}")
    except Exception as error:
        missing = True
        said.append(f"system calls not filtered ({error})")
    return Standing("part" if missing else "full", "; ".join(said))
