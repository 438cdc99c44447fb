"""The survey in a job by one tag: what holds it up, and how long the answers hold that others build on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatewright import PROJECT

SHOWN = ("_survey_refuses", "survey__is_due", "survey__answers", "survey__untrimmed")
ROLES = ("survey", "foundation", "firewall", "tcp_smtp", "smtproutes")
FOUND: dict[str, Any] = {"answers": {"svscan": "active\n"}, "untrimmed": ["at"]}


def shown(folder: Path, *options: str, facts: dict[str, Any] | None = None, **found: Any) -> dict[str, Any]:
    """The survey's variables in a run with these options, once it found something and the host has these facts."""
    show = {name: f"{{{{ {name} | default('undefined') }}}}" for name in SHOWN}
    tasks: list[dict[str, Any]] = [
        *({"ansible.builtin.import_role": {"name": name, "rolespec_validate": False}, "when": False} for name in ROLES),
        {"ansible.builtin.set_fact": {"_survey_found": found}},
        {"ansible.builtin.debug": {"msg": "SHOWN={{ _show | to_json }}"}, "vars": {"_show": show}},
    ]
    if facts:
        tasks.insert(len(ROLES), {"ansible.builtin.set_fact": {**facts, "cacheable": True}})
    for task in tasks:
        task["tags"] = ["always"]
    (folder / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", folder / "play.yml", *options],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120,
    )  # an option and its value a line # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(line for line in done.stdout.splitlines() if "SHOWN=" in line)
    return dict(json.loads(yaml.safe_load(line)["msg"].removeprefix("SHOWN=")))


@pytest.mark.parametrize(
    ("tags", "refuses"),
    [((), True), (("--tags", "firewall,smtproutes"), True), (("--tags", "smtproutes"), False)],
)
def test_only_what_is_in_the_way_of_a_job_holds_it_up(tmp_path: Path, tags: tuple[str, ...], refuses: bool) -> None:
    assert shown(tmp_path, *tags)["_survey_refuses"] is refuses


@pytest.mark.parametrize(
    ("options", "is_due"),
    [
        ((), True),
        (("--tags", "smtproutes"), True),
        (("--tags", "tcp_smtp,smtproutes"), True),
        (("--tags", "tcp_smtp"), False),
        (("--tags", "tcp_smtp", "-e", '{"foundation_adopt_accounts": true}'), True),
    ],
)
def test_only_a_quick_job_takes_no_look_at_the_host(tmp_path: Path, options: tuple[str, ...], is_due: bool) -> None:
    assert shown(tmp_path, *options)["survey__is_due"] is is_due


def test_answers_hold_until_a_unit_was_masked(tmp_path: Path) -> None:
    seen = shown(tmp_path, **FOUND)
    assert (seen["survey__answers"], seen["survey__untrimmed"]) == (FOUND["answers"], ["at"])
    later = shown(tmp_path, facts={"gatewright_trimmed": 7}, **FOUND, seen=7)
    assert (later["survey__answers"], later["survey__untrimmed"]) == ({}, "undefined")
    another = shown(tmp_path, facts={"gatewright_trimmed": 6}, **FOUND, seen=7)
    assert another["survey__answers"] == FOUND["answers"], "a unit that an earlier run masked, in a fact cache"


def test_a_run_without_the_survey_has_no_answers(tmp_path: Path) -> None:
    seen = shown(tmp_path)
    assert (seen["survey__answers"], seen["survey__untrimmed"]) == ({}, "undefined")
