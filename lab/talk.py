"""The lab's hosts as tests and the demonstration speak to them: real programs inside, real mail between them."""

from __future__ import annotations

import email
import email.policy
import json
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from lab import errands
from lab.machine import environment
from lab.reach import SSH_ARGUMENTS, inside
from lab.topology import HOSTS, NET4, NET6, Host

PROBE = (Path(__file__).parent / "probe.py").read_text()
MAILDIR = "/var/spool/lab/Maildir/new"
OFFER_TLS = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server \
    -addext subjectAltName={name} -keyout /etc/postfix/lab.key -out /etc/postfix/lab.pem 2>&1
postconf -e smtpd_tls_key_file=/etc/postfix/lab.key smtpd_tls_cert_file=/etc/postfix/lab.pem \
    smtpd_tls_received_header=yes smtpd_tls_security_level=may
"""
COMMAND_SECONDS = 240
"""After so long a program inside a host is given up: one that hangs is named, and the tests after it still run."""
T = TypeVar("T")


def eventually(look: Callable[[], T | Literal[False] | None], seconds: float = 60, what: str = "") -> T:
    """Return the first true value of `look`, asked again and again; fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or look}")
        time.sleep(0.1)


def as_text(data: bytes) -> str:
    """What a program printed, with the ends of lines that text files have."""
    return data.decode(errors="surrogateescape").replace("\r\n", "\n").replace("\r", "\n")


def token() -> str:
    """A word that no other message carries."""
    return f"t{secrets.token_hex(8)}"


@dataclass(frozen=True)
class Reply:
    """The reply that ended an SMTP talk; stage is connect, helo, starttls, mail, rcpt or data; code 0: no reply."""

    stage: str
    code: int
    text: str


