"""qmail-smtpd and qmail-queue: what is taken, what is refused, and with which words."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from standin_rig import Qmail

pytestmark = pytest.mark.slow  # a process or more for each test

HELLO = ("EHLO client.test", "MAIL FROM:<ann@client.test>")
TO_BOB = (*HELLO, "RCPT TO:<bob@gw.test>", "DATA")


def test_a_session_puts_the_message_into_the_queue(qmail: Qmail) -> None:
    replies = qmail.smtp(*TO_BOB, body=b"Subject: x\r\n\r\n..one\r\n...\r\nend\r\n.\r\nQUIT\r\n")
    assert replies[0] == "220 gw.test ESMTP"
    assert {"250-PIPELINING", "250 8BITMIME"} <= set(replies)
    assert replies[-3] == "354 go ahead"
    assert replies[-2].startswith("250 ok ") and " qp " in replies[-2]
    assert replies[-1] == "221 gw.test"
    (message,) = qmail.queued()
    received, rest = message.read_bytes().split(b"\nSubject: x\n\n", 1)
    assert rest == b".one\n..\nend\n"
    assert b"Received: from peer.test (HELO client.test) (192.0.2.7)\n  by gw.test with SMTP; " in received
    assert received.startswith(b"Received: (qmail ")
    (todo,) = (qmail.home / "queue/todo").iterdir()
    assert todo.read_bytes().endswith(b"\0Fann@client.test\0Tbob@gw.test\0")
    assert list((qmail.home / "queue/pid").iterdir()) == []


@pytest.mark.parametrize(
    ("recipient", "relay", "code"),
    [
        ("bob@gw.test", None, "250"),
        ("BOB@GW.TEST", None, "250"),
        ("bob@mail.corp.test", None, "250"),
        ("bob@corp.test", None, "553"),
        ("bob@elsewhere.test", None, "553"),
        ("bob@more.test", None, "250"),
        ("bob@a.many.test", None, "250"),
        ("bob", None, "250"),
        ("bob@elsewhere.test", "", "250"),
    ],
)
def test_who_may_be_written_to(qmail: Qmail, recipient: str, relay: str | None, code: str) -> None:
    qmail.control(morercpthosts="More.test\n.many.test\n")
    assert qmail.run("qmail-newmrh").returncode == 0
    env = {} if relay is None else {"RELAYCLIENT": relay}
    assert qmail.smtp(*HELLO, f"RCPT TO:<{recipient}>", env=env)[-1].startswith(code)


def test_relayclient_is_added_to_the_recipient(qmail: Qmail) -> None:
    qmail.smtp(*HELLO, "RCPT TO:<bob@x.test>", "DATA", body=b"\r\n.\r\n", env={"RELAYCLIENT": ".suffix"})
    (todo,) = (qmail.home / "queue/todo").iterdir()
    assert todo.read_bytes().endswith(b"Tbob@x.test.suffix\0")


@pytest.mark.parametrize("sender", ["bad@x.test", "any@worse.test", "BAD@X.test"])
def test_badmailfrom_is_refused_at_rcpt(qmail: Qmail, sender: str) -> None:
    qmail.control(badmailfrom="bad@x.test\n@worse.test\n")
    replies = qmail.smtp(f"MAIL FROM:<{sender}>", "RCPT TO:<bob@gw.test>")
    assert replies[-2] == "250 ok"
    assert replies[-1] == "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        (["RCPT TO:<bob@gw.test>"], "503 MAIL first (#5.5.1)"),
        ([*HELLO, "DATA"], "503 RCPT first (#5.5.1)"),
        (["VRFY bob"], "252 send some mail, i'll try my best"),
        (["NOOP"], "250 ok"),
        ([*HELLO, "RSET", "RCPT TO:<bob@gw.test>"], "503 MAIL first (#5.5.1)"),
        (["BDAT 3"], "502 unimplemented (#5.5.1)"),
        (["MAIL FROM:<" + "a" * 901 + ">"], "555 syntax error (#5.5.4)"),
    ],
)
def test_replies(qmail: Qmail, lines: list[str], last: str) -> None:
    assert qmail.smtp(*lines)[-1] == last


@pytest.mark.parametrize("body", [b"one\ntwo\r\n.\r\n", b"one\r\n.\nMAIL FROM:<x@y>\r\n.\r\n", b"one\n.\r\n"])
def test_a_bare_lf_ends_the_session_and_nothing_is_queued(qmail: Qmail, body: bytes) -> None:
    assert qmail.smtp(*TO_BOB, body=b"Subject: x\r\n\r\n" + body)[-1].startswith("451 See ")
    assert qmail.queued() == []


def test_a_message_of_many_pieces_arrives_unchanged(qmail: Qmail) -> None:
    lines = [b"." * (number % 7) + b"\r" * (number % 3 == 1) + b"x" * (number * 37 % 5000) for number in range(400)]
    sent = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)
    assert qmail.smtp(*TO_BOB, body=b"\r\n" + sent + b".\r\n")[-1].startswith("250 ok")
    (message,) = qmail.queued()
    assert message.read_bytes().partition(b"\n\n")[2] == b"".join(line + b"\n" for line in lines)


def test_a_session_that_breaks_off_queues_nothing(qmail: Qmail) -> None:
    qmail.smtp(*TO_BOB, body=b"Subject: x\r\n\r\nhalf")
    assert qmail.queued() == []
    assert list((qmail.home / "queue/todo").iterdir()) == []


@pytest.mark.parametrize(("size", "code"), [(1000, "250"), (1001, "552")])
def test_databytes(qmail: Qmail, size: int, code: str) -> None:
    qmail.control(databytes="10\n")
    body = b"a" * (size - 1) + b"\r\n.\r\n"
    assert qmail.smtp(*TO_BOB, body=body, env={"DATABYTES": "1000"})[-1].startswith(code)
    assert len(qmail.queued()) == (code == "250")


def test_a_loop_is_refused(qmail: Qmail) -> None:
    reply = qmail.smtp(*TO_BOB, body=b"Received: x\r\n" * 100 + b"\r\n.\r\n")[-1]
    assert reply == "554 too many hops, this message is looping (#5.4.6)"
    assert qmail.queued() == []


def test_a_silent_client_is_let_go(qmail: Qmail) -> None:
    qmail.control(timeoutsmtpd="1\n")
    talk = subprocess.Popen([qmail.home / "bin/qmail-smtpd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert talk.stdout is not None and talk.stdin is not None
    assert talk.stdout.read().decode().splitlines()[-1] == "451 timeout (#4.4.2)"
    talk.stdin.close()
    assert talk.wait() == 1


@pytest.mark.parametrize(
    ("ending", "reply"),
    [
        ("exit 0", "250 ok "),
        ("exit 11", "554 envelope address too long for qq (#5.1.3)"),
        ("exit 31", "554 mail server permanently rejected message (#5.3.0)"),
        ("exit 32", "554 qq permanent problem (#5.3.0)"),
        ("exit 53", "451 qq write error or disk full (#4.3.0)"),
        ("exit 71", "451 mail server temporarily rejected message (#4.3.0)"),
        ("exit 99", "451 qq temporary problem (#4.3.0)"),
        ("kill -9 $$", "451 qq crashed (#4.3.0)"),
        ("echo 'DNo, thanks (#5.7.1)' >&6; exit 82", "554 No, thanks (#5.7.1)"),
        ("echo 'ZLater (#4.7.1)' >&6; exit 82", "451 Later (#4.7.1)"),
        ("exit 82", "451 qq temporary problem (#4.3.0)"),
    ],
)
def test_qmailqueue_and_its_exit_codes(qmail: Qmail, tmp_path: Path, ending: str, reply: str) -> None:
    program = tmp_path / "filter"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/message\ncat <&1 > {tmp_path}/envelope\n{ending}\n")
    program.chmod(0o755)
    last = qmail.smtp(*TO_BOB, body=b"hello\r\n.\r\n", env={"QMAILQUEUE": str(program)})[-1]
    assert last.startswith(reply)
    assert (tmp_path / "message").read_bytes().endswith(b"\nhello\n")
    assert (tmp_path / "envelope").read_bytes() == b"Fann@client.test\0Tbob@gw.test\0\0"


def test_a_qmailqueue_that_is_not_there(qmail: Qmail) -> None:
    reply = qmail.smtp(*TO_BOB, body=b"\r\n.\r\n", env={"QMAILQUEUE": "/nowhere"})[-1]
    assert reply == "451 unable to exec qq (#4.3.0)"


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (b"Fa@x\0Tb@y\0\0", 0),
        (b"F\0Tb@y\0\0", 0),
        (b"F\0\0", 0),
        (b"Fa@x\0Tb@y\0", 54),
        (b"Fa@x\0Tb", 54),
        (b"", 54),
        (b"Xa\0\0", 91),
        (b"Fa@x\0Xb@y\0\0", 91),
        (b"F" + b"a" * 1003 + b"\0\0", 11),
        (b"F" + b"a" * 1002 + b"\0\0", 0),
        (b"Fa\0T" + b"b" * 1003 + b"\0\0", 11),
    ],
)
def test_exit_codes_of_qmail_queue(qmail: Qmail, envelope: bytes, code: int) -> None:
    assert qmail.enqueue(b"Subject: x\n\n", envelope) == code
    assert len(qmail.queued()) == (code == 0)
    assert len(list((qmail.home / "queue/intd").iterdir())) == (code == 0)


@pytest.mark.parametrize(
    ("missing", "code"), [("queue", 62), ("queue/pid", 63), ("queue/mess", 64), ("queue/intd", 65), ("queue/todo", 66)]
)
def test_trouble_with_the_queue_is_told_apart(qmail: Qmail, missing: str, code: int) -> None:
    (qmail.home / missing).rename(qmail.home / "elsewhere")
    assert qmail.enqueue(b"x\n", b"Fa@x\0Tb@y\0\0") == code
