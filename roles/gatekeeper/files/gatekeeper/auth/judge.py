"""All that is asked about who a message is from, and what follows of it."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from gatekeeper.addresses import IPAddress, covering, is_domain
from gatekeeper.auth import arc, dkim, dmarc, spf
from gatekeeper.auth.arc import Chain
from gatekeeper.auth.dmarc import Dmarc, Evidence, Policy
from gatekeeper.auth.mail import Authors, Message, authors, shown_name
from gatekeeper.auth.names import Names
from gatekeeper.auth.spf import Spf
from gatekeeper.auth.suffixes import Suffixes
from gatekeeper.names import Name, shown_names

SHOWN = 4
"""Signatures that are named in Authentication-Results."""
_HAVE_POLICY = (dmarc.Result.PASS, dmarc.Result.FAIL, dmarc.Result.PERMERROR)
_WANTED = {Policy.QUARANTINE: "held", Policy.REJECT: "refused"}
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Verdict(StrEnum):
    """What follows. later: it cannot be known now, as a name server does not answer."""

    NOTHING = ""
    SPOOFED = "spoofed"
    UNAUTHENTICATED = "unauthenticated"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Site:
    """What the site says. own: its domains, and all below them. forwarders: domains of seals (ARC) that are believed.
    may_spoof: networks from which the site's own names may come without a proof, and domains for which SPF or DKIM
    speak. protected: names of its people. suffixes: the public suffix list."""

    suffixes: Suffixes
    hostname: str = "localhost"
    own: frozenset[str] = frozenset()
    forwarders: frozenset[str] = frozenset()
    may_spoof: tuple[Network | str, ...] = ()
    protected: tuple[Name, ...] = ()

    def is_own(self, domain: str) -> bool:
        """Whether a domain is one of the site's."""
        labels = domain.split(".")
        return any(".".join(labels[at:]) in self.own for at in range(len(labels)))

    def is_exempt(self, client: IPAddress, evidence: Evidence) -> bool:
        """Whether a message may bear the site's own names without a proof."""
        names = (name for domain in evidence.proven() for name in covering(domain))
        return any(name in self.may_spoof for name in names) or any(
            not isinstance(item, str) and client in item for item in self.may_spoof
        )

    def names_person(self, shown: str) -> bool:
        """Whether what stands beside an address is a name of one of its people."""
        return any(person.is_borne(name) for name in shown_names(shown) for person in self.protected)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a message came. client: None if it was made on this host."""

    client: IPAddress | None
    helo: str
    sender: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found. forwarder: the trusted one that saw DMARC pass; empty if none did. borrows_name: it bears a name
    of one of the site's people, and an address that is not the site's."""

    hostname: str
    authors: Authors
    spf: Spf | None
    signatures: tuple[dkim.Signature, ...]
    chain: Chain
    dmarc: Dmarc
    forwarder: str = ""
    verdict: Verdict = Verdict.NOTHING
    wanted: Policy = Policy.NONE
    why: str = ""
    borrows_name: bool = False

    def results(self) -> list[str]:
        """The results as they stand in Authentication-Results (RFC 8601).

        Of what strangers wrote only domains get in, and only those that are some.
        """
        return [*self._spf(), *self._dkim(), f"arc={self.chain.result}", self._dmarc()]

    def header(self) -> str:
        """The field, with LF at its lines' ends."""
        return f"Authentication-Results: {self.hostname};\n  " + ";\n  ".join(self.results()) + "\n"

    def _spf(self) -> Iterator[str]:
        if self.spf:
            yield f"spf={self.spf.result}" + _property(
                "smtp.helo" if self.spf.is_helo else "smtp.mailfrom", self.spf.domain.lower()
            )

    def _dkim(self) -> Iterator[str]:
        for item in self.signatures[:SHOWN]:
            yield f"dkim={item.result}" + _property("header.d", item.domain)
        if not self.signatures:
            yield "dkim=none"

    def _dmarc(self) -> str:
        text = f"dmarc={self.dmarc.result}" + _property("header.from", self.dmarc.domain)
        return text + f" policy.dmarc={self.dmarc.policy.name.lower()}" * (self.dmarc.result in _HAVE_POLICY)


