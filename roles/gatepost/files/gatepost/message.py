"""A message and its addresses in the form that SMTP wants."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

BLOCK = 65536
"""Bytes that are read at once."""
DOUBLE_BOUNCE = "#@[]"
"""qmail-send's sender of a bounce of a bounce, whose own bounce it drops. To servers it is the null sender."""
_PLAIN = re.compile(rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*")

_NOT_IN_DOMAIN = re.compile(rb"""[\x00- \x7f<>()"\\,;]""")


class Unended(Exception):
    """The message's last line does not end."""


def raw(text: str) -> bytes:
    """An argument's bytes as the client passed them."""
    return text.encode("utf-8", "surrogateescape")


def address(text: str) -> bytes:
    """An envelope address, its local part in quotes where SMTP wants them."""
    if text in ("", DOUBLE_BOUNCE):
        return b""
    local, at, domain = split(raw(text))
    if not _PLAIN.fullmatch(local):
        local = b'"' + local.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return local + at + domain.rstrip(b".")


def split(address: bytes) -> tuple[bytes, bytes, bytes]:
    """Local part, @ and domain, the last two empty if there is none."""
    local, at, domain = address.rpartition(b"@")
    return (local, at, domain) if at else (address, b"", b"")


def has_broken_line(text: str) -> bool:
    """Whether an address would begin another command."""
    return "\r" in text or "\n" in text


def has_broken_domain(text: str) -> bool:
    """Whether an address would end early: what follows its domain would be a parameter of the command."""
    return bool(_NOT_IN_DOMAIN.search(split(raw(text))[2]))


class LineEnds:
    """Turns every line's end of a message into LF, block by block.

    A carriage return alone ends a line too, as it does for some servers: a dot behind it must be doubled like any
    other, or those servers would take what follows for commands; and a signature must be over what leaves.
    """

    def __init__(self) -> None:
        self._after_return = False

    def feed(self, data: bytes) -> bytes:
        """The block with LF for every line's end."""
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
            if not data:
                self._after_return = False
                return b""
        self._after_return = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


class Lines:
    """Turns a message's bytes into SMTP's lines, block by block."""

    def __init__(self) -> None:
        self._ends = LineEnds()
        self._at_start = True

    def feed(self, data: bytes) -> bytes:
        """The lines that this block is on the wire."""
        data = self._ends.feed(data)
        if not data:
            return b""
        if self._at_start and data.startswith(b"."):
            data = b"." + data
        self._at_start = data.endswith(b"\n")
        return data.replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")

    def end(self) -> bytes:
        """The end of the message; raise Unended when the last line has none."""
        if not self._at_start:
            raise Unended
        return b".\r\n"


def blocks(fd: int) -> Iterator[bytes]:
    """The message's bytes from its beginning, wherever the descriptor stands. Raises OSError."""
    at = 0
    while data := os.pread(fd, BLOCK, at):
        at += len(data)
        yield data


def normal_blocks(fd: int) -> Iterator[bytes]:
    """The same with LF for every line's end."""
    ends = LineEnds()
    for block in blocks(fd):
        yield ends.feed(block)
