"""PDF encryption with the empty password (ISO 32000-2, 7.6).

A document that only forbids printing or copying is encrypted too, but opens for everybody; such documents are ordinary
mail and have to be looked into. One that needs a password is sealed.

Why no library: the key is all that is needed here, and pikepdf and pypdf find objects by the cross-reference table and
know no budget.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from gatescan.unpack.ciphers import aes_cbc, rc4
from gatescan.unpack.pdftext import STRING, raw_string

_PAD = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
_REFERENCE = re.compile(rb"/Encrypt\s*(?:(\d{1,8})\s+(\d{1,5})\s+R|<<)")
_ID = re.compile(rb"/ID\s*\[\s*(?=[(<])")
_DICTIONARY_MAX = 6000


@dataclass(frozen=True, slots=True)
class Key:
    """The document's key. method: `V2` (RC4), `AESV2`, `AESV3` or `None`."""

    key: bytes
    method: str

    def decrypt(self, data: bytes, number: int, generation: int) -> bytes:
        """A stream of the object of that number."""
        if self.method == "None":
            return data
        if self.method == "AESV3":
            return aes_cbc(self.key, data[:16], data[16 : len(data) // 16 * 16], False)
        salt = number.to_bytes(4, "little")[:3] + generation.to_bytes(4, "little")[:2]
        salt += b"sAlT" if self.method == "AESV2" else b""
        key = hashlib.md5(self.key + salt, usedforsecurity=False).digest()[: min(16, len(self.key) + 5)]
        if self.method == "AESV2":
            return aes_cbc(key, data[:16], data[16 : len(data) // 16 * 16], False)
        return rc4(key, data)

    def decrypt_string(self, data: bytes, number: int, generation: int) -> bytes:
        """A string in the object of that number, without AES's padding."""
        plain = self.decrypt(data, number, generation)
        padding = plain[-1] if plain and self.method.startswith("AES") else 0
        return plain[:-padding] if 0 < padding <= 16 else plain


@dataclass(frozen=True, slots=True)
class Lock:
    """The encryption dictionary. revision 0: of a kind that is not known here; lengths: of the key in bytes, of which
    the right one shows when it opens the document, as programs count in bits or bytes and at two places."""

    revision: int
    method: str
    lengths: tuple[int, ...]
    permissions: int
    owner: bytes
    user: bytes
    user_key: bytes
    owner_key: bytes
    identifier: bytes
    metadata: bool

    def open(self) -> Key | None:
        """The key if the empty password opens the document, be it as its user or as its owner, else None."""
        if self.revision in (2, 3, 4):
            for length in self.lengths:
                key = self._old_key(_PAD, length) or self._old_key(self._user_password(length), length)
                if key:
                    return Key(key, self.method)
            return None
        if self.revision in (5, 6) and len(self.user) >= 48:
            digest = _digest6 if self.revision == 6 else _digest5
            for proof, sealed, more in ((self.user, self.user_key, b""), (self.owner, self.owner_key, self.user[:48])):
                if len(proof) >= 48 and len(sealed) >= 32 and digest(proof[32:40], more) == proof[:32]:
                    middle = digest(proof[40:48], more)
                    return Key(aes_cbc(middle, bytes(16), sealed[:32], False), "AESV3")
        return None

    def _user_password(self, length: int) -> bytes:
        """The user's password, padded, as it is sealed under an empty owner's."""
        key = _md5(_PAD)
        if self.revision >= 3:
            for _ in range(50):
                key = _md5(key)
        key = key[:length]
        password = self.owner[:32]
        for step in range(19 if self.revision >= 3 else 0, -1, -1):
            password = rc4(bytes(byte ^ step for byte in key), password)
        return password

    def _old_key(self, password: bytes, length: int) -> bytes:
        seed = password + self.owner[:32] + (self.permissions & 0xFFFFFFFF).to_bytes(4, "little") + self.identifier
        if self.revision >= 4 and not self.metadata:
            seed += b"\xff\xff\xff\xff"
        key = _md5(seed)
        if self.revision >= 3:
            for _ in range(50):
                key = _md5(key[:length])
        key = key[:length]
        if self.revision == 2:
            return key if rc4(key, _PAD) == self.user[:32] else b""
        check = _md5(_PAD + self.identifier)
        for step in range(20):
            check = rc4(bytes(byte ^ step for byte in key), check)
        return key if check == self.user[:16] else b""


def find(data: bytes) -> Lock | None:
    """The lock that the document's last trailer names; None when `/Encrypt` stands for nothing."""
    references = list(_REFERENCE.finditer(data))
    if not references:
        return None
    found = references[-1]
    start = found.end()
    if found.group(1):
        numbers = rb"(?<!\d)" + found.group(1) + rb"\s+" + found.group(2) + rb"\s+obj"
        places = [match.end() for match in re.finditer(numbers, data)]
        if not places:
            return Lock(0, "", (), 0, b"", b"", b"", b"", b"", True)
        start = places[-1]
    return _parse(data[start : start + _DICTIONARY_MAX].partition(b"endobj")[0], data)


def _parse(text: bytes, data: bytes) -> Lock:
    version = _number(text, b"V", 0)
    revision = _number(text, b"R", 0) if re.search(rb"/Filter\s*/Standard", text) else 0
    method = "V2" if version < 4 else "None"
    if version >= 4 and (named := re.search(rb"/CFM\s*/(\w+)", text)):
        method = named.group(1).decode("ascii", "replace")
    stated = [int(number) for number in re.findall(rb"/Length\s+(\d{1,4})", text)]
    lengths = {5} if revision == 2 else {5, 16, *(n if n < 40 else n // 8 for n in stated)}
    identifier = b""
    if (place := _ID.search(data)) and (token := STRING.match(data, place.end())):
        identifier = raw_string(token.group())
    return Lock(
        revision,
        method,
        (16,) if method == "AESV2" else tuple(sorted((n for n in lengths if 5 <= n <= 16), reverse=True)),
        _number(text, b"P", 0),
        _string(text, b"O"),
        _string(text, b"U"),
        _string(text, b"UE"),
        _string(text, b"OE"),
        identifier,
        not re.search(rb"/EncryptMetadata\s+false", text),
    )


def _number(text: bytes, key: bytes, missing: int) -> int:
    found = re.search(rb"/" + key + rb"\s+(-?\d{1,12})", text)
    return int(found.group(1)) if found else missing


def _string(text: bytes, key: bytes) -> bytes:
    found = re.search(rb"/" + key + rb"\s*(?=[(<])", text)
    token = STRING.match(text, found.end()) if found else None
    return raw_string(token.group()) if token else b""


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _digest5(salt: bytes, more: bytes) -> bytes:
    return hashlib.sha256(salt + more).digest()


def _digest6(salt: bytes, more: bytes) -> bytes:
    """Algorithm 2.B with an empty password; `more` is the user's proof where it is the owner's password."""
    key = hashlib.sha256(salt + more).digest()
    step = 0
    last = 0
    while step < 64 or last > step - 32:
        block = aes_cbc(key[:16], key[16:32], (key + more) * 64, True)
        remainder = int.from_bytes(block[:16], "big") % 3
        key = hashlib.new(("sha256", "sha384", "sha512")[remainder], block).digest()
        last = block[-1]
        step += 1
    return key[:32]
