"""What filters of `gw` are given, as gateways' logs have it: ASCII domains, and addresses that are some."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress


def as_logged(address: str) -> str:
    """An address's filter: qmail knows an international domain by its ASCII form alone. `*` stays."""
    local, at, domain = address.rpartition("@")
    return f"{local}@{'.'.join(map(_label, domain.split('.')))}" if at else address


def _label(label: str) -> str:
    try:
        return label if label.isascii() or "*" in label else label.encode("idna").decode("ascii")
    except UnicodeError:  # no domain has it, and a log may
        return label


def client(text: str) -> str:
    """An IP address or a network, or nothing; IPv4 in IPv6's form is IPv4. ArgumentTypeError if it is none of these."""
    if not text:
        return ""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not an IP address or network: {text}") from None
    if network.num_addresses > 1:
        return text
    address = network.network_address
    return str(getattr(address, "ipv4_mapped", None) or address)


def count(text: str) -> int:
    """A number above 0, for argparse."""
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and int(text)):
        raise argparse.ArgumentTypeError(f"not a number above 0: {text}")
    return int(text)


def patience(text: str) -> float:
    """Seconds, at most an hour, for argparse."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 3600:
            return float(text)
    raise argparse.ArgumentTypeError(f"not a number of seconds up to 3600: {text}")
