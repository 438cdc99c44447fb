"""A role that is added touches its own folder and one line of site.yml, and is then treated like all others."""

from __future__ import annotations

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

PROJECT = Path(__file__).parents[2]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
ROLE = {
    "defaults/main.yml": """
# The port that it listens on.
greeter_port: 2500
# The number of its user.
greeter_uid: 4711
# What it needs of others.
greeter__packages: [greeter-package]
greeter__groups: [{name: greeter, gid: 4711}]
greeter__users: [{name: greeter, uid: "{{ greeter_uid }}", gid: 4711, home: /nonexistent}]
greeter__numbers: [{variable: greeter_uid, of: users, name: greeter}]
greeter__firewall:
  inbound: [{port: "{{ greeter_port }}", comment: greetings}]
  outbound: [{user: greeter, port: 2501, comment: greets others}]
greeter__sockets: [{proto: tcp, port: "{{ greeter_port }}", owner: greeter}]
greeter__trimmed_units: [greeter-old]
greeter__replaced_units: [greeter-rival]
greeter__questions: {greeter: cat /etc/greeter.conf}
greeter__writable: [{path: /var/lib/greeter}]
greeter__host_jobs: [greeter_hello]
greeter__relay_senders: {192.0.2.99: [greeter.example]}
""",
    "meta/argument_specs.yml": """
argument_specs:
  main:
    short_description: Greets
    description: [Greets.]
    options:
      greeter_port: {type: int, description: The port., default: 2500}
      greeter_uid: {type: int, description: The user's number., default: 4711}
""",
    "chapter.py": '''
"""The greeter."""

from gatewright import kinds
from gatewright.chapters import Chapter

CHAPTER = Chapter(options={"greeter_port": kinds.port, "greeter_uid": kinds.account_id})
''',
    "tasks/main.yml": """
- name: Greet
  ansible.builtin.debug:
    msg: hello from {{ greeter_port }}
  tags: [greeter_hello]
""",
}
LINE = """
    - {name: Greet, ansible.builtin.import_role: {name: greeter, rolespec_validate: false}, tags: [greeter]}
"""
GATHERED = {
    "packages": "foundation_packages",
    "users": "foundation_users",
    "ids": "firewall_user_ids",
    "denied": "sshd_service_users",
    "rules": "_firewall_rules",
    "sockets": "service_trimming_declared_sockets",
    "units": "service_trimming__masked",
    "survey": "_survey_wanted",
    "writable": "hardening_svscan_writable_from_roles",
    "senders": "_gatekeeper_config_own",
    "jobs": "lookup('needs', 'host_jobs')",
}


# The tasks of other roles change hosts: what they are given is printed in their place. The survey's is what this host
# is said to have.
SHOW = f"""
    - name: Have accounts
      ansible.builtin.set_fact:
        _survey_found: {{host: {{users: {{greeter: 970, qmaild: 7791}}, groups: {{nofiles: 7790}}}}}}
      tags: [adopt]
    - name: Adopt them
      ansible.builtin.import_role: {{name: survey, tasks_from: adopt, rolespec_validate: false}}
      tags: [adopt]
    - name: Show
      ansible.builtin.debug:
        msg: {json.dumps({key: f"{{{{ {name} }}}}" for key, name in GATHERED.items()})}
      vars:
        _firewall_survey: {{stdout: "user:root:0\\nuser:_apt:42\\n"}}
      tags: [show]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with one role more."""
    folder = tmp_path_factory.mktemp("new") / "project"
    folder.mkdir()
    for name in ("playbooks", "roles", "gatewright", "library", "filter_plugins", "lookup_plugins", "action_plugins"):
        shutil.copytree(PROJECT / name, folder / name, symlinks=True)
    shutil.copy(PROJECT / "VERSION", folder)
    for name, text in ROLE.items():
        path = folder / "roles" / "greeter" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    site = folder / "playbooks" / "site.yml"
    before, last, after = site.read_text().partition("  post_tasks:")
    site.write_text(before + LINE + SHOW + last + after)
    return folder


