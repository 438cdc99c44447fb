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

ROWS = 32
"""Engines that fit."""
FAILURES = 3
"""So many failures in a row, of all workers together, and an engine is left alone for a while."""
PAUSE = 15.0
"""Seconds until a single message tries again an engine that was left alone."""

_ROW = struct.Struct("<48sQdQQdd240s")


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one engine.

    asked, seconds: answered questions and the time that they took. errors: questions without an answer.
    streak: errors since the last answer. open_until, failed: seconds since 1970; until then it is left alone,
    and when it last failed. why: with what.
    """

    name: str = ""
    asked: int = 0
    seconds: float = 0.0
    errors: int = 0
    streak: int = 0
    open_until: float = 0.0
    failed: float = 0.0
    why: str = ""

    @property
    def mean(self) -> float:
        """Seconds that an answer takes on average."""
        return self.seconds / self.asked if self.asked else 0.0

    def pack(self) -> bytes:
        """The row in the file."""
        name, *figures, why = astuple(self)
        return _ROW.pack(_fit(name, 48), *figures, _fit(why, 240))

    @classmethod
    def unpack(cls, data: bytes) -> Record:
        """The record of a row."""
        name, asked, seconds, errors, streak, open_until, failed, why = _ROW.unpack(data)
        return cls(_text(name), asked, seconds, errors, streak, open_until, failed, _text(why))


class Ledger:
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

    def answered(self, name: str, seconds: float) -> None:
        """An engine has answered: it is well."""
        self._change(
            name,
            lambda old: replace(old, asked=old.asked + 1, seconds=old.seconds + seconds, streak=0, open_until=0.0),
        )

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
            if old.streak < FAILURES or old.open_until > now + timeout + PAUSE:  # the clock was set back
                return old
            left = max(0.0, old.open_until - now)
            return old if left else replace(old, open_until=now + timeout + 1.0)

        if self.read(name).streak >= FAILURES:
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
