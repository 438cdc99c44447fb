"""Which qmail the lab is built from: the archive that is given, or, said loudly, the stand-in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lab import artifacts


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the lab's own, on a machine that is told nothing and reaches no site."""
    monkeypatch.setattr(artifacts, "ARCHIVES", tmp_path / "artifacts")
    monkeypatch.setattr(artifacts, "RELEASE", tmp_path / "release.json")
    monkeypatch.setattr(artifacts, "is_in_reach", lambda url: False)
    monkeypatch.delenv("GATEWRIGHT_ARTIFACTS", raising=False)
    monkeypatch.delenv("GATEWRIGHT_LAB_STANDIN", raising=False)
    return tmp_path


@pytest.fixture
def given(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an archive of notqmail, which the environment names."""
    folder = cache / "given"
    folder.mkdir()
    (folder / "notqmail-1.09.tar.gz").write_bytes(b"an archive")
    (folder / "notes.txt").write_text("no archive")
    monkeypatch.setenv("GATEWRIGHT_ARTIFACTS", str(folder))
    return folder


def test_the_archive_that_is_given_is_used(cache: Path, given: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert artifacts.assemble() == "notqmail"
    assert [path.name for path in (cache / "artifacts").iterdir()] == ["notqmail-1.09.tar.gz"]
    artifacts.warn()
    assert capsys.readouterr().out == ""


def test_the_site_is_enough_without_an_archive(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "is_in_reach", lambda url: True)
    assert artifacts.assemble() == "notqmail"


def test_without_archive_and_site_the_stand_in_is_pinned_and_said_loudly(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert artifacts.assemble() == "standin"
    archive = cache / "artifacts" / "standin-1.0.tar.gz"
    release = json.loads((cache / "release.json").read_text())
    pin = release["source_build_pins_extra"]["standin-1.0"]
    assert release["qmail_source"]["archive"] == "standin-1.0"
    assert pin["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    artifacts.warn()
    assert "STAND-IN" in capsys.readouterr().out


def test_the_stand_in_can_be_asked_for(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_LAB_STANDIN", "1")
    assert artifacts.assemble() == "standin"


def test_an_address_that_nobody_serves_is_out_of_reach() -> None:
    assert not artifacts.is_in_reach("http://127.0.0.1:9/")
