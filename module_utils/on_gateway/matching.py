"""What filters of `gw` fit: addresses and other texts, and IP addresses."""

from __future__ import annotations

import fnmatch
import functools
import ipaddress
import re
from collections.abc import Callable
from typing import Any

_NO_TEXT = re.compile(r"\\x[89a-f][0-9a-f]")
"""How the scanner's log has a byte that belongs to no UTF-8."""


def fits(pattern: str, value: str) -> bool:
    """Whether a text is the pattern, whole and in any case; `@example.org` stands for everybody there."""
    return matcher(pattern)(value.lower()) is not None


@functools.lru_cache
def matcher(pattern: str) -> Callable[[str], Any]:
    """What a text in small letters is matched with."""
    wanted = f"*{pattern}" if pattern.startswith("@") else pattern
    return re.compile(fnmatch.translate(wanted.lower().replace("[", "[[]").replace("?", "[?]"))).match


def is_in(address: str, network: str) -> bool:
    """Whether an address is in a network, or is it; IPv4 in IPv6's form is IPv4."""
    try:
        found = ipaddress.ip_address(address)
        asked = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return address == network
    mapped = getattr(found, "ipv4_mapped", None) or found
    return mapped in asked or found in asked


def needle(pattern: str) -> bytes:
    """The longest part of a pattern that stands in each log as it is, in small letters."""
    pieces = re.split(r'[^ !-$&-)+-\[\]-~]|["\\*]', pattern.lower())
    return max(pieces, key=len).encode("ascii")


def safe(text: str) -> str:
    """An address as qmail-send's log has it: with `_` for each byte that is no visible ASCII."""
    text = _NO_TEXT.sub("_", text)
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "replace")
    return "".join(chr(byte) if 32 < byte < 127 and byte != ord("%") else "_" for byte in data)


@functools.lru_cache
def safe_pattern(pattern: str) -> str:
    """A filter for an address as qmail-send's log has it."""
    return "".join(letter if letter == "*" else safe(letter) for letter in pattern)
