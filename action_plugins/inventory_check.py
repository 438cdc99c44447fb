"""Action: refuse a wrong inventory before anything changes.

It reads the inventory's variables of all hosts and the roles' specifications, once and on the controller alone: no
connection is made. Every problem is told once, with its hosts, the variable, the entry and what is wrong. It returns
`made_of_facts`: the hosts whose inventory has variables that are known only with their facts.

Options: roles_path (where the roles stand; beside this plugin's folder), group (the gateways; `gateways`), needs_facts
(false; true looks at the host again when its facts are known, if a variable of its inventory is made of them).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

PROJECT = Path(__file__).resolve().parents[1]
# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(PROJECT))

from gatewright.chapters import Chapter, chapter_of  # needs the line above
from gatewright.chapters.play import PLAY
from gatewright.inventory import Host, Role, check_host, owner_of, plain, remarks_of
from gatewright.problems import InventoryError, Problems
from gatewright.role_check import check_published, check_together, options_of, specs_of
from gatewright.roles import main_files

# A default play knows these of every host; nobody writes them.
MAGIC = frozenset({"groups", "hostvars", "omit", "environment", "vars"})
FACTS = "ansible_facts"
# Where a host is, which no two gateways may share, and who comes to it.
ADDRESS = frozenset({"ansible_host", "ansible_port", "ansible_user"})
SHOWN = 8
"""Hosts that a message names."""


def validate(options: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """What Ansible's own validation says."""
    return list(ArgumentSpecValidator(dict(options)).validate(dict(values)).error_messages)


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Checks the inventory of all hosts of the play, or of one whose facts are known."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with all problems of all hosts, or say how many were looked at."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        facts = task_vars or {}
        wrong = Problems()
        roles = self._roles(Path(self._task.args.get("roles_path", PROJECT / "roles")), wrong)
        if wrong.found:
            return result | refusal({"": wrong.found}, 1)
        name = facts["inventory_hostname"]
        needs_facts = bool(self._task.args.get("needs_facts", False))
        group = facts["groups"].get(self._task.args.get("group", "gateways"), [])
        gateways = {other: self._host(facts["hostvars"], other, roles) for other in group}
        if needs_facts:
            hosts = [self._host(facts["hostvars"], name, roles, facts_known=True)]
        else:
            hosts = [gateways[other] for other in facts["ansible_play_hosts_all"] if other in gateways]
        overridden = set(load_extra_vars(self._loader))
        playbook = Path(facts["playbook_dir"])
        problems = {host.name: check_host(host, gateways, roles, validate, overridden, playbook) for host in hosts}
        if any(problems.values()):
            return result | refusal(problems, len(hosts))
        remarks = [] if needs_facts else remarks_on(hosts, gateways, roles)
        told = {"warnings": remarks} if remarks else {}
        later = [host.name for host in hosts if made_of_facts(facts["hostvars"].raw_get(host.name), roles)]
        said = f"hosts whose inventory is in order: {len(hosts)}"
        return result | told | {"changed": False, "msg": said, "made_of_facts": later}

    def _roles(self, folder: Path, problems: Problems) -> dict[str, Role]:
        """The roles in a folder. What is wrong with one, which then is left out, is noted."""
        roles = {PLAY.name: PLAY}
        for path in sorted(item for item in folder.iterdir() if item.is_dir()):
            role = problems.collect(partial(self._role, path))
            if role:
                roles[path.name] = role
                check_published(role, problems)
        check_together(roles.values(), problems)
        return roles

    def _role(self, path: Path) -> Role:
        """The role in a folder. Raises InventoryError."""
        options = options_of(path.name, specs_of(path))
        defaults, inner = (self._variables(path / folder) for folder in ("defaults", "vars"))
        try:
            chapter = chapter_of(path) or Chapter()
        except Exception as error:  # a chapter is a program: whatever it raises is the role's mistake, and is told so
            raise InventoryError([f"roles/{path.name}: its chapter cannot be read: {error}"]) from error
        return Role(path.name, options, defaults, chapter, inner)

    def _variables(self, folder: Path) -> dict[str, Any]:
        """A role's defaults, or its private variables."""
        found: dict[str, Any] = {}
        for file in main_files(folder):
            found |= self._read(file)
        return found

    def _read(self, path: Path) -> dict[str, Any]:
        """What a file of YAML holds, as Ansible keeps it (`unsafe`: no copy of it, which takes longer than reading)."""
        return (self._loader.load_from_file(str(path), unsafe=True) or {}) if path.exists() else {}

    def _host(
        self, hostvars: Mapping[str, Any], name: str, roles: Mapping[str, Role], facts_known: bool = False
    ) -> Host:
        """A host's variables, templated; what is made of facts only once they are known."""
        variables = hostvars[name]
        raw = hostvars.raw_get(name)  # type: ignore[attr-defined]  # HostVars has it, Mapping not
        values: dict[str, Any] = {}
        unreadable: dict[str, str] = {}
        for variable in raw:
            if variable in MAGIC or (variable.startswith("ansible_") and variable not in ADDRESS):
                continue
            ours = owner_of(variable, roles) is not None or variable in ADDRESS
            if not ours:
                values[variable] = None  # its name alone is looked at
                continue
            if facts_known and not is_option(variable, roles):
                continue  # the names were looked at before; what the roles say to each other is no inventory
            if not facts_known and FACTS in str(raw[variable]):
                continue
            try:
                values[variable] = plain(variables[variable])
            except Exception as error:  # whatever templating raises, it is the entry's fault and must be named
                unreadable[variable] = str(error).split("\n")[0]
        return Host(name, values, unreadable)


