"""SPF (RFC 7208): whether a client may send in a domain's name.

An implementation of our own, as Debian's python3-spf waits for each answer in the thread that asks. Here nothing
waits but a coroutine, and the addresses of a term are asked for at once. The limits are the RFC's: 10 terms that cause
look-ups, 10 names of an `mx` or `ptr`, 2 look-ups in vain. Only the look-ups of terms themselves count as in vain, not
those of the servers that an `mx` names: for a client with IPv6 most of these have no address of its kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote

from gatekeeper.addresses import IPAddress, in_ascii
from gatekeeper.auth.names import Names
from gatekeeper.resolve import TryLater

TERMS = 10
"""Terms that cause look-ups, in all records together."""
NAMES = 10
"""Names that an mx may have, and that are looked at for a ptr."""
IN_VAIN = 2
"""Look-ups of terms that may find nothing."""
SECONDS = 20.0
"""For all of it (RFC 7208, 4.6.4)."""
LONGEST = 253
"""Characters of a name."""
RECORD = 10_000
"""Characters of a record. Real ones have a few hundred; the RFC wants no more than 512."""
USUAL = 512
"""Characters of a record up to which its terms are kept: those of the longest would take much memory."""
EXPLANATION = 500

_MACRO = r"%(?:\{[slodiphcrtv]\d*r?[-.+,/_=]*\}|[%_-])"
_MACRO_STRING = re.compile(rf"(?:{_MACRO}|[!-$&-~])*", re.IGNORECASE)
_EXPLANATION = re.compile(rf"(?:{_MACRO}|[ -$&-~])*", re.IGNORECASE)
_TOP_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE)
_MACRO_AT_END = re.compile(r"%\{[^{}]*\}\Z")
_EXPANDED = re.compile(r"%(?:\{([slodiphcrtv])(\d*)(r?)([-.+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_ONLY_EXPLAINING = re.compile(r"%\{[crt]", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_MECHANISM = re.compile(r"([-+?~]?)([a-z0-9]+)(.*)", re.IGNORECASE)
_LENGTHS = re.compile(r"(?P<rest>.*?)(?:/(?P<four>\d+))?(?://(?P<six>\d+))?")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}\.?", re.IGNORECASE)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}


class Result(StrEnum):
    """What SPF says."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_QUALIFIED = {"": Result.PASS, "+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}


@dataclass(frozen=True, slots=True)
class Spf:
    """The result for a domain, which is that of the envelope sender, or of HELO if there is none (is_helo).

    why: what is wrong with the record. explanation: what the domain says of a failure; a stranger's text.
    """

    result: Result
    domain: str
    is_helo: bool = False
    why: str = ""
    explanation: str = ""


class Wrong(Exception):
    """A record that cannot be used (permerror); the text says why."""


@dataclass(frozen=True, slots=True)
class Term:
    """A mechanism. spec: its domain-spec, empty for the domain itself. four, six: bits of addresses that count."""

    name: str
    result: Result
    spec: str = ""
    four: int = 32
    six: int = 128
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A domain's record."""

    terms: tuple[Term, ...]
    redirect: str = ""
    explanation: str = ""


async def check(client: IPAddress, helo: str, sender: str, names: Names, receiver: str = "") -> Spf:
    """SPF of the envelope sender (empty: of HELO) for a client; names of the DNS are asked. Raises nothing."""
    local, domain = (sender or helo).rpartition("@")[0] or "postmaster", domain_of(helo, sender)
    if not _DOMAIN.fullmatch(domain):
        return Spf(Result.NONE, domain, not sender, "no domain that could have a record")
    asked = _Check(client, helo, local, domain, names, receiver)
    why = explanation = ""
    try:
        async with asyncio.timeout(SECONDS):
            result, record, of = await asked.judge(domain)
            explanation = await asked.explain(record, of) if result is Result.FAIL else ""
    except Wrong as error:
        result, why = Result.PERMERROR, str(error)
    except TryLater as error:
        result, why = Result.TEMPERROR, str(error)
    except TimeoutError:
        result, why = Result.TEMPERROR, f"no answers within {SECONDS:.0f} s"
    return Spf(result, domain, not sender, why, explanation)


def domain_of(helo: str, sender: str) -> str:
    """The domain that is asked: the envelope sender's, or that of HELO if there is none."""
    domain = (sender or helo).rpartition("@")[2]
    return domain if domain.isascii() else in_ascii(domain)


# Records


def parse(text: str) -> Record:
    """A record of its text; raise Wrong."""
    if len(text) > RECORD:
        raise Wrong(f"the record has more than {RECORD} characters")
    return _kept(text) if len(text) <= USUAL else _parse(text)


@lru_cache(500)
def _kept(text: str) -> Record:
    return _parse(text)


