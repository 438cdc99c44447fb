"""plan: where it says that nothing is left to do, a run of the same tasks does nothing; what one would do, it knows."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatewright import PROJECT, needs, noted

Task = dict[str, Any]

DOES: Task = {"name": "do", "ansible.builtin.command": "touch {{ did }}", "changed_when": True}
SETTLED: Task = {"name": "settle", "settle": {"program": "/bin/touch {{ did }}", "due": ""}}
SETTLES: Task = {"name": "settle", "settle": {"program": "/bin/touch {{ did }}", "due": "the daemon"}}


def does(**keywords: Any) -> Task:
    """A task that does something where it runs."""
    return DOES | keywords


NOTHING: dict[str, list[Task]] = {
    "no task": [],
    "a program that had nothing to do": [SETTLED],
    "a condition that does not hold": [does(when=False)],
    "a condition of several": [does(when=[True, "1 > 2"])],
    "a register of what was known": [SETTLED | {"register": "_known"}, does(when="_known.changed")],
    "a register of what was skipped": [
        does(when=False, register="_skipped"),
        does(when="_skipped is not skipped or _skipped is changed"),
    ],
    "a register of a loop that was skipped": [
        does(loop=[], register="_looped"),
        does(when="_looped.results | length > 0"),
        does(loop="{{ _looped.results }}"),
    ],
    "a fact": [
        {"ansible.builtin.set_fact": {"_fact": "{{ ['x'] if wants | default(false) else [] }}"}},
        does(when="_fact | length > 0"),
        does(loop="{{ _fact }}"),
    ],
    "items of which none is wanted": [does(loop=["a", "b"], when="item == 'c'")],
    "items by another name": [does(loop=[1], loop_control={"loop_var": "one"}, when="one > 1")],
    "a list that cannot be made": [does(loop="{{ nobody_knows.x }}", when=False)],
    "a block": [{"block": [does()], "when": False}],
    "variables of a block": [{"block": [does(when="own == 'yes'")], "vars": {"own": "no"}}],
    "a rescue that nobody needs": [{"block": [SETTLED], "rescue": [does()], "always": [SETTLED]}],
    "handlers that nobody called": [{"ansible.builtin.meta": "flush_handlers"}],
    "an assertion that holds": [{"ansible.builtin.assert": {"that": ["1 < 2"]}}],
    "a judgement that it did not fail": [SETTLED | {"failed_when": False}],
    "something to show": [{"ansible.builtin.debug": {"msg": "this host has no door"}}],
    "a role": [{"ansible.builtin.import_role": {"name": "quiet"}}],
    "a role's file": [
        {"ansible.builtin.import_role": {"name": "quiet", "tasks_from": "including"}, "vars": {"quiet_wish": "no"}}
    ],
}

SOMETHING: dict[str, list[Task]] = {
    "a module of Ansible's": [does()],
    "a program that has something to do": [SETTLES],
    "a program that was not asked": [{"name": "settle", "settle": {"program": "/bin/touch {{ did }}"}}],
    "the second of two": [SETTLED, SETTLES],
    "a register": [SETTLED | {"register": "_known"}, does(when="not _known.changed")],
    "one of several items": [does(loop=["a", "b"], when="item == 'b'")],
    "a loop of old": [does(with_items=["a"])],
    "a block's second": [{"block": [SETTLED, does()], "when": True}],
    "an always": [{"block": [SETTLED], "always": [does()]}],
    "a role": [{"ansible.builtin.import_role": {"name": "quiet"}, "vars": {"quiet_wish": "yes"}}],
    "a role's file": [
        {"ansible.builtin.import_role": {"name": "quiet", "tasks_from": "including"}, "vars": {"quiet_wish": "yes"}}
    ],
    "a role that comes at run time": [{"ansible.builtin.include_role": {"name": "quiet", "tasks_from": "doing"}}],
    "what a command line says above a task": [does(when="wish == 'yes'", vars={"wish": "no"})],
    "what was set above a block": [
        {"ansible.builtin.set_fact": {"_fact": "yes"}},
        {"block": [does(when="_fact == 'yes'")], "vars": {"_fact": "no"}},
    ],
    "what was registered above a block": [
        SETTLED | {"register": "_known"},
        {"block": [does(when="_known.stdout is defined")], "vars": {"_known": {}}},
    ],
    "a change by another's judgement": [
        SETTLED | {"changed_when": True, "register": "_judged"},
        does(when="_judged is changed"),
    ],
    "what comes at the end": [{"name": "post", "post": True}],
}

DOUBT: dict[str, list[Task]] = {
    "a condition that fails": [does(when="nobody_knows.x == 1")],
    "an assertion that does not hold": [{"ansible.builtin.assert": {"that": ["1 > 2"]}}],
    "a failure": [{"ansible.builtin.fail": {"msg": "no"}}],
    "what fails by what it shows": [{"ansible.builtin.debug": {"msg": "x"}, "failed_when": True}],
    "a failure by another's judgement": [SETTLED | {"failed_when": True}],
    "a fact with a judgement": [{"ansible.builtin.set_fact": {"_judged": 1}, "failed_when": True}],
    "what is tried until it works": [SETTLED | {"until": False, "retries": 1, "delay": 0}],
    "a task for another host": [SETTLED | {"delegate_to": "host0"}],
    "a loop over no list": [does(loop="{{ '' }}")],
    "what nobody may see": [{"ansible.builtin.debug": {"msg": "a secret"}, "no_log": True}],
    "a program that is not named": [{"settle": {"due": ""}}],
    "the end of the play": [{"ansible.builtin.meta": "end_play"}],
    "a fact that is kept": [{"ansible.builtin.set_fact": {"_kept": 1, "cacheable": True}}],
    "an option that nobody knows": [{"settle": {"program": "x", "due": "", "programme": "x"}}],
}

ROLE = {
    "defaults/main.yml": "quiet_wish: 'no'\n",
    "vars/main.yml": "_quiet_text: \"{{ lookup('ansible.builtin.file', 'wish') }}\"\nsite_wish: of the role\n",
    "files/wish": "of the file\n",
    "tasks/main.yml": """
