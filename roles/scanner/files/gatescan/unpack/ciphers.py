"""RC4 and AES by libcrypto, which Python's own hashlib is linked with.

Its old interface for RC4 is used: the new one needs a provider that not every Debian has installed.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from gatescan.errors import Unavailable

_RC4_STATE = 2048
"""Bytes that are room enough for RC4_KEY: 258 numbers of 4 bytes at most."""


def rc4(key: bytes, data: bytes) -> bytes:
    """Encrypt or decrypt. Raises Unavailable when libcrypto can't be loaded."""
    if not key or not data:
        return data
    lib = _libcrypto()
    state = ctypes.create_string_buffer(_RC4_STATE)
    out = ctypes.create_string_buffer(len(data))
    lib.RC4_set_key(state, len(key), key)
    lib.RC4(state, len(data), data, out)
    return out.raw


def aes_cbc(key: bytes, vector: bytes, data: bytes, encrypt: bool) -> bytes:
    """AES in CBC mode without padding. Raises Unavailable when libcrypto can't be loaded."""
    if len(vector) != 16:
        return b""
    return _aes("cbc", key, vector, data, encrypt)


def aes_ecb(key: bytes, data: bytes, encrypt: bool = False) -> bytes:
    """AES, each block by itself. Raises Unavailable when libcrypto can't be loaded."""
    return _aes("ecb", key, None, data, encrypt)


def _aes(mode: str, key: bytes, vector: bytes | None, data: bytes, encrypt: bool) -> bytes:
    if not data or len(data) % 16 or len(key) not in (16, 24, 32):
        return b""
    lib = _libcrypto()
    cipher = getattr(lib, f"EVP_aes_{8 * len(key)}_{mode}")()
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
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        lib.RC4_set_key.argtypes = [pointer, number, text]
        lib.RC4.argtypes = [pointer, ctypes.c_size_t, text, pointer]
    except (OSError, AttributeError) as error:
        raise Unavailable(f"libcrypto can't be loaded: {error}") from error
    lib.RC4_set_key.restype = lib.RC4.restype = None
    for bits in (128, 192, 256):
        for mode in ("cbc", "ecb"):
            getattr(lib, f"EVP_aes_{bits}_{mode}").restype = pointer
    lib.EVP_CIPHER_CTX_new.restype = pointer
    lib.EVP_CIPHER_CTX_free.argtypes = [pointer]
    lib.EVP_CIPHER_CTX_set_padding.argtypes = [pointer, number]
    lib.EVP_CipherInit_ex.argtypes = [pointer, pointer, pointer, text, text, number]
    lib.EVP_CipherUpdate.argtypes = [pointer, pointer, ctypes.POINTER(number), text, number]
    return lib
