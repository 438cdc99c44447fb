"""What the tests of client and daemon stand on: a compiled client, a caller like qmail's, real processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

REPOSITORY = Path(__file__).parents[3]
SCANNER_FILES = REPOSITORY / "roles/scanner/files"
STUB_DAEMON = Path(__file__).with_name("stub_daemon.py")
PATIENCE = 30.0
"""Seconds after which a condition that never comes true fails a test."""

RECORDER = """\
#!/bin/sh
# A next queue program: stores the message, the envelope and its open descriptors; ends as it is told to.
cat > "$RECORDS/$$.message"
cat <&1 > "$RECORDS/$$.envelope"
ls /proc/$$/fd > "$RECORDS/$$.descriptors"
echo "$@" > "$RECORDS/$$.arguments"
[ -z "$RECORDER_SIGNAL" ] || kill -s "$RECORDER_SIGNAL" $$
exit "${RECORDER_EXIT:-0}"
"""


def compiler() -> str | None:
    """A C compiler, if this machine has one."""
    return shutil.which("cc") or shutil.which("gcc-12") or shutil.which("clang")


def build_client(directory: Path, **paths: str) -> Path:
    """Make the client as the role does, but with other paths built in."""
    settings = [f"CC={compiler()}", f"OUT={directory}", *(f"{name}={value}" for name, value in paths.items())]
    subprocess.run(["make", "-s", "-C", str(SCANNER_FILES / "client"), *settings], check=True)
    return directory / "gatescan-queue"


def wire(sender: bytes, *recipients: bytes) -> bytes:
    """An envelope as qmail-smtpd writes it."""
    return b"F" + sender + b"\0" + b"".join(b"T" + address + b"\0" for address in recipients) + b"\0"


ENVELOPE = wire(b"alice@example.org", b"bob@example.net")


@dataclass(frozen=True)
class Sent:
    """How the client ended: exit status as qmail-smtpd sees it (negative: a signal), text, process id."""

    status: int
    text: bytes
    pid: int


class Call:
    """One run of a queue program under a caller that does what qmail's qmail.c does."""

    def __init__(self, program: Sequence[str | Path], env: dict[str, str], text_fd: int | None = 6) -> None:
        self._message_end, self._envelope_end, self._text_end = os.pipe(), os.pipe(), os.pipe()
        ours = (self._message_end[1], self._envelope_end[1], self._text_end[0])

        def wire_up() -> None:
            os.dup2(self._message_end[0], 0)
            os.dup2(self._envelope_end[0], 1)
            for fd in ours:
                os.close(fd)
            if text_fd is not None:
                os.dup2(self._text_end[1], text_fd)

        self.process = subprocess.Popen([str(word) for word in program], env=env, close_fds=False, preexec_fn=wire_up)
        for fd in (self._message_end[0], self._envelope_end[0], self._text_end[1]):
            os.close(fd)

    def write(self, message: bytes, envelope: bytes) -> None:
        """The whole message, then the envelope; a program that has ended already is no error."""
        for end, data in ((self._message_end, message), (self._envelope_end, envelope)):
            with contextlib.suppress(BrokenPipeError), os.fdopen(end[1], "wb") as file:
                file.write(data)

    def finish(self) -> Sent:
        """The text up to its end of file, and only then the exit status: the order in which smtpd does it."""
        with os.fdopen(self._text_end[0], "rb") as file:
            text = file.read()
        return Sent(self.process.wait(PATIENCE), text, self.process.pid)


