"""ARC (RFC 8617): what forwarders say they saw, in a chain of seals. It counts only as far as they are trusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gatekeeper.addresses import in_ascii
from gatekeeper.auth import dkim
from gatekeeper.auth.dkim import Unusable
from gatekeeper.auth.mail import Field, Message, plain, relaxed
from gatekeeper.auth.names import Names
from gatekeeper.resolve import TryLater

MOST = 50
"""Hops of a chain."""
_RESULTS, _SIGNATURE, _SEAL = "arc-authentication-results", "arc-message-signature", "arc-seal"
_KINDS = (_RESULTS, _SIGNATURE, _SEAL)
_INSTANCE = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([1-9][0-9]?)[ \t\r\n]*;")
_PIECE = re.compile(r'\\.|[()"\\]|[^()"\\]+', re.DOTALL)
LONGEST = 20_000
"""Characters of what a forwarder saw."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One forwarder's three fields."""

    results: Field
    signature: Field
    seal: Field


@dataclass(frozen=True, slots=True)
class Chain:
    """What is said of a chain: none, pass, fail or temperror; who sealed it, the first one first, and what they saw.

    Without a pass sealers are who they say they are.
    """

    result: str
    sealers: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Begun:
    """A chain that was read, with its seals in order."""

    hops: list[Hop]
    seals: list[dkim.Tags]


def begin(message: Message, names: Names) -> Begun | Chain:
    """Read a message's chain and begin to ask for its keys; what is said of it if that needs none. Raises nothing."""
    try:
        hops = _hops(message)
        seals = [_seal(hop, at + 1) for at, hop in enumerate(hops)]
    except Unusable as error:
        return Chain("fail", why=str(error))
    for seal in seals:
        names.expect(dkim.key_name(seal))
    return Begun(hops, seals) if hops else Chain("none")


async def verify(message: Message, names: Names, begun: Begun | Chain) -> Chain:
    """What is said of a message's chain. Raises nothing."""
    if isinstance(begun, Chain):
        return begun
    sealers = tuple(seal.domain for seal in begun.seals)
    try:
        await _check(message, begun.hops, begun.seals, names)
    except Unusable as error:
        return Chain("fail", why=str(error))
    except TryLater as error:
        return Chain("temperror", sealers, why=str(error))
    return Chain("pass", sealers, tuple(_seen(hop.results) for hop in begun.hops))


async def _check(message: Message, hops: list[Hop], seals: list[dkim.Tags], names: Names) -> None:
    """Raise Unusable if a seal or the last signature is not one of this message; TryLater if that cannot be known now.

    All are looked at: a stranger whose name server is dead is not waited for where a seal is forged.
    """
    late: TryLater | None = None
    try:
        await _check_signature(message, hops, names)
    except TryLater as error:
        late = error
    for at in range(len(hops), 0, -1):
        try:
            dkim.check(await dkim.key_of(seals[at - 1], names), _digest(hops[:at]), seals[at - 1])
        except TryLater as error:
            late = late or error
    if late:
        raise late


def _hops(message: Message) -> list[Hop]:
    """The chain's hops in order; raise Unusable if it has gaps, or more of one kind than of another."""
    found: dict[str, dict[int, Field]] = {kind: {} for kind in _KINDS}
    for item in message.fields:
        if item.name in found:
            at = _instance(item)
            if at in found[item.name]:
                raise Unusable(f"there are two {item.name} of hop {at}")
            found[item.name][at] = item
    count = len(found[_SEAL])
    if any(sorted(items) != list(range(1, count + 1)) for items in found.values()):
        raise Unusable("the chain has a gap")
    return [Hop(*(found[kind][at] for kind in _KINDS)) for at in range(1, count + 1)]


def _instance(item: Field) -> int:
    text = dkim.tags(item.value).get("i", "") if item.name != _RESULTS else ""
    if item.name == _RESULTS:
        found = _INSTANCE.match(item.value)
        text = found[1].decode() if found else ""
    if not (text.isascii() and text.isdigit()) or len(text) > 2 or not 0 < int(text) <= MOST:
        raise Unusable(f"{item.name} has no hop's number")
    return int(text)


def _seal(hop: Hop, at: int) -> dkim.Tags:
    """A seal that says that the chain was whole; raise Unusable."""
    given = dkim.tags(hop.seal.value)
    if given.get("cv", "").lower() != ("none" if at == 1 else "pass"):
        raise Unusable(f"hop {at} does not say that the chain was whole")
    if "h" in given:
        raise Unusable(f"the seal of hop {at} has an h=")
    return dkim.parse(given, ("a", "b", "d", "s"))


async def _check_signature(message: Message, hops: list[Hop], names: Names) -> None:
    """The last hop's signature over the message; earlier ones may have been broken by later hops."""
    item = hops[-1].signature
    read = dkim.parse(_without_identity(dkim.tags(item.value)), ("a", "b", "bh", "d", "h", "s"))
    if _SEAL in read.names:
        raise Unusable("the signature covers a seal")
    key = await dkim.key_of(read, names)
    await dkim.compare_body(message, read)
    dkim.check(key, dkim.header_digest(message.fields, item, read), read)


def _without_identity(given: Mapping[str, str]) -> dict[str, str]:
    """In ARC i= is the hop's number."""
    return {name: value for name, value in given.items() if name != "i"}


def _digest(hops: list[Hop]) -> bytes:
    """The digest that the last of these hops sealed."""
    digest = hashlib.sha256()
    for hop in hops[:-1]:
        digest.update(relaxed(hop.results) + relaxed(hop.signature) + relaxed(hop.seal))
    last = hops[-1]
    digest.update(relaxed(last.results) + relaxed(last.signature))
    digest.update(relaxed(dkim.without_signature(last.seal)).removesuffix(b"\r\n"))
    return digest.digest()


def _seen(item: Field) -> str:
    return plain(item.value).decode("utf-8", "replace").partition(";")[2]


# What trusted forwarders say


def vouched(chain: Chain, trusted: Collection[str], author: str) -> str:
    """The trusted forwarder that saw DMARC pass for an author's domain; empty if none did.

    All hops from that one on must be trusted: whoever comes later could have changed the message.
    """
    if chain.result != "pass":
        return ""
    found = ""
    for sealer, seen in reversed(list(zip(chain.sealers, chain.seen, strict=True))):
        if sealer not in trusted:
            break
        found = sealer if saw_pass(seen, author) else found
    return found


def saw_pass(results: str, author: str) -> bool:
    """Whether results of authentication say dmarc=pass for a domain."""
    for part in _bare(results[:LONGEST]).split(";"):
        words = part.lower().split()
        if "dmarc=pass" in words[:1] and any(in_ascii(word) == f"header.from={author}" for word in words[1:]):
            return True
    return False


def _bare(text: str) -> str:
    """Text without comments and what is in quotation marks; one pass, however many there are."""
    pieces: list[str] = []
    depth, is_quoted = 0, False
    for piece in _PIECE.findall(text):
        if piece == '"' and not depth:
            is_quoted = not is_quoted
        if piece in "()" and not is_quoted:
            depth = max(0, depth + (1 if piece == "(" else -1))
        is_kept = not depth and not is_quoted and piece not in ("(", ")", '"')
        pieces.append(piece if is_kept else " ")
    return "".join(pieces)
