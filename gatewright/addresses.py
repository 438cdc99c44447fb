"""Addresses and networks as administrators write them, and as tcpserver writes them."""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_TCPRULES_PREFIX = re.compile(r"(\d{1,3})(\.\d{1,3}){0,2}\.")


def parse_network(value: object) -> Network:
    """Read an address or a CIDR network.

    Raises ValueError with a sentence that says what is wrong and, where it is clear, what was meant.
    """
    if not isinstance(value, str):
        raise ValueError(f"an address or network must be a string, not {value!r}")
    text = value.strip()
    if not text or text != value:
        raise ValueError(f"{value!r} is not an address: it is empty or has spaces around it")
    if _TCPRULES_PREFIX.fullmatch(text):
        octets = text.rstrip(".").split(".")
        network = ".".join(octets + ["0"] * (4 - len(octets)))
        raise ValueError(f"{text!r} is a tcprules prefix; write the network, {network}/{8 * len(octets)}")
    if "%" in text:
        raise ValueError(f"{text!r} has a zone (%...), which tcpserver does not see")
    try:
        network_found: Network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(_why_not(text)) from None
    if isinstance(network_found, ipaddress.IPv6Network) and network_found.subnet_of(_MAPPED):
        raise ValueError(f"{text!r} is an IPv4 address in IPv6 form, which tcpserver sees as IPv4; write it as IPv4")
    return network_found


def _why_not(text: str) -> str:
    """Why `text` is no network, with the network that was probably meant."""
    address, _slash, length = text.partition("/")
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        try:
            version = ipaddress.ip_address(address).version
        except ValueError:
            return f"{text!r} is neither an IPv4 or IPv6 address nor a network in CIDR form"
        limit = 32 if version == 4 else 128
        return f"{text!r} has the prefix length {length!r}, which is not a number from 0 to {limit}"
    return f"{text!r} has host bits set; the network is {meant}, the single address is {address}"


def groups(address: ipaddress.IPv6Address) -> tuple[int, ...]:
    """The eight 16-bit groups of an IPv6 address."""
    number = int(address)
    return tuple(number >> shift & 0xFFFF for shift in range(112, -1, -16))


def zero_run(values: tuple[int, ...]) -> tuple[int, int]:
    """Start and end of the run of zero groups that tcpserver writes as `::`: the longest, the first of equals.

    Unlike RFC 5952, it shortens a single zero group too. (0, 0) when no group is zero.
    """
    best = (0, 0)
    start = 0
    for index, value in enumerate((*values, 1)):
        if value:
            if index - start > best[1] - best[0]:
                best = (start, index)
            start = index + 1
    return best


def tcpserver_text(address: Address) -> str:
    """An address as Debian's tcpserver puts it into TCPREMOTEIP and looks it up in its rules."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    values = groups(address)
    start, end = zero_run(values)
    if start == end:
        return join_groups(values)
    return f"{join_groups(values[:start])}::{join_groups(values[end:])}"


def join_groups(values: tuple[int, ...]) -> str:
    """Groups in lower-case hexadecimal without leading zeros, joined by colons."""
    return ":".join(f"{value:x}" for value in values)