def _parse(text: str) -> Record:
    if not all(" " <= letter <= "~" for letter in text):
        raise Wrong("the record has a character that is not allowed")
    terms: list[Term] = []
    modifiers: dict[str, str] = {}
    for word in text.split(" ")[1:]:
        modifier = _MODIFIER.fullmatch(word)
        if modifier:
            _add_modifier(modifiers, modifier[1].lower(), modifier[2])
        elif word:
            terms.append(_term(word))
    return Record(tuple(terms), modifiers.get("redirect", ""), modifiers.get("exp", ""))


def _add_modifier(modifiers: dict[str, str], name: str, value: str) -> None:
    if name in ("redirect", "exp"):
        if name in modifiers:
            raise Wrong(f"the record has two {name}=")
        modifiers[name] = _domain_spec(value)
    elif not _MACRO_STRING.fullmatch(value):
        raise Wrong(f"{name}= has a value that is not allowed")


def _term(word: str) -> Term:
    found = _MECHANISM.fullmatch(word)
    if not found:
        raise Wrong(f"{word!r} is no mechanism")
    qualifier, name, rest = found[1], found[2].lower(), found[3]
    result = _QUALIFIED[qualifier]
    if name == "all" and not rest:
        return Term(name, result)
    if name in ("ip4", "ip6") and rest.startswith(":"):
        return Term(name, result, network=_network(name, rest[1:]))
    if name in ("include", "exists") and rest.startswith(":"):
        return Term(name, result, _domain_spec(rest[1:]))
    if name == "ptr" and (not rest or rest.startswith(":")):
        return Term(name, result, _domain_spec(rest[1:]) if rest else "")
    if name in ("a", "mx"):
        return _with_lengths(name, result, rest)
    raise Wrong(f"{word!r} is no mechanism")


def _with_lengths(name: str, result: Result, rest: str) -> Term:
    found = _LENGTHS.fullmatch(rest)
    assert found
    spec = found["rest"]
    if spec and not spec.startswith(":"):
        raise Wrong(f"{name}{rest!r} is no mechanism")
    four, six = _bits(found["four"], 32), _bits(found["six"], 128)
    return Term(name, result, _domain_spec(spec[1:]) if spec else "", four, six)


def _bits(text: str | None, most: int) -> int:
    if text is None:
        return most
    if len(text) > 3 or (text != "0" and text.startswith("0")) or int(text) > most:
        raise Wrong(f"/{text} is no length of a network")
    return int(text)


