"""morercpthosts: the compiled list never says more or less than the text."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.modules import run_module


def cdb(keys: list[str]) -> bytes:
    """A constant database (cr.yp.to/cdb/cdb.txt) of keys without data."""
    records, position = b"", 2048
    slots: dict[int, list[tuple[int, int]]] = {number: [] for number in range(256)}
    for key in keys:
        raw = key.encode()
        hashed = 5381
        for byte in raw:
            hashed = (hashed * 33 & 0xFFFFFFFF) ^ byte
        slots[hashed & 255].append((hashed, position))
        records += struct.pack("<II", len(raw), 0) + raw
        position += 8 + len(raw)
    header = tables = b""
    for number in range(256):
        size = 2 * len(slots[number])
        header += struct.pack("<II", position, size)
        table = [(0, 0)] * size
        for hashed, place in slots[number]:
            index = (hashed >> 8) % size
            while table[index][1]:
                index = (index + 1) % size
            table[index] = (hashed, place)
        tables += b"".join(struct.pack("<II", *slot) for slot in table)
        position += 8 * size
    return header + records + tables


@pytest.fixture
def control(tmp_path: Path) -> Path:
    folder = tmp_path / "control"
    folder.mkdir()
    return folder


def run(control: Path, domains: list[str], check: bool = False, made: list[str] | None = None) -> dict[str, Any]:
    """Run the module; its qmail-newmrh writes a compiled file of `made` (the domains, if not given)."""
    source = control.parent / "made.cdb"
    source.write_bytes(cdb(domains if made is None else made))
    program = control.parent / "qmail-newmrh"
    program.write_text(f"#!/bin/sh\nexec cp {source} {control}/morercpthosts.cdb\n")
    program.chmod(0o755)
    arguments = {"control": str(control), "domains": domains, "qmail_newmrh": str(program)}
    return run_module("morercpthosts", arguments, check)


def test_it_is_made_once_kept_in_step_and_removed(control: Path) -> None:
    assert run(control, ["a.example", ".b.example"])["changed"] is True
    assert run(control, ["a.example", ".b.example"])["changed"] is False
    shorter = run(control, ["a.example"])
    assert shorter["changed"] is True and ".b.example" in shorter["diff"]["before"]
    assert run(control, [])["changed"] is True
    assert not (control / "morercpthosts.cdb").exists()
    assert run(control, [])["changed"] is False


def test_a_damaged_file_is_made_anew(control: Path) -> None:
    (control / "morercpthosts.cdb").write_bytes(b"\xff" * 3000)
    assert run(control, ["a.example"])["changed"] is True
    assert run(control, ["a.example"])["changed"] is False


def test_check_mode_changes_nothing(control: Path) -> None:
    assert run(control, ["a.example"], check=True)["changed"] is True
    assert list(control.iterdir()) == []


def test_a_compiled_file_that_holds_something_else_is_an_error(control: Path) -> None:
    assert "does not hold" in run(control, ["a.example"], made=["b.example"])["msg"]
