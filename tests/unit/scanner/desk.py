"""What the tests of rules, policy, quarantine and notices share: a gateway's files, and a queue that records."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatescan import config
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import rules
from gatescan.outcome import handle, quarantine

from tests.log_schemas import fitting

RULES = (
    "# test rules\n"
    ".exe\tSIZE=-1\tExecutable program\n"
    "EICAR.COM\t69\tEICAR test virus\n"
    "Pickles.*Breakfast\tVirus-Subject:\tPickles worm\n"
    ".*@bad\\.example\tPolicy-MAILFROM:\tBlocked sender\n"
)
HEADER = (
    "From: Ann <ann@example.net>\nTo: bob@example.org\nSubject: {subject}\n"
    "Message-ID: <1@example.net>\nMIME-Version: 1.0\n"
)

_RECORDER = '''#!{python} -IS
"""Stands for qmail-queue: keeps what it gets in numbered files, and exits with the code in the file `exit`."""
import os
folder = {folder!r}
def read(fd):
    data = b""
    while block := os.read(fd, 65536):
        data += block
    return data
message, envelope = read(0), read(1)
code = open(folder + "/exit").read().strip()
if code == "kill parent":
    os.kill(os.getppid(), 9)
elif code != "0":
    os._exit(int(code))
name = folder + "/" + str(os.getpid())
open(name + ".message", "wb").write(message)
open(name + ".envelope", "wb").write(envelope)
'''


@dataclass(frozen=True, slots=True)
class Ids:
    pid: int = 4711


@dataclass
class Desk:
    """A gateway's directories, configuration and next queue."""

    root: Path
    path: Path
    queue: Path

    @property
    def config(self) -> Config:
        return config.load(self.path)

    def change(self, **sections: Any) -> Config:
        """Merge sections into the configuration file; returns the new configuration."""
        data = json.loads(self.path.read_text())
        for key, value in sections.items():
            data[key] = {**data.get(key, {}), **value} if isinstance(value, dict) else value
        self.path.write_text(json.dumps(data))
        return self.config

    def write_rules(self, text: str = RULES) -> None:
        self.config.rules.source.write_text(text)
        rules.build(self.config.rules.source, self.config.rules.compiled)

    def services(self) -> handle.Services:
        return handle.Services.open(self.config)

    def quarantine(self) -> quarantine.Quarantine:
        return quarantine.Quarantine(self.config.quarantine)

    def queue_says(self, code: int | str) -> None:
        (self.queue / "exit").write_text(str(code))

    def queued(self) -> list[tuple[bytes, bytes]]:
        """What the next queue took: (message, envelope)."""
        names = sorted(self.queue.glob("*.envelope"))
        return [(name.with_suffix(".message").read_bytes(), name.read_bytes()) for name in names]

    def journal(self) -> list[dict[str, Any]]:
        path = self.config.journal.json_log
        return fitting("messages", path.read_text()) if path.exists() else []


def make(root: Path) -> Desk:
    """Everything that the role makes, below `root`."""
    for name in ("spool/notices", "spool/asked", "log", "lib/counters", "queue"):
        (root / name).mkdir(parents=True)
    quarantine.create(root / "quarantine")
    program = root / "queue" / "program"
    program.write_text(_RECORDER.format(python=sys.executable, folder=str(root / "queue")))
    program.chmod(0o755)
    data = {
        "hostname": "gw.example.org",
        "local_domains": ["example.org"],
        "spool": str(root / "spool"),
        "next_queue": [str(program)],
        "rules": {"source": str(root / "rules.txt"), "compiled": str(root / "lib" / "rules.json")},
        "quarantine": {"directory": str(root / "quarantine"), "min_free_bytes": 0},
        "notices": {"admin": "admin@example.org", "templates": str(root / "templates")},
        "journal": {
            "quarantine_log": str(root / "log" / "quarantine.log"),
            "json_log": str(root / "log" / "messages.jsonl"),
            "metrics": str(root / "lib" / "gatescan.prom"),
            "counters": str(root / "lib" / "counters"),
        },
    }
    path = root / "config.json"
    path.write_text(json.dumps(data))
    desk = Desk(root, path, root / "queue")
    desk.queue_says(0)
    desk.write_rules()
    return desk


def plain(subject: str = "hello", extra: str = "", body: str = "Good day.\n") -> bytes:
    """A harmless message of one part."""
    return (HEADER.format(subject=subject) + extra + "\n" + body).encode()


def attached(name: str, data: bytes, subject: str = "hello", extra: str = "") -> bytes:
    """A message with a text and one file."""

    body = base64.encodebytes(data).decode("ascii")
    return (
        HEADER.format(subject=subject) + extra + 'Content-Type: multipart/mixed; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nsee the file\n"
        f'--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename="{name}"\n'
        f"Content-Transfer-Encoding: base64\n\n{body}\n--b--\n"
    ).encode()


INBOUND = Context("ann@example.net", ("bob@example.org",), "192.0.2.1")
EICAR_SIZED = attached("Eicar.com", bytes(68) + b"\n")
EXE = attached("report.exe", b"just text")
