"""What a run need not ask a host: tasks of which the survey found everything as their module left it.

The module notes on the host what it looked at (module_utils/on_gateway/stat_cache.py), the survey at the beginning of
the run looks again, and an action does not send such a task: it answers what the module would. That holds until the run
changes something there; from then on every task is sent. What comes at the end of a run (sockets, modes, the integrity
check's baseline) is always sent, as tasks of Ansible's own modules change a host, too; unless nothing at all is sent
before (gatewright/plan.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from gatewright import PROJECT

CHANGED = "survey_changed_since"
"""A fact of a host: the survey since which this run has changed something."""
TRIMMED = "gatewright_trimmed"
"""A fact of a host: the survey since which this run has stopped units (trimmed_units)."""


def changed(task_vars: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an action that changed a host adds to its result, so that later tasks do not trust the survey."""
    return {"ansible_facts": {CHANGED: _survey(task_vars).get("seen")}}


def trimmed(task_vars: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an action that stopped units adds to its result, so that later tasks do not trust what the survey saw."""
    return {"ansible_facts": {TRIMMED: _survey(task_vars).get("seen")}}


def is_trusted(task_vars: Mapping[str, Any] | None) -> bool:
    """Whether what this run's survey saw of a host still holds."""
    facts = (task_vars or {}).get("ansible_facts", {})
    seen = _survey(task_vars).get("seen")
    return seen is not None and seen not in (facts.get(CHANGED), facts.get(TRIMMED))


def _survey(task_vars: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (task_vars or {}).get("_survey_found") or {}


class NotedAction(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Sends the module of the task's name, unless the survey found everything as that module left it."""

    _supports_check_mode = True
    COMES_LAST = False
    """Whether it looks at what tasks of Ansible's own modules do, and is sent in every run that comes so far."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.filled(dict(self._task.args), task_vars)
        known = None if self.COMES_LAST else self.known(self.note_of(arguments), task_vars)
        return answer | (self.sent(arguments, task_vars) if known is None else known)

    def foreseen(self, task_vars: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the action will answer without sending anything, if nothing is sent before; None if it will send."""
        return self.known(self.note_of(self.filled(dict(self._task.args), task_vars)), task_vars)

    def filled(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """The module's arguments, whole."""
        return dict(arguments)

    def sent(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """What the module answers. arguments: the module's, whole."""
        noted = {**arguments, "noted": self.note_of(arguments)}
        done: dict[str, Any] = self._execute_module(self._module, noted, task_vars=task_vars)
        return done | (changed(task_vars) if self.counts(done) else {})

    def note_of(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        """By what the module notes on the host that all is in order."""
        return {"task": self._task.get_name(), "digest": self._digest(arguments)}

    def known(self, noted: Mapping[str, str], task_vars: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the module would answer, if the survey found everything as it left it."""
        found = _survey(task_vars).get("untouched", {})
        if not is_trusted(task_vars) or noted["digest"] not in found or self._task.delegate_to:
            return None
        return {"changed": False, "diff": [], **found[noted["digest"]]}

    def counts(self, done: Mapping[str, Any]) -> bool:
        """Whether what the module did is a change after which later tasks do not trust the survey."""
        return bool(done.get("changed") or done.get("failed"))

    @property
    def _module(self) -> str:
        return str(self._task.action.rpartition(".")[2])

    def _digest(self, arguments: Mapping[str, Any]) -> str:
        """Names a task's arguments, and what this release makes of them."""
        path = self._shared_loader_obj.module_loader.find_plugin(self._module)
        return hashlib.sha256(code(path) + canonical(arguments)).hexdigest()


def canonical(arguments: Mapping[str, Any]) -> bytes:
    """A task's arguments, the same whatever their order."""
    return json.dumps(arguments, sort_keys=True, default=str).encode()


@cache
def code(path: str) -> bytes:
    """A module, and what of the project it may use on a host."""
    shared = sorted((PROJECT / "module_utils/on_gateway").glob("*.py"))
    return b"".join(item.read_bytes() for item in (Path(path), *shared))
