"""guarded_files on the host: what stands there after a confirmation, a rollback, a refusal and a dead run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import guarded_files
import pytest

from tests.modules import run_module

pytestmark = pytest.mark.slow  # a process or more for each test


# Enough of systemd: enabling makes the link, a transient timer runs its command at once, all else succeeds.
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> {log}
[ ! -e {refusal} ] || exit 1
case "$*" in
*" enable "*) mkdir -p {units}/multi-user.target.wants
  for word; do unit=$word; done
  ln -sf ../$unit {units}/multi-user.target.wants/$unit ;;
*" disable "*) rm -f {units}/multi-user.target.wants/* ;;
esac
"""
SYSTEMD_RUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""


class Host:
    """A directory that stands for a host, with a stand-in for systemd."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.units = root / "units"
        self.state = root / "state"
        self.file = root / "rules.conf"
        self.loaded = root / "loaded"
        self.refusal = root / "systemd-refuses"
        self.log = root / "log"
        self.commands = root / "bin"
        for directory in (self.units, self.commands):
            directory.mkdir()
        systemctl = SYSTEMCTL.format(log=self.log, refusal=self.refusal, units=self.units)
        for name, text in (("systemctl", systemctl), ("systemd-run", SYSTEMD_RUN)):
            (self.commands / name).write_text(text)
            (self.commands / name).chmod(0o755)
        self.path = f"{self.commands}:{os.environ['PATH']}"

    def step(self, step: str, content: str = "new\n", check: bool = False, **more: Any) -> dict[str, Any]:
        """Run the module."""
        arguments = {
            "name": "firewall",
            "files": {str(self.file): {"content": content, "validate": "grep -q . %s"}},
            "apply": f"cp {self.file} {self.loaded}",
            "restore": f"cp {self.file} {self.loaded} 2>/dev/null || rm -f {self.loaded}",
            "step": step,
            "state_dir": str(self.state),
            "unit_dir": str(self.units),
            **more,
        }
        return run_module("guarded_files", arguments, check, programs=self.commands)

    def time_is_up(self) -> None:
        """Do what the timer, or a reboot, does: run the service."""
        service = (self.units / "gatewright-guard-firewall.service").read_text()
        (command,) = [line.removeprefix("ExecStart=") for line in service.splitlines() if "ExecStart=" in line]
        subprocess.run(command.split(), env={**os.environ, "PATH": self.path}, check=True)

    def leftovers(self) -> list[str]:
        """Names of units that are still there."""
        return sorted(str(path.relative_to(self.units)) for path in self.units.rglob("*") if not path.is_dir())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with an old file that is in force."""
    made = Host(tmp_path)
    made.file.write_text("old\n")
    made.file.chmod(0o664)
    made.loaded.write_text("old\n")
    return made


def test_a_file_as_it_shall_be_is_left_alone(host: Host) -> None:
    host.file.write_text("new\n")
    host.file.chmod(0o644)
    assert host.step("compare")["changed"] is False
    assert not host.state.exists()


def test_check_mode_shows_the_difference_and_changes_nothing(host: Host) -> None:
    answer = host.step("compare", check=True)
    assert answer["changed"] is True
    assert "old" in answer["diff"][0]["before"] and "new" in answer["diff"][0]["after"]
    assert host.step("apply", check=True).get("token") is None
    assert (host.file.read_text(), host.leftovers(), host.state.exists()) == ("old\n", [], False)


def test_a_candidate_that_its_own_program_refuses_changes_nothing(host: Host) -> None:
    answer = host.step("compare", content="")
    assert answer["failed"] is True
    assert str(host.file) in answer["msg"] and "nothing was changed" in answer["msg"]
    assert host.file.read_text() == "old\n"


def test_a_confirmed_change_stays_and_leaves_nothing_behind(host: Host) -> None:
    token = host.step("apply")["token"]
    status = host.step("status", token=token)
    assert (status["armed"], status["applied"]) == (True, 0)
    assert host.loaded.read_text() == "new\n"
    assert host.step("confirm", token=token)["confirmed"] is True
    assert host.file.read_text() == "new\n"
    assert (host.state / "firewall").exists() is False
    assert host.leftovers() == []


