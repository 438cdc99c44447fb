"""Action: refuse a run that would do nothing, and variables of the command line that nobody reads; name odd tags.

A tag of --tags that no task of our playbooks called has is refused, too: its job would not be done. A playbook of a
company that imports ours may have tags of its own: there, odd tags are but named.

On the controller alone, in a play over `all:localhost`, so that it runs whatever the inventory holds.

Options: group (the hosts of the plays that follow; `gateways`), takes (variables that the playbook reads from the
command line beside those of the roles, and those that variables of the inventory are made of: each with its form, which
is text, line, mailbox, number, count, truth or ports).
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

PROJECT = Path(__file__).resolve().parents[1]
# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(PROJECT))

from gatewright import kinds  # needs the line above
from gatewright.problems import InventoryError, Problems, suggest
from gatewright.role_check import options_of, specs_of
from gatewright.roles import main_files, roles_of, tags_of

# What `-e NAME=VALUE` makes text of is right as text, too.
_FORMS: Mapping[str, kinds.Kind] = {
    "text": kinds.checked_elsewhere,
    "number": kinds.either("a number", kinds.number(0), kinds.matching(r"\d{1,9}", "digits")),
    "line": kinds.line(),
    "mailbox": kinds.mailbox,
    "count": kinds.either("a number from 1 on", kinds.number(1), kinds.matching(r"[1-9]\d{0,8}", "digits")),
    "truth": kinds.either("true or false", kinds.truth, kinds.matching(r"(?i)true|false|yes|no|on|off|1|0", "a word")),
    "ports": kinds.listed(kinds.ports),
}
# Similarity above which the name of a file of variables is taken for a misspelling.
_NEAR = 0.85
_SPECIAL = ("all", "always", "never", "tagged", "untagged")
# What Ansible and those who call it (AWX, its ancestors) set themselves.
FOREIGN = ("ansible_", "awx_", "tower_", "molecule_")


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Looks at the groups and at the command line."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with all problems."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        facts = task_vars or {}
        group = str(self._task.args.get("group", "gateways"))
        given = load_extra_vars(self._loader)
        takes = self._task.args.get("takes", {})
        wrong = (*self._unread(facts, given, takes), *self._tags_of_nothing(), *wrong_values(given, takes))
        problems = [*nobody(facts, group), *wrong]
        if problems:
            told = "\n".join(f"  - {problem}" for problem in problems)
            return result | {"failed": True, "problems": problems, "msg": f"Nothing was done:\n{told}"}
        remarks = [*self._unknown_tags(), *unread_files(facts)]
        return result | {"changed": False} | ({"warnings": remarks} if remarks else {})

    def _tags_of_nothing(self) -> list[str]:
        """Those of --tags that no task of the playbooks called has."""
        wanted = {str(tag) for tag in context.CLIARGS["tags"]}
        called = [Path(name).resolve() for name in context.CLIARGS["args"]]
        if not wanted.isdisjoint(_SPECIAL) or not all(path.parent == PROJECT / "playbooks" for path in called):
            return []
        plays = [play for path in called for play in self._loader.load_from_file(str(path))]
        if any(key.rpartition(".")[2] == "import_playbook" for play in plays for key in play):
            return []  # what it imports may have them
        known = tags_of(plays)
        if roles_of(plays):
            known |= _roles()
            known |= self._tags() if wanted - known else set()  # all files of tasks are read for them
        names = ", ".join(path.name for path in called)
        return [f"no task of {names} has the tag {tag}{suggest(tag, known)}" for tag in sorted(wanted - known)]

    def _unknown_tags(self) -> list[str]:
        """Remarks on tags that no task here has; a playbook that imports this one may have them."""
        roles = _roles()
        doubtful = {*context.CLIARGS["tags"], *context.CLIARGS["skip_tags"]}.difference(roles, _SPECIAL)
        known = roles | self._tags() if doubtful else roles
        return [f"no task of Gatewright has the tag {tag}{suggest(tag, known)}" for tag in sorted(doubtful - known)]

    def _tags(self) -> set[str]:
        places = ("playbooks/*.yml", "playbooks/tasks/*.yml", "roles/*/tasks/**/*.yml")
        files = [path for place in places for path in PROJECT.glob(place)]
        return {tag for path in files for tag in tags_of(self._loader.load_from_file(str(path)))}

    def _unread(self, facts: Mapping[str, Any], given: Iterable[str], taken: Collection[str]) -> list[str]:
        """Variables of the command line that neither the playbook, nor a role, nor the inventory reads."""
        doubtful = [str(name) for name in given if name not in taken and not str(name).startswith(FOREIGN)]
        if not doubtful:
            return []
        options = self._options()
        inventory = [facts["hostvars"].raw_get(host) for host in facts["hostvars"]]
        return [
            f"{name}: nobody reads this variable{suggest(name, {*taken, *options})}"
            for name in doubtful
            if name not in options and not is_mentioned(name, inventory)
        ]

    def _options(self) -> set[str]:
        """The variables of all roles. A role's that cannot be read are left out here: the preflight tells why."""
        names: set[str] = {"gatewright_serial"}
        for role in (PROJECT / "roles").iterdir():
            for path in main_files(role / "defaults"):
                names |= set(self._loader.load_from_file(str(path), unsafe=True) or {})  # unsafe: as it is, not a copy
            with contextlib.suppress(InventoryError):
                names |= set(options_of(role.name, specs_of(role)))
        return names


