"""The daemon's configuration: one JSON file, every key of which is known and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatepost.gatesettings import ConfigError as ConfigError
from gatepost.gatesettings import build, join, mapping, read

TLS_LEVELS = ("never", "optional", "required", "verified")
FAMILIES = ("ipv4", "ipv6")


@dataclass(frozen=True, slots=True)
class Config:
    """What the administrator sets. Times are seconds, sizes bytes."""

    home: Path = Path("/var/qmail")
    """qmail's directory: control files of routes, and the table of hosts that time out."""
    socket: Path = Path("/run/gatepost/gatepost.sock")
    clients: tuple[int, ...] = ()
    """Users (by number) who may hand over mail; nobody else is answered. Empty: the daemon's own user."""
    name_server: str = "127.0.0.1"
    name_server_port: int = 53
    is_validating: bool = False
    """Whether the name server validates DNSSEC, so that its AD flag counts: without it there is no DANE."""
    sts_socket: str = ""
    """Where a policy daemon for MTA-STS answers socketmap questions: a path, or empty for no MTA-STS."""
    signer: str = ""
    """The signer's socket (signer.py); empty: mail is not signed."""
    prefer: str = "ipv4"
    """The family that is tried first: ipv4 or ipv6."""
    is_ipv6_used: bool = True
    helo: Mapping[str, str] = field(default_factory=dict)
    """The name in EHLO by family, where it is not control/helohost's or control/me's."""
    domains: Mapping[str, str] = field(default_factory=dict)
    """What holds for mail by MX: a domain, or `.domain` for all below it, to never, optional, required or verified."""
    authorities: str = "/etc/ssl/certs/ca-certificates.crt"
    """Who is trusted where a server of MX must prove its name."""
    port: int = 25
    own_addresses: tuple[str, ...] = ()
    """Addresses of this host that its interfaces do not have, behind a NAT. A domain that leads to them is a loop."""
    timeouts_descriptor: int = 0
    """The descriptor of qmail's table of hosts that time out, which the run script opens as root; 0: by its path."""
    takes_loopback: bool = False
    """Whether a domain's server may be on loopback (for tests). Else it is this host, and mail would go round."""
    head_start: float = 1.0
    """How long one address may take to connect before the next one is tried beside it."""
    deadline: float = 7200.0
    """How long one delivery may take in all."""
    deliveries: int = 120
    """Deliveries at once; who comes beyond is told to try again."""
    per_host: int = 20
    """Connections at once to one server, which all its addresses are."""
    waiting_per_host: int = 10
    """Deliveries that may wait for a connection to a slow address; who comes beyond is told to try again."""
    patience_per_host: float = 10.0
    """An address for whose connections somebody waited longer is slow, one that owes an answer for longer silent."""
    listening_per_host: int = 5
    """Deliveries that may listen to a silent address; others try the domain's next server, or are told to try again."""
    stalled: int = 30
    """Deliveries that may wait for others' servers without coming on; who would be one more is told to try again."""
    reuse_seconds: float = 5.0
    """How long a connection is kept for the next message; 0: not at all."""
    reuse_messages: int = 100
    """Messages over one connection."""
    back_off: float = 60.0
    """How long an address is left alone that said 421 or 4.7.x."""
    confined: bool = True
    """Whether workers shut themselves in (fence.py); false is for who looks for a fault."""
    journal: str = ""
    """File that gets one JSON line a delivery; empty: none."""
    tls_counts: str = ""
    """Folder in which is counted how TLS with other domains went, for the daily reports; empty: nothing is."""
    reporter: int = 0
    """The user (by number) whose mail is these reports, to which no policy of a domain applies; 0: nobody's."""
    organization: str = ""
    """Who reports."""
    contact: str = ""
    """The address that reports are from."""


def load(path: Path) -> Config:
    """Read the configuration; raise ConfigError naming the file, the key and what is wrong."""
    return read(path, parse)


def parse(data: object) -> Config:
    """A configuration of a JSON object; raise ConfigError naming the key."""
    config = build(Config, data, own={"helo": _texts, "domains": _texts})
    _check(config)
    return config


def _texts(key: str, value: object) -> dict[str, str]:
    """Texts by names, which are compared without case."""
    items = mapping(key, value).items()
    for name, text in items:
        if not isinstance(text, str):
            raise ConfigError(join(key, name), "a string is needed here")
    return {name.lower(): text for name, text in items}


def _check(config: Config) -> None:
    for domain, level in config.domains.items():
        if level not in TLS_LEVELS:
            raise ConfigError(f"domains.{domain}", f"must be one of {', '.join(TLS_LEVELS)}, not {level!r}")
    for name in ("home", "socket"):
        if not getattr(config, name).is_absolute():
            raise ConfigError(name, "must be a whole path, from / on")
    for name in ("port", "name_server_port", "deliveries", "per_host", "reuse_messages"):
        if getattr(config, name) < 1:
            raise ConfigError(name, "must be above 0")
    if not config.patience_per_host:
        raise ConfigError("patience_per_host", "must be above 0")
    if config.prefer not in FAMILIES:
        raise ConfigError("prefer", f"must be ipv4 or ipv6, not {config.prefer!r}")
    for family in config.helo:
        if family not in FAMILIES:
            raise ConfigError(f"helo.{family}", "must be ipv4 or ipv6")
