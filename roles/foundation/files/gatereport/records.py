"""DNS records by which a domain says where it wants reports: `v=...; rua=mailto:...` (RFC 8460, 3; RFC 7489, 6.3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

SECONDS = 15.0
"""Patience with the name server."""
# No character that a shell, qmail-inject or a header could take for anything else.
_MAILBOX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,63}@(?=.{1,253}\Z)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})+")


class Unanswered(Exception):
    """The name server gives no answer now."""


@dataclass(frozen=True, slots=True)
class Names:
    """A name server."""

    server: str = "127.0.0.1"
    port: int = 53

    def texts(self, name: str) -> list[str]:
        """The TXT records of a name; none if there is no such name. Raises Unanswered."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = [self.server], self.port, SECONDS
        try:
            answer = resolver.resolve(dns.name.from_text(f"{name}."), dns.rdatatype.TXT, raise_on_no_answer=False)
        except (dns.resolver.NXDOMAIN, dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise Unanswered(f"TXT of {name}: {error}") from error
        return [b"".join(record.strings).decode("utf-8", "replace") for record in answer.rrset or ()]


def is_domain(name: str) -> bool:
    """Whether a name can be a domain with records, written in lower case."""
    return bool(_DOMAIN.fullmatch(name))


def record(texts: Iterable[str], version: str) -> dict[str, str] | None:
    """The tags of the one record of a version; None if there is none, or more than one."""
    found = [text for text in texts if re.match(rf"\s*v\s*=\s*{version}\s*(;|\Z)", text)]
    return _tags(found[0]) if len(found) == 1 else None


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}


def mailboxes(rua: str, most: int) -> list[str]:
    """The addresses of the first mailto: URIs, without what they say of sizes or fields. Other URIs are not served."""
    found: list[str] = []
    for uri in rua.split(","):
        scheme, _, rest = uri.strip().partition(":")
        address = unquote(re.split("[?!]", rest)[0])
        if scheme.lower() == "mailto" and _MAILBOX.fullmatch(address) and address not in found:
            found.append(address)
    return found[:most]