def _network(name: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    address, slash, bits = text.partition("/")
    if slash and not (bits.isascii() and bits.isdigit()):
        raise Wrong(f"{text!r} is no network")
    try:
        if name == "ip4":
            four = ipaddress.IPv4Address(address)
            return ipaddress.IPv4Network((four, _bits(bits if slash else None, 32)), strict=False)
        six = ipaddress.IPv6Address(address if "%" not in address else "")
        return ipaddress.IPv6Network((six, _bits(bits if slash else None, 128)), strict=False)
    except ValueError:
        raise Wrong(f"{text!r} is no network of {name}") from None


def _domain_spec(text: str) -> str:
    if not _MACRO_STRING.fullmatch(text) or not _ends_well(text) or _ONLY_EXPLAINING.search(text):
        raise Wrong(f"{text!r} is no domain")
    return text


def _ends_well(text: str) -> bool:
    _, dot, label = text.removesuffix(".").rpartition(".")
    is_label = bool(dot) and bool(_TOP_LABEL.fullmatch(label)) and not label.isdigit()
    return is_label or bool(_MACRO_AT_END.search(text[-LONGEST:]))


# Judging


@dataclass(slots=True)
class _Check:
    """One message's check: what is known of it, and what was asked so far."""

    client: IPAddress
    helo: str
    local: str
    domain: str
    names: Names
    receiver: str
    terms: int = 0
    in_vain: int = 0
    validated: Sequence[str] | None = field(default=None)

    async def judge(self, domain: str) -> tuple[Result, Record | None, str]:
        """The result of a domain's record, the record that said it, and whose it is. Raises Wrong, TryLater."""
        record = await self._record(domain)
        if record is None:
            return Result.NONE, None, domain
        for term in record.terms:
            if await self._matches(term, domain):
                return term.result, record, domain
        if not record.redirect:
            return Result.NEUTRAL, record, domain
        self._count()
        target = await self._target(record.redirect, domain)
        found = await self.judge(target)
        if found[0] is Result.NONE:
            raise Wrong(f"redirect={target} leads to no record")
        return found

    async def _record(self, domain: str) -> Record | None:
        texts = [text for text in await self.names.texts(domain) if re.match(r"v=spf1(?: |\Z)", text, re.IGNORECASE)]
        if len(texts) > 1:
            raise Wrong(f"{domain} has more than one record")
        return parse(texts[0]) if texts else None

    async def _matches(self, term: Term, domain: str) -> bool:
        if term.name == "all":
            return True
        if term.network:
            return self.client in term.network
        self._count()
        target = await self._target(term.spec, domain) if term.spec else domain
        match term.name:
            case "include":
                return await self._includes(target)
            case "a":
                return self._is_among(self._found(await self._addresses(target)), term)
            case "mx":
                return await self._is_exchange(target, term)
            case "ptr":
                return any(_is_below(name, target) for name in await self._validated())
            case _:
                return bool(self._found(await self.names.addresses(target, "A")))

    async def _includes(self, target: str) -> bool:
        result, _, _ = await self.judge(target)
        if result is Result.NONE:
            raise Wrong(f"include:{target} leads to no record")
        return result is Result.PASS

    async def _is_exchange(self, target: str, term: Term) -> bool:
        servers = [name for name in self._found(await self.names.exchanges(target)) if name]
        if len(servers) > NAMES:
            raise Wrong(f"{target} has more than {NAMES} mail servers")
        found = await asyncio.gather(*(self._addresses(name) for name in servers), return_exceptions=True)
        if any(self._is_among(addresses, term) for addresses in found if not isinstance(addresses, BaseException)):
            return True
        for error in found:
            if isinstance(error, BaseException):
                raise error
        return False

    async def _addresses(self, name: str) -> Sequence[str]:
        return await self.names.addresses(name, "A" if self.client.version == 4 else "AAAA")

    def _is_among(self, addresses: Iterable[str], term: Term) -> bool:
        bits = term.four if self.client.version == 4 else term.six
        return any(self.client in ipaddress.ip_network((text, bits), strict=False) for text in addresses)

    async def _validated(self) -> Sequence[str]:
        """The client's own names that have its address. What cannot be known now is no such name."""
        if self.validated is None:
            claimed: Sequence[str] = ()
            with contextlib.suppress(TryLater):
                claimed = (await self.names.pointers(str(self.client)))[:NAMES]
            has = await asyncio.gather(*(self._has_client(name) for name in claimed))
            self.validated = [name for name, yes in zip(claimed, has, strict=True) if yes]
        return self.validated

    async def _has_client(self, name: str) -> bool:
        try:
            return any(ipaddress.ip_address(text) == self.client for text in await self._addresses(name))
        except TryLater:
            return False

    def _count(self) -> None:
        self.terms += 1
        if self.terms > TERMS:
            raise Wrong(f"more than {TERMS} terms that cause look-ups")

    def _found(self, records: Sequence[str]) -> Sequence[str]:
        self.in_vain += not records
        if self.in_vain > IN_VAIN:
            raise Wrong(f"more than {IN_VAIN} look-ups that find nothing")
        return records

    # Macros

    async def _target(self, spec: str, domain: str) -> str:
        """A domain-spec's domain; one that is too long loses labels from the left."""
        name = (await self._expanded(spec, domain)).removesuffix(".")
        return name if len(name) <= LONGEST else name[-LONGEST - 1 :].partition(".")[2]

    async def _expanded(self, text: str, domain: str) -> str:
        pieces = []
        last = 0
        for found in _EXPANDED.finditer(text):
            pieces += [text[last : found.start()], await self._value(found, domain)]
            last = found.end()
        return "".join([*pieces, text[last:]])

    async def _value(self, found: re.Match[str], domain: str) -> str:
        letter, digits, reverse, delimiters, escape = found.groups()
        if escape:
            return _ESCAPES[escape]
        if digits and not int(digits[:9]):
            raise Wrong(f"{found[0]} asks for no label")
        value = await self._letter(letter.lower(), domain)
        parts = re.split(f"[{re.escape(delimiters or '.')}]", value)
        parts = parts[::-1] if reverse else parts
        value = ".".join(parts[-int(digits[:9]) :] if digits else parts)
        return quote(value, safe="-._~") if letter.isupper() else value

    async def _letter(self, letter: str, domain: str) -> str:
        if letter == "p":
            return await self._own_name(domain)
        six = self.client.version == 6
        return {
            "s": f"{self.local}@{self.domain}",
            "l": self.local,
            "o": self.domain,
            "d": domain,
            "i": ".".join(self.client.exploded.replace(":", "")).upper() if six else str(self.client),
            "v": "ip6" if six else "in-addr",
            "h": self.helo,
            "c": str(self.client),
            "r": self.receiver or "unknown",
            "t": str(int(time.time())),
        }[letter]

    async def _own_name(self, domain: str) -> str:
        names = await self._validated()
        same = [name for name in names if name.lower() == domain.lower()]
        below = [name for name in names if _is_below(name, domain)]
        return (same or below or names or ["unknown"])[0]

    async def explain(self, record: Record | None, domain: str) -> str:
        """What a domain says of a failure, in ASCII; empty if it says nothing, or nothing that can be used."""
        if record is None or not record.explanation:
            return ""
        try:
            texts = await self.names.texts(await self._target(record.explanation, domain))
            if len(texts) == 1 and len(texts[0]) <= EXPLANATION and _EXPLANATION.fullmatch(texts[0]):
                return await self._expanded(texts[0], domain)
        except (TryLater, Wrong):
            pass
        return ""


def _is_below(name: str, domain: str) -> bool:
    return f".{name}".lower().removesuffix(".").endswith(f".{domain}".lower().removesuffix("."))