def test_an_unconfirmed_change_is_rolled_back_with_mode_and_brought_into_force(host: Host) -> None:
    token = host.step("apply")["token"]
    assert "multi-user.target.wants/gatewright-guard-firewall.service" in host.leftovers()  # a reboot counts too
    host.time_is_up()
    assert host.file.read_text() == "old\n"
    assert host.file.stat().st_mode & 0o777 == 0o664
    assert host.loaded.read_text() == "old\n"
    assert host.leftovers() == []
    status = host.step("status", token=token)
    assert status["armed"] is False and status["restored"]


def test_a_file_that_was_not_there_is_removed_again(host: Host) -> None:
    host.file.unlink()
    host.loaded.unlink()
    host.step("apply")
    host.time_is_up()
    assert not host.file.exists()
    assert not host.loaded.exists()


def test_a_confirmation_that_comes_too_late_is_refused(host: Host) -> None:
    token = host.step("apply")["token"]
    host.time_is_up()
    answer = host.step("confirm", token=token)
    assert answer["failed"] is True and "rolled back before" in answer["msg"]
    assert host.file.read_text() == "old\n"


def test_a_timer_that_fires_after_the_confirmation_does_nothing(host: Host) -> None:
    token = host.step("apply")["token"]
    script = (host.state / "firewall" / "restore").read_text()
    host.step("confirm", token=token)
    (host.state / "firewall").mkdir()
    subprocess.run(["sh", "-c", script], env={**os.environ, "PATH": host.path}, check=True)
    assert host.file.read_text() == "new\n"


def test_a_rollback_that_was_cut_short_is_finished(host: Host) -> None:
    host.step("apply")
    (host.state / "firewall" / "armed").rename(host.state / "firewall" / "restoring")
    host.time_is_up()
    assert host.file.read_text() == "old\n"


def test_the_next_run_finds_the_old_state_of_a_run_that_died(host: Host) -> None:
    host.step("apply")
    answer = host.step("compare", content="third\n")
    assert "old" in answer["diff"][0]["before"]
    assert any("unconfirmed" in str(warning) for warning in answer["warnings"])
    assert host.file.read_text() == "old\n"


def test_nothing_is_changed_if_the_rollback_cannot_be_armed(host: Host) -> None:
    host.refusal.touch()
    answer = host.step("apply")
    assert answer["failed"] is True and "nothing was changed" in answer["msg"]
    assert host.file.read_text() == "old\n"
    assert host.leftovers() == []


@pytest.mark.parametrize(("command", "changed"), [("false", True), ("true", False)])
def test_files_in_place_but_not_in_force_are_applied_again(host: Host, command: str, changed: bool) -> None:
    host.file.write_text("new\n")
    host.file.chmod(0o644)
    assert host.step("compare", in_force=command)["changed"] is changed


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"etc/x": "a"}, "etc/x: not an absolute path"),
        ({"/x": {"mode": "0644"}}, "/x: a file needs its content"),
        ({"/x": {"content": "a", "owner": "b"}}, "/x: unknown key 'owner'"),
        ({"/x": {"content": "a", "mode": "rw"}}, "/x: mode 'rw' is not octal"),
        ({"/x": {"content": "a", "validate": "true"}}, "/x: validate must have %s"),
    ],
)
def test_a_mistake_is_refused_by_name(host: Host, files: dict[str, Any], named: str) -> None:
    answer = host.step("compare", files=files)
    assert answer["failed"] is True and named in answer["msg"]


def test_nobody_confirms_a_change_of_another_run(host: Host) -> None:
    host.step("apply")
    assert host.step("confirm", token="0" * 16)["failed"] is True
    host.time_is_up()
    assert host.file.read_text() == "old\n"


def test_all_that_the_rollback_needs_is_on_the_disk_before_it_is_armed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = guarded_files.Guard(
        {"name": "x", "state_dir": host.state, "unit_dir": host.units, "window": 60, "apply": "true", "restore": ""}
    )
    written: set[Path] = set()
    armed_after: list[set[Path]] = []
    monkeypatch.setattr(os, "fsync", lambda number: written.add(Path(f"/proc/self/fd/{number}").readlink()))
    monkeypatch.setattr(guarded_files, "must_run", lambda *_: armed_after.append(set(written)))
    guard.arm([str(host.file)])
    needed = {host.state, guard.state, guard.armed, *guard.armed.iterdir(), host.units, guard.at_boot.parent}
    assert needed <= armed_after[0]
