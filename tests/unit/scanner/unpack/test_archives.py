"""Archives beside zip: links and devices, seals and volumes, bombs, damage, two readings."""

from __future__ import annotations

import ctypes
import gzip
import lzma
import tarfile
from collections.abc import Callable

import pytest
from gatescan import unpack
from gatescan.errors import Unavailable
from gatescan.judging.budget import Budget, Limits
from gatescan.model import Part, Verdict
from gatescan.unpack import _libarchive
from opener import open_all

from tests.corpus import packers as pack

TEXT = ("minutes.txt", b"Minutes of the meeting.\n" * 20)
PROGRAM = ("run.exe", b"MZ\x90\x00" + bytes(200))
SMALL = Limits(bytes_floor=1_000_000)


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "../x"), (tarfile.LNKTYPE, "../../x")],
)
def test_a_link_that_leads_outside_is_named_and_against_policy(kind: bytes, target: str) -> None:
    opened = open_all(pack.tar_bytes([pack.tar_special("link", kind, target)]))
    assert opened.names == ["link"]
    assert opened.codes == {"path-traversal"}


def test_a_link_to_a_neighbour_is_harmless() -> None:
    opened = open_all(pack.tar_bytes([TEXT, pack.tar_special("latest", tarfile.SYMTYPE, "minutes.txt")]))
    assert opened.names == ["minutes.txt", "latest"]
    assert opened.findings == []


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_against_policy(kind: bytes) -> None:
    assert open_all(pack.tar_bytes([pack.tar_special("null", kind)])).codes == {"archive-device"}


def test_members_behind_the_end_mark_of_a_tar_are_seen() -> None:
    opened = open_all(pack.tar_bytes([TEXT]) + pack.tar_bytes([PROGRAM]))
    assert opened.names == ["minutes.txt", "run.exe"]


@pytest.mark.parametrize(
    "data",
    [
        pack.seven_zip_bytes([TEXT], b"\x06\xf1\x07\x01"),
        pack.rar4_bytes([TEXT], flags=4),
        pack.rar5_bytes([TEXT], encrypted=True),
    ],
    ids=["7z", "rar4", "rar5"],
)
def test_a_sealed_member_keeps_its_name(data: bytes) -> None:
    opened = open_all(data)
    assert opened.names == ["minutes.txt"]
    assert opened.members[0].sealed
    assert opened.verdicts == {Verdict.ENCRYPTED}


@pytest.mark.parametrize(
    "data",
    [
        pack.seven_zip_bytes([TEXT], sealed=True),
        pack.rar4_bytes([TEXT], main=0x80),
        pack.rar5_bytes([TEXT], sealed=True),
    ],
    ids=["7z", "rar4", "rar5"],
)
def test_sealed_headers_are_encrypted_though_nothing_is_listed(data: bytes) -> None:
    opened = open_all(data)
    assert opened.members == []
    assert opened.verdicts == {Verdict.ENCRYPTED}


@pytest.mark.parametrize(
    "data",
    [
        pack.rar4_bytes([TEXT], main=1),
        pack.rar4_bytes([TEXT], flags=2),
        pack.rar5_bytes([TEXT], main=1),
        pack.cab_bytes([TEXT], flags=1),
        pack.cab_bytes([TEXT], flags=2),
    ],
    ids=["rar4", "rar4-split", "rar5", "cab-later", "cab-first"],
)
def test_a_lone_volume_is_against_policy(data: bytes) -> None:
    assert "lone-volume" in open_all(data).codes


@pytest.mark.parametrize("name", ["a.r00", "a.z01", "a.7z.002", "a.part2.rar"])
def test_bytes_of_no_kind_named_as_a_later_volume_are_against_policy(name: str) -> None:
    assert open_all(b"\x01\x02\xfe" * 99, name=name).codes == {"lone-volume"}
    assert open_all(b"\x01\x02\xfe" * 99, name="figures.dat").findings == []


def test_the_second_of_two_rar_members_of_one_name_is_not_lost() -> None:
    opened = open_all(pack.rar4_bytes([TEXT, (TEXT[0], PROGRAM[1])]))
    assert opened.names == ["minutes.txt", "minutes.txt"]
    assert Verdict.POLICY in opened.verdicts


def test_an_iso_image_that_shows_windows_other_files_is_ambiguous_and_both_are_seen() -> None:
    opened = open_all(pack.iso_bytes([TEXT], [PROGRAM]))
    assert set(opened.names) == {"minutes.txt", "run.exe"}
    assert opened.codes == {"iso-trees-differ"}


def test_a_compressed_stream_gives_its_own_and_the_stripped_name() -> None:
    opened = open_all(pack.gzip_bytes(TEXT[1], "run.exe"), name="minutes.txt.gz")
    assert opened.members[0].names == ("run.exe", "minutes.txt")


def test_gzip_streams_in_a_row_are_one_file_and_padding_is_harmless() -> None:
    opened = open_all(gzip.compress(b"one ") + gzip.compress(b"two") + bytes(512))
    assert bytes(opened.members[0].data) == b"one two"
    assert opened.findings == []


