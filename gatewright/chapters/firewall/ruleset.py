"""The gateway's policy as rules, which the template etc/nftables.conf.j2 lays out, and what is read from the host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypedDict

from gatewright.addresses import Network, parse_network
from gatewright.problems import InventoryError, Problems, entry_name

MOST_COMMENT = 128
"""Bytes."""
COMMENT = re.compile(r"[\w .,:;()/+@=-]{0,100}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
INBOUND_KEYS = {"port", "ports", "proto", "networks", "admin", "rate", "comment"}
OUTBOUND_KEYS = {"user", "uid", "port", "ports", "proto", "networks", "optional", "comment"}
LOOPBACK_KEYS = {"user", "uid", "port", "ports", "proto", "comment"}
FLAGS = {"admin", "optional"}
RATE_KEYS = {"new_per_minute", "burst", "concurrent"}
POLICY_KEYS = {
    "from_roles",
    "own",
    "inbound",
    "outbound",
    "admin_networks",
    "rates",
    "user_ids",
    "dhcp_client",
    "log_per_minute",
}
BOOTSTRAP_USERS = ("root", "_apt", "systemd-resolve")
PREFIX6 = "ip6 saddr & ffff:ffff:ffff:ffff::"


class Rate(TypedDict):
    """The limit of each source under one name."""

    name: str
    new: int
    burst: int
    concurrent: int


class Rules(TypedDict):
    """What the template etc/nftables.conf.j2 lays out: rules, each a line of a chain."""

    inbound: list[str]
    outbound: list[str]
    loopback: list[str]
    rates: list[Rate]
    prefix6: str
    log: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What the host told: its users, packages, old resolvers, whether a DHCP client is at work."""

    users: dict[str, int] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    legacy: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    dhcp: bool = False


@dataclass(frozen=True, slots=True)
class Opening:
    """An entry of what is let in or out, and where it stands: `firewall_inbound[0] (web)`."""

    where: str
    value: Any


def openings(variable: str, value: Any) -> list[Opening]:
    """The entries of one list, each with its place in that list."""
    return [Opening(entry_name(variable, index, _title(item)), item) for index, item in enumerate(as_list(value))]


def _title(item: Any) -> Any:
    """What tells an entry from others in a message."""
    if not isinstance(item, Mapping):
        return item
    titles = (item.get(key) for key in ("comment", "port", "ports"))
    return next((title for title in titles if title not in (None, "", [], {})), dict(item))


def joined(policy: Mapping[str, Any], direction: str) -> list[Opening]:
    """The entries of the role itself, of other roles and of the site, each with the list that it stands in."""
    found = openings("the firewall's own", policy.get("own")) if direction == "outbound" else []
    for published in as_list(policy.get("from_roles")):
        origin = (
            published.get("origin", "firewall_from_roles") if isinstance(published, Mapping) else "firewall_from_roles"
        )
        found += openings(f"{origin}.{direction}", published.get(direction) if isinstance(published, Mapping) else [])
    return found + openings(f"firewall_{direction}", policy.get(direction))


def fail(where: str, problem: str) -> InventoryError:
    """Return the error that names an entry of the inventory."""
    return InventoryError([f"{where}: {problem}"])


