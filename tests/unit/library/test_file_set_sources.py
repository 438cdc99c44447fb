"""Entries of file_set and guarded_files that take their content from a role, as a playbook runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[3]
PLAY = [{"hosts": "localhost", "gather_facts": False, "roles": ["ours"]}]


class Role:
    """A role in a folder, and the host that it brings files to."""

    def __init__(self, place: Path) -> None:
        self.folder, self.host = place / "roles/ours", place / "host"
        self.host.mkdir()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, entries: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
        """Run file_set with these entries, relative to the host's root."""
        owner = {"owner": str(os.getuid()), "group": str(os.getgid()), "ledger_dir": str(self.host / "none")}
        return self.play({"file_set": {"root": str(self.host), "entries": entries} | owner}, *options)

    def play(self, task: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
        """Run a task of the role's."""
        return self.play_all([task], *options)

    def play_all(self, tasks: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
        """Run tasks of the role's."""
        self.write("tasks/main.yml", yaml.safe_dump(tasks))
        self.write("vars/main.yml", "port: 25\n")
        playbook = self.folder.parents[1] / "play.yml"
        playbook.write_text(yaml.safe_dump(PLAY))
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", playbook, *options],
            env={
                **os.environ,
                "ANSIBLE_LIBRARY": str(PROJECT / "library"),
                "ANSIBLE_MODULE_UTILS": str(PROJECT / "module_utils"),
                "ANSIBLE_ACTION_PLUGINS": str(PROJECT / "action_plugins"),
                "ANSIBLE_ROLES_PATH": str(self.folder.parent),
                "ANSIBLE_HOME": str(self.folder.parent / "home"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return Role(tmp_path)


def test_files_and_templates_are_found_at_their_target_path(role: Role) -> None:
    top = str(role.host).lstrip("/")
    role.write(
        f"templates/{top}/etc/main.conf.j2",
        "# {{ managed }}\n{% for n in [1, 2] %}\nport {{ port + n }}\\n\n{% endfor %}\n",
    )
    role.write(f"files/{top}/bin/run", "#!/bin/sh\necho '{{ port }}' \n\n")
    role.write("templates/number.j2", "{{ port }}\n")
    role.write("templates/log.j2", "{{ folder }} {{ port }}\n")
    entries = {
        "etc/main.conf": {"template": True},
        "bin/run": {"src": True, "mode": "0755"},
        "a/run": {"template": "log.j2", "vars": {"folder": "/a"}},
        "b/run": {"template": "log.j2", "vars": {"folder": "/b"}},
        "plain": "port {{ port }}\n",
        "number": {"template": "number.j2"},
    }
    done = role.run(entries)
    assert done.returncode == 0, done.stdout
    assert (role.host / "etc/main.conf").read_text() == (
        "# Managed by Gatewright: change the inventory, not this file.\nport 26\\n\nport 27\\n\n"
    )
    assert (role.host / "bin/run").read_text() == "#!/bin/sh\necho '{{ port }}' \n\n"
    assert (role.host / "bin/run").stat().st_mode & 0o777 == 0o755
    assert [(role.host / name / "run").read_text() for name in ("a", "b")] == ["/a 25\n", "/b 25\n"]
    assert (role.host / "plain").read_text() == "port 25\n"
    assert (role.host / "number").read_text() == "25\n"
    assert "changed=0" in role.run(entries).stdout


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"template": True}, "etc/x.j2"),
        ({"src": "no/such"}, "no/such"),
        ({"template": "odd.j2"}, "'nonsense' is undefined"),
        ({"src": True, "content": "x"}, "give one of content, src and template"),
    ],
)
def test_an_entry_that_cannot_be_made_is_named_and_nothing_is_written(
    role: Role, entry: dict[str, Any], words: str
) -> None:
    role.write("templates/odd.j2", "{{ nonsense }}\n")
    done = role.run({"first": "x\n", "etc/x": entry})
    assert done.returncode != 0
    assert f"{role.host}/etc/x: " in done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert list(role.host.iterdir()) == []


def test_guarded_files_finds_a_template_at_its_target_path_too(role: Role) -> None:
    path = f"{role.host}/etc/rules"
    role.write(f"templates{path}.j2", "# {{ managed }}\nport {{ port }}\n")
    task = {"guarded_files": {"name": "test", "files": {path: {"template": True}}, "apply": "false"}}
    done = role.play(task, "--check", "--diff")
    assert "+# Managed by Gatewright" in done.stdout and "+port 25\n" in done.stdout, done.stdout


def test_a_roles_configuration_is_in_files_at_the_target_path() -> None:
    """No text of a file in YAML, and no path of a file twice."""
    text_or_twice = re.compile(
        r"^ +/\S+: [|>]-?$(?=\n +[^ {\n])|^ +content: \|"
        r"|lookup\('ansible\.builtin\.(?:file|template)', '(?:etc|usr|var)/",
        re.MULTILINE,
    )
    paths = [path for name in ("vars", "tasks") for path in (PROJECT / "roles").glob(f"*/{name}/**/*.yml")]
    found = [
        f"{path.relative_to(PROJECT)}: {match[0].strip()}"
        for path in paths
        for match in text_or_twice.finditer(path.read_text())
    ]
    assert found == []
    templates = (PROJECT / "roles").glob("*/templates/**/*.j2")
    assert [path.name for path in templates if "_managed }}" in path.read_text()] == []  # file_set gives `managed`


# What the survey found untouched


def task(role: Role, name: str, **entries: str) -> dict[str, Any]:
    """A task by which the role owns files of its host, with a ledger."""
    owner = {"owner": str(os.getuid()), "group": str(os.getgid()), "ledger_dir": str(role.host / "ledger")}
    return {"name": name, "file_set": {"root": str(role.host), "entries": entries} | owner}


def survey(role: Role, *names: str) -> str:
    """What a run's survey says of the host: that nobody touched the files of these tasks."""
    notes = json.loads((role.host / "ledger/stat-cache").read_text())
    return json.dumps(
        {"_survey_found": {"untouched": {notes[f"ours : {name}"]["digest"]: {} for name in names}, "seen": 7}}
    )


@pytest.fixture
def kept(role: Role) -> Role:
    """A role whose two tasks have owned a file each, which somebody has removed since: now it shows who is sent."""
    (role.host / "ledger").mkdir()
    assert "changed=2" in role.play_all([task(role, "one", a="x"), task(role, "two", b="y")]).stdout
    (role.host / "b").unlink()
    return role


def test_a_task_whose_files_nobody_touched_is_not_sent(kept: Role) -> None:
    found = survey(kept, "one", "two")
    done = kept.play_all([task(kept, "one", a="x"), task(kept, "two", b="y")], "-e", found)
    assert "ok=2 " in done.stdout and "changed=0" in done.stdout
    assert not (kept.host / "b").exists()


def test_a_task_that_says_something_else_now_is_sent(kept: Role) -> None:
    done = kept.play_all([task(kept, "two", b="z")], "-e", survey(kept, "one", "two"))
    assert "changed=1" in done.stdout and (kept.host / "b").read_text() == "z"


def test_once_a_run_has_changed_a_file_every_task_is_sent(kept: Role) -> None:
    done = kept.play_all([task(kept, "one", a="new"), task(kept, "two", b="y")], "-e", survey(kept, "one", "two"))
    assert "changed=2" in done.stdout and (kept.host / "b").read_text() == "y"


def test_without_a_survey_every_task_is_sent(kept: Role) -> None:
    assert "changed=1" in kept.play_all([task(kept, "one", a="x"), task(kept, "two", b="y")]).stdout
