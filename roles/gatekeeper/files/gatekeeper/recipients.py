"""Who has mail at the domains of this gateway: lists, and files that are read again when they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gatekeeper.addresses import AddressError, covering, parse_entry
from gatekeeper.config import Config, Rule

log = logging.getLogger("gatekeeper")

FILE_LIMIT = 64 << 20
"""Bytes of a file of recipients."""
FEW = 20
"""Addresses of a list that may shrink at will."""
Stamp = tuple[int, int, int]


class ListError(Exception):
    """A list that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Table:
    """Addresses. bare: local parts of whatever domain asks; whole: as local@domain."""

    bare: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """How many addresses there are."""
        return len(self.bare) + len(self.whole)

    def knows(self, local: str, domain: str, delimiter: str) -> bool:
        """Whether a mailbox is listed, as it is written or without its tag."""
        return any(name in self.bare or f"{name}@{domain}" in self.whole for name in names(local, delimiter))


def names(local: str, delimiter: str) -> list[str]:
    """A local part, and the mailbox that it may be a tag of."""
    mailbox, found, _ = local.partition(delimiter) if delimiter else ("", "", "")
    return [local, mailbox] if found and mailbox else [local]


def make_table(entries: Iterable[str]) -> Table:
    """A table of entries; raise AddressError, its place in front."""
    bare, whole = set(), set()
    for number, entry in enumerate(entries, 1):
        text = entry.strip()
        if not text or text.startswith("#"):
            continue
        try:
            local, domain = parse_entry(text)
        except AddressError as error:
            raise AddressError(f"line {number}: {text[:80]!r} {error}") from None
        if domain:
            whole.add(f"{local}@{domain}")
        else:
            bare.add(local)
    return Table(frozenset(bare), frozenset(whole))


def read_table(path: Path) -> Table:
    """The table in a file; raise ListError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) > FILE_LIMIT:
            raise ListError(f"it is larger than {FILE_LIMIT} bytes")
        table = make_table(data.decode("utf-8-sig").splitlines())
    except (OSError, UnicodeError, AddressError) as error:
        raise ListError(str(error)) from None
    if not table:
        raise ListError("it has no address in it")
    return table


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file does; None if it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@dataclass(slots=True)
class FileTable:
    """The recipients in a file. table: the last one that was good; None if there was none yet."""

    path: Path
    table: Table | None = None
    seen: Stamp | None = None
    read: Stamp | None = None
    trouble: str = ""

    async def look(self) -> None:
        """Read the file anew if it has changed, and has lain still since the last look: an export may be under way."""
        stamp = stamp_of(self.path)
        is_still, self.seen = stamp == self.seen, stamp
        if is_still and stamp != self.read:
            await self.take(is_told=False)

    async def take(self, is_told: bool) -> None:
        """Read the file. is_told: the administrator asks for it, so a list may shrink as it likes."""
        stamp = stamp_of(self.path)
        self.seen = self.read = stamp
        try:
            table = await asyncio.to_thread(read_table, self.path)
            if not is_told:
                self._refuse_loss(table)
        except ListError as error:
            self._complain(str(error))
            return
        if table != self.table or self.trouble:
            log.info("%s: %d addresses", self.path, len(table))
        self.table, self.trouble = table, ""

    def _refuse_loss(self, table: Table) -> None:
        before = len(self.table) if self.table else 0
        if before >= FEW and len(table) * 2 < before:
            raise ListError(f"it has {len(table)} addresses where it had {before}; a reload takes it nevertheless")

    def _complain(self, why: str) -> None:
        kept = f"the {len(self.table)} addresses of before stay" if self.table else "its domains' mail waits"
        if why != self.trouble:
            log.error("%s cannot be used, %s: %s", self.path, kept, why)
        self.trouble = why


@dataclass(slots=True)
class Recipients:
    """How each domain's recipients are known."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    lists: dict[str, Table] = field(default_factory=dict)
    files: dict[str, FileTable] = field(default_factory=dict)

    @classmethod
    async def of(cls, config: Config, before: Recipients | None = None) -> Recipients:
        """Those of a configuration; what was good before stays good for a file that is broken now."""
        known = before.files if before else {}
        made = cls(config.recipients)
        for name, rule in config.recipients.items():
            if rule.kind == "list":
                made.lists[name] = make_table(rule.entries)
            elif rule.kind == "file":
                made.files[rule.file] = known.get(rule.file) or FileTable(Path(rule.file))
        for file in made.files.values():
            await file.take(is_told=True)
        return made

    async def look(self) -> None:
        """Read the files that have changed."""
        for file in list(self.files.values()):
            await file.look()

    def rule(self, domain: str) -> tuple[str, Rule] | None:
        """The rule for a domain and the name it stands under: its own, else that of its nearest parent."""
        return next(((name, self.rules[name]) for name in covering(domain) if name in self.rules), None)

    def table(self, name: str, rule: Rule) -> Table | None:
        """The table of a rule; None if it is not to be had now."""
        return self.lists[name] if rule.kind == "list" else self.files[rule.file].table