def check_keys(where: str, entry: Any, known: set[str]) -> Mapping[str, Any]:
    """Return the entry if it is a mapping of known keys."""
    if not isinstance(entry, Mapping):
        raise fail(where, f"{entry!r} is not a mapping")
    if unknown := sorted(set(entry) - known):
        raise fail(where, f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return entry


def read_opening(where: str, value: Any, known: set[str]) -> Mapping[str, Any]:
    """Return an entry of which every key has a value: networks without one would mean everybody."""
    entry = check_keys(where, value, known)
    if empty := [key for key in entry if entry[key] is None]:
        raise fail(where, f"{empty[0]} has no value; leave the line away for what holds without it")
    for key in FLAGS & entry.keys():
        if not isinstance(entry[key], bool):
            raise fail(where, f"{key} must be true or false, not {entry[key]!r}")
    return entry


def as_list(value: Any) -> list[Any]:
    """Return a value as a list; nothing as an empty one."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def whole(where: str, name: str, value: Any, low: int, high: int) -> int:
    """Return a whole number within bounds."""
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)) or not low <= int(value) <= high:
        raise fail(where, f"{name} {value!r} is not a whole number from {low} to {high}")
    return int(value)


def ports_of(where: str, entry: Mapping[str, Any]) -> str:
    """Return the ports of an entry in nft's words: one, or a set of numbers and ranges."""
    wanted = as_list(entry.get("port")) + as_list(entry.get("ports"))
    if not wanted:
        raise fail(where, "names no port")
    found = []
    for item in wanted:
        ends = [whole(where, "port", end, 1, 65535) for end in str(item).split("-", 1)]
        if ends != sorted(ends):
            raise fail(where, f"port range {item!r} runs backwards")
        found.append("-".join(str(end) for end in ends))
    return braces(found)


def braces(items: Iterable[str]) -> str:
    """Return one item bare, several as an nft set."""
    unique = list(dict.fromkeys(items))
    return unique[0] if len(unique) == 1 else "{ " + ", ".join(unique) + " }"


def proto_of(where: str, entry: Mapping[str, Any]) -> str:
    """Return tcp or udp."""
    proto = str(entry.get("proto", "tcp"))
    if proto not in ("tcp", "udp"):
        raise fail(where, f"proto {proto!r} is neither tcp nor udp")
    return proto


def networks_of(where: str, values: Any) -> list[Network]:
    """Return networks of both families."""
    found: list[Network] = []
    for value in as_list(values):
        try:
            found.append(parse_network(value))
        except ValueError as error:
            raise fail(where, f"network {error}") from None
    return found


def matches(networks: Sequence[Network], side: str) -> list[str]:
    """Return a match for each family among the networks, overlaps merged; without any, one empty match."""
    if not networks:
        return [""]
    words = {4: "ip", 6: "ip6"}
    return [f"{words[family]} {side} {braces(names)} " for family, names in families(networks).items() if names]


def families(networks: Sequence[Network]) -> dict[int, list[str]]:
    """Return the networks by family, 4 and 6, overlaps merged."""
    four = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network))
    return {4: [str(n) for n in four], 6: [str(n) for n in six]}


def remark(where: str, entry: Mapping[str, Any], default: str = "") -> str:
    """Return an nft comment, or nothing."""
    text = entry.get("comment", default)
    if not isinstance(text, str):
        raise fail(where, f"comment must be one line of text, not {text!r}")
    text = text or default
    if len(text.encode()) > MOST_COMMENT:
        raise fail(where, f"comment is longer than {MOST_COMMENT} bytes, all that nft takes")
    if not COMMENT.fullmatch(text):
        raise fail(where, f"comment {text!r} has characters other than letters, digits, blanks and .,:;()/+@=-_")
    return f' comment "{text}"' if text else ""


def inbound_rule(where: str, value: Any, admin: Sequence[Network], rates: Iterable[str]) -> list[str]:
    """Return the rules of one entry of what other hosts may reach."""
    entry = read_opening(where, value, INBOUND_KEYS)
    networks = networks_of(where, entry.get("networks"))
    if not networks and entry.get("admin"):
        networks = list(admin)
    if "rate" in entry and entry["rate"] not in list(rates):
        raise fail(where, f"rate {entry['rate']!r} is not one of firewall_rates")
    verdict = f"goto limit_{entry['rate']}" if "rate" in entry else "accept"
    service = f"{proto_of(where, entry)} dport {ports_of(where, entry)}"
    note = remark(where, entry)
    return [f"{source}{service} {verdict}{note}" for source in matches(networks, "saddr")]


def inbound_rules(problems: Problems, policy: Mapping[str, Any]) -> list[str]:
    """Return the rules for what other hosts may reach."""
    admin = problems.collect(lambda: networks_of("firewall_admin_networks", policy.get("admin_networks"))) or []
    wanted = joined(policy, "inbound")
    if not wanted:
        problems.add("firewall_inbound", "is empty: nothing could reach this host, not even its administrator")
    rates = policy.get("rates") or {}
    return [
        rule
        for entry in wanted
        for rule in problems.collect(partial(inbound_rule, entry.where, entry.value, admin, rates)) or []
    ]


