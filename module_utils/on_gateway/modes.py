"""File modes beyond their limits, and set-id programs."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Mapping

SET_ID = stat.S_ISUID | stat.S_ISGID
NOT_SEARCHED = ("/proc", "/sys", "/dev", "/run", "/var/lib/containers", "/var/lib/docker")


def mode_of(path: str) -> int | None:
    """The permission bits of a file or directory; None for a link or nothing."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return None if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)


def too_open(limits: Mapping[str, object]) -> Iterator[tuple[str, int, int]]:
    """Yield path, present and permitted mode of everything with more permissions than its limit.

    limits: pattern of paths (as in the shell; `**` goes down) to the most permissions, in octal, of a match.
    """
    for pattern, limit in limits.items():
        allowed = int(str(limit), 8)
        for path in sorted(glob.glob(pattern, recursive=True)):
            mode = mode_of(path)
            if mode is not None and mode & 0o777 & ~allowed:
                yield path, mode, mode & (allowed | 0o7000)


def set_id_programs(top: str) -> list[str]:
    """The regular files below a directory, on its file system, that have a set-id bit."""
    device = os.lstat(top).st_dev
    found = []
    for directory, names, files in os.walk(top):
        names[:] = [name for name in names if _is_searched(os.path.join(directory, name), device)]
        for name in files:
            path = os.path.join(directory, name)
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_mode & SET_ID:
                found.append(path)
    return sorted(found)


def _is_searched(path: str, device: int) -> bool:
    """Whether the search goes into a directory."""
    try:
        return path not in NOT_SEARCHED and os.lstat(path).st_dev == device
    except OSError:
        return False
