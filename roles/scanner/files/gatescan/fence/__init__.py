"""The fence around the daemon: what the parts of gatescan may do, put in force by `gatefence`.

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
from pathlib import Path

from gatescan.config import Config
from gatescan.engines.needs import Needs
from gatescan.fence import calls
from gatescan.gatefence import Standing, enclose
from gatescan.gatefence.landlock import APPEND, DEVICE, READ, RUN, WRITE, Rule
from gatescan.gatefence.process import close_memory

log = logging.getLogger("gatescan.fence")

FILTERED = "GATESCAN_FILTERED"
"""What filter the master had set before it executed itself anew: `pid:digest`. Filters add up, so it sets no second."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc")
VENDORS = ("/opt", "/var/opt", "/var/db")
"""Where the programs of vendors keep what is theirs."""
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")

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
        made = calls.of_master()
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
    note = ", engines may be programs" if needs.programs else ""
    return enclose(
        rules(config, needs),
        needs.ports,
        lambda: calls.of_worker(tcp=bool(needs.ports), programs=bool(needs.programs), foreign=needs.foreign),
        note,
    )


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
