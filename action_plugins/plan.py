"""Action: see whether any of the play's tasks that come now has something to do at the host (gatewright/plan.py).

It is asked in a whole run alone: one of some tags knows less of its tasks. Returns `due`, the first task that has
something to do; empty if none has, and then `msg` says so, with what tasks would have shown.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import is_trusted
from gatewright.plan import Plan


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Sends nothing."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        if list(known.get("ansible_run_tags", ())) != ["all"] or known.get("ansible_skip_tags"):
            return answer | {"changed": False, "due": "a run of some tags"}
        if not is_trusted(known):
            return answer | {"changed": False, "due": "the survey does not say how the host is"}
        plan = Plan(self, known)
        answer |= {"changed": False, "due": plan.due()}
        if not answer["due"]:
            said = f"all {plan.passed} tasks find it as it is to be"
            answer |= {"msg": [said, *plan.remarks] if plan.remarks else said, "_ansible_verbose_always": True}
        return answer
