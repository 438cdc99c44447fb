"""Bring messages back into qmail's queue, where each bears the inode of its own file as its number.

All of a message but its last file (todo, or info) is put in its place while the archive is read; that one waits in a
folder of its own. Once all are there that folder gets another name, and then each last file goes to its place by one
rename. So a run that was cut either starts anew (before the new name) or goes on (after it), and no message is there
twice or half. qmail-send is stopped meanwhile; qmail-queue may be at work, as new files have other inodes.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
import time
from pathlib import Path
from typing import IO

from .folders import write_file
from .state import QUEUE

FINISHED = "restored"
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
        self.coming = self.queue / f"{FINISHED}.{archive}.part"
        self.ready = self.queue / f"{FINISHED}.{archive}"
        self._numbers: dict[int, int] = {}

    def begin(self) -> None:
        """Make the folder in which last files wait, without those of a run that was cut."""
        for left in self.queue.glob(f"{FINISHED}.*.part"):
            self._forget(left)
        self.coming.mkdir(mode=0o700)

    def take(self, info: tarfile.TarInfo, content: IO[bytes]) -> None:
        """Write one file of a message under its new number."""
        kind, number = parts(info.name)
        if kind == "mess":
            inode = write_file(self.queue, f"{self.coming.name}/mess", info, content)
            self._numbers[number] = inode
            target = self._place(kind, inode)
            (self.coming / "mess").rename(target)
            # qmail-send clears away bodies without a message that were not read for a day and a half
            os.utime(target, (time.time(), info.mtime))
        elif kind in LATE:
            self._keep(kind, self._numbers[number], info, content)
        else:
            inner = self._place(kind, self._numbers[number]).relative_to(self.queue)
            write_file(self.queue, str(inner), info, content)

    def finish(self) -> int:
        """Once all are there, make them messages; returns how many."""
        self.coming.rename(self.ready)
        return self.go_on()

    def go_on(self) -> int:
        """Make messages of those that are ready, also of a run that was cut here; returns how many."""
        waiting = sorted(self.ready.iterdir())
        for path in waiting:
            kind, _, number = path.name.partition(".")
            path.rename(self._place(kind, int(number)))
        os.sync()
        with (self.root / DONE).open("a") as file:
            file.write(f"{self.archive}\n")
            file.flush()
            os.fsync(file.fileno())
        self.ready.rmdir()
        return len(waiting)

    def _keep(self, kind: str, number: int, info: tarfile.TarInfo, content: IO[bytes]) -> None:
        """Have a last file wait; qmail-send wants that of a message which it has not seen under a second name."""
        write_file(self.queue, f"{self.coming.name}/{kind}.{number}", info, content)
        if kind == "todo":
            waiting, target = self.coming / f"{kind}.{number}", self._place("intd", number)
            target.unlink(missing_ok=True)
            target.hardlink_to(waiting)

    def _place(self, kind: str, number: int) -> Path:
        """Where a file belongs: some kinds are spread over folders, as many as qmail was built for (conf-split)."""
        folder = self.queue / kind
        split = sum(1 for path in folder.iterdir() if path.name.isdigit() and path.is_dir())
        return folder / str(number % split) / str(number) if split else folder / str(number)

    def _forget(self, folder: Path) -> None:
        """Remove what a run that was cut left: none of its messages is one yet."""
        for path in folder.iterdir():
            number = path.name.partition(".")[2]
            for kind in ("mess", "local", "remote", "bounce", "intd") if number.isdigit() else ():
                self._place(kind, int(number)).unlink(missing_ok=True)
        shutil.rmtree(folder)


def unfinished(root: Path) -> list[Arrival]:
    """What a run left that was cut between the first and the last message."""
    ready = sorted((root / QUEUE.lstrip("/")).glob(f"{FINISHED}.*"))
    return [Arrival(root, path.name.partition(".")[2]) for path in ready if not path.name.endswith(".part")]
