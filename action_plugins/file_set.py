"""The controller's side of file_set: fills entries with the role's own files and templates."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.role_files import RoleFiles


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Gives each entry that names a source its content, then runs the module. See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if isinstance(entries := arguments.get("entries"), Mapping):
            root = str(arguments.get("root") or "/")
            arguments["entries"] = RoleFiles(self, task_vars).filled(entries, root)
        done: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        return answer | done
