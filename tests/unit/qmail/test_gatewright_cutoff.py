"""gatewright-cutoff and qmail-send's run: a cutoff is in force after an interruption and on a full disk, too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

QMAIL = Path(__file__).parents[3] / "roles/qmail"
TOOL = QMAIL / "files/usr/local/sbin/gatewright-cutoff"
RUN = QMAIL / "templates/var/qmail/supervise/qmail-send/run.j2"
SERVICES = {"inbound": "qmail-smtpd", "outbound": "qmail-send"}


class Host:
    """A folder that stands for a host, whose `svc` starts services as supervise does and notes which."""

    def __init__(self, root: Path) -> None:
        self.flags, self.control, self.told = root / "cutoff", root / "control", root / "told"
        self.cmdline = root / "proc/7/cmdline"
        self.control.mkdir()
        self.cmdline.parent.mkdir(parents=True)
        commands = root / "bin"
        commands.mkdir()
        self.run_send = self.copy(RUN, root, commands)
        self.tool = self.copy(TOOL, root, commands)
        self.down = root / "down"
        states = 'echo "$1: down 5 seconds" || echo "$1: up (pid 7) 1 seconds"'
        program(commands / "svstat", f"[ -e {self.down} ] && {states}")
        program(commands / "logger", "exit 0")
        smtpd = (
            f"[ -e {self.flags}/inbound ] && echo cutoff-smtpd > {self.cmdline} || echo qmail-smtpd > {self.cmdline}"
        )
        program(
            commands / "svc",
            f'echo "${{2##*/}}" >> {self.told}; [ -e {self.down} ] && exit\n'
            f"case $2 in *smtpd) {smtpd} ;; *) sh {self.run_send} ;; esac",
        )
        program(root / "takeover", "exit 0")
        program(root / "qmail-settle", "exit 0")
        for service in SERVICES.values():
            subprocess.run([commands / "svc", "-t", f"/service/{service}"], check=True)
        self.told.unlink()

    def copy(self, path: Path, root: Path, commands: Path) -> Path:
        """A program with the paths of this host."""
        text = path.read_text().replace("{{ managed }}", "").replace("{{ qmail_concurrency_remote }}", "60")
        text = text.replace("PATH=/command:", f"PATH={commands}:").replace("/usr/local/lib/gatewright/", f"{root}/")
        text = text.replace("/var/lib/gatewright/cutoff", str(self.flags)).replace("/proc/", f"{root}/proc/")
        text = text.replace("/var/qmail/control", str(self.control))
        target = root / path.name
        target.write_text(text)
        return target

    def call(self, *words: str) -> str:
        """Run it; what it says."""
        done = subprocess.run(["/bin/sh", self.tool, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def is_cut(self, way: str) -> bool:
        """Whether what runs cuts this mail off."""
        if way == "inbound":
            return "cutoff-smtpd" in self.cmdline.read_text()
        return (self.control / "concurrencyremote").read_text() == "0\n"

    def restarted(self) -> list[str]:
        """Services that were told to start again since this was last asked."""
        found = self.told.read_text().split() if self.told.exists() else []
        self.told.unlink(missing_ok=True)
        return found


def program(path: Path, script: str) -> None:
    """Write one."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Mail is open."""
    return Host(tmp_path)


@pytest.mark.parametrize("way", SERVICES)
def test_mail_is_cut_off_once_and_given_back_once(host: Host, way: str) -> None:
    assert f"changed {way}" in host.call("cut", way) and host.is_cut(way)
    assert "changed" not in host.call("cut", way)
    assert host.restarted() == [SERVICES[way]]
    assert f"changed {way}" in host.call("open", way) and not host.is_cut(way)
    assert "changed" not in host.call("open", way)
    assert host.restarted() == [SERVICES[way]]


@pytest.mark.parametrize("way", SERVICES)
def test_a_command_that_was_cut_short_is_made_good_by_the_next(host: Host, way: str) -> None:
    host.flags.mkdir()
    (host.flags / way).touch()  # and no service was told
    assert not host.is_cut(way)
    assert f"changed {way}" in host.call("cut", way) and host.is_cut(way)
    (host.flags / way).unlink()  # the same on the way back
    assert f"changed {way}" in host.call("open", way) and not host.is_cut(way)


@pytest.mark.parametrize("way", SERVICES)
def test_a_cutoff_of_what_does_not_run_is_one_change(host: Host, way: str) -> None:
    host.down.touch()
    assert f"changed {way}" in host.call("cut", way)
    assert "changed" not in host.call("cut", way)
    assert f"changed {way}" in host.call("open", way)
    assert "changed" not in host.call("open", way)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_on_a_full_disk_nothing_is_sent_in_a_cutoff_and_without_one_qmail_send_runs(host: Host) -> None:
    (host.control / "concurrencyremote.new").symlink_to("/dev/full")
    host.flags.mkdir()
    (host.flags / "outbound").touch()
    assert subprocess.run(["/bin/sh", host.run_send], check=False).returncode == 111
    (host.flags / "outbound").unlink()
    (host.control / "concurrencyremote").write_text("0\n")
    assert subprocess.run(["/bin/sh", host.run_send], check=False).returncode == 0
