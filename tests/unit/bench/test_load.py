"""A bench that sends mail says what was replied to messages that were not taken."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.door.__main__ import OVER, Flood
from bench.scanner.load import send_all

MESSAGE = b"Subject: x\n\nx\n"


@contextmanager
def server(**replies: bytes) -> Iterator[int]:
    """An SMTP server that replies to these commands as told, and `message` as told; an empty reply hangs up."""

    said = {"data": b"354 go on\r\n", ".": replies.get("message", b"250 ok\r\n"), **replies}

    class Dialogue(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 server.example\r\n")
            for line in self.rfile:
                word = line.split()[0].decode().lower() if line.split() else ""
                if word in ("ehlo", "mail", "rcpt", "data", "."):
                    reply = said.get(word, b"250-well\r\n250 well\r\n")
                    if not reply:
                        return
                    self.wfile.write(reply)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dialogue) as smtp:
        threading.Thread(target=smtp.serve_forever, args=(0.05,), daemon=True).start()
        yield smtp.server_address[1]
        smtp.shutdown()


def test_messages_that_are_taken_leave_no_reply() -> None:
    with server() as port:
        load = send_all(port, [MESSAGE] * 3, 2)
    assert (load.accepted, load.refusals, load.refused) == (3, [], "0 refused")


def test_the_reply_to_a_message_is_told() -> None:
    with server(message=b"451 qq trouble creating files in queue (#4.3.0)\r\n") as port:
        load = send_all(port, [MESSAGE] * 2, 1)
    assert load.accepted == 0
    assert load.refused == "2 refused: 2 x '451 qq trouble creating files in queue (#4.3.0)'"


def test_what_stopped_a_session_before_is_told_with_its_command() -> None:
    with server(rcpt=b"451-not now\r\n451 later\r\n") as port:
        assert send_all(port, [MESSAGE], 1).refusals == ["RCPT TO:<sink@bench.example>: 451 later"]
    with server(mail=b"") as port:
        assert send_all(port, [MESSAGE], 1).refusals == ["MAIL FROM:<a@example.org>: "]


def test_a_client_that_its_limit_stops_is_no_fault() -> None:
    with server(data=f"{OVER} from this client; the rest may come later\r\n".encode()) as port:
        assert _tries(port).passed == 0


def test_a_client_that_something_else_than_its_limit_stops_ends_the_bench() -> None:
    with server(message=b"451 qq internal bug\r\n") as port, pytest.raises(SystemExit, match="451 qq internal bug"):
        _tries(port)


def _tries(port: int) -> Flood:
    """A client that has tried at least once."""
    with Flood(port) as flood:
        while not flood.tries:
            time.sleep(0.01)
    return flood
