"""Mail domains and host names as administrators write them, and as qmail compares them."""

from __future__ import annotations

import ipaddress
import re

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
# Letters that IDNA 2003 (Python's own codec) and IDNA 2008 write differently: the administrator must choose.
_AMBIGUOUS = frozenset("ßς\u200c\u200d")
# Below a country's domain: what registries have there (publicsuffix.org knows more of them, and changes every week).
_SECOND_LEVEL = frozenset(["ac", "co", "com", "edu", "gob", "gov", "gouv", "mil", "ne", "net", "nom", "or", "org"])
# Top-level names that no registry has, and companies use inside (RFC 2606, RFC 6762, ICANN in 2018 and 2024).
_NOT_DELEGATED = frozenset(
    ["corp", "home", "mail", "internal", "intranet", "lan", "local", "localdomain", "private", "test", "example"]
)
_LOCAL_PART = re.compile(r"[^\s@\x00-\x20\x7f]+")


def parse_domain(value: object) -> str:
    """A domain in lower case, an international one in its ASCII form (A-labels).

    Raises ValueError with a sentence that says what is wrong.
    """
    if not isinstance(value, str):
        raise ValueError(f"a domain must be a string, not {value!r}")
    if not value:
        raise ValueError("the domain is empty")
    if any(letter.isspace() for letter in value):
        raise ValueError(f"the domain {value!r} has a space in it")
    text = value.lower()
    if text.startswith("."):
        raise ValueError(f"{value!r} begins with a dot; for subdomains say subdomains: true")
    text = _to_ascii(text, value) if not text.isascii() else text
    if len(text) > 253:
        raise ValueError(f"the domain {value!r} is longer than 253 characters")
    for label in text.split("."):
        if not label:
            raise ValueError(f"the domain {value!r} has an empty label (two dots, or one at its end)")
        if len(label) > 63:
            raise ValueError(f"the domain {value!r} has a label longer than 63 characters")
        if not _LABEL.fullmatch(label):
            raise ValueError(f"the label {label!r} of {value!r} has a character that no domain has")
    if text.rsplit(".", 1)[-1].isdigit():
        raise ValueError(f"{value!r} is an address, not a domain")
    return text


def is_loopback(domain: str) -> bool:
    """Whether a domain is a name of the host itself on every host."""
    return (
        domain in ("localhost", "localhost4", "ip6-localhost")
        or domain.startswith("localhost.")
        or domain.endswith(".localhost")
    )


def refuse_registry(domain: str) -> None:
    """Raise ValueError if all below a domain are other people's: a top-level one, or a usual second one."""
    labels = domain.split(".")
    is_usual = len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SECOND_LEVEL
    if is_usual or (len(labels) == 1 and domain not in _NOT_DELEGATED):
        raise ValueError(f"all below {domain!r} are other people's domains: anybody could relay to them")


def _to_ascii(text: str, value: str) -> str:
    if _AMBIGUOUS.intersection(text):
        raise ValueError(f"the domain {value!r} has a letter with two ASCII forms; write the one you mean (xn--...)")
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"the domain {value!r} has no ASCII form ({error})") from None


def parse_relay_host(value: object) -> str:
    """A mail server as qmail-remote takes it in smtproutes: a host name, or an IPv4 address in brackets.

    Raises ValueError. qmail-remote speaks IPv4 only, and it splits a route at colons.
    """
    if not isinstance(value, str):
        raise ValueError(f"host must be a string, not {value!r}")
    text = value.removeprefix("[").removesuffix("]") if value.startswith("[") and value.endswith("]") else value
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        if address.version == 6:
            raise ValueError(f"host {value!r} is an IPv6 address, and qmail-remote speaks IPv4 only")
        if address.is_multicast or address == ipaddress.IPv4Address(2**32 - 1):
            raise ValueError(f"host {value!r} is no address of one host")
        return f"[{address}]"
    if ":" in text:
        raise ValueError(f"host {value!r} has a colon in it; give the port as port")
    if re.fullmatch(r"[0-9.]+", text):
        raise ValueError(f"host {value!r} is not an IPv4 address")
    try:
        return parse_domain(text)
    except ValueError as error:
        raise ValueError(f"host: {error}") from None


def parse_port(value: object) -> int:
    """A TCP port. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"port must be a number, not {value!r}")
    if not 1 <= value <= 65535:
        raise ValueError(f"port {value} is not between 1 and 65535")
    return value


def parse_sender(value: object) -> str:
    """An address, or `@domain` for all of a domain, as badmailfrom takes it. Raises ValueError."""
    if not isinstance(value, str) or value.count("@") != 1:
        raise ValueError(f"{value!r} is neither an address nor @domain")
    local, _at, domain = value.partition("@")
    if local == "*":
        raise ValueError(f"{value!r} would be that one address, with a star; for all of a domain write @{domain}")
    if local and not _LOCAL_PART.fullmatch(local):
        raise ValueError(f"{value!r} has a space or control character in it")
    return f"{local}@{parse_domain(domain)}"
