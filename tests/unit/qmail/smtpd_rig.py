"""qmail-smtpd as the role builds it of each release, and the lab's stand-in for it: spoken to, and what it queued."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import standin_rig

PROJECT = Path(__file__).parents[3]
PATCHES = PROJECT / "roles/qmail/files/patches"
RELEASES = ["qmail-1.03", "netqmail-1.06", "notqmail-1.09"]
OLD = RELEASES[:2]
CC = ["gcc", "-O1", "-w", "-std=gnu89", "-include", "errno.h"]
PATIENCE = 30.0
"""Seconds after which a silent server fails a test."""
HELLO = ("EHLO client.test", "MAIL FROM:<ann@client.test>")

QUEUE = """\
#!/bin/sh
# Takes a message as qmail-queue does and keeps it for the test.
cat > {home}/queued.message && cat <&1 > {home}/queued.envelope
"""


def unpack(release: str, place: Path) -> Path:
    """The unpacked release, not yet patched; skips where it cannot be had."""
    archive = Path(os.environ.get("GATEWRIGHT_ARTIFACTS", "/nonexistent"), f"{release}.tar.gz")
    if not archive.is_file():
        pytest.skip(f"no {archive.name} in GATEWRIGHT_ARTIFACTS")
    subprocess.run(["tar", "-xzf", archive, "-C", place], check=True)
    return place / release


def apply_series(source: Path) -> None:
    """Apply the release's patches as the build does."""
    for patch in sorted((PATCHES / source.name).glob("*.patch")):
        with patch.open() as text:
            subprocess.run(["patch", "-s", "-p1", "--fuzz=0", "--forward"], cwd=source, stdin=text, check=True)


def build(release: str, place: Path) -> Path:
    """qmail-smtpd of a release, patched, with a home of its own; returns that."""
    source, home = unpack(release, place), place / "home"
    apply_series(source)
    (home / "bin").mkdir(parents=True)
    (source / "conf-qmail").write_text(f"{home}\n")
    if release in OLD:
        (source / "conf-cc").write_text(" ".join(CC) + "\n")
    subprocess.run(["make", "-s", "qmail-smtpd"], cwd=source, capture_output=True, check=True)
    (source / "qmail-smtpd").rename(home / "bin/qmail-smtpd")
    return home


def build_standin(place: Path) -> Path:
    """The stand-in, installed; returns its home."""
    return standin_rig.install(place).home


class Smtpd:
    """A qmail-smtpd and its home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.queue = home / "take"
        for folder in ("control", "alias"):
            (home / folder).mkdir(exist_ok=True)
            for path in (home / folder).iterdir():
                if path.is_file():
                    path.unlink()
        self.queue.write_text(QUEUE.format(home=home))
        self.queue.chmod(0o755)
        self.control(me="gw.test", rcpthosts="gw.test\ncorp.test\n.corp.test", locals="gw.test")
        for name in ("queued.message", "queued.envelope"):
            (home / name).unlink(missing_ok=True)

    def control(self, **files: str | int) -> None:
        """Write control files."""
        for name, text in files.items():
            (self.home / "control" / name).write_text(f"{text}\n")

    def alias(self, *names: str) -> None:
        """Make dot-qmail files of the alias user."""
        for name in names:
            (self.home / "alias" / f".qmail-{name}").write_text("&user@corp.test\n")

    def command(self, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a session under a tcpserver's environment."""
        told = {"PROTO": "TCP", "TCPREMOTEIP": "192.0.2.7", "TCPREMOTEHOST": "peer.test", "TCPLOCALHOST": "gw.test"}
        told |= {"PATH": os.environ["PATH"], "QMAILQUEUE": str(self.queue), **env}
        pipe = subprocess.PIPE
        return subprocess.Popen([self.home / "bin/qmail-smtpd"], stdin=pipe, stdout=pipe, stderr=pipe, env=told)

    def talk(self, *lines: str | bytes, body: bytes = b"", **env: Any) -> list[str]:
        """Say all this at once, and return the replies' lines; the greeting is the first."""
        said = b"".join((line if isinstance(line, bytes) else line.encode()) + b"\r\n" for line in lines) + body
        process = self.command(env)
        told, errors = process.communicate(said, timeout=PATIENCE)
        assert process.returncode >= 0, errors
        return told.decode("latin-1").splitlines()

    def mail(self, recipient: str, body: bytes = b"Subject: x\r\n\r\nhello\r\n.\r\n", **env: Any) -> str:
        """The last reply to a message for one recipient."""
        return self.talk(*HELLO, f"RCPT TO:<{recipient}>", "DATA", body=body, **env)[-1]

    def rcpt(self, recipient: str, **env: Any) -> str:
        """The reply to RCPT."""
        return self.talk(*HELLO, f"RCPT TO:<{recipient}>", **env)[-1]

    @property
    def envelope(self) -> bytes | None:
        """The envelope of the last message that was queued; None if none was, or one that was called off."""
        path = self.home / "queued.envelope"
        text = path.read_bytes() if path.exists() else b""
        return text if text.endswith(b"\0\0") else None


Answer = Callable[[dict[str, str]], bytes | None]


class PolicyDaemon:
    """A policy daemon for Postfix; answer gives the action's line for a question, or bytes as they are, or silence."""

    def __init__(self, path: Path, answer: Answer = lambda question: b"DUNNO") -> None:
        self.path = path
        self.answer = answer
        self.raw = False
        self.questions: list[dict[str, str]] = []
        self.connections = 0
        self.answers_per_connection = 1000
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop listening; close(2) alone would leave the one accept(2) that waits."""
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    def states(self) -> list[str]:
        """The protocol's states in the order in which they were asked about."""
        return [question["protocol_state"] for question in self.questions]

    def _serve(self) -> None:
        while True:
            try:
                wire, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(wire,), daemon=True).start()

    def _talk(self, wire: socket.socket) -> None:
        with wire, wire.makefile("rb") as stream:
            for _ in range(self.answers_per_connection):
                question: dict[str, str] = {}
                while (line := stream.readline().decode().rstrip("\n")) != "":
                    name, _, value = line.partition("=")
                    question[name] = value
                if not question:
                    return
                self.questions.append(question)
                said = self.answer(question)
                if said is None:
                    stream.read()  # silence until the other side goes
                    return
                wire.sendall(said if self.raw else b"action=" + said + b"\n\n")
