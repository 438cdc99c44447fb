"""What tests of fences have in common: how an act is refused, and what this kernel's Landlock knows."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from gatescan.gatefence import landlock
from gatescan.gatefence.problems import Unavailable

REFUSED = (errno.EPERM, errno.EACCES)


def landlock_version() -> int:
    """0 where this kernel has none."""
    try:
        return landlock.version()
    except Unavailable:
        return 0


def needs_landlock(least: int) -> pytest.MarkDecorator:
    """For a test of what this version brought."""
    have = landlock_version()
    return pytest.mark.skipif(have < least, reason=f"this kernel's Landlock has version {have}, {least} is needed")


def since(version: int, *act: str) -> object:
    """An act that this version of Landlock came to refuse; 0: the filter refuses it."""
    return pytest.param(act, marks=needs_landlock(version), id=" ".join(act))


ACTS = [
    since(0, "shell"),
    since(0, "shell in memory"),
    since(0, "subprocess"),
    since(0, "ptrace", "{master}"),
    since(0, "kill", "{master}"),
    since(0, "limits", "{master}"),
    since(0, "netlink"),
    since(0, "packet"),
    since(0, "raw"),
    since(0, "mount", "{outside}"),
    since(0, "unshare"),
    since(0, "chroot", "{outside}"),
    since(0, "setuid"),
    since(0, "keyctl"),
    since(0, "io_uring"),
    since(2, "memory", "{master}"),
    since(2, "read", "{outside}/letter"),
    since(2, "list", "{outside}"),
    since(2, "write", "{outside}/new"),
    since(2, "append", "{outside}/letter"),
    since(2, "remove", "{outside}/third"),
    since(2, "rename", "{outside}/other"),
    since(2, "write", "{home}/control/smtproutes"),
    since(2, "remove", "{home}/control/me"),
    since(2, "read", "/etc/passwd"),
    since(2, "read", "/proc/self/environ"),
    since(4, "connect", "{port}"),
]
"""What the worker of no daemon may do (hostile.ACTS); each has a few of its own beside these."""
LETTERS = ("letter", "other", "third")
"""Files outside, which the acts are about."""
REFUSED_BY_MACHINES = ("keyctl", "io_uring", "mount", "unshare")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount and chroot even without the fence")


@contextmanager
def listening(name: str) -> Iterator[int]:
    """A TCP port, which it yields, and an abstract socket of a name, that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield int(tcp.getsockname()[1])


def check_done(act: tuple[str, ...], done: int) -> None:
    """See that an act succeeded (its errno is 0) where no fence stands; so it is the fence that refuses it."""
    if act[0] in REFUSED_BY_MACHINES and done in (errno.EPERM, errno.ENOSYS, errno.ENOSPC):
        pytest.skip(f"this machine refuses it by itself: {os.strerror(done)}")
    assert done == 0


def without_landlock(package: str) -> str:
    """A program that runs a package where Landlock is not allowed."""
    return f"""
import os, sys
from {package}.gatefence import seccomp
made = seccomp.Filter(foreign=False)
made.refuse(["landlock_create_ruleset"])
made.load()
os.execv(sys.executable, [sys.executable, "-m", "{package}", *sys.argv[1:]])
"""
