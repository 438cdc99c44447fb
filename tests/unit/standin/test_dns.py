"""The stand-in's own DNS questions, put to a name server on this machine."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from standin import dns

POINTER = b"\xc0\x0c"


def record(kind: int, data: bytes) -> bytes:
    """A resource record of the name that was asked for."""
    return POINTER + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


ZONE = {
    (b"world.test", dns.MX): [
        record(dns.MX, struct.pack(">H", 20) + b"\x01b" + POINTER),
        record(dns.MX, struct.pack(">H", 10) + b"\x01a" + POINTER),
    ],
    (b"a.world.test", dns.A): [record(dns.A, bytes([192, 0, 2, 1]))],
    (b"b.world.test", dns.A): [record(dns.A, bytes([192, 0, 2, 2])), record(dns.A, bytes([192, 0, 2, 3]))],
    (b"alias.test", dns.A): [record(dns.CNAME, b"\x01a" + POINTER), record(dns.A, bytes([192, 0, 2, 9]))],
    (b"circle.test", dns.MX): [record(dns.MX, struct.pack(">H", 1) + b"\xc0\x2c")],
}


def serve(server: socket.socket) -> None:
    """Answer questions until the socket is closed."""
    while True:
        try:
            question, peer = server.recvfrom(512)
        except OSError:
            return
        name, at = dns.decode(question, 12)
        records = ZONE.get((name, struct.unpack_from(">H", question, at)[0]), [])
        code = 2 if name == b"broken.test" else 0 if records or name.endswith(b"world.test") else dns.NAME_ERROR
        head = question[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        server.sendto(head + question[12:] + b"".join(records), peer)


@pytest.fixture(autouse=True)
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A name server, and the module turned to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        monkeypatch.setattr(dns, "PORT", server.getsockname()[1])
        monkeypatch.setattr(dns, "resolvers", lambda: ["127.0.0.1"])
        monkeypatch.setattr(dns, "TIMEOUTS", (5,))
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield


def test_exchangers_come_best_first() -> None:
    assert dns.exchangers(b"world.test") == [(10, "192.0.2.1"), (20, "192.0.2.2"), (20, "192.0.2.3")]


def test_a_host_without_exchangers_is_its_own() -> None:
    assert dns.exchangers(b"alias.test") == [(0, "192.0.2.9")]


@pytest.mark.parametrize("literal", [b"[192.0.2.77]", b"192.0.2.77"])
def test_a_literal_is_not_asked_for(literal: bytes) -> None:
    assert dns.addresses(literal) == ["192.0.2.77"]


@pytest.mark.parametrize("name", [b"nowhere.test", b"", b"a..b", b"x" * 64 + b".test"])
def test_a_name_that_is_none_has_no_address(name: bytes) -> None:
    assert dns.addresses(name) == []


@pytest.mark.parametrize("name", [b"broken.test", b"circle.test"])
def test_no_useful_answer_is_a_temporary_error(name: bytes) -> None:
    with pytest.raises(dns.TemporaryError):
        dns.exchangers(name)
