"""The order of site.yml: what can fail is done while a host still has its old mail server and its doors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


def steps(path: Path) -> list[tuple[str, str]]:
    """Role and file of every import of a playbook, in order."""
    found: list[tuple[str, str]] = []
    for play in yaml.safe_load(path.read_text()):
        tasks: list[dict[str, Any]] = [
            task for part in ("pre_tasks", "tasks", "post_tasks") for task in play.get(part, ())
        ]
        tasks = tasks or [play]
        for task in tasks:
            role = task.get("ansible.builtin.import_role")
            if role:
                found.append((role["name"], role.get("tasks_from", "main")))
            elif "tasks/build_ahead.yml" in str(task.get("ansible.builtin.import_tasks")):
                found += steps(PLAYBOOKS / "tasks" / "build_ahead.yml")
    return found


def test_a_host_is_looked_at_and_everything_built_before_it_is_changed() -> None:
    order = steps(PLAYBOOKS / "site.yml")
    first_change = order.index(("service_trimming", "main"))
    assert order.index(("survey", "main")) < order.index(("qmail", "ahead")) < first_change


def test_no_job_loads_the_ruleset_without_the_list_that_it_includes() -> None:
    """Else a host of an older release would limit its relay clients after a job of another tag."""
    tasks = yaml.safe_load((PLAYBOOKS.parent / "roles/firewall/tasks/ruleset.yml").read_text())
    listed, loaded, *_ = tasks
    assert "/etc/nftables-exempt.conf" in listed["file_set"]["entries"]
    assert "/etc/nftables.conf" in loaded["guarded_files"]["files"]
    assert kinds(loaded) and kinds(loaded) <= kinds(listed)


def kinds(task: dict[str, Any]) -> set[str]:
    """The kinds of needs whose publishers' tags a task has."""
    (query,) = task["tags"]
    return set(re.findall(r"'(\w+)'", query)) - {"publishers"}


def test_the_old_mail_server_goes_just_before_the_new_one_that_is_built_is_installed() -> None:
    order = steps(PLAYBOOKS / "site.yml")
    assert order.index(("service_trimming", "mta")) == order.index(("qmail", "main")) - 1
    trimmed = yaml.safe_load((PLAYBOOKS.parent / "roles/service_trimming/defaults/main.yml").read_text())
    assert not {"exim4", "postfix", "sendmail"} & set(trimmed["service_trimming_units"])


def test_a_host_is_left_only_where_the_plan_has_nothing_and_mail_was_proved_to_flow() -> None:
    tasks = yaml.safe_load((PLAYBOOKS / "site.yml").read_text())[2]["pre_tasks"]
    (asked,) = [number for number, task in enumerate(tasks) if "plan" in task]
    plan, proof, end = tasks[asked : asked + 3]
    assert "survey" in tasks[asked - 1]["tags"] and "tags" not in plan | proof | end
    assert "gateway_proof" in proof and end["ansible.builtin.meta"] == "end_host"
    assert proof["when"] == end["when"] == f"{plan['register']}.due | default('?') == ''"
