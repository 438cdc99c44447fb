"""Who may connect and relay: the inventory's lists, read into one policy over all addresses.

Whether a client is denied or may relay is said by the most specific deny or relay entry that covers it;
at equal specificity deny wins. Environment is merged from the widest network to the narrowest.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cached_property

from gatekeeper import config

from gatewright.addresses import Address, Network, parse_network
from gatewright.problems import Problems, as_list, check_keys, entry_name, kind_of, suggest

CLIENTS, DENY, NETWORKS, DEFAULT_ENV = (
    "tcp_smtp_relay_clients",
    "tcp_smtp_deny",
    "tcp_smtp_networks",
    "tcp_smtp_default_env",
)
_KEYS = {
    CLIENTS: {"address", "comment", "env", "senders"},
    DENY: {"address", "comment"},
    NETWORKS: {"address", "comment", "env"},
}
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SENDERS = "RELAYSENDERS"
"""For whom a relay client sends, as the scanner's queue client reads it."""
_QUOTES = "\"'/|~!%^`"
_LOOPBACK: tuple[Network, ...] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
# Limits of a session, of our patch to qmail-smtpd.
_LIMITS = ("MAXRCPT", "MAXSESSION", "MAXERRORS", "MAXCOMMANDS")
_KNOWN = ("DATABYTES", "QMAILQUEUE", "RELAYCLIENT", "SMTPPOLICY", "STARTTLS", SENDERS, *_LIMITS)
_SLIP = 0.85
"""Similarity above which a name is taken for a misspelling of these; others are for a site's own programs."""
STARTTLS_POLICIES = ("optional", "required", "never")
# Shorter relay prefixes than these are taken for a slip that would make an open relay; private space is excepted.
_WIDEST_RELAY = {4: 16, 6: 32}
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
    )
)
MOST_BYTES = 4_000_000_000
"""What qmail-smtpd counts to."""
_PROGRAM = re.compile(r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+")
# What tcpserver says of each client, and what changes how programs are found and loaded.
_NOT_OURS = re.compile(r"TCP[A-Z0-9]*|PROTO|PATH|IFS|LD_[A-Z_]*")

Env = dict[str, str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What tcpserver does with a client: refuse it, or run qmail-smtpd with more environment."""

    deny: bool
    env: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """The instructions of a tcprules line."""
        if self.deny:
            return "deny"
        return "allow" + "".join(f",{name}={_quoted(value)}" for name, value in self.env)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the inventory. access: relay, deny or None (environment only). senders: for whom (none: whoever)."""

    network: Network
    access: str | None
    env: Env
    comment: str
    where: str
    variable: str
    senders: tuple[str, ...] = ()

    def covers(self, other: Network) -> bool:
        """Whether every address of `other` is one of this entry's."""
        return _is_within(other, self.network)


def _is_within(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # same version, same type
    )


def _quoted(value: str) -> str:
    """A value between a pair of characters that it does not contain."""
    quote = next(quote for quote in _QUOTES if quote not in value)
    return f"{quote}{value}{quote}"


@dataclass(frozen=True)
class Policy:
    """All entries, deny last so that it wins over its equals, and the environment of every client."""

    entries: tuple[Entry, ...]
    default_env: Env

    @cached_property
    def _by_network(self) -> dict[Network, list[Entry]]:
        found: dict[Network, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.network, []).append(entry)
        return found

    @cached_property
    def _lengths(self) -> dict[int, list[int]]:
        """By IP version, the prefix lengths in use, widest network first."""
        return {
            version: sorted({network.prefixlen for network in self._by_network if network.version == version})
            for version in (4, 6)
        }

    def covering(self, target: Network | Address) -> list[Entry]:
        """The entries that cover an address or a whole network, widest first; of equals, as in `entries`."""
        network = target if isinstance(target, Network) else ipaddress.ip_network(target)
        found: list[Entry] = []
        for length in self._lengths[network.version]:
            if length <= network.prefixlen:
                found += self._by_network.get(network.supernet(new_prefix=length), [])
        return found

    def decide(self, target: Network | Address) -> Decision:
        """The decision for an address, or for a network as far as no narrower entry changes it."""
        return self._decision(self.covering(target))

    def above(self, entry: Entry) -> Decision:
        """The decision that holds around an entry: that of the narrowest wider network."""
        return self._decision([wider for wider in self.covering(entry.network) if wider.network != entry.network])

    @cached_property
    def default(self) -> Decision:
        """The decision for clients that no entry covers."""
        return self._decision([])

    def holds(self, entry_network: Network, inner: Network | Address) -> bool:
        """Whether the decision for a network still holds for the whole or part `inner` of it."""
        decision = self.decide(entry_network)
        narrower = [e for e in self.covering(inner) if e.network.prefixlen > entry_network.prefixlen]
        return all(self.decide(entry.network) == decision for entry in narrower)

    def _decision(self, covering: list[Entry]) -> Decision:
        access = [entry.access for entry in covering if entry.access]
        if access and access[-1] == "deny":
            return Decision(deny=True)
        env: Env = {"RELAYCLIENT": ""} if access else {}
        env.update(self.default_env)
        for entry in covering:
            if entry.access == "relay":
                env["RELAYCLIENT"] = ""  # a wider entry's suffix is not this one's, nor are its senders
                env.pop(SENDERS, None)
                env.update({SENDERS: " ".join(entry.senders)} if entry.senders else {})
            env.update(entry.env)
        return Decision(deny=False, env=tuple(env.items()))


def read_policy(
    clients: object, deny: object, networks: object, default_env: object, local_relay: bool = True
) -> Policy:
    """Read the four variables; local_relay: whether this host itself may relay by SMTP.

    Raises InventoryError with every problem in any of them.
    """
    problems = Problems()
    local = "relay" if local_relay else None
    entries = [Entry(network, local, {}, "this host", "loopback", "") for network in _LOOPBACK]
    for variable, access, value in ((CLIENTS, "relay", clients), (NETWORKS, None, networks), (DENY, "deny", deny)):
        entries += _read_list(problems, variable, access, value)
    env = _read_env(problems, DEFAULT_ENV, {} if default_env is None else default_env, relay=False)
    _check_same_network(problems, entries)
    problems.raise_if_any()
    return Policy(tuple(entries), env)


def _read_list(problems: Problems, variable: str, access: str | None, value: object) -> list[Entry]:
    found: dict[Network, Entry] = {}
    for index, item in enumerate(as_list(problems, variable, value)):
        entry = _read_entry(problems, variable, access, index, item)
        if entry is None:
            continue
        earlier = found.setdefault(entry.network, entry)
        if earlier is not entry:
            problems.add(entry.where, f"is a duplicate of {earlier.where}")
    return list(found.values())


def _read_entry(problems: Problems, variable: str, access: str | None, index: int, item: object) -> Entry | None:
    where = entry_name(variable, index, item.get("address") if isinstance(item, dict) else item)
    if isinstance(item, str):
        item = {"address": item}
    if not isinstance(item, dict):
        problems.add(where, f"must be an address or a mapping with address, not {kind_of(item)}")
        return None
    known = check_keys(problems, where, item, _KEYS[variable])
    comment = "" if item.get("comment") is None else item["comment"]
    if not isinstance(comment, str) or not comment.isprintable():
        problems.add(where, "comment must be one line of text")
        known = False
    given = {} if item.get("env") is None else item["env"]
    env = _read_env(problems, where, given, relay=access == "relay")
    if variable == NETWORKS and given == {} and known:
        problems.add(where, "needs env, the environment for this network")
    if "address" not in item:
        problems.add(where, "needs address")
        return None
    try:
        network = parse_network(item["address"])
    except ValueError as error:
        problems.add(where, str(error))
        return None
    _check_reach(problems, where, access, network)
    senders = _read_senders(problems, where, item["senders"]) if known and "senders" in item else ()
    return Entry(network, access, env, comment if known else "", where, variable, senders)


def _read_senders(problems: Problems, where: str, value: object) -> tuple[str, ...]:
    """gatekeeper's own parser knows what a sender is."""
    found: set[str] = set()
    for item in value if isinstance(value, list) and value else [None]:
        try:
            found |= config.senders("senders", value if item is None else [item])
        except config.ConfigError as error:
            problems.add(where, str(error))
    wrong = _env_problem("senders", " ".join(found), relay=True)
    if wrong:
        problems.add(where, wrong)
    return tuple(sorted(found))


def _check_reach(problems: Problems, where: str, access: str | None, network: Network) -> None:
    """Refuse what would make an open relay or cut the gateway off from itself."""
    is_private = any(_is_within(network, known) for known in _PRIVATE)
    widest = _WIDEST_RELAY[network.version]
    if access == "relay" and network.prefixlen < widest and not is_private:
        problems.add(
            where,
            f"would let {network.num_addresses} public addresses relay, more than a /{widest}: that is an open relay",
        )
    if access == "deny":
        for loopback in _LOOPBACK:
            if _is_within(network, loopback):
                problems.add(where, "is this host's own loopback address, which must be able to send mail")


def _read_env(problems: Problems, where: str, value: object, *, relay: bool) -> Env:
    """Read an environment; only a relay client may have RELAYCLIENT in it."""
    env: Env = {}
    if not isinstance(value, dict):
        problems.add(where, f"env must be a mapping of names to values, not {kind_of(value)}")
        return env
    for name, content in value.items():
        if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
            problems.add(where, f"env: {name!r} is not a name of an environment variable")
            continue
        if isinstance(content, bool) or not isinstance(content, str | int):
            what = content if isinstance(content, float) else kind_of(content)
            problems.add(where, f"env: {name} must be a string or a whole number, not {what}")
            continue
        text = str(content)
        wrong = _env_problem(name, text, relay)
        if wrong:
            problems.add(where, f"env: {wrong}")
        env[name] = text
    return env


def _env_problem(name: str, text: str, relay: bool) -> str:
    if not text.isprintable() or not text.isascii():
        return f"{name} must be printable ASCII on one line"
    if all(quote in text for quote in _QUOTES):
        return f"{name} contains every character that could quote it"
    if name not in _KNOWN and (meant := suggest(name.upper(), _KNOWN, _SLIP)):
        return f"{name} is nothing that qmail-smtpd reads{meant}"
    if name == SENDERS:
        return f"{SENDERS} comes of senders: name them there"
    if name == "RELAYCLIENT" and not relay:
        return f"RELAYCLIENT would let these clients relay; list them in {CLIENTS}"
    if _NOT_OURS.fullmatch(name):
        return f"{name} is tcpserver's own, or changes which programs run"
    if name == "DATABYTES" and not (text.isdecimal() and 0 < int(text) <= MOST_BYTES):
        return f"DATABYTES must be a number of bytes, {MOST_BYTES} at most, not {text!r}"
    if name in _LIMITS and not (text.isdecimal() and int(text) < 2**31):
        return f"{name} must be a number (0: no limit), not {text!r}"
    if name == "QMAILQUEUE" and not _PROGRAM.fullmatch(text):
        return f"QMAILQUEUE must be the absolute path of a program, without blanks, not {text!r}"
    if name == "SMTPPOLICY" and not _PROGRAM.fullmatch(text):
        return f"SMTPPOLICY must be the absolute path of a socket, not {text!r}"
    if name == "STARTTLS" and text not in STARTTLS_POLICIES:
        return f"STARTTLS must be {', '.join(STARTTLS_POLICIES)}, not {text!r}"
    return ""


def _check_same_network(problems: Problems, entries: list[Entry]) -> None:
    """Two lists may name one network, unless they give one environment variable two values."""
    seen: dict[tuple[Network, str], Entry] = {}
    for entry in entries:
        for name, value in entry.env.items():
            other = seen.setdefault((entry.network, name), entry)
            if other.env[name] != value:
                problems.add(entry.where, f"env: {name} is {value!r} here and {other.env[name]!r} in {other.where}")