def refusal(problems: Mapping[str, Sequence[str]], looked_at: int) -> dict[str, Any]:
    """The result for hosts with problems, or for roles (no name), and what an administrator is told.

    looked_at: how many hosts that was.
    """
    groups = alike(problems)
    told = []
    for names, found in groups:
        whose = f"The inventory of {several(names, looked_at)}" if any(names) else "A role"
        told.append("\n  - ".join([f"{whose} is wrong, and nothing was changed:", *found]))
    listed = [{"hosts": names, "problems": found} for names, found in groups]
    return {"failed": True, "problems": listed, "msg": "\n".join(told)}


def alike(sentences: Mapping[str, Sequence[str]]) -> list[tuple[list[str], list[str]]]:
    """Sentences about hosts, each once: hosts, and what holds for just these. What most of them share comes first."""
    hosts: dict[str, list[str]] = {}
    for name, found in sentences.items():
        for sentence in dict.fromkeys(found):
            hosts.setdefault(sentence, []).append(name)
    groups: dict[tuple[str, ...], list[str]] = {}
    for sentence, names in hosts.items():
        groups.setdefault(tuple(names), []).append(sentence)
    return [(list(names), groups[names]) for names in sorted(groups, key=len, reverse=True)]


def several(names: Sequence[str], looked_at: int) -> str:
    """Hosts in a sentence. looked_at: how many all of them are."""
    if 1 < len(names) == looked_at:
        return f"all {looked_at} gateways of this run"
    rest = len(names) - SHOWN
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:SHOWN])} and {rest} more ({len(names)} gateways)"


def remarks_on(hosts: Sequence[Host], gateways: Mapping[str, Host], roles: Mapping[str, Role]) -> list[str]:
    """What is worth a warning, each once with its hosts."""
    found = {host.name: remarks_of(host, gateways, roles) for host in hosts}
    return [f"{several(names, len(hosts))}: {remark}" for names, remarks in alike(found) for remark in remarks]


def is_option(variable: str, roles: Mapping[str, Role]) -> bool:
    """Whether a role takes this variable as input."""
    return any(variable in role.options for role in roles.values())


def made_of_facts(raw: Mapping[str, Any], roles: Mapping[str, Role]) -> list[str]:
    """The inventory's variables that are templates over the host's facts. A role's own defaults are none of them."""
    return [
        name
        for role in roles.values()
        for name in role.options
        if FACTS in str(raw.get(name, "")) and str(raw[name]) != str(role.defaults.get(name))
    ]
