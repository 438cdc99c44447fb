"""file_set: what an administrator sees of it in a run, in a check and in a diff."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from on_gateway import stat_cache

from tests.modules import run_module


def run(entries: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module, for files of whoever runs the tests."""
    owner = {"owner": str(os.getuid()), "group": str(os.getgid())}
    return run_module("file_set", {"entries": entries, **owner, **options}, check)


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    entries = {
        "me": "gw.example.org\n",
        "log": {"state": "directory", "mode": "0700"},
        "run": {"content": "#!/bin/sh\n", "mode": "0755"},
        "link": {"state": "link", "target": "me"},
        "log/state": {"state": "touch", "mode": "0600"},
    }
    first = run(entries, root=str(tmp_path))
    assert first["changed"] is True
    assert len(first["changed_paths"]) == 5
    assert (tmp_path / "me").read_text() == "gw.example.org\n"
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "link").readlink() == Path("me")
    assert run(entries, root=str(tmp_path))["changed"] is False


def test_check_mode_shows_a_true_diff_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "me").write_text("old\n")
    result = run({"me": "new\n", "sub/other": "x\n"}, check=True, root=str(tmp_path))
    assert result["changed_paths"] == [str(tmp_path / "me"), str(tmp_path / "sub/other")]
    assert "old" in result["diff"][0]["before"] and "new" in result["diff"][0]["after"]
    assert (tmp_path / "me").read_text() == "old\n"
    assert not (tmp_path / "sub").exists()


def test_purge_removes_what_is_not_listed_but_for_kept_patterns(tmp_path: Path) -> None:
    for name in ("me", "stray", "rcpthosts.cdb"):
        (tmp_path / name).write_text("x")
    (tmp_path / "directory").mkdir()
    result = run({"me": "x"}, root=str(tmp_path), purge=["."], keep=["*.cdb"])
    assert str(tmp_path / "stray") in result["changed_paths"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["directory", "me", "rcpthosts.cdb"]


def test_touch_keeps_what_is_written_there(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("precious")
    run({"state": {"state": "touch", "mode": "0600"}}, root=str(tmp_path))
    assert (tmp_path / "state").read_text() == "precious"
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "conf").symlink_to("elsewhere")
    run({"conf": "ours"}, root=str(tmp_path))
    assert not (tmp_path / "conf").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"content": "x", "colour": "red"}, "unknown key 'colour'"),
        ({"content": "x", "mode": "rw"}, "mode 'rw' is not octal"),
        ({"content": "x", "owner": "nobody-such"}, "no user 'nobody-such'"),
        ({"state": "link"}, "a link needs its target"),
        ({"state": "gone"}, "state 'gone' is not one of"),
        (7, "neither content nor a mapping"),
    ],
)
def test_a_wrong_entry_is_named_and_nothing_is_written(tmp_path: Path, entry: Any, words: str) -> None:
    result = run({"good": "x", "wrong": entry}, root=str(tmp_path))
    assert result["failed"] is True
    assert words in result["msg"] and str(tmp_path / "wrong") in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_owner_is_no_error_in_check_mode(tmp_path: Path) -> None:
    result = run({"log": {"state": "directory", "owner": "qmaill-to-come"}}, check=True, root=str(tmp_path))
    assert result["changed"] is True


def test_what_root_makes_is_for_everybody_to_enter_whatever_its_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run({"deep/er/file": "x", "deep/link": {"state": "link", "target": "er"}}, root=str(tmp_path))
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("deep", "deep/er")] == [0o755, 0o755]


def test_what_a_run_that_was_cut_still_owes_is_a_change_until_it_is_done(tmp_path: Path) -> None:
    note: dict[str, Any] = {"owed": "resolver", "owed_dir": str(tmp_path / "owed")}
    entries = {"me": "gw.example.org\n", "other": "x\n"}
    run(entries, root=str(tmp_path), **note)
    for _cut in range(2):  # nobody came to restart the service
        again = run(entries, root=str(tmp_path), **note)
        assert again["changed"] is True
        assert again["changed_paths"] == [str(tmp_path / "me"), str(tmp_path / "other")]
    changed = run({**entries, "third": "y\n"}, root=str(tmp_path), **note)
    assert len(changed["changed_paths"]) == 3
    (tmp_path / "owed/resolver").unlink()  # the handler's last act
    assert run({**entries, "third": "y\n"}, root=str(tmp_path), **note)["changed"] is False


