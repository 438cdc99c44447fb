"""Action: install packages that stand on the controller, all in one transaction of apt's, with what they depend on.

Options: packages (paths of .deb files on the controller).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import changed

APT_GET = [
    *("apt-get", "--yes", "--quiet", "--no-install-recommends", "--allow-downgrades"),
    *("--option", "DPkg::Lock::Timeout=300", "install"),
]


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Brings the packages into a folder for the time of their installation."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.check_mode:
            return answer | {"changed": True}
        there = self._make_tmp_path()
        try:
            brought = [self._bring(Path(path).expanduser(), there) for path in self._task.args["packages"]]
            self._fixup_perms2((there, *brought))
            command = {"argv": [*APT_GET, *brought]}
            done: dict[str, Any] = self._execute_module("ansible.builtin.command", command, task_vars=task_vars)
        finally:
            self._remove_tmp_path(there)
        return answer | done | changed(task_vars)

    def _bring(self, package: Path, folder: str) -> str:
        """Bring one package; return where it is."""
        there: str = self._connection._shell.join_path(folder, package.name)
        self._transfer_file(str(package), there)
        return there
