"""Which roles a playbook runs, and where their variables stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_IMPORTS = ("ansible.builtin.import_role", "ansible.builtin.include_role", "import_role", "include_role")
_SECTIONS = ("pre_tasks", "tasks", "post_tasks", "handlers", "block", "rescue", "always")


def roles_of(plays: Any) -> list[str]:
    """The roles of a playbook's plays in their order, each once."""
    return list(dict.fromkeys(name for play in plays for name in _of_play(play)))


def _of_play(play: dict[str, Any]) -> Iterator[str]:
    for item in play.get("roles") or ():
        yield (item.get("role") or item["name"]) if isinstance(item, dict) else item
    yield from _of_tasks(task for section in ("pre_tasks", "tasks", "post_tasks") for task in play.get(section) or ())


def _of_tasks(tasks: Iterable[dict[str, Any]]) -> Iterator[str]:
    for task in tasks:
        yield from (_named(task[key]) for key in _IMPORTS if key in task)
        yield from _of_tasks(inner for part in ("block", "rescue", "always") for inner in task.get(part) or ())


def _named(arguments: dict[str, Any] | str) -> str:
    """The role that an import names, as a mapping or as `name=ROLE`."""
    if isinstance(arguments, str):
        arguments = dict(word.split("=", 1) for word in arguments.split() if "=" in word)
    return str(arguments.get("name") or arguments.get("role"))


def tags_of(items: Any) -> set[str]:
    """The tags of plays or tasks, and of the tasks inside of them; an expression among tags is none."""
    found: set[str] = set()
    for item in items or ():
        tags = item.get("tags") or ()
        found.update(str(tag) for tag in ([tags] if isinstance(tags, str) else tags))
        for section in _SECTIONS:
            found |= tags_of(item.get(section))
    return {tag for text in found for tag in text.split(",") if "{" not in text}


def main_files(folder: Path) -> list[Path]:
    """The files that Ansible takes for a role's defaults or variables: main.yml, or all in the folder main."""
    single = folder / "main.yml"
    return [single] if single.is_file() else sorted((folder / "main").glob("*.yml"))
