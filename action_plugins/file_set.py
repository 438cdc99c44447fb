"""The controller's side of file_set: fills entries with the role's own files and templates."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright import MANAGED

SOURCES = {"src": "files", "template": "templates"}
"""Keys of an entry that name a file on the controller, and the role's folder in which it is."""


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Gives each entry that names a source its content, then runs the module. See the module's documentation."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        places = [str(Path(place) / "templates") for place in self._task.get_search_path()]
        self._vars = {**(task_vars or {}), "managed": MANAGED}
        self._renderer = self._templar.copy_with_new_env(searchpath=places, available_variables=self._vars)
        arguments = dict(self._task.args)
        if isinstance(entries := arguments.get("entries"), Mapping):
            root = str(arguments.get("root") or "/")
            arguments["entries"] = {name: self._fill(root, name, value) for name, value in entries.items()}
        done: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        return answer | done

    def _fill(self, root: str, name: str, entry: Any) -> Any:
        """The entry with the content of its source, if it names one."""
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
        found = self._find_needle(SOURCES[kind], name)
        text: str = self._loader.get_text_file_contents(found)
        if kind == "src":
            return text
        own = self._renderer.copy_with_new_env(available_variables={**self._vars, **variables}) if variables else None
        made = (own or self._renderer).template(trust_as_template(text), escape_backslashes=False)
        return (
            made if isinstance(made, str) else f"{made}\n"
        )  # of a template that is one expression Ansible keeps the type
