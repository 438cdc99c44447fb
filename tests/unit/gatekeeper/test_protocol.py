"""How gatekeeper speaks Postfix's policy delegation protocol, and ends and begins anew."""

from __future__ import annotations

import os
import signal
import socket
import threading

import pytest
from gatekeeper_rig import PATIENCE, Gatekeeper, MailServer, question, wait_for

LISTED = {"recipients": {"corp.test": {"list": ["ann"]}}, "guesses": 0}


def test_it_has_no_opinion_of_what_nobody_told_it_about(keeper: Gatekeeper) -> None:
    keeper.start()
    with keeper.session() as session:
        for state in ("RCPT", "DATA", "CONNECT", "", "END-OF-MESSAGE"):
            assert session.ask("whoever@corp.test", protocol_state=state) == "DUNNO"
        assert session.ask("", client_address="unknown", recipient_count="many") == "DUNNO"


def test_a_session_puts_many_questions_one_after_the_other(keeper: Gatekeeper) -> None:
    keeper.start(**LISTED)
    with keeper.session() as session:
        session.send(b"".join(question(f"{name}@corp.test") for name in ("ann", "bob") * 100))
        heard = [session.hear()[:3] for _ in range(200)]
    assert heard == ["DUN", "550"] * 100


def test_questions_behind_one_that_waits_are_answered_in_order(keeper: Gatekeeper) -> None:
    server = MailServer(lambda _: "550 5.1.1 unknown")
    (keeper.place / "control/smtproutes").write_text(f"far.test:127.0.0.1:{server.port}\n")
    keeper.start(recipients={"corp.test": {"list": ["ann"]}, "far.test": {"callout": True}}, guesses=0)
    asked = ["ann@corp.test", "eve@far.test", "bob@corp.test", "max@far.test", "ann@corp.test"]
    with keeper.session() as session:
        session.send(b"".join(map(question, asked)))
        heard = [session.hear() for _ in asked]
    assert [line[:3] for line in heard] == ["DUN", "550", "550", "550", "DUN"]
    assert [name for name, line in zip(asked, heard, strict=True) if f"<{name}>" in line] == asked[1:4]


def test_who_takes_no_answers_loses_none_and_keeps_nobody_waiting(keeper: Gatekeeper) -> None:
    keeper.start(**LISTED)
    count = 5000
    with keeper.session() as greedy:
        sending = threading.Thread(target=greedy.send, args=(question("bob@corp.test") * count,))
        sending.start()
        assert keeper.ask("ann@corp.test") == "DUNNO"
        assert {greedy.hear()[:3] for _ in range(count)} == {"550"}
        sending.join()


def test_a_client_that_is_gone_while_it_is_asked_for_leaves_nothing(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"callout": True}}, callout_seconds=1)
    server = socket.create_server(("127.0.0.1", 0))  # it lets in, and says nothing
    (keeper.place / "control/smtproutes").write_text(f"corp.test:127.0.0.1:{server.getsockname()[1]}\n")
    before = len(os.listdir(f"/proc/{keeper.worker}/fd"))
    for number in range(5):
        with keeper.session() as session:
            session.send(question(f"user{number}@corp.test"))
    wait_for(lambda: len(os.listdir(f"/proc/{keeper.worker}/fd")) <= before, "the end of its sessions")
    server.close()


