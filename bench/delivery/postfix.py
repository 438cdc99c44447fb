"""Postfix's smtp client beside the others: an instance of its own; the machine gives nothing but the programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.delivery.accounting import Run, children, cpu_seconds

PROGRAMS = Path("/usr/lib/postfix/sbin")
CLIENT = {"smtp", "scache", "tlsmgr", "tlsproxy"}
"""The processes that a delivery by SMTP needs; qmgr's work is qmail-send's in the other columns, and is not counted."""
PATIENCE = 120.0
"""Seconds for all messages of a run."""
SERVICES = """\
127.0.0.1:{door} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
smtp unix - - n - - smtp
showq unix n - n - - showq
retry unix - - n - - error
error unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
tlsproxy unix - - n - 0 tlsproxy
postlog unix-dgram n - n - 1 postlogd
"""
SETTINGS = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = {programs}
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = bench.example
mydestination =
alias_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
relayhost = [127.0.0.1]:{sink}
smtpd_client_restrictions = static:hold
smtpd_relay_restrictions = permit_mynetworks, reject
mynetworks = 127.0.0.0/8
default_process_limit = {at_once}
default_destination_concurrency_limit = {at_once}
initial_destination_concurrency = {at_once}
max_use = 1000000
smtp_connection_cache_on_demand = {cache}
smtp_tls_connection_reuse = {cache}
smtp_tls_security_level = {tls}
smtp_tls_session_cache_database = btree:${{data_directory}}/smtp_scache
"""


@dataclass(frozen=True)
class Way:
    """How Postfix sends: by TLS or not, and whether it keeps connections."""

    name: str
    by_tls: bool
    keeps: bool


WAYS = (
    Way("Postfix, plain, a connection each", False, False),
    Way("Postfix, plain, its connection cache", False, True),
    Way("Postfix, TLS, a connection each", True, False),
    Way("Postfix, TLS, its connection cache", True, True),
)


def missing() -> str:
    """Why Postfix cannot be measured here; empty, it can."""
    if not (PROGRAMS / "smtp").exists():
        return "it is not installed: requirements/packages.sh requirements/apt-bench.txt"
    return "" if os.geteuid() == 0 else "its master starts as root alone"


class Postfix:
    """One instance. folder: its own, which other users can pass; sink, door: ports of the server, and of its smtpd."""

    def __init__(self, folder: Path, sink: int, door: int, at_once: int) -> None:
        self.folder, self.sink, self.door, self.at_once = folder, sink, door, at_once
        self.log, self.settings, data = folder / "log", folder / "etc", folder / "data"
        for path in (self.settings, folder / "spool", data):
            path.mkdir(parents=True)
        shutil.chown(data, "postfix")
        (self.settings / "master.cf").write_text(SERVICES.format(door=door))

    def measure(self, way: Way, letters: Sequence[Path], messages: int) -> Run:
        """Send so many messages, the letters by turns; all must be taken."""
        with self._serving(way) as master:
            self._send(letters, 2 * self.at_once)  # its processes are there, as gatepost's is
            before = client_seconds(master)
            took = self._send(letters, messages)
            return Run((client_seconds(master) - before) / messages * 1e3, messages / took)

    @contextmanager
    def _serving(self, way: Way) -> Iterator[int]:
        """Its first process, while it serves."""
        words = {"tls": "encrypt" if way.by_tls else "none", "cache": "yes" if way.keeps else "no"}
        text = SETTINGS.format(folder=self.folder, programs=PROGRAMS, sink=self.sink, at_once=self.at_once, **words)
        (self.settings / "main.cf").write_text(text)
        self.log.unlink(missing_ok=True)
        command = ["postfix", "-c", str(self.settings), "start-fg"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # its log says all
        try:
            self._wait_for("daemon started", 1)
            yield self._master()
        finally:
            os.kill(self._master(), signal.SIGTERM)
            process.wait()

    def _master(self) -> int:
        return int((self.folder / "spool/pid/master.pid").read_text())

    def _send(self, letters: Sequence[Path], number: int) -> float:
        """Have so many messages wait, and send them; returns the seconds until all are taken."""
        for place, letter in enumerate(letters[:number]):
            copies = (number - place - 1) // len(letters) + 1
            words = ["-m", str(copies), "-f", "ann@bench.example", "-t", "bob@there.bench", "-F", str(letter)]
            self._call("smtp-source", "-s", "5", *words, f"127.0.0.1:{self.door}")
        self._call("postsuper", "-c", str(self.settings), "-H", "ALL")
        before, start = self._said().count("status=sent"), time.monotonic()
        self._call("postqueue", "-c", str(self.settings), "-f")
        self._wait_for("status=sent", before + number)
        return time.monotonic() - start

    @staticmethod
    def _call(*words: str) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def _wait_for(self, word: str, times: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while (said := self._said()).count(word) < times:
            if time.monotonic() > deadline or "status=deferred" in said:
                raise SystemExit(f"bench: Postfix does not say {word!r} {times} times:\n{said[-2000:]}")
            time.sleep(0.005)


def client_seconds(master: int) -> float:
    """CPU time of the processes that deliver."""
    return sum(cpu_seconds(process) for process in children(master) if _name(process) in CLIENT)


def _name(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text().strip()
