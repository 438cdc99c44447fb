"""Action: trimmed_units; once it has stopped a unit, what the survey saw of units does not hold any more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import trimmed


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Sends the module. See its documentation."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        done: dict[str, Any] = self._execute_module("trimmed_units", dict(self._task.args), task_vars=task_vars)
        return answer | done | (trimmed(task_vars) if done.get("trimmed") or done.get("failed") else {})