def uid_of(where: str, user: str, entry: Mapping[str, Any], ids: Mapping[str, Any], host: Survey) -> int | None:
    """Return a user's number: the entry's, the host's, or that which a role will give it; None if it need not exist."""
    if user.isdigit():
        return int(user)
    present = host.users.get(user)
    if entry.get("uid") is not None:
        number = whole(where, f"uid of {user}", entry["uid"], 0, 2**32 - 2)
        if present is not None and present != number:
            raise fail(where, f"user {user} is {number} in the inventory, but {present} on the host")
        return number
    if present is None and ids.get(user) is not None:
        return whole(where, f"uid of {user}", ids[user], 0, 2**32 - 2)
    if present is None and not entry.get("optional"):
        raise fail(where, f"user {user} does not exist on the host; give its number as uid in this entry")
    return present


def users_of(where: str, entry: Mapping[str, Any]) -> list[str]:
    """Return the users of an entry, names or numbers."""
    found = as_list(entry.get("user"))
    if not found:
        raise fail(where, "names no user")
    for user in found:
        if isinstance(user, bool) or not isinstance(user, str | int) or not USER.fullmatch(str(user)):
            raise fail(where, f"user {user!r} is neither the name of a user nor a number")
        if str(user).isdigit():
            whole(where, "user", user, 0, 2**32 - 2)
    return [str(user) for user in found]


def way_out(where: str, value: Any) -> tuple[list[str], list[str]]:
    """Return the users of one entry of what this host's users may reach, and the ends of its rules."""
    entry = read_opening(where, value, OUTBOUND_KEYS)
    users = users_of(where, entry)
    if "uid" in entry:
        whole(where, "uid", entry["uid"], 0, 2**32 - 2)
    service = f"{proto_of(where, entry)} dport {ports_of(where, entry)}"
    note = remark(where, entry, " ".join(users))
    targets = matches(networks_of(where, entry.get("networks")), "daddr")
    return users, [f"{target}{service} accept{note}" for target in targets]


def outbound_rules(problems: Problems, policy: Mapping[str, Any], host: Survey) -> list[str]:
    """Return the rules for what this host's users may reach."""
    ids = policy.get("user_ids") or {}
    return [
        rule
        for entry in joined(policy, "outbound")
        for rule in problems.collect(partial(outbound_rule, entry.where, entry.value, ids, host)) or []
    ]


def outbound_rule(where: str, entry: Any, ids: Mapping[str, Any], host: Survey) -> list[str]:
    """Return the rules of one entry of what this host's users may reach; none if none of its users is there."""
    users, ends = way_out(where, entry)
    numbers = [uid_of(where, user, entry, ids, host) for user in users]
    if not any_known(numbers):
        return []
    owners = braces(str(number) for number in numbers if number is not None)
    return [f"meta skuid {owners} {end}" for end in ends]


def loopback_rules(problems: Problems, policy: Mapping[str, Any], host: Survey) -> list[str]:
    """Return the rules by which a service on loopback answers some of this host's users alone."""
    ids = policy.get("user_ids") or {}
    return [
        rule
        for entry in joined(policy, "loopback")
        for rule in problems.collect(partial(loopback_rule, entry.where, entry.value, ids, host)) or []
    ]


def loopback_rule(where: str, value: Any, ids: Mapping[str, Any], host: Survey) -> list[str]:
    """Return the rule of one entry of what loopback keeps from all users but those that are named."""
    entry = read_opening(where, value, LOOPBACK_KEYS)
    users = users_of(where, entry)
    owners = braces(str(uid_of(where, user, entry, ids, host)) for user in users)
    service = f"{proto_of(where, entry)} dport {ports_of(where, entry)}"
    return [f'oif "lo" meta skuid != {owners} {service} reject with icmpx admin-prohibited{remark(where, entry)}']


def any_known(numbers: Sequence[int | None]) -> bool:
    """Whether at least one user has a number."""
    return any(number is not None for number in numbers)


def bootstrap_rules(host: Survey) -> list[str]:
    """Return the rules by which apt finds its mirror until a resolver stands on the host itself."""
    owners = braces(str(host.users[user]) for user in BOOTSTRAP_USERS if user in host.users) if host.users else "0"
    return [
        f"meta skuid {owners} {family} daddr @bootstrap_resolvers{digit} {proto} dport 53 accept"
        for family, digit in (("ip", 4), ("ip6", 6))
        for proto in ("udp", "tcp")
    ]


