"""Tasks that are not sent: those of modules that note what they saw, and programs that had nothing to do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatewright import PROJECT, noted


class Controller:
    """A play whose host is this machine, as the survey found it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        self.program = place / "settle"
        self.program.write_text(f"#!/bin/sh\necho ran >> {self.log}\ncat {place}/due\n")
        self.program.chmod(0o755)
        (place / "due").write_text("")

    def play(self, *tasks: dict[str, Any], check: bool = False, **survey: Any) -> subprocess.CompletedProcess[str]:
        """Run tasks of a play whose survey found this."""
        playbook = self.place / "play.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
        found = json.dumps({"_survey_found": survey})
        options = [*(["--check"] if check else []), "-v", "-e", found]
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", playbook, *options],
            env={
                **os.environ,
                "ANSIBLE_LIBRARY": f"{PROJECT}/library:{PROJECT}/roles/hardening/library",
                "ANSIBLE_MODULE_UTILS": str(PROJECT / "module_utils"),
                "ANSIBLE_ACTION_PLUGINS": str(PROJECT / "action_plugins"),
                "ANSIBLE_HOME": str(self.place / "home"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def settle(self, due: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        """A task that has the program bring things in line; due: what it told the survey."""
        told = {"due": due} if due is not None else {}
        return self.play({"settle": {"program": str(self.program), **told}}, seen=7, **options)

    @property
    def runs(self) -> int:
        """How often the program ran."""
        return self.log.read_text().count("ran") if self.log.exists() else 0


@pytest.fixture
def controller(tmp_path: Path) -> Controller:
    return Controller(tmp_path)


def touch(controller: Controller) -> dict[str, Any]:
    """A task that changes a file of the host."""
    owner = {"owner": str(os.getuid()), "group": str(os.getgid()), "ledger_dir": str(controller.place / "none")}
    return {"file_set": {"root": str(controller.place), "entries": {"new": "x"}} | owner}


def test_a_program_that_had_nothing_to_do_is_not_run(controller: Controller) -> None:
    assert "changed=0" in controller.settle("").stdout
    assert controller.runs == 0


@pytest.mark.parametrize("due", ["told the daemon\n", None], ids=["something to do", "not asked"])
def test_a_program_that_may_have_something_to_do_is_run(controller: Controller, due: str | None) -> None:
    (controller.place / "due").write_text("told the daemon\n")
    assert "changed=1" in controller.settle(due).stdout
    assert controller.runs == 1
    (controller.place / "due").write_text("")
    assert "changed=0" in controller.settle(due).stdout


def test_once_the_run_has_changed_something_the_program_is_run(controller: Controller) -> None:
    settle = {"settle": {"program": str(controller.program), "due": ""}}
    controller.play(touch(controller), settle, seen=7)
    assert controller.runs == 1
    controller.play(settle, {"settle": {"program": str(controller.program), "due": "x"}}, settle, seen=7)
    assert controller.runs == 2, "a program that had nothing to do is no change"
    (controller.place / "due").write_text("told the daemon\n")
    controller.play({"settle": {"program": str(controller.program), "due": "x"}}, settle, seen=7)
    assert controller.runs == 4


def test_units_that_were_stopped_are_a_change_too(controller: Controller) -> None:
    settle = {"settle": {"program": str(controller.program), "due": ""}}
    stopped = {"ansible.builtin.set_fact": {"gatewright_trimmed": 7, "cacheable": True}}
    controller.play(stopped, settle, seen=7)
    assert controller.runs == 1
    controller.play(stopped, settle, seen=8)
    assert controller.runs == 1, "that was another run"


def test_a_check_tells_what_the_program_would_do_and_runs_nothing(controller: Controller) -> None:
    told = controller.settle("told the daemon\n", check=True)
    assert "changed=1" in told.stdout and "told the daemon" in told.stdout
    assert "changed=0" in controller.settle("", check=True).stdout
    assert "skipped=1" in controller.settle(None, check=True).stdout
    assert controller.runs == 0


def test_a_program_that_fails_fails_the_task(controller: Controller) -> None:
    controller.program.write_text("#!/bin/sh\necho no >&2\nexit 3\n")
    assert "failed=1" in controller.settle(None).stdout


def test_a_wrong_option_is_named(controller: Controller) -> None:
    told = controller.play({"settle": {"programme": "x"}}, seen=7).stdout
    assert "settle has no option 'programme'" in told


def test_a_module_is_sent_only_where_the_survey_found_something_changed(controller: Controller) -> None:
    place = controller.place / "proc"
    (place / "kernel").mkdir(parents=True)
    (place / "kernel/x").write_text("1\n")
    task: dict[str, Any] = {
        "name": "set",
        "live_sysctl": {"settings": {"kernel.x": 1}, "root": str(place)},
        "register": "told",
    }
    shown = {"ansible.builtin.debug": {"msg": "refused: {{ told.refused }}"}}
    digest = _digest(task)
    known = {digest: {"refused": ["from the note"]}}
    assert "from the note" in controller.play(task, shown, seen=7, untouched=known).stdout
    assert "from the note" not in controller.play(touch(controller), task, shown, seen=7, untouched=known).stdout
    assert "from the note" not in controller.play(task, shown, untouched=known).stdout, "no survey saw it"
    task["live_sysctl"]["settings"] = {"kernel.x": 2}
    assert "from the note" not in controller.play(task, shown, seen=7, untouched=known).stdout


def _digest(task: dict[str, Any]) -> str:
    """By what the host knows a task."""
    module = PROJECT / "roles/hardening/library/live_sysctl.py"
    return hashlib.sha256(noted.code(str(module)) + noted.canonical(task["live_sysctl"])).hexdigest()
