"""gatekeeper's daemon as a process, a name server that answers as it is told, and a mail server that is asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

PROJECT = Path(__file__).parents[3]
SERVING = ": INFO serving "
PATIENCE = 30.0
"""Seconds after which what has not come fails a test."""


def put(path: Path, text: str | bytes, age: float = 60.0) -> None:
    """Put a file in another's place, as exports should. age: seconds since it was written."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(fresh, (time.time() - age, time.time() - age))
    os.replace(fresh, path)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """What a condition returns once it is true."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


class NameServer:
    """Answers on a port of 127.0.0.1. records: name -> addresses; texts: name -> its TXT record. soft: all fail now;
    mute: no answer; held: names that are answered when they are released."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.texts: dict[str, str] = {}
        self.held: set[str] = set()
        self._waiting: list[tuple[dns.message.Message, tuple[str, int]]] = []
        self.is_mute = False
        self.is_soft = False
        self.asked: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def lists(self, zone: str, *names: str, code: str = "127.0.0.2") -> None:
        """A list in order, with clients by their reversed names."""
        self.records[f"2.0.0.127.{zone}"] = ["127.0.0.2"]
        for name in names:
            self.records[f"{name}.{zone}"] = [code]

    def _serve(self) -> None:
        while True:
            wire, client = self.socket.recvfrom(4096)
            query = dns.message.from_wire(wire)
            asked = query.question[0]
            name = asked.name.to_text(omit_final_dot=True).lower()
            self.asked.append(name)
            if name in self.held:
                self._waiting.append((query, client))
            elif not self.is_mute:
                self._answer(query, client)

    def release(self) -> None:
        """Answer what was held, and hold nothing any more."""
        self.held = set()
        while self._waiting:
            self._answer(*self._waiting.pop())

    def _answer(self, query: dns.message.Message, client: tuple[str, int]) -> None:
        asked = query.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        response = dns.message.make_response(query, recursion_available=True)
        if self.is_soft:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif asked.rdtype == 1 and self.records.get(name):
            response.answer.append(dns.rrset.from_text(asked.name, 0, "IN", "A", *self.records[name]))
        elif asked.rdtype == 16 and name in self.texts:
            strings = (f'"{self.texts[name][at : at + 255]}"' for at in range(0, len(self.texts[name]), 255))
            response.answer.append(dns.rrset.from_text(asked.name, 0, "IN", "TXT", " ".join(strings)))
        elif name not in self.texts:
            response.set_rcode(dns.rcode.NXDOMAIN)
        self.socket.sendto(response.to_wire(), client)


class MailServer:
    """A route's own server. answer: the reply to RCPT by address. replies: to other verbs. said: lines that came."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer = answer
        self.greeting = "220 route"
        self.replies: dict[str, str] = {}
        self.said: list[str] = []
        self.most = self.now = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any longer."""
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    @property
    def asked(self) -> list[str]:
        """The recipients that were asked for."""
        return [line[9:-1] for line in self.said if line.startswith("RCPT TO:<")]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire, _ = self.server.accept()
                threading.Thread(target=self._talk, args=(wire,), daemon=True).start()

    def _talk(self, wire: socket.socket) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        with wire, wire.makefile("rwb", buffering=0) as stream, contextlib.suppress(OSError):
            stream.write(f"{self.greeting}\r\n".encode())
            while line := stream.readline().decode("latin-1").rstrip("\r\n"):
                self.said.append(line)
                usual = self.replies.get(line[:4], "250-route\r\n250 ok")
                reply = self.answer(line[9:-1]) if line.startswith("RCPT") else usual
                stream.write(f"{reply}\r\n".encode())
        self.now -= 1