def dhcp_rules(policy: Mapping[str, Any], host: Survey) -> tuple[list[str], list[str]]:
    """Return the rules (in, out) that a DHCP client needs, if there is one."""
    choice = str(policy.get("dhcp_client", "auto"))
    if choice not in ("auto", "always", "never"):
        raise fail("firewall_dhcp_client", f"{choice!r} is none of auto, always, never")
    if choice == "never" or (choice == "auto" and not host.dhcp):
        return [], []
    four, six = "udp sport 67 udp dport 68", "ip6 saddr fe80::/10 udp sport 547 udp dport 546"
    return (
        [f'{four} accept comment "DHCP"', f'{six} accept comment "DHCPv6"'],
        [
            'udp sport 68 udp dport 67 accept comment "DHCP"',
            'udp sport 546 udp dport 547 accept comment "DHCPv6"',
        ],
    )


def rates(problems: Problems, value: Any) -> list[Rate]:
    """Return the limits by name."""
    named = value.items() if isinstance(value, Mapping) else ()
    found = (problems.collect(partial(_rate, f"firewall_rates.{name}", name, rate)) for name, rate in named)
    return [rate for rate in found if rate]


def _rate(where: str, name: Any, value: Any) -> Rate:
    if not NAME.fullmatch(str(name)):
        raise fail(where, "the name of a rate has only small letters, digits and _")
    entry = check_keys(where, value, RATE_KEYS)
    return {
        "name": str(name),
        "new": whole(where, "new_per_minute", entry.get("new_per_minute"), 1, 100_000),
        "burst": whole(where, "burst", entry.get("burst"), 1, 100_000),
        "concurrent": whole(where, "concurrent", entry.get("concurrent"), 1, 65_535),
    }


def firewall_rules(policy: Any, survey: Any = None) -> Rules:
    """Return the rules that the template etc/nftables.conf.j2 lays out.

    policy: see POLICY_KEYS; survey: what firewall_survey returned. InventoryError names every entry that is wrong, by
    the list and the place in it where it stands.
    """
    checked = check_keys("firewall", policy, POLICY_KEYS)
    host = Survey(**(survey or {}))
    problems = Problems()
    dhcp_in, dhcp_out = problems.collect(lambda: dhcp_rules(checked, host)) or ([], [])
    lines_in = inbound_rules(problems, checked) + dhcp_in
    lines_out = bootstrap_rules(host) + outbound_rules(problems, checked, host) + dhcp_out
    lines_loopback = loopback_rules(problems, checked, host)
    limited = rates(problems, checked.get("rates"))
    log = problems.collect(
        lambda: whole("firewall_log_per_minute", "rate", checked.get("log_per_minute", 10), 1, 10_000)
    )
    problems.raise_if_any()
    return {
        "inbound": list(dict.fromkeys(lines_in)),
        "outbound": list(dict.fromkeys(lines_out)),
        "loopback": lines_loopback,
        "rates": limited,
        "prefix6": PREFIX6,
        "log": log or 10,
    }


def exempt_elements(networks: Iterable[str]) -> list[str]:
    """Return the nft commands that exempt networks from limits of sources, a set for each family, overlaps merged."""
    found = families(networks_of("firewall_exempt_networks", list(networks)))
    return [
        f"add element inet gatewright exempt{family} {{ {', '.join(names)} }}"
        for family, names in found.items()
        if names
    ]


def firewall_survey(output: str) -> dict[str, Any]:
    """Return what the survey command printed, a fact a line: kind, colon, value."""
    facts: dict[str, list[str]] = {}
    for line in output.splitlines():
        kind, colon, value = line.partition(":")
        if colon and value:
            facts.setdefault(kind, []).append(value)
    users = {name: int(number) for name, _, number in (line.partition(":") for line in facts.get("user", []))}
    return {
        "users": users,
        "packages": sorted(set(facts.get("installed", []))),
        "legacy": sorted(set(facts.get("legacy", []))),
        "resolvers": list(dict.fromkeys(filter(is_remote, facts.get("resolver", [])))),
        "dhcp": "dhcp" in facts,
    }


def is_remote(address: str) -> bool:
    """Whether a name server's address is a plain one of another host."""
    try:
        return not ipaddress.ip_address(address).is_loopback and "%" not in address
    except ValueError:
        return False


def bootstrap_elements(resolvers: Iterable[str], minutes: int) -> str:
    """Return the nft commands that let apt ask these name servers for a time."""
    return "".join(
        f"add element inet gatewright bootstrap_resolvers{ipaddress.ip_address(address).version}"
        f" {{ {address} timeout {minutes}m }}\n"
        for address in resolvers
    )
