"""Zip files: what every reader would see is seen."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from gatescan.judging.budget import Limits
from gatescan.model import Verdict
from opener import open_all

from tests.corpus.packers import ZipMember, overlapping_zip, zip_bytes

TEXT = b"Minutes of the meeting.\n" * 50


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_a_file_written_by_pythons_zipfile_come_out_whole(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/minutes.txt", TEXT)
        archive.writestr("Übersicht.txt", b"x" * 10_000)
    opened = open_all(path.read_bytes())
    assert opened.names == ["folder/minutes.txt", "Übersicht.txt"]
    assert opened.content("folder/minutes.txt") == TEXT
    assert opened.findings == []


def test_a_member_written_to_a_pipe_has_its_sizes_behind_it_and_is_read() -> None:
    member = ZipMember(b"a.txt", TEXT, flags=0x0008)
    data = bytearray(zip_bytes([member]))
    data[14:26] = bytes(12)
    opened = open_all(bytes(data))
    assert opened.content("a.txt") == TEXT
    assert opened.findings == []


def test_both_names_of_a_member_are_given_and_their_difference_is_ambiguous() -> None:
    opened = open_all(zip_bytes([ZipMember(b"minutes.txt", TEXT, local_name=b"run.exe")]))
    assert set(opened.members[0].names) == {"minutes.txt", "run.exe"}
    assert opened.codes == {"zip-names-differ"}


def test_a_unicode_path_field_adds_its_name_even_with_a_wrong_checksum() -> None:
    field = b"\x01" + bytes(4) + b"run.exe"
    extra = b"\x75\x70" + len(field).to_bytes(2, "little") + field
    opened = open_all(zip_bytes([ZipMember(b"minutes.txt", TEXT, extra=extra)]))
    assert opened.members[0].names == ("minutes.txt", "run.exe")


def test_a_name_in_no_declared_charset_is_given_in_both_readings() -> None:
    opened = open_all(zip_bytes([ZipMember("März.txt".encode(), TEXT)]))
    assert set(opened.members[0].names) == {"März.txt", "März.txt".encode().decode("cp437")}


def test_a_member_that_the_directory_does_not_list_is_found() -> None:
    opened = open_all(zip_bytes([("a.txt", TEXT), ZipMember(b"hidden.exe", b"MZ\x90\x00", listed=False)]))
    assert opened.names == ["a.txt", "hidden.exe"]
    assert opened.codes == {"zip-hidden-member"}


def test_two_archives_in_a_row_are_both_read() -> None:
    opened = open_all(zip_bytes([("a.txt", TEXT)]) + zip_bytes([("b.txt", b"second")]))
    assert sorted(opened.names) == ["a.txt", "b.txt"]
    assert Verdict.AMBIGUOUS in opened.verdicts


def test_a_stored_zip_in_a_zip_is_no_second_directory() -> None:
    inner = zip_bytes([("b.txt", b"inner")])
    opened = open_all(zip_bytes([ZipMember(b"inner.zip", inner, method=0), ("a.txt", TEXT)]))
    assert opened.names == ["inner.zip", "b.txt", "a.txt"]
    assert opened.findings == []


def test_a_file_without_directory_is_read_by_its_local_headers() -> None:
    data = zip_bytes([("a.txt", TEXT), ("b.txt", b"second")])
    opened = open_all(data[: data.index(b"PK\x01\x02")])
    assert opened.content("a.txt") == TEXT
    assert opened.content("b.txt") == b"second"
    assert opened.verdicts == {Verdict.AMBIGUOUS}


@pytest.mark.parametrize(
    ("change", "code"),
    [({"crc": 1}, "zip-bad-crc"), ({"size": 7}, "zip-bad-size"), ({"packed": 9}, "zip-damaged")],
)
def test_wrong_checksums_and_sizes_are_ambiguous_and_the_content_is_seen(change: dict[str, Any], code: str) -> None:
    opened = open_all(zip_bytes([ZipMember(b"a.txt", TEXT, **change)]))
    assert code in opened.codes
    assert TEXT in [bytes(part.data) for part in opened.members]


@pytest.mark.parametrize(("flags", "method"), [(1, 8), (0x2041, 8), (0, 99), (1, 99)])
def test_a_sealed_member_is_named_and_encrypted(flags: int, method: int) -> None:
    opened = open_all(zip_bytes([("a.txt", TEXT), ZipMember(b"b.txt", TEXT, method=method, flags=flags)]))
    assert [part.sealed for part in opened.members] == [False, True]
    assert opened.codes == {"encrypted-zip"}


def test_a_flag_in_one_header_alone_does_not_hide_the_content() -> None:
    opened = open_all(zip_bytes([ZipMember(b"a.txt", TEXT, local_flags=1)]))
    assert opened.content("a.txt") == TEXT
    assert opened.verdicts == {Verdict.AMBIGUOUS}


def test_a_method_that_is_not_read_here_is_against_policy() -> None:
    opened = open_all(zip_bytes([ZipMember(b"a.txt", TEXT, method=6)]))
    assert opened.codes == {"cannot-open"}
    assert opened.members[0].sealed


@pytest.mark.slow
def test_overlapping_members_are_stopped_by_the_bytes_that_came_out() -> None:
    opened = open_all(overlapping_zip(bytes(1_000_000), 1000))
    assert opened.limit == "bytes"
    assert opened.budget.bytes_out <= opened.budget.bytes_bound + 1


def test_a_false_size_does_not_get_a_bomb_past_the_budget() -> None:
    limits = Limits(bytes_floor=1_000_000)
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = packed.compress(bytes(30_000_000)) + packed.flush()
    opened = open_all(zip_bytes([ZipMember(b"a.txt", b"", raw=raw, size=10)]), limits=limits)
    assert opened.limit == "bytes"
    assert opened.budget.bytes_out <= opened.budget.bytes_bound + 1


def test_a_member_that_is_too_big_is_a_limit_and_the_others_are_still_read() -> None:
    big = ZipMember(b"big.bin", bytes(50_000_001))
    opened = open_all(zip_bytes([big, ("run.exe", b"MZ\x90\x00")]), limits=Limits(bytes_floor=300_000_000))
    assert opened.codes == {"member-size"}
    assert opened.names == ["big.bin", "run.exe"]
    assert opened.members[0].sealed


def test_names_that_lead_outside_are_against_policy_and_dots_in_names_are_not() -> None:
    assert open_all(zip_bytes([("../../a.txt", TEXT)])).codes == {"path-traversal"}
    assert open_all(zip_bytes([("a..b/c...txt", TEXT)])).findings == []


def test_an_image_with_a_zip_behind_it_is_both() -> None:
    opened = open_all(b"GIF89a" + bytes(100) + zip_bytes([("run.exe", b"MZ\x90\x00")]))
    assert opened.names == ["run.exe"]
    assert opened.codes == {"polyglot"}


@pytest.mark.parametrize(
    "name", ["papers.rar", "papers.7z", "papers.cab", "papers.iso", "papers.r01", "papers.zip", "papers.dat"]
)
def test_a_zip_behind_another_archive_does_not_excuse_it(name: str) -> None:
    hidden = b"junk " * 8 + b"Rar!\x1a\x07\x01\x00" + bytes(range(200))
    opened = open_all(hidden + zip_bytes([("readme.txt", TEXT)]), name)
    assert opened.codes & {"cannot-open", "lone-volume", "polyglot"}, "unrar looks for its mark behind any bytes"


def test_a_mark_in_front_of_a_zip_is_no_reason() -> None:
    assert not open_all(b"a mark " + zip_bytes([("readme.txt", TEXT)]), "papers.zip").codes
