"""Who has mail at the domains of this gateway: lists, and files that are read again when they change.

A file that has no address at one of its domains is another domain's, or was exported wrongly: that domain's mail waits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatekeeper.addresses import covering
from gatekeeper.config import Config, Rule
from gatekeeper.listfile import Keeper, ListFile
from gatekeeper.table import Table, make_table

log = logging.getLogger("gatekeeper")


@dataclass(slots=True)
class Recipients:
    """How each domain's recipients are known."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    lists: dict[str, Table] = field(default_factory=dict)
    files: dict[str, ListFile] = field(default_factory=dict)
    unserved: frozenset[tuple[str, str]] = frozenset()
    """Files, and domains of theirs that have no address in them."""

    @classmethod
    async def of(cls, config: Config, before: Recipients | None = None) -> Recipients:
        """Those of a configuration; what was good before stays good for a file that is broken now."""
        known = before.files if before else {}
        made, keeper = cls(config.recipients), Keeper(config.state.parent / "lists")
        for name, rule in config.recipients.items():
            if rule.kind == "list":
                made.lists[name], _ = make_table(rule.entries)
            elif rule.kind == "file":
                made.files[rule.file] = known.get(rule.file) or ListFile(Path(rule.file), keeper, 0, 0.0)
        for file in made.files.values():
            file.loss, file.still = config.list_loss, config.look_seconds
            await file.begin()
        made.unserved = before.unserved if before else frozenset()
        made._see_who_is_unserved()
        return made

    async def look(self) -> None:
        """Read the files that have changed."""
        for file in list(self.files.values()):
            await file.look()
        self._see_who_is_unserved()

    def _see_who_is_unserved(self) -> None:
        unserved = frozenset(
            (rule.file, name)
            for name, rule in self.rules.items()
            if rule.kind == "file" and (table := self.files[rule.file].table) and not table.serves(name)
        )
        for file, name in sorted(unserved - self.unserved):
            log.error("ALERT %s has no address at %s, whose mail waits", file, name)
        self.unserved = unserved

    async def accept(self, path: str) -> str:
        """Take a file although it has lost many addresses; returns why it could not be taken, empty if it was."""
        file = self.files.get(path)
        if file is None:
            return f"no domain has its recipients in {path}; there are: {', '.join(sorted(self.files)) or 'none'}"
        await file.take(is_told=True)
        self._see_who_is_unserved()
        return file.trouble

    def status(self) -> list[dict[str, object]]:
        """What is to be known of each file."""
        return [
            {**file.status(), "unserved": sorted(name for at, name in self.unserved if at == path)}
            for path, file in sorted(self.files.items())
        ]

    @property
    def are_asked_for(self) -> bool:
        """Whether servers of routes are asked for any."""
        return any(rule.kind == "callout" for rule in self.rules.values())

    def rule(self, domain: str) -> tuple[str, Rule] | None:
        """The rule for a domain and the name it stands under: its own, else that of its nearest parent."""
        return next(((name, self.rules[name]) for name in covering(domain) if name in self.rules), None)

    def table(self, name: str, rule: Rule) -> Table | None:
        """The table of a rule; None if it is not to be had now."""
        if rule.kind == "list":
            return self.lists[name]
        return None if (rule.file, name) in self.unserved else self.files[rule.file].table
