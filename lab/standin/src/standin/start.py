"""qmail-start: starts the four daemons, each under its own user, and becomes qmail-send."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import sys

from standin import auto

LOW, HIGH = 64, 200
"""Pipes lie below the one, copies of them above the other. What lies between is the caller's, such as a lock."""


def become(user: str, group: str) -> None:
    """Take on a user and one group. Someone who is not root stays who he is."""
    if os.geteuid() == 0:
        gid, uid = grp.getgrnam(group).gr_gid, pwd.getpwnam(user).pw_uid
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def run(program: str, user: str, group: str, descriptors: list[int], arguments: list[str]) -> None:
    """Become a program whose descriptors are these, from 0 on."""
    become(user, group)
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH) for descriptor in descriptors]
    for index, descriptor in enumerate(copies):
        os.dup2(descriptor, index)
    os.closerange(len(copies), LOW)
    os.execv(f"bin/{program}", [program, *arguments])


def spawn(program: str, user: str, group: str, descriptors: list[int], arguments: list[str]) -> None:
    """Start a program in a new process."""
    if os.fork() == 0:
        try:
            run(program, user, group, descriptors, arguments)
        finally:
            os._exit(111)


def spawn_logger(arguments: list[str]) -> int:
    """Start the program that reads the log, if there is one; returns the descriptor to log to."""
    if not arguments:
        return 1
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            become(auto.LOGGER, auto.NOFILES)
            os.dup2(reader, 0)
            os.environ["PATH"] = f"{os.environ.get('PATH', '/usr/bin:/bin')}:{auto.HOME}/bin"
            os.execvp(arguments[0], arguments)
        finally:
            os._exit(111)
    return writer


def main() -> int:
    """Run qmail-start; returns only when it fails."""
    os.chdir(auto.HOME)
    os.umask(0o077)
    log = spawn_logger(sys.argv[2:])
    default = sys.argv[1:2] or ["./Mailbox"]
    to_local, from_local, to_remote, from_remote, to_clean, from_clean = (os.pipe() for _ in range(6))
    spawn("qmail-lspawn", "root", auto.QMAIL, [to_local[0], from_local[1], log], default)
    spawn("qmail-rspawn", auto.REMOTE, auto.QMAIL, [to_remote[0], from_remote[1], log], [])
    spawn("qmail-clean", auto.QUEUE, auto.QMAIL, [to_clean[0], from_clean[1], log], [])
    ends = [to_local[1], from_local[0], to_remote[1], from_remote[0], to_clean[1], from_clean[0]]
    run("qmail-send", auto.SEND, auto.QMAIL, [log, *ends], [])
    return 111
