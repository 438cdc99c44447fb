"""The stand-in as the tests use it: installed for the user that runs them, and a mail server beside it."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

STANDIN = Path(__file__).parents[3] / "lab" / "standin"
PATIENCE = 20.0
"""Seconds after which something that should happen has not happened."""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds; fail, naming it, when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


class Qmail:
    """An installed stand-in."""

    def __init__(self, home: Path, source: Path) -> None:
        self.home = home
        self.source = source
        self.log_path = home.parent / "log"
        self.sender: subprocess.Popen[bytes] | None = None

    def control(self, **files: str) -> None:
        """Write control files."""
        for name, text in files.items():
            (self.home / "control" / name).write_text(text)

    def run(
        self, program: str, *arguments: str, given: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one of its programs."""
        return subprocess.run(
            [self.home / "bin" / program, *arguments],
            input=given,
            capture_output=True,
            env={**os.environ, **(env or {})},
            timeout=60,
            check=False,
        )

    def smtp(self, *lines: str, body: bytes = b"", env: Mapping[str, str] | None = None) -> list[str]:
        """Speak SMTP under a tcpserver's environment; returns the replies' lines."""
        told = {"PROTO": "TCP", "TCPREMOTEIP": "192.0.2.7", "TCPREMOTEHOST": "peer.test", "TCPLOCALHOST": "gw.test"}
        talk = "".join(f"{line}\r\n" for line in lines).encode() + body
        done = self.run("qmail-smtpd", given=talk, env={**told, **(env or {})})
        return done.stdout.decode().splitlines()

    def enqueue(self, message: bytes, envelope: bytes) -> int:
        """Run qmail-queue with the descriptors it wants; returns its exit code."""
        message_file, envelope_file = self.home.parent / "fd0", self.home.parent / "fd1"
        message_file.write_bytes(message)
        envelope_file.write_bytes(envelope)
        with message_file.open("rb") as fd0, envelope_file.open("rb") as fd1:
            command = [self.home / "bin" / "qmail-queue"]
            return subprocess.run(command, stdin=fd0, stdout=fd1, timeout=60, check=False).returncode

    def queued(self) -> list[Path]:
        """The messages in the queue."""
        return [path for path in (self.home / "queue/mess").glob("*/*") if path.is_file()]

    def start(self, *front: str, through: Sequence[str] = ()) -> None:
        """Start qmail-send and its helpers as rc does.

        front: folders before qmail's own in their PATH; through: a program that becomes what its arguments name.
        """
        with self.log_path.open("ab") as log:
            command = [*through, str(self.home / "bin" / "qmail-start"), "./Maildir/"]
            path = ":".join([*front, str(self.home / "bin"), os.environ["PATH"]])
            environment = {**os.environ, "PATH": path}
            self.sender = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        wait_for(lambda: "status: local 0/" in self.log() or "cannot start" in self.log(), "qmail-send's first status")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End qmail-send by a signal."""
        assert self.sender is not None
        self.sender.send_signal(number)
        self.sender.wait(PATIENCE)
        self.sender = None

    def log(self) -> str:
        """qmail-send's log."""
        return self.log_path.read_text() if self.log_path.exists() else ""

    def maildir(self) -> list[bytes]:
        """The messages in the alias user's Maildir."""
        return [path.read_bytes() for path in sorted((self.home / "alias/Maildir/new").iterdir())]


def install(place: Path) -> Qmail:
    """Pack, unpack, `make setup check`."""
    archive, home = place / "standin.tar.gz", place / "qmail"
    subprocess.run(["python3", STANDIN / "pack.py", archive], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["tar", "-xf", archive, "-C", place], check=True)
    source = place / "standin-1.0"
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    (source / "conf-qmail").write_text(f"{home}\n")
    (source / "conf-users").write_text(f"{user}\n" * 8)
    (source / "conf-groups").write_text(f"{group}\n" * 2)
    (source / "conf-split").write_text("3\n")
    subprocess.run(["make", "-s", "setup", "check"], cwd=source, check=True)
    return Qmail(home, source)


class Sink:
    """A mail server on 127.0.0.1 that keeps what it gets, or answers one command with another reply."""

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.messages: list[bytes] = []
        self.commands: list[str] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Take connections until the socket is closed."""
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        """One session."""
        with connection, connection.makefile("rwb") as stream:
            stream.write(b"220 sink.test\r\n")
            stream.flush()
            for line in stream:
                self.commands.append(line.decode().strip())
                verb = self.commands[-1].split(":")[0].split(" ")[0].upper()
                if verb == "DATA" and verb not in self.answers:
                    stream.write(b"354 go on\r\n")
                    stream.flush()
                    body = b""
                    while not body.endswith(b"\r\n.\r\n"):
                        body += stream.readline()
                    self.messages.append(body[:-3])
                stream.write(self.answers.get(verb, "250 fine").encode() + b"\r\n")
                stream.flush()
                if verb == "QUIT":
                    return