def _property(name: str, domain: str) -> str:
    return f" {name}={domain}" if is_domain(domain) else ""


async def judge(
    message: Message, origin: Origin, names: Names, site: Site, chance: Callable[[], float] = random.random
) -> Report:
    """Ask all about a message. What is asked of the DNS raises nothing; OSError if the message cannot be read."""
    writers, names = authors(message), names.for_message()
    _expect(origin, writers, names)
    hops = arc.begin(message, names)
    signatures = await dkim.verify(message, names, writers.domains)
    chain = await arc.verify(message, names, hops)
    sent = await _spf(origin, names, site)
    evidence = Evidence(sent, signatures, site.suffixes)
    found = await dmarc.check(writers, evidence, names, chance)
    forwarder = arc.vouched(chain, site.forwarders, writers.domains[0]) if writers.is_one else ""
    verdict, wanted, why = _verdict(origin, writers, evidence, found, chain, forwarder, site)
    borrows = bool(site.protected) and not _is_ours(writers, site) and site.names_person(shown_name(message))
    return Report(
        site.hostname, writers, sent, tuple(signatures), chain, found, forwarder, verdict, wanted, why, borrows
    )


def _expect(origin: Origin, writers: Authors, names: Names) -> None:
    """Begin to ask for what is needed in any case."""
    sent = [spf.domain_of(origin.helo, origin.sender)] if origin.client else []
    for name in (*sent, *(f"_dmarc.{domain}" for domain in writers.domains)):
        if is_domain(name.lower()):
            names.expect(name)


def _is_ours(writers: Authors, site: Site) -> bool:
    """Whether a message bears nobody's name but the site's own."""
    return bool(writers.domains) and all(map(site.is_own, writers.domains))


async def _spf(origin: Origin, names: Names, site: Site) -> Spf | None:
    if origin.client is None:
        return None
    return await spf.check(origin.client, origin.helo, origin.sender, names, site.hostname)


def _verdict(
    origin: Origin, writers: Authors, evidence: Evidence, found: Dmarc, chain: Chain, forwarder: str, site: Site
) -> tuple[Verdict, Policy, str]:
    """The verdict, what is to be done, and why."""
    if found.result is dmarc.Result.PASS or forwarder:
        return Verdict.NOTHING, Policy.NONE, ""
    own = _spoofed(origin, writers, found, site)
    if found.result is dmarc.Result.TEMPERROR and (writers.is_one or not own):
        return Verdict.LATER, Policy.NONE, found.why
    if origin.client and _is_ours(writers, site) and site.is_exempt(origin.client, evidence):
        return Verdict.NOTHING, Policy.NONE, ""
    is_lost = own or found.wanted > Policy.NONE
    if is_lost and chain.result == "temperror" and chain.sealers[-1:] and chain.sealers[-1] in site.forwarders:
        return Verdict.LATER, Policy.NONE, chain.why
    if own and evidence.may_come(own, dmarc.ANY):
        return Verdict.LATER, Policy.NONE, "a domain that may vouch for it cannot be asked now"
    if own:
        return Verdict.SPOOFED, found.wanted, f"it is written in the name of {own} and does not come from there"
    if is_lost:
        why = found.why or f"it is not from {found.domain}, which wants such mail {_WANTED[found.wanted]}"
        return Verdict.UNAUTHENTICATED, found.wanted, why
    return Verdict.NOTHING, Policy.NONE, ""


def _spoofed(origin: Origin, writers: Authors, found: Dmarc, site: Site) -> str:
    """The site's own domain in whose name a message is written without a proof; empty if there is none."""
    if origin.client is None or found.aligned:
        return ""
    return next((domain for domain in writers.domains if site.is_own(domain)), "")
