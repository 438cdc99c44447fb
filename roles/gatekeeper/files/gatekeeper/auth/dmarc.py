"""DMARC (RFC 7489): whether SPF or DKIM speak for the author's domain, and what it wants done if neither does."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache

from gatekeeper.auth import dkim, spf
from gatekeeper.auth.mail import Authors
from gatekeeper.auth.names import Names
from gatekeeper.auth.suffixes import Suffixes
from gatekeeper.resolve import TryLater

USUAL = 512
"""Characters of a record up to which what it says is kept: long ones would take much memory."""

_BEGINNING = re.compile(r"[ \t]*[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")


class Policy(IntEnum):
    """What a domain wants done with mail that is not its own; the greater, the stricter."""

    NONE = 0
    QUARANTINE = 1
    REJECT = 2


class Result(StrEnum):
    """What DMARC says."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Record:
    """A domain's record. below: the policy for names below an organisation's domain. percent: of mail it is for."""

    policy: Policy
    below: Policy
    strict_dkim: bool = False
    strict_spf: bool = False
    percent: int = 100
    wants_reports: bool = False


@dataclass(frozen=True, slots=True)
class Dmarc:
    """The result for a domain (that of the strictest policy if there are several). policy: what it publishes for this
    name; wanted: what is to be done with this message, after its percentage. aligned: domains that vouched.
    record: the one that counts, and where it stands."""

    result: Result
    domain: str = ""
    policy: Policy = Policy.NONE
    wanted: Policy = Policy.NONE
    aligned: tuple[str, ...] = ()
    why: str = ""
    record: Record | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What SPF and DKIM say of a message."""

    spf: spf.Spf | None
    signatures: Sequence[dkim.Signature]
    suffixes: Suffixes

    def aligned(self, author: str, record: Record) -> tuple[str, ...]:
        """The domains that vouch for an author's."""
        found = [item.domain for item in self.signatures if item.result is dkim.Result.PASS]
        signed = [name for name in found if self._is_aligned(name, author, record.strict_dkim)]
        sent = self.spf.domain.lower() if self.spf and self.spf.result is spf.Result.PASS else ""
        return tuple(dict.fromkeys(signed + [sent] * self._is_aligned(sent, author, record.strict_spf)))

    def proven(self) -> set[str]:
        """All domains that vouch for something."""
        found = {item.domain for item in self.signatures if item.result is dkim.Result.PASS}
        return found | ({self.spf.domain.lower()} if self.spf and self.spf.result is spf.Result.PASS else set())

    def may_come(self, author: str, record: Record) -> bool:
        """Whether a domain might vouch that cannot be asked now."""
        late = [item.domain for item in self.signatures if item.result is dkim.Result.TEMPERROR]
        sent = self.spf.domain.lower() if self.spf and self.spf.result is spf.Result.TEMPERROR else ""
        return any(self._is_aligned(name, author, record.strict_dkim) for name in late) or self._is_aligned(
            sent, author, record.strict_spf
        )

    def _is_aligned(self, name: str, author: str, is_strict: bool) -> bool:
        if not name or is_strict or name == author:
            return bool(name) and name == author
        return self.suffixes.organisation(name) == self.suffixes.organisation(author)


ANY = Record(Policy.NONE, Policy.NONE)
"""Alignment as it is where a domain publishes nothing."""


async def check(
    authors: Authors, evidence: Evidence, names: Names, chance: Callable[[], float] = random.random
) -> Dmarc:
    """DMARC of a message's authors. chance: from 0 to 1, for domains that want it for a part of their mail."""
    if authors.is_cut:
        why = "it names more authors than are looked at"
        return Dmarc(Result.PERMERROR, "".join(authors.domains[:1]), Policy.QUARANTINE, Policy.QUARANTINE, why=why)
    if not authors.domains:
        return Dmarc(Result.NONE, why="no author's domain")
    try:
        if authors.is_one:
            return await _check(authors.domains[0], evidence, names, chance)
        worst = await _worst(authors.domains, evidence, names, chance)
    except TryLater as error:
        return Dmarc(Result.TEMPERROR, authors.domains[0], why=str(error))
    return Dmarc(Result.PERMERROR, worst.domain, worst.policy, worst.policy, why="it is not plain who the author is")


