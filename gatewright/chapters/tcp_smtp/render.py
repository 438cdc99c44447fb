"""/etc/tcp.smtp from the inventory, and what tcprulescheck must say of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TypedDict

from gatewright import MANAGED
from gatewright.addresses import Address, Network, tcpserver_text
from gatewright.chapters.tcp_smtp.keys import NotExact, ipv4_keys, is_anycast, keys_of
from gatewright.chapters.tcp_smtp.policy import CLIENTS, DENY, NETWORKS, Entry, Policy, read_policy
from gatewright.problems import Problems

HEADER = f"# {MANAGED}\n"
_TITLES = {CLIENTS: "may relay", NETWORKS: "environment", DENY: "denied"}


class Proof(TypedDict):
    """What tcprulescheck must answer for one client, and for which entry's sake it is asked."""

    address: str
    entry: str
    deny: bool
    env: dict[str, str]


class Rules(TypedDict):
    """The text of /etc/tcp.smtp and its proofs."""

    text: str
    proofs: list[Proof]


def tcp_smtp(
    clients: object,
    deny: object = None,
    networks: object = None,
    default_env: object = None,
    *,
    ipv6: bool = True,
    local_relay: bool = True,
) -> Rules:
    """Render the rules for tcpserver.

    clients, deny, networks: lists of addresses or CIDR networks (strings), or of mappings with `address`, `comment`
    and (not in deny) `env`. default_env: environment of every client. ipv6: whether the tcpserver in use knows IPv6
    (Debian's ucspi-tcp-ipv6 does, the original does not, and its tcprules refuses such rules).
    local_relay: whether this host's own programs may relay by SMTP. Raises InventoryError with all problems.
    """
    policy = read_policy(clients, deny, networks, default_env, local_relay)
    problems = Problems()
    blocks = [_block(policy, entry, keys) for entry, keys in keyed(problems, policy, ipv6)]
    problems.raise_if_any()
    return {"text": HEADER + "".join(blocks) + _rest(policy), "proofs": list(_proofs(policy, ipv6))}


def keyed(problems: Problems, policy: Policy, ipv6: bool) -> list[tuple[Entry, list[str]]]:
    """Each entry with its keys in the file. An entry that no keys can express is noted, and left out."""
    found = []
    for entry in policy.entries:
        if entry.network.version == 6 and not ipv6:
            if entry.variable:
                problems.add(entry.where, "is IPv6, which the original tcpserver (install method source) does not know")
            continue
        try:
            found.append((entry, list(keys_of(policy, entry))))
        except NotExact as error:
            problems.add(entry.where, str(error))
    return found


def _block(policy: Policy, entry: Entry, keys: list[str]) -> str:
    """The comment and the rules of one entry; loopback has no comment, as in the paper."""
    decision = policy.decide(entry.network)
    rules = "".join(f"{key}:{decision}\n" for key in keys)
    if not entry.variable:
        return rules
    name = f": {entry.comment}" if entry.comment else ""
    note = "" if keys else "; said by another entry"
    return f"# {entry.network} {_TITLES[entry.variable]}{name}{note}\n{rules}"


def _rest(policy: Policy) -> str:
    """The rule for everyone else: the empty one, or all of IPv4 where an entry ::/0 has taken that."""
    ipv4 = ipaddress.IPv4Network("0.0.0.0/0")
    if policy.decide(ipaddress.IPv6Network("::/0")) == policy.default:
        return f":{policy.default}\n"
    if policy.decide(ipv4) != policy.default:
        return ""
    return "".join(f"{key}:{policy.default}\n" for key in ipv4_keys(policy, ipv4))


def _proofs(policy: Policy, ipv6: bool) -> Iterator[Proof]:
    """For each entry its first and last address and the neighbours just outside, each address once."""
    seen: set[Address] = set()
    for entry in policy.entries:
        if entry.network.version == 6 and not ipv6:
            continue
        for address in _edges(entry.network):
            if address not in seen:
                seen.add(address)
                decision = policy.decide(address)
                yield {
                    "address": tcpserver_text(address),
                    "entry": entry.where,
                    "deny": decision.deny,
                    "env": dict(decision.env),
                }


def _edges(network: Network) -> Iterator[Address]:
    first, last = network.network_address, network.broadcast_address
    limit = (1 << network.max_prefixlen) - 1
    for number in (int(first), int(last), int(first) - 1, int(last) + 1):
        if not 0 <= number <= limit:
            continue
        address = type(first)(number)
        if isinstance(address, ipaddress.IPv6Address):
            if is_anycast(address) and number not in (int(last), limit):
                address += 1
            if address.ipv4_mapped is not None:
                continue
        yield address
