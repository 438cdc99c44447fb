"""For actions that bring files to a host: what a role's own files and templates hold."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

from gatewright import MANAGED

SOURCES = {"src": "files", "template": "templates"}
"""Keys of an entry that name a file on the controller, and the role's folder in which it is."""


class RoleFiles:
    """Fills the entries of a task that name a source; other entries stay as they are."""

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any] | None) -> None:
        places = [str(Path(place) / "templates") for place in action._task.get_search_path()]
        self._action = action
        self._vars = {**(task_vars or {}), "managed": MANAGED}
        self._renderer = action._templar.copy_with_new_env(searchpath=places, available_variables=self._vars)

    def filled(self, entries: Mapping[str, Any], root: str = "/") -> dict[str, Any]:
        """Entries by paths relative to `root`, with contents in place of sources; AnsibleActionFail names a path."""
        return {name: self._fill(root, name, value) for name, value in entries.items()}

    def _fill(self, root: str, name: str, entry: Any) -> Any:
        if not isinstance(entry, Mapping) or not (named := [key for key in SOURCES if key in entry]):
            return entry
        path = posixpath.normpath(posixpath.join(root, name))
        if len(named) > 1 or "content" in entry:
            raise AnsibleActionFail(f"{path}: give one of content, src and template")
        (kind,) = named
        rest = {key: value for key, value in entry.items() if key not in (kind, "vars")}
        try:
            return rest | {"content": self._content(kind, path, entry[kind], entry.get("vars", {}))}
        except AnsibleError as error:
            raise AnsibleActionFail(f"{path}: {error}") from error

    def _content(self, kind: str, path: str, source: Any, variables: Mapping[str, Any]) -> str:
        """What the file or template holds. source: its name, or true for the target's path."""
        name = source if isinstance(source, str) else path.lstrip("/") + (".j2" if kind == "template" else "")
        found = self._action._find_needle(SOURCES[kind], name)
        text: str = self._action._loader.get_text_file_contents(found)
        if kind == "src":
            return text
        own = self._renderer.copy_with_new_env(available_variables={**self._vars, **variables}) if variables else None
        made = (own or self._renderer).template(trust_as_template(text), escape_backslashes=False)
        return (
            made if isinstance(made, str) else f"{made}\n"
        )  # of a template that is one expression Ansible keeps the type
