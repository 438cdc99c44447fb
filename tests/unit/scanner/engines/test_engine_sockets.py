"""Sophie, Trophie, SAVDI, aveserver and fpscand, against doubles that answer as their manuals say."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.daemon import exactly, line
from gatescan.engines.base import EngineError, Hit
from gatescan.engines.sockets import DIALOGUES, SocketEngine
from gatescan.model import Verdict
from samples import MARK, SAMPLE, soon

Start = Callable[[Callable[[socket.socket], None]], str]


def scan(name: str, path: str, seconds: float = 30.0) -> list[Hit]:
    return SocketEngine(name, 30.0, path, DIALOGUES[name][1]).scan(SAMPLE, soon(seconds))


@pytest.mark.parametrize(("name", "end"), [("sophie", ""), ("trophie", "/")])
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"0", []),
        (b"0\n", []),
        (b"1:EICAR-AV-Test", ["EICAR-AV-Test"]),
        (b"1:a: 0\n", ["a: 0"]),
        (b"1", ["unnamed"]),
        (b"-1", None),
        (b"-1:508 Corrupt", None),
        (b"", None),
        (b"10", None),
        (b"what", None),
    ],
)
def test_sophie_and_trophie(daemon: Start, name: str, end: str, answer: bytes, found: list[str] | None) -> None:
    told: list[str] = []

    def serve(connection: socket.socket) -> None:
        told.append(line(connection).decode())
        directory = Path(told[0])
        assert any(MARK in path.read_bytes() for path in directory.iterdir())
        connection.sendall(answer)

    path = daemon(serve)
    if found is None:
        with pytest.raises(EngineError):
            scan(name, path)
    else:
        assert [hit.name for hit in scan(name, path)] == found
    assert told[0].endswith("/") == bool(end)


def savdi(answers: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"OK SSSP/1.0\r\n")
        assert line(connection) == b"SSSP/1.0\r"
        connection.sendall(b"ACC 4E8D/1\r\n")
        while (command := line(connection)).startswith(b"SCANDATA "):
            data = exactly(connection, int(command.split()[1]))
            connection.sendall(b"ACC 4E8D/2\r\n" + answers(data))
        assert command == b"BYE\r"

    return serve


CLEAN = b"DONE OK 0000 The function call succeeded\r\n\r\n"


def test_savdi_gets_the_bytes_of_each_part(daemon: Start) -> None:
    found = b"EVENT FILE x\r\nVIRUS EICAR-AV-Test data\r\nOK 0203 data\r\nDONE OK 0203 Virus found\r\n\r\n"
    (hit,) = scan("savdi", daemon(savdi(lambda data: found if MARK in data else CLEAN)))
    assert (hit.name, hit.part) == ("EICAR-AV-Test", "2/a b.exe")


def test_savdi_on_encrypted_files(daemon: Start) -> None:
    answer = b"FAIL 0212 data\r\nDONE FAIL 0212 Encrypted\r\n\r\n"
    hits = scan("savdi", daemon(savdi(lambda data: answer if MARK in data else CLEAN)))
    assert {hit.verdict for hit in hits} == {Verdict.ENCRYPTED}


@pytest.mark.parametrize(
    "answer",
    [
        b"DONE FAIL 021D Corrupt\r\n\r\n",
        b"FAIL 0210 x\r\nDONE OK 0000 x\r\n\r\n",
        b"REJ 4\r\n\r\n",
        b"what\r\n\r\n",
        b"",
    ],
)
def test_savdi_fails(daemon: Start, answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"OK SSSP/1.0\r\nACC 1\r\nACC 2\r\n" + answer)

    with pytest.raises(EngineError):
        scan("savdi", daemon(serve))


def aveserver(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"201 aveserver ready\r\n")
        while (command := line(connection)).startswith(b"SCAN bPQRSTUW "):
            connection.sendall(answer(Path(command[14:].decode().strip()).read_bytes()))

    return serve


def test_aveserver(daemon: Start) -> None:
    found = b"311 file\r\n322-EICAR-Test-File x\r\n322 EICAR-Test-File x\r\n230 infected\r\n"
    (hit,) = scan("aveserver", daemon(aveserver(lambda data: found if MARK in data else b"220 ok\r\n")))
    assert (hit.name, hit.part) == ("EICAR-Test-File", "2/a b.exe")


@pytest.mark.parametrize("answer", [b"525 error\r\n", b"what\r\n", b""])
def test_aveserver_fails(daemon: Start, answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"201 aveserver ready\r\n" + answer)

    with pytest.raises(EngineError):
        scan("aveserver", daemon(serve))


def fpscand(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        while (command := line(connection)).startswith(b"SCAN FILE "):
            connection.sendall(answer(Path(command[10:].decode()).read_bytes()))

    return serve


def test_fpscand(daemon: Start) -> None:
    found = b"1 <infected: EICAR_Test_File> x\n"
    (hit,) = scan("fpscand", daemon(fpscand(lambda data: found if MARK in data else b"0 <clean> x\n")))
    assert (hit.name, hit.part) == ("EICAR_Test_File", "2/a b.exe")


@pytest.mark.parametrize("answer", [b"8 <limits> x\n", b"64 <encrypted> x\n", b"4 <aborted> x\n", b"x\n", b""])
def test_fpscand_fails(daemon: Start, answer: bytes) -> None:
    with pytest.raises(EngineError):
        scan("fpscand", daemon(lambda connection: connection.sendall(answer)))


@pytest.mark.parametrize("name", DIALOGUES)
def test_hung(daemon: Start, name: str) -> None:
    with pytest.raises(EngineError, match="time limit"):
        scan(name, daemon(lambda connection: time.sleep(20)), 0.5)


@pytest.mark.parametrize("name", DIALOGUES)
def test_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match="cannot connect"):
        scan(name, str(tmp_path / "none"))
