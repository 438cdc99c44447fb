"""Action: have a program of the host's bring what runs there in line with its files.

The program compares both and prints a line for each thing that it had to do; asked by `look`, it prints these lines and
does nothing. So the survey asks it at the beginning (`ROLE__settles`), and where it had nothing to do, and nothing has
changed since, the task is not sent. In check mode the answer is what the survey was told.

Options: program (path on the host, with its arguments; required); due (what it told the survey; where that is not
known, it is run); comes_last (it looks at what other tasks do, and is run in every run that comes so far).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import changed, is_trusted


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Runs the program where it has something to do, or may have."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        program, due = self._checked()
        if not self._task.args.get("comes_last") and (known := self.foreseen(task_vars)) is not None:
            return answer | known
        if self._task.check_mode:
            told = {"skipped": True, "msg": "nobody has asked the host"} if due is None else {"msg": due}
            return answer | told | {"changed": bool(due), "stdout": due or ""}
        command = {"_raw_params": program}
        done: dict[str, Any] = self._execute_module("ansible.legacy.command", command, task_vars=task_vars)
        done["changed"] = bool(done.get("stdout"))
        return answer | done | (changed(task_vars) if done["changed"] or done.get("failed") else {})

    def foreseen(self, task_vars: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the action will answer if nothing is sent before; None if it will run the program."""
        _, due = self._checked()
        return {"changed": False, "stdout": ""} if due == "" and is_trusted(task_vars) else None

    def _checked(self) -> tuple[str, Any]:
        if unknown := sorted(set(self._task.args) - {"program", "due", "comes_last"}):
            raise AnsibleActionFail(f"settle has no option {unknown[0]!r}")
        if not (program := self._task.args.get("program")):
            raise AnsibleActionFail("settle needs its program")
        return str(program), self._task.args.get("due")
