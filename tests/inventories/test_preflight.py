"""Every wrong inventory is refused by the real site.yml, by name, before any host is connected to."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
WRONG: list[dict[str, Any]] = yaml.safe_load((HERE / "wrong.yml").read_text())
GOOD: list[dict[str, Any]] = yaml.safe_load((HERE / "good.yml").read_text())
# What every inventory must say; a case takes some of it away with `without`.
NEEDED = {"qmail_postmaster": "postmaster@example.org"}
DOCUMENTATION = ("192.0.2", "198.51.100", "203.0.113", "233.252.0")
FATAL = re.compile(r"^fatal: \[[^]]+\]: FAILED! => (?P<result>\{.*\})$", re.MULTILINE)


def host_of(case: dict[str, Any]) -> str:
    return re.sub(r"[^a-z0-9]+", "-", case["name"].lower()).strip("-")


def needed(case: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in NEEDED.items() if name not in case.get("without", [])}


def address(number: int) -> str:
    """An address of documentation's networks, for each case its own: no host can answer."""
    return f"{DOCUMENTATION[number // 200]}.{number % 200 + 1}"


class Run:
    """One run of ansible-playbook. An ssh that leaves a trace stands in for the real one."""

    def __init__(self, folder: Path, cases: list[dict[str, Any]], playbook: Path, *options: str) -> None:
        program = Path(sys.executable).with_name("ansible-playbook")
        found = str(program) if program.exists() else shutil.which("ansible-playbook")
        if found is None:
            pytest.skip("ansible-playbook is not installed here")
        hosts = {
            host_of(case): {"ansible_host": address(number)} | needed(case) | case["vars"]
            for number, case in enumerate(cases)
        }
        inventory = folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"children": {"gateways": {"hosts": hosts}}}}))
        self.connected = folder / "connected"
        ssh = folder / "ssh"
        ssh.write_text(f'#!/bin/sh\necho "$@" >> {self.connected}\nexit 255\n')
        ssh.chmod(0o755)
        settings = {
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_SSH_EXECUTABLE": str(ssh),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
        }
        done = subprocess.run(
            [found, "-i", inventory, playbook, *options],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.code = done.returncode
        self.output = done.stdout + done.stderr
        self.problems: dict[str, list[str]] = {}
        for match in FATAL.finditer(done.stdout):
            for group in json.loads(match["result"]).get("problems", ()):
                for name in group["hosts"]:
                    self.problems.setdefault(name, []).extend(group["problems"])


@functools.cache
def preflight_alone(folder: Path) -> Path:
    playbook = folder / "preflight.yml"
    tasks = PROJECT / "playbooks" / "tasks" / "preflight.yml"
    play = {"name": "Check", "hosts": "gateways", "gather_facts": False, "tasks": [{"import_tasks": str(tasks)}]}
    playbook.write_text(yaml.safe_dump([play]))
    return playbook


@pytest.fixture(scope="module")
def site_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All wrong inventories in one run of the whole site."""
    return Run(tmp_path_factory.mktemp("site"), WRONG, PROJECT / "playbooks" / "site.yml")


@pytest.mark.parametrize("case", WRONG, ids=host_of)
def test_a_wrong_inventory_is_refused_with_these_words(site_run: Run, case: dict[str, Any]) -> None:
    problems = site_run.problems.get(host_of(case), [])
    for word in case["words"]:
        assert any(word in problem for problem in problems), (word, problems, site_run.output[-2000:])


def test_nothing_was_connected_to(site_run: Run) -> None:
    assert site_run.code != 0
    assert not site_run.connected.exists(), site_run.connected.read_text()
    assert "Make gateways of plain Debian hosts" not in site_run.output
    assert "unreachable=1" not in site_run.output


@pytest.mark.parametrize("options", [("--check", "--diff"), ("--tags", "tcp_smtp"), ("--limit", "empty,host-bits")])
def test_one_wrong_host_stops_all_however_the_run_is_called(tmp_path: Path, options: tuple[str, ...]) -> None:
    run = Run(tmp_path, [GOOD[0], WRONG[0]], PROJECT / "playbooks" / "site.yml", *options)
    assert run.code != 0
    assert list(run.problems) == ["host-bits"]
    assert not run.connected.exists()


def test_what_is_wrong_with_many_gateways_is_told_once(tmp_path: Path) -> None:
    entry = {"tcp_smtp_relay_clients": ["10.0.0.1/8"], "hardening_log_server": "logs.example.org"}
    variables: list[dict[str, Any]] = [{**entry, "qmail_me": f"gw{number}.example.org"} for number in range(12)]
    for found in variables[:10]:
        found["sshd_port"] = 99999
    variables[3]["dnscache_gid"] = 0
    cases = [{"name": f"gw{number}", "vars": found} for number, found in enumerate(variables)]
    told = Run(tmp_path, cases, preflight_alone(tmp_path)).output.partition("fatal: ")[0]
    for words, problem in (
        ("all 12 gateways of this run", "[0] (10.0.0.1/8)"),
        ("gw0, gw1, gw2, gw3, gw4, gw5, gw6, gw7 and 2 more (10 gateways)", "sshd_port: must be a number"),
        ("gw3", "dnscache_gid: must be a number"),
    ):
        _before, heading, entries = told.partition(f"The inventory of {words} is wrong, and nothing was changed:\n")
        assert told.count(problem) == told.count(heading) == 1
        assert problem in entries.partition("The inventory of ")[0], told


def test_what_is_worth_a_warning_is_told_once(tmp_path: Path) -> None:
    cases = [
        {
            "name": f"gw{number}",
            "vars": {"hardening_log_server": "logs.example.org", "qmail_me": f"gw{number}.example.org"},
        }
        for number in range(3)
    ]
    told = " ".join(Run(tmp_path, cases, preflight_alone(tmp_path)).output.split())
    assert told.count("all 3 gateways of this run: hardening_log_server: gets the logs in plain text") == 1


def test_right_inventories_are_accepted_without_a_connection(tmp_path: Path) -> None:
    run = Run(tmp_path, GOOD, preflight_alone(tmp_path))
    assert run.problems == {}
    assert run.code == 0, run.output
    assert not run.connected.exists()


def test_all_hosts_are_looked_at_in_one_go_or_the_work_would_grow_with_the_square_of_their_number(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, GOOD, preflight_alone(tmp_path))
    assert run.output.count("\nok: [") == 1 < len(GOOD), run.output


def test_a_variable_on_the_command_line_is_checked_too(tmp_path: Path) -> None:
    run = Run(tmp_path, GOOD[:1], preflight_alone(tmp_path), "-e", "tcp_smtp_deni=x")
    assert "tcp_smtp_deni" in run.problems["empty"][0]


def test_what_is_gathered_may_be_set_on_the_command_line_which_has_the_last_word(tmp_path: Path) -> None:
    run = Run(tmp_path, GOOD[:1], preflight_alone(tmp_path), "-e", "qmail_remote_front=/usr/local/lib/mine")
    assert run.code == 0, run.output


def test_what_is_made_of_facts_is_checked_once_they_are_known(tmp_path: Path) -> None:
    vars_ = {"ansible_connection": "local", "daemontools_stop_timeout": "{{ ansible_facts['system'] }}"}
    case = {"name": "made of facts", "vars": vars_}
    playbook = preflight_alone(tmp_path)
    assert Run(tmp_path, [case], playbook).code == 0
    (play,) = yaml.safe_load(playbook.read_text())
    play["tasks"] += [
        {"ansible.builtin.setup": {"gather_subset": ["!all"]}},
        {"inventory_check": {"needs_facts": True}},
    ]
    playbook.write_text(yaml.safe_dump([play]))
    run = Run(tmp_path, [case], playbook)
    assert "daemontools_stop_timeout" in run.problems["made-of-facts"][0]
    assert "Linux" in run.problems["made-of-facts"][0]
