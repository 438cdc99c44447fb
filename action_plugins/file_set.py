"""The controller's side of file_set: fills entries with the role's own files and templates.

A task is not sent to a host whose survey, at the beginning of this run, found its files untouched since the module saw
these very arguments fulfilled (module_utils/on_gateway/stat_cache.py). That holds until the run changes a file or
installs a package there; from then on every task is sent.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.role_files import RoleFiles, are_untouched, changed

MODULE = Path(__file__).resolve().parents[1] / "library/file_set.py"


def digest_of(arguments: Mapping[str, Any]) -> str:
    """Names a task's arguments, and what this release makes of them."""
    text = json.dumps(arguments, sort_keys=True, default=str)
    return hashlib.sha256(MODULE.read_bytes() + text.encode()).hexdigest()


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
        digest = digest_of(arguments)
        if are_untouched(digest, task_vars) and not self._task.delegate_to:
            return answer | {"changed": False, "changed_paths": [], "diff": []}
        told = {"task": self._task.get_name(), "digest": digest}
        done: dict[str, Any] = self._execute_module(module_args=arguments | told, task_vars=task_vars)
        lasting = [path for path in done.get("changed_paths", ()) if not path.startswith("/run/")]
        return answer | done | (changed(task_vars) if lasting or done.get("failed") else {})
