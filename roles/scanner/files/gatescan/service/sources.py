"""Who a message comes from, as far as fairness is concerned: one host, or one network of IPv6, is one source.

What a source may have in work at a time is bounded by its share, so that others need not wait for it.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

LOCAL = "local"
"""What was injected on this host."""
_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Source:
    """name: an IPv4 address, the first 64 bits of an IPv6 address, or LOCAL. relay: it may relay."""

    name: str
    relay: bool = False

    @property
    def number(self) -> int:
        """What stands for it in shared memory: 64 bits, never 0."""
        text = f"{self.name} {self.relay}".encode("utf-8", "surrogateescape")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") | 1

    def share(self, workers: int) -> int:
        """How many of so many workers it may hold with slow messages. A relay client speaks for a whole office."""
        return max(1, workers - 1 if self.relay else workers // 2)


def of(env: Mapping[str, str]) -> Source:
    """The source that the queue client's environment tells."""
    return Source(network(env.get("TCPREMOTEIP", "")), "RELAYCLIENT" in env)


def network(address: str) -> str:
    """An address's name as a source; LOCAL for an empty one, and what is no address stands for itself."""
    if not address:
        return LOCAL
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return address
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"
