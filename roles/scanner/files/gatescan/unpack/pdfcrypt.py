"""PDF encryption with the empty password (ISO 32000-2, 7.6).

A document that only forbids printing or copying is encrypted too, but opens for everybody; such documents are ordinary
mail and have to be looked into. One that needs a password is sealed. AES comes from libcrypto, which Python's own
hashlib is linked with; RC4 and the rest are a few lines.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from gatescan.unpack.common import Unavailable
from gatescan.unpack.pdftext import STRING, raw_string

_PAD = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
_REFERENCE = re.compile(rb"/Encrypt\s*(?:(\d{1,8})\s+(\d{1,5})\s+R|<<)")
_ID = re.compile(rb"/ID\s*\[\s*(?=[(<])")
_DICTIONARY_MAX = 6000
_RC4_MAX = 4_000_000


@dataclass(frozen=True, slots=True)
class Key:
    """The document's key. method: `V2` (RC4), `AESV2`, `AESV3` or `None`."""

    key: bytes
    method: str

    def decrypt(self, data: bytes, number: int, generation: int) -> bytes:
        """A stream of the object of that number. Streams beyond 4 MB under RC4 are cut: Python is slow at it."""
        if self.method == "None":
            return data
        if self.method == "AESV3":
            return aes_cbc(self.key, data[:16], data[16 : len(data) // 16 * 16], False)
        salt = number.to_bytes(4, "little")[:3] + generation.to_bytes(4, "little")[:2]
        salt += b"sAlT" if self.method == "AESV2" else b""
        key = hashlib.md5(self.key + salt, usedforsecurity=False).digest()[: min(16, len(self.key) + 5)]
        if self.method == "AESV2":
            return aes_cbc(key, data[:16], data[16 : len(data) // 16 * 16], False)
        return rc4(key, data[:_RC4_MAX])

    def decrypt_string(self, data: bytes, number: int, generation: int) -> bytes:
        """A string in the object of that number, without AES's padding."""
        plain = self.decrypt(data, number, generation)
        padding = plain[-1] if plain and self.method.startswith("AES") else 0
        return plain[:-padding] if 0 < padding <= 16 else plain


@dataclass(frozen=True, slots=True)
class Lock:
    """The encryption dictionary. revision 0: of a kind that is not known here."""

    revision: int
    method: str
    length: int
    permissions: int
    owner: bytes
    user: bytes
    user_key: bytes
    identifier: bytes
    metadata: bool

    def open(self) -> Key | None:
        """The key if the empty password opens the document, else None."""
        if self.revision in (2, 3, 4):
            key = self._old_key()
            return Key(key, self.method) if key else None
        if self.revision in (5, 6) and len(self.user) >= 48 and len(self.user_key) >= 32:
            digest = _digest6 if self.revision == 6 else _digest5
            if digest(self.user[32:40]) == self.user[:32]:
                middle = digest(self.user[40:48])
                return Key(aes_cbc(middle, bytes(16), self.user_key[:32], False), "AESV3")
        return None

    def _old_key(self) -> bytes:
        seed = _PAD + self.owner[:32] + (self.permissions & 0xFFFFFFFF).to_bytes(4, "little") + self.identifier
        if self.revision >= 4 and not self.metadata:
            seed += b"\xff\xff\xff\xff"
        key = _md5(seed)
        if self.revision >= 3:
            for _ in range(50):
                key = _md5(key[: self.length])
        key = key[: self.length]
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
            return Lock(0, "", 0, 0, b"", b"", b"", b"", True)
        start = places[-1]
    return _parse(data[start : start + _DICTIONARY_MAX].partition(b"endobj")[0], data)


def _parse(text: bytes, data: bytes) -> Lock:
    version = _number(text, b"V", 0)
    revision = _number(text, b"R", 0) if re.search(rb"/Filter\s*/Standard", text) else 0
    method = "V2" if version < 4 else "None"
    if version >= 4 and (named := re.search(rb"/CFM\s*/(\w+)", text)):
        method = named.group(1).decode("ascii", "replace")
    length = 5 if revision == 2 else _number(text, b"Length", 40) // 8 or 16
    if method == "AESV2":
        length = 16
    identifier = b""
    if (place := _ID.search(data)) and (token := STRING.match(data, place.end())):
        identifier = raw_string(token.group())
    return Lock(
        revision,
        method,
        max(5, min(16, length)),
        _number(text, b"P", 0),
        _string(text, b"O"),
        _string(text, b"U"),
        _string(text, b"UE"),
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


def _digest5(salt: bytes) -> bytes:
    return hashlib.sha256(salt).digest()


def _digest6(salt: bytes) -> bytes:
    """Algorithm 2.B with an empty password."""
    key = hashlib.sha256(salt).digest()
    step = 0
    last = 0
    while step < 64 or last > step - 32:
        block = aes_cbc(key[:16], key[16:32], key * 64, True)
        remainder = int.from_bytes(block[:16], "big") % 3
        key = hashlib.new(("sha256", "sha384", "sha512")[remainder], block).digest()
        last = block[-1]
        step += 1
    return key[:32]


def rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 255
        state[i], state[j] = state[j], state[i]
    i = j = 0
    out = bytearray(len(data))
    for place, byte in enumerate(data):
        i = (i + 1) & 255
        a = state[i]
        j = (j + a) & 255
        b = state[j]
        state[i], state[j] = b, a
        out[place] = byte ^ state[(a + b) & 255]
    return bytes(out)


def aes_cbc(key: bytes, vector: bytes, data: bytes, encrypt: bool) -> bytes:
    """AES in CBC mode without padding. Raises Unavailable when libcrypto can't be loaded."""
    if not data or len(vector) != 16 or len(data) % 16:
        return b""
    lib = _libcrypto()
    cipher = lib.EVP_aes_256_cbc() if len(key) == 32 else lib.EVP_aes_128_cbc()
    context = lib.EVP_CIPHER_CTX_new()
    out = ctypes.create_string_buffer(len(data) + 32)
    size = ctypes.c_int()
    try:
        lib.EVP_CipherInit_ex(context, cipher, None, key, vector, int(encrypt))
        lib.EVP_CIPHER_CTX_set_padding(context, 0)
        lib.EVP_CipherUpdate(context, out, ctypes.byref(size), data, len(data))
    finally:
        lib.EVP_CIPHER_CTX_free(context)
    return out.raw[: size.value]


@cache
def _libcrypto() -> Any:
    try:
        lib = ctypes.CDLL("libcrypto.so.3")
    except OSError as error:
        raise Unavailable(f"libcrypto can't be loaded: {error}") from error
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name in ("EVP_aes_128_cbc", "EVP_aes_256_cbc", "EVP_CIPHER_CTX_new"):
        getattr(lib, name).restype = pointer
    lib.EVP_CIPHER_CTX_free.argtypes = [pointer]
    lib.EVP_CIPHER_CTX_set_padding.argtypes = [pointer, number]
    lib.EVP_CipherInit_ex.argtypes = [pointer, pointer, pointer, text, text, number]
    lib.EVP_CipherUpdate.argtypes = [pointer, pointer, ctypes.POINTER(number), text, number]
    return lib
