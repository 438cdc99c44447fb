"""clamd: a double that speaks as clamd does; every way in which it can fail is an error, never clean."""

from __future__ import annotations

import array
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from doubles.daemon import exactly, line
from gatescan.engines.base import EngineError, Sample
from gatescan.engines.clamd import Clamd, ClamdSettings, hit_of
from gatescan.model import Verdict
from samples import MARK, SAMPLE, part, soon

Start = Callable[[Callable[[socket.socket], None]], str]


def engine(path: str, transfer: str = "fildes", **more: Any) -> Clamd:
    return Clamd("clamd", 30.0, ClamdSettings(path, transfer, **more))


class Scanner:
    """Answers as clamd does: remembers what it was given, and finds MARK."""

    def __init__(self, stream_max: int = 1 << 30) -> None:
        self.seen: list[bytes] = []
        self.stream_max = stream_max

    def __call__(self, connection: socket.socket) -> None:
        assert line(connection, b"\0") == b"zIDSESSION"
        number = 0
        while (command := line(connection, b"\0")) not in (b"", b"zEND"):
            number += 1
            if command == b"zFILDES":
                name, data = "fd[10]", self._file(connection)
            else:
                assert command == b"zINSTREAM"
                name, data = "stream", self._stream(connection)
                if len(data) > self.stream_max:
                    connection.sendall(f"{number}: INSTREAM size limit exceeded. ERROR\0".encode())
                    return
            self.seen.append(data)
            said = "Test.Virus(44d88612fea8a8f36de82e1278abb02f:68) FOUND" if MARK in data else "OK"
            connection.sendall(f"{number}: {name}: {said}\0".encode())

    def _file(self, connection: socket.socket) -> bytes:
        _, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(4))
        descriptors = array.array("i", ancillary[0][2])
        with os.fdopen(descriptors[0], "rb") as file:
            with pytest.raises(PermissionError):
                os.truncate(file.fileno(), 0)  # sealed: nobody can change what was judged
            return file.read()

    def _stream(self, connection: socket.socket) -> bytes:
        data = b""
        while size := struct.unpack(">I", exactly(connection, 4))[0]:
            data += exactly(connection, size)
            if len(data) > self.stream_max:
                break
        return data


@pytest.mark.parametrize("transfer", ["fildes", "instream"])
def test_the_message_and_each_part_are_looked_at(daemon: Start, transfer: str) -> None:
    scanner = Scanner()
    (hit,) = engine(daemon(scanner), transfer).scan(SAMPLE, soon())
    assert (hit.name, hit.part, hit.verdict) == ("Test.Virus", "2/a b.exe", Verdict.INFECTED)
    assert scanner.seen == [SAMPLE.message, *(bytes(one.data) for one in SAMPLE.parts)]


@pytest.mark.parametrize("transfer", ["fildes", "instream"])
def test_a_clean_message(daemon: Start, transfer: str) -> None:
    parts = [part("1", os.urandom(300_000)), part("2", b""), part("3", b"x", sealed=True)]
    scanner = Scanner()
    assert engine(daemon(scanner), transfer).scan(Sample(b"m", parts), soon()) == []
    assert scanner.seen == [b"m", parts[0].data]


def test_over_the_stream_limit_is_an_error_that_says_what_to_do(daemon: Start) -> None:
    asked = engine(daemon(Scanner(stream_max=100_000)), "instream")
    with pytest.raises(EngineError, match="size limit exceeded") as caught:
        asked.scan(Sample(bytes(5_000_000)), soon())
    assert "StreamMaxLength" in caught.value.advice and caught.value.answered


def test_a_piece_over_max_bytes_is_not_passed_unscanned(daemon: Start) -> None:
    with pytest.raises(EngineError, match="more than max_bytes") as caught:
        engine(daemon(Scanner()), max_bytes=10).scan(Sample(b"01234567890"), soon())
    assert caught.value.answered


def test_a_hit_before_an_error_is_kept(daemon: Start) -> None:
    sample = Sample(MARK, [part("1", bytes(100))])
    with pytest.raises(EngineError) as caught:
        engine(daemon(Scanner()), max_bytes=50).scan(sample, soon())
    assert [hit.name for hit in caught.value.hits] == ["Test.Virus"]


