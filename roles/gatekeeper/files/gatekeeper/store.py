"""What outlives the process: entries in memory, bounded, written to SQLite once a second by one thread.

Decisions are made of memory alone. So a database that is locked, full or corrupt delays no answer and opens no door;
what could not be written waits, the log names it, and a corrupt file is put aside and made anew of what memory has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("gatekeeper")

Value = list[float]
PAGES = 32 * 1024
"""Pages (of 4 KiB) that the database may have."""
ASIDE = ".corrupt"
"""What the name of a file ends in that was no database any more."""
WAIT = 2.0
"""Seconds for a lock."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
  kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, expires REAL NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID
"""
Change = tuple[str, str, str | None, float]
"""kind, key, value (None: gone), expiry."""


class Shelf:
    """Entries of one kind: `width` numbers by key. room: how many; the one unused for longest makes room."""

    def __init__(self, kind: str, room: int, clock: Callable[[], float], width: int = 1) -> None:
        self.kind = kind
        self.room = room
        self.width = width
        self.clock = clock
        self._entries: OrderedDict[str, tuple[Value, float]] = OrderedDict()
        self._changed: set[str] = set()

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._entries)

    def get(self, key: str) -> Value | None:
        """An entry that has not expired."""
        found = self._entries.get(key)
        if found is None:
            return None
        if found[1] <= self.clock():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: str, value: Value, seconds: float) -> None:
        """Keep an entry for so many seconds."""
        self.fill(key, value, self.clock() + seconds)
        self._changed.add(key)

    def fill(self, key: str, value: Value, expires: float) -> None:
        """Take over what was kept."""
        self._entries[key] = (value, expires)
        self._entries.move_to_end(key)
        while len(self._entries) > self.room:
            self._changed.add(self._entries.popitem(last=False)[0])

    def drop(self, key: str) -> None:
        """Forget an entry."""
        if self._entries.pop(key, None):
            self._changed.add(key)

    def expire(self) -> None:
        """Forget what has expired."""
        now = self.clock()
        for key in [key for key, (_, expires) in self._entries.items() if expires <= now]:
            self.drop(key)

    def take_changes(self) -> list[Change]:
        """What has changed since."""
        changed, self._changed = self._changed, set()
        return [self._change(key) for key in changed]

    def take_all(self) -> list[Change]:
        """All there is."""
        self._changed = set()
        return [self._change(key) for key in self._entries]

    def put_back(self, key: str) -> None:
        """A change that could not be written; too many that are gone meanwhile are left to expire in the database."""
        if key in self._entries or len(self._changed) < self.room:
            self._changed.add(key)

    def _change(self, key: str) -> Change:
        value, expires = self._entries.get(key, (None, 0.0))
        # a key may hold a sender's bytes that are no UTF-8, and one such must not keep the others from being written
        name = key.encode("utf-8", "backslashreplace").decode()
        return self.kind, name, None if value is None else json.dumps(value), expires


class Store:
    """The database at a path, and the shelves that are kept in it."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self.clock = clock
        self.shelves: dict[str, Shelf] = {}
        self._database: sqlite3.Connection | None = None
        self.trouble = ""
        self._writing = threading.Lock()

    def shelf(self, kind: str, room: int, width: int = 1) -> Shelf:
        """A new shelf."""
        self.shelves[kind] = Shelf(kind, room, self.clock, width)
        return self.shelves[kind]

    def load(self) -> None:
        """Fill the shelves with what was kept; without a database that can be read they begin empty."""
        try:
            rows = self._connect().execute(
                "SELECT kind, key, value, expires FROM kept WHERE expires > ?", (self.clock(),)
            )
            for kind, key, value, expires in rows:
                numbers = [float(number) for number in json.loads(value)]
                shelf = self.shelves.get(kind)
                # another release's entries may have another form, and count for nothing
                if shelf is not None and len(numbers) == shelf.width and all(map(math.isfinite, (*numbers, expires))):
                    shelf.fill(key, numbers, expires)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self._fail(error)

    async def flush(self) -> None:
        """Write what has changed, in another thread."""
        changes = [change for shelf in self.shelves.values() for change in shelf.take_changes()]
        if not changes:
            return
        try:
            await asyncio.to_thread(self._write, changes)
        except (sqlite3.Error, OSError) as error:
            self._put_back(changes)
            self._fail(error)
            return
        except asyncio.CancelledError:
            self._put_back(changes)
            raise
        if self.trouble:
            log.info("%s is written again", self.path)
        self.trouble = ""

    def _put_back(self, changes: list[Change]) -> None:
        for kind, key, _, _ in changes:
            self.shelves[kind].put_back(key)

    def expire(self) -> None:
        """Forget what has expired."""
        for shelf in self.shelves.values():
            shelf.expire()

    def close(self) -> None:
        """Close the database."""
        if self._database:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self._database = None

    def _connect(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = sqlite3.connect(
                self.path, timeout=WAIT, isolation_level=None, check_same_thread=False, cached_statements=10
            )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(f"PRAGMA max_page_count = {PAGES}")
            self._database.execute(_SCHEMA)
        return self._database

    def _write(self, changes: list[Change]) -> None:
        with self._writing:  # a write that was given up may still be under way
            self._write_alone(self._connect(), changes)

    def _write_alone(self, database: sqlite3.Connection, changes: list[Change]) -> None:
        database.execute("BEGIN IMMEDIATE")
        try:
            gone = [(kind, key) for kind, key, value, _ in changes if value is None]
            database.executemany("DELETE FROM kept WHERE kind = ? AND key = ?", gone)
            kept = [change for change in changes if change[2] is not None]
            database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", kept)
            database.execute("DELETE FROM kept WHERE expires <= ?", (self.clock(),))
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise

    def _fail(self, error: Exception) -> None:
        """Say it once, and begin anew where the file is no database any more."""
        self.close()
        if str(error) != self.trouble:
            log.error("%s cannot be used, counters and caches are kept in memory alone: %s", self.path, error)
            self.trouble = str(error)
        is_corrupt = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if is_corrupt or isinstance(error, ValueError | TypeError):
            self._put_aside()

    def _put_aside(self) -> None:
        aside = self.path.with_name(self.path.name + ASIDE)
        with contextlib.suppress(OSError):
            self.path.replace(aside)
            for end in ("-wal", "-shm"):
                Path(f"{self.path}{end}").unlink(missing_ok=True)
            log.error("%s was corrupt and is now %s; it is made anew", self.path, aside)
        for shelf in self.shelves.values():
            for _, key, _, _ in shelf.take_all():
                shelf.put_back(key)
