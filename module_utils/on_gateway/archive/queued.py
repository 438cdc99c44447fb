"""Bring messages back into qmail's queue, where each bears the inode of its own file as its number.

All of a message but its last file (todo, or info) is put in its place while the archive is read; that one waits in a
folder of its own. Once all are there that folder gets another name, and then each last file goes to its place by one
rename. So a run that was cut either starts anew (before the new name) or goes on (after it), and no message is there
twice or half. qmail-send is stopped meanwhile; qmail-queue may be at work, as new files have other inodes.

The queue is qmail's users', who could put anything there, links above all, while this runs as root. So folders are
opened one by one without following a link, all is done in open folders, and those of a cut run count only if they are
root's.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..frame import Refusal
from .folders import is_ours, is_there, move, opened, remove, write_into
from .state import QUEUE

LEFT = re.compile(r"restored\.([0-9a-f]{32})(\.part)?")
"""A folder of last files, of an archive's id; `.part` as long as some are missing."""
WAITING = re.compile(r"(info|todo)\.([1-9][0-9]{0,19})")
"""A last file that waits there."""
LATE = ("info", "todo")
DONE = "var/lib/gatewright/restored"
"""Ids of archives whose messages are in the queue, or were."""


def is_done(root: Path, archive: str) -> bool:
    """Whether the messages of an archive were brought back before."""
    with contextlib.suppress(FileNotFoundError):
        return archive in (root / DONE).read_text().split()
    return False


def parts(name: str) -> tuple[str, int]:
    """Kind and number of a member that is a file of the queue; ValueError if it is none."""
    found = re.fullmatch(rf"{QUEUE[1:]}/(mess|local|remote|bounce|info|todo)/(?:\d+/)?(\d+)", name)
    if not found:
        raise ValueError(name)
    return found[1], int(found[2])