def test_not_there(tmp_path: object) -> None:
    with pytest.raises(EngineError, match="cannot connect"):
        engine(f"{tmp_path}/none").scan(SAMPLE, soon())


def test_hung(daemon: Start) -> None:
    started = time.monotonic()
    with pytest.raises(EngineError, match="time limit") as caught:
        engine(daemon(lambda connection: time.sleep(20))).scan(SAMPLE, soon(0.5))
    assert time.monotonic() - started < 15 and not caught.value.answered


def test_hung_with_full_buffers(daemon: Start) -> None:
    with pytest.raises(EngineError, match="time limit"):
        engine(daemon(lambda connection: time.sleep(20)), "instream").scan(Sample(bytes(20_000_000)), soon(0.5))


def test_reset_in_the_middle(daemon: Start) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(4)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with pytest.raises(EngineError, match="closed the connection"):
        engine(daemon(reset), "instream").scan(Sample(bytes(20_000_000)), soon())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"1: fd[10]: OK",  # without its end
        b"RELOADING\0",
        b"garbage\0",
        b"\0",
        b"OK\0",
        b"fd[10]: OK\0",
        b"2: fd[10]: OK\0",  # of another question
        b"1: fd[10]: \0",
        b"1: fd[10]: FOUND\0",
        b"1: fd[10]: X FOUND OK\0",
        b"1: fd[10]: Can't allocate memory ERROR\0",
        b"1: Time limit reached. ERROR\0",
        b"COMMAND READ TIMED OUT\0",
        b"\xff\xfe" * 1000 + b"\0",
        b"y" * 3_000_000,
    ],
)
def test_what_is_not_an_answer_is_an_error(daemon: Start, answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        line(connection, b"\0")
        line(connection, b"\0")
        connection.sendall(answer)

    with pytest.raises(EngineError):
        engine(daemon(serve)).scan(Sample(b"m"), soon())


@pytest.mark.parametrize(
    ("answer", "name", "verdict"),
    [
        ("1: fd[10]: a: OK FOUND", "a: OK", Verdict.INFECTED),
        ("1: stream: fd[3]: OK FOUND", "fd[3]: OK", Verdict.INFECTED),
        ("1: stream: ERROR FOUND", "ERROR", Verdict.INFECTED),
        ("1: stream: Eicar-Test-Signature FOUND", "Eicar-Test-Signature", Verdict.INFECTED),
        ("1: stream: a\nb FOUND", "a\\u000ab", Verdict.INFECTED),
        ("1: stream: Heuristics.Encrypted.Zip FOUND", "Heuristics.Encrypted.Zip", Verdict.ENCRYPTED),
        ("1: stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND", None, Verdict.LIMIT),
        ("1: stream: Heuristics.OLE2.ContainsMacros.VBA FOUND", None, Verdict.POLICY),
    ],
)
def test_names_with_odd_text(answer: str, name: str | None, verdict: Verdict) -> None:
    hit = hit_of(answer, 1, "2")
    assert hit and hit.verdict is verdict and hit.part == "2"
    assert name is None or hit.name == name


@pytest.mark.parametrize(
    ("answer", "date"),
    [
        (b"ClamAV 1.4.3/27500/Sun Nov 16 08:35:27 2025\0", "2025-11-16"),
        (b"ClamAV 1.4.3\0", "2001-09-09"),  # the newest file's
    ],
)
def test_the_age_of_the_signatures(daemon: Start, tmp_path: object, answer: bytes, date: str) -> None:
    from pathlib import Path

    database = Path(str(tmp_path)) / "lab.ndb"
    database.write_text("")
    os.utime(database, (1_000_000_000, 1_000_000_000))

    def tell(connection: socket.socket) -> None:
        assert line(connection, b"\0") == b"zVERSION"
        connection.sendall(answer)

    path = daemon(tell)
    asked = Clamd("clamd", 30.0, ClamdSettings(path, database=database.parent))
    found = asked.signature_date(soon())
    assert found and time.strftime("%Y-%m-%d", time.gmtime(found)) == date
    assert asked.version(soon()).startswith("ClamAV 1.4.3")
