"""qmail-local: delivers one message by a .qmail file's instructions; and qmail-getpw, which finds whose they are.

Maildirs, forwards and comments only: an instruction of another kind (a program, an mbox) defers the message.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
import sys
import time
from typing import NamedTuple

from standin import auto, control
from standin.queue import Submission

SOFT, HARD = 111, 100


class Account(NamedTuple):
    """Who delivers for an address."""

    name: bytes
    uid: int
    gid: int
    home: bytes
    dash: bytes
    extension: bytes


class Refusal(Exception):
    """The message is not delivered: an exit code and a text."""


def assigned(local: bytes) -> Account | None:
    """The user that users/cdb gives a local part: by its whole, else by the longest of its beginnings."""
    try:
        with open(f"{auto.HOME}/users/cdb", "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return None
    name, best = local.lower(), None
    for line in lines[: lines.index(b".")]:
        key, user, uid, gid, home, dash, more = line[1:].split(b":")[:7]
        if line[:1] == b"=" and name == key.lower():
            return Account(user, int(uid), int(gid), home, dash, more)
        if line[:1] == b"+" and name.startswith(key.lower()) and (best is None or len(key) > len(best[0])):
            best = key, Account(user, int(uid), int(gid), home, dash, more + local[len(key) :])
    return best[1] if best else None


def account(local: bytes) -> Account:
    """The user that a local part belongs to: users/cdb's, or user or user-extension, else the alias user."""
    found = assigned(local)
    if found:
        return found
    end = len(local)
    while end > 0:
        name = local[:end].lower()
        try:
            entry = pwd.getpwnam(os.fsdecode(name))
            if entry.pw_uid and os.stat(entry.pw_dir).st_uid == entry.pw_uid:
                rest = local[end:]
                return Account(name, entry.pw_uid, entry.pw_gid, os.fsencode(entry.pw_dir), rest[:1], rest[1:])
        except (KeyError, OSError, ValueError):
            pass
        end = local.rfind(b"-", 0, end)
    entry = pwd.getpwnam(auto.ALIAS)
    home = os.fsencode(f"{auto.HOME}/alias")
    return Account(os.fsencode(entry.pw_name), entry.pw_uid, entry.pw_gid, home, b"-", local)


def main_getpw() -> int:
    """Run qmail-getpw LOCAL."""
    found = account(os.fsencode(sys.argv[1]))
    fields = (found.name, b"%d" % found.uid, b"%d" % found.gid, found.home, found.dash, found.extension)
    sys.stdout.buffer.write(b"".join(field + b"\0" for field in fields))
    return 0


def read_if_any(name: bytes) -> bytes | None:
    """A .qmail file's text; None when there is none; refuses one that others may write."""
    try:
        with open(name, "rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise Refusal(SOFT, "Uh-oh: .qmail file is writable. (#4.7.0)")
            return file.read()
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise Refusal(SOFT, f"Unable to open .qmail file: {error.strerror}. (#4.3.0)") from error


def instructions(dash: bytes, extension: bytes, default: bytes) -> list[bytes]:
    """The lines to follow: of .qmail-EXTENSION, of the nearest .qmail-...default, or the default delivery."""
    safe = extension.lower().replace(b".", b":").replace(b"/", b":")
    names = [safe]
    at = len(safe)
    while at >= 0 and dash:
        at = safe.rfind(b"-", 0, at)
        names.append(safe[: at + 1] + b"default")
    for name in names:
        text = read_if_any(b".qmail" + dash + name)
        if text is not None:
            return (text.strip() or default).splitlines()
    if dash:
        raise Refusal(HARD, "Sorry, no mailbox here by that name. (#5.1.1)")
    return default.splitlines()


def read_message(delivered_to: bytes) -> bytes:
    """The message; refuses one that has been here before."""
    with open(0, "rb", closefd=False) as file:
        message = file.read()
    header = b"\n" + message.partition(b"\n\n")[0].lower() + b"\n"
    if b"\n" + delivered_to.lower() in header:
        raise Refusal(HARD, "This message is looping: it already has my Delivered-To line. (#5.4.6)")
    return message


def deliver_maildir(directory: bytes, message: bytes) -> None:
    """Put the message into a Maildir: whole and on disk, then visible."""
    host = os.fsencode(socket.gethostname()).replace(b"/", b"\\057").replace(b":", b"\\072")
    name = b"%d.%d_%d.%s" % (time.time(), os.getpid(), time.monotonic_ns(), host)
    temporary = os.path.join(directory, b"tmp", name)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(message)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, os.path.join(directory, b"new", name))
    except OSError as error:
        raise Refusal(SOFT, f"Temporary error on maildir delivery: {error.strerror}. (#4.3.0)") from error


def forward(sender: bytes, recipients: list[bytes], message: bytes) -> int:
    """Queue the message for other addresses; returns the queue program's process id."""
    default = control.read_line("defaulthost", "me")
    submission = Submission()
    submission.put(message)
    full = [address if b"@" in address else address + b"@" + default for address in recipients]
    failure = submission.close(sender, full)
    if failure:
        raise Refusal(HARD if failure.startswith(b"D") else SOFT, f"Unable to forward message: {failure[1:].decode()}.")
    return submission.pid


def check_home() -> None:
    """Refuse a home that others may write, or that its owner has marked as being edited."""
    mode = os.stat(".").st_mode
    if mode & stat.S_IWOTH:
        raise Refusal(SOFT, "Uh-oh: home directory is writable. (#4.7.0)")
    if mode & stat.S_ISVTX:
        raise Refusal(SOFT, "Home directory is sticky: user is editing his .qmail file. (#4.2.1)")


def deliver(arguments: list[bytes]) -> None:
    """Deliver as the arguments say; raises Refusal."""
    _, home, local, dash, extension, domain, sender, default = arguments
    try:
        os.chdir(home)
    except OSError as error:
        raise Refusal(SOFT, f"Unable to switch to home directory: {error.strerror}. (#4.3.0)") from error
    check_home()
    lines = [line.strip() for line in instructions(dash, extension, default)]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    directories = [line for line in lines if line[:1] in b"./" and line.endswith(b"/")]
    addresses = [line.removeprefix(b"&") for line in lines if line[:1] == b"&" or line[:1].isalnum()]
    if len(directories) + len(addresses) < len(lines):
        raise Refusal(SOFT, "The lab's stand-in delivers to Maildirs and by forwards only. (#4.3.0)")
    delivered_to = b"Delivered-To: " + local + b"@" + domain + b"\n"
    message = delivered_to + read_message(delivered_to)
    for directory in directories:
        deliver_maildir(directory, b"Return-Path: <" + sender + b">\n" + message)
    pid = 0
    if addresses:
        os.chdir(auto.HOME)
        pid = forward(sender, addresses, message)
    print(f"did {len(directories)}+{len(addresses)}+0" + (f"\nqp {pid}" if pid else ""))


def main() -> int:
    """Run qmail-local [-nN] [--] user homedir local dash extension domain sender default; returns its exit code."""
    os.umask(0o077)
    arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
    while arguments and arguments[0] in (b"-N", b"--"):
        arguments.pop(0)
    if len(arguments) != 8:
        sys.stderr.write("qmail-local: usage: qmail-local user homedir local dash ext domain sender aliasempty\n")
        return HARD
    try:
        deliver(arguments)
    except Refusal as refusal:
        print(refusal.args[1])
        return int(refusal.args[0])
    return 0