@pytest.mark.parametrize("pack_zeros", [gzip.compress, pack.bzip2_bytes, lzma.compress, pack.lzma_bytes])
def test_a_bomb_is_stopped_by_the_bytes_that_came_out(pack_zeros: Callable[[bytes], bytes]) -> None:
    opened = open_all(pack_zeros(bytes(20_000_000)), limits=SMALL)
    assert opened.limit == "bytes"
    assert opened.budget.bytes_out <= opened.budget.bytes_bound + 1


def test_a_hole_of_a_terabyte_costs_nothing_and_is_a_limit() -> None:
    from tests.corpus.archives import _sparse

    opened = open_all(_sparse(1 << 40))
    assert "member-size" in opened.codes
    assert opened.budget.bytes_out < 100_000


def test_many_folders_are_bounded_like_members() -> None:
    folders = [pack.tar_special(f"{i}/", tarfile.DIRTYPE) for i in range(50)]
    assert open_all(pack.tar_bytes(folders), limits=Limits(parts=20)).limit == "parts"


@pytest.mark.parametrize("writer", [pack.seven_zip_bytes, pack.rar4_bytes, pack.cab_bytes, pack.rpm_bytes])
def test_a_cut_archive_is_against_policy(writer: Callable[..., bytes]) -> None:
    assert open_all(writer([TEXT])[:60]).verdicts == {Verdict.POLICY}


def test_a_cut_stream_shows_what_was_readable_and_is_ambiguous() -> None:
    data = gzip.compress(bytes(range(256)) * 100)
    opened = open_all(data[: len(data) - 20])
    assert bytes(opened.members[0].data).startswith(bytes(range(256)))
    assert opened.verdicts == {Verdict.AMBIGUOUS}


def test_nothing_is_read_from_an_archive_after_a_fatal_error() -> None:
    """libarchive 3.6.2 crashed here: the data of a cabinet is not where it says, and the second member was read."""
    data = bytearray(pack.cab_bytes([TEXT, PROGRAM]))
    data[36] = 0xFF
    with _libarchive.Reader(bytes(data), ("cab",), ()) as reader:
        assert reader.next() is not None
        with pytest.raises(_libarchive.Failure):
            reader.block()
        with pytest.raises(_libarchive.Failure):
            reader.next()


def test_no_external_filter_and_no_format_that_was_not_asked_for_is_enabled() -> None:
    mtree = b"#mtree\n./x type=file uname=root contents=/etc/passwd\n"
    for kind in ("tar", "cpio", "ar", "7zip"):
        with pytest.raises(_libarchive.Failure), _libarchive.Reader(mtree, (kind,), ()) as reader:
            reader.next()


def test_without_libarchive_it_says_that_it_could_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise OSError("no such library")

    _libarchive.library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(Unavailable):
        list(unpack.members(Part("1", (), "", pack.tar_bytes([TEXT])), Budget(Limits(), 100)))
    _libarchive.library.cache_clear()


def test_a_rock_ridge_name_that_goes_on_in_itself_ends() -> None:
    """libarchive 3.6.2 took gigabytes for such a name, and then ended the process."""
    opened = open_all(pack.looping_iso())
    assert opened.names == ["A.TXT"]
    assert max(len(name) for name in opened.members[0].names) < 5000
    assert opened.findings == []


def test_the_rock_ridge_name_of_a_file_and_its_plain_one_are_both_given() -> None:
    opened = open_all(pack.looping_iso(b"run.exe"))
    assert opened.members[0].names == ("A.TXT", "xrun.exe")


def test_an_archive_that_wants_more_memory_than_it_may_have_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_libarchive, "MEMORY_MAX", 0)
    data = lzma.compress(bytes(3_000_000), preset=9)
    cpio = pack.rpm_bytes([TEXT]).partition(b"\x1f\x8b")[0] + lzma.compress(pack.cpio_bytes([("a", data)]), preset=9)
    assert Verdict.LIMIT in open_all(cpio, name="a.rpm").verdicts


def test_many_streams_in_a_row_are_one_file() -> None:
    opened = open_all(gzip.compress(b"a" * 50) * 3000, name="log.gz")
    assert opened.names == ["log"]
    assert len(opened.members[0].data) == 150_000
    assert opened.findings == []


def test_a_named_stream_of_several_is_a_file_too() -> None:
    opened = open_all(pack.gzip_bytes(TEXT[1], "a.txt") + pack.gzip_bytes(PROGRAM[1], "b.dat"), name="")
    assert [part.names for part in opened.members] == [("a.txt", "b.dat"), ("a.txt",), ("b.dat",)]
    assert bytes(opened.members[2].data) == PROGRAM[1]


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("invoice.js.xz", "invoice.js"),
        ("invoice.js.gzip", "invoice.js"),
        ("invoice.js.dat", "invoice.js"),
        ("papers.tgz", "papers.tar"),
        ("papers.tbz2", "papers.tar"),
        ("folder.d/papers.bz2", "folder.d/papers"),
    ],
)
def test_the_name_in_a_stream_is_that_without_its_last_suffix(name: str, inner: str) -> None:
    assert open_all(pack.bzip2_bytes(TEXT[1]), name=name).names == [inner]
