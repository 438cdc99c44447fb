"""The daemon's configuration: one JSON file, every key of which is known and checked."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gatekeeper.addresses import AddressError, in_ascii, is_domain, parse_entry
from gatekeeper.gatesettings import ConfigError as ConfigError
from gatekeeper.gatesettings import Parser, build, listing, mapping, read
from gatekeeper.names import name_of
from gatekeeper.table import make_table

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
WHO = ("client", "sender")
WHAT = ("messages", "recipients")
PERIODS = ("minute", "day")
MOST = 10**9
WIDEST = {4: 8, 6: 16}
"""The shortest prefix of a network that somebody could have, by the version of IP."""
_SITES = ipaddress.IPv6Network("fc00::/7")
"""What sites number themselves from (RFC 4193): nobody outside has an address of it."""
_LOOPBACK = ipaddress.IPv4Network("127.0.0.0/8")
ERROR_CODES = ipaddress.IPv4Network("127.255.255.0/24")
"""What DNS lists answer when they do not want to be asked: never a verdict on a client."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a domain's recipients are known. kind: list, file, callout or any. entries: addresses, or local parts."""

    kind: str
    entries: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """What may come in a minute and in a day; None: any number."""

    minute: int | None = None
    day: int | None = None


@dataclass(frozen=True, slots=True)
class DnsList:
    """Which answers of a list count, and how much."""

    codes: tuple[ipaddress.IPv4Network, ...]
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Config:
    """What the administrator sets. Times are seconds."""

    home: Path = Path("/var/qmail")
    """qmail's directory: the routes and this host's name."""
    socket: Path = Path("/run/gatekeeper/policy.sock")
    state: Path = Path("/var/lib/gatekeeper/state.sqlite")
    authentication: bool = False
    """Whether the scanner's queue client may ask who a message is from."""
    authentication_socket: Path = Path("/run/gatekeeper/authentication.sock")
    own_domains: tuple[str, ...] = ()
    """The site's: in their name nobody outside may write without a proof; `.domain` is all below it."""
    may_spoof: tuple[Network | str, ...] = ()
    """Who may: networks, and domains for which SPF or DKIM speak."""
    forwarders: tuple[str, ...] = ()
    """Domains whose seals (ARC) are believed."""
    protected_names: tuple[str, ...] = ()
    """Names of people: whoever writes under one of them from an address that is not the site's is told apart."""
    dmarc_counts: str = ""
    """Folder in which is counted what DMARC said, for the daily reports; empty: nothing is."""
    organization: str = ""
    """Who reports."""
    contact: str = ""
    """The address that reports are from."""
    metrics: Path = Path("/run/gatekeeper/gatekeeper.prom")
    """Figures in Prometheus' text format."""
    clients: tuple[int, ...] = ()
    """Users (by number) who may ask, besides root and the daemon's own."""
    name_server: str = "127.0.0.1"
    name_server_port: int = 53
    connections: int = 1000
    """Connections at once; who comes beyond is not answered."""
    patience: float = 20.0
    """How long a question may take; less than the 30 that qmail-smtpd waits."""
    recipients: Mapping[str, Rule] = field(default_factory=dict)
    """How recipients are known, by domain, or `.domain` for all below it."""
    list_loss: int = 50
    """Percent of its addresses that a file of recipients may lose at once; one that lost more is not taken."""
    look_seconds: float = 2.0
    """Between two looks at files of recipients; one that has changed since the last look is left alone for so long."""
    delimiter: str = "+"
    """What stands between a mailbox's name and a tag; empty: there are no tags."""
    callout_seconds: float = 10.0
    """How long a route's server may take."""
    callout_at_once: int = 5
    """Questions at once to one server."""
    positive_seconds: float = 86_400.0
    """How long a server's yes is believed."""
    negative_seconds: float = 900.0
    """How long a server's no is believed: a new mailbox has its first mail no later."""
    guesses: int = 30
    """Unknown recipients from one address within guess_seconds, after which the door is closed to it; 0: any number."""
    guess_seconds: float = 600.0
    closed_seconds: float = 900.0
    relay_senders: Mapping[Network, frozenset[str]] = field(default_factory=dict)
    """Relay clients by network, to whom they may send mail for: domains, `.domain`, addresses; whoever if empty."""
    limits: Mapping[str, Rate] = field(default_factory=dict)
    """What relay clients may send: `client.messages`, `client.recipients`, `sender.messages`, `sender.recipients`."""
    burst_minutes: int = 10
    """For how many minutes' worth of messages a client that was quiet may send at once."""
    dns_lists: Mapping[str, DnsList] = field(default_factory=dict)
    dns_threshold: int = 1
    """The sum of weights from which on a client is refused."""
    dns_seconds: float = 5.0
    """How long the lists may take; a list that has not answered then has no say."""
    confined: bool = True
    """Whether the worker shuts itself in (fence.py); false is for who looks for a fault."""


