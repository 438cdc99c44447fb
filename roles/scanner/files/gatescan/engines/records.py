"""What all workers know of each engine together: how often it was asked, how it failed, when to leave it alone.

A small file that every worker maps into memory. Also `gatescan engines` reads it. When it cannot be used, a
process keeps its figures to itself, and everything else works as it does with it.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

log = logging.getLogger("gatescan.engines")

RECORDS = "engines.ledger"
"""Its file's name, in the directory of the counters."""
ROWS = 32
"""Engines that fit."""
FAILURES = 3
"""So many failures in a row, of all workers together, and an engine is left alone for a while."""
PAUSE = 15.0
"""Seconds until a single message tries again an engine that was left alone."""

LOOK_EVERY = 900.0
"""Seconds between two questions about the date of an engine's signatures."""

_ROW = struct.Struct("<48sQQdQQdddd240s")


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one engine.

    asked, seconds: answered questions and the time that they took. found: those in whose answer was something.
    errors: questions without an answer. streak: errors since the last answer. The others are seconds since 1970.
    open_until: until then it is left alone. failed, why: when it last failed, and with what. signatures: when they
    were made, 0 if it does not tell. looked: when it was asked about that.
    """

    name: str = ""
    asked: int = 0
    found: int = 0
    seconds: float = 0.0
    errors: int = 0
    streak: int = 0
    open_until: float = 0.0
    failed: float = 0.0
    signatures: float = 0.0
    looked: float = 0.0
    why: str = ""

    @property
    def mean(self) -> float:
        """Seconds that an answer takes on average."""
        return self.seconds / self.asked if self.asked else 0.0

    @property
    def left_alone(self) -> bool:
        """Has it failed so often that it is only tried now and then?"""
        return self.streak >= FAILURES

    def pack(self) -> bytes:
        """The row in the file."""
        name, *figures, why = astuple(self)
        return _ROW.pack(_fit(name, 48), *figures, _fit(why, 240))

    @classmethod
    def unpack(cls, data: bytes) -> Record:
        """The record of a row."""
        fields = list(_ROW.unpack(data))
        fields[0], fields[-1] = _text(fields[0]), _text(fields[-1])
        return cls(*fields)


class Records:
    """The records of a set of engines, for all processes that have the same file."""

    def __init__(self, path: Path | None, names: list[str]) -> None:
        self._file = -1
        self._memory = self._open(path)
        self._rows = {name: self._find(name) for name in names[:ROWS]}

    def read(self, name: str) -> Record:
        """The figures as they are now."""
        if (row := self._rows.get(name)) is None:
            return Record(name)
        return Record.unpack(self._memory[row * _ROW.size : (row + 1) * _ROW.size])

    def answered(self, name: str, seconds: float, *, found: bool = False) -> None:
        """An engine has answered: it is well. found: there was something in the message."""

        def change(old: Record) -> Record:
            asked, hits = old.asked + 1, old.found + found
            return replace(old, asked=asked, found=hits, seconds=old.seconds + seconds, streak=0, open_until=0.0)

        self._change(name, change)

    def signatures_due(self, name: str) -> bool:
        """Is it time to ask an engine about its signatures again? True for one who asks; the others are told no."""
        now = time.time()
        if abs(now - self.read(name).looked) < LOOK_EVERY:
            return False
        self._change(name, lambda old: replace(old, looked=now))
        return True

    def dated(self, name: str, signatures: float | None) -> None:
        """An engine's signatures were made then."""
        self._change(name, lambda old: replace(old, signatures=signatures or 0.0))

    def failed(self, name: str, why: str, *, alive: bool) -> None:
        """An engine has not answered; if it is not even alive, that counts towards leaving it alone."""
        now = time.time()

        def change(old: Record) -> Record:
            streak = old.streak + (not alive)
            until = now + PAUSE if streak >= FAILURES and not alive else old.open_until
            return replace(old, errors=old.errors + 1, streak=streak, open_until=until, failed=now, why=why)

        self._change(name, change)

    def pause(self, name: str, timeout: float) -> float:
        """Seconds for which an engine is to be left alone; 0: ask it.

        When the pause is over, the first to ask tries it, and the others go on waiting for what comes of that.
        """
        now, left = time.time(), 0.0

        def change(old: Record) -> Record:
            nonlocal left
            if not old.left_alone or old.open_until > now + timeout + PAUSE:  # the clock was set back
                return old
            left = max(0.0, old.open_until - now)
            return old if left else replace(old, open_until=now + timeout + 1.0)

        if self.read(name).left_alone:
            self._change(name, change)
        return left

    def close(self) -> None:
        """Close the file; its figures stay."""
        self._memory.close()
        if self._file >= 0:
            os.close(self._file)

    def _open(self, path: Path | None) -> mmap.mmap:
        size = ROWS * _ROW.size
        if path is not None:
            try:
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                if os.fstat(self._file).st_size != size:
                    os.ftruncate(self._file, 0)
                    os.ftruncate(self._file, size)
                return mmap.mmap(self._file, size)
            except OSError as error:
                log.warning("each worker counts the engines' failures for itself: %s", error)
        return mmap.mmap(-1, size)

    def _find(self, name: str) -> int:
        """The engine's row, else an empty one, else the one that was used longest ago."""
        with _Locked(self._file):
            records = [Record.unpack(self._memory[at : at + _ROW.size]) for at in range(0, ROWS * _ROW.size, _ROW.size)]
            names = [record.name for record in records]
            if (own := _text(_fit(name, 48))) in names:
                return names.index(own)
            row = names.index("") if "" in names else min(range(ROWS), key=lambda at: records[at].asked)
            self._memory[row * _ROW.size : (row + 1) * _ROW.size] = Record(name).pack()
            return row

    def _change(self, name: str, change: Callable[[Record], Record]) -> None:
        if (row := self._rows.get(name)) is None:
            return
        with _Locked(self._file):
            self._memory[row * _ROW.size : (row + 1) * _ROW.size] = change(self.read(name)).pack()


class _Locked:
    """A lock between processes, held for microseconds. Threads of one process each have rows of their own."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __enter__(self) -> None:
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def read_all(path: Path) -> dict[str, Record]:
    """The records in a file, by name, for those who only look. OSError if it cannot be read."""
    data = path.read_bytes()
    rows = [data[at : at + _ROW.size] for at in range(0, len(data) - _ROW.size + 1, _ROW.size)]
    return {record.name: record for record in map(Record.unpack, rows) if record.name}


def _fit(text: str, size: int) -> bytes:
    return text.encode("utf-8", "replace")[:size]


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "ignore")
