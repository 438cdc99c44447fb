"""The queue client with nobody, or somebody strange, at the other end of its socket."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import rig
from gatescan.service import protocol
from rig import ENVELOPE, Gateway

MESSAGE = b"Subject: hello\n\nbody\n"
Answer = Callable[[socket.socket], bytes | None]


@contextmanager
def answering(gateway: Gateway, answer: Answer, backlog: int = 5) -> Iterator[None]:
    """A daemon of one connection: `answer` gets it, and what it returns is sent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(gateway.socket))
        listener.listen(backlog)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                reply = answer(connection)
                if reply is not None:
                    connection.send(reply)

        server = threading.Thread(target=serve)
        server.start()
        yield
        server.join(rig.PATIENCE)


def replying(reply: bytes | None) -> Answer:
    """Read the request, then reply."""

    def answer(connection: socket.socket) -> bytes | None:
        connection.recv(1)
        return reply

    return answer


def test_nobody_listens(gateway: Gateway) -> None:
    assert gateway.send(MESSAGE).status == 71


def test_a_socket_that_nobody_serves_any_more(gateway: Gateway) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind(str(gateway.socket))
    assert gateway.send(MESSAGE).status == 71


def test_no_room_to_wait_in_is_said_at_once(gateway: Gateway) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(gateway.socket))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
            first.connect(str(gateway.socket))
            assert gateway.send(MESSAGE).status == 71


def test_a_daemon_that_never_answers(gateway: Gateway) -> None:
    gone = threading.Event()

    def never(connection: socket.socket) -> None:
        gone.wait(rig.PATIENCE)

    with answering(gateway, never):
        assert gateway.send(MESSAGE, GATESCAN_TIMEOUT="1").status == 72
        gone.set()


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"",
        b"\1\0\0",
        struct.pack("<BBIH", 2, 0, 4096, 0),
        struct.pack("<BBIH", 1, 0, 4096, 5),
        struct.pack("<BBIH", 1, 0, 4096, 0) + b"more than was said",
        struct.pack("<BBIH", 1, 31, 0, 60000) + b"D" * 60000,
    ],
    ids=["closed", "empty", "short", "version", "text-short", "text-long", "huge"],
)
def test_a_reply_that_is_none(gateway: Gateway, reply: bytes | None) -> None:
    with answering(gateway, replying(reply)):
        assert gateway.send(MESSAGE).status == 71
    assert gateway.records.all == []


def test_an_exit_code_is_passed_on(gateway: Gateway) -> None:
    with answering(gateway, replying(protocol.reply(53))):
        assert gateway.send(MESSAGE).status == 53


def test_held_is_success_without_a_queue(gateway: Gateway) -> None:
    with answering(gateway, replying(protocol.reply(0))):
        assert gateway.send(MESSAGE).status == 0
    assert gateway.records.all == []


@pytest.mark.parametrize(
    ("code", "text_fd", "told", "status", "text"),
    [
        (31, 6, "6", 82, b"Dno such luck"),
        (31, 4, "4", 82, b"Dno such luck"),
        (71, 6, "6", 82, b"Dno such luck"),
        (31, 6, None, 31, b""),
        (31, None, "6", 31, b""),
        (71, 6, None, 71, b""),
        (54, None, "6", 71, b""),
        (31, 6, "nonsense", 31, b""),
    ],
)
def test_a_refusal_with_a_text(
    gateway: Gateway, code: int, text_fd: int | None, told: str | None, status: int, text: bytes
) -> None:
    """The text goes out only where the caller is known to read it; else the plain code of the same class."""
    env = {"GATESCAN_TEXT_FD": told} if told else {}
    with answering(gateway, replying(protocol.reply(code, text=b"Dno such luck"))):
        sent = gateway.send(MESSAGE, text_fd=text_fd, env=env)
    assert (sent.status, sent.text) == (status, text)


def test_the_text_descriptor_must_be_a_pipe(gateway: Gateway, tmp_path: Path) -> None:
    """Under a qmail-smtpd without the patch, descriptor 6 may be anything."""
    log = tmp_path / "a log of the caller"
    log.touch()
    with answering(gateway, replying(protocol.reply(31, text=b"Dno"))):
        program = ["sh", "-c", 'exec "$0" 6<>"$1"', str(gateway.client), str(log)]
        call = rig.Call(program, gateway.env | {"GATESCAN_TEXT_FD": "6"}, text_fd=None)
        call.write(MESSAGE, ENVELOPE)
        sent = call.finish()
    assert sent.status == 31
    assert log.read_bytes() == b""