async def _worst(domains: Sequence[str], evidence: Evidence, names: Names, chance: Callable[[], float]) -> Dmarc:
    """The strictest of several domains. Raises TryLater if one that says nothing now might be stricter."""
    asked = (_check(domain, evidence, names, chance) for domain in domains)
    found = await asyncio.gather(*asked, return_exceptions=True)
    known = [item for item in found if isinstance(item, Dmarc)]
    worst = max(known, key=lambda item: item.policy, default=None)
    is_strictest = worst is not None and worst.policy is Policy.REJECT
    for error in found:
        if isinstance(error, BaseException) and not (is_strictest and isinstance(error, TryLater)):
            raise error
    assert worst
    return worst


async def _check(author: str, evidence: Evidence, names: Names, chance: Callable[[], float]) -> Dmarc:
    record, policy, at = await _published(author, evidence.suffixes, names)
    if record is None:
        return Dmarc(Result.NONE, author, aligned=evidence.aligned(author, ANY))
    aligned = evidence.aligned(author, record)
    if aligned:
        return Dmarc(Result.PASS, author, policy, aligned=aligned, record=record, at=at)
    if evidence.may_come(author, record):
        return Dmarc(Result.TEMPERROR, author, policy, why="a domain that may vouch for it cannot be asked now")
    is_meant = chance() * 100 < record.percent
    wanted = policy if is_meant else Policy(max(0, policy - 1))
    return Dmarc(Result.FAIL, author, policy, wanted, record=record, at=at)


async def _published(author: str, suffixes: Suffixes, names: Names) -> tuple[Record | None, Policy, str]:
    """An author's record, the policy for its name, and where the record stands. Raises TryLater."""
    record = _one(await names.texts(f"_dmarc.{author}"))
    if record:
        return record, record.policy, author
    organisation = suffixes.organisation(author)
    record = _one(await names.texts(f"_dmarc.{organisation}")) if organisation != author else None
    return record, record.below if record else Policy.NONE, organisation


def _one(texts: Sequence[str]) -> Record | None:
    found = [text for text in texts if _BEGINNING.match(text)]
    return parse(found[0]) if len(found) == 1 else None


def parse(text: str) -> Record | None:
    """A record of its text; None if it is none."""
    return _kept(text) if len(text) <= USUAL else _parse(text)


@lru_cache(500)
def _kept(text: str) -> Record | None:
    return _parse(text)


def _parse(text: str) -> Record | None:
    pairs = [part.partition("=") for part in text.split(";")]
    given = {name.strip().lower(): value.strip() for name, _, value in reversed(pairs)}
    if given.get("v") != "DMARC1":
        return None
    policy = _policy(given.get("p", ""))
    below = _policy(given["sp"]) if "sp" in given else policy
    if policy is None or below is None:
        # who asks for reports has a record, and means no harm by a policy that cannot be read (6.6.3)
        if "rua" not in given:
            return None
        policy = below = Policy.NONE
    return Record(
        policy,
        below,
        given.get("adkim", "r").lower() == "s",
        given.get("aspf", "r").lower() == "s",
        _percent(given.get("pct", "100")),
        "mailto:" in given.get("rua", "").lower(),
    )


def _policy(text: str) -> Policy | None:
    return {"none": Policy.NONE, "quarantine": Policy.QUARANTINE, "reject": Policy.REJECT}.get(text.lower())


def _percent(text: str) -> int:
    return min(100, int(text)) if text.isascii() and text.isdigit() and len(text) < 4 else 100
