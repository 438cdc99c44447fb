"""Take a gateway's state: files as they are, databases by SQLite itself, the queue while no qmail-send runs."""

from __future__ import annotations

import contextlib
import grp
import io
import os
import pwd
import sqlite3
import stat
import tarfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import supervise
from ..frame import Refusal
from ..queue import Service
from . import age
from .state import FORMAT, MANIFEST, QUEUE, Entry, Manifest, own_name

PLENTY = 64 << 20
"""Bytes that must stay free on the disk beside the archive."""
KINDS = ("mess", "local", "remote", "bounce", "info")
"""A message's files, the one last that makes it one (qmail's INTERNALS); of one that qmail-send has not looked at yet
there are two, mess and todo."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file or folder that goes in. path: where it is. name: its name in the archive."""

    path: Path
    name: str
    form: str = "tree"


def is_stopped(root: Path) -> bool:
    """Whether mail stays where it is: all of it is cut off, or neither of qmail's services runs."""
    flags = root / "var/lib/gatewright/cutoff"
    cut = all((flags / way).exists() for way in ("inbound", "outbound"))
    return cut or not any(
        ": up " in supervise.svstat(root / "service" / name) for name in ("qmail-smtpd", "qmail-send")
    )


def find(root: Path, entry: Entry) -> Iterator[Found]:
    """The files of an entry, each folder before what is in it."""
    place = root / entry.name
    if entry.form == "held":
        yield from (Found(path, str(path.relative_to(root))) for path in held(place))
    elif entry.form == "queue":
        yield from (Found(path, str(path.relative_to(root))) for path in queued(place))
    elif place.is_dir() and not place.is_symlink():
        yield from (Found(path, str(path.relative_to(root))) for path in [place, *sorted(place.rglob("*"))])
    elif os.path.lexists(place):
        yield Found(place, entry.name, entry.form)


def held(place: Path) -> list[Path]:
    """Held messages, of one that is being released while this looks where it is later; who was given a copy of one."""
    found = {path.name.partition(":")[0]: path for part in ("new", "cur") for path in sorted((place / part).glob("*"))}
    given = place / "given"
    return [*found.values(), *([given, *sorted(given.glob("*"))] if given.is_dir() else [])]


def queued(place: Path) -> Iterator[Path]:
    """The files of each message that has a body, the one last that makes it one."""
    return (path for files in messages(place) for path in files)


def messages(place: Path) -> Iterator[list[Path]]:
    """The files of each message in that order; none of one whose body is lost, which nobody can deliver."""
    todo = numbered(place / "todo")
    for path in todo:
        body = beside(place, "mess", path.name)
        yield [*body, path] if body else []
    unsorted = {path.name for path in todo}
    for path in numbered(place / "info"):
        if path.name not in unsorted:
            found = [beside(place, kind, path.name) for kind in KINDS]
            yield [file for files in found for file in files] if found[0] else []


def numbered(folder: Path) -> list[Path]:
    """The files of messages below a folder of the queue."""
    return [path for path in sorted(folder.rglob("*")) if path.name.isdigit() and is_plain(path)]


def beside(place: Path, kind: str, number: str) -> list[Path]:
    """A message's file of one kind, if there is one: some kinds have folders below them (conf-split)."""
    folder = place / kind
    return [path for path in (*folder.glob(f"*/{number}"), folder / number) if is_plain(path)][:1]


def is_plain(path: Path) -> bool:
    """Whether this is a file, and no link to one."""
    return path.is_file() and not path.is_symlink()


def describe(found: Found, state: os.stat_result) -> tarfile.TarInfo:
    """A member's header. Refusal if its owner has no name, as nobody could be given it on another host."""
    info = tarfile.TarInfo(found.name)
    info.mode, info.mtime = stat.S_IMODE(state.st_mode), state.st_mtime
    info.type = tarfile.DIRTYPE if stat.S_ISDIR(state.st_mode) else tarfile.REGTYPE
    info.size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
    try:
        info.uname, info.gname = pwd.getpwuid(state.st_uid).pw_name, grp.getgrgid(state.st_gid).gr_name
    except KeyError:
        raise Refusal(f"{found.path}: its owner {state.st_uid}:{state.st_gid} has no name on this host") from None
    return info


def add(archive: tarfile.TarFile, found: Found) -> int:
    """Put a file or folder in; returns its bytes. What is neither, or is gone by now, is left out."""
    with contextlib.suppress(FileNotFoundError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        state = os.lstat(found.path)
        if stat.S_ISDIR(state.st_mode):
            archive.addfile(describe(found, state))
        elif stat.S_ISREG(state.st_mode):
            with open(os.open(found.path, flags), "rb") as file:
                info = describe(found, os.fstat(file.fileno()))
                content: io.BufferedIOBase = file
                if found.form == "database":
                    content = io.BytesIO(database(found.path))
                    info.size = content.getbuffer().nbytes
                archive.addfile(info, content)
                return info.size
    return 0


def database(path: Path) -> bytes:
    """A database as it is at one moment, though others write to it."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as source,
            contextlib.closing(sqlite3.connect(":memory:")) as copy,
        ):
            source.backup(copy)
            return copy.serialize()
    except sqlite3.Error as error:
        raise Refusal(f"{path}: {error}") from error


def check_room(target: Path, root: Path, entries: Iterable[Entry]) -> None:
    """Refusal if the archive would fill the disk."""
    wanted = 0
    for found in (one for entry in entries for one in find(root, entry)):
        with contextlib.suppress(FileNotFoundError):
            wanted += found.path.lstat().st_size
    disk = os.statvfs(target.parent)
    if disk.f_bavail * disk.f_frsize < wanted + PLENTY:
        raise Refusal(f"{target.parent}: no room for an archive of at most {wanted} bytes")


def chosen(root: Path, entries: Sequence[Entry], queue: str) -> list[Entry]:
    """What goes in. queue: take, leave or auto, which takes that of a gateway where mail stays."""
    if queue == "take" and not is_stopped(root):
        raise Refusal("the queue of a gateway at work is another a moment later: cut mail off first, both ways")
    if queue == "take" or (queue == "auto" and is_stopped(root)):
        return list(entries)
    return [entry for entry in entries if entry.form != "queue"]


def pack(
    root: Path, entries: Sequence[Entry], target: Path, recipients: Sequence[str], release: str, queue: str = "auto"
) -> dict[str, Any]:
    """Write the archive; returns what is in it."""
    host = own_name(root)
    wanted = chosen(root, entries, queue)
    check_room(target, root, wanted)
    takes_queue = any(entry.form == "queue" for entry in wanted)
    with Service(root).stopped(60) if takes_queue else contextlib.nullcontext():
        found = Counter(map(bool, messages(root / QUEUE.lstrip("/")) if takes_queue else ()))
        names = tuple(entry.path for entry in wanted)
        manifest = Manifest(FORMAT, uuid.uuid4().hex, host, release, int(time.time()), names, found[True])
        sizes: Counter[str] = Counter()
        with age.writing(recipients, target) as archive:
            add_manifest(archive, manifest)
            for entry in wanted:
                sizes[entry.path] = sum(add(archive, one) for one in find(root, entry))
    said = {"host": host, "bytes": dict(sizes), "id": manifest.id}
    return said | {"queued": found[True], "bodiless": found[False]}


def add_manifest(archive: tarfile.TarFile, manifest: Manifest) -> None:
    """The first member."""
    info = tarfile.TarInfo(MANIFEST)
    info.size = len(manifest.text())
    archive.addfile(info, io.BytesIO(manifest.text()))