class Arrival:
    """One archive's messages on their way in."""

    def __init__(self, root: Path, archive: str) -> None:
        self.root = root
        self.queue = root / QUEUE.lstrip("/")
        self.archive = archive
        self.ready = f"restored.{archive}"
        self.coming = f"{self.ready}.part"
        self._numbers: dict[int, int] = {}

    def begin(self) -> None:
        """Make the folder in which last files wait, without those of runs that were cut."""
        for archive, is_part in left(self.root):
            if is_part:
                Arrival(self.root, archive).forget()
        with opened(self.queue, "") as queue:
            for name in (self.coming, self.ready):
                if is_there(queue, name):
                    raise Refusal(f"{self.queue / name} is in the way, and no restore made it: remove it")
            os.mkdir(self.coming, 0o700, dir_fd=queue)

    def take(self, info: tarfile.TarInfo, content: IO[bytes]) -> None:
        """Write one file of a message under its new number."""
        kind, number = parts(info.name)
        if kind == "mess":
            self._numbers[number] = self._take_body(info, content)
        elif kind in LATE:
            self._keep(kind, self._numbers[number], info, content)
        else:
            with self._place(kind, self._numbers[number]) as folder:
                write_into(folder, str(self._numbers[number]), info, content)

    def finish(self) -> int:
        """Once all are there, make them messages; returns how many."""
        with opened(self.queue, "") as queue:
            move(queue, self.coming, queue, self.ready)
        return self.go_on()

    def go_on(self) -> int:
        """Make messages of those that are ready, also of a run that was cut here; returns how many."""
        with self._own(self.ready) as folder:
            waiting = [self._parse(self.ready, name) for name in sorted(os.listdir(folder))]
            for kind, number in waiting:
                with self._place(kind, number) as place:
                    move(folder, f"{kind}.{number}", place, str(number))
        os.sync()
        with (self.root / DONE).open("a") as file:
            file.write(f"{self.archive}\n")
            file.flush()
            os.fsync(file.fileno())
        self._remove_folder(self.ready)
        return len(waiting)

    def forget(self) -> None:
        """Remove what a run that was cut left: none of its messages is one yet."""
        with self._own(self.coming) as folder:
            names = os.listdir(folder)
            for number in {int(last[2]) for last in map(WAITING.fullmatch, names) if last}:
                if not self._is_message(number):
                    self._forget_message(number)
            for name in names:
                remove(folder, name)
        self._remove_folder(self.coming)

    def _take_body(self, info: tarfile.TarInfo, content: IO[bytes]) -> int:
        """Write a message's body; returns its number."""
        with self._own(self.coming) as folder:
            number = write_into(folder, "mess", info, content)
            # qmail-send clears away bodies without a message that were not read for a day and a half
            os.utime("mess", (time.time(), info.mtime), dir_fd=folder, follow_symlinks=False)
            with self._place("mess", number) as place:
                move(folder, "mess", place, str(number))
        return number

    def _keep(self, kind: str, number: int, info: tarfile.TarInfo, content: IO[bytes]) -> None:
        """Have a last file wait; qmail-send wants that of a message which it has not seen under a second name."""
        waiting = f"{kind}.{number}"
        with self._own(self.coming) as folder:
            write_into(folder, waiting, info, content)
            if kind == "todo":
                with self._place("intd", number) as place:
                    remove(place, str(number))
                    os.link(waiting, str(number), src_dir_fd=folder, dst_dir_fd=place, follow_symlinks=False)

    @contextlib.contextmanager
    def _own(self, name: str) -> Iterator[int]:
        """The folder of last files, open; Refusal if it is not root's."""
        with opened(self.queue, name) as folder:
            if not is_ours(folder):
                raise Refusal(f"{self.queue / name} is not root's alone: remove it")
            yield folder

    @contextlib.contextmanager
    def _place(self, kind: str, number: int) -> Iterator[int]:
        """Where a file belongs: some kinds are spread over folders, as many as qmail was built for (conf-split)."""
        with opened(self.queue, kind) as folder:
            split = sum(1 for name in os.listdir(folder) if name.isdigit() and not is_file(folder, name))
        with opened(self.queue, f"{kind}/{number % split}" if split else kind) as place:
            yield place

    def _parse(self, folder: str, name: str) -> tuple[str, int]:
        """Kind and number of a last file that waits; Refusal if it is none."""
        found = WAITING.fullmatch(name)
        if not found:
            raise Refusal(f"{self.queue / folder / name} is no file of a message: remove it")
        return found[1], int(found[2])

    def _is_message(self, number: int) -> bool:
        """Whether a message has that number: qmail-send cleared the cut run's body away, and the inode is another's."""
        for kind in LATE:
            with self._place(kind, number) as place:
                if is_there(place, str(number)):
                    return True
        return False

    def _forget_message(self, number: int) -> None:
        for kind in ("mess", "local", "remote", "bounce", "intd"):
            with self._place(kind, number) as place:
                remove(place, str(number))

    def _remove_folder(self, name: str) -> None:
        with opened(self.queue, "") as queue:
            os.rmdir(name, dir_fd=queue)


def is_file(folder: int, name: str) -> bool:
    """Whether a name in an open folder is a plain file's, or nothing's by now."""
    with contextlib.suppress(FileNotFoundError):
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    return True


def left(root: Path) -> list[tuple[str, bool]]:
    """Archives of which a cut run left a folder, and whether last files are missing there. Others' folders are none."""
    queue, found = root / QUEUE.lstrip("/"), []
    for name in sorted(os.listdir(queue)):
        if match := LEFT.fullmatch(name):
            with contextlib.suppress(OSError), opened(queue, name) as folder:
                found += [(match[1], match[2] is not None)] * is_ours(folder)
    return found


def unfinished(root: Path) -> list[Arrival]:
    """What a run left that was cut between the first and the last message."""
    return [Arrival(root, archive) for archive, is_part in left(root) if not is_part]
