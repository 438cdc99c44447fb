"""The type of a part by its bytes."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest
from gatescan.judging import filetype
from gatescan.judging.budget import Budget, LimitReached, Limits
from gatescan.model import Buffer
from hypothesis import given, settings
from hypothesis import strategies as st

PE = b"MZ".ljust(60, b"\x00") + (64).to_bytes(4, "little") + b"PE\x00\x00" + bytes(100)
SECTOR = bytes(2048)

KINDS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "pe": (PE, "exe"),
    "dos program": (b"MZ\x90\x00\x03\x00\x00\x00", "dos"),
    "prose that starts with MZ": (b"MZ Wallace wrote on Monday:\nall is well.\n" * 3, "text"),
    "elf": (b"\x7fELF\x02\x01\x01", "elf"),
    "java class": (b"\xca\xfe\xba\xbe\x00\x00\x00\x34", "class"),
    "fat mach-o": (b"\xca\xfe\xba\xbe\x00\x00\x00\x02", "macho"),
    "shortcut": (b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(60), "lnk"),
    "batch file": (b"@ECHO OFF\r\nstart x\r\n", "batch"),
    "html application": (b"<html><hta:application></html>", "hta"),
    "html": (b"<!DOCTYPE html>\n<p>x", "html"),
    "html with a byte order mark": (b"\xef\xbb\xbf<html>", "html"),
    "html in utf-16": (b"\xff\xfe" + "<html>".encode("utf-16-le"), "html"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="x"/>', "svg"),
    "xml": (b'<?xml version="1.0"?><invoice/>', "xml"),
    "text": ("Grüße aus Köln\n".encode(), "text"),
    "text in latin-1": ("Grüße aus Köln\n".encode("latin-1"), "text"),
    "bytes": (bytes(range(256)), "data"),
    "a mail": (b"Received: from x\n\tby y\nSubject: z\n\nx\n", "mail"),
    "zip": (b"PK\x03\x04", "zip"),
    "prose that starts with PK": (b"PK is short.", "text"),
    "prose that starts as StuffIt": (b"SIT! said the woman, and the dog sat.\n", "text"),
    "prose that starts as lzip": (b"LZIP or gzip? Please answer.\n", "text"),
    "a list that starts as cpio": (b"070707;Meier;Hamburg;\n070708;Ann;Berlin;\n", "text"),
    "prose that starts as chm": (b"ITSF is the federation of table soccer.\n", "text"),
    "lzip": (b"LZIP\x01\x0c" + bytes(20), "lzip"),
    "cpio": (b"070701" + b"0" * 104 + b"a.txt\x00", "cpio"),
    "gzip": (b"\x1f\x8b\x08\x00", "gzip"),
    "bzip2": (b"BZh91AY&SY", "bzip2"),
    "prose that starts with BZh": (b"BZh9 is how such files begin", "text"),
    "old tar": (b"", "tar"),
    "lzh": (b"\x24\x10-lh5-" + bytes(20), "lzh"),
    "ace": (b"\x31\xee\x31\x00\x00\x00\x90**ACE**", "ace"),
    "zoo": (b"ZOO 2.10 Archive.\x1a\x00\x00\xdc\xa7\xc4\xfd", "zoo"),
    "iso": (SECTOR * 16 + b"\x01CD001\x01".ljust(2048, b"\x00") + SECTOR, "iso"),
    "udf": (SECTOR * 16 + b"\x00BEA01\x01".ljust(2048, b"\x00") + SECTOR, "udf"),
    "fixed vhd": (bytes(2048) + b"conectix".ljust(512, b"\x00"), "vhd"),
    "dmg": (b"\x01" * 2048 + b"koly".ljust(512, b"\x00"), "dmg"),
    "fat image": (b"\xeb\x3c\x90MSDOS5.0".ljust(510, b"\x00") + b"\x55\xaa", "disk"),
    "pdf": (b"%PDF-1.7\n", "pdf"),
    "pdf behind junk": (b"junk\n" * 20 + b"%PDF-1.7\n", "pdf"),
    "rtf": (b"{\\rtf1", "rtf"),
    "jpeg": (b"\xff\xd8\xff\xe0", "jpeg"),
    "mp4": (b"\x00\x00\x00\x18ftypmp42", "media"),
    "webp": (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp"),
}


def old_tar() -> bytes:
    """A header as version 7 wrote it, without magic."""
    header = bytearray(b"minutes.txt".ljust(100, b"\x00") + b"0000644\x00" + b"0000000\x00" * 2)
    header += b"00000000000\x00" * 2 + b" " * 8 + b"0" + bytes(355)
    header[148:155] = b"%06o\x00" % sum(header)
    return bytes(header)


@pytest.mark.parametrize("name", KINDS)
def test_what_it_is(name: str) -> None:
    data, expected = KINDS[name]
    assert filetype.kind(old_tar() if name == "old tar" else data) == expected


def test_views_and_maps_are_looked_at_in_place(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(PE)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert filetype.kind(mapped) == "exe"
    assert filetype.kind(memoryview(PE)) == "exe"


def test_the_interpreter_that_runs_this_test_is_an_executable() -> None:
    with open(os.path.realpath(sys.executable), "rb") as program:
        assert filetype.kind(program.read(4096)) in filetype.EXECUTABLES


def test_no_kind_is_both_opened_and_unopenable() -> None:
    assert not filetype.UNOPENABLE & (filetype.ARCHIVES | filetype.DOCUMENTS | filetype.IMAGES | filetype.EXECUTABLES)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000), st.sampled_from([data[:12] for data, _ in KINDS.values()]))
def test_it_never_raises_and_is_the_same_for_every_buffer(tail: bytes, head: bytes) -> None:
    data = head + tail
    buffers: list[Buffer] = [data, memoryview(data)]
    assert len({filetype.kind(buffer) for buffer in buffers}) == 1


class Ticking(Budget):
    """A budget whose time is up when its clock was looked at for the third time."""

    def tick(self) -> None:
        self.rings += 1
        if self.rings > 2:
            raise LimitReached("time", "the time is up")


def test_frames_that_are_passed_over_are_counted_by_the_clock() -> None:
    """24 MB of them took 1.5 seconds, in which nobody looked at it."""
    frame = b"\x50\x2a\x4d\x18" + bytes(4)
    assert filetype.behind_skippable(frame * 1500 + b"x", 5000, Ticking(Limits(), 0)) == 1500 * len(frame)
    with pytest.raises(LimitReached):
        filetype.behind_skippable(frame * 2500 + b"x", 5000, Ticking(Limits(), 0))
