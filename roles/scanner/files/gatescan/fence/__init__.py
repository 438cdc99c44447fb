"""The fence around the daemon: it builds it by itself, without privilege, so that it stands in containers, too.

    the master   a filter of system calls, the same whatever the engines are: it stays over a reload
    a worker     a filter for its engines; files and TCP ports by Landlock; its memory is closed

A part that a kernel or a container does not allow is left out: that is a line in the log and in `gatescan doctor`, and
never a message's 4xx.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gatescan.config import Config
from gatescan.engines.needs import Needs
from gatescan.fence import landlock, seccomp
from gatescan.fence.confine import close_memory
from gatescan.fence.landlock import APPEND, DEVICE, READ, RUN, WRITE, Rule

log = logging.getLogger("gatescan.fence")

FILTERED = "GATESCAN_FILTERED"
"""What filter the master had set before it executed itself anew: `pid:digest`. Filters add up, so it sets no second."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc")
VENDORS = ("/opt", "/var/opt", "/var/db")
"""Where the programs of vendors keep what is theirs."""
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")

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


_filtered: list[str] = []
"""The filter that this process has, as FILTERED would tell it; empty if it has none."""
OFF = Standing("off", "switched off by daemon.confined")


def enclose_master(config: Config) -> None:
    """Set the master's filter and close its memory; what cannot be done is logged."""
    known = os.environ.pop(FILTERED, "")
    if not config.daemon.confined:
        return
    close_memory()
    try:
        made = seccomp.of_master()
        wanted = f"{os.getpid()}:{made.digest()}"
        if known != wanted:
            made.load()
        _filtered.append(wanted)
    except Exception as error:
        log.warning("the master's system calls are not filtered: %s", error)


def record_filter_for_successor() -> None:
    """Tell the process that this one will become which filter is set."""
    if _filtered:
        os.environ[FILTERED] = _filtered[-1]


def enclose_worker(config: Config, needs: Needs) -> Standing:
    """Shut this process in, for good; returns how far that went. It must have one thread."""
    if not config.daemon.confined:
        return OFF
    close_memory()
    said, missing = [], False
    try:
        known = landlock.restrict(rules(config, needs), needs.ports)
        said.append(f"files{' and TCP' if known >= landlock.PORTS_FROM else ''} by Landlock {known}")
    except Exception as error:  # whatever it is, mail goes on
        missing = True
        said.append(f"no Landlock ({error})")
    try:
        programs = bool(needs.programs)
        seccomp.of_worker(tcp=bool(needs.ports), programs=programs, foreign=needs.foreign).load()
        said.append(f"system calls filtered{', engines may be programs' if programs else ''}")
    except Exception as error:
        missing = True
        said.append(f"system calls not filtered ({error})")
    return Standing("part" if missing else "full", "; ".join(said))


def rules(config: Config, needs: Needs) -> Iterator[Rule]:
    """What a worker may do with which files. A worker without programs may execute nothing."""
    look = RUN if needs.programs else READ
    python = {sys.prefix, sys.base_prefix, str(Path(__file__).parent.parent)} - {"/"}
    journal, settings = config.journal, config.daemon
    own = (config.spool, config.quarantine.directory, journal.metrics.parent, journal.counters)
    yield from (Rule(Path(name), look) for name in (*SYSTEM, *sorted(python)))
    yield from (Rule(path.parent, READ) for path in (config.rules.source, config.rules.compiled))
    yield from (Rule(path, READ) for path in (Path("/proc"), Path("/sys/devices/system/cpu"), *needs.signatures))
    yield from (Rule(Path(name), DEVICE) for name in DEVICES)
    yield from (Rule(path, WRITE) for path in own)
    # Lines are added; no line of another message can be read or taken away.
    yield from (Rule(path.parent, APPEND) for path in (journal.json_log, journal.quarantine_log))
    yield from (Rule(path, look) for path in settings.readable)
    yield from (Rule(path, WRITE) for path in settings.writable)
    if needs.programs:
        # Where its link leads is another directory, with the libraries and tables that belong to it.
        places = {place for program in needs.programs for place in (program, program.resolve())}
        theirs = {place.parent if len(place.parts) > 3 else place for place in places}
        yield from (Rule(path, RUN) for path in sorted(theirs))
        yield from (Rule(Path(name), RUN | WRITE) for name in VENDORS)
        yield from (Rule(Path(name), WRITE) for name in SCRATCH)
