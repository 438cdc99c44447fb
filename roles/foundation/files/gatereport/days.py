"""What is counted: a file of JSON lines for each UTC day, and a file that says to whom its reports were sent.

The daemon that counts only adds lines, so its fence need not let it read or remove any. Days are read when they are
over, by another process.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

log = logging.getLogger("gatereport")

DAY_LIMIT = 64 << 20
"""Bytes of a day's file: some 200,000 lines. What comes beyond is not counted."""
LINE_LIMIT = 32 << 10
"""Bytes of a line."""


def today() -> datetime.date:
    """The UTC day."""
    return datetime.datetime.now(datetime.UTC).date()


@dataclass(slots=True)
class Days:
    """The days of a folder."""

    folder: Path
    limit: int = DAY_LIMIT
    _complained: str = field(default="", init=False)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Count something. Mail does not wait for it: what cannot be counted is said in the log, once a day."""
        day = today().isoformat()
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        try:
            self._write(self.folder / f"{day}.jsonl", line)
        except OSError as error:
            if self._complained != day:
                self._complained = day
                log.error("reports of %s will not be whole: %s", day, error)

    def _write(self, path: Path, line: bytes) -> None:
        """One write, so that lines of two processes do not mix."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            if len(line) > LINE_LIMIT or os.fstat(fd).st_size + len(line) > self.limit:
                raise OSError(f"{path} is full")
            os.write(fd, line)
        finally:
            os.close(fd)

    def finished(self) -> list[datetime.date]:
        """The days that are over."""
        found = []
        for path in self.folder.glob("*.jsonl"):
            with contextlib.suppress(ValueError):
                found.append(datetime.date.fromisoformat(path.stem))
        return sorted(day for day in found if day < today())

    def entries(self, day: datetime.date) -> Iterator[Mapping[str, Any]]:
        """What was counted on a day; what is no entry is left out."""
        fd = os.open(self.folder / f"{day}.jsonl", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            while line := file.readline(LINE_LIMIT):
                with contextlib.suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        yield entry

    def drop(self, day: datetime.date) -> None:
        """Forget a day."""
        (self.folder / f"{day}.jsonl").unlink(missing_ok=True)


@dataclass(slots=True)
class Sent:
    """Which reports of a day were sent, and which domains are done; kept until the day is forgotten."""

    folder: Path

    def of(self, day: datetime.date) -> set[str]:
        """What was noted."""
        try:
            lines = (self.folder / f"{day}.sent").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return set()
        return {line.strip() for line in lines} - {""}

    def note(self, day: datetime.date, done: str) -> None:
        """Something was done. Returns when the disk has it; raises OSError."""
        with self.noting(day, done):
            pass

    @contextlib.contextmanager
    def noting(self, day: datetime.date, done: str) -> Iterator[None]:
        """Do something and note it, unless it raises; the disk has room for the note before it is done.

        Raises OSError. Blanks hold the place, which a crash may leave behind.
        """
        note = done.encode() + b"\n"
        fd = os.open(self.folder / f"{day}.sent", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with open(fd, "r+b") as file:
            place = file.seek(0, os.SEEK_END)
            try:
                _write_down(file, place, b" " * (len(note) - 1) + b"\n")
                yield
            except BaseException:
                os.ftruncate(fd, place)
                raise
            _write_down(file, place, note)

    def drop(self, day: datetime.date) -> None:
        """Forget a day."""
        (self.folder / f"{day}.sent").unlink(missing_ok=True)


def _write_down(file: IO[bytes], place: int, data: bytes) -> None:
    """Write at a place; returns when the disk has it."""
    file.seek(place)
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
