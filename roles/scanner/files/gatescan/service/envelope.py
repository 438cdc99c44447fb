"""The envelope as qmail-queue reads it: `F<sender>NUL`, then each `T<recipient>NUL`, then one more NUL."""

from __future__ import annotations

from dataclasses import dataclass

from gatescan.errors import GatescanError

ADDRESS_LIMIT = 1003
"""Bytes of an address with its NUL, as in qmail-queue; a longer one ends in exit code 11."""

ADDRESS_TOO_LONG = 11
BAD_FORMAT = 91


class EnvelopeError(GatescanError):
    """Not an envelope; `code` is qmail-queue's exit code for it: 11 or 91."""

    def __init__(self, code: int, problem: str) -> None:
        super().__init__(problem)
        self.code = code


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sent it and who is to get it: any bytes but NUL. A bounce has no sender; no recipient is legal."""

    sender: bytes
    recipients: tuple[bytes, ...]

    def __bytes__(self) -> bytes:
        return b"F%b\0%b\0" % (self.sender, b"".join(b"T%b\0" % address for address in self.recipients))


def parse(data: bytes) -> Envelope:
    """Read a whole envelope, and nothing behind it; raise EnvelopeError as the queue client does.

    The client has already cut the envelope off behind its final NUL. It is read again because whoever
    may connect to the daemon's socket may send anything.
    """
    fields = data.split(b"\0")
    unfinished = fields.pop()
    addresses: list[bytes] = []
    for field in fields:
        if addresses and not field:
            if len(fields) != len(addresses) + 1 or unfinished:
                raise EnvelopeError(BAD_FORMAT, "bytes behind the envelope's end")
            return Envelope(addresses[0], tuple(addresses[1:]))
        addresses.append(_address(field, first=not addresses))
    if unfinished:
        _address(unfinished, first=not addresses)
    raise EnvelopeError(BAD_FORMAT, "the envelope's final NUL is missing")


def _address(field: bytes, first: bool) -> bytes:
    """The address in a field, less its mark."""
    if field[:1] != (b"F" if first else b"T"):
        raise EnvelopeError(BAD_FORMAT, "the sender must come first" if first else "not a recipient")
    if len(field) > ADDRESS_LIMIT:
        raise EnvelopeError(ADDRESS_TOO_LONG, f"an address longer than {ADDRESS_LIMIT - 1} bytes")
    return field[1:]
