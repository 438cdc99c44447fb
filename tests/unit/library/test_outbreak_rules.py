"""outbreak_rules: rules are added and taken back, and a mistake leaves the old ones in force."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import outbreak_rules
import pytest

from tests.modules import run_module

ISO = ".iso\tSIZE=-1\tOutbreak"
SUBJECT = ".*invoice.*\tPolicy-Subject:\tOutbreak"


@pytest.fixture
def gatescan(tmp_path: Path) -> Path:
    """A scanner that notes each build, and refuses rules with the word bad."""
    program = tmp_path / "gatescan"
    program.write_text(
        f"#!/bin/sh\ngrep -q bad {tmp_path}/outbreak.txt 2>/dev/null && echo 'bad rule' >&2 && exit 1\n"
        f'echo "$@" >> {tmp_path}/builds\n'
    )
    program.chmod(0o755)
    logger = tmp_path / "logger"
    logger.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/journal\n')
    logger.chmod(0o755)
    return program


def run(gatescan: Path, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module."""
    arguments = {"path": str(gatescan.parent / "outbreak.txt"), "gatescan": str(gatescan), **options}
    return run_module("outbreak_rules", arguments, check, programs=gatescan.parent)


def builds(gatescan: Path) -> int:
    notes = gatescan.parent / "builds"
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def test_rules_are_added_once_and_kept_beside_each_other(gatescan: Path) -> None:
    assert run(gatescan, state="block", rules=[ISO])["changed"]
    again = run(gatescan, state="block", rules=[ISO.replace("Outbreak", "another word for it")])
    assert not again["changed"] and builds(gatescan) == 1
    both = run(gatescan, state="block", rules=[SUBJECT])
    assert both["rules"] == [ISO, SUBJECT]
    assert run(gatescan)["rules"] == [ISO, SUBJECT]
    assert (gatescan.parent / "outbreak.txt").stat().st_mode & 0o777 == 0o644


def test_of_two_administrators_at_once_neither_loses_the_others_rule(gatescan: Path) -> None:
    folder = os.open(gatescan.parent, os.O_RDONLY)
    waits = f":{gatescan.parent.stat().st_ino} "
    with ThreadPoolExecutor(1) as pool:
        fcntl.flock(folder, fcntl.LOCK_EX)  # as who has read, and not yet written
        second = pool.submit(run, gatescan, state="block", rules=[SUBJECT])
        while not (
            second.done() or any("->" in one and waits in one for one in Path("/proc/locks").read_text().splitlines())
        ):
            time.sleep(0.01)
        (gatescan.parent / "outbreak.txt").write_text(f"{ISO}\n")
        os.close(folder)
        assert second.result()["rules"] == [ISO, SUBJECT]
    assert run(gatescan)["rules"] == [ISO, SUBJECT]


def test_the_same_pattern_for_another_direction_is_another_rule(gatescan: Path) -> None:
    run(gatescan, state="block", rules=[ISO + "\tinbound"])
    assert run(gatescan, state="block", rules=[ISO + "\toutbound"])["changed"]
    lifted = run(gatescan, state="lifted", rules=[ISO + "\tinbound"])
    assert lifted["rules"] == [ISO + "\toutbound"]


def test_the_last_rule_that_is_lifted_takes_the_file_with_it(gatescan: Path) -> None:
    run(gatescan, state="block", rules=[ISO, SUBJECT])
    assert run(gatescan, state="lifted", rules=[SUBJECT])["rules"] == [ISO]
    assert run(gatescan, state="lifted", everything=True)["rules"] == []
    assert not (gatescan.parent / "outbreak.txt").exists()
    assert builds(gatescan) == 3
    assert not run(gatescan, state="lifted", everything=True)["changed"]


def test_the_hosts_journal_has_who_blocked_and_who_lifted_what(gatescan: Path) -> None:
    run(gatescan, state="block", rules=[ISO], by="ann@office")
    run(gatescan, state="block", rules=[ISO], by="ben@office")
    run(gatescan, state="block", rules=["bad\tSIZE=-1\tx"], by="ben@office")
    run(gatescan, state="lifted", everything=True, by="carl@office")
    lines = (gatescan.parent / "journal").read_text().splitlines()
    assert lines == [
        f"--tag gatewright -- outbreak: {told} .iso   SIZE=-1   Outbreak"
        for told in ("ann@office blocked", "carl@office lifted")
    ]


def test_rules_that_do_not_build_leave_the_old_ones(gatescan: Path) -> None:
    run(gatescan, state="block", rules=[ISO])
    before = (gatescan.parent / "outbreak.txt").read_bytes()
    refused = run(gatescan, state="block", rules=["bad\tSIZE=-1\tx"])
    assert refused["failed"] and "bad rule" in refused["msg"]
    assert (gatescan.parent / "outbreak.txt").read_bytes() == before


def test_on_a_full_disk_the_rules_stay_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "outbreak.txt"
    path.write_text("old\n")
    monkeypatch.setattr("outbreak_rules.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        outbreak_rules.write(str(path), "new\n")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("outbreak.txt", "old\n")]


def test_check_mode_says_what_would_change_and_changes_nothing(gatescan: Path) -> None:
    would = run(gatescan, state="block", rules=[ISO], check=True)
    assert would["changed"] and ISO in would["diff"]["after"]
    assert not (gatescan.parent / "outbreak.txt").exists() and builds(gatescan) == 0
