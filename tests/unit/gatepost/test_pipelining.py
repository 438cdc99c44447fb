"""The first recipient goes along with the sender where the server knows PIPELINING (RFC 2920)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from gatepost_rig import Gatepost as Remote
from server_rig import PATIENCE, Server

EHLO, MAIL, RCPT = b"EHLO gw.test\r\n", b"MAIL FROM:<ann@gw.test>\r\n", b"RCPT TO:<bob@corp.test>\r\n"
DATA, MESSAGE, QUIT = b"DATA\r\n", b"Subject: x\r\n\r\nhello\r\n.\r\n", b"QUIT\r\n"
HELLO, BARE = b"250-mx.test\r\n250 PIPELINING\r\n", b"250 mx.test\r\n"
BOTH, GO, TAKEN = b"250 sender\r\n250 recipient\r\n", b"354 go on\r\n", b"250 taken\r\n"
DIED = b"ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n\0"


class Blunt:
    """Answers each packet that comes, whatever it holds, by the next of its answers, `size` bytes at a time."""

    def __init__(self, *answers: bytes, size: int) -> None:
        self.answers = answers
        self.size = size
        self.packets: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        """One connection."""
        with self.listener, self.listener.accept()[0] as wire, contextlib.suppress(ConnectionError):
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.settimeout(PATIENCE)
            for answer in (b"220 mx.test here\r\n", *self.answers):
                for at in range(0, len(answer), self.size):
                    wire.sendall(answer[at : at + self.size])
                packet = wire.recv(65536)
                if not packet:
                    return
                self.packets.append(packet)

    def heard(self) -> list[bytes]:
        """What came, once the connection has ended."""
        self.thread.join(PATIENCE)
        return self.packets


Deliver = Callable[..., tuple[bytes, list[bytes]]]


@pytest.fixture
def deliver(remote: Remote) -> Iterator[Deliver]:
    """Deliver a message to a server with these answers: the report, and the packets that the server got."""

    def run(*answers: bytes, size: int = 1000) -> tuple[bytes, list[bytes]]:
        server = Blunt(*answers, size=size)
        remote.control(smtproutes=f"corp.test:[127.0.0.1]:{server.port}\n")
        return remote.run(), server.heard()

    yield run


@pytest.mark.parametrize("size", [1, 1000], ids=["in pieces", "at once"])
def test_sender_and_recipient_go_in_one_packet_and_data_waits_for_both_replies(deliver: Deliver, size: int) -> None:
    report, packets = deliver(HELLO, BOTH, GO, TAKEN, size=size)
    assert report.startswith(b"r\0K127.0.0.1 accepted message.\nRemote host said: 250 taken")
    assert packets == [EHLO, MAIL + RCPT, DATA, MESSAGE, QUIT]


def test_a_server_that_does_not_say_that_it_knows_it_hears_one_command_at_a_time(deliver: Deliver) -> None:
    report, packets = deliver(BARE, b"250 sender\r\n", b"250 recipient\r\n", GO, TAKEN)
    assert b"accepted message" in report
    assert packets == [EHLO, MAIL, RCPT, DATA, MESSAGE, QUIT]


def test_what_a_server_says_in_plain_text_it_knows_does_not_count_behind_the_handshake(
    remote: Remote, server: Server
) -> None:
    remote.route(server, "required")
    server.replies = {"tls EHLO": BARE, "MAIL": b"550 no\r\n"}
    assert remote.run().startswith(b"DConnected to 127.0.0.1 but sender was rejected")
    assert RCPT not in server.lines(encrypted=True)


@pytest.mark.parametrize(
    ("replies", "report"),
    [
        (b"550 no\r\n503 what?\r\n", b"DConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 550 no\n\0"),
        (b"450 no\r\n250 ok\r\n", b"ZConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 450 no\n\0"),
        (
            b"250 ok\r\n550-no\r\n550 such user\r\n",
            b"h127.0.0.1 does not like recipient.\nRemote host said: 550-no\n550 such user\n\0"
            b"DGiving up on 127.0.0.1.\n\0",
        ),
        (
            b"250-o\r\n250 k\r\n450 wait\r\n",
            b"s127.0.0.1 does not like recipient.\nRemote host said: 450 wait\n\0DGiving up on 127.0.0.1.\n\0",
        ),
        (b"421 enough\r\n", b"ZConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 421 enough\n\0"),
        (b"what?\r\n250 ok\r\n", DIED),
        (b"250 ok\r\nwhat?\r\n", DIED),
    ],
    ids=["no sender", "no sender now", "no recipient", "no recipient now", "enough", "nonsense", "nonsense second"],
)
def test_each_reply_is_that_to_its_own_command(deliver: Deliver, replies: bytes, report: bytes) -> None:
    told, packets = deliver(HELLO, replies)
    assert told == report
    assert DATA not in packets and MESSAGE not in packets


def test_the_replies_that_a_refused_sender_leaves_behind_are_no_other_messages(remote: Remote, server: Server) -> None:
    remote.route(server, "optional")
    remote.reload({"reuse_seconds": 60})
    server.replies["MAIL"] = b"550 no\r\n"
    assert remote.run().startswith(b"D")
    server.replies.clear()
    assert b"accepted message" in remote.run()
    remote.reload({})
    assert server.connections == 2


@pytest.mark.parametrize(
    ("answers", "report"),
    [
        ((HELLO + BOTH + GO + TAKEN,), DIED),
        ((HELLO + BOTH, GO, TAKEN), DIED),
        ((HELLO, BOTH + GO, TAKEN), b"r\0" + DIED),
        (
            (HELLO, BOTH, GO + TAKEN),
            b"r\0ZConnected to 127.0.0.1 but connection died. Possible duplicate! (#4.4.2)\n\0",
        ),
    ],
    ids=["all replies at once", "before MAIL", "before DATA", "before the message"],
)
def test_a_yes_that_came_before_its_question_takes_no_message(
    deliver: Deliver, answers: tuple[bytes, ...], report: bytes
) -> None:
    assert deliver(*answers)[0] == report


def test_a_server_may_have_enough_before_it_is_asked(deliver: Deliver) -> None:
    report, _ = deliver(HELLO + b"421 4.3.2 closing\r\n")
    assert report == b"ZConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 421 4.3.2 closing\n\0"
