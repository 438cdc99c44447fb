"""own_packages: files of the controller become one transaction of apt's on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gatewright import PROJECT

# Notes what it is asked for, and whether the files are there; "broken" in a file makes it fail.
APT_GET = """#!/bin/sh
for word; do case $word in *.deb) echo "$(basename "$word") $(cat "$word")" ;; esac; done > {log}
echo "$*" | grep -c ' install ' >> {log}
! grep -q broken {log} || { echo 'E: broken packages' >&2; exit 100; }
"""


class Host:
    """A host whose apt-get is a few lines of shell."""

    def __init__(self, place: Path) -> None:
        self.place, self.log = place, place / "log"
        apt_get = place / "bin/apt-get"
        apt_get.parent.mkdir()
        apt_get.write_text(APT_GET.replace("{log}", str(self.log)))
        apt_get.chmod(0o755)

    def install(self, packages: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
        """Install packages, name to content, by a playbook."""
        for name, content in packages.items():
            (self.place / name).write_text(content)
        task = {"own_packages": {"packages": [str(self.place / name) for name in packages]}}
        playbook = self.place / "play.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", playbook, *options],
            env={
                **os.environ,
                "PATH": f"{self.place}/bin:{os.environ['PATH']}",
                "ANSIBLE_ACTION_PLUGINS": str(PROJECT / "action_plugins"),
                "ANSIBLE_HOME": str(self.place / "home"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_all_packages_come_in_one_transaction(host: Host) -> None:
    done = host.install({"gatewright-a.deb": "first", "gatewright-b.deb": "second"})
    assert done.returncode == 0, done.stdout
    assert "changed=1" in done.stdout
    assert host.log.read_text().splitlines() == ["gatewright-a.deb first", "gatewright-b.deb second", "1"]


def test_what_apt_says_of_a_package_that_does_not_install_is_told(host: Host) -> None:
    done = host.install({"gatewright-a.deb": "broken"})
    assert done.returncode != 0
    assert "E: broken packages" in done.stdout


def test_a_check_installs_nothing(host: Host) -> None:
    done = host.install({"gatewright-a.deb": "first"}, "--check")
    assert "changed=1" in done.stdout
    assert not host.log.exists()
