"""One-time tokens: addresses by which one recipient gets one held message.

    held-mail-202611221605123f9a1c77-MAC@gateway       59 of a local part's 64 characters

MAC: 128 bits of HMAC-SHA256, by the fleet's key, over what the token is for: the way, the gateway that holds the
message, the message, the recipient. It is in small letters and digits, as servers on the way may change the case.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import Literal

from gatescan.context import domain_of, in_ascii
from gatescan.errors import GatescanError

PREFIX = "held-mail-"
LEAST_KEY = 32
"""Bytes of the shortest key that is taken."""
_MAC_BYTES = 16
_FORM = re.compile(PREFIX + r"(\d{8})(\d{6})([0-9a-f]{8})-([a-z2-7]{26})@([a-z0-9._-]{1,253})")

Way = Literal["recipient", "gateway"]
"""Who may use it: the recipient, or a gateway that has looked at the recipient's reply."""


class KeyProblem(GatescanError):
    """The key cannot be used."""


@dataclass(frozen=True, slots=True)
class Token:
    """What an address says. held: the id in quarantine. gateway: the name of the gateway that holds it."""

    held: str
    mac: str
    gateway: str

    @property
    def address(self) -> str:
        """The address to write to."""
        return f"{PREFIX}{self.held.replace('-', '')}-{self.mac}@{self.gateway}"

    @property
    def time(self) -> float:
        """When the message was held, in seconds since 1970."""
        return float(calendar.timegm(time.strptime(self.held[:15], "%Y%m%d-%H%M%S")))

    def is_for(self, key: bytes, way: Way, recipient: str) -> bool:
        """Whether we made it for this recipient."""
        return hmac.compare_digest(self.mac, _mac(key, way, self.gateway, self.held, recipient))


def mint(key: bytes, way: Way, gateway: str, held: str, recipient: str) -> Token:
    """The token for a recipient of a held message: always the same one."""
    return Token(held, _mac(key, way, gateway.lower(), held, recipient), gateway.lower())


def read(address: str) -> Token | None:
    """What an address says, whoever made it; None: it is another address."""
    found = _FORM.fullmatch(address.lower())
    if found is None:
        return None
    day, hour, rest, mac, gateway = found.groups()
    token = Token(f"{day}-{hour}-{rest}", mac, gateway)
    try:
        return token if token.time else None
    except ValueError:  # there is no such time
        return None


def folded(address: str) -> str:
    """An address as addresses are compared here: in small letters, its domain in ASCII."""
    local, at, _ = address.lower().rpartition("@")
    return local + at + in_ascii(domain_of(address)) if at else address.lower()


def key_of(data: bytes) -> bytes:
    """The key out of a file with one line. Raises KeyProblem."""
    key = data.strip()
    if len(key) < LEAST_KEY:
        raise KeyProblem(f"the key for release by mail has {len(key)} bytes; {LEAST_KEY} are needed")
    return key


def _mac(key: bytes, way: Way, gateway: str, held: str, recipient: str) -> str:
    text = "\0".join(("gatescan release", way, gateway.lower(), held, folded(recipient)))
    digest = hmac.digest(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256)
    return base64.b32encode(digest[:_MAC_BYTES]).decode("ascii").rstrip("=").lower()