def run(project: Path, folder: Path, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "qmail_me": "gw1.example.org"}
    hosts = {"gw1": {**host, "qmail_postmaster": "p@example.org", **variables}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": {"gateways": {"hosts": hosts}}}}))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHONPATH"))}
    return subprocess.run(
        [ANSIBLE, "-i", folder / "hosts.yml", project / "playbooks" / "site.yml", *arguments],
        cwd=folder,
        env={**own, "ANSIBLE_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_its_wrong_values_are_refused_like_all_others(project: Path, tmp_path: Path) -> None:
    done = run(project, tmp_path, greeter_port=99999, greeter_prot=1, greeter_uid=0)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "greeter_port: must be a number from 1 to 65535" in told
    assert "greeter_uid: must be a number from 1" in told
    assert "greeter_prot: is no variable of role greeter; did you mean 'greeter_port'?" in told


def test_what_it_needs_is_gathered(project: Path, tmp_path: Path) -> None:
    done = run(project, tmp_path, "--check", "--tags", "show", "--skip-tags", "survey")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.partition("TASK [Show]")[2]
    for words in (
        "greeter-package",
        "greeter-old",
        "greeter-rival",
        '"greeter": 4711',
        "tcp dport 2500 accept",
        "meta skuid 4711 tcp dport 2501",
    ):
        assert words in shown, shown
    for words in (
        "/var/lib/greeter",
        '"owner": "greeter"',
        "/nonexistent",
        "cat /etc/greeter.conf",
        "greeter.example",
        "greeter_hello",
    ):
        assert words in shown, shown


@pytest.mark.parametrize(
    ("is_wanted", "words"),
    [
        (True, ('"greeter": 970', "meta skuid 970 tcp dport 2501", '"qmaild": 7791', '"qmailq": 64014')),
        (False, ('"greeter": 4711', "meta skuid 4711 tcp dport 2501", '"qmaild": 64011')),
    ],
)
def test_an_account_of_its_keeps_the_hosts_number_where_the_site_wants_that(
    project: Path, tmp_path: Path, is_wanted: bool, words: tuple[str, ...]
) -> None:
    done = run(
        project,
        tmp_path,
        "--check",
        "--tags",
        "adopt,show",
        "--skip-tags",
        "survey",
        foundation_adopt_accounts=is_wanted,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = done.stdout.partition("TASK [Show]")[2]
    for word in words:
        assert word in shown, done.stdout
    assert ('"gid": 7790' in shown) is is_wanted, "a group's too"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("defaults", "[greeter-package]", "greeter-package", "greeter__packages: must be a list, not a string"),
        ("defaults", "{greeter: cat", "{firewall: cat", "greeter__questions.firewall: firewall__questions gives it"),
        ("meta", "The port., default: 2500", "The port., type: str", "cannot be read: type is there twice"),
    ],
)
def test_what_is_wrong_with_it_is_told_before_anything_is_changed(
    project: Path, tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    (path,) = (project / "roles" / "greeter" / file).glob("*.yml")
    right = path.read_text()
    assert old in right
    path.write_text(right.replace(old, new))
    try:
        done = run(project, tmp_path, "--check", "--tags", "show")
    finally:
        path.write_text(right)
    assert done.returncode != 0
    assert "A role is wrong, and nothing was changed:" in done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "TASK [Learn which Debian this is]" not in done.stdout


def test_its_tag_does_what_others_do_for_it(project: Path, tmp_path: Path) -> None:
    done = run(project, tmp_path, "--tags", "greeter", "--list-tasks")
    tasks = re.findall(r"^ +(\w+) : (.+?)\t", done.stdout, re.MULTILINE)
    roles = {role for role, _task in tasks}
    assert {"greeter", "survey", "foundation", "firewall", "service_trimming", "hardening", "gatekeeper"} <= roles, (
        done.stdout
    )
    last = {task for role, task in tasks if role == "hardening"}
    assert {"Close the copies of the password files", "Keep file modes within limits and strip set-id bits"} <= last
    assert "Purge" not in done.stdout
