"""An archive is taken only when it is the pinned one, wherever it comes from."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pinned_archive
import pytest

from tests.modules import run_module


def make_archive(path: Path, top: str = "thing-1.0", mtime: int = 0, text: bytes = b"hello\n") -> Path:
    """A small archive; another mtime gives other bytes for the same files."""
    with tarfile.open(path, "w:gz") as archive:
        for name in (f"{top}/README", f"{top}/src/a.c"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(text), mtime
            archive.addfile(member, io.BytesIO(text))
    return path


def run(**arguments: Any) -> dict[str, Any]:
    """Run the module."""
    return run_module("pinned_archive", arguments)


def test_content_digest_is_what_the_documented_shell_line_prints(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "a.tar.gz")
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    line = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    printed = subprocess.run(["sh", "-c", line], cwd=tmp_path / "thing-1.0", capture_output=True, text=True, check=True)
    assert pinned_archive.content_digest(archive) == printed.stdout.split()[0]


def test_content_digest_does_not_depend_on_packing(tmp_path: Path) -> None:
    one, two = make_archive(tmp_path / "1.tar.gz"), make_archive(tmp_path / "2.tar.gz", "other-top", mtime=99)
    assert pinned_archive.file_digest(one) != pinned_archive.file_digest(two)
    assert pinned_archive.content_digest(one) == pinned_archive.content_digest(two)


@pytest.mark.parametrize("place", ["local_dir", "mirrors", "urls"])
def test_archive_is_found_in_each_place(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    archive = make_archive(folder / "thing-1.0.tar.gz")
    where = {"local_dir": str(folder), "mirrors": [folder.as_uri()], "urls": [archive.as_uri()]}[place]
    answer = run(
        name="thing-1.0.tar.gz",
        sha256=pinned_archive.file_digest(archive),
        cache_dir=str(tmp_path / "c"),
        **{place: where},
    )
    assert Path(answer["path"]).read_bytes() == archive.read_bytes()


def test_alias_is_found_and_cache_serves_when_the_mirror_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    archive = make_archive(folder / "thing_1.0.orig.tar.gz")
    arguments = {
        "name": "thing-1.0.tar.gz",
        "aliases": [archive.name],
        "mirrors": [folder.as_uri()],
        "content": pinned_archive.content_digest(archive),
        "cache_dir": str(tmp_path / "c"),
    }
    assert run(**arguments)["changed"] is True
    archive.unlink()
    again = run(**arguments)
    assert (again["changed"], again["source"], again["proved_by"]) == (False, "cache", "content")


@pytest.mark.parametrize("place", ["local_dir", "mirrors"])
def test_wrong_pin_stops_with_both_values_and_leaves_nothing_in_the_cache(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    archive = make_archive(folder / "thing-1.0.tar.gz")
    where = {"local_dir": str(folder), "mirrors": [folder.as_uri()]}[place]
    answer = run(name=archive.name, sha256="0" * 64, content="1" * 64, cache_dir=str(tmp_path / "c"), **{place: where})
    assert answer["failed"]
    for value in ("0" * 64, "1" * 64, pinned_archive.file_digest(archive), pinned_archive.content_digest(archive)):
        assert value in answer["msg"]
    assert not [path for path in tmp_path.glob("c/**/*") if path.is_file()]


def test_nowhere_to_be_had_names_every_place(tmp_path: Path) -> None:
    gone = (tmp_path / "gone").as_uri()
    answer = run(name="x.tar.gz", sha256="0" * 64, mirrors=[gone], urls=[gone + "/y"], cache_dir=str(tmp_path / "c"))
    assert answer["failed"] and gone + "/x.tar.gz" in answer["msg"] and gone + "/y" in answer["msg"]


def test_check_mode_looks_whether_it_can_be_had_and_keeps_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    archive = make_archive(folder / "x.tar.gz")
    asked = {"name": "x.tar.gz", "sha256": "0" * 64, "cache_dir": str(tmp_path / "c")}
    there = run_module("pinned_archive", {**asked, "mirrors": [folder.as_uri()]}, check=True)
    assert (there["changed"], there["source"]) == (True, archive.as_uri())
    nowhere = run_module("pinned_archive", {**asked, "mirrors": [(tmp_path / "gone").as_uri()]}, check=True)
    assert nowhere["failed"] and "cannot be had" in nowhere["msg"] and "source_build_archive_dir" in nowhere["msg"]
    assert not (tmp_path / "c").exists()
