"""qmail-send and its helpers: a message leaves the queue by a Maildir, another host, or a bounce; none is lost."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from standin_rig import Qmail, Sink, wait_for

pytestmark = pytest.mark.slow  # a process or more for each test


def put(qmail: Qmail, recipient: str, sender: str = "ann@client.test", text: str = "hello") -> None:
    """Queue a small message."""
    message = f"Subject: test\n\n{text}\n".encode()
    assert qmail.enqueue(message, f"F{sender}\0T{recipient}\0\0".encode()) == 0


def wait_empty(qmail: Qmail) -> None:
    """Wait until the queue is empty."""
    wait_for(lambda: not qmail.queued(), f"an empty queue:\n{qmail.log()}")


def test_local_mail_reaches_the_maildir(qmail: Qmail) -> None:
    qmail.start()
    put(qmail, "Bob@GW.test")
    wait_empty(qmail)
    wait_for(lambda: "\nend msg " in qmail.log(), "the last line of the log, which is written after the queue is empty")
    (message,) = qmail.maildir()
    assert message.startswith(b"Return-Path: <ann@client.test>\nDelivered-To: Bob@GW.test\nReceived: (qmail ")
    assert message.endswith(b"Subject: test\n\nhello\n")
    log = qmail.log()
    assert re.search(r"^new msg (\d+)\ninfo msg \1: bytes \d+ from <ann@client.test> qp \d+ uid \d+\n", log, re.M)
    assert re.search(r"^starting delivery 1: msg \d+ to local Bob@GW.test\nstatus: local 1/10 remote 0/20$", log, re.M)
    assert re.search(r"^delivery 1: success: did_1\+0\+0/\nstatus: local 0/10 remote 0/20\nend msg \d+$", log, re.M)
    assert list((qmail.home / "queue/intd").iterdir()) == []


def test_a_route_leads_to_the_other_host(qmail: Qmail, sink: Sink) -> None:
    qmail.control(smtproutes=f"there.test:[127.0.0.1]:{sink.port}\n:[127.0.0.1]:1\n", helohost="gate.test\n")
    qmail.start()
    put(qmail, "joe@there.test", text=".dots\n..\nend")
    wait_empty(qmail)
    (message,) = sink.messages
    assert message.endswith(b"Subject: test\r\n\r\n..dots\r\n...\r\nend\r\n")
    assert sink.commands[:3] == ["HELO gate.test", "MAIL FROM:<ann@client.test>", "RCPT TO:<joe@there.test>"]
    assert "success: 127.0.0.1_accepted_message./Remote_host_said:_250_fine/" in qmail.log()


def test_the_first_qmail_remote_in_path_delivers(qmail: Qmail, sink: Sink) -> None:
    front = qmail.home / "front"
    front.mkdir()
    (front / "qmail-remote").write_text("#!/bin/sh\nprintf 'r\\0Kthe one in front: %s %s %s\\n\\0' \"$@\"\n")
    (front / "qmail-remote").chmod(0o755)
    qmail.control(smtproutes=f":[127.0.0.1]:{sink.port}\n")
    qmail.start(str(front))
    put(qmail, "joe@there.test")
    wait_empty(qmail)
    assert "success: the_one_in_front:_there.test_ann@client.test_joe@there.test/" in qmail.log()
    assert sink.commands == []


def test_a_host_that_is_down_is_tried_again_at_sigalrm(qmail: Qmail, sink: Sink) -> None:
    qmail.control(smtproutes=":[127.0.0.1]:1\n")
    qmail.start()
    put(qmail, "joe@there.test")
    wait_for(lambda: "deferral: Sorry,_I_wasn't_able" in qmail.log(), "a deferral")
    shown = qmail.run("qmail-qread").stdout.decode()
    assert "<ann@client.test>" in shown and "\tremote\tjoe@there.test\n" in shown
    assert qmail.run("qmail-qstat").stdout == (b"messages in queue: 1\nmessages in queue but not yet preprocessed: 0\n")
    qmail.control(smtproutes=f":[127.0.0.1]:{sink.port}\n")
    assert qmail.sender is not None
    qmail.sender.send_signal(signal.SIGALRM)
    wait_empty(qmail)
    assert len(sink.messages) == 1


@pytest.mark.parametrize(("verb", "answer"), [("MAIL", "550 no"), ("RCPT", "550 no such user"), ("DATA", "554 no")])
def test_a_refusal_goes_back_to_the_sender(qmail: Qmail, sink: Sink, verb: str, answer: str) -> None:
    sink.answers[verb] = answer
    qmail.control(smtproutes=f":[127.0.0.1]:{sink.port}\n")
    qmail.start()
    put(qmail, "joe@there.test", sender="ann@gw.test")
    wait_for(lambda: qmail.maildir(), "a bounce")
    wait_empty(qmail)
    (bounce,) = qmail.maildir()
    assert bounce.startswith(b"Return-Path: <>\nDelivered-To: ann@gw.test\n")
    assert b"\nFrom: MAILER-DAEMON@gw.test\n" in bounce and b"\n<joe@there.test>:\n" in bounce
    assert answer.encode() in bounce
    assert b"\n--- Below this line is a copy of the message.\n\nReturn-Path: <ann@gw.test>\n" in bounce


@pytest.mark.parametrize(("verb", "answer"), [("MAIL", "450 wait"), ("RCPT", "450 wait"), ("DATA", "451 wait")])
def test_a_temporary_refusal_keeps_the_message(qmail: Qmail, sink: Sink, verb: str, answer: str) -> None:
    sink.answers[verb] = answer
    qmail.control(smtproutes=f":[127.0.0.1]:{sink.port}\n")
    qmail.start()
    put(qmail, "joe@there.test")
    wait_for(lambda: "deferral: " in qmail.log(), "a deferral")
    assert len(qmail.queued()) == 1


def test_a_bounce_that_bounces_goes_to_the_postmaster(qmail: Qmail) -> None:
    (qmail.home / "alias/.qmail-default").unlink()
    (qmail.home / "alias/.qmail-postmaster").write_text("./Maildir/\n")
    qmail.start()
    put(qmail, "nobody-here@gw.test", sender="nor-here@gw.test")
    wait_for(lambda: qmail.maildir(), "a double bounce")
    wait_empty(qmail)
    (double,) = qmail.maildir()
    assert double.startswith(b"Return-Path: <#@[]>\nDelivered-To: postmaster@gw.test\n")
    assert qmail.log().count("Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/") == 2


def test_an_alias_forwards(qmail: Qmail, sink: Sink) -> None:
    (qmail.home / "alias/.qmail-team:x").write_text("# both\n&joe@there.test\neve@there.test\n")
    qmail.control(smtproutes=f":[127.0.0.1]:{sink.port}\n")
    qmail.start()
    put(qmail, "team.x@gw.test")
    wait_for(lambda: len(sink.messages) == 2, f"both forwards:\n{qmail.log()}")
    wait_empty(qmail)
    assert all(b"Delivered-To: team.x@gw.test\r\n" in message for message in sink.messages)
    assert "did_0+2+0/qp_" in qmail.log()


def test_a_message_that_comes_back_bounces(qmail: Qmail) -> None:
    (qmail.home / "alias/.qmail-echo").write_text("echo@gw.test\n")
    qmail.start()
    put(qmail, "echo@gw.test", sender="ann@gw.test")
    wait_for(lambda: qmail.maildir(), "a bounce")
    assert b"This message is looping" in qmail.maildir()[0]


def test_an_instruction_that_the_stand_in_does_not_know_keeps_the_message(qmail: Qmail) -> None:
    (qmail.home / "alias/.qmail-prog").write_text("|cat\n")
    qmail.start()
    put(qmail, "prog@gw.test")
    wait_for(lambda: "deferral: The_lab's_stand-in" in qmail.log(), "a deferral")


def test_sighup_rereads_virtualdomains_and_locals(qmail: Qmail) -> None:
    qmail.start()
    qmail.control(virtualdomains="virtual.test:box\nbox.test:box\n", locals="other.test\n")
    assert qmail.sender is not None
    qmail.sender.send_signal(signal.SIGHUP)
    put(qmail, "bob@virtual.test")
    wait_for(lambda: qmail.maildir(), "delivery")
    assert b"Delivered-To: box-bob@virtual.test\n" in qmail.maildir()[0]
    put(qmail, "bob@other.test")
    wait_for(lambda: len(qmail.maildir()) == 2, "delivery")


def test_remote_concurrency_of_none_holds_the_mail(qmail: Qmail, sink: Sink) -> None:
    qmail.control(smtproutes=f":[127.0.0.1]:{sink.port}\n", concurrencyremote="0\n")
    qmail.start()
    put(qmail, "joe@there.test")
    put(qmail, "bob@gw.test")
    wait_for(lambda: qmail.maildir(), "the local delivery")
    assert sink.commands == []
    assert len(qmail.queued()) >= 1
    qmail.stop()
    (qmail.home / "control/concurrencyremote").unlink()
    qmail.start()
    wait_for(lambda: len(sink.messages) == 1, "the held message")


def test_a_message_too_old_goes_back(qmail: Qmail) -> None:
    qmail.control(smtproutes=":[127.0.0.1]:1\n", queuelifetime="0\n")
    put(qmail, "joe@there.test", sender="ann@gw.test")
    qmail.start()
    wait_for(lambda: "deferral" in qmail.log() or qmail.maildir(), "the first try")
    if not qmail.maildir():
        info = next((qmail.home / "queue/info").glob("*/*"))
        os.utime(info, (1, 1))
        qmail.stop()
        qmail.start()
        wait_for(lambda: qmail.maildir(), "a bounce")
    assert b"too long" in qmail.maildir()[0]


def test_a_second_qmail_send_refuses(qmail: Qmail) -> None:
    qmail.start()
    done = qmail.run("qmail-start", "./Maildir/")
    assert done.returncode == 111
    assert b"alert: cannot start: qmail-send is already running" in done.stdout


WITH_A_LOCK = """
import fcntl, os, sys
low = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
high = fcntl.fcntl(low, fcntl.F_DUPFD, 100)
os.close(low)
fcntl.lockf(high, fcntl.LOCK_EX)
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_a_lock_that_qmail_send_is_known_by_stays_with_it(qmail: Qmail, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    qmail.start(through=[sys.executable, "-c", WITH_A_LOCK, str(lock)])
    put(qmail, "bob@gw.test")
    wait_empty(qmail)
    with lock.open("r+") as file, pytest.raises(BlockingIOError):
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    qmail.stop()
    with lock.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unfinished(qmail: Qmail) -> list[Path]:
    """What stands for a message that is still to be delivered."""
    found = [*(qmail.home / "queue/todo").iterdir(), *(qmail.home / "queue/info").glob("*/*")]
    return [path for path in found if path.is_file()]


def test_kill_9_at_any_moment_loses_no_message(qmail: Qmail, sink: Sink) -> None:
    """Kill qmail-send after ever other amounts of work, with mail coming in all the time.

    A kill between a message's last two removals leaves its mess file behind, so
    the queue's end is not an empty mess: every mark must have arrived, and what is left over must be one of them.
    """
    qmail.control(smtproutes=f":[127.0.0.1]:{sink.port}\n")
    sent: set[str] = set()
    for number in range(12):
        qmail.start()
        for recipient in ("bob@gw.test", "joe@there.test"):
            mark = f"mark-{number}-{recipient}-"
            put(qmail, recipient, text=mark)
            sent.add(mark)
        lines = qmail.log().count("\n") + number

        def has_worked(lines: int = lines) -> bool:
            return qmail.log().count("\n") >= lines or not unfinished(qmail)

        wait_for(has_worked, "some work")
        qmail.stop(signal.SIGKILL)
    qmail.start()
    wait_for(lambda: not unfinished(qmail), "the end of all deliveries")
    arrived = b"".join(qmail.maildir() + sink.messages).decode()
    assert {mark for mark in sent if mark not in arrived} == set()
    wait_for(lambda: qmail.log().rstrip().rpartition("\n")[2].startswith(("end msg", "status: local 0/")), "quiet")
    left_over = {path.read_text().splitlines()[-1] for path in qmail.queued()}
    assert left_over <= {mark for mark in sent if mark in arrived}


@pytest.mark.parametrize("helper", ["qmail-lspawn", "qmail-rspawn", "qmail-clean"])
def test_qmail_send_ends_when_a_helper_dies(qmail: Qmail, helper: str) -> None:
    qmail.start()
    assert qmail.sender is not None
    children = f"/proc/{qmail.sender.pid}/task/{qmail.sender.pid}/children"
    names = {Path(f"/proc/{pid}/comm").read_text().strip(): int(pid) for pid in Path(children).read_text().split()}
    os.kill(names[helper], signal.SIGKILL)
    put(qmail, "bob@gw.test")
    assert qmail.sender.wait(20) == 111
    qmail.sender = None
    qmail.start()
    wait_for(lambda: qmail.maildir(), "the message")


def test_sigterm_waits_for_what_runs(qmail: Qmail) -> None:
    qmail.start()
    qmail.stop()
    assert qmail.log().endswith("status: local 0/10 remote 0/20 exitasap\nstatus: exiting\n")
