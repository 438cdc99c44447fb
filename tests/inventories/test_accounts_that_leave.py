"""Which accounts remove.yml takes from a host: its own task, with programs that only note what they are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from gatewright import PROJECT

TASK = "Remove the accounts that own nothing any more"
PASSWD = """root:x:0:0:root:/root:/bin/bash
qmaild:x:64011:64011:Gatewright:/var/qmail:/usr/sbin/nologin
clamav:x:64020:64020:Gatewright:/nonexistent:/usr/sbin/nologin
debian-spamd:x:64021:64021:Gatewright:/nonexistent:/usr/sbin/nologin
_rspamd:x:64022:64022:Gatewright:/nonexistent:/usr/sbin/nologin
ann:x:1000:1000:Ann:/home/ann:/bin/bash
clam:x:64023:64023:Gatewright:/nonexistent:/usr/sbin/nologin
"""


def task() -> dict[str, Any]:
    plays = yaml.safe_load((PROJECT / "playbooks" / "remove.yml").read_text())
    (found,) = [item for play in plays for item in play["tasks"] if item["name"] == TASK]
    return dict(found)


def test_users_of_debians_packages_stay_and_others_of_ours_go(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "passwd").write_text(PASSWD)
    for name, text in {
        "getent": f'[ "$1" = passwd ] && cat {tmp_path}/passwd',
        "userdel": f'echo "$1" >>{tmp_path}/gone',
        "groupdel": "true",
        "find": "true",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    item = task() | {"environment": {"PATH": f"{programs}:/usr/bin:/bin"}}
    (tmp_path / "play.yml").write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [item]}], width=1000)
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", tmp_path / "play.yml"],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120,
    )  # an option and its value a line # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "gone").read_text().split() == ["qmaild", "clam"]
