"""The gateway's policy as an nftables ruleset, and what the firewall role reads from the host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatewright.problems import InventoryError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

COMMENT = re.compile(r"[\w .,:;()/+@=-]{0,100}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
INBOUND_KEYS = {"port", "ports", "proto", "networks", "admin", "rate", "comment"}
OUTBOUND_KEYS = {"user", "uid", "port", "ports", "proto", "networks", "optional", "comment"}
RATE_KEYS = {"new_per_minute", "burst", "concurrent"}
POLICY_KEYS = {
    "inbound",
    "outbound",
    "admin_networks",
    "exempt_networks",
    "rates",
    "user_ids",
    "dhcp_client",
    "log_per_minute",
}
BOOTSTRAP_USERS = ("root", "_apt", "systemd-resolve")

RULESET = """\
#!/usr/sbin/nft -f
# Managed by Gatewright: change the inventory, not this file.
#
# One transaction: the table is made if it is missing, removed with all its rules, and made anew. There is no
# moment without rules. Other tables (fail2ban's, say) are left alone. Users are numbers: this file loads at
# boot, and before a user exists.

table inet gatewright
delete table inet gatewright

table inet gatewright {{
	counter dropped_in {{ }}
	counter dropped_forward {{ }}
	counter dropped_out {{ }}

	# Name servers that the host used before it had its own; filled while roles install, emptied by time.
	set bootstrap_resolvers4 {{ type ipv4_addr; flags timeout; }}
	set bootstrap_resolvers6 {{ type ipv6_addr; flags timeout; }}
{limits}
	chain input {{
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ip saddr 127.0.0.0/8 counter drop
		ip6 saddr ::1 counter drop
		ip6 hoplimit 255 icmpv6 type {{ nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }} accept
		ip6 saddr fe80::/10 icmpv6 type {{ mld-listener-query, mld-listener-report, mld-listener-done, \
mld2-listener-report }} accept
		ct state established,related accept
		ct state invalid counter drop
		icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
		icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
		icmp type echo-request limit rate 20/second burst 40 packets accept
		icmpv6 type echo-request limit rate 20/second burst 40 packets accept
{inbound}
		counter name "dropped_in"
		limit rate {log}/minute burst 10 packets log prefix "gatewright drop in: "
	}}

	chain forward {{
		type filter hook forward priority filter; policy drop;
		counter name "dropped_forward"
		limit rate {log}/minute burst 10 packets log prefix "gatewright drop forward: "
	}}

	chain output {{
		type filter hook output priority filter; policy drop;
		oif "lo" accept
		icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, \
mld-listener-done, mld2-listener-report }} accept
		ct state established,related accept
		ct state invalid counter drop
		icmp type {{ echo-request, destination-unreachable, time-exceeded, parameter-problem }} accept
		icmpv6 type {{ echo-request, destination-unreachable, packet-too-big, time-exceeded, \
parameter-problem }} accept
{outbound}
		counter name "dropped_out"
		limit rate {log}/minute burst 10 packets log prefix "gatewright drop out: " flags skuid
		# A program of ours that may not go there is told so at once; it need not wait for a time-out.
		reject with icmpx admin-prohibited
	}}
}}
"""

LIMIT = """
	# From an IPv4 address or IPv6 /64: {new} new connections a minute (burst {burst}), {concurrent} at once.
	counter {name}_over_rate {{ }}
	counter {name}_over_count {{ }}
	set {name}_rate4 {{ type ipv4_addr; size 65535; flags dynamic,timeout; timeout 2m; }}
	set {name}_rate6 {{ type ipv6_addr; size 65535; flags dynamic,timeout; timeout 2m; }}
	set {name}_count4 {{ type ipv4_addr; size 65535; flags dynamic; }}
	set {name}_count6 {{ type ipv6_addr; size 65535; flags dynamic; }}
	chain limit_{name} {{
{exempt}\
		add @{name}_count4 {{ ip saddr ct count over {concurrent} }} \
counter name "{name}_over_count" drop
		add @{name}_count6 {{ {prefix6} ct count over {concurrent} }} \
counter name "{name}_over_count" drop
		update @{name}_rate4 {{ ip saddr limit rate over {new}/minute burst {burst} packets }} \
counter name "{name}_over_rate" drop
		update @{name}_rate6 {{ {prefix6} limit rate over {new}/minute burst {burst} packets }} \
counter name "{name}_over_rate" drop
		accept
	}}
