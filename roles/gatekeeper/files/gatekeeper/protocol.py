"""Postfix's policy delegation protocol: lines of name=value, answered by an action, both ended by an empty line."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field

from gatekeeper.addresses import IPAddress, client_key, parse_client

QUESTION = 16 * 1024
"""Bytes of a question."""
LINE = 4096
ATTRIBUTES = 100
_END = b"\n\n"
GO_ON = "DUNNO"
ORDERS = {"gatekeeper_status": "status", "gatekeeper_accept": "accept"}
"""Requests of our own; only root and the daemon's own user may make them."""
LATER = "451 4.3.5 the policy of this server cannot be asked now, please try again later"


class Garbage(Exception):
    """What came is no question; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. state: RCPT or DATA. count: recipients of the message, at DATA."""

    state: str
    client: IPAddress | None
    sender: str
    recipient: str
    count: int
    is_relay: bool

    @property
    def key(self) -> str:
        """Whom counters take the client for."""
        return client_key(self.client)


@dataclass(frozen=True, slots=True)
class Order:
    """What the administrator's commands ask for. verb: status or accept; path: of a file of recipients."""

    verb: str
    path: str = ""


async def readable(connection: socket.socket) -> None:
    """Wait until there is something to read, or somebody to let in."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    fd = connection.fileno()  # of a socket itself asyncio would have the kernel tell both addresses
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


@dataclass(slots=True)
class Wire:
    """What has come over a session's connection. rest: what was not taken yet."""

    rest: bytearray = field(default_factory=bytearray)

    def question(self) -> Question | Order | None:
        """The next question, None if it is not there in full; raise Garbage."""
        end = self.rest.find(_END, 0, QUESTION)
        if end >= 0:
            text = bytes(self.rest[:end])
            del self.rest[: end + len(_END)]
            return parse(text)
        if len(self.rest) >= QUESTION:
            raise Garbage(f"a question of more than {QUESTION} bytes")
        return None


def parse(text: bytes) -> Question | Order:
    """A question of its lines; raise Garbage."""
    said = text.decode("utf-8", "surrogateescape")
    lines = said.split("\n")
    if len(lines) > ATTRIBUTES:
        raise Garbage(f"more than {ATTRIBUTES} attributes")
    if "\0" in said or max(map(len, lines)) > LINE:
        raise Garbage("a line that is too long, or has a NUL in it")
    try:
        found = dict(line.split("=", 1) for line in reversed(lines))  # the first of a name counts
    except ValueError:
        raise Garbage("a line that is no attribute") from None
    if found.get("request") in ORDERS:
        return Order(ORDERS[found["request"]], found.get("path", ""))
    if found.get("request") != "smtpd_access_policy":
        raise Garbage("a request that is not smtpd_access_policy")
    count = found.get("recipient_count", "0")
    return Question(
        state=found.get("protocol_state", ""),
        client=parse_client(found.get("client_address", "")),
        sender=found.get("sender", ""),
        recipient=found.get("recipient", ""),
        count=int(count) if count.isascii() and count.isdigit() and len(count) < 10 else 0,
        is_relay=found.get("relay_client") == "yes",
    )


def reply(action: str) -> bytes:
    """An action as it is sent: one line of printable ASCII."""
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in action)
    return f"action={text}\n\n".encode("ascii")


def plain(text: str, longest: int = 200) -> str:
    """What a client said, for the log: ASCII on one line, and not without end."""
    return "".join(letter if " " < letter <= "~" else "?" for letter in text[:longest])
