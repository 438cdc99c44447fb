"""qmail-spread: the paper's layout, and back, without a moment in which there are no control files."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "roles/qmail/files/usr/local/lib/gatewright/qmail-spread"
LOADER = importlib.machinery.SourceFileLoader("qmail_spread", str(TOOL))
SPEC = importlib.util.spec_from_loader("qmail_spread", LOADER)
assert SPEC
tool = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(tool)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with qmail, where names can be exchanged."""
    control = tmp_path / "var/qmail/control"
    control.mkdir(parents=True)
    (control / "me").write_text("gw.example.org\n")
    (control / "rcpthosts").write_text("example.org\n")
    (control / "rcpthosts").chmod(0o640)
    (tmp_path / "etc").mkdir()
    return tmp_path


def run(verb: str, root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = tool.main(verb, root)
    said = capsys.readouterr()
    return code, said.out + said.err


def test_control_files_move_to_etc_and_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control, etc = root / "var/qmail/control", root / "etc/qmail"
    code, said = run("on", root, capsys)
    assert code == 0 and "changed" in said
    assert control.readlink() == etc and etc.is_dir() and not etc.is_symlink()
    assert (control / "rcpthosts").stat().st_mode & 0o777 == 0o640
    assert (root / "usr/local/qmail/bin").readlink() == root / "var/qmail/bin"
    assert run("on", root, capsys) == (0, ""), "a second run changes nothing"
    assert run("off", root, capsys)[0] == 0
    assert not control.is_symlink() and (control / "me").read_text() == "gw.example.org\n"
    assert not etc.exists() and not (root / "usr/local/qmail").exists()
    assert run("off", root, capsys) == (0, "")
    assert sorted(path.name for path in (root / "var/qmail").iterdir()) == ["control"]


@pytest.mark.parametrize("verb", ["on", "off"])
def test_a_look_tells_what_is_to_be_done_and_changes_nothing(
    root: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run({"on": "off", "off": "on"}[verb], root, capsys)[0] == 0
    before = sorted((path, path.is_symlink()) for path in root.rglob("*"))
    assert tool.main(verb, root, looks=True) == 0
    assert "changed" in capsys.readouterr().out
    assert sorted((path, path.is_symlink()) for path in root.rglob("*")) == before
    assert run(verb, root, capsys)[0] == 0
    assert tool.main(verb, root, looks=True) == 0 and capsys.readouterr().out == ""


def test_links_of_earlier_releases_are_turned_round_or_removed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control, etc = root / "var/qmail/control", root / "etc/qmail"
    etc.symlink_to(control)
    assert run("off", root, capsys)[0] == 0 and not os.path.lexists(etc)
    etc.symlink_to(control)
    assert run("on", root, capsys)[0] == 0 and control.readlink() == etc and (etc / "me").exists()


def test_a_move_that_was_cut_is_made_good(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "etc/qmail").mkdir()
    (root / "etc/qmail/me").write_text("half")
    (root / "var/qmail/control.new").symlink_to(root / "etc/qmail")
    assert run("on", root, capsys)[0] == 0
    assert (root / "var/qmail/control/me").read_text() == "gw.example.org\n"
    assert not os.path.lexists(root / "var/qmail/control.new")


def test_a_directory_of_somebody_elses_is_left_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "etc/qmail").mkdir()
    (root / "etc/qmail/strange").touch()
    code, said = run("on", root, capsys)
    assert code == 1 and "qmail_spread_layout" in said
    assert not (root / "var/qmail/control").is_symlink()
