"""The lab's hosts, networks and addresses: one private network with two sides of a company's gateways."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CACHE = PROJECT / ".cache" / "lab"
KEY = CACHE / "id_ed25519"

NUMBER = int(os.environ.get("GATEWRIGHT_LAB_NUMBER", "70"))
"""The lab's number, 2 to 254: labs with different numbers can stand side by side."""

VIRTUAL = tuple(os.environ.get("GATEWRIGHT_LAB_VIRTUAL", "").split())
"""Gateways that are virtual machines with a kernel of their own (lab.vm), in place of containers of the same name."""

NETWORK = f"gatewright-{NUMBER}"
NET4 = f"10.89.{NUMBER}"
NET6 = f"fd00:89:{NUMBER}:"


@dataclass(frozen=True)
class Host:
    """A booted systemd container.

    octet: its address in the lab's networks (10.89.N.octet and fd00:89:N::octet).
    image: gateway (plain Debian) or peer (mail server, name server, probes).
    extra: further octets, for tests that speak from several addresses.
    """

    name: str
    octet: int
    image: str
    suite: str
    domain: str
    extra: tuple[int, ...] = ()
    capabilities: tuple[str, ...] = field(default=("NET_ADMIN",))

    @property
    def container(self) -> str:
        """The container's name on the machine."""
        return f"{NETWORK}-{self.name}"

    @property
    def is_virtual(self) -> bool:
        """Whether it is a virtual machine, not a container."""
        return self.name in VIRTUAL

    @property
    def mac(self) -> str:
        """A fixed hardware address: after a reboot the neighbours still know it."""
        return f"92:d0:00:00:{NUMBER:02x}:{self.octet:02x}"

    @property
    def fqdn(self) -> str:
        """The name that the lab's DNS knows it by."""
        return f"{self.name}.{self.domain}"

    @property
    def ipv4(self) -> str:
        """Its first IPv4 address."""
        return f"{NET4}.{self.octet}"

    @property
    def ipv6(self) -> str:
        """Its first IPv6 address."""
        return f"{NET6}:{self.octet}"


HOSTS = (
    Host("dns", 53, "peer", "trixie", "lab.test"),
    Host("office", 21, "peer", "trixie", "corp.test", extra=(22, 24)),
    Host("outside", 31, "peer", "trixie", "world.test"),
    Host("gw1", 11, "gateway", "trixie", "corp.test"),
    Host("gw2", 12, "gateway", "bookworm", "corp.test"),
)


def select(names: list[str]) -> list[Host]:
    """Return the named hosts, or all; raise KeyError on a name that is none."""
    known = {host.name: host for host in HOSTS}
    return [known[name] for name in names] if names else list(HOSTS)