def test_the_request(gateway: Gateway) -> None:
    """Sealed files, the message behind its room, the envelope, and only the variables of interest."""
    got: dict[str, object] = {}

    def look(connection: socket.socket) -> bytes:
        got["peer"] = protocol.peer_of(connection).pid
        select.select([connection], [], [], rig.PATIENCE)
        with protocol.receive(connection) as request:
            got["env"] = dict(request.env)
            got["message"] = bytes(request.read_message())
            got["envelope"] = request.read_envelope()
            for file in (request.message, request.envelope):
                with pytest.raises(OSError, match="not permitted"):
                    os.ftruncate(file, 1 << 20)
        return protocol.reply(0)

    interesting = {"TCPREMOTEIP": "2001:db8::1", "RELAYCLIENT": "", "TCPREMOTEHOST": "h" * 2000, "PROTO": "TCP"}
    with answering(gateway, look):
        sent = gateway.send(MESSAGE, TCPREMOTEINFO="caf\udce9", SECRET="x", env=interesting)
    assert got == {
        "peer": sent.pid,
        "env": interesting | {"TCPREMOTEHOST": "h" * 512, "TCPREMOTEINFO": "caf\udce9"},
        "message": MESSAGE,
        "envelope": ENVELOPE,
    }


def test_inherited_descriptors_are_closed_before_anything_else(gateway: Gateway) -> None:
    """A caller that waits for the end of some other pipe does not wait for us."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    call = gateway.call()
    os.close(writing)
    ended, _, _ = select.select([reading], [], [], rig.PATIENCE)
    os.close(reading)
    assert ended  # while the client still waits for its message
    assert call.process.poll() is None
    call.write(MESSAGE, ENVELOPE)
    assert call.finish().status == 71


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65536, 131072, 131073, 5_000_000])
def test_every_size_arrives_whole(gateway: Gateway, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    room = protocol.HEADER_ROOM
    with answering(gateway, replying(protocol.reply(0, start=room))):
        sent = gateway.send(message)
    assert sent.status == 0
    assert gateway.records.of(sent.pid) == (message, ENVELOPE)


def memory_of(pid: int) -> int:
    """Bytes in the memory files that a process has open."""
    files = Path(f"/proc/{pid}/fd")
    found = [path for path in files.iterdir() if os.readlink(path).startswith("/memfd:")]
    return sum(path.stat().st_blocks * 512 for path in found)


def test_a_large_message_does_not_lie_in_memory(gateway: Gateway) -> None:
    """Twenty senders of 50 MB each took the host's memory; it is in a file now that has no name."""
    got: dict[str, object] = {}
    message = os.urandom(1 << 20) * 20

    def look(connection: socket.socket) -> bytes:
        select.select([connection], [], [], rig.PATIENCE)
        got["memory"] = memory_of(protocol.peer_of(connection).pid)
        with protocol.receive(connection) as request:
            read = request.read_message(gateway.root / "spool/incoming")
            os.ftruncate(request.message, protocol.HEADER_ROOM)  # nothing that its writer does is felt
            got["same"] = bytes(read) == message
            os.ftruncate(request.message, protocol.HEADER_ROOM + len(message))
        return protocol.reply(0)

    with answering(gateway, look):
        assert gateway.send(message).status == 0
    assert got["same"]
    assert int(str(got["memory"])) < 1 << 20
    assert list((gateway.root / "spool/incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        ({"DATABYTES": "3000000"}, False),
        ({"GATESCAN_DATABYTES": "3000000"}, False),
        ({"DATABYTES": "30000000", "GATESCAN_DATABYTES": "3000000"}, True),
        ({"DATABYTES": "0", "GATESCAN_DATABYTES": "3000000"}, False),
        ({}, True),
    ],
)
def test_a_message_larger_than_may_be_is_refused_for_good(
    gateway: Gateway, limits: dict[str, str], taken: bool
) -> None:
    """It ends while it comes, not when the memory does, and qmail-smtpd says 5xx."""
    message = b"x" * 4_500_000
    if not taken:
        assert gateway.send(message, env=limits).status == 31
        told = gateway.send(message, env=limits, GATESCAN_TEXT_FD="6")
        assert (told.status, told.text[:1]) == (82, b"D")
    else:
        with answering(gateway, replying(protocol.reply(0, start=protocol.HEADER_ROOM))):
            sent = gateway.send(message, env=limits)
        assert sent.status == 0
        assert gateway.records.of(sent.pid)[0] == message


