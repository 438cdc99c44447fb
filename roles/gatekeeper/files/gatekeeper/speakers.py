"""For whom relay clients may speak, and which domains are our own."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatekeeper.addresses import IPAddress, covering, in_ascii, split
from gatekeeper.listfile import Stamp, stamp_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
NO_SENDER = ("", "#@[]")
"""The null sender, and that of qmail's double bounces: whoever sends mail must be able to send these."""


class HalfWritten(Exception):
    """A control file that cannot be used now."""


class Speakers:
    """Envelope senders of relay clients, by network; the narrowest network that has a client counts."""

    def __init__(self, senders: Mapping[Network, frozenset[str]]) -> None:
        self._senders = senders
        lengths = {(network.version, network.prefixlen) for network in senders}
        self._lengths = sorted(lengths, reverse=True)

    def may(self, client: IPAddress | None, sender: str) -> bool:
        """Whether a relay client may send mail in a sender's name."""
        allowed = self._allowed(client)
        if not allowed or sender in NO_SENDER:
            return True
        local, domain = split(sender)
        return f"{local}@{domain}" in allowed or any(name in allowed for name in covering(domain))

    def _allowed(self, client: IPAddress | None) -> frozenset[str]:
        for version, length in self._lengths if client else ():
            if client and client.version == version:
                network: Network = ipaddress.ip_network((client, length), strict=False)
                if network in self._senders:
                    return self._senders[network]
        return frozenset()


@dataclass(slots=True)
class OwnDomains:
    """The domains whose mail qmail-smtpd takes from anybody: control/rcpthosts and control/morercpthosts."""

    home: Path
    read: list[Stamp | None] = field(default_factory=list)
    names: frozenset[str] = frozenset()

    def has(self, domain: str) -> bool:
        """Whether a domain is one of them, no domain at all too; raise HalfWritten."""
        files = [self.home / "control" / name for name in ("rcpthosts", "morercpthosts")]
        stamps = [stamp_of(file) for file in files]
        if stamps != self.read:
            self.names = frozenset(name for file in files for name in _lines(file))
            self.read = stamps
        return not domain or any(name in self.names for name in covering(domain))


def _lines(path: Path) -> list[str]:
    """The names in a control file, none if it is not there; raise HalfWritten."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeError) as error:
        raise HalfWritten(f"{path}: {error}") from None
    if text and not text.endswith("\n"):
        raise HalfWritten(f"{path} is half-written: its last line has no end")
    return [in_ascii(line.strip()) for line in text.splitlines() if line.strip() and not line.startswith("#")]