"""
PREFIX6 = "ip6 saddr & ffff:ffff:ffff:ffff::"


@dataclass(frozen=True, slots=True)
class Survey:
    """What the host told: its users, packages, old resolvers, whether a DHCP client is at work."""

    users: dict[str, int] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    legacy: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    dhcp: bool = False


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
    """Return networks of both families, each written without host bits."""
    found: list[Network] = []
    for value in as_list(values):
        try:
            found.append(ipaddress.ip_network(str(value)))
        except ValueError as error:
            raise fail(where, f"network {value!r}: {error}") from None
    return found


def matches(networks: Sequence[Network], side: str) -> list[str]:
    """Return a match for each family among the networks, overlaps merged; without any, one empty match."""
    if not networks:
        return [""]
    four = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network))
    found = [("ip", [str(n) for n in four]), ("ip6", [str(n) for n in six])]
    return [f"{family} {side} {braces(names)} " for family, names in found if names]


def remark(where: str, entry: Mapping[str, Any], default: str = "") -> str:
    """Return an nft comment, or nothing."""
    text = str(entry.get("comment") or default)
    if not COMMENT.fullmatch(text):
        raise fail(where, f"comment {text!r} has characters other than letters, digits, blanks and .,:;()/+@=-_")
    return f' comment "{text}"' if text else ""


def inbound_rule(where: str, value: Any, admin: Sequence[Network], rates: Iterable[str]) -> list[str]:
    """Return the rules of one entry of what other hosts may reach."""
    entry = check_keys(where, value, INBOUND_KEYS)
    networks = networks_of(where, entry.get("networks"))
    if not networks and entry.get("admin"):
        networks = list(admin)
    rate = entry.get("rate")
    if rate and rate not in rates:
        raise fail(where, f"rate {rate!r} is not one of firewall_rates")
    verdict = f"goto limit_{rate}" if rate else "accept"
    service = f"{proto_of(where, entry)} dport {ports_of(where, entry)}"
    note = remark(where, entry)
    return [f"{source}{service} {verdict}{note}" for source in matches(networks, "saddr")]


def inbound_rules(policy: Mapping[str, Any]) -> list[str]:
    """Return the rules for what other hosts may reach."""
    admin = networks_of("firewall_admin_networks", policy.get("admin_networks"))
    wanted = as_list(policy.get("inbound"))
    if not wanted:
        raise fail("firewall_inbound", "is empty: nothing could reach this host, its administrator neither")
    rates = policy.get("rates") or {}
    return [
        rule
        for index, value in enumerate(wanted)
        for rule in inbound_rule(f"firewall_inbound[{index}]", value, admin, rates)
    ]


def uid_of(where: str, user: str, entry: Mapping[str, Any], ids: Mapping[str, Any], host: Survey) -> int | None:
    """Return a user's number: the entry's, the inventory's or the host's; None if it need not exist."""
    if user.isdigit():
        return int(user)
    planned = entry.get("uid", ids.get(user))
    present = host.users.get(user)
    if planned is not None:
        number = whole(where, f"uid of {user}", planned, 0, 2**32 - 2)
        if present is not None and present != number:
            raise fail(where, f"user {user} is {number} in the inventory, but {present} on the host")
        return number
    if present is None and not entry.get("optional"):
        raise fail(where, f"user {user} does not exist on the host; give its number in firewall_user_ids")
    return present


def way_out(where: str, value: Any) -> tuple[list[str], list[str]]:
    """Return the users of one entry of what this host's users may reach, and the ends of its rules."""
    entry = check_keys(where, value, OUTBOUND_KEYS)
    users = [str(user) for user in as_list(entry.get("user"))]
    if not users:
        raise fail(where, "names no user")
    service = f"{proto_of(where, entry)} dport {ports_of(where, entry)}"
    note = remark(where, entry, " ".join(users))
    targets = matches(networks_of(where, entry.get("networks")), "daddr")
    return users, [f"{target}{service} accept{note}" for target in targets]


def outbound_rules(policy: Mapping[str, Any], host: Survey) -> list[str]:
    """Return the rules for what this host's users may reach."""
    ids = policy.get("user_ids") or {}
    rules = []
    for index, entry in enumerate(as_list(policy.get("outbound"))):
        where = f"firewall_outbound[{index}]"
        users, ends = way_out(where, entry)
        numbers = [uid_of(where, user, entry, ids, host) for user in users]
        owners = braces(str(number) for number in numbers if number is not None) if any_known(numbers) else ""
        rules += [f"meta skuid {owners} {end}" for end in ends if owners]
    return rules


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


def limits(policy: Mapping[str, Any]) -> str:
    """Return the sets and the chain of each rate."""
    exempt = matches(networks_of("firewall_exempt_networks", policy.get("exempt_networks")), "saddr")
    texts = []
    for name, value in (policy.get("rates") or {}).items():
        where = f"firewall_rates.{name}"
        if not NAME.fullmatch(str(name)):
            raise fail(where, "the name of a rate has only small letters, digits and _")
        entry = check_keys(where, value, RATE_KEYS)
        texts.append(
            LIMIT.format(
                name=name,
                new=whole(where, "new_per_minute", entry.get("new_per_minute"), 1, 100_000),
                burst=whole(where, "burst", entry.get("burst"), 1, 100_000),
                concurrent=whole(where, "concurrent", entry.get("concurrent"), 1, 65_535),
                exempt="".join(f"\t\t{source}accept\n" for source in exempt if source),
                prefix6=PREFIX6,
            )
        )
    return "".join(texts)


def nftables_ruleset(policy: Any, survey: Any = None) -> str:
    """Return the whole of /etc/nftables.conf.

    policy: see POLICY_KEYS; survey: what firewall_survey returned. InventoryError names the entry.
    """
    checked = check_keys("firewall", policy, POLICY_KEYS)
    host = Survey(**(survey or {}))
    dhcp_in, dhcp_out = dhcp_rules(checked, host)
    lines_in = inbound_rules(checked) + dhcp_in
    lines_out = bootstrap_rules(host) + outbound_rules(checked, host) + dhcp_out
    return RULESET.format(
        limits=limits(checked),
        inbound=indented(lines_in),
        outbound=indented(lines_out),
        log=whole("firewall_log_per_minute", "rate", checked.get("log_per_minute", 10), 1, 10_000),
    )


def indented(rules: Iterable[str]) -> str:
    """Return each different rule on a line of a chain."""
    return "\n".join(f"\t\t{rule}" for rule in dict.fromkeys(rules))


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
