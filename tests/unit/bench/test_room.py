"""A bench with many booted hosts looks for memory and inotify instances before it starts one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.provision import room
from lab.machine import LabError


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernel's limit of inotify instances, as Debian has it."""
    path = tmp_path / "max_user_instances"
    path.write_text("128\n")
    monkeypatch.setattr(room, "INSTANCES", path)
    monkeypatch.setattr(room, "PROCESSES", tmp_path / "proc")
    return path


def test_the_limit_is_raised_for_twenty_hosts_and_set_back(limit: Path) -> None:
    with room.inotify_for(20):
        assert int(limit.read_text()) >= 20 * 5
    assert limit.read_text() == "128\n"


def test_what_other_programs_hold_already_is_counted(limit: Path) -> None:
    with room.inotify_for(20):
        alone = int(limit.read_text())
    for process, number in (("17", 0), ("17", 1), ("4711", 3)):
        descriptor = limit.parent / "proc" / process / "fd" / str(number)
        descriptor.parent.mkdir(parents=True, exist_ok=True)
        descriptor.symlink_to("anon_inode:inotify" if number else "/dev/null")
    with room.inotify_for(20):
        assert int(limit.read_text()) == alone + 2


def test_it_is_set_back_after_a_failure_too(limit: Path) -> None:
    with pytest.raises(LabError), room.inotify_for(20):
        raise LabError("a host did not boot")
    assert limit.read_text() == "128\n"


def test_a_limit_that_is_enough_is_left_alone(limit: Path) -> None:
    with room.inotify_for(2):
        assert limit.read_text() == "128\n"


def test_what_somebody_else_sets_meanwhile_stays(limit: Path) -> None:
    with room.inotify_for(20):
        limit.write_text("4096\n")
    assert limit.read_text() == "4096\n"


def test_who_may_not_raise_it_is_told_the_command(limit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _text: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(LabError, match=r"sysctl fs\.inotify\.max_user_instances="), room.inotify_for(20):
        pass


def test_too_little_memory_is_told_before_the_first_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:  8000000 kB\nMemAvailable:    4000000 kB\n")
    monkeypatch.setattr(room, "MEMORY", path)
    room.check_memory(5, 20)
    with pytest.raises(LabError, match="20 gateways need"):
        room.check_memory(20, 20)
