"""release_files: a host that is no gateway any more has what it had before, and keeps what its administrator wants."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.modules import run_module


def run(module: str, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run a module that is to succeed."""
    result = run_module(module, options, check)
    assert not result.get("failed"), result
    return result


def run_as_me(**options: Any) -> None:
    """Run file_set for files of whoever runs the tests."""
    run("file_set", owner=str(os.getuid()), group=str(os.getgid()), **options)


def own(root: Path, entries: dict[str, Any], **options: Any) -> None:
    """Have file_set own entries below a root, with a ledger beside them."""
    (root / "state").mkdir(exist_ok=True)
    run_as_me(root=str(root), entries=entries, ledger_dir=str(root / "state"), **options)


def release(root: Path, **options: Any) -> dict[str, Any]:
    """Release what file_set owns below a root."""
    return run("release_files", ledger_dir=str(root / "state"), **options)


def test_a_file_that_was_there_before_comes_back_with_its_mode(tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("the company's\n")
    (tmp_path / "motd").chmod(0o640)
    own(tmp_path, {"motd": "first\n", "new": "x\n"})
    own(tmp_path, {"motd": "second\n", "new": "y\n"})
    assert release(tmp_path)["restored"] == [str(tmp_path / "motd")]
    assert (tmp_path / "motd").read_text() == "the company's\n"
    assert (tmp_path / "motd").stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "new").exists()


def test_what_was_removed_or_was_a_link_comes_back(tmp_path: Path) -> None:
    (tmp_path / "cron.deny").write_text("guest\n")
    (tmp_path / "resolv.conf").symlink_to("stub")
    own(tmp_path, {"cron.deny": {"state": "absent"}, "resolv.conf": "nameserver 127.0.0.1\n"})
    assert not (tmp_path / "cron.deny").exists()
    release(tmp_path)
    assert (tmp_path / "cron.deny").read_text() == "guest\n"
    assert (tmp_path / "resolv.conf").readlink() == Path("stub")


def test_files_that_were_as_wanted_already_are_the_gateways_too(tmp_path: Path) -> None:
    (tmp_path / "me").write_text("gw\n")
    (tmp_path / "me").chmod(0o644)
    own(tmp_path, {"me": "gw\n"})
    assert str(tmp_path / "me") in release(tmp_path)["removed"]


def test_the_text_of_an_earlier_release_is_not_taken_for_the_hosts_own(tmp_path: Path) -> None:
    (tmp_path / "unit").write_text("# Managed by Gatewright: 0.1\n")
    own(tmp_path, {"unit": "# Managed by Gatewright: 0.2\n"})
    release(tmp_path)
    assert not (tmp_path / "unit").exists()


def test_directories_go_when_nothing_of_others_is_in_them(tmp_path: Path) -> None:
    folder = {"state": "directory"}
    entries = {"ours": folder, "ours/file": "x", "shared": folder, "shared/file": "x", "on/the/way": "x"}
    own(tmp_path, entries)
    (tmp_path / "shared/another").write_text("somebody's\n")
    release(tmp_path)
    assert not (tmp_path / "ours").exists() and not (tmp_path / "on").exists()
    assert [item.name for item in (tmp_path / "shared").iterdir()] == ["another"]


def test_trees_go_whole_but_for_what_is_kept(tmp_path: Path) -> None:
    for name in ("spool/incoming/1", "spool/quarantine/cur/2", "log/current"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    own(tmp_path, {"log/state": "x"})
    trees = [str(tmp_path / "spool"), str(tmp_path / "log")]
    keep = [str(tmp_path / "spool/quarantine"), str(tmp_path / "log")]
    assert release(tmp_path, trees=trees, keep=keep)["kept"] == keep
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["log/current", "log/state", "spool/quarantine/cur/2", "state/owned"]
    release(tmp_path, trees=trees)
    assert not (tmp_path / "spool").exists() and not (tmp_path / "log").exists()


def test_a_check_changes_nothing_and_a_second_run_finds_nothing(tmp_path: Path) -> None:
    own(tmp_path, {"me": "x", "sub": {"state": "directory"}})
    told = release(tmp_path, check=True)
    assert told["changed"] and (tmp_path / "me").exists()
    assert release(tmp_path)["removed"][0] == told["removed"][0]
    assert release(tmp_path)["changed"] is False


def test_no_ledger_is_begun_where_there_is_no_state_directory(tmp_path: Path) -> None:
    run_as_me(root=str(tmp_path), entries={"me": "x"}, ledger_dir=str(tmp_path / "state"))
    assert not (tmp_path / "state").exists()


def test_what_is_only_touched_is_left_to_whoever_fills_it(tmp_path: Path) -> None:
    (tmp_path / "shadow-").write_text("root:old\n")
    own(tmp_path, {"shadow-": {"state": "touch", "mode": "0600"}})
    (tmp_path / "shadow-").write_text("root:new\n")
    release(tmp_path)
    assert (tmp_path / "shadow-").read_text() == "root:new\n"