def load(path: Path) -> Config:
    """Read the configuration; raise ConfigError naming the file, the key and what is wrong."""
    return read(path, parse)


def parse(data: object) -> Config:
    """A configuration of a JSON object; raise ConfigError naming the key."""
    config = build(Config, data, own=_OWN)
    for item in fields(config):
        _check(item.name, getattr(config, item.name))
    return config


def _check(key: str, value: object) -> None:
    if isinstance(value, Path) and not value.is_absolute():
        raise ConfigError(key, "must be a whole path, from / on")
    if type(value) in (int, float) and not (key in _MAY_BE_ZERO or value):
        raise ConfigError(key, "must be above 0")
    if isinstance(value, int | float) and value > MOST:
        raise ConfigError(key, f"must not be above {MOST}")


def _domains(key: str, value: object) -> tuple[str, ...]:
    return tuple(domain(key, item) for item in listing(key, value))


def domain(where: str, value: object) -> str:
    """A domain, or `.domain`, as it is compared; raise ConfigError."""
    name = in_ascii(value) if isinstance(value, str) else ""
    if not is_domain(name.removeprefix(".")):
        raise ConfigError(where, f"{value!r} is no domain, nor .domain for all below it")
    return name


def _may_spoof(key: str, value: object) -> tuple[Network | str, ...]:
    return tuple(network_or_domain(key, item) for item in listing(key, value))


def network_or_domain(where: str, value: object) -> Network | str:
    """An address, a network or a domain; raise ConfigError."""
    text = value if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9.]+(/[0-9]+)?|[0-9a-f:.]*:[0-9a-f:.]*(/[0-9]+)?", text, re.IGNORECASE):
        return domain(where, value)
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(where, str(error)) from None
    if network.prefixlen < WIDEST[network.version] and network != _SITES:
        raise ConfigError(where, f"{text} has {network.num_addresses} addresses: nearly everybody would be let through")
    return network


def _protected_names(key: str, value: object) -> tuple[str, ...]:
    return tuple(person(key, item) for item in listing(key, value))


def person(where: str, value: object) -> str:
    """A name of at least two words: one alone is half the world's; raise ConfigError."""
    if not isinstance(value, str) or not value.isprintable() or "@" in value or not _is_name(name_of(value).words):
        raise ConfigError(where, f"{value!r} is not a person's first name and surname")
    return value


def _is_name(words: tuple[str, ...]) -> bool:
    """Whether words can be a person's name: initials alone are in half of all names."""
    return len(words) > 1 and any(len(word) > 1 or not word.isascii() for word in words)


def _delimiter(key: str, value: object) -> str:
    if value == "" or (isinstance(value, str) and len(value) == 1 and value in "+-=_#"):
        return value
    raise ConfigError(key, "must be one of + - = _ #, or nothing")


