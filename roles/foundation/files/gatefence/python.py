"""What a process needs that is Python code alone: it starts no program and reaches into no other process."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .landlock import DEVICE, READ, Rule
from .seccomp import NEVER, NOT_PYTHON, Filter

DEVICES = ("/dev/null", "/dev/urandom")
SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ssl/openssl.cnf", "/sys/devices/system/cpu")
"""Python, its libraries, and what they look at."""


def files(code: Path) -> Iterator[Rule]:
    """Python, its libraries and the program's own code, to read; there is nothing to execute."""
    # packages that programs share are links where they are not installed
    shared = {str(path.resolve()) for path in code.iterdir() if path.is_symlink()}
    python = {sys.prefix, sys.base_prefix, str(code), *shared} - {"/"}
    yield from (Rule(Path(name), READ) for name in (*SYSTEM, *sorted(python)))
    yield from (Rule(Path(name), DEVICE) for name in DEVICES)


def calls(families: Sequence[int], *refused: str) -> Filter:
    """A filter with sockets of these families alone, none of them raw, and without these system calls."""
    made = Filter(foreign=False)
    made.refuse((*NEVER, *NOT_PYTHON, *refused))
    made.refuse_namespaces()
    made.only_families(families)
    made.refuse_raw_sockets()
    made.only_itself()
    return made