def test_a_spool_that_cannot_be_written_is_tried_again(gateway: Gateway) -> None:
    assert gateway.send(b"x" * 5_000_000, GATESCAN_SPOOL="/nonexistent").status == 53


def test_a_message_from_a_file(gateway: Gateway, tmp_path: Path) -> None:
    """Not every caller uses pipes."""
    (tmp_path / "m").write_bytes(MESSAGE * 10_000)
    (tmp_path / "e").write_bytes(ENVELOPE)
    with answering(gateway, replying(protocol.reply(0, start=protocol.HEADER_ROOM))):
        command = ["sh", "-c", 'exec "$0" < "$1" 1< "$2"', *map(str, (gateway.client, tmp_path / "m", tmp_path / "e"))]
        subprocess.run(command, env=gateway.env, check=True)
    assert gateway.records.all == [(MESSAGE * 10_000, ENVELOPE)]


def test_the_next_program_may_be_an_argument(gateway: Gateway) -> None:
    program = str(gateway.records.program)
    with answering(gateway, replying(protocol.reply(0, start=protocol.HEADER_ROOM))):
        call = gateway.call(program, "and", "its arguments", GATESCAN_NEXT="/nonexistent")
        call.write(MESSAGE, ENVELOPE)
        sent = call.finish()
    assert sent.status == 0
    assert (gateway.records.directory / f"{sent.pid}.arguments").read_text() == "and its arguments\n"


def test_no_next_program(gateway: Gateway) -> None:
    with answering(gateway, replying(protocol.reply(0, start=protocol.HEADER_ROOM))):
        assert gateway.send(MESSAGE, GATESCAN_NEXT="/nonexistent").status == 120


def test_the_next_program_gets_the_text_descriptor_and_no_other(gateway: Gateway) -> None:
    """A refusal by the next program reaches the caller, too."""
    reply = replying(protocol.reply(0, start=protocol.HEADER_ROOM))
    with answering(gateway, reply):
        with_text = gateway.send(MESSAGE, GATESCAN_TEXT_FD="6")
    gateway.socket.unlink()
    with answering(gateway, reply):
        without = gateway.send(MESSAGE)
    assert gateway.records.descriptors(with_text.pid) == {0, 1, 2, 6}
    assert gateway.records.descriptors(without.pid) == {0, 1, 2}


@pytest.mark.parametrize(
    ("option", "words"),
    [("-g", "rules build"), ("-r", "rules list"), ("-v", "version"), ("-h", "--help"), ("-z", "version")],
)
@pytest.mark.usefixtures("client")
def test_the_options_of_qmail_scanner(tmp_path: Path, option: str, words: str) -> None:
    command = tmp_path / "gatescan"
    command.write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    command.chmod(0o755)
    program = rig.build_client(tmp_path, PROGRAM=str(command))
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (words + "\n", 3)


def test_an_unknown_option(client: Path) -> None:
    assert subprocess.run([client, "-x"], check=False).returncode == 120


def test_ignored_signals_are_not_ours_to_change(gateway: Gateway) -> None:
    """The next program's death by a signal is the client's: the caller sees the signal itself."""
    with answering(gateway, replying(protocol.reply(0, start=protocol.HEADER_ROOM))):
        assert gateway.send(MESSAGE, RECORDER_SIGNAL="SEGV").status == -signal.SIGSEGV


# Who it is from


@contextmanager
def gatekeeper(gateway: Gateway, answer: Answer) -> Iterator[str]:
    """Somebody at gatekeeper's socket; gives its path."""
    real = gateway.socket
    gateway.socket = gateway.root / "auth"
    with answering(gateway, answer):
        gateway.socket = real
        yield str(gateway.root / "auth")


def told(code: int, text: bytes) -> bytes:
    return struct.pack("<BBIH", 1, code, 0, len(text)) + text


