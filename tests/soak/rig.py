"""What the soak stands on: a scanner below one directory, its supervisor, and a caller like qmail-smtpd."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FILES = REPOSITORY / "roles/scanner/files"
PATIENCE = 120.0
ENVELOPE = b"Falice@example.org\0Tbob@example.net\0\0"


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that no event tells of."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.02)


def message(mark: str, name: str, data: bytes) -> bytes:
    """A message with one file, and a mark that the next queue writes down."""
    body = base64.encodebytes(data).decode("ascii")
    return (
        f"From: alice@example.org\nTo: bob@example.net\nSubject: {mark}\nX-Soak: {mark}\nMIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\nsee the file\n'
        f'--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename="{name}"\n'
        f"Content-Transfer-Encoding: base64\n\n{body}\n--b--\n"
    ).encode()


def costly() -> bytes:
    """A message that takes as long as one may: archives in an archive, each of which is unpacked to nothing of use."""
    box = BytesIO()
    with zipfile.ZipFile(box, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(400):
            archive.writestr(f"{number}.txt", b"begin 644 x\n" + b"M" + b"A" * 60 + b"\n" + b"=ybegin x\n" * 60_000)
    return message("greedy", "costly.zip", box.getvalue())


@dataclass(frozen=True)
class Footprint:
    """Memory in kB (PSS of all processes) and descriptors of the daemon's master, and its processes."""

    memory: int
    descriptors: int
    processes: int

    def as_text(self) -> str:
        """For the figures."""
        return f"{self.memory} kB, {self.descriptors} descriptors, {self.processes} processes"

    def faults(self, later: Footprint, growth: float) -> list[str]:
        """What has grown."""
        faults = []
        if later.memory > self.memory * growth:
            faults.append(f"memory grew: {self.as_text()}; {later.as_text()}")
        if later.descriptors > self.descriptors or later.processes > self.processes:
            faults.append(f"something piled up: {self.as_text()}; {later.as_text()}")
        return faults


