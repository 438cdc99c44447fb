"""Logs as streams, of files that are rotated and compressed."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

BLOCK = 1 << 18
"""Bytes that are read at once."""
LONGEST = 1 << 20
"""Bytes of a line; a longer one is passed over."""
TAI = 4_611_686_018_427_387_914
"""What a TAI64 label says at the beginning of 1970, as multilog counts."""
MARGIN = 600.0
"""Seconds within which a message that passed the scanner is in qmail's log."""
_TIME = re.compile(rb'\{"time": ?(?:(?P<number>\d+(?:\.\d+)?)|"(?P<text>[ -!#-~]+)")')
OPENERS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
}


class Logs:
    """The files of one log, open all at once, so that none goes away while another is read. The oldest first.

    has_older: whether anything older than `since` was left out.
    """

    def __init__(self, since: float, remarks: list[str]) -> None:
        self.since = since
        self.remarks = remarks
        self.has_older = False

    def multilog(self, directory: Path) -> Iterator[IO[bytes]]:
        """Files of multilog that were written to after `since`."""
        with contextlib.ExitStack() as stack:
            # the present file first: if it is rotated now, it is found once more by its new name, and known
            current = self._open(stack, directory / "current")
            names = sorted(path.name for path in self._names(directory) if path.name.startswith("@"))
            files = [
                self._open(stack, directory / name) for name in names if label_time(name[:25].encode()) >= self.since
            ]
            yield from once([*files, current])

    def lines_file(self, path: Path) -> Iterator[IO[bytes]]:
        """A file of lines, and what logrotate made of its predecessors."""
        with contextlib.ExitStack() as stack:
            current = self._open(stack, path)
            old = [other for other in self._names(path.parent) if other.name.startswith(f"{path.name}.")]
            files = [file for other in old if (file := self._open(stack, other))]
            files.sort(key=lambda file: os.fstat(file.fileno()).st_mtime)
            yield from once([*files, current])

    def _names(self, directory: Path) -> list[Path]:
        try:
            return list(directory.iterdir())
        except OSError:
            return []

    def _open(self, stack: contextlib.ExitStack, path: Path) -> IO[bytes] | None:
        try:
            file = stack.enter_context(open(path, "rb", opener=nonblocking))  # noqa: SIM115  # the stack closes it
        except FileNotFoundError:
            return None
        except OSError as error:
            self.remarks.append(f"{path}: {error.strerror}")
            return None
        if os.fstat(file.fileno()).st_mtime >= self.since:
            return file
        self.has_older = True
        return None

    def blocks(self, files: Iterator[IO[bytes]]) -> Iterator[bytes]:
        """The lines, in blocks of whole ones; of what is older than `since` no more than must be read."""
        for file in files:
            opener = OPENERS.get(Path(str(file.name)).suffix)
            try:
                if not opener:
                    self.has_older |= skip_older(file, self.since)
                for block in whole_lines(opener(file) if opener else file):
                    yield block.replace(b"\0", b"")  # a power cut leaves them before the next line
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                self.remarks.append(f"{file.name}: {error}")


def nonblocking(path: str, flags: int) -> int:
    """Open, and wait for nobody: a daemon that was taken over may have put a pipe in its log's place."""
    return os.open(path, flags | os.O_NONBLOCK)


def once(files: list[IO[bytes] | None]) -> Iterator[IO[bytes]]:
    """Each file once, the last of those that are the same."""
    numbers = [os.fstat(file.fileno()).st_ino if file else 0 for file in files]
    for place, file in enumerate(files):
        if file and numbers[place] not in numbers[place + 1 :]:
            yield file


def skip_older(file: IO[bytes], since: float) -> bool:
    """Go, by halving, to a line at most a block before the first one of `since`; whether any are left out."""
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > BLOCK:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(LONGEST)
        if 0 < line_time(file.readline(LONGEST)) < since:
            low = middle
        else:
            high = middle
    file.seek(low)
    if low:
        file.readline(LONGEST)
    return low > 0


def whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks that end with a line's end; what follows the last end, and a line without an end, is left out."""
    rest, is_passing_over = b"", False
    while data := file.read(BLOCK):
        if is_passing_over:
            _, end, data = data.partition(b"\n")
            is_passing_over = not end
        cut = data.rfind(b"\n") + 1
        if cut:
            yield rest + data[:cut]
            rest = data[cut:]
        else:
            rest += data
        if len(rest) > LONGEST:
            rest, is_passing_over = b"", True


def line_time(line: bytes) -> float:
    """Seconds since 1970 of a line of any of the logs; 0 if it does not say."""
    if line.startswith(b"@"):
        return label_time(line)
    found = _TIME.match(line)
    if not found:
        return 0.0
    return float(found["number"]) if found["number"] else written_time(found["text"].decode("ascii"))


def label_time(line: bytes) -> float:
    """The seconds since 1970 of a line's TAI64N label; 0 if it has none."""
    try:
        return int(line[1:17], 16) - TAI + int(line[17:25], 16) / 1e9
    except ValueError:
        return 0.0


def written_time(text: str) -> float:
    """Seconds since 1970 of a time like 2026-11-27T14:03:12Z; 0 if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def lines_with(block: bytes, texts: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of a block that have all of the texts (in small letters, the rarest first), in any case."""
    small, first = block.lower(), texts[0]
    place = small.find(first)
    while place >= 0:
        start, end = small.rfind(b"\n", 0, place) + 1, small.find(b"\n", place)
        if all(text in small[start:end] for text in texts):
            yield block[start:end]
        place = small.find(first, end)


def parsed(line: bytes) -> dict[str, Any]:
    """A line's JSON object; empty if it has none."""
    try:
        found = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
