"""The scanner of a gateway as its tests see it: what was held, what was written down, what is in force."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blows import numbers
from lab_hosts import Gateway, Peer, Reply, eventually

from lab.talk import MAILDIR

BURST = (Path(__file__).parent / "burst.py").read_text()
RULES = "/etc/gatescan/quarantine-attachments.txt"
OUTBREAK = "/etc/gatescan/outbreak.txt"
JOURNAL = "/var/log/gatescan/messages.jsonl"
QUEUE = "/var/qmail/bin/qmail-scanner-queue"
USER = "user@corp.test"
STRANGER = "someone@world.test"
PROGRAM = b"MZ\x90\x00\x03" + bytes(200)
_SUBJECT = re.compile(rb"^Subject:.*\n", re.MULTILINE)


def order(server: str, message: bytes, *recipients: str, **more: Any) -> dict[str, Any]:
    """One order of burst.py."""
    listed = list(recipients) or [USER]
    return {"server": server, "sender": STRANGER, "recipients": listed, "message": message.decode("latin-1"), **more}


def send_all(peer: Peer, orders: list[dict[str, Any]], sessions: int = 1) -> list[list[Reply]]:
    """Carry out orders from a peer; the replies of each."""
    plan = json.dumps({"orders": orders, "sessions": sessions})
    told = json.loads(peer.run("python3", "-c", BURST, stdin=plan, seconds=None))
    return [[Reply(*reply) for reply in tries] for tries in told]


def send(peer: Peer, server: str, message: bytes, *recipients: str, **more: Any) -> Reply:
    """Send one message (LF line ends) in one try."""
    return send_all(peer, [order(server, message, *recipients, **more)])[0][0]


def marked(message: bytes, mark: str) -> bytes:
    """The message with another subject, which is what it is found by."""
    line = f"Subject: {mark}\n".encode()
    return _SUBJECT.sub(line, message, count=1) if _SUBJECT.search(message) else line + message


def mail(mark: str, text: str = "Good morning.\n", header: str = "") -> bytes:
    """A plain message."""
    head = f"From: {STRANGER}\nTo: {USER}\nSubject: {mark}\n{header}"
    return f"{head}\n{text}\n{mark}\n".encode()


def with_file(mark: str, name: str, data: bytes, header: str = "") -> bytes:
    """A message with a text and one attachment."""
    from tests.corpus.case import attached

    return header.encode() + marked(attached(name.encode(), data), mark)


def numbered(run: str, number: int, sizes: random.Random) -> bytes:
    """One of many messages, of several sizes and kinds; each fifth is to be held."""
    mark = f"{run}.{number}."
    if number % 5 == 0:
        return with_file(mark, "tool.exe", PROGRAM)
    if number % 5 == 1:
        return with_file(mark, "table.csv", b"1,2,3\n" * sizes.randrange(3000))
    return mail(mark, "All is well.\n" * sizes.randrange(10, 1500))


def found_again(run: str, scanner: Scanner, office: Peer) -> tuple[Counter[int], Counter[int]]:
    """How often each of such messages is held, and how often it arrived, once all have gone on."""
    gateway = scanner.gateway
    eventually(lambda: gateway.process("qmail-send"), what="a qmail-send, the last one may just have been killed")
    gateway.run("qmailctl", "flush")
    gateway.wait_for_empty_queue()
    held: Counter[int] = Counter()
    for entry in scanner.entries("--subject", f"*{run}*"):
        held += numbers(run, str(entry["subject"]))
    eventually(lambda: office.run("postqueue", "-p").startswith("Mail queue is empty"), 60, "the office's queue")
    return held, numbers(run, office.sh(f"grep -rhE '^Subject: {run}' {MAILDIR} || true"))


def delivered(peer: Peer, mark: str) -> list[str]:
    """Paths of the messages with this subject in a mailbox; notices about them have others."""
    return peer.sh(f"grep -rlx -e 'Subject: {mark}' {MAILDIR} || true").split()


class Scanner:
    """The scanner of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def entries(self, *filters: str) -> list[dict[str, Any]]:
        """What `gatescan quarantine list` has."""
        lines = self.gateway.run("gatescan", "quarantine", "list", "--json", *filters).splitlines()
        return [json.loads(line) for line in lines]

    def held(self, mark: str) -> dict[str, Any]:
        """Wait for the one held message with this subject."""
        found = eventually(lambda: self.entries("--subject", f"*{mark}*"), 30, f"{mark} in quarantine")
        assert len(found) == 1, found
        return found[0]

    def line(self, mark: str) -> dict[str, Any]:
        """Wait for the journal's last line about a message with this subject."""
        found = eventually(lambda: self.lines(mark), 30, f"{mark} in the journal")
        return found[-1]

    def lines(self, word: str) -> list[dict[str, Any]]:
        """The journal's lines that contain a word."""
        found = self.gateway.sh(f"grep -F -e '{word}' {JOURNAL} || true")
        return [json.loads(line) for line in found.splitlines()]

    def forget(self, mark: str) -> None:
        """Delete what was held with this subject."""
        self.gateway.run("gatescan", "quarantine", "delete", "--all", "--subject", f"*{mark}*")

    def lift_all(self) -> None:
        """Take back whatever an outbreak's blocks are."""
        self.gateway.sh(f"[ ! -e {OUTBREAK} ] || {{ rm {OUTBREAK}; gatescan rules build; }}")

    @contextmanager
    def rules_with(self, *lines: str) -> Iterator[None]:
        """Further lines in the rules' text, not built; afterwards the old text is in force again."""
        self.gateway.run("cp", "-p", RULES, f"{RULES}.test")
        try:
            self.gateway.run("sh", "-c", f"cat >> {RULES}", stdin="".join(f"{line}\n" for line in lines))
            yield
        finally:
            self.gateway.run("mv", f"{RULES}.test", RULES)
            self.gateway.run(QUEUE, "-g")

    @contextmanager
    def down(self) -> Iterator[None]:
        """No daemon, by `svc -d`."""
        try:
            self.gateway.stop("gatescan")
            yield
        finally:
            self.gateway.sh("/command/svc -u /service/gatescan")
            self.wait_until_it_answers()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The daemon and all its workers, by SIGSTOP."""
        processes = "pkill -u gatescan -f 'gatescan daemon' -"
        try:
            self.gateway.sh(f"{processes}STOP")
            yield
        finally:
            self.gateway.sh(f"{processes}CONT")

    def wait_until_it_answers(self) -> None:
        """Wait until the doctor reaches the daemon."""
        eventually(lambda: "daemon: answers" in self.gateway.run("gatescan", "doctor", check=False), 30, "a daemon")