def test_a_check_notes_nothing(tmp_path: Path) -> None:
    run({"me": "x"}, check=True, root=str(tmp_path), owed="resolver", owed_dir=str(tmp_path / "owed"))
    assert not (tmp_path / "owed").exists()


# What the next run may trust

NOTED = {"task": "t", "digest": "d"}


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    (tmp_path / "ledger").mkdir()
    return tmp_path / "ledger"


def kept(tmp_path: Path, ledger: Path, **options: Any) -> list[str]:
    """Have a set of every kind brought about; the digests of which the survey would say that nobody touched them."""
    entries = {
        "me": "owner of gw.example.org\n",
        "log": {"state": "directory", "mode": "0700"},
        "link": {"state": "link", "target": "me"},
        "log/state": {"state": "touch", "mode": "0600"},
        "env/IP": "127.0.0.1\n",
        "gone": {"state": "absent"},
    }
    places = {"root": str(tmp_path), "ledger_dir": str(ledger), "owed_dir": str(ledger)}
    told = {**places, "purge": ["env"], "keep": ["*.cdb"], **options}
    assert not run(entries, noted={"task": "a task", "digest": "d"}, **told).get("failed")
    return list(stat_cache.untouched(str(ledger)))


def rewrite(path: Path) -> None:
    """Same size, same time of writing, other content."""
    before = path.stat()
    path.write_text(path.read_text().swapcase())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


TOUCHES = {
    "content": lambda top: rewrite(top / "me"),
    "mode": lambda top: (top / "me").chmod(0o600),
    "replaced by the same": lambda top: (top / "me").rename(top / "old") and shutil.copy2(top / "old", top / "me"),
    "removed": lambda top: (top / "me").unlink(),
    "a directory's mode": lambda top: (top / "log").chmod(0o755),
    "a link's target": lambda top: (top / "link").unlink() or (top / "link").symlink_to("log"),
    "a file in the place of a link": lambda top: (top / "link").unlink() or (top / "link").write_text("me"),
    "a touched file's mode": lambda top: (top / "log/state").chmod(0o644),
    "a stray in a purged directory": lambda top: (top / "env/STRAY").write_text(""),
    "what is to be absent": lambda top: (top / "gone").symlink_to("nowhere"),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_what_somebody_touched_is_not_trusted(tmp_path: Path, ledger: Path, touch: Callable[[Path], object]) -> None:
    assert kept(tmp_path, ledger) == ["d"]
    touch(tmp_path)
    assert list(stat_cache.untouched(str(ledger))) == []
    assert kept(tmp_path, ledger) == ["d"]


def test_what_is_not_the_tasks_own_may_change(tmp_path: Path, ledger: Path) -> None:
    assert kept(tmp_path, ledger) == ["d"]
    (tmp_path / "log/state").write_text("written by its service\n")
    (tmp_path / "log/current").write_text("a line\n")
    (tmp_path / "another").write_text("x")
    assert list(stat_cache.untouched(str(ledger))) == ["d"]


def test_files_for_which_something_is_owed_are_not_trusted(tmp_path: Path, ledger: Path) -> None:
    assert kept(tmp_path, ledger, owed="restart") == []
    (ledger / "restart").unlink()
    assert list(stat_cache.untouched(str(ledger))) == ["d"]


def test_a_check_and_a_set_that_failed_are_not_trusted(tmp_path: Path, ledger: Path) -> None:
    assert run({"me": "x"}, check=True, root=str(tmp_path), ledger_dir=str(ledger), noted=NOTED)["changed"]
    assert run({"me": {"state": "odd"}}, root=str(tmp_path), ledger_dir=str(ledger), noted=NOTED)["failed"]
    assert list(stat_cache.untouched(str(ledger))) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"t": 1}', '{"t": {"digest": "d", "marks": [["odd", "/", 1]]}}'])
def test_a_damaged_note_is_no_note(tmp_path: Path, ledger: Path, text: str) -> None:
    (ledger / stat_cache.NAME).write_text(text)
    assert list(stat_cache.untouched(str(ledger))) == []
    assert kept(tmp_path, ledger) == ["d"]


def test_a_task_has_one_note_however_often_it_changes(tmp_path: Path, ledger: Path) -> None:
    for number in range(20):
        run(
            {f"f{number}": "x"},
            root=str(tmp_path),
            ledger_dir=str(ledger),
            noted={"task": "a task", "digest": str(number)},
        )
    assert list(stat_cache.untouched(str(ledger))) == ["19"]
    assert len(stat_cache.read(str(ledger))) == 1
