"""What the kernel shows of mounted file systems."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

CAP_SYS_ADMIN = 21


@dataclass(frozen=True)
class Mount:
    """What is mounted at a path."""

    kind: str
    options: tuple[str, ...]


def may_mount() -> bool:
    """Whether this process has the capability to mount."""
    held = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(held and int(held[1], 16) >> CAP_SYS_ADMIN & 1)


def plain(name: str) -> str:
    """A path as /etc/fstab and the kernel write it, with its blanks and without a slash at its end."""
    return os.path.normpath(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name))


def mounted(mountinfo: str) -> dict[str, Mount]:
    """What is mounted, by path; of several at one path the last, which hides the others."""
    rows = [line.partition(" - ") for line in mountinfo.splitlines()]
    return {
        plain(left.split()[4]): Mount(right.split()[0], tuple(left.split()[5].split(","))) for left, _, right in rows
    }
