"""qmail-lspawn and qmail-rspawn: start one program a delivery, as qmail-send asks, and report how it ended.

A request is the delivery's number (one byte), then `mess/S/N`, sender and recipient, each ended by NUL. A report is
the number, then K (delivered), Z (try again) or D (for good) and a text, ended by NUL.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable

from standin import auto
from standin.local import account

REPORT_LIMIT = 10000

Starter = Callable[[bytes, bytes], list[bytes]]
Translator = Callable[[int, bytes], bytes]


def start_local(sender: bytes, recipient: bytes) -> list[bytes]:
    """In the new process: become the recipient's user; returns qmail-local's command line."""
    local, _, domain = recipient.rpartition(b"@")
    user = account(local)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(user.gid)
        os.setuid(user.uid)
    default = os.fsencode(sys.argv[1]) if sys.argv[1:] else b"./Mailbox"
    head = [b"bin/qmail-local", b"--", user.name, user.home, local, user.dash, user.extension]
    return [*head, domain, sender, default]


def start_remote(sender: bytes, recipient: bytes) -> list[bytes]:
    """qmail-remote's command line."""
    return [b"qmail-remote", recipient.rpartition(b"@")[2], sender, recipient]


def translate_local(code: int, output: bytes) -> bytes:
    """The report for qmail-local's exit code."""
    if code < 0:
        return b"Zqmail-local crashed.\n"
    letter = b"K" if code in (0, 99) else b"D" if code == 100 else b"Z"
    return letter + output


def translate_remote(code: int, output: bytes) -> bytes:
    """The report for qmail-remote's output: a part for the recipient (r, h, s) if it came so far, then the whole's."""
    if code < 0:
        return b"Zqmail-remote crashed.\n"
    parts = [part for part in output.split(b"\0") if part]
    if code or not parts or parts[-1][:1] not in (b"K", b"Z", b"D"):
        return b"ZUnable to run qmail-remote.\n"
    verdict = parts[-1][:1]
    if len(parts) > 1:
        verdict = {b"h": b"D", b"s": b"Z"}.get(parts[0][:1], verdict)
    return verdict + b"".join(part[1:] for part in parts)


class Spawner:
    """The running deliveries."""

    def __init__(self, starter: Starter, translator: Translator) -> None:
        self.starter = starter
        self.translator = translator
        self.running: dict[int, tuple[int, int, bytearray]] = {}  # pipe -> delivery, process, output
        self.unread = b""
        self.open = True

    def start(self, delivery: int, path: bytes, sender: bytes, recipient: bytes) -> None:
        """Start one delivery."""
        try:
            message = os.open(b"queue/" + path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            self.report(delivery, b"ZUnable to open message.\n")
            return
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(message, 0)
                os.dup2(writer, 1)
                os.dup2(writer, 2)
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                command = self.starter(sender, recipient)
                os.execvp(command[0], command)  # qmail-remote is looked for in PATH, as qmail's own rspawn does
            finally:
                os._exit(111)
        os.close(message)
        os.close(writer)
        self.running[reader] = (delivery, pid, bytearray())

    def report(self, delivery: int, text: bytes) -> None:
        """Tell qmail-send; if it is gone, its successor will try again."""
        try:
            os.write(1, bytes([delivery]) + text.replace(b"\0", b"")[:REPORT_LIMIT] + b"\0")
        except OSError:
            self.open = False

    def read_requests(self) -> None:
        """Read from qmail-send, and start what is asked for."""
        piece = os.read(0, 65536)
        self.open = bool(piece)
        self.unread += piece
        while self.unread[1:].count(b"\0") >= 3:
            path, sender, recipient, rest = self.unread[1:].split(b"\0", 3)
            self.start(self.unread[0], path, sender, recipient)
            self.unread = rest

    def read_output(self, pipe: int) -> None:
        """Read from a delivery; report when it has ended."""
        delivery, pid, output = self.running[pipe]
        piece = os.read(pipe, 4096)
        output += piece[: REPORT_LIMIT - len(output)]
        if piece:
            return
        os.close(pipe)
        del self.running[pipe]
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self.report(delivery, self.translator(code, bytes(output)))

    def run(self) -> int:
        """Work until qmail-send is gone and every delivery has ended."""
        while self.open or self.running:
            for ready in select.select([*([0] if self.open else []), *self.running], [], [])[0]:
                if ready == 0:
                    self.read_requests()
                else:
                    self.read_output(ready)
        return 0


def main_local() -> int:
    """Run qmail-lspawn."""
    return run(Spawner(start_local, translate_local))


def main_remote() -> int:
    """Run qmail-rspawn."""
    return run(Spawner(start_remote, translate_remote))


def run(spawner: Spawner) -> int:
    """Say how many deliveries may run at once, then work."""
    os.chdir(auto.HOME)
    os.write(1, bytes([auto.SPAWN]))
    return spawner.run()
