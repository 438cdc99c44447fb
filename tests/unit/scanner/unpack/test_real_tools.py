"""Archives that the usual tools made: everything in them comes out, and what they seal is said to be sealed."""

from __future__ import annotations

import base64
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from gatescan.model import Verdict
from opener import open_all

_RANDOM = random.Random(7)
TEXT = b"Minutes of the meeting: all were present.\n" * 300 + _RANDOM.randbytes(300).hex().encode()
PROGRAM = b"MZ\x90\x00\x03\x00\x00\x00" + bytes(range(256)) * 40


def run(tool: str, *arguments: str, cwd: Path, stdin: bytes = b"") -> bytes:
    """Run a tool; skip, with the reason, where it is not installed."""
    if shutil.which(tool) is None:
        pytest.skip(f"the program `{tool}` is not installed")
    return subprocess.run([tool, *arguments], cwd=cwd, input=stdin, check=True, capture_output=True).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "minutes.txt").write_bytes(TEXT)
    (tmp_path / "run.exe").write_bytes(PROGRAM)
    return tmp_path


COMMANDS = {
    "zip": ("zip", "-q", "a.out", "minutes.txt", "run.exe"),
    "zip-ppmd": ("7z", "a", "-tzip", "-mm=PPMd", "a.out", "minutes.txt", "run.exe"),
    "zip-lzma": ("7z", "a", "-tzip", "-mm=LZMA", "a.out", "minutes.txt", "run.exe"),
    "zip-bzip2": ("7z", "a", "-tzip", "-mm=BZip2", "a.out", "minutes.txt", "run.exe"),
    "7z": ("7z", "a", "-t7z", "a.out", "minutes.txt", "run.exe"),
    "7z-ppmd": ("7z", "a", "-t7z", "-m0=PPMd", "a.out", "minutes.txt", "run.exe"),
    "7z-bcj2": ("7z", "a", "-t7z", "-m0=BCJ", "-m1=LZMA2", "a.out", "minutes.txt", "run.exe"),
    "tar": ("tar", "-cf", "a.out", "minutes.txt", "run.exe"),
    "tar.gz": ("tar", "-czf", "a.out", "minutes.txt", "run.exe"),
    "tar.bz2": ("tar", "-cjf", "a.out", "minutes.txt", "run.exe"),
    "tar.xz": ("tar", "-cJf", "a.out", "minutes.txt", "run.exe"),
    "tar.zst": ("tar", "--zstd", "-cf", "a.out", "minutes.txt", "run.exe"),
    "iso": ("genisoimage", "-quiet", "-o", "a.out", "minutes.txt", "run.exe"),
    "iso-joliet": ("genisoimage", "-quiet", "-J", "-o", "a.out", "minutes.txt", "run.exe"),
    "iso-rockridge": ("genisoimage", "-quiet", "-J", "-R", "-o", "a.out", "minutes.txt", "run.exe"),
    "ar": ("ar", "rc", "a.out", "minutes.txt", "run.exe"),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_member_comes_out_as_it_went_in(folder: Path, kind: str) -> None:
    run(*COMMANDS[kind], cwd=folder)
    output = folder / ("a.out" if (folder / "a.out").exists() else "a.out.zip")
    opened = open_all(output.read_bytes())
    contents = {bytes(part.data) for part in opened.members}
    assert contents >= {TEXT, PROGRAM}
    assert opened.findings == []
    assert any("run.exe" in name.lower() for part in opened.members for name in part.names)


LZH = (
    "LQAtbGg1LVsAAAA4MQAA7IYLayAC3QoABQAAkhkOAAFtaW51dGVzLnR4dAAAAFxLcKBWf9XcAf2lhfS+ofGkzEMjj+5u+Bs6W9vPkc6xfeY4mb0t"
    "tlGlax9Pcx13Pk2vjgSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSST+kCkALWxoNS0bAAAAgAwAAOyGC2sgAvlgAAUAACiHCgAB"
    "cnVuLmV4ZQAAABVDaJAn/vkQatlBDhoYOfAe96yptttttv+AAA=="
)
"""By Debian's jlha, in Java, which is too large to unpack for this: `jlha c a.lzh minutes.txt run.exe` (-lh5-)."""


def test_an_lzh_archive() -> None:
    opened = open_all(base64.b64decode(LZH))
    contents = [bytes(part.data) for part in opened.members]
    assert contents == [b"Minutes of the meeting: all were present.\n" * 300, b"MZ\x90\x00\x03\x00\x00\x00" * 400]
    assert opened.findings == [] and opened.names == ["minutes.txt", "run.exe"]


@pytest.mark.parametrize("form", ["bin", "odc", "newc", "crc", "ustar"])
def test_cpio_in_its_forms(folder: Path, form: str) -> None:
    data = run("cpio", "--quiet", "-o", "-H", form, cwd=folder, stdin=b"minutes.txt\nrun.exe\n")
    opened = open_all(data)
    assert [bytes(part.data) for part in opened.members] == [TEXT, PROGRAM]


@pytest.mark.parametrize("tool", ["gzip", "bzip2", "xz", "zstd", "lzma"])
def test_a_compressed_stream_loses_its_suffix(folder: Path, tool: str) -> None:
    data = run(tool, "-c", "run.exe", cwd=folder)
    opened = open_all(data, name={"gzip": "x.gz", "bzip2": "x.bz2", "zstd": "x.zst"}.get(tool, f"x.{tool}"))
    assert bytes(opened.members[0].data) == PROGRAM
    assert "x" in opened.members[0].names


def test_a_debian_package(folder: Path) -> None:
    (folder / "pkg/DEBIAN").mkdir(parents=True)
    (folder / "pkg/DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    )
    (folder / "pkg/run.exe").write_bytes(PROGRAM)
    run("dpkg-deb", "--build", "pkg", "x.deb", cwd=folder)
    assert open_all((folder / "x.deb").read_bytes()).content("./run.exe") == PROGRAM


def test_an_rpm(folder: Path) -> None:
    (folder / "x.spec").write_text(
        "Name: x\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n"
        f"%install\nmkdir -p %{{buildroot}}/opt\ncp {folder}/run.exe %{{buildroot}}/opt/\n%files\n/opt/run.exe\n"
    )
    run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}/rpm", "x.spec", cwd=folder)
    (package,) = (folder / "rpm").rglob("*.rpm")
    assert open_all(package.read_bytes()).content("./opt/run.exe") == PROGRAM


@pytest.mark.parametrize(
    "options",
    [("-t7z", "-psecret"), ("-t7z", "-psecret", "-mhe"), ("-tzip", "-psecret"), ("-tzip", "-psecret", "-mem=AES256")],
    ids=["7z", "7z-names", "zip", "zip-aes"],
)
def test_what_needs_a_password_is_encrypted(folder: Path, options: tuple[str, ...]) -> None:
    run("7z", "a", *options, "a.out", "minutes.txt", cwd=folder)
    output = folder / ("a.out" if (folder / "a.out").exists() else "a.out.zip")
    opened = open_all(output.read_bytes())
    assert opened.verdicts == {Verdict.ENCRYPTED}
    assert all(part.sealed for part in opened.members)
    assert opened.names == ([] if "-mhe" in options else ["minutes.txt"])


def test_a_method_of_zip_that_nothing_here_reads_is_against_policy_and_still_named(folder: Path) -> None:
    run("7z", "a", "-tzip", "-mm=Deflate64", "a.zip", "minutes.txt", cwd=folder)
    opened = open_all((folder / "a.zip").read_bytes())
    assert opened.names == ["minutes.txt"]
    assert opened.codes == {"cannot-open"}


def test_volumes_of_a_set_are_against_policy_each(folder: Path) -> None:
    (folder / "noise").write_bytes(random.Random(3).randbytes(5000))
    run("7z", "a", "-v2k", "a.7z", "noise", cwd=folder)
    volumes = sorted(folder.glob("a.7z.*"))
    assert len(volumes) >= 2
    for volume in volumes:
        assert Verdict.POLICY in open_all(volume.read_bytes(), name=volume.name).verdicts, volume.name


def test_an_arj_archive_is_against_policy_because_nothing_opens_it(folder: Path) -> None:
    run("arj", "a", "a.arj", "minutes.txt", cwd=folder)
    assert open_all((folder / "a.arj").read_bytes()).codes == {"cannot-open"}


def test_a_self_extracting_program_is_opened_and_said_to_be_one(folder: Path) -> None:
    run("7z", "a", "-t7z", "a.7z", "minutes.txt", cwd=folder)
    stub = b"\x7fELF\x02\x01\x01" + bytes(3000)
    opened = open_all(stub + (folder / "a.7z").read_bytes())
    assert opened.content("minutes.txt") == TEXT
    assert "self-extracting" in opened.codes
