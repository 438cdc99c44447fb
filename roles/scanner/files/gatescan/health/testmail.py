"""The paper's four test messages, sent through the real gateway, and what became of them.

As qmail-scanner's test_installation.sh does it: a harmless message; a file that only looks like EICAR.COM by
its name and size, for the rules; the EICAR test file under another name, for the virus scanner; and the GTUBE
test spam. What happened is read from the journal and the quarantine, and, for what is delivered to this host,
from a Maildir.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import IO, Any, Literal

from gatescan.config import Config
from gatescan.outcome.quarantine import Quarantine, QuarantineError

LOOK_EVERY = 0.1
"""Seconds between two looks for what is waited for."""
INJECT_TIMEOUT = 300.0

# In two halves each, so that no scanner takes this file itself for what it describes.
_EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
_GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

Need = Literal["", "antivirus", "spam"]


@dataclass(frozen=True, slots=True)
class TestMail:
    """A test message. needs: the kind of engine without which it is delivered, empty for none."""

    name: str
    subject: str
    stopped: bool
    needs: Need = ""
    text: str = "This message was made by `gatescan test-installation`.\n"
    file_name: str = ""
    file: bytes = b""

    def build(self, sender: str, recipient: str, message_id: str, now: float) -> bytes:
        """The whole message."""
        head = (
            f"Date: {formatdate(now, localtime=True)}\nFrom: <{sender}>\nTo: <{recipient}>\n"
            f"Subject: {self.subject}\nMessage-ID: <{message_id}>\nMIME-Version: 1.0\n"
        )
        if not self.file_name:
            return f"{head}Content-Type: text/plain\n\n{self.text}".encode()
        body = base64.encodebytes(self.file).decode("ascii")
        return (
            f'{head}Content-Type: multipart/mixed; boundary="test"\n\n'
            f"--test\nContent-Type: text/plain\n\n{self.text}\n"
            f"--test\nContent-Type: application/octet-stream\n"
            f'Content-Disposition: attachment; filename="{self.file_name}"\n'
            f"Content-Transfer-Encoding: base64\n\n{body}\n--test--\n"
        ).encode()


MAILS = (
    TestMail("clean", "gatescan test 1 of 4: harmless, must arrive", stopped=False),
    TestMail(
        "rule",
        "gatescan test 2 of 4: name and size of EICAR.COM, must be held",
        stopped=True,
        file_name="Eicar.com",
        file=bytes(68) + b"\n",
    ),
    TestMail(
        "virus",
        "gatescan test 3 of 4: the EICAR test file, must be held",
        stopped=True,
        needs="antivirus",
        file_name="sneaky.txt",
        file=_EICAR.encode("ascii") + b"\n",
    ),
    TestMail(
        "spam",
        "gatescan test 4 of 4: the GTUBE test spam, must be tagged or held",
        stopped=True,
        needs="spam",
        text=f"This is the GTUBE, the Generic Test for Unsolicited Bulk Email\n\n{_GTUBE}\n",
    ),
)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a test message.

    state: `delivered`, `tagged`, `held`, `refused` (the gateway's exit code in detail) or `unknown`.
    ok: as it should be; None when nothing can be said, for want of an engine.
    """

    name: str
    state: str
    ok: bool | None
    detail: str = ""


def engine_kinds(config: Config) -> set[Need]:
    """Which kinds of engine the configuration has."""
    names = {str(engine.get("type") or engine.get("name") or "") for engine in config.engines}
    kinds: set[Need] = set()
    for name in names:
        kinds.add("spam" if "spam" in name.lower() else "antivirus")
    return kinds


@dataclass(frozen=True, slots=True)
class Route:
    """How the messages are sent. queue: the client, as QMAILQUEUE. maildir: where the recipient's mail
    arrives.
    """

    inject: str
    queue: str
    sender: str
    recipient: str
    timeout: float
    maildir: Path | None = None