class Scanner:
    """A daemon under a supervisor that starts it anew when it ends, as supervise does."""

    def __init__(self, place: Path, seconds: float) -> None:
        self.place = place
        self.footprints: list[Footprint] = []
        boxes = [f"quarantine/{box}" for box in ("tmp", "new", "cur")]
        for name in ("spool", "spool/incoming", "spool/notices", "quarantine", *boxes, "log", "lib", "lib/counters"):
            (place / name).mkdir(mode=0o700)
        self.config = {
            "hostname": "gw.example.net",
            "spool": str(place / "spool"),
            "next_queue": [str(place / "sink")],
            "daemon": {"socket": str(place / "s"), "recycle_messages": 1000, "spare_workers": 4},
            "limits": {"seconds": seconds, "bytes_out": 1 << 40, "bytes_floor": 1 << 40, "parts": 1 << 30},
            "notices": {"enabled": False},
            "quarantine": {
                "directory": str(place / "quarantine"), "min_free_bytes": 0, "source_share": 1.0, "rule_share": 1.0,
                "max_messages": 1_000_000, "max_bytes": 50_000_000_000,
            },
            "rules": {"source": str(place / "rules.txt"), "compiled": str(place / "lib/rules.json")},
            "journal": {
                "quarantine_log": str(place / "log/quarantine.log"), "json_log": str(place / "log/messages.jsonl"),
                "metrics": str(place / "lib/gatescan.prom"), "counters": str(place / "lib/counters"),
            },
        }  # settings as in the file # fmt: skip
        self.env = os.environ | {"PYTHONPATH": str(FILES), "GATESCAN_CONFIG": str(place / "config.json")}
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Build client and next queue, and start."""
        source, place = FILES / "client", self.place
        paths = (f"OUT={place}", f"SOCKET={place}/s", f"SPOOL={place}/spool/incoming", f"NEXT={place}/sink.sh")
        subprocess.run(["make", "-s", *paths], cwd=source, check=True)
        sink = Path(__file__).with_name("sink.c")
        subprocess.run(["gcc", "-O2", "-o", place / "sink", sink], check=True)
        (place / "rules.txt").write_bytes((FILES / "gatescan/share/quarantine-attachments.txt").read_bytes())
        self._write_config()
        subprocess.run(
            [sys.executable, "-m", "gatescan", "rules", "build"], env=self.env, check=True, capture_output=True
        )
        self._supervisor = threading.Thread(target=self._supervise)
        self._supervisor.start()
        wait_until(self._answers, "the daemon answers")

    def _write_config(self) -> None:
        fresh = self.place / "config.new"
        fresh.write_text(json.dumps(self.config))
        fresh.rename(self.place / "config.json")

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            with open(self.place / "log/daemon", "ab") as log:
                command = [sys.executable, "-m", "gatescan", "daemon", "--allow-root"]
                self._process = subprocess.Popen(command, env=self.env, stderr=log)
                self._process.wait()

    def _answers(self, since: float = 0.0) -> bool:
        from gatescan.service import protocol

        try:
            return protocol.ping(self.place / "s", 5).loaded >= since
        except OSError:
            return False

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        if self._process and self._process.poll() is None:
            self._process.terminate()
        self._supervisor.join()

    def reload(self) -> None:
        """As `svc -h`, until the new configuration is in force."""
        since = time.time()
        assert self._process
        self._process.send_signal(signal.SIGHUP)
        wait_until(lambda: self._answers(since), "the new configuration is in force")

    def kill_master(self) -> None:
        """As the kernel's killer does; the supervisor starts another."""
        since = time.time()
        assert self._process
        self._process.kill()
        wait_until(lambda: self._answers(since), "the next daemon answers")

    def rotate(self) -> None:
        """As logrotate does."""
        for path in (self.place / "log").glob("*.log*"):
            path.rename(path.with_name(f"{path.name}.old"))
        for name in ("messages.jsonl", "quarantine.log"):
            with contextlib.suppress(FileNotFoundError):
                (self.place / "log" / name).unlink()

    def bound_quarantine(self, messages: int) -> None:
        """Another bound, by a reload."""
        assert isinstance(self.config["quarantine"], dict)
        self.config["quarantine"]["max_messages"] = messages
        self._write_config()
        self.reload()

    def workers(self) -> set[int]:
        """The master's children."""
        assert self._process
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            return {int(word) for word in path.read_text().split()}
        except OSError:
            return set()

    def settle(self) -> None:
        """Wait until the workers are as many as at the start."""
        wait_until(lambda: len(self.workers()) == 4, "four workers")

    def footprint(self) -> Footprint:
        """What it takes now; noted for the figures."""
        assert self._process
        pids = [self._process.pid, *self.workers()]
        made = Footprint(sum(map(pss, pids)), len(os.listdir(f"/proc/{pids[0]}/fd")), len(pids))
        self.footprints.append(made)
        return made

    def send(self, content: bytes, ip: str) -> int:
        """One message through the client, by pipes as qmail-smtpd's; the exit status."""
        reading, writing = os.pipe()
        envelope_reading, envelope_writing = os.pipe()
        os.write(envelope_writing, ENVELOPE)
        os.close(envelope_writing)
        env = {"TCPREMOTEIP": ip, "GATESCAN_TIMEOUT": "100"}
        command = [self.place / "gatescan-queue", self.place / "sink", self.place / "queued"]
        process = subprocess.Popen(command, stdin=reading, stdout=envelope_reading, env=env)
        os.close(reading)
        os.close(envelope_reading)
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            pipe.write(content)
        return process.wait()

    def queued(self) -> dict[str, str]:
        """Mark and word of each message that the next queue has got."""
        lines = (self.place / "queued").read_text().splitlines()
        return dict(line.split() for line in lines)

    def held(self) -> set[str]:
        """Marks of the messages in quarantine."""
        found = set()
        for path in (self.place / "quarantine/new").iterdir():
            entry = json.loads(path.open("rb").readline().partition(b": ")[2])
            found.add(entry["subject"])
        return found


def pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
