"""A policy over addresses, said in the address forms of tcprules.

tcpserver compares text: it looks for a rule for the whole address as it writes it, then for ever shorter
prefixes that end in a dot or (IPv6) a colon, then for the empty one, and follows the first that it finds.

IPv4 text has one form, so every CIDR network is a few prefixes, `10.0.16-31.` for a run of them. IPv6 text shortens
the longest run of zero groups to `::`. A network that has zero groups in its fixed part therefore shows in up to three
forms, and a prefix with `::` inside it does not say how many groups the `::` stands for. Such a prefix is used only
where the policy gives every address that it could stand for the same answer; elsewhere single addresses are
listed, if they are few, and else the network is refused, since a guess would deny or relay for strangers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from gatewright.addresses import Address, groups, join_groups, tcpserver_text, zero_run
from gatewright.chapters.tcp_smtp.policy import Entry, Policy

Groups = tuple[int, ...]

MOST_SINGLE_ADDRESSES = 4096


class NotExact(ValueError):
    """A network that no set of text prefixes can express."""


def keys_of(policy: Policy, entry: Entry) -> Iterator[str]:
    """The tcprules keys that express `entry`, minus what narrower entries override.

    None when a wider entry already has the same effect. Raises NotExact.
    """
    network = entry.network
    covering = policy.covering(network)
    if covering[-1] is not entry or policy.decide(network) == policy.above(entry):
        return
    if isinstance(network, ipaddress.IPv4Network):
        yield from ipv4_keys(policy, network)
    else:
        yield from _ipv6_keys(policy, network)


# IPv4


def ipv4_keys(policy: Policy, network: ipaddress.IPv4Network) -> Iterator[str]:
    """Ranges of the octet in which the network ends, less those that belong to a narrower entry."""
    depth = max(0, (network.prefixlen - 1) // 8)
    octets = network.network_address.packed
    head = "".join(f"{octet}." for octet in octets[:depth])
    tail = "." if depth < 3 else ""
    first = octets[depth]
    count = 1 << (8 * (depth + 1) - network.prefixlen)
    for low, high in _runs(
        value
        for value in range(first, first + count)
        if policy.holds(network, ipaddress.IPv4Network((_octet_base(octets, depth, value), 8 * (depth + 1))))
    ):
        yield f"{head}{low}{tail}" if low == high else f"{head}{low}-{high}{tail}"


def _octet_base(octets: bytes, depth: int, value: int) -> bytes:
    return octets[:depth] + bytes((value,)) + bytes(3 - depth)


def _runs(values: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as runs, first and last of each."""
    low = high = -2
    for value in values:
        if value == high + 1:
            high = value
            continue
        if low >= 0:
            yield low, high
        low = high = value
    if low >= 0:
        yield low, high


# IPv6


def _ipv6_keys(policy: Policy, network: ipaddress.IPv6Network) -> Iterator[str]:
    try:
        found = [key for piece in _pieces(network) for key in _piece_keys(policy, network, piece)]
    except NotExact:
        if network.num_addresses > MOST_SINGLE_ADDRESSES or network.prefixlen == 128:
            raise
        found = list(_single_addresses(policy, network))
    yield from dict.fromkeys(found)


def _pieces(network: ipaddress.IPv6Network) -> Iterator[Groups]:
    """The network as leading whole groups: one piece, or one for each value of the group in which it ends."""
    whole, rest = divmod(network.prefixlen, 16)
    values = groups(network.network_address)
    if not rest:
        yield values[:whole]
        return
    for last in range(values[whole], values[whole] + (1 << (16 - rest))):
        yield (*values[:whole], last)


def _piece_keys(policy: Policy, network: ipaddress.IPv6Network, piece: Groups) -> Iterator[str]:
    decision = policy.decide(network)
    if not policy.holds(network, _as_network(piece)):
        return
    for key, regions in text_forms(piece):
        for region in regions:
            if policy.decide(_as_network(region)) != decision:
                raise NotExact(_ambiguity(network, key, piece, region))
        yield key


def _ambiguity(network: ipaddress.IPv6Network, key: str, piece: Groups, region: Groups) -> str:
    exact = _as_network(piece[: piece.index(0) + 1])
    return (
        f"tcpserver compares IPv6 addresses as text, and there {network} looks like {_as_network(region)}: addresses "
        f"of both begin with {key!r}; list single addresses or, if all of it may be meant, {exact}"
    )


def _as_network(values: Groups) -> ipaddress.IPv6Network:
    number = 0
    for value in (*values, *(0,) * (8 - len(values))):
        number = number << 16 | value
    return ipaddress.IPv6Network((number, 16 * len(values)))


def text_forms(piece: Groups) -> Iterator[tuple[str, list[Groups]]]:
    """Every key under which addresses that begin with the groups of `piece` can stand.

    With each key come the regions (leading groups) whose addresses the key matches: the piece itself and, for a key
    with `::`, the others that read the same.
    """
    size = len(piece)
    if size == 8:
        start, end = zero_run(piece)
        text = tcpserver_text(_as_network(piece).network_address)
        # A whole address that ends in `::` is a prefix as well.
        yield text, [(*piece[:start], 0) if end == 8 else piece]
        return
    tail = size
    while tail and piece[tail - 1] == 0:
        tail -= 1
    inner_start, inner_end = zero_run(piece[:tail])
    inner = inner_end - inner_start
    # The zeros that addresses may go on with, after the piece or after a group that ends the piece's own run.
    if (8 - size if tail == size else 8 - size - 1) > max(inner, size - tail):
        yield f"{join_groups(piece)}:" if piece else "", [piece]
    if tail < size and 8 - tail > inner:
        yield f"{join_groups(piece[:tail])}::", [(*piece[:tail], 0)]
    if inner and inner >= size - tail:
        before, after = piece[:inner_start], piece[inner_end:]
        shortest = max(1, zero_run(before)[1] - zero_run(before)[0] + 1, _longest(after))
        yield (
            f"{join_groups(before)}::{join_groups(after)}:",
            [(*before, *(0,) * run, *after) for run in range(shortest, 8 - len(before) - len(after))],
        )


def _longest(values: Groups) -> int:
    start, end = zero_run(values)
    return end - start


def _single_addresses(policy: Policy, network: ipaddress.IPv6Network) -> Iterator[str]:
    """Each address of a small network that no narrower entry overrides.

    An address that is written with `::` at its end would be a prefix of others. It is left out: with no host
    part it is the subnet-router anycast address (RFC 4291), which no client sends from.
    """
    for address in network:
        if not is_anycast(address) and policy.holds(network, address):
            yield tcpserver_text(address)


def is_anycast(address: Address) -> bool:
    """Whether an address is one that `keys_of` may leave out: written with `::` at its end."""
    return tcpserver_text(address).endswith("::")