def _roles() -> set[str]:
    return {path.name for path in (PROJECT / "roles").iterdir()}


def wrong_values(given: Mapping[str, Any], takes: Mapping[str, str]) -> list[str]:
    """Values of the command line that the playbook can make nothing of; what is a template is left to the playbook."""
    problems = Problems()
    for name, form in takes.items():
        if name in given and "{{" not in str(given[name]):
            _FORMS[form](problems, name, given[name])
    return problems.found


def nobody(facts: Mapping[str, Any], group: str) -> list[str]:
    """Why no host of the group would be touched."""
    groups = facts["groups"]
    sources = ", ".join(map(str, facts.get("ansible_inventory_sources") or ())) or "no inventory"
    if group not in groups:
        named = [name for name in groups if name not in ("all", "ungrouped")]
        known = f", but {', '.join(named)}" if named else ", and no other"
        return [f"the inventory ({sources}) has no group {group}{known}: its gateways must be in {group}"]
    if not groups[group]:
        return [f"the group {group} of the inventory ({sources}) is empty"]
    if not set(groups[group]).intersection(facts["ansible_play_hosts_all"]):
        return [f"--limit leaves none of the group {group} ({', '.join(groups[group])})"]
    return []


def unread_files(facts: Mapping[str, Any]) -> list[str]:
    """Remarks on files of variables beside the inventory whose names nearly are a group's or a host's.

    Others may be those of another inventory in the same folder.
    """
    sources = [Path(str(source)) for source in facts.get("ansible_inventory_sources") or ()]
    folders = dict.fromkeys(source if source.is_dir() else source.parent for source in sources if source.exists())
    found = []
    for folder in folders:
        for kind, names in (("group", set(facts["groups"])), ("host", set(facts["hostvars"]))):
            for path in sorted((folder / f"{kind}_vars").glob("[!.]*")):
                name = path.name if path.is_dir() else re.sub(r"\.(ya?ml|json)$", "", path.name)
                if name in names:
                    continue
                short = [other for other in sorted(names) if other.partition(".")[0] == name]
                near = f"; did you mean {short[0]!r}?" if short else suggest(name, names, _NEAR)
                if near:
                    found.append(f"{path}: nobody reads it, as the inventory has no {kind} {name}{near}")
    return found


def is_mentioned(name: str, inventory: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a variable of the inventory is made of this one."""
    word = re.compile(rf"\b{re.escape(name)}\b")
    return any(word.search(str(value)) for raw in inventory for key, value in raw.items() if key != name)
