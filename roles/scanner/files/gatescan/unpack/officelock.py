"""Office documents under Excel's public default password (MS-OFFCRYPTO 2.3).

A workbook that is only protected against changes is encrypted too, with a password that stands in Excel itself and that
it tries before it asks. Everybody can open such a file, so it has to be looked into. No other password is tried.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from gatescan.judging.budget import Budget
from gatescan.unpack.ciphers import aes_cbc, aes_ecb, rc4

_PASSWORD = "VelvetSweatshop".encode("utf-16-le")
_SPINS_MAX = 200_000
"""Rounds of hashing: Office uses 100,000. What asks for more is left sealed."""
_STANDARD_SPINS = 50_000
_TICK = 4096
_HASHES = frozenset(("md5", "sha1", "sha256", "sha384", "sha512"))
_SEGMENT = 4096
_BLOCK = 1024
_ATTRIBUTE = re.compile(r"(\w+)=\"([^\"]*)\"")
_INPUT, _VALUE, _KEY = (bytes.fromhex(key) for key in ("fea7d2763b4b9e79", "d7aa0f6d3061344e", "146e0be7abacd0d6"))

Attributes = dict[str, str]


def opened(info: bytes, package: bytes, budget: Budget) -> bytes | None:
    """The document in an EncryptedPackage stream; None when another password is needed. Raises LimitReached."""
    try:
        major, minor = struct.unpack_from("<HH", info, 0)
        if (major, minor) == (4, 4):
            return _agile(info[8:].decode("utf-8", "replace"), package, budget)
        if minor == 2 and major in (2, 3, 4):
            return _standard(info, package, budget)
    except (struct.error, ValueError, KeyError, binascii.Error):
        pass
    return None


def _standard(info: bytes, package: bytes, budget: Budget) -> bytes | None:
    """AES in ECB mode under a key made by SHA-1."""
    (header_size,) = struct.unpack_from("<L", info, 8)
    algorithm, _, bits = struct.unpack_from("<LLL", info, 20)
    salt, verifier, _, proof = struct.unpack_from("<4x16s16sL32s", info, 12 + header_size)
    if algorithm not in (0x660E, 0x660F, 0x6610) or bits not in (128, 256):
        return None
    digest = _spun("sha1", salt, _STANDARD_SPINS, budget)
    final = hashlib.sha1(digest + bytes(4), usedforsecurity=False).digest()
    key = (_derived(final, 0x36) + _derived(final, 0x5C))[: bits // 8]
    if hashlib.sha1(aes_ecb(key, verifier), usedforsecurity=False).digest() != aes_ecb(key, proof)[:20]:
        return None
    (size,) = struct.unpack_from("<Q", package, 0)
    body = package[8:]
    plain = aes_ecb(key, body[: len(body) // 16 * 16])
    budget.spend(len(plain))
    return plain[:size]


def _derived(final: bytes, fill: int) -> bytes:
    padded = bytes(fill ^ byte for byte in final) + bytes((fill,)) * (64 - len(final))
    return hashlib.sha1(padded, usedforsecurity=False).digest()


def _agile(text: str, package: bytes, budget: Budget) -> bytes | None:
    """AES in CBC mode, a segment at a time, under a key that is itself sealed by the password's."""
    data, lock = _element(text, "keyData"), _element(text, "encryptedKey")
    spins = int(lock["spinCount"])
    name = lock["hashAlgorithm"].lower().replace("-", "")
    if name not in _HASHES or spins > _SPINS_MAX or "CBC" not in data.get("cipherChaining", ""):
        return None
    salt = base64.b64decode(lock["saltValue"])
    size = int(lock["keyBits"]) // 8
    digest = _spun(name, salt, spins, budget)

    def unsealed(block: bytes, field: str) -> bytes:
        key = hashlib.new(name, digest + block).digest()[:size].ljust(size, b"\x36")
        return aes_cbc(key, salt[:16].ljust(16, b"\x36"), base64.b64decode(lock[field]), False)

    proof = hashlib.new(name, unsealed(_INPUT, "encryptedVerifierHashInput")).digest()
    if unsealed(_VALUE, "encryptedVerifierHashValue")[: len(proof)] != proof:
        return None
    key = unsealed(_KEY, "encryptedKeyValue")[:size]
    return _segments(key, data, package, budget)


