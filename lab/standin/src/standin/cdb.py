"""Constant databases (cdb), as much of them as morercpthosts needs."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable


def hash_key(key: bytes) -> int:
    """The hash that the format prescribes."""
    value = 5381
    for byte in key:
        value = ((value << 5) + value & 0xFFFFFFFF) ^ byte
    return value


def write(path: str, keys: Iterable[bytes]) -> None:
    """Write a database of keys without values, and move it into place when it is whole."""
    tables: list[list[tuple[int, int]]] = [[] for _ in range(256)]
    body = bytearray()
    for key in keys:
        tables[hash_key(key) & 255].append((hash_key(key), 2048 + len(body)))
        body += struct.pack("<II", len(key), 0) + key
    head = bytearray()
    for table in tables:
        slots = [(0, 0)] * (2 * len(table))
        for value, position in table:
            at = (value >> 8) % len(slots)
            while slots[at][1]:
                at = (at + 1) % len(slots)
            slots[at] = (value, position)
        head += struct.pack("<II", 2048 + len(body), len(slots))
        body += b"".join(struct.pack("<II", *slot) for slot in slots)
    with open(f"{path}.tmp", "wb") as file:
        file.write(head + body)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.tmp", path)


def contains(path: str, key: bytes) -> bool:
    """Whether a database has a key; no database has none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return False
    value = hash_key(key)
    table, count = struct.unpack_from("<II", data, 8 * (value & 255))
    for step in range(count):
        found, position = struct.unpack_from("<II", data, table + 8 * (((value >> 8) + step) % count))
        if not position:
            return False
        length = struct.unpack_from("<I", data, position)[0]
        if found == value and data[position + 8 : position + 8 + length] == key:
            return True
    return False