def test_gatekeeper_says_who_a_strangers_message_is_from_and_the_daemon_is_told(gateway: Gateway) -> None:
    shown: list[bytes] = []

    def answer(connection: socket.socket) -> bytes:
        packet, files, _, _ = socket.recv_fds(connection, 10_000, 2)
        shown.extend([packet, *(os.pread(fd, 10_000, 0) for fd in files)])
        for fd in files:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.pwrite(fd, b"changed", 4096)
            assert os.fstat(fd).st_mode & 0o777 == 0o600
            os.close(fd)
        return told(0, b"spoofed spf=pass")

    with gateway.daemon(), gatekeeper(gateway, answer) as path:
        sent = gateway.send(b"pass\n", GATESCAN_AUTH=path, TCPREMOTEIP="192.0.2.7", GATEKEEPER_AUTH="- lies")
    assert b"\0TCPREMOTEIP=192.0.2.7\0" in b"\0" + shown[0][1:]
    assert shown[1].endswith(b"\0pass\n")
    assert shown[2] == ENVELOPE
    assert rig.saw(gateway, sent)["env"]["GATEKEEPER_AUTH"] == "spoofed spf=pass"


@pytest.mark.parametrize("env", [{}, {"TCPREMOTEIP": "192.0.2.7", "RELAYCLIENT": ""}])
def test_it_is_not_asked_about_our_own_and_nobody_speaks_in_its_name(gateway: Gateway, env: dict[str, str]) -> None:
    with gateway.daemon():
        sent = gateway.send(b"pass\n", env=env, GATESCAN_AUTH="/nowhere", GATEKEEPER_AUTH="- lies")
    assert "GATEKEEPER_AUTH" not in rig.saw(gateway, sent)["env"]


@pytest.mark.parametrize(
    ("sender", "is_client"),
    [
        (b"ann@example.org", True),
        (b"Ann@EXAMPLE.Org", True),
        (b"x@mail.example.org", True),
        (b"bob@example.com", True),
        (b"BOB@example.com", True),
        (b"", True),
        (b"#@[]", True),
        (b"ann@notexample.org", False),
        (b"ann@.example.org", False),
        (b"ann@example.org.attacker.test", False),
        (b"bob@example.org@attacker.test", False),
        (b"ann@example.com", False),
        (b"notbob@example.com", False),
        (b"ann@sub.example.com", False),
        (b"ann@example.org.", True),
        (b"bob@example.com.", True),
        (b"ann@.", False),
        (b".", False),
        (b"example.org", False),
        (b"mail.example.org", False),
        (b"ann", False),
    ],
)
def test_a_relay_client_that_sends_for_somebody_else_is_a_stranger(
    gateway: Gateway, sender: bytes, is_client: bool
) -> None:
    """So the scanner takes his message for what it is: one from outside, of which gatekeeper says who it is from."""
    env = {
        "TCPREMOTEIP": "192.0.2.7",
        "RELAYCLIENT": "",
        "RELAYSENDERS": "example.org .example.org bob@example.com .sub.example.net",
    }
    asked = nullcontext("/nowhere") if is_client else gatekeeper(gateway, replying(told(0, b"- spf=pass")))
    with gateway.daemon(), asked as path:
        sent = gateway.send(b"pass\n", rig.wire(sender, b"bob@example.net"), env=env, GATESCAN_AUTH=path)
    seen = rig.saw(gateway, sent)["env"]
    assert ("RELAYCLIENT" in seen, "GATEKEEPER_AUTH" in seen) == (is_client, not is_client)


@pytest.mark.parametrize(
    "reply",
    [None, b"garbage", told(0, b""), told(71, b"later"), told(31, b"Dno"), told(0, b"x" * 600)],
)
def test_without_its_answer_nothing_passes_and_nothing_is_refused_for_good(
    gateway: Gateway, reply: bytes | None
) -> None:
    with gateway.daemon(), gatekeeper(gateway, replying(reply)) as path:
        sent = gateway.send(b"pass\n", GATESCAN_AUTH=path, TCPREMOTEIP="192.0.2.7", GATESCAN_TEXT_FD="6")
    assert (sent.status, sent.text) == (71, b"")


def test_nor_if_nobody_is_at_its_socket(gateway: Gateway) -> None:
    with gateway.daemon():
        assert gateway.send(b"pass\n", GATESCAN_AUTH="/nowhere", TCPREMOTEIP="192.0.2.7").status == 71