def _segments(key: bytes, data: Attributes, package: bytes, budget: Budget) -> bytes | None:
    name = data["hashAlgorithm"].lower().replace("-", "")
    if name not in _HASHES:
        return None
    salt = base64.b64decode(data["saltValue"])
    out: list[bytes] = []
    for number, start in enumerate(range(8, len(package), _SEGMENT)):
        vector = hashlib.new(name, salt + struct.pack("<L", number)).digest()[:16]
        segment = package[start : start + _SEGMENT]
        out.append(aes_cbc(key, vector, segment[: len(segment) // 16 * 16], False))
        budget.spend(len(segment))
        budget.tick()
    return b"".join(out)[: struct.unpack_from("<Q", package, 0)[0]]


def _element(text: str, name: str) -> Attributes:
    found = re.search(rf"<(?:\w+:)?{name}\b([^<>]*)", text)
    return dict(_ATTRIBUTE.findall(found.group(1))) if found else {}


def _spun(name: str, salt: bytes, spins: int, budget: Budget) -> bytes:
    """The password's hash, hashed again and again with a counter in front."""
    make = getattr(hashlib, name)
    digest: bytes = make(salt + _PASSWORD, usedforsecurity=False).digest()
    for start in range(0, spins, _TICK):
        budget.tick()
        for number in range(start, min(spins, start + _TICK)):
            digest = make(number.to_bytes(4, "little") + digest, usedforsecurity=False).digest()
    return digest


@dataclass(frozen=True, slots=True)
class Workbook:
    """The RC4 lock of an old workbook: the records' heads stand in clear, their bodies are packed by place."""

    key: Callable[[int], bytes]

    def plain(self, body: bytes, place: int) -> bytes:
        """A record's body that stands at `place` in the stream."""
        out = b""
        while body:
            block, inside = divmod(place, _BLOCK)
            piece = body[: _BLOCK - inside]
            out += rc4(self.key(block), bytes(inside) + piece)[inside:]
            body = body[len(piece) :]
            place += len(piece)
        return out


def workbook(body: bytes) -> Workbook | None:
    """The lock that a FilePass record describes; None when the default password doesn't open it."""
    try:
        kind, major, minor = struct.unpack_from("<HHH", body, 0)
        if kind != 1:
            return None
        if (major, minor) == (1, 1):
            return _checked(_rc4_keys(body[6:22]), body[22:38], body[38:54], "md5")
        if minor == 2 and major in (2, 3, 4):
            (header_size,) = struct.unpack_from("<L", body, 10)
            (bits,) = struct.unpack_from("<L", body, 14 + 16)
            at = 14 + header_size
            return _checked(
                _crypto_api_keys(body[at + 4 : at + 20], bits or 40),
                body[at + 20 : at + 36],
                body[at + 40 : at + 60],
                "sha1",
            )
    except struct.error:
        pass
    return None


def _checked(key: Callable[[int], bytes], verifier: bytes, proof: bytes, name: str) -> Workbook | None:
    plain = rc4(key(0), verifier + proof)
    return Workbook(key) if hashlib.new(name, plain[:16], usedforsecurity=False).digest() == plain[16:] else None


def _rc4_keys(salt: bytes) -> Callable[[int], bytes]:
    start = hashlib.md5(_PASSWORD, usedforsecurity=False).digest()[:5]
    root = hashlib.md5((start + salt) * 16, usedforsecurity=False).digest()[:5]
    return lambda block: hashlib.md5(root + struct.pack("<L", block), usedforsecurity=False).digest()


def _crypto_api_keys(salt: bytes, bits: int) -> Callable[[int], bytes]:
    root = hashlib.sha1(salt + _PASSWORD, usedforsecurity=False).digest()

    def key(block: int) -> bytes:
        digest = hashlib.sha1(root + struct.pack("<L", block), usedforsecurity=False).digest()
        return digest[:5].ljust(16, b"\x00") if bits == 40 else digest[: max(5, min(16, bits // 8))]

    return key