class LabHost:
    """A host of the lab, from inside and outside."""

    def __init__(self, host: Host) -> None:
        """Bind to a running host."""
        self.host = host
        self.name = host.name
        self.ipv4, self.ipv6 = host.ipv4, host.ipv6

    @cached_property
    def shell(self) -> Any:
        """testinfra's host, for facts about files, users and processes."""
        import testinfra  # only tests have it

        if self.host.is_virtual:
            return testinfra.get_host(f"ssh://root@{self.ipv4}", ssh_extra_args=shlex.join(SSH_ARGUMENTS))
        return testinfra.get_host(f"podman://{self.host.container}")

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, seconds: float | None = COMMAND_SECONDS
    ) -> str:
        """Run a program inside and return what it prints."""
        done = self._done(command, stdin, seconds)
        if check and done.returncode:
            raise AssertionError(
                f"{self.name}: {' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def _done(
        self, command: tuple[str, ...], stdin: str | None, seconds: float | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside, by the process that stays there if one can."""
        if not self.host.is_virtual:
            given = (stdin or "").encode(errors="surrogateescape")
            try:
                told = errands.run(inside(self.host, is_interactive=True), environment(), command, given, seconds)
            except errands.NotBegun:
                pass
            else:
                return subprocess.CompletedProcess(command, told.status, as_text(told.stdout), as_text(told.stderr))
        return subprocess.run(
            inside(self.host, *command, is_interactive=stdin is not None),
            input=stdin,
            capture_output=True,
            text=True,
            env=environment(),
            errors="surrogateescape",
            timeout=seconds,
        )

    def sh(self, script: str, check: bool = True) -> str:
        """Run a shell script inside and return what it prints."""
        return self.run("sh", "-c", script, check=check)


class Peer(LabHost):
    """A host that is not a gateway: it sends mail from its own addresses and looks into its own mailbox."""

    def send(
        self,
        server: str,
        recipient: str | list[str],
        message: str | None = None,
        sender: str = "someone@world.test",
        source: str = "",
        mark: str = "",
        starttls: bool = False,
    ) -> Reply:
        """Send one message to a server's port 25; message None stops after RCPT; starttls: by TLS or not at all."""
        recipients = [recipient] if isinstance(recipient, str) else recipient
        if message is None and mark:
            message = f"From: {sender}\r\nTo: {recipients[0]}\r\nSubject: {mark}\r\n\r\n{mark}\r\n"
        order: dict[str, object] = {
            "server": server,
            "sender": sender,
            "recipients": recipients,
            "message": message,
            "source": source,
            "starttls": starttls,
        }
        return self.send_all([order])[0]

    def send_all(self, orders: list[dict[str, object]]) -> list[Reply]:
        """Hold several conversations one after another."""
        told = json.loads(self.run("python3", "-c", PROBE, stdin=json.dumps(orders)))
        return [Reply(**item) for item in told]

    def find(self, mark: str) -> list[str]:
        """Paths of the messages in this host's mailbox that contain a word."""
        return self.sh(f"grep -rlF -e '{mark}' {MAILDIR} || true").split()

    def arrived(self, mark: str, seconds: float = 60) -> EmailMessage:
        """Wait for the message that contains a word, and return it."""
        paths = eventually(lambda: self.find(mark), seconds, f"a message with {mark} at {self.name}")
        return email.message_from_string(self.run("cat", paths[0]), policy=email.policy.default)

    def raw(self, mark: str) -> str:
        """Wait for the message that contains a word, and return its bytes as text."""
        paths = eventually(lambda: self.find(mark), 60, f"a message with {mark} at {self.name}")
        return self.run("cat", paths[0])

    def offer_tls(self, name: str) -> str:
        """Have its mail server offer TLS, by a certificate for DNS:NAME or IP:ADDRESS that vouches for itself."""
        self.sh(OFFER_TLS.format(name=name))
        self.reload_mail_server()
        return self.run("cat", "/etc/postfix/lab.pem")

    def reload_mail_server(self) -> None:
        """Have its mail server go by its configuration; wait until none of its processes goes by the old one."""
        before = set(self._receivers())
        self.run("postfix", "reload")
        eventually(lambda: not before & set(self._receivers()), what=f"the end of {self.name}'s old smtpd")

    def _receivers(self) -> list[str]:
        """The processes that take mail, some of which wait for the next connection."""
        return self.run("pgrep", "-x", "smtpd", check=False).split()

    def address(self, octet: int, family: int = 4) -> str:
        """One of this host's own addresses, by its last part."""
        return f"{NET4}.{octet}" if family == 4 else f"{NET6}:{octet}"


class Gateway(LabHost):
    """A host that Gatewright built."""

    @cached_property
    def speaks_ipv6(self) -> bool:
        """Whether its tcpserver knows IPv6: Debian's build does, the paper's ucspi-tcp 0.88 does not."""
        return not self.run("dpkg-query", "--show", "gatewright-ucspi-tcp", check=False)

    @cached_property
    def has_standin(self) -> bool:
        """Whether the lab's stand-in is here in qmail's place: interpreted programs, none of them set-uid."""
        return "standin" in self.run("dpkg-query", "-W", "-f", "${Description}", "gatewright-qmail")

    def queue(self) -> str:
        """What waits in the queue, as qmail-qread lists it."""
        return self.run("/var/qmail/bin/qmail-qread")

    def tries(self, recipient: str) -> list[str]:
        """How each try to deliver to a recipient elsewhere has ended, as qmail-send's log has it."""
        found, running = [], set()
        for line in self.run("cat", "/var/log/qmail/current").splitlines():
            if start := re.search(rf"starting delivery (\d+): msg \d+ to remote {re.escape(recipient)}$", line):
                running.add(start[1])
            elif (end := re.search(r" delivery (\d+): (.*)", line)) and end[1] in running:
                running.discard(end[1])
                found.append(end[2])
        return found

    def deliveries(self) -> str:
        """What gatepost says of its deliveries, a line of JSON each."""
        return self.run("cat", "/var/log/gatepost/deliveries.jsonl")

    def wait_for_empty_queue(self) -> None:
        """Wait until every message is delivered."""
        eventually(lambda: not self.queue().strip(), 90, f"an empty queue at {self.name}: {self.queue()}")

    def process(self, service: str) -> str:
        """The number of the process that supervise holds up for a service; empty while there is none."""
        found = re.search(r"\(pid (\d+)\)", self.run("/command/svstat", f"/service/{service}", check=False))
        return found[1] if found else ""

    def stop(self, service: str) -> None:
        """Have supervise end a service, and wait for that."""
        self.run("/command/svc", "-d", f"/service/{service}")
        eventually(lambda: not self.process(service), what=f"the end of {service}")

    def restart_door(self) -> None:
        """Have supervise start qmail-smtpd anew, as when its environment has changed, and wait until it is open."""
        before = self.process("qmail-smtpd")
        self.run("/command/svc", "-t", "/service/qmail-smtpd")
        self.wait_for_door(before)

    def wait_for_door(self, before: str = "") -> None:
        """Wait until port 25 is open; before: the process that was told to end, and may not have done so yet."""
        eventually(lambda: self.process("qmail-smtpd") not in ("", before), 30, f"another qmail-smtpd than {before}")
        eventually(lambda: self.run("ss", "-Hltn", "sport = :25").strip(), 30, f"an open port 25 at {self.name}")

    def is_up(self, service: str) -> bool:
        """Whether supervise has held a service up for at least two seconds."""
        words = self.run("/command/svstat", f"/service/{service}", check=False).split()
        return "up" in words[1:2] and int(words[words.index("seconds") - 1]) >= 2


def lab_host(name: str) -> Host:
    """A host of the lab's topology by its name."""
    return next(host for host in HOSTS if host.name == name)
