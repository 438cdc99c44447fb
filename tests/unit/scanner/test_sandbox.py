"""The doctor's look at svscan's sandbox: what would make every message get 451 is named."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest
from gatescan.config import Config, DaemonConfig, JournalConfig, QuarantineConfig
from gatescan.health import doctor, sandbox

HOST = "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda1 rw"


class Proc:
    """A folder in the place of /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def process(self, pid: int, name: str, *mounts: str, parent: int = 1, no_new_privs: int = 0) -> None:
        """Give it a process."""
        place = self.root / str(pid)
        place.mkdir()
        (place / "status").write_text(f"Name:\t{name}\nPPid:\t{parent}\nNoNewPrivs:\t{no_new_privs}\n")
        (place / "mountinfo").write_text("".join(f"{line}\n" for line in (HOST, *mounts)))


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    root = tmp_path / "proc"
    root.mkdir()
    monkeypatch.setattr(sandbox, "of_svscan", functools.partial(sandbox.of_svscan, root))
    return Proc(root)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A gateway below tmp_path; all that it writes to is there."""
    for name in ("qmail/queue", "spool/quarantine", "log", "metrics", "run"):
        (tmp_path / name).mkdir(parents=True)
    return replace(
        Config(),
        spool=tmp_path / "spool",
        next_queue=(str(tmp_path / "qmail/bin/qmail-queue"),),
        quarantine=QuarantineConfig(directory=tmp_path / "spool/quarantine"),
        daemon=DaemonConfig(socket=tmp_path / "run/gatescan.sock"),
        journal=JournalConfig(json_log=tmp_path / "log/messages.jsonl", metrics=tmp_path / "metrics/gatescan.prom"),
    )


def found(config: Config) -> list[tuple[str, str]]:
    """What the doctor says of the sandbox."""
    return [(check.state, check.what) for check in doctor._sandbox(config)]


def strict(*writable: Path) -> tuple[str, ...]:
    """The mounts of ProtectSystem=strict with these in ReadWritePaths."""
    shut = "40 22 0:21 / / ro,relatime - ext4 /dev/vda1 rw"
    return (shut, *(f"{50 + n} 40 0:21 {path} {path} rw - ext4 /dev/vda1 rw" for n, path in enumerate(writable)))


def test_a_sandbox_with_all_that_mail_needs_is_well(proc: Proc, config: Config, tmp_path: Path) -> None:
    writable = [tmp_path / name for name in ("qmail", "spool", "log", "metrics", "run")]
    proc.process(7, "svscan", *strict(*writable))
    assert [state for state, _ in found(config)] == ["ok"]


def test_without_new_privileges_qmail_queue_is_named(proc: Proc, config: Config) -> None:
    proc.process(7, "svscan", no_new_privs=1)
    assert [state for state, _ in found(config)] == ["broken"]
    assert "qmail-queue" in found(config)[0][1]


def test_a_directory_that_may_not_be_written_is_named(proc: Proc, config: Config, tmp_path: Path) -> None:
    proc.process(7, "svscan", *strict(*(tmp_path / name for name in ("spool", "log", "metrics", "run"))))
    ((state, what),) = found(config)
    assert state == "broken"
    assert what.endswith(f"may not write to {tmp_path}/qmail/queue")


def test_a_file_system_that_is_itself_read_only_counts(proc: Proc, config: Config, tmp_path: Path) -> None:
    proc.process(7, "svscan", f"40 22 0:30 / {tmp_path}/spool rw - ext4 /dev/vdb1 ro,errors=remount-ro")
    ((state, what),) = found(config)
    assert state == "broken"
    assert f"{tmp_path}/spool, {tmp_path}/spool/quarantine" in what


def test_another_hosts_svscan_is_none_of_ours(proc: Proc, config: Config) -> None:
    proc.process(7, "svscan", parent=6, no_new_privs=1)  # in a container that this host runs
    proc.process(8, "sh", no_new_privs=1)
    assert found(config) == []
