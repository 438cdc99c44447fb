"""Bring a gateway's state back: all of the archive is looked at first, then services are stopped and files written."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .. import supervise
from ..frame import Refusal
from ..queue import Queue, Request, Service
from . import age, queued
from .folders import make_folder, owner_of, write_file
from .pack import PLENTY
from .state import MANIFEST, QUEUE, Entry, Manifest, check_origin, own_name, parse_manifest

NOTE_BOUND = 1 << 20
"""Bytes that an archive may say of itself."""
SETTLE_SECONDS = 180
GZIP_BOUND = 1100
"""Bytes that one byte of gzip's can stand for, and some more."""
LATEST = 1 << 40
"""Seconds since 1970 that file systems can have."""
LONGEST_NAME = 255
"""Bytes of a name in a folder."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is brought back, and over what. queue: take or leave the messages in it, or "" if nobody said. over: whether
    mail in the gateway's own queue stands in nobody's way."""

    source: Path
    identity: Path
    release: str
    queue: str = ""
    over: bool = False
    wait: float = 60.0


@contextlib.contextmanager
def members(wish: Wish) -> Iterator[tuple[Manifest, tarfile.TarFile, Iterator[tarfile.TarInfo]]]:
    """What the archive says of itself, the archive, and what is in it."""
    with age.reading(wish.identity, wish.source) as archive:
        found = plausible(archive, wish.source.stat().st_size)
        first = next(found, None)
        content = archive.extractfile(first) if first and first.name == MANIFEST else None
        if content is None:
            raise Refusal("this is no archive of Gatewright's")
        yield parse_manifest(content.read(NOTE_BOUND)), archive, found


