"""A stat cache, as git has one of its work tree: which tasks' files nobody has touched since they were in order.

After a task that found all its files in order, or brought them there, file_set notes what the task was (a digest of its
arguments) and what lstat(2) says of each path. The survey at the beginning of a run reads all notes and tells the
controller whose paths are still the same; those tasks are not sent to the host. A file that was written, replaced,
given away or renamed since has another inode, size or time of change, which root alone can make up.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

NAME = "stat-cache"
"""The file below the ledger's directory."""

Mark: TypeAlias = "tuple[str, str, Any]"
"""What was looked at: kind, path (or name), and what was found."""


def _kept(path: str) -> list[int]:
    found = os.lstat(path)
    return [found.st_mode, found.st_uid, found.st_gid]


def _content(path: str) -> list[int]:
    found = os.lstat(path)
    return [*_kept(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _names(path: str) -> list[int]:
    """A directory whose names count: each that comes or goes changes its time."""
    return [os.lstat(path).st_ino, os.lstat(path).st_mtime_ns]


LOOKS: dict[str, Callable[[str], Any]] = {
    "file": _content,
    "touch": _kept,
    "directory": _kept,
    "link": os.readlink,
    "names": _names,
    "user": lambda name: pwd.getpwnam(name).pw_uid,
    "group": lambda name: grp.getgrnam(name).gr_gid,
}
"""How each kind is looked at; what is not there (or is something else) gives None."""


def look(kind: str, name: str) -> Any:
    """What is there now; None for nothing. kind: one of LOOKS, or absent."""
    if kind == "absent":
        return True if os.path.lexists(name) else None
    try:
        return LOOKS[kind](name)
    except (OSError, KeyError):  # KeyError: an account that is not there
        return None


def mark(kind: str, name: str) -> Mark:
    """Note what is there now."""
    return kind, name, look(kind, name)


def read(place: str) -> dict[str, Any]:
    """All notes of a host, by task; none if the file is missing or damaged."""
    try:
        notes = json.loads((Path(place) / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def text_with(place: str, task: str, digest: str, marks: Sequence[Mark]) -> str | None:
    """The file with a task's note renewed; None if nothing is new."""
    notes = read(place)
    note = {"digest": digest, "marks": [list(item) for item in marks]}
    if notes.get(task) == note:
        return None
    return json.dumps({**notes, task: note}, indent=0, sort_keys=True) + "\n"


def untouched(place: str) -> list[str]:
    """The digests of tasks whose files are as they were."""
    return [digest for note in read(place).values() if (digest := _digest_if_same(note))]


def _digest_if_same(note: Any) -> str:
    try:
        return str(note["digest"]) if all(look(kind, name) == found for kind, name, found in note["marks"]) else ""
    except (TypeError, ValueError, KeyError):
        return ""  # damaged