def run(config: Config, route: Route) -> Iterator[Fate]:
    """Send all four; yield what became of each as soon as it is known. OSError if nothing can be sent."""
    kinds = engine_kinds(config)
    for mail in MAILS:
        message_id = f"{time.time():.6f}.{os.getpid()}.{mail.name}@{config.hostname}"
        with _JournalTail(config.journal.json_log) as tail:
            code, complaint = _send(mail, message_id, route)
            if code:
                yield Fate(mail.name, "refused", False, f"{route.inject} said {code}: {complaint}")
                continue
            line = tail.wait_for(message_id, time.monotonic() + route.timeout)
        yield _fate(mail, message_id, line, config, route, kinds)


def _send(mail: TestMail, message_id: str, route: Route) -> tuple[int, str]:
    message = mail.build(route.sender, route.recipient, message_id, time.time())
    environment = {**os.environ, "QMAILQUEUE": route.queue}
    command = [route.inject, "-a", "-f", route.sender, "--", route.recipient]
    done = subprocess.run(
        command, input=message, capture_output=True, env=environment, timeout=INJECT_TIMEOUT, check=False
    )
    return done.returncode, done.stderr.decode("utf-8", "replace").strip()


def _fate(
    mail: TestMail,
    message_id: str,
    line: Mapping[str, Any] | None,
    config: Config,
    route: Route,
    kinds: set[Need],
) -> Fate:
    if line is None:
        journal = config.journal.json_log
        detail = f"it was taken, but {journal} does not have it: is QMAILQUEUE {route.queue}?"
        return Fate(mail.name, "unknown", False, detail)
    action = str(line["action"])
    missing = bool(mail.needs) and mail.needs not in kinds
    if held := line.get("held"):
        return _held(mail, str(held), line, config)
    state = "tagged" if action == "tag" else "delivered"
    if mail.stopped and missing:
        return Fate(mail.name, state, None, f"no {mail.needs} engine is configured, so nothing could find it")
    if mail.stopped and not (state == "tagged" and mail.needs == "spam"):
        return Fate(mail.name, state, False, "it should have been held")
    if route.maildir is not None and not _arrived(route.maildir, message_id, route.timeout):
        return Fate(mail.name, "unknown", False, f"it was passed on but is not in {route.maildir}")
    detail = f"passed on to {config.next_queue[0]}" if route.maildir is None else f"is in {route.maildir}"
    return Fate(mail.name, state, True, detail)


def _held(mail: TestMail, held: str, line: Mapping[str, Any], config: Config) -> Fate:
    findings = line.get("findings") or [{}]
    why = f"{held}: {findings[0].get('detail', '')}"
    try:
        Quarantine(config.quarantine).find(held)
    except (QuarantineError, OSError) as error:
        return Fate(mail.name, "held", False, f"the journal says {held}, but: {error}")
    return Fate(mail.name, "held", mail.stopped, why if mail.stopped else f"should have arrived; {why}")


class _JournalTail:
    """What is written to the journal from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _JournalTail:
        if self.path.exists():
            self._file = open(self.path, "rb")
            self._file.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def wait_for(self, message_id: str, deadline: float) -> Mapping[str, Any] | None:
        """The line about this message; None when it has not come by `deadline` (monotonic seconds)."""
        rest = b""
        while True:
            if self._file is None and self.path.exists():
                self._file = open(self.path, "rb")  # noqa: SIM115  # __exit__ closes it
            rest += self._file.read() if self._file is not None else b""
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if message_id.encode() in line:
                    return dict(json.loads(line))
            if time.monotonic() > deadline:
                return None
            time.sleep(LOOK_EVERY)


def _arrived(maildir: Path, message_id: str, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    wanted = message_id.encode()
    while True:
        for path in (maildir / "new").iterdir():
            try:
                with open(path, "rb") as file:
                    if wanted in file.read(65_536):
                        return True
            except FileNotFoundError:
                continue
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_EVERY)
