"""rspamd: its words become the site's actions; what is no whole answer, and what it wants later, is an error."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from doubles.daemon import exactly, line
from gatescan.config import parse
from gatescan.context import Context
from gatescan.engines.base import EngineError, Sample
from gatescan.engines.build import panel
from gatescan.engines.panel import Panel
from gatescan.engines.rspamd import Rspamd, RspamdSettings
from gatescan.judging.judge import MessageReport
from gatescan.model import Verdict
from gatescan.outcome.policy import decide
from samples import soon

Serve = Callable[[socket.socket], None]
Start = Callable[[Serve], str]

SYMBOLS = {"GTUBE": {"score": 6.5}, "FORGED_X": {"score": 9.0}, "MIME_GOOD": {"score": -0.1}, "TRACE": {"score": 0}}


def http(body: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\nServer: rspamd/3.4\r\nContent-Length: %d\r\n\r\n%s" % (status, size, body)


def verdict(action: object, **more: object) -> bytes:
    return http(json.dumps({"action": action, "score": 15.4, "symbols": SYMBOLS, "is_skipped": False, **more}).encode())


def answering(answer: bytes, asked: list[list[bytes]] | None = None) -> Serve:
    """A daemon that reads one request of HTTP whole, and says the same whatever it is asked."""

    def serve(connection: socket.socket) -> None:
        lines = list(iter(lambda: line(connection).rstrip(b"\r"), b""))
        length = next((int(one.partition(b":")[2]) for one in lines if one.startswith(b"Content-Length")), 0)
        body = exactly(connection, length)
        if asked is not None:
            asked.append([*lines, body])
        connection.sendall(answer)

    return serve


def engine(path: str, **settings: Any) -> Rspamd:
    return Rspamd("rspamd", 30.0, RspamdSettings(path, **settings))


@pytest.mark.parametrize(
    ("word", "inbound", "outbound"),
    [
        ("no action", "", ""),
        ("add header", "tag", ""),
        ("rewrite subject", "tag", ""),
        ("reject", "quarantine", "quarantine"),
    ],
)
def test_its_words_become_actions_by_direction(daemon: Start, word: str, inbound: str, outbound: str) -> None:
    asked = engine(daemon(answering(verdict(word))))
    for context, action in ((Context(), inbound), (Context(relayclient=True), outbound)):
        hits = asked.scan(Sample(b"m", (), context), soon())
        assert [hit.action for hit in hits] == ([action] if action else [])
        assert all((hit.verdict, hit.code) == (Verdict.POLICY, "spam") for hit in hits)
        assert all(hit.name == f"{word}, score 15.4: FORGED_X,GTUBE" for hit in hits)


@pytest.mark.parametrize("word", ["soft reject", "greylist"])
def test_what_it_wants_later_is_tried_again_and_it_is_well(daemon: Start, word: str) -> None:
    with pytest.raises(EngineError, match=f"says {word}") as failure:
        engine(daemon(answering(verdict(word)))).scan(Sample(b"m"), soon())
    assert failure.value.answered


def test_a_word_of_the_sites_own_needs_an_action(daemon: Start) -> None:
    path = daemon(answering(verdict("discard")))
    with pytest.raises(EngineError, match="discard"):
        engine(path).scan(Sample(b"m"), soon())
    (hit,) = engine(path, inbound={"discard": "reject"}).scan(Sample(b"m"), soon())
    assert hit.action == "reject"


def test_a_message_that_it_skips_does_not_pass_but_for_what_it_finds_at_once(daemon: Start) -> None:
    with pytest.raises(EngineError, match="has not looked at it"):
        engine(daemon(answering(verdict("no action", is_skipped=True)))).scan(Sample(b"m"), soon())


def test_the_test_mail_of_spam_filters_is_held_although_it_is_skipped(daemon: Start) -> None:
    (hit,) = engine(daemon(answering(verdict("reject", is_skipped=True)))).scan(Sample(b"m"), soon())
    assert hit.action == "quarantine"


@pytest.mark.parametrize(
    ("word", "action", "delivered"),
    [("add header", "tag", True), ("reject", "quarantine", False), ("greylist", "tempfail", False)],
)
def test_what_the_policy_makes_of_it(daemon: Start, word: str, action: str, delivered: bool) -> None:
    config = parse({"engines": [{"type": "rspamd", "socket": daemon(answering(verdict(word)))}]})
    made = panel(config, keep=False)
    assert isinstance(made, Panel)
    report = MessageReport(findings=made.scan(b"m", MessageReport(), Context()))
    decision = decide(report, Context(), config)
    assert (decision.action, decision.delivered) == (action, delivered)


def test_how_it_is_asked(daemon: Start) -> None:
    asked: list[list[bytes]] = []
    sender, recipients = "ann@example.net", ("bob@example.org", "no\r\nIP: 127.0.0.1")
    context = Context(sender, recipients, "192.0.2.7", relayclient=True)
    engine(daemon(answering(verdict("no action"), asked)), max_bytes=4).scan(Sample(b"123456", (), context), soon())
    assert asked == [
        [
            b"POST /checkv2 HTTP/1.0", b"Content-Length: 4", b"IP: 192.0.2.7", b"From: ann@example.net",
            b"Rcpt: bob@example.org", b"User: relay-client", b"1234",
        ]
    ]  # a request's lines # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage",
        b"SPAMD/1.1 0 EX_OK\r\n\r\n",
        http(b'{"error": "empty message"}', b"400 bad request"),
        http(b"{}", b"503 overloaded"),
        http(b""),
        http(b"{}"),
        http(b"[]"),
        http(b'{"action": "no action"'),
        http(b'{"action": "no action"}'),
        http(b'{"action": ["no action"], "score": 1}'),
        http(b'{"action": "no action", "score": "low"}'),
        http(b"[" * 100_000),
        verdict("no action")[:-1],
        verdict("no action") + b"more",
        b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"action": "no action", "score": 0}).encode(),
        b"y" * 3_000_000,
    ],
    ids=lambda answer: answer[:40].decode(),
)
def test_what_is_not_an_answer_is_an_error(daemon: Start, answer: bytes) -> None:
    with pytest.raises(EngineError):
        engine(daemon(answering(answer))).scan(Sample(b"m"), soon())


def test_hung_or_away(daemon: Start) -> None:
    with pytest.raises(EngineError, match="time limit"):
        engine(daemon(lambda connection: time.sleep(20))).scan(Sample(b"m"), soon(0.5))
    with pytest.raises(EngineError, match="cannot connect"):
        engine("/nonexistent").scan(Sample(b"m"), soon())


def test_it_says_whether_it_is_there(daemon: Start) -> None:
    asked: list[list[bytes]] = []
    assert engine(daemon(answering(http(b"pong\r\n"), asked))).version(soon()) == "rspamd/3.4"
    assert asked == [[b"GET /ping HTTP/1.0", b""]]
    with pytest.raises(EngineError, match="ping"):
        engine(daemon(answering(http(b"hello")))).version(soon())