def test_a_question_may_come_in_pieces(keeper: Gatekeeper) -> None:
    keeper.start(**LISTED)
    with keeper.session() as session:
        for byte in question("bob@corp.test"):
            session.send(bytes([byte]))
        assert session.hear().startswith("550 ")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n\n",
        b"GET / HTTP/1.0\n\n",
        b"request=else\n\n",
        b"protocol_state=RCPT\n\n",
        question("ann@corp.test")[:-1] + b"no attribute\n\n",
        question("ann@corp.test")[:-1] + b"a=\0\n\n",
        question("ann@corp.test")[:-1] + b"x=y\n" * 200 + b"\n",
        question("ann@corp.test")[:-1] + b"x=" + b"y" * 5000 + b"\n\n",
        b"request=" + b"x" * 100_000,
    ],
    ids=range(9),
)
def test_garbage_ends_a_session_and_no_other(keeper: Gatekeeper, garbage: bytes) -> None:
    keeper.start(**LISTED)
    with keeper.session() as other, keeper.session() as session:
        assert other.ask() == "DUNNO"
        session.send(garbage)
        assert session.hear() == ""
        assert other.ask() == "DUNNO"


def test_an_answer_is_one_line_whatever_was_asked(keeper: Gatekeeper) -> None:
    keeper.start(**LISTED)
    said = keeper.ask("bob\r\x07\u00fc\u2028@corp.test")
    assert said.startswith("550 5.1.1 <bob??") and said.isascii() and said.isprintable()


def test_sessions_are_bounded_and_places_are_free_again(keeper: Gatekeeper) -> None:
    keeper.start(connections=2)
    with keeper.session() as first, keeper.session() as second:
        assert (first.ask(), second.ask()) == ("DUNNO", "DUNNO")
        with keeper.session() as third, pytest.raises((ConnectionError, AssertionError)):
            assert third.ask()
        assert first.ask() == "DUNNO"
    wait_for(lambda: _asks(keeper), "a place")


def _asks(keeper: Gatekeeper) -> bool:
    try:
        return keeper.ask() == "DUNNO"
    except ConnectionError:
        return False


def test_a_silent_client_keeps_nobody_waiting(keeper: Gatekeeper) -> None:
    keeper.start(**LISTED)
    silent = [keeper.session() for _ in range(50)]
    silent[0].send(b"request=smtpd")
    assert keeper.ask("bob@corp.test").startswith("550 ")
    for session in silent:
        session.__exit__()


def test_ten_reloads_change_what_is_answered_in_sessions_that_stand(keeper: Gatekeeper) -> None:
    keeper.start()
    with keeper.session() as session:
        for number in range(10):
            keeper.reload(recipients={"corp.test": {"list": [f"user{number}"]}}, guesses=0)
            assert session.ask(f"user{number}@corp.test") == "DUNNO"
            assert session.ask(f"user{number + 1}@corp.test").startswith("550 ")


def test_a_configuration_that_cannot_be_used_changes_nothing(keeper: Gatekeeper) -> None:
    keeper.start(**LISTED)
    keeper.reload(recipients={"corp.test": {"list": []}})
    assert "old configuration stays" in keeper.log and "recipients.corp.test.list" in keeper.log
    assert keeper.ask("bob@corp.test").startswith("550 ")
    assert keeper.ask("ann@corp.test") == "DUNNO"


def test_a_question_under_way_is_answered_at_the_end(keeper: Gatekeeper) -> None:
    server = socket.create_server(("127.0.0.1", 0))  # it lets in, and says nothing
    (keeper.place / "control/smtproutes").write_text(f"corp.test:127.0.0.1:{server.getsockname()[1]}\n")
    keeper.start(recipients={"corp.test": {"callout": True}}, callout_seconds=2)
    with keeper.session() as session, keeper.session() as idle:
        session.send(question("ann@corp.test"))
        server.settimeout(PATIENCE)
        wire, _ = server.accept()
        keeper.tell(signal.SIGTERM)
        assert idle.hear() == ""
        assert session.hear().startswith("451 ")
        assert keeper.process and keeper.process.wait(PATIENCE) == 0
        wire.close()
    server.close()


def test_a_wrong_configuration_is_named_and_nothing_starts(keeper: Gatekeeper) -> None:
    keeper.start(guess=3)
    assert keeper.process and keeper.process.wait(PATIENCE) == 1
    assert "config.json: guess: no such key; one of home, " in keeper.log
