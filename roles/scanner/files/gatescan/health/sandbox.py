"""What svscan's sandbox lets its services do, as the kernel shows it; the doctor compares it with what mail needs.

A unit that systemd confines too far looks healthy: svscan runs and port 25 answers, but every message gets 451.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The running svscan, and with it all that it starts.

    may_gain: set-uid programs gain their owner's rights; qmail-queue is one.
    mounts: mount point -> whether it can be written to, in the order in which they were mounted.
    """

    pid: int
    may_gain: bool
    mounts: dict[Path, bool]

    def can_write(self, path: Path) -> bool:
        """Whether the file system is writable there. Permissions are another matter."""
        above = [point for point in self.mounts if path == point or point in path.parents]
        return not above or self.mounts[max(above, key=lambda point: len(point.parts))]


def of_svscan(proc: Path = PROC) -> Sandbox | None:
    """Look at this host's own svscan, which its first process started; None where there is none."""
    for directory in proc.glob("[0-9]*"):
        try:
            facts = _status(directory)
            if facts.get("Name") == "svscan" and facts.get("PPid") == "1":
                return Sandbox(int(directory.name), facts.get("NoNewPrivs") != "1", _mounts(directory))
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
    return None


def of_workers(daemon: int, proc: Path = PROC) -> dict[int, bool]:
    """A daemon's workers: can each gain nothing, and are its system calls filtered?"""
    found = {}
    for directory in proc.glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            facts = _status(directory)
            if facts.get("PPid") == str(daemon) and facts.get("Name", "").startswith("gatescan-"):
                found[int(directory.name)] = facts.get("NoNewPrivs") == "1" and facts.get("Seccomp") == "2"
    return found


def _status(directory: Path) -> dict[str, str]:
    lines = (directory / "status").read_text(errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _mounts(directory: Path) -> dict[Path, bool]:
    """Read mountinfo: field 5 is the mount point, field 6 its options; after a hyphen come the file system's."""
    found: dict[Path, bool] = {}
    for line in (directory / "mountinfo").read_text(errors="replace").splitlines():
        mount, _, system = line.partition(" - ")
        fields = mount.split()
        options = {*fields[5].split(","), *system.split()[-1].split(",")}
        found[Path(fields[4].replace("\\040", " "))] = "ro" not in options
    return found
