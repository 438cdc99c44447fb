"""A real log server on loopback, the sending program as systemd starts it, and logs that turn as on a gateway."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.unpacked import environment, find

PROJECT = Path(__file__).parents[3]
PROGRAM = PROJECT / "roles/log_shipping/files/usr/local/lib/gatewright/log_shipping"
NAME = "logs.example.test"
PATIENCE = 40.0
RSYSLOGD = "usr/sbin/rsyslogd"
# As systemd starts it, but with pauses that suit a test.
START = """
import gatewright_log_shipping as program
program.IDLE_SECONDS, program.SETTLED_SECONDS, program.LONGEST_PAUSE = 0.05, 0.5, 0.2
program.main()
"""


def eventually(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, f"not so after {PATIENCE} s: {what}"
        time.sleep(0.05)


def start_rsyslogd(folder: Path) -> subprocess.Popen[bytes]:
    """Start it with the configuration that lies in a folder."""
    command = [str(find(RSYSLOGD)), "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid")]
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(command, env=environment(), stdout=said, stderr=said)


class Server:
    """rsyslogd, which writes down what it hears. peer: the name of clients, of which it then wants a certificate."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        folder.mkdir()
        self.folder, self.certificate, self.peer = folder, certificate, ""
        self.process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]

    def start(self) -> None:
        """Start it, and wait for its port."""
        wants = f'tls.authMode="name" tls.permittedPeer=["{self.peer}"]' if self.peer else ""
        (self.folder / "conf").write_text(f"""
global(workDirectory="{self.folder}" maxMessageSize="256k")
module(load="imrelp" tls.tlslib="openssl")
input(type="imrelp" address="127.0.0.1" port="{self.port}" maxDataSize="256k" ruleset="heard" tls="on" {wants}
      tls.caCert="{self.certificate}" tls.myCert="{self.certificate}" tls.myPrivKey="{self.certificate}")
template(name="heard" type="string" string="%programname% %structured-data% %msg%\\n")
ruleset(name="heard" queue.type="Direct") {{ action(type="omfile" file="{self.folder}/heard" template="heard") }}
""")
        self.process = start_rsyslogd(self.folder)
        eventually(self._answers, "the server's port")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait(PATIENCE)

    def size(self) -> int:
        """Bytes that it has written down."""
        path = self.folder / "heard"
        return path.stat().st_size if path.exists() else 0

    def is_larger_than(self, before: int) -> bool:
        """Whether it has heard more since."""
        return self.size() > before

    def heard(self) -> Counter[tuple[str, str, str]]:
        """Whole lines with the log's name and the sequenceId, and how often each came."""
        path = self.folder / "heard"
        text = path.read_text() if path.exists() else ""
        return Counter(re.findall(r'(?m)^(\S+) \[meta sequenceId="(\d+)"\]  ?(.*)\n', text))


class Multilog:
    """A log as multilog writes it: a full file gets another name, then there is a new one."""

    def __init__(self, name: str, folder: Path, kept: int = 20) -> None:
        folder.mkdir(parents=True)
        self.name, self.path, self.kept = name, folder / "current", kept
        self._turns, self._file = 0, self._fresh()

    def _fresh(self) -> IO[bytes]:
        return self.path.open("ab", buffering=0)

    def write(self, line: str) -> None:
        """Add a line."""
        self._file.write(f"{line}\n".encode())

    def turn(self) -> None:
        """Begin a new file."""
        self._turns += 1
        self._file.close()
        self.path.rename(self.path.with_name(f"@{self._turns:024x}.s"))
        self._file = self._fresh()
        for old in sorted(self.path.parent.glob("@*"))[: -self.kept]:
            old.unlink()


class Journal:
    """A log as the scanner writes it, and logrotate turns it: its writer notices a little later."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.name, self.path = name, folder / "messages.jsonl"
        self._late, self._file = 0, self.path.open("ab", buffering=0)

    def write(self, line: str) -> None:
        """Add a line, some of which are long."""
        self._file.write(f"{line}\n".encode())
        self._late -= 1
        if self._late == 0:
            self._file = self.path.open("ab", buffering=0)

    def turn(self) -> None:
        """As logrotate with delaycompress."""
        old = self.path.with_name("messages.jsonl.1")
        if old.exists():
            old.rename(self.path.with_name("messages.jsonl.2.gz"))
        self.path.rename(old)
        self.path.touch()
        self._late = 10


class Desk:
    """A gateway: its logs, all lines that were written to them, and the program that sends them."""

    def __init__(self, folder: Path, port: int, certificate: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.logs = (
            Multilog("qmail-send", folder / "qmail"),
            Multilog("qmail-smtpd", folder / "qmail/smtpd"),
            Multilog("gatekeeper", folder / "gatekeeper"),
            Journal("gatescan", folder / "gatescan"),
        )
        self.written: list[tuple[str, str]] = []
        self.settings: dict[str, object] = {
            "server": "127.0.0.1",
            "port": port,
            "name": NAME,
            "authorities": str(certificate),
            "logs": [{"name": log.name, "path": str(log.path)} for log in self.logs],
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: object) -> None:
        """Start the program."""
        self.configure(**settings)
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen([sys.executable, "-c", START, *self.words], cwd=PROGRAM, stderr=said)

    def configure(self, **settings: object) -> None:
        """Write its configuration."""
        (self.folder / "config.json").write_text(json.dumps(self.settings | settings))

    @property
    def words(self) -> list[str]:
        """The program's arguments."""
        return ["--config", str(self.folder / "config.json"), "--state", str(self.folder / "state.json")]

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the program."""
        assert self.process
        self.process.send_signal(number)
        self.process.wait(PATIENCE)

    def said(self) -> str:
        """What the program has written of itself."""
        return (self.folder / "said").read_text()

    def write(self, lines: int) -> None:
        """Write lines to all logs by turns."""
        for number in range(lines):
            log = self.logs[number % len(self.logs)]
            padding = "x" * (20_000 if number % 400 == 3 else 80)
            line = f"@400000006 {log.name} {len(self.written)} {padding}"
            self.written.append((log.name, line))
            log.write(line)

    def turn(self, *, journals: bool = False) -> None:
        """Turn the logs; those of logrotate only if wanted, as it turns them once a week."""
        for log in self.logs:
            if journals or isinstance(log, Multilog):
                log.turn()
