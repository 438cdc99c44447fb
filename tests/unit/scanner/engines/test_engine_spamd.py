"""spamd: scores become actions by direction; what is no whole answer is an error."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from doubles.daemon import line, to_end
from gatescan.config import parse
from gatescan.context import Context
from gatescan.engines.base import EngineError, Sample
from gatescan.engines.panel import Panel
from gatescan.engines.spamd import Spamd, SpamdSettings
from gatescan.judging.judge import MessageReport
from gatescan.model import Verdict
from gatescan.outcome.policy import decide
from samples import soon

Start = Callable[[Callable[[socket.socket], None]], str]

GOOD = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 11\r\nSpam: %s ; %s / 5.0\r\n\r\nGTUBE,OTHER"
LEVELS = {"tag": 5.0, "quarantine": 10.0, "reject": 15.0}


def scored(score: str) -> bytes:
    return GOOD % (b"True" if float(score) >= 5 else b"False", score.encode())


def engine(path: str, **settings: Any) -> Spamd:
    return Spamd("spamd", 30.0, SpamdSettings(path, **settings))


def answering(answer: bytes, asked: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        request = to_end(connection)
        if asked is not None:
            asked.append(request)
        connection.sendall(answer)

    return serve


@pytest.mark.parametrize(
    ("score", "action"),
    [("-3.1", ""), ("4.9", ""), ("5.0", "tag"), ("9.9", "tag"), ("10", "quarantine"), ("1002.7", "reject")],
)
def test_a_score_becomes_an_action(daemon: Start, score: str, action: str) -> None:
    hits = engine(daemon(answering(scored(score))), inbound=LEVELS).scan(Sample(b"m"), soon())
    assert [hit.action for hit in hits] == ([action] if action else [])
    assert all(hit.verdict is Verdict.POLICY and hit.code == "spam" and "GTUBE" in hit.name for hit in hits)


def test_the_direction_counts(daemon: Start) -> None:
    asked = engine(daemon(answering(scored("7"))), inbound={"tag": 5.0}, outbound={"reject": 6.0})
    assert asked.scan(Sample(b"m"), soon())[0].action == "tag"
    (hit,) = asked.scan(Sample(b"m", (), Context(relayclient=True)), soon())
    assert hit.action == "reject"


@pytest.mark.parametrize(("score", "action", "delivered"), [("6", "tag", True), ("11", "quarantine", False)])
def test_what_the_policy_makes_of_it(daemon: Start, score: str, action: str, delivered: bool) -> None:
    config = parse({"engines": [{"type": "spamd", "socket": daemon(answering(scored(score)))}]})
    from gatescan.engines.build import panel

    made = panel(config, keep=False)
    assert isinstance(made, Panel)
    report = MessageReport(findings=made.scan(b"m", MessageReport(), Context()))
    decision = decide(report, Context(), config)
    assert (decision.action, decision.delivered) == (action, delivered)
    assert not delivered or decision.tags == (f"spam (score {score}: GTUBE,OTHER)",)


def test_how_it_is_asked(daemon: Start) -> None:
    asked: list[bytes] = []
    engine(daemon(answering(scored("1"), asked)), user="mail", max_bytes=4).scan(Sample(b"123456"), soon())
    assert asked == [b"SYMBOLS SPAMC/1.5\r\nContent-length: 4\r\nUser: mail\r\n\r\n1234"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage",
        b"SPAMD/1.1 75 EX_TEMPFAIL\r\n\r\n",
        b"SPAMD/1.0 76 Bad header line: x\r\n",
        b"SPAMD/1.1 0 EX_OK\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; nan / 5.0\r\n\r\n",
        b"SPAMD/1.1 0 EX_OK\r\nSpam: Maybe ; 1 / 5.0\r\n\r\n",
        GOOD[:-3] % (b"False", b"0.1"),
        GOOD[:40],
        b"y" * 3_000_000,
    ],
)
def test_what_is_not_an_answer_is_an_error(daemon: Start, answer: bytes) -> None:
    with pytest.raises(EngineError):
        engine(daemon(answering(answer))).scan(Sample(b"m"), soon())


def test_hung(daemon: Start) -> None:
    with pytest.raises(EngineError, match="time limit"):
        engine(daemon(lambda connection: time.sleep(20))).scan(Sample(b"m"), soon(0.5))


def test_it_says_whether_it_is_there(daemon: Start) -> None:
    def saying(answer: bytes) -> Callable[[socket.socket], None]:
        def serve(connection: socket.socket) -> None:
            assert line(connection) + line(connection) == b"PING SPAMC/1.5\r\r"
            connection.sendall(answer)

        return serve

    assert engine(daemon(saying(b"SPAMD/1.5 0 PONG\r\n"))).version(soon()) == "SPAMD/1.5"
    with pytest.raises(EngineError, match="PING"):
        engine(daemon(saying(b"220 hello\r\n"))).version(soon())
