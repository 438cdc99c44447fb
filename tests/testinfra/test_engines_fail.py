"""Real engines that fail in every way: mail waits and arrives later, and nothing passes unscanned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from engine_lab import EICAR, SIGNATURES, Engines
from lab_hosts import Gateway, Peer, Reply, eventually, token
from scanner_lab import delivered, order, send, send_all, with_file

MANY_SIGNATURES = """
import hashlib
for n in range(300_000):
    print(f"{hashlib.md5(b'%d' % n).hexdigest()}:{n + 1}:Lab.N{n}")
"""  # so many that clamd takes a moment to load them
LARGE = b"\xff\xd8\xff\xe0" + bytes(1_000_000)


@pytest.fixture
def engines(gateway: Gateway) -> Engines:
    """The gateway's engines, which the inventory switches on."""
    return Engines(gateway)


class Waiting:
    """A harmless message and one with EICAR that are sent while an engine fails; what becomes of them."""

    def __init__(self, engines: Engines, outside: Peer, office: Peer, size: int = 0) -> None:
        """size: bytes of the attachments, about."""
        self.engines, self.outside, self.office = engines, outside, office
        self.clean, self.virus = token(), token()
        filler = b"A harmless page.\n" * (size // 17 + 1)
        self.messages = [
            with_file(self.clean, "paper.txt", filler),
            with_file(self.virus, "notes.txt", filler + EICAR.encode()),
        ]

    def send(self, times: int = 1) -> list[Reply]:
        """Try both once, or more often, at the same time; the replies."""
        server = self.engines.gateway.ipv4
        orders = [order(server, message) for message in self.messages * times]
        return [tries[0] for tries in send_all(self.outside, orders, sessions=2)]

    def assert_put_off(self, times: int = 1) -> None:
        """Both are answered with 4xx, and neither is anywhere."""
        for reply in self.send(times):
            assert (reply.stage, reply.code // 100) == ("data", 4), reply
        assert not delivered(self.office, self.clean) and not self.held(self.clean)

    def assert_done_later(self) -> None:
        """The engine is well again: one arrives, the other is held, and it has never passed."""
        eventually(lambda: all(reply.code == 250 for reply in self.send()), 60, "an engine that is well again")
        self.office.arrived(self.clean)
        assert self.held(self.virus) and not delivered(self.office, self.virus)
        self.engines.scanner.forget(self.virus)

    def held(self, mark: str) -> list[dict[str, Any]]:
        """What is in quarantine of this subject."""
        return self.engines.scanner.entries("--subject", f"*{mark}*")


@pytest.fixture
def waiting(engines: Engines, outside: Peer, office: Peer) -> Iterator[Waiting]:
    """Two small messages; once the test is over the engines answer again."""
    yield Waiting(engines, outside, office)
    engines.wait_until_well()


def test_an_engine_that_is_stopped_is_soon_left_alone_and_tried_again_by_itself(waiting: Waiting) -> None:
    engines = waiting.engines
    with engines.stopped("clamd"):
        waiting.assert_put_off(times=3)
        assert engines.states()["clamd"]["failures_in_a_row"] >= 3
        assert "BROKEN   engine clamd" in engines.gateway.run("gatescan", "doctor", check=False)
    waiting.assert_done_later()
    assert engines.states()["clamd"]["failures_in_a_row"] == 0


def test_mail_waits_for_a_clamd_that_hangs(waiting: Waiting) -> None:
    with waiting.engines.hung("clamd"):
        waiting.assert_put_off()
    waiting.assert_done_later()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("b'1: fd[9]: OK, I think\\0'", id="another verdict"),
        pytest.param("b'1: fd[9]: O'", id="half a verdict"),
        pytest.param("b'2: fd[9]: OK\\0'", id="an answer to another question"),
        pytest.param("bytes(2) + b'x' * 2_000_000", id="2 MB of nonsense"),
    ],
)
def test_mail_waits_while_something_else_answers_for_clamd(waiting: Waiting, answer: str) -> None:
    waiting.messages = waiting.messages[1:]  # one failure, not enough to leave it alone
    with waiting.engines.impostor("clamd", answer):
        waiting.assert_put_off()
    assert waiting.send()[0].code == 250
    assert waiting.held(waiting.virus)
    waiting.engines.scanner.forget(waiting.virus)


def test_mail_waits_for_a_clamd_that_has_no_memory(engines: Engines, outside: Peer, office: Peer) -> None:
    waiting = Waiting(engines, outside, office, size=1_300_000)
    with engines.without_memory("clamd"):
        waiting.assert_put_off()
    waiting.assert_done_later()


def test_what_is_too_large_for_clamd_waits_or_is_held_but_never_passes(
    engines: Engines, outside: Peer, office: Peer
) -> None:
    mark = token()
    server = engines.gateway.ipv4
    message = with_file(mark, "photo.jpg", LARGE)
    with engines.configured("engines[0]['max_bytes'] = 500_000"):
        assert send(outside, server, message).code == 451
    assert "more than max_bytes" in engines.states()["clamd"]["last_error"]
    with engines.clamd_with("s/^\\(StreamMaxLength\\|MaxFileSize\\) .*/\\1 500000/"):
        with engines.configured("engines[0]['transfer'] = 'instream'"):
            assert send(outside, server, message).code == 451
        assert "limit exceeded" in engines.states()["clamd"]["last_error"]
        assert send(outside, server, message).code == 250
        assert engines.scanner.held(mark)["verdict"] == "limit"
        engines.scanner.forget(mark)
    assert not delivered(office, mark)
    assert send(outside, server, message).code == 250
    office.arrived(mark)


def test_a_reload_loses_nothing_and_lets_nothing_pass(engines: Engines, outside: Peer, office: Peer) -> None:
    gateway, waiting = engines.gateway, Waiting(engines, outside, office)
    assert [reply.code for reply in waiting.send()] == [
        250,
        250,
    ]  # threads of clamd that have had work, and wait for more
    gateway.run("sh", "-c", f"python3 > {SIGNATURES}/many.hdb", stdin=MANY_SIGNATURES)
    try:
        gateway.run("systemctl", "reload", "clamav-daemon")
        replies = waiting.send(times=5)
        assert [reply.code for reply in replies] == [250] * 10, "it waited for clamd no longer than for a slow message"
        office.arrived(waiting.clean)
        copies = [
            entry["copies"] for entry in waiting.held(waiting.virus)
        ]  # the same message is kept once, and counted
        assert sum(copies) == 6 and not delivered(office, waiting.virus)
        engines.scanner.forget(waiting.virus)
    finally:
        gateway.sh(f"rm {SIGNATURES}/many.hdb; systemctl reload clamav-daemon")


@pytest.mark.parametrize("state", ["stopped", "hung", "impostor"])
def test_mail_waits_for_spamassassin(waiting: Waiting, state: str) -> None:
    waiting.messages = waiting.messages[:1]
    engines = waiting.engines
    ill = engines.impostor("spamd", "b'SPAMD/1.5 0 OK'") if state == "impostor" else getattr(engines, state)("spamd")
    with ill:
        waiting.assert_put_off()
    eventually(lambda: waiting.send()[0].code == 250, 60, "spamd is well again")
    waiting.office.arrived(waiting.clean)