def _percent(key: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= 100:
        raise ConfigError(key, f"must be a number from 0 to 100, of percent, not {value!r}")
    return value


def _recipients(key: str, value: object) -> dict[str, Rule]:
    found = {in_ascii(name): rule(f"{key}.{name}", item) for name, item in mapping(key, value).items()}
    for name, item in found.items():
        if names_nobody(name, item):
            raise ConfigError(f"{key}.{name}.list", f"has no address at {name}; nobody would have mail")
    return found


def names_nobody(domain: str, found: Rule) -> bool:
    """Whether a list has no address at its own domain."""
    return found.kind == "list" and not make_table(found.entries)[0].serves(domain)


def rule(where: str, value: object) -> Rule:
    """How the recipients of a domain are known; raise ConfigError."""
    if value == "any":
        return Rule("any")
    if isinstance(value, dict) and len(value) == 1:
        ((kind, item),) = value.items()
        if kind == "callout" and item is True:
            return Rule("callout")
        if kind == "file" and isinstance(item, str) and item.startswith("/") and not item.endswith("/"):
            return Rule("file", file=item)
        if kind == "list":
            return Rule("list", entries=_entries(f"{where}.list", item))
    # by its keys alone: one of them may be a directory's password
    given = f"a mapping of {', '.join(map(str, value))}" if isinstance(value, dict) else repr(value)
    raise ConfigError(where, f"must be any, or one of list: [...], file: /path, callout: true, ldap: ...; not {given}")


def _entries(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(where, "must be a list of addresses that is not empty; nobody would have mail")
    for item in value:
        try:
            parse_entry(item if isinstance(item, str) else "")
        except AddressError as error:
            raise ConfigError(where, f"{item!r} {error}") from None
    return tuple(value)


def _relay_senders(key: str, value: object) -> dict[Network, frozenset[str]]:
    found: dict[Network, frozenset[str]] = {}
    for name, items in mapping(key, value).items():
        try:
            network = ipaddress.ip_network(name)
        except ValueError as error:
            raise ConfigError(key, str(error)) from None
        found[network] = senders(f"{key}.{name}", items) if items != [] else frozenset()
    return found


def senders(where: str, value: object) -> frozenset[str]:
    """For whom a relay client may send, in the form in which senders are compared; raise ConfigError."""
    if not isinstance(value, list) or not value:
        raise ConfigError(where, "must be a list of domains and addresses that is not empty")
    return frozenset(_sender(where, item) for item in value)


def _sender(where: str, value: object) -> str:
    text = value if isinstance(value, str) else ""
    local, at, domain = text.rpartition("@")
    try:
        found, name = parse_entry(text if local else f"x@{domain.removeprefix('.')}")
    except AddressError as error:
        raise ConfigError(where, f"{value!r} {error}") from None
    if (at and not local) or not name:
        raise ConfigError(where, f"{value!r} is neither a domain, nor .domain for all below it, nor an address")
    return f"{found}@{name}" if local else ("." if domain.startswith(".") else "") + name


def _limits(key: str, value: object) -> dict[str, Rate]:
    found = {}
    for who, measures in mapping(key, value).items():
        if who not in WHO:
            raise ConfigError(f"{key}.{who}", f"unknown; there are {' and '.join(WHO)}")
        for what, rates in _some(f"{key}.{who}", measures).items():
            where = f"{key}.{who}.{what}"
            if what not in WHAT:
                raise ConfigError(where, f"unknown; there are {' and '.join(WHAT)}")
            found[f"{who}.{what}"] = Rate(**_periods(where, rates))
    return found


def _some(where: str, value: object) -> dict[str, Any]:
    found = mapping(where, value)
    if not found:
        raise ConfigError(where, "says nothing; for no limit leave it out")
    return found


def _periods(where: str, value: object) -> dict[str, int]:
    rates = _some(where, value)
    for period, number in rates.items():
        if period not in PERIODS:
            raise ConfigError(f"{where}.{period}", f"unknown; there are {' and '.join(PERIODS)}")
        if type(number) is not int or not 0 < number <= MOST:
            raise ConfigError(
                f"{where}.{period}", f"must be a number from 1 on, not {number!r}; for no limit leave it out"
            )
    return rates


def _dns_lists(key: str, value: object) -> dict[str, DnsList]:
    found = {}
    for zone, item in mapping(key, value).items():
        name = in_ascii(zone)
        if not is_domain(name):
            raise ConfigError(f"{key}.{zone}", "is no domain")
        found[name] = dns_list(f"{key}.{zone}", item)
    return found


def dns_list(where: str, value: object) -> DnsList:
    """A list's codes and weight; raise ConfigError."""
    items = mapping(where, value)
    codes, weight = items.get("codes"), items.get("weight", 1)
    if items.keys() - {"codes", "weight"} or not isinstance(codes, list) or not codes:
        raise ConfigError(where, "must be a mapping of codes, a list that is not empty, and weight")
    if type(weight) is not int or not 0 < weight <= MOST:
        raise ConfigError(f"{where}.weight", f"must be a number from 1 on, not {weight!r}")
    return DnsList(tuple(_code(f"{where}.codes", item) for item in codes), weight)


def _code(where: str, value: object) -> ipaddress.IPv4Network:
    try:
        code = ipaddress.IPv4Network(value if isinstance(value, str) else "")
    except ValueError:
        raise ConfigError(where, f"{value!r} is not an address such as 127.0.0.2, nor a network of them") from None
    if not code.subnet_of(_LOOPBACK) or code.overlaps(ERROR_CODES):
        raise ConfigError(where, f"{value!r} is no verdict: those are in 127.0.0.0/8, but not in {ERROR_CODES}")
    return code


_MAY_BE_ZERO = ("guesses", "list_loss")
_OWN: dict[str, Parser] = {
    "own_domains": _domains,
    "may_spoof": _may_spoof,
    "forwarders": _domains,
    "protected_names": _protected_names,
    "delimiter": _delimiter,
    "list_loss": _percent,
    "recipients": _recipients,
    "relay_senders": _relay_senders,
    "limits": _limits,
    "dns_lists": _dns_lists,
}