- name: do
  ansible.builtin.command: touch {{ did }}
  changed_when: true
  when: >-
    quiet_wish == 'yes' or _quiet_text != 'of the file' or site_wish != 'of the role' or role_name != 'quiet'
    or not role_path.endswith('/quiet')
""",
    "tasks/including.yml": """
- name: include
  ansible.builtin.include_tasks:
    file: "{{ 'doing.yml' if quiet_wish == 'yes' else 'looking.yml' }}"
    apply: {tags: [quiet]}
  vars: {quiet_include: included}
- name: include neither
  ansible.builtin.include_tasks: doing.yml
  when: false
""",
    "tasks/looking.yml": """
- name: do
  ansible.builtin.command: touch {{ did }}
  changed_when: true
  when: quiet_include != 'included' or _quiet_text != 'of the file'
""",
    "tasks/doing.yml": "- name: do\n  ansible.builtin.command: touch {{ did }}\n  changed_when: true\n",
}


class Runs:
    """Plays of which each has a host of its own, asks the plan first, and goes through its tasks all the same."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name, text in ROLE.items():
            path = place / "roles/quiet" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(
        self, plays: Sequence[Sequence[Task]], *options: str, seen: int | None = 7, **survey: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run one play for the tasks of each."""
        written = [self._play(f"host{number}", tasks) for number, tasks in enumerate(plays)]
        (self.place / "play.yml").write_text(yaml.safe_dump(written))
        hosts = {f"host{number}": {"did": str(self.did(number))} for number in range(len(plays))}
        inventory = {"all": {"hosts": hosts, "vars": {"site_wish": "of the site", "ansible_connection": "local"}}}
        (self.place / "hosts.yml").write_text(yaml.safe_dump(inventory))
        found = {"_survey_found": {"host": {}, **({"seen": seen} if seen else {}), **survey}}
        lasting = {name: "{{ _survey_found." + key + " | default(" + empty + ") }}" for name, key, empty in SURVEY}
        (self.place / "survey.yml").write_text(yaml.safe_dump({**found, **lasting}))
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        return subprocess.run(
            [program, "-i", "hosts.yml", "play.yml", "-v", "-e", "@survey.yml", *options],
            cwd=self.place,
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
            timeout=300,
        )

    def did(self, number: int) -> Path:
        """What a play's tasks leave if they do something."""
        return self.place / f"did{number}"

    def due(self, number: int) -> str:
        """What the plan said."""
        return (self.place / f"host{number}.due").read_text()

    def _play(self, host: str, tasks: Sequence[Task]) -> dict[str, Any]:
        last = [DOES for task in tasks if "post" in task]
        first = [
            {"plan": {}, "register": "_plan"},
            {"ansible.builtin.copy": {"content": "{{ _plan.due }}", "dest": f"{self.place}/{host}.due"}},
        ]
        own = [task for task in tasks if "post" not in task]
        parts = {"pre_tasks": first, "tasks": own, "post_tasks": last}
        return {"hosts": host, "gather_facts": False, "ignore_errors": True, **parts}


SURVEY = (
    ("survey__host", "host", "{}"),
    ("survey__answers", "answers", "{}"),
    ("survey__due", "due", "{}"),
    ("survey__running", "running", "[]"),
)


@pytest.fixture(scope="module")
def all_at_once(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    runs = Runs(tmp_path_factory.mktemp("plan"))
    done = runs.run([*NOTHING.values(), *SOMETHING.values(), *DOUBT.values()], "-e", "wish=yes")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("this host has no door") == 2, "by the plan, and by the task"
    return runs


@pytest.mark.parametrize("number", range(len(NOTHING)), ids=list(NOTHING))
def test_it_knows_that_nothing_is_left_to_do(all_at_once: Runs, number: int) -> None:
    assert all_at_once.due(number) == ""
    assert not all_at_once.did(number).exists(), "the run itself did something"


@pytest.mark.parametrize("number", range(len(DOUBT)), ids=list(DOUBT))
def test_in_doubt_the_run_goes_through_its_tasks(all_at_once: Runs, number: int) -> None:
    assert all_at_once.due(len(NOTHING) + len(SOMETHING) + number)


@pytest.mark.parametrize("number", range(len(SOMETHING)), ids=list(SOMETHING))
def test_it_names_the_task_that_would_do_something(all_at_once: Runs, number: int) -> None:
    number += len(NOTHING)
    assert all_at_once.due(number)
    assert all_at_once.did(number).exists(), "the run itself did nothing"


def test_the_proof_is_the_matter_of_whoever_asks(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.run([[{"gateway_proof": {"me": "gw1.example.org"}}]])
    assert runs.due(0) == ""


@pytest.mark.parametrize("option", ["--tags=all,x", "--skip-tags=x"])
def test_a_run_of_some_tags_has_no_plan(tmp_path: Path, option: str) -> None:
    runs = Runs(tmp_path)
    runs.run([[SETTLED]], option)
    assert runs.due(0) == "a run of some tags"


def test_without_a_survey_nothing_is_known(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.run([[SETTLED]], seen=None)
    assert "survey" in runs.due(0)


def test_a_check_has_the_same_plan(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    said = runs.run([[SETTLED], [SETTLES]], "--check", "-vv").stdout
    assert re.findall(r'"due": "(.*?)"', said) == ["", "settle"]


def test_what_comes_last_counts_as_seen_by_the_survey_where_nothing_else_is_sent(tmp_path: Path) -> None:
    """In a run that comes so far it is sent: a module of Ansible's own may have changed the host."""
    task: Task = {"name": "modes", "strict_modes": {"limits": {}, "search": str(tmp_path / "none")}}
    module = PROJECT / "roles/hardening/library/strict_modes.py"
    digest = hashlib.sha256(noted.code(str(module)) + noted.canonical(task["strict_modes"])).hexdigest()
    runs = Runs(tmp_path)
    known = {digest: {"unknown": ["from the note"], "changed_paths": []}}
    said = runs.run([[task]], untouched=known).stdout
    assert runs.due(0) == ""
    assert "from the note" not in said
    runs.run([[task]])
    assert runs.due(0) == "modes"


def test_nothing_that_roles_publish_depends_on_what_a_task_registers() -> None:
    """So the plan gathers each kind once, whatever it registers meanwhile."""
    roles = PROJECT / "roles"
    texts = [path.read_text() for path in (*roles.glob("*/defaults/main.yml"), *roles.glob("*/vars/main.yml"))]
    variables = {name: json.dumps(value) for text in texts for name, value in yaml.safe_load(text).items()}
    tasks = "\n".join(path.read_text() for path in roles.glob("*/tasks/*.yml"))
    found = set(re.findall(r"^\s+register: (\w+)$", tasks, re.MULTILINE)) - {"_survey_found"}
    assert len(found) > 20
    while more := {name for name, text in variables.items() if set(re.findall(r"\w+", text)) & found} - found:
        found |= more
    gathered = {name for name in variables for kind in needs.KINDS if name.endswith(f"__{kind}")}
    assert len(gathered) > 100 and not found & gathered
