"""Questions to the resolver that /etc/resolv.conf names: MX and A, by UDP, and by TCP when an answer is cut short."""

from __future__ import annotations

import os
import socket
import struct

A, CNAME, MX = 1, 5, 15
PORT = 53
TIMEOUTS = (2, 4, 8)
NAME_ERROR = 3


class TemporaryError(Exception):
    """No answer, or one that says nothing."""


def resolvers() -> list[str]:
    """The resolvers' addresses."""
    try:
        with open("/etc/resolv.conf", encoding="latin-1") as file:
            words = [line.split() for line in file]
    except OSError:
        words = []
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"] or ["127.0.0.1"]


def encode(name: bytes) -> bytes:
    """A name as packets have it; raises ValueError when it can be none."""
    labels = name.rstrip(b".").split(b".")
    if len(name) > 253 or not all(0 < len(label) < 64 for label in labels):
        raise ValueError(name)
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode(packet: bytes, at: int) -> tuple[bytes, int]:
    """The name at a place of a packet, and the place behind it."""
    labels, end, jumps = [], 0, 0
    while packet[at]:
        if packet[at] < 64:
            labels.append(packet[at + 1 : at + 1 + packet[at]])
            at += 1 + packet[at]
        else:
            end, at, jumps = end or at + 2, (packet[at] & 63) << 8 | packet[at + 1], jumps + 1
            if jumps > 50:
                raise IndexError("a name in a circle")
    return b".".join(labels), end or at + 1


def ask_udp(server: str, question: bytes, timeout: int) -> bytes:
    """One question by UDP; raises OSError when no answer comes in time."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as talk:
        talk.settimeout(timeout)
        talk.connect((server, PORT))
        talk.send(question)
        while True:
            answer = talk.recv(4096)
            if answer[:2] == question[:2] and len(answer) >= 12:
                return answer


def ask_tcp(server: str, question: bytes, timeout: int) -> bytes:
    """One question by TCP; raises OSError when no answer comes in time."""
    with socket.create_connection((server, PORT), timeout) as talk, talk.makefile("rwb") as stream:
        stream.write(struct.pack(">H", len(question)) + question)
        stream.flush()
        return stream.read(struct.unpack(">H", stream.read(2).ljust(2, b"\0"))[0])


def exchange(question: bytes) -> bytes:
    """The first useful answer of any resolver."""
    for timeout in TIMEOUTS:
        for server in resolvers():
            try:
                answer = ask_udp(server, question, timeout)
                if answer[2] & 2:
                    answer = ask_tcp(server, question, timeout)
            except OSError:
                continue
            if len(answer) >= 12 and answer[3] & 15 in (0, NAME_ERROR):
                return answer
    raise TemporaryError


def query(name: bytes, kind: int) -> list[tuple[int, bytes]]:
    """The records of a name: (preference, host) for MX, (0, four bytes) for A. Nothing when there are none."""
    try:
        head = os.urandom(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0)
        question = head + encode(name) + struct.pack(">HH", kind, 1)
    except ValueError:
        return []
    packet = exchange(question)
    found = []
    try:
        at = len(question)
        for _ in range(struct.unpack_from(">H", packet, 6)[0]):
            _, at = decode(packet, at)
            record, _, _, length = struct.unpack_from(">HHIH", packet, at)
            at += 10
            if record == kind == MX:
                found.append((struct.unpack_from(">H", packet, at)[0], decode(packet, at + 2)[0]))
            elif record == kind == A:
                found.append((0, packet[at : at + 4]))
            at += length
    except (IndexError, struct.error) as error:
        raise TemporaryError from error
    return found


def addresses(host: bytes) -> list[str]:
    """A host's IPv4 addresses; a literal (with or without brackets) is its own."""
    try:
        return [socket.inet_ntoa(socket.inet_pton(socket.AF_INET, host.strip(b"[]").decode("latin-1")))]
    except OSError:
        return [socket.inet_ntoa(data) for _, data in query(host, A)]


def exchangers(host: bytes) -> list[tuple[int, str]]:
    """(preference, address) of a domain's mail exchangers, best first; the host itself when it names none."""
    records = [] if host.startswith(b"[") else query(host, MX)
    found = [(preference, address) for preference, name in sorted(records) for address in addresses(name)]
    return found if records else [(0, address) for address in addresses(host)]
