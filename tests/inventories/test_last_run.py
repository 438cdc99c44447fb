"""The note of the last whole run, which figures tell of: a run of some tags, or a check, leaves the one before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gatewright import PROJECT

TASKS = [
    {"ansible.builtin.import_role": {"name": "monitoring", "rolespec_validate": False}, "when": False},
    {"ansible.builtin.debug": {"msg": "NOTE={{ monitoring__last_run }}="}, "tags": ["always"]},
]


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ((), "/var/lib/gatewright/last-run"),
        (("--tags", "tcp_smtp"), ""),
        (("--check",), ""),
        (("-e", '{"monitoring_enabled": false}'), ""),
    ],
)
def test_a_whole_run_is_noted(tmp_path: Path, options: tuple[str, ...], note: str) -> None:
    play = {"hosts": "localhost", "gather_facts": False, "tasks": TASKS}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    enabled = ("-e", '{"monitoring_enabled": true}')
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), tmp_path / "play.yml", *enabled, *options],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120,
    )  # an option and its value a line # fmt: skip
    assert f"NOTE={note}=" in done.stdout, done.stdout + done.stderr
