"""gatepost's daemon and client with a qmail home of their own, and a name server that answers as it is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from server_rig import Server

from tests.log_schemas import fitting

PROJECT = Path(__file__).parents[3]
CLIENT = PROJECT / "roles/gatepost/files/client"
MESSAGE = b"Subject: x\n\nhello\n"
PATIENCE = 30.0
"""Seconds after which a program that does not end fails a test."""


class NameServer:
    """Answers on a port of loopback.

    records: (name, kind) -> data, one a record. soft: names that fail for now.
    silent: names about which nothing is said.
    insecure: names whose answers do not carry the AD flag, if the question has asked for DNSSEC.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.soft: set[str] = set()
        self.silent: set[str] = set()
        self.soft_kinds: set[tuple[str, str]] = set()
        self.insecure: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.port = int(self.socket.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def add(self, name: str, kind: str, *data: str) -> None:
        """Add records."""
        self.records.setdefault((name, kind), []).extend(data)

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            question, client = self.socket.recvfrom(4096)
            answer = self.answer(question)
            if self.asked[-1][0] not in self.silent:
                self.socket.sendto(answer, client)

    def answer(self, wire: bytes) -> bytes:
        """The answer to a question."""
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query, recursion_available=True)
        if name in self.soft or (name, kind) in self.soft_kinds:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire()
        alias = self.records.get((name, "CNAME"))
        if alias:
            response.answer.append(dns.rrset.from_text(asked.name, 0, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".")
        data = self.records.get((name, kind), [])
        if data:
            response.answer.append(dns.rrset.from_text(name + ".", 0, "IN", kind, *data))
        elif not any(known == name or known.endswith("." + name) for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if query.ednsflags & dns.flags.DO and name not in self.insecure:
            response.flags |= dns.flags.AD
        return response.to_wire()


def compile_client(socket_path: Path, output: Path, restart: int = int(PATIENCE)) -> None:
    """Build the client, whose daemon is at this path and may take so many seconds to come back."""
    subprocess.run(
        ["make", "-s", "-C", CLIENT, f"OUT={output.parent}", f"SOCKET={socket_path}", f"RESTART={restart}",
         "BARE=", "CFLAGS=-O1 -g -fsanitize=address,undefined -DBARE_LIBC"], check=True,
    )  # a command as one types it # fmt: skip
    (output.parent / "gatepost-remote").rename(output)


class Gatepost:
    """A daemon, its client, and the home in which they work."""

    def __init__(self, place: Path, names: NameServer) -> None:
        self.place = place
        self.home = place / "qmail"
        self.program = place / "qmail-remote"
        self.names = names
        self.journal = place / "journal"
        self.process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, object] = {}
        self.code = ["-m", "gatepost"]
        compile_client(place / "socket", self.program)

    def furnish(self) -> None:
        """Make the home anew: control files, the table of hosts that do not answer. A fence knows the folders."""
        folders = [self.home / name for name in ("control", "queue/lock")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for path in (path for folder in folders for path in folder.iterdir()):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
        (self.home / "queue/lock/tcpto").write_bytes(bytes(1024))
        self.control(me="gw.test\n", timeoutremote="10\n", timeoutconnect="5\n")
        self.journal.unlink(missing_ok=True)

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.place / "config.json"

    def configure(self, **settings: object) -> None:
        """Write the daemon's configuration: these settings beside the tests' own."""
        self.settings = {
            "home": str(self.home), "socket": str(self.place / "socket"), "name_server_port": self.names.port,
            "takes_loopback": True, "reuse_seconds": 0, "journal": str(self.journal), "back_off": 0, **settings,
        }  # short pairs, many a line # fmt: skip
        self.config.write_text(json.dumps(self.settings))

    def start(self, **settings: object) -> None:
        """Start the daemon, with these settings beside the tests' own."""
        self.configure(**settings)
        self.restart()

    def restart(self) -> None:
        """Start the daemon as it was started last; returns when it serves."""
        self.spawn()
        self.wait_for_log(b"serving")

    def spawn(self) -> None:
        """Start the daemon."""
        self.config.write_text(json.dumps(self.settings))
        (self.place / "socket").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, *self.code, "--config", str(self.config), "daemon", "--allow-root"],
            env={**os.environ, "PYTHONPATH": f"{PROJECT}/roles/gatepost/files:{PROJECT}/tests/unit/scanner"},
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self.log = self.process.stderr

    def wait_for_log(self, word: bytes) -> str:
        """The next line of its log that has this word."""
        while line := self.log.readline():
            if word in line:
                return line.decode()
        raise AssertionError(f"the daemon ended before it said {word!r}")

    def reload(self, settings: dict[str, object]) -> None:
        """Have the daemon read these settings beside those that it was started with."""
        assert self.process is not None
        self.config.write_text(json.dumps({**self.settings, **settings}))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_log(b"reload")

    def stop(self) -> str:
        """End the daemon; returns what it wrote to its log."""
        if self.process is None:
            return ""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=PATIENCE)
        self.process = None
        return errors.decode()

    def control(self, **files: str) -> None:
        """Write control files."""
        for name, text in files.items():
            (self.home / "control" / name).write_text(text)

    def route(self, server: Server, policy: str, host: str = "[127.0.0.1]") -> None:
        """Lead corp.test to a server."""
        self.control(smtproutes=f"corp.test:{host}:{server.port}\n", tlsroutes=f"corp.test:{policy}\n")

    def begin(
        self,
        *recipients: str,
        message: bytes = b"Subject: x\n\nhello\n",
        sender: str = "ann@gw.test",
        domain: str = "corp.test",
    ) -> subprocess.Popen[bytes]:
        """Begin to deliver a message."""
        letter = self.home / f"message-{time.monotonic_ns()}"
        letter.write_bytes(message)
        with letter.open("rb") as file:
            process = subprocess.Popen(
                [self.program, domain, sender, *(recipients or ("bob@corp.test",))],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        return process

    def run(
        self,
        *recipients: str,
        message: bytes = b"Subject: x\n\nhello\n",
        sender: str = "ann@gw.test",
        domain: str = "corp.test",
    ) -> bytes:
        """Deliver a message; returns the report."""
        process = self.begin(*recipients, message=message, sender=sender, domain=domain)
        output, errors = process.communicate(timeout=PATIENCE)
        assert errors == b"", errors.decode()
        assert process.returncode == 0
        return output

    def journalled(self) -> list[dict[str, object]]:
        """The journal's lines."""
        text = self.journal.read_text() if self.journal.exists() else ""
        return fitting("deliveries", text)

    def table(self) -> dict[str, tuple[int, Any]]:
        """Hosts that did not answer: address -> (timeouts, seconds since the last)."""
        data = (self.home / "queue/lock/tcpto").read_bytes()
        places = [data[at : at + 16] for at in range(0, len(data), 16)]
        now = int(time.time())
        return {
            socket.inet_ntoa(place[:4]): (place[4], now - int.from_bytes(place[8:12], "little"))
            for place in places
            if any(place)
        }

    def write_table(self, *places: tuple[str, int, int]) -> None:
        """Fill the table's first places with address, timeouts, and seconds since the last."""
        now = int(time.time())
        data = b"".join(
            socket.inet_aton(address) + bytes((count, 0, 0, 0)) + (now - age).to_bytes(4, "little") + bytes(4)
            for address, count, age in places
        )
        (self.home / "queue/lock/tcpto").write_bytes(data.ljust(1024, b"\0"))