class Session:
    """A session of a mail server with the daemon."""

    def __init__(self, path: Path) -> None:
        self.wire = socket.socket(socket.AF_UNIX)
        self.wire.settimeout(PATIENCE)
        self.wire.connect(str(path))
        self.stream = self.wire.makefile("rb")

    def __enter__(self) -> Session:
        """The session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.stream.close()
        self.wire.close()

    def send(self, data: bytes) -> None:
        """Say something."""
        self.wire.sendall(data)

    def hear(self) -> str:
        """The action of the next answer; empty when the daemon has hung up."""
        try:
            line = self.stream.readline().decode()
        except ConnectionError:
            return ""
        assert not line or (line.startswith("action=") and self.stream.readline() == b"\n")
        return line[7:-1]

    def ask(self, recipient: str = "ann@corp.test", **given: str | int) -> str:
        """The action for a question."""
        self.send(question(recipient, **given))
        return self.hear()


def question(recipient: str, **given: str | int) -> bytes:
    """A question as qmail-smtpd puts it."""
    told: dict[str, str | int] = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "client_address": "192.0.2.7",
        "sender": "ann@client.test",
        "recipient": recipient,
        "recipient_count": 0,
        "relay_client": "no",
        **given,
    }
    return "".join(f"{name}={value}\n" for name, value in told.items()).encode() + b"\n"


class Gatekeeper:
    """The daemon and its home."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.socket = place / "policy.sock"
        self.authentication = place / "authentication.sock"
        self.state = place / "state.sqlite"
        self.config = place / "config.json"
        self.errors = place / "errors"
        self.names = NameServer()
        self.process: subprocess.Popen[bytes] | None = None
        self.code = ["-m", "gatekeeper"]
        (place / "control").mkdir()
        (place / "control/me").write_text("gw.test\n")

    @property
    def environment(self) -> dict[str, str]:
        """What its programs find themselves in."""
        path = f"{PROJECT}/roles/gatekeeper/files:{PROJECT}/tests/unit/scanner"
        return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}

    def configure(self, **settings: object) -> None:
        """Write the configuration."""
        told: dict[str, object] = {"home": str(self.place), "socket": str(self.socket), "state": str(self.state)}
        told |= {"metrics": str(self.place / "gatekeeper.prom"), "authentication_socket": str(self.authentication)}
        told |= {"name_server_port": self.names.port, "dns_seconds": 1, "look_seconds": 0.1}
        self.config.write_text(json.dumps({**told, **settings}))

    def start(self, **settings: object) -> None:
        """Start it and wait until it serves."""
        self.configure(**settings)
        before = self.log.count(SERVING)
        command = [sys.executable, *self.code, "--config", str(self.config), "daemon", "--allow-root"]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(command, env=self.environment, stderr=errors)
        wait_for(lambda: self.log.count(SERVING) > before or self.ended(), "a worker")

    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process is None or self.process.poll() is not None

    def reload(self, **settings: object) -> None:
        """Have it read a new configuration."""
        self.configure(**settings)
        before = self.log.count("reload")
        self.tell(signal.SIGHUP)
        wait_for(lambda: self.log.count("reload") > before, "the reload")

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process
        self.process.send_signal(number)

    @property
    def worker(self) -> int:
        """The process that answers; 0 while there is none."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        command = [sys.executable, "-m", "gatekeeper", "--config", str(self.config), *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; returns its exit status."""
        assert self.process
        self.tell(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it if it runs; no traceback may stand in its log."""
        if not self.ended():
            self.stop()
        assert "Traceback" not in self.log, self.log

    @property
    def log(self) -> str:
        """What it said."""
        return self.errors.read_text() if self.errors.exists() else ""

    def wait_for_log(self, text: str) -> None:
        """Wait until it has said something."""
        try:
            wait_for(lambda: text in self.log, text)
        except AssertionError as error:
            raise AssertionError(f"{error}; it said:\n{self.log}") from None

    def session(self) -> Session:
        """A session with it."""
        return Session(self.socket)

    def ask(self, recipient: str = "ann@corp.test", **given: str | int) -> str:
        """The action for a question in a session of its own."""
        with self.session() as session:
            return session.ask(recipient, **given)