class Records:
    """What the recorder was given."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.program = directory / "recorder"
        directory.mkdir()
        self.program.write_text(RECORDER)
        self.program.chmod(0o755)

    @property
    def all(self) -> list[tuple[bytes, bytes]]:
        """(message, envelope) of each run that got both."""
        envelopes = self.directory.glob("*.envelope")
        return [(path.with_suffix(".message").read_bytes(), path.read_bytes()) for path in envelopes]

    def of(self, pid: int) -> tuple[bytes, bytes]:
        """Message and envelope that the recorder got as the process `pid`."""
        return (
            (self.directory / f"{pid}.message").read_bytes(),
            (self.directory / f"{pid}.envelope").read_bytes(),
        )

    def descriptors(self, pid: int) -> set[int]:
        """The descriptors that it was left, less the shell's own."""
        words = (self.directory / f"{pid}.descriptors").read_text().split()
        return {int(word) for word in words} - {10, 11, 255}


class Gateway:
    """A client, a next queue and, once started, a daemon, all below one directory."""

    def __init__(self, root: Path, client: Path) -> None:
        self.root = root
        self.client = client
        self.records = Records(root / "records")
        self.socket = root / "s"
        self.config: dict[str, Any] = {
            "spool": str(root / "spool"),
            "daemon": {"socket": str(self.socket), "workers": 2, "writable": [str(root / "gates")]},
        }
        for name in ("spool", "spool/incoming", "gates"):  # the last is for what a test makes its workers write
            (root / name).mkdir()
        self.env = {
            "PATH": os.environ["PATH"],
            "GATESCAN_SOCKET": str(self.socket),
            "GATESCAN_NEXT": str(self.records.program),
            "GATESCAN_SPOOL": str(root / "spool/incoming"),
            "RECORDS": str(self.records.directory),
        }

    def call(self, *arguments: str, text_fd: int | None = 6, **env: str) -> Call:
        """Start the client; the caller writes and waits."""
        return Call([self.client, *arguments], self.env | env, text_fd)

    def send(
        self,
        message: bytes,
        envelope: bytes = ENVELOPE,
        *,
        text_fd: int | None = 6,
        env: Mapping[str, str] = MappingProxyType({}),
        **more_env: str,
    ) -> Sent:
        """Send one message through the client."""
        call = Call([self.client], self.env | dict(env) | more_env, text_fd)
        call.write(message, envelope)
        return call.finish()

    def write_config(self) -> Path:
        """Write the configuration for the next start or reload."""
        path = self.root / "config.json"
        path.write_text(json.dumps(self.config))
        return path

    @contextlib.contextmanager
    def daemon(self, program: Sequence[str | Path] = (STUB_DAEMON,)) -> Iterator[Daemon]:
        """A daemon that serves, until the block ends."""
        daemon = Daemon([sys.executable, *program, "--config", str(self.write_config()), "--allow-root"])
        try:
            daemon.wait_for("workers serve")
            yield daemon
        finally:
            daemon.end()


def saw(gateway: Gateway, sent: Sent) -> dict[str, Any]:
    """What the stub daemon's worker knew of a message that was passed on."""
    message, _ = gateway.records.of(sent.pid)
    header = re.match(rb"X-Saw: (.*)\n", message)
    assert header
    seen: dict[str, Any] = json.loads(header.group(1))
    return seen


class Daemon:
    """A daemon's process and what it says."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            env=os.environ | {"PYTHONPATH": str(SCANNER_FILES), "PYTHONUNBUFFERED": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._changed:
                self.said.append(line)
                self._changed.notify_all()

    def wait_for(self, pattern: str, count: int = 1) -> None:
        """Wait until it has said something `count` times."""

        def seen() -> bool:
            return sum(bool(re.search(pattern, line)) for line in self.said) >= count

        with self._changed:
            if not self._changed.wait_for(seen, PATIENCE):
                raise AssertionError(f"it never said {pattern!r} {count} times: {''.join(self.said)}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """SIGTERM, and wait; its exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in (self.process.pid, *self.children()):
                os.kill(pid, signal.SIGKILL)
            raise
        self._reader.join(PATIENCE)
        return status

    def children(self) -> set[int]:
        """Its workers' process ids."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(word) for word in path.read_text().split()}


def wait_until(condition: Any, what: str) -> None:
    """Wait for something that no event tells of; look often, give up after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never: {what}")
        time.sleep(0.01)
