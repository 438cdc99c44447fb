"""Addresses of mail and of clients, in the form in which they are compared."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import lru_cache

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_DOMAIN = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_MAIL_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{2,63}")
_ODD_LOCAL = re.compile(r"""[%!@\\"()<>,;:\[\]\x00- \x7f]""")
_ODD_DOMAIN = re.compile(r"""[%!@\\"()<>,;\x00- \x7f]""")
LONGEST = 900
"""Characters of an address; qmail-smtpd takes no longer one."""


class AddressError(Exception):
    """An entry of a list of recipients that is no address; the text says why, as the end of a sentence."""


def unquoted(local: str) -> str:
    """A local part without quotation marks and backslashes that mean nothing."""
    if len(local) >= 2 and local[0] == local[-1] == '"':
        local = local[1:-1]
    return re.sub(r"\\(.)", r"\1", local)


def split(address: str) -> tuple[str, str]:
    """Local part and domain as they are compared; the domain is empty if there is none."""
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    return composed(unquoted(local).lower()), in_ascii(domain)


def is_odd(recipient: str) -> bool:
    """Whether a server that trusts this gateway could take a recipient for an order to send on; as qmail-smtpd does."""
    local, at, domain = recipient.rpartition("@")
    if not at:
        local, domain = recipient, ""
    return not local or local[0] in "|/" or bool(_ODD_LOCAL.search(local) or _ODD_DOMAIN.search(domain))


def composed(text: str) -> str:
    """Text in which an accent that stands behind its letter is one with it."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def parse_entry(text: str) -> tuple[str, str]:
    """An entry of a list: an address, or a local part alone (then without a domain). Raises AddressError.

    Exports of directories write addresses as `smtp:user@example.org`; that prefix is left out.
    """
    text = re.sub(r"\Asmtp:", "", text, flags=re.IGNORECASE)
    local, domain = split(text)
    if not local or len(text) > LONGEST:
        raise AddressError("has no local part" if not local else "is too long")
    if any(letter.isspace() or not letter.isprintable() for letter in text) or "@" in local:
        raise AddressError("is not one address: it has a blank, a control character or two @ in it")
    if text.startswith("#"):
        raise AddressError("begins as comments do: put what is in front of the domain in quotation marks")
    # In quotes it is a mailbox's own letter, as it is in lists that were kept when it still counted as one.
    written = text.rpartition("@")[0] or text
    if "*" in (written[0], written[-1]):
        raise AddressError(
            "has a *, which stands for nothing here: name each address, or leave out what is in front of the domain"
        )
    if "@" in text and not _DOMAIN.fullmatch(domain):
        raise AddressError(f"has no domain in it that could have mail: {domain!r}")
    return local, domain


@lru_cache(1000)
def parse_client(text: str) -> IPAddress | None:
    """A client's address; None if it is not known. IPv4 that came by an IPv6 socket is IPv4."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def client_key(address: IPAddress | None) -> str:
    """Whom counters take a client for: its address, by IPv6 its /64, of which one host has all."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address) if address else ""


def in_ascii(domain: str) -> str:
    """A domain as it is in SMTP: in lower case, an international one in its ASCII form; as it is if it has none."""
    text = domain.lower().rstrip(".")
    bare = text.removeprefix(".")  # .domain is all below it
    try:
        return text if text.isascii() else text[: -len(bare)] + bare.encode("idna").decode("ascii")
    except UnicodeError:
        return text


def is_domain(text: str) -> bool:
    """Whether a text is a domain that could have mail: labels of letters, digits, hyphens, more than one of them."""
    return len(text) <= 253 and bool(_MAIL_DOMAIN.fullmatch(text))


def covering(domain: str) -> list[str]:
    """What a domain is looked up by: itself, then each parent with a dot in front."""
    labels = domain.split(".")
    return [domain, *("." + ".".join(labels[at:]) for at in range(1, len(labels)))]
