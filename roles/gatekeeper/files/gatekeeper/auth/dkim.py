"""DKIM signatures (RFC 6376, 8301, 8463) of what comes in.

Of our own making and not dkimpy's, as gatepost's signatures are: dkimpy holds a message several times over in memory,
and one such message would stop all questions of all sessions for a second. Tests verify signatures that dkimpy made.

Stricter than the RFC: RSA with SHA-1 or with less than 1024 bits is no signature (RFC 8301), nor is one that covers
only the body's beginning (l=), as anybody may add to it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from gatekeeper.addresses import in_ascii, is_domain
from gatekeeper.auth.mail import Field, Message, relaxed
from gatekeeper.auth.names import Names
from gatekeeper.resolve import TryLater

MOST = 8
"""Signatures of a message that are looked at."""
SHORTEST, LONGEST = 1024, 8192
"""Bits of an RSA key."""
RECORD = 4000
"""Characters of a key's record."""
IN_PLACE = 1 << 18
"""Bytes of a message from which on its body is hashed in a thread."""
THREADS = 2
CLOCK = 300
"""Seconds by which clocks may differ."""

Key = rsa.RSAPublicKey | ed25519.Ed25519PublicKey
_TAG = re.compile(r"[ \t\r\n]*([a-z][a-z0-9_]*)[ \t\r\n]*=(.*)", re.IGNORECASE | re.DOTALL)
_SELECTOR = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE)
_SIGNATURE = re.compile(rb"((?:\A|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_REQUIRED = ("v", "a", "b", "bh", "d", "h", "s")
_ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
_FORMS = ("simple", "relaxed")
_hashing: asyncio.Semaphore | None = None


class Result(StrEnum):
    """What is said of a signature (RFC 8601)."""

    PASS = "pass"
    FAIL = "fail"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature and what is said of it. domain: in lower case, empty if it has none that could be."""

    result: Result
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    why: str = ""


class Unusable(Exception):
    """A signature or key that cannot be used; the text says why."""

    result = Result.PERMERROR


class Invalid(Unusable):
    """A signature that is not one of this message."""

    result = Result.FAIL


class Refused(Unusable):
    """A signature that may be valid, but is not worth anything."""

    result = Result.POLICY


@dataclass(frozen=True, slots=True)
class Tags:
    """What a signature says, checked as far as it can be without its key."""

    given: Mapping[str, str]
    domain: str
    selector: str
    algorithm: str
    names: tuple[str, ...]
    header_relaxed: bool
    body_relaxed: bool
    signature: bytes

    @property
    def identity(self) -> str:
        """Whom it is for, with the domain in lower case."""
        local, _, domain = self.given.get("i", f"@{self.domain}").rpartition("@")
        return f"{local}@{in_ascii(domain)}"


async def verify(message: Message, names: Names, first: Sequence[str] = ()) -> list[Signature]:
    """What is said of a message's signatures, those of the domains in `first` before others. Raises nothing."""
    found = message.named("dkim-signature")
    if len(found) > 1:
        found.sort(key=lambda item: _claimed(item) not in first)
    claims = [_claim(item) for item in found[:MOST]]
    for claim in claims:
        if isinstance(claim.read, Tags):
            names.expect(key_name(claim.read))
    return [await _verify(message, claim, names) for claim in claims]


def _claimed(item: Field) -> str:
    try:
        return in_ascii(tags(item.value).get("d", ""))
    except Unusable:
        return ""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A signature's field, what it says, and that checked: what is wrong with it if it cannot be used."""

    item: Field
    said: Mapping[str, str]
    read: Tags | Unusable


def _claim(item: Field) -> _Claim:
    said: Mapping[str, str] = {}
    try:
        said = tags(item.value)
        return _Claim(item, said, parse(said))
    except Unusable as error:
        return _Claim(item, said, error)


async def _verify(message: Message, claim: _Claim, names: Names) -> Signature:
    read = claim.read
    if isinstance(read, Unusable):
        return _told(read.result, claim.said, str(read))
    try:
        key = await key_of(read, names)
        await compare_body(message, read)
        check(key, header_digest(message.fields, claim.item, read), read)
    except Unusable as error:
        return _told(error.result, claim.said, str(error))
    except TryLater as error:
        return _told(Result.TEMPERROR, claim.said, str(error))
    return _told(Result.PASS, claim.said, "")


def _told(result: Result, said: Mapping[str, str], why: str) -> Signature:
    domain = in_ascii(said.get("d", ""))
    domain = domain if is_domain(domain) else ""
    selector = said.get("s", "") if _SELECTOR.fullmatch(said.get("s", "")) else ""
    return Signature(result, domain, selector, said.get("i", f"@{domain}"), said.get("a", ""), why)


# What a signature says


def tags(value: bytes) -> dict[str, str]:
    """A list of tags; raise Unusable. White space around values is left out."""
    found: dict[str, str] = {}
    text = value.decode("utf-8", "replace")
    for part in text.rstrip(" \t\r\n").removesuffix(";").split(";"):
        tag = _TAG.fullmatch(part)
        if tag is None:
            raise Unusable("it is no list of tags")
        if tag[1] in found:
            raise Unusable(f"it has two {tag[1]}=")
        found[tag[1]] = tag[2].strip(" \t\r\n")
    return found


def parse(given: Mapping[str, str], required: Sequence[str] = _REQUIRED) -> Tags:
    """A signature's tags, checked; raise Unusable."""
    missing = [name for name in required if not given.get(name)]
    if missing:
        raise Unusable(f"it has no {missing[0]}=")
    if "v" in required and given["v"] != "1":
        raise Unusable("it is of another version")
    domain, selector = in_ascii(given["d"]), given["s"]
    if not is_domain(domain) or not _SELECTOR.fullmatch(selector):
        raise Unusable("its d= or s= is no domain")
    header, body = _forms(given.get("c", "simple/simple"))
    names = tuple(name.strip(" \t\r\n").lower() for name in given.get("h", "").split(":"))
    read = Tags(given, domain, selector, _algorithm(given["a"]), names, header, body, _decoded(given["b"]))
    _check_times(given)
    if "i" in given and "v" in required and not _is_within(read.identity.rpartition("@")[2], domain):
        raise Unusable("its i= is not within its d=")
    if "h" in required and "from" not in names:
        raise Unusable("it does not cover From")
    if "dns/txt" not in [method.strip() for method in given.get("q", "dns/txt").split(":")]:
        raise Unusable("its key is not in the DNS")
    return read


def _algorithm(text: str) -> str:
    if text.lower() == "rsa-sha1":
        raise Refused("it is made with SHA-1")
    if text.lower() not in _ALGORITHMS:
        raise Unusable("its algorithm is unknown")
    return _ALGORITHMS[text.lower()]


def _forms(text: str) -> tuple[bool, bool]:
    header, _, body = text.lower().partition("/")
    if header not in _FORMS or (body or "simple") not in _FORMS:
        raise Unusable("its c= is unknown")
    return header == "relaxed", body == "relaxed"


def _check_times(given: Mapping[str, str]) -> None:
    made, ends = (_number(given[name]) if name in given else None for name in ("t", "x"))
    if ends is not None and made is not None and ends <= made:
        raise Unusable("it ends before it begins")
    if ends is not None and ends + CLOCK < time.time():
        raise Invalid("it has expired")
    if made is not None and made - 86_400 > time.time():
        raise Invalid("it is of the future")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise Unusable("it has a time that is none")
    return int(text)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(re.sub(r"[ \t\r\n]+", "", text), validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("it is no base64") from None


def _is_within(name: str, domain: str) -> bool:
    return name == domain or name.endswith(f".{domain}")


# Keys


def key_name(read: Tags) -> str:
    """Where a signature's key stands."""
    return f"{read.selector}._domainkey.{read.domain}"


async def key_of(read: Tags, names: Names) -> Key:
    """A signature's key; raise Unusable, TryLater."""
    texts = await names.texts(key_name(read))
    if not texts:
        raise Unusable("its key is not there")
    if len(texts) > 1:
        raise Unusable("its key has several records")
    key, is_strict = parse_key(texts[0], read.algorithm)
    if is_strict and read.identity.rpartition("@")[2] != read.domain:
        raise Unusable("its key is not for its i=")
    return key


@lru_cache(1000)
def parse_key(text: str, algorithm: str) -> tuple[Key, bool]:
    """A key's record, and whether it is for no domain below its own (t=s); raise Unusable."""
    if len(text) > RECORD:
        raise Unusable("its key's record is too long")
    given = tags(text.encode("latin-1"))
    if "p" not in given or given.get("v", "DKIM1") != "DKIM1" or ("v" in given and next(iter(given)) != "v"):
        raise Unusable("its key's record is none")
    if not given["p"]:
        raise Unusable("its key is withdrawn")
    if given.get("k", "rsa") != algorithm:
        raise Unusable("its key is of another kind")
    if not _list(given.get("h", "sha256")) & {"sha256"} or not _list(given.get("s", "*")) & {"*", "email"}:
        raise Unusable("its key is for something else")
    return _key(_decoded(given["p"]), algorithm), "s" in _list(given.get("t", ""))


def _list(text: str) -> set[str]:
    return {item.strip() for item in text.split(":")}


def _key(data: bytes, algorithm: str) -> Key:
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(data) if algorithm == "ed25519" else load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("its key is none") from None
    if not isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey) or isinstance(key, rsa.RSAPublicKey) != (
        algorithm == "rsa"
    ):
        raise Unusable("its key is of another kind")
    if isinstance(key, rsa.RSAPublicKey) and not SHORTEST <= key.key_size <= LONGEST:
        raise Refused(f"its key has {key.key_size} bits")
    return key


# Whether it is one of this message


async def compare_body(message: Message, read: Tags) -> None:
    """Raise Unusable if the body is not the one that was signed."""
    if message.size > IN_PLACE:
        async with _threads():
            digest, length = await asyncio.to_thread(message.digest, read.body_relaxed)
    else:
        digest, length = message.digest(read.body_relaxed)
    covered = read.given.get("l")
    if covered is not None and _number(covered) < length:
        raise Refused("it covers only the body's beginning")
    if digest != _decoded(read.given["bh"]):
        raise Invalid("the body is another one")


def _threads() -> asyncio.Semaphore:
    global _hashing
    if _hashing is None:
        _hashing = asyncio.Semaphore(THREADS)
    return _hashing


def header_digest(fields: Sequence[Field], item: Field, read: Tags) -> bytes:
    """The digest of the fields that a signature covers, and of itself."""
    digest = hashlib.sha256()
    left: dict[str, list[Field]] = {}
    for other in fields:
        left.setdefault(_bare(other), []).append(other)
    for name in read.names:
        if left.get(name):
            digest.update(_canonical(left[name].pop(), read.header_relaxed))
    digest.update(_canonical(without_signature(item), read.header_relaxed).removesuffix(b"\r\n"))
    return digest.digest()


def _bare(item: Field) -> str:
    """A field's name as signers take it: tricks with it are no business of theirs."""
    return item.raw.partition(b":")[0].strip(b" \t\r\n").lower().decode("latin-1")


def _canonical(item: Field, is_relaxed: bool) -> bytes:
    return relaxed(item) if is_relaxed else item.raw


def without_signature(item: Field) -> Field:
    """A signature's field without the value of b=."""
    name, colon, value = item.raw.removesuffix(b"\r\n").partition(b":")
    return Field(item.name, name + colon + _SIGNATURE.sub(rb"\1", value) + b"\r\n")


def check(key: Key, digest: bytes, read: Tags) -> None:
    """Raise Invalid if a signature is not one of this digest."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(read.signature, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
        else:
            key.verify(read.signature, digest)
    except InvalidSignature:
        raise Invalid("the signature is not one of this header") from None
