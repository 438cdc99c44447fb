"""Which roles a playbook runs, and where their variables stand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_IMPORTS = ("ansible.builtin.import_role", "ansible.builtin.include_role", "import_role", "include_role")


def roles_of(plays: Any) -> list[str]:
    """The roles of a playbook's plays in their order, each once."""
    return list(dict.fromkeys(name for play in plays for name in _of_play(play)))


def _of_play(play: dict[str, Any]) -> Iterator[str]:
    for item in play.get("roles", ()):
        yield item["role"] if isinstance(item, dict) else item
    for section in ("pre_tasks", "tasks", "post_tasks"):
        for task in play.get(section, ()):
            yield from (task[key]["name"] for key in _IMPORTS if key in task)


def main_files(folder: Path) -> list[Path]:
    """The files that Ansible takes for a role's defaults or variables: main.yml, or all in the folder main."""
    single = folder / "main.yml"
    return [single] if single.is_file() else sorted((folder / "main").glob("*.yml"))
