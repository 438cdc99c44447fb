"""Who has mail at the domains of this gateway: lists, and files that are read again when they change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatekeeper.addresses import covering
from gatekeeper.config import Config, Rule
from gatekeeper.listfile import Keeper, ListFile
from gatekeeper.table import Table, make_table


@dataclass(slots=True)
class Recipients:
    """How each domain's recipients are known."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    lists: dict[str, Table] = field(default_factory=dict)
    files: dict[str, ListFile] = field(default_factory=dict)

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
        return made

    async def look(self) -> None:
        """Read the files that have changed."""
        for file in list(self.files.values()):
            await file.look()

    async def accept(self, path: str) -> str:
        """Take a file although it has lost many addresses; returns why it could not be taken, empty if it was."""
        file = self.files.get(path)
        if file is None:
            return f"no domain has its recipients in {path}; there are: {', '.join(sorted(self.files)) or 'none'}"
        await file.take(is_told=True)
        return file.trouble

    def status(self) -> list[dict[str, object]]:
        """What is to be known of each file."""
        return [file.status() for _, file in sorted(self.files.items())]

    def rule(self, domain: str) -> tuple[str, Rule] | None:
        """The rule for a domain and the name it stands under: its own, else that of its nearest parent."""
        return next(((name, self.rules[name]) for name in covering(domain) if name in self.rules), None)

    def table(self, name: str, rule: Rule) -> Table | None:
        """The table of a rule; None if it is not to be had now."""
        return self.lists[name] if rule.kind == "list" else self.files[rule.file].table
