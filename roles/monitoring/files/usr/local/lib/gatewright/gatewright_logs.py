"""Logs that turn: multilog's and logrotate's files, read on from a mark, so that no line is missed or read twice.

For gatewright_metrics and gatewright_log_shipping. Managed by Gatewright.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

BLOCK = 1 << 20
"""Bytes that are read at once."""
HEAD = 200
"""Bytes of its first line by which a file is known again; a number of an inode alone is given out anew."""


@dataclass(frozen=True)
class Mark:
    """How far a log has been read: the file, by its inode and first line, and the bytes of it.

    time: in seconds since 1970; files that were last written to later are unread, those of before are read.
    """

    inode: int
    head: str
    offset: int
    time: float


def head_of(file: IO[bytes]) -> str:
    """The first line of a file, by which it is known; empty while it has none."""
    line = os.pread(file.fileno(), HEAD, 0)
    return line.decode("latin-1") if len(line) == HEAD else line.partition(b"\n")[0].decode("latin-1") * (b"\n" in line)


def nonblocking(path: str, flags: int) -> int:
    """Open, and wait for nobody: a daemon that was taken over may have put a pipe in its log's place."""
    return os.open(path, flags | os.O_NONBLOCK)


def files_of(path: Path, older: str, stack: contextlib.ExitStack) -> list[IO[bytes]]:
    """All files of a log, the oldest first, each once although it may be renamed meanwhile; raise OSError."""
    found: dict[int, IO[bytes]] = {}
    for name in (path, *sorted(path.parent.glob(older))):
        with contextlib.suppress(FileNotFoundError):
            file = stack.enter_context(open(name, "rb", opener=nonblocking))  # noqa: SIM115  # the stack closes it
            found.setdefault(os.fstat(file.fileno()).st_ino, file)
    # while a log turns, there may be no present file for a moment
    return sorted(found.values(), key=lambda file: (file.name == os.fspath(path), os.fstat(file.fileno()).st_mtime_ns))


def unread(files: list[IO[bytes]], mark: Mark) -> Iterator[IO[bytes]]:
    """The files that have lines behind the mark, each at the first of these."""
    known = next((place for place, file in enumerate(files) if is_known(file, mark)), None)
    if known is None:  # it has gone away: what was written to since is new
        yield from (file for file in files if os.fstat(file.fileno()).st_mtime > mark.time)
        return
    files[known].seek(mark.offset)
    yield from files[known:]


def is_known(file: IO[bytes], mark: Mark) -> bool:
    """Whether a file is the one that the mark is of."""
    state = os.fstat(file.fileno())
    return state.st_ino == mark.inode and state.st_size >= mark.offset and head_of(file).startswith(mark.head)


def whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of whole lines; the file is left behind the last of them."""
    rest, end = b"", file.tell()
    while data := file.read(BLOCK):
        block, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            end += len(block) + 1
            yield block + newline
    file.seek(end)
