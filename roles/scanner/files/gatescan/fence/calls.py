"""The scanner's filters of system calls."""

from __future__ import annotations

from gatescan.gatefence.seccomp import AF_INET, AF_INET6, AF_UNIX, NEVER, NOT_PYTHON, Filter


def of_master() -> Filter:
    """The daemon's own. It stays over a reload, so it knows nothing of the engines, which may be others then."""
    made = Filter(foreign=True)
    made.refuse(NEVER)
    made.refuse_namespaces()
    made.only_families((AF_UNIX, AF_INET, AF_INET6))
    return made


def of_worker(*, tcp: bool, programs: bool, foreign: bool) -> Filter:
    """A worker's. tcp, programs: it has engines that are asked so; foreign: their programs may have 32 bits."""
    made = Filter(foreign=foreign)
    made.refuse(NEVER)
    made.refuse_namespaces()
    made.only_families((AF_UNIX, AF_INET) if tcp else (AF_UNIX,))
    if not programs:
        made.refuse(NOT_PYTHON)
        made.only_itself()
    return made