def plausible(archive: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    """The members of an archive of `size` bytes; Refusal at one that cannot be in it, or on no host.

    tarfile would look for the end of a member that is longer than all of the archive for years.
    """
    while True:
        try:
            info = archive.next()
        except (ValueError, OverflowError) as error:
            raise Refusal(f"the archive is damaged: {error}") from error
        if info is None:
            return
        names = os.fsencode(info.name).split(b"/")
        is_right = 0 <= info.size <= size * GZIP_BOUND and abs(info.mtime) < LATEST
        if not is_right or max(map(len, names)) > LONGEST_NAME or b"\0" in b"".join(names):
            raise Refusal(f"{info.name[:300]!r} in the archive has a size, time or name that no file has")
        yield info


class Return:
    """One archive on its way back to one gateway."""

    def __init__(self, root: Path, entries: Sequence[Entry], wish: Wish) -> None:
        self.root = root
        self.entries = entries
        self.wish = wish
        self.counts: Counter[str] = Counter()
        self.wanted: list[Entry] = []
        self._bodies: set[int] = set()
        self._folders: dict[str, bool] = {}

    def look(self) -> Manifest:
        """Read all of the archive; Refusal if anything stands in the way of bringing it back. Changes nothing."""
        sizes: Counter[int] = Counter()
        with members(self.wish) as (manifest, _archive, found):
            check_origin(manifest, own_name(self.root), self.wish.release)
            self._check_queue(manifest)
            self.wanted = self._choose(manifest)
            for info in found:
                if (entry := self._entry(info, manifest)) is not None:
                    self._check_member(info, entry)
                    sizes[os.stat(self._base(entry)).st_dev] += info.size
                    self.counts[entry.path] += info.isreg()
        for entry in self.wanted:
            if self.counts[entry.path]:
                self._check_room(entry, sizes)
        return manifest

    def bring(self, manifest: Manifest) -> None:
        """Do it, with the services concerned stopped."""
        concerned = [entry for entry in self.wanted if self.counts[entry.path]]
        names = sorted({name for entry in concerned for name in entry.services})
        with supervise.stopped([self.root / "service" / name for name in names], self.wish.wait):
            takes_queue = any(entry.form == "queue" for entry in concerned)
            with Service(self.root).stopped(self.wish.wait) if takes_queue else contextlib.nullcontext():
                self._write(manifest, takes_queue)
        for program in dict.fromkeys(entry.settle for entry in concerned if entry.settle):
            settle(program)

    def left_out(self, manifest: Manifest) -> list[str]:
        """What is in the archive and not brought back."""
        wanted = {entry.path for entry in self.wanted}
        return [path for path in manifest.entries if path not in wanted]

    def _choose(self, manifest: Manifest) -> list[Entry]:
        """What roles of this host declare, and the archive has."""
        takes = (self.wish.queue == "take" or not manifest.queued) and not queued.is_done(self.root, manifest.id)
        return [entry for entry in self.entries if entry.path in manifest.entries and (takes or entry.form != "queue")]

    def _check_queue(self, manifest: Manifest) -> None:
        if manifest.queued and not self.wish.queue and not queued.is_done(self.root, manifest.id):
            raise Refusal(
                f"the archive has {manifest.queued} messages of the queue: -e restore_queue=take brings them back,"
                " which is right if that gateway has sent nothing since; leave does not"
            )
        queue = Queue(self.root / QUEUE.lstrip("/"))
        waiting = sum(1 for _ in queue.messages(Request("list"))) + queue.unsorted()
        if waiting and not self.wish.over and not queued.unfinished(self.root):
            raise Refusal(
                f"{waiting} messages are in this gateway's queue, so it is at work: -e restore_over=true goes on"
                " beside them"
            )

    def _entry(self, info: tarfile.TarInfo, manifest: Manifest) -> Entry | None:
        """Of which entry a member is; None: it is not wanted here. Refusal: it is of none that the archive names."""
        if not any(Entry(path).covers(info.name) for path in manifest.entries):
            raise Refusal(f"{info.name!r} in the archive is of nothing that it names")
        return next((entry for entry in self.wanted if entry.covers(info.name)), None)

    def _check_member(self, info: tarfile.TarInfo, entry: Entry) -> None:
        """Refusal unless a member is a plain file or folder whose owner this host knows."""
        set_id = stat.S_ISUID | (0 if info.isdir() else stat.S_ISGID)
        plain = not {"", ".", ".."} & set(info.name.split("/"))
        if not plain or not (info.isreg() or info.isdir()) or info.mode & set_id:
            raise Refusal(f"{info.name!r} in the archive is no plain file or folder")
        owner_of(info)
        if entry.form == "queue":
            self._check_queue_file(info)
        else:
            self._check_place(info)

    def _check_place(self, info: tarfile.TarInfo) -> None:
        """Refusal where a file is in a folder's place, or the other way, and where there is no folder for it."""
        parent, place = info.name.rpartition("/")[0], self.root / info.name
        is_here = place.is_dir() if os.path.lexists(place) else info.isdir()
        has_folder = self._folders.get(parent, (self.root / parent).is_dir())
        if self._folders.setdefault(info.name, info.isdir()) != info.isdir() or is_here != info.isdir():
            raise Refusal(f"{info.name!r} is a folder in one place and a file in another")
        if not has_folder:
            raise Refusal(f"{info.name!r} in the archive has no folder to be in")

    def _check_queue_file(self, info: tarfile.TarInfo) -> None:
        """Refusal unless a member is a file of a message whose body is in the archive, and came first."""
        try:
            kind, number = queued.parts(info.name if info.isreg() else "")
        except ValueError:
            raise Refusal(f"{info.name!r} in the archive is no file of a queue") from None
        if kind == "mess":
            self._bodies.add(number)
        elif number not in self._bodies:
            raise Refusal(
                f"{info.name!r} in the archive is of a message without body, which that gateway's disk may have lost:"
                " -e restore_queue=leave brings back all but the queue"
            )

    def _base(self, entry: Entry) -> Path:
        """The folder in which an entry is; Refusal if it is not there."""
        base = (self.root / entry.name).parent
        if not base.is_dir():
            raise Refusal(f"{base} is not there: run site.yml first")
        return base

    def _check_room(self, entry: Entry, sizes: Counter[int]) -> None:
        base = self._base(entry)
        disk, wanted = os.statvfs(base), sizes[os.stat(base).st_dev]
        if disk.f_bavail * disk.f_frsize < wanted + PLENTY:
            raise Refusal(f"{base}: no room for {wanted} bytes")

    def _write(self, manifest: Manifest, takes_queue: bool) -> None:
        """Write everything; messages of the queue become such at the end, all or none."""
        if takes_queue:
            for left in queued.unfinished(self.root):
                left.go_on()
            takes_queue = not queued.is_done(self.root, manifest.id)
        arrival = queued.Arrival(self.root, manifest.id)
        if takes_queue:
            arrival.begin()
        with members(self.wish) as (_again, archive, found):
            for info in found:
                entry = self._entry(info, manifest)
                if entry is not None and (takes_queue or entry.form != "queue"):
                    self._put(info, archive.extractfile(info), entry, arrival)
        if takes_queue:
            arrival.finish()

    def _put(self, info: tarfile.TarInfo, content: IO[bytes] | None, entry: Entry, arrival: queued.Arrival) -> None:
        base = self._base(entry)
        inner = info.name[len(entry.name.rpartition("/")[0]) :].lstrip("/")
        if content is None:
            make_folder(base, inner, info)
        elif entry.form == "queue":
            arrival.take(info, content)
        elif entry.form != "held" or not is_held(self.root / entry.name, info.name):
            write_file(base, inner, info, content)
        if entry.form == "database":
            for suffix in ("-wal", "-shm"):  # of the one that was there
                Path(f"{self.root / entry.name}{suffix}").unlink(missing_ok=True)


def is_held(place: Path, name: str) -> bool:
    """Whether the quarantine has a message, released or not: what happened to it here is later than the archive."""
    held = name.rpartition("/")[2].partition(":")[0]
    return (place / "new" / held).exists() or any((place / "cur").glob(f"{glob.escape(held)}:*"))


def settle(program: str) -> None:
    """Put in force what was brought back; Refusal with its words if that fails."""
    try:
        done = subprocess.run([program], capture_output=True, text=True, timeout=SETTLE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"all files are back, but {program}: {error}") from error
    if done.returncode:
        raise Refusal(f"all files are back, but {program}: {(done.stderr or done.stdout).strip()[-500:]}")


def unpack(root: Path, entries: Sequence[Entry], wish: Wish, only_look: bool) -> dict[str, Any]:
    """Bring an archive back, or say what would be."""
    work = Return(root, entries, wish)
    manifest = work.look()
    if not only_look:
        work.bring(manifest)
    return {
        "made": manifest.made,
        "release": manifest.release,
        "files": dict(work.counts),
        "left_out": work.left_out(manifest),
    }
