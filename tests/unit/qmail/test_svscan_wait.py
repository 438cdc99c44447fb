"""svscan-wait: a run waits for services where mail comes in already; else one wait at its end is for all of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "roles/daemontools/files/usr/local/lib/gatewright/svscan-wait"
NEVER, LEFT = 1, 3


class Host:
    """A directory that stands for a host. A service is taken up when it has a file `ok`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.services = root / "service"
        self.left = root / "owed/services"
        commands = root / "bin"
        commands.mkdir()
        self._program(commands / "svok", '[ -e "$1/ok" ]')
        text = TOOL.read_text().replace("PATH=/command:", f"PATH={commands}:").replace("/service/", f"{self.services}/")
        text = text.replace("/var/lib/gatewright/owed/services", str(self.left)).replace("-le 100", "-le 2")
        self.tool = root / "svscan-wait"
        self.tool.write_text(text)

    def _program(self, path: Path, script: str) -> Path:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def settle(self, name: str, script: str) -> str:
        """Make a program of a role; return its path."""
        return str(self._program(self.root / name, script))

    def take_up(self, service: str) -> None:
        (self.services / service).mkdir(parents=True)
        (self.services / service / "ok").touch()

    def wait(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", self.tool, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_where_mail_comes_in_a_role_waits_for_its_service(host: Host) -> None:
    host.wait("begin", "known")
    missing = host.wait("settle", "gatepost")
    assert missing.returncode == NEVER and "svscan did not take up" in missing.stderr and "gatepost" in missing.stderr
    host.take_up("gatepost")
    assert host.wait("settle", "gatepost").returncode == 0


def test_before_the_first_mail_nothing_waits_and_the_end_settles_each_role_once_in_order(host: Host) -> None:
    log = host.root / "log"
    qmail, gatepost = (host.settle(name, f"echo {name} >> {log}") for name in ("qmail", "gatepost"))
    host.wait("begin", "new")
    for settle, service in ((qmail, "qmail-send"), (qmail, "qmail-smtpd"), (gatepost, "gatepost")):
        assert host.wait(settle, service).returncode == LEFT
    assert host.wait("end").returncode == 0
    assert log.read_text() == "qmail\ngatepost\n"
    assert not host.left.exists()
    assert host.wait("end").returncode == 0 and log.read_text() == "qmail\ngatepost\n"


def test_at_the_end_a_service_that_never_comes_fails_the_run_by_its_name(host: Host) -> None:
    settle = host.settle("settle", f'/bin/sh {host.tool} "$0" gatescan')
    host.wait("begin", "new")
    assert host.wait(settle, "gatescan").returncode == LEFT
    ended = host.wait("end")
    assert ended.returncode == NEVER and "/service/gatescan" in ended.stderr


def test_what_a_cut_first_run_left_is_waited_for_by_the_next(host: Host) -> None:
    host.wait("begin", "new")
    assert host.wait("settle", "gatepost").returncode == LEFT
    host.wait("begin", "known")
    assert not host.left.exists()
    assert host.wait("settle", "gatepost").returncode == NEVER


def test_half_a_role_that_runs_is_waited_for_as_it_may_not_have_read_all(host: Host) -> None:
    host.wait("begin", "new")
    host.take_up("gatepost-signer")
    assert host.wait("settle", "gatepost-signer", "gatepost").returncode == NEVER
