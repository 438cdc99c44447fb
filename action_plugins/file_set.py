"""The controller's side of file_set: fills entries with the role's own files and templates.

A task whose files nobody has touched since is not sent (gatewright/noted.py).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import NotedAction
from gatewright.role_files import RoleFiles


class ActionModule(NotedAction):
    """Gives each entry that names a source its content, then runs the module. See the module's documentation."""

    def filled(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """The module's arguments, with the contents of all entries."""
        entries = arguments.get("entries")
        if not isinstance(entries, Mapping):
            return dict(arguments)
        root = str(arguments.get("root") or "/")
        return {**arguments, "entries": RoleFiles(self, task_vars).filled(entries, root)}

    def counts(self, done: Mapping[str, Any]) -> bool:
        """What lasts is a change; a permission in /run is none."""
        lasting = [path for path in done.get("changed_paths", ()) if not path.startswith("/run/")]
        return bool(lasting or done.get("failed"))
