"""Stories of docs/operations.md: their commands, run as they stand there but for the names of hosts and people.

So docs and tests cannot part: a command that a story lacks cannot be run, and one that no test runs is named.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping

from controller import Run, call, extra_variables

from lab.talk import COMMAND_SECONDS
from lab.topology import PROJECT

DOCUMENT = PROJECT / "docs/operations.md"
COMMAND = re.compile(r"`([^`]+)`|^    (\S.*)$", re.MULTILINE)
PROGRAMS = ("./gw ", "ansible-playbook ", "ansible ")
GW = f"{shlex.quote(sys.executable)} -m gatewright.fleet "
"""What ./gw calls once it has set up what it needs."""


def text_of(title: str) -> str:
    """A section, by its heading, or a story that begins with its title in bold, up to the next of its kind."""
    document = DOCUMENT.read_text()
    for begin, end in ((f"## {title}\n", r"^## "), (f"**{title}.**", r"^(\*\*|## )")):
        _, found, after = document.partition(begin)
        if found:
            return re.split(end, after, maxsplit=1, flags=re.MULTILINE)[0]
    raise AssertionError(f"{DOCUMENT.name} has no story {title!r}")


def commands_of(title: str) -> list[str]:
    """The commands of a story, without remarks behind `#`."""
    found = [" ".join((span or line).partition(" # ")[0].split()) for span, line in COMMAND.findall(text_of(title))]
    return [command for command in found if command.startswith(PROGRAMS) and " INV" in command]


class Story:
    """One story. names: what stands in for the document's hosts and people, by their names there."""

    def __init__(self, title: str, inventory: str, names: Mapping[str, str]) -> None:
        self.commands = commands_of(title)
        self.left = list(self.commands)
        self.names = names
        self.places = {" INV": f" {inventory}", "./gw ": GW}

    def run(
        self,
        command: str,
        succeeds: bool = True,
        variables: Mapping[str, object] | None = None,
        seconds: float = COMMAND_SECONDS,
        names: Mapping[str, str] | None = None,
    ) -> Run:
        """Run one of its commands. variables: what the story has an administrator write into the inventory.

        names: what stands in for further words of it.
        """
        assert command in self.commands, f"{command!r} is not in the story any more: {self.commands}"
        if command in self.left:
            self.left.remove(command)
        for name, value in {**self.names, **(names or {}), **self.places}.items():
            command = command.replace(name, value)
        return call([*shlex.split(command), *extra_variables(variables)], succeeds, seconds)

    def was_told_whole(self) -> None:
        """No command of it was left out."""
        assert self.left == [], f"no test runs {self.left}"
