"""gatekeeper after many questions, reloads and dead workers has no more of its host than at its start."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from gatekeeper.auth.desk import ROOM
from gatekeeper.auth.suffixes import LIST
from gatekeeper_rig import Gatekeeper, Session, put, wait_for

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
QUESTIONS, KILLS = (100_000, 30) if NIGHTLY else (2_000, 1)
"""Questions between two reloads; workers that die."""
RELOADS = 10
KNOWN = 300
"""Clients and recipients that come again and again: what is remembered of them is there before the first look."""
GROWTH = 4096
"""KB that a process may grow by: much less than a leak of 300 bytes a question makes of a night's."""

pytestmark = pytest.mark.skipif(not LIST.exists(), reason="Debian's package publicsuffix is not here")


@dataclass(frozen=True)
class Held:
    """What a process holds. memory: KB of its own."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, process: int) -> Held:
        """What one holds now."""
        place = Path(f"/proc/{process}")
        lines = (line.split() for line in (place / "status").read_text().splitlines())
        status = {words[0]: words[1] for words in lines if len(words) > 1}
        return cls(len(list((place / "fd").iterdir())), int(status["Threads:"]), int(status["RssAnon:"]))


@dataclass
class Life:
    """A daemon, and what it is asked."""

    keeper: Gatekeeper
    folder: Path

    def settings(self, number: int = 0) -> dict[str, object]:
        """Lists in one of two folders."""
        path = self.folder / f"of-{number % 2}/corp.test"
        path.parent.mkdir(exist_ok=True)
        put(path, "ann\n")
        limits = {"client": {"messages": {"day": 10**9}}, "sender": {"recipients": {"minute": 10**9}}}
        recipients = {"corp.test": {"file": str(path)}}
        return {"recipients": recipients, "limits": limits, "guesses": 0, "authentication": True}

    def ask(self, questions: int) -> None:
        """Ask by several sessions, relay clients and strangers, of known and of unknown recipients; show messages."""
        for start in range(0, questions, 1000):
            with self.keeper.session() as session:
                for number in range(start, min(start + 1000, questions)):
                    self._ask(session, number % KNOWN)
            self.show()

    def _ask(self, session: Session, number: int) -> None:
        who = {"client_address": f"192.0.2.{number % 250 + 1}", "sender": f"s{number}@client.test"}
        given = [{}, {"relay_client": "yes"}, {"relay_client": "yes", "protocol_state": "DATA"}][number % 3]
        name = "ann" if number % 2 else "bob"
        answer = session.ask(f"{name}@corp.test", **who, **given)
        is_refused = name == "bob" and given.get("protocol_state") != "DATA"
        assert answer.startswith("550 5.1.1 " if is_refused else "DUNNO")

    def show(self) -> None:
        """Ask who a message is from."""
        paths = self.folder / "message", self.folder / "envelope"
        paths[0].write_bytes(bytes(ROOM) + b"From: ann@client.test\nSubject: x\n\nhello\n")
        paths[1].write_bytes(b"Fann@client.test\0Tann@corp.test\0\0")
        fds = [os.open(path, os.O_RDONLY) for path in paths]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as wire:
                wire.settimeout(30)
                wire.connect(str(self.keeper.authentication))
                socket.send_fds(wire, [b"\1TCPREMOTEIP=192.0.2.7\0"], fds)
                assert wire.recv(8192)[8:].startswith(b"- spf=none")
        finally:
            for fd in fds:
                os.close(fd)


@pytest.fixture
def life(keeper: Gatekeeper, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A daemon that has been asked all that it will be asked."""
    found = Life(keeper, tmp_path_factory.mktemp("lists"))
    keeper.start(**found.settings())
    found.ask(KNOWN * 4)
    return found


def assert_no_more(before: Held, process: int) -> None:
    """A session's descriptor goes a moment after its client; threads that write are a few, and come when needed."""
    wait_for(lambda: Held.of(process).descriptors <= before.descriptors, f"descriptors as at the start: {before}")
    after = Held.of(process)
    assert after.threads <= before.threads + 2, (before, after)
    assert after.memory <= before.memory + GROWTH, (before, after)


def test_a_worker_holds_no_more_after_ten_reloads_and_thousands_of_questions(life: Life) -> None:
    worker, keeper = life.keeper.worker, life.keeper
    keeper.reload(**life.settings())
    life.ask(KNOWN * 4)
    before = Held.of(worker)
    for _ in range(RELOADS):
        keeper.reload(**life.settings())
        life.ask(QUESTIONS)
    assert keeper.worker == worker
    assert_no_more(before, worker)


def test_nobody_holds_more_after_workers_that_made_way_and_that_died(life: Life) -> None:
    keeper = life.keeper
    assert keeper.process
    master, first = Held.of(keeper.process.pid), Held.of(keeper.worker)
    for number in range(1, RELOADS + 1):
        keeper.reload(**life.settings(number))
        life.ask(KNOWN)
    for _ in range(KILLS):
        worker = keeper.worker
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda old=worker: keeper.worker not in (0, old), "another worker")  # type: ignore[misc]  # a default is not inferred
        life.ask(KNOWN)
    life.ask(KNOWN * 4)
    assert_no_more(master, keeper.process.pid)
    assert_no_more(first, keeper.worker)
    assert "cannot be used" not in keeper.log
