"""What the machine must have for many booted hosts at once, looked for before the first is started."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.machine import LabError

INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
PER_HOST = 8
"""Inotify instances of a booted host: systemd and its services hold five, and one more each while they start."""
SPARE = 32
"""More than are in use now, for what else starts meanwhile."""
PROCESSES = Path("/proc")
MEMORY = Path("/proc/meminfo")
HOST_BYTES = 350 * 2**20
"""A gateway while a run is at it. At rest it takes half of that."""
FORK_BYTES = 100 * 2**20


def check_memory(hosts: int, forks: int) -> None:
    """Raise LabError where hosts and the controller's forks would not fit into what is free."""
    (kilobytes,) = re.findall(r"^MemAvailable:\s+(\d+) kB$", MEMORY.read_text(), re.MULTILINE)
    needed, free = hosts * HOST_BYTES + min(forks, hosts) * FORK_BYTES, int(kilobytes) * 1024
    if needed > free:
        raise LabError(
            f"{hosts} gateways need {needed / 2**30:.1f} GB of memory, and {free / 2**30:.1f} GB are free:"
            " take fewer (--gateways), or end what else runs"
        )


@contextmanager
def inotify_for(hosts: int) -> Iterator[None]:
    """Let root have the inotify instances that hosts need, and set the limit back at the end.

    Hosts share root's number of them, and one that finds none left does not boot. LabError where the limit is too low
    and cannot be raised.
    """
    before = int(INSTANCES.read_text())
    needed = instances_in_use() + SPARE + PER_HOST * hosts
    if before >= needed:
        yield
        return
    _set(needed)
    print(f"bench: fs.inotify.max_user_instances is {needed} in place of {before} until the end", flush=True)
    try:
        yield
    finally:
        if int(INSTANCES.read_text()) == needed:  # else somebody else's word
            _set(before)


def instances_in_use() -> int:
    """Inotify instances of all processes that can be looked at."""
    found = 0
    for descriptor in PROCESSES.glob("[0-9]*/fd/*"):
        with suppress(OSError):  # processes end, and others are not ours to look at
            found += str(descriptor.readlink()) == "anon_inode:inotify"
    return found


def _set(value: int) -> None:
    try:
        INSTANCES.write_text(f"{value}\n")
    except OSError as error:
        raise LabError(
            f"so many hosts need {value} inotify instances, and {INSTANCES.read_text().strip()} are allowed:"
            f" sysctl fs.inotify.max_user_instances={value} ({error.strerror})"
        ) from error
