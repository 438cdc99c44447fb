"""A stat cache, as git has one of its work tree: which tasks found all in order, and what one sees if it still is.

After a task that found all in order, or brought it there, its module notes what the task was (a digest of its
arguments), what it answers in such a case, and what it looked at: what lstat(2) says of each path, values of the
kernel, mounts, sockets. The survey at the beginning of a run looks again and tells the controller of which tasks
everything is still the same; those are not sent to the host. A file that was written, replaced, given away or renamed
since has another inode, size or time of change, which root alone can make up.
"""

from __future__ import annotations

import fnmatch
import grp
import json
import os
import pwd
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ansible.module_utils.on_gateway import listeners, logins, modes, mounts
from ansible.module_utils.on_gateway.parameters import Parameter

PLACE = "/var/lib/gatewright"
NAME = "stat-cache"
"""The file below the ledger's directory."""
COMMAND_SECONDS = 60
NOTED = {"type": "dict", "default": {}}
"""How a module takes what its action tells it: task and digest, and place, the ledger's directory if it is another."""

Look: TypeAlias = "tuple[str, str]"
"""What to look at: kind, and path, name or several of them (see `told`)."""


def told(names: Any) -> str:
    """Several names, or more than a name, as a look takes them."""
    return json.dumps(names, sort_keys=True, default=str)


def _kept(path: str) -> list[int]:
    found = os.lstat(path)
    return [found.st_mode, found.st_uid, found.st_gid]


def _content(path: str) -> list[int]:
    found = os.lstat(path)
    return [*_kept(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _names(told: str) -> list[str]:
    """Files and links in a directory, but for those whose names match patterns; told: the directory, then patterns."""
    directory, *kept = json.loads(told)
    with os.scandir(directory) as found:
        names = [item.name for item in found if item.is_symlink() or not item.is_dir()]
    return sorted(name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in kept))


def _parameters(names: str) -> list[Any]:
    """Of kernel parameters, value and whether it may be written here; names: where they are, then each."""
    root, *others = json.loads(names)
    return [[item.read(), item.is_writable()] for item in (Parameter(root, name) for name in others)]


def _mounts(paths: str) -> list[Any]:
    """What is mounted at paths; first of them: where the kernel shows it."""
    shown, *others = json.loads(paths)
    live = mounts.mounted(Path(shown).read_text(errors="surrogateescape"))
    return [[live[path].kind, *live[path].options] if path in live else None for path in others]


def _modes(limits: str) -> list[Any]:
    """Paths with more permissions than their limit, and all set-id programs."""
    top, patterns = json.loads(limits)
    return [[path for path, _mode, _limited in modes.too_open(patterns)], modes.set_id_programs(top, COMMAND_SECONDS)]


def _sockets(declared: str) -> list[Any]:
    """What listens undeclared, and what is declared and does not listen."""
    found = listeners.compare(json.loads(declared))
    return [found["undeclared"], found["missing"]]


def _succeeds(command: str) -> bool:
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False, timeout=COMMAND_SECONDS)
    return done.returncode == 0


LOOKS: dict[str, Callable[[str], Any]] = {
    "file": _content,
    "touch": _kept,
    "directory": _kept,
    "link": os.readlink,
    "names": _names,
    "exists": os.path.exists,
    "user": lambda name: pwd.getpwnam(name).pw_uid,
    "group": lambda name: grp.getgrnam(name).gr_gid,
    "login": logins.login_name,
    "parameters": _parameters,
    "mounts": _mounts,
    "may_mount": lambda _: mounts.may_mount(),
    "modes": _modes,
    "sockets": _sockets,
    "succeeds": _succeeds,
}
"""How each kind is looked at; what is not there (or is something else) gives None."""


def look(kind: str, name: str) -> Any:
    """What is there now; None for nothing. kind: one of LOOKS, or absent."""
    if kind == "absent":
        return True if os.path.lexists(name) else None
    try:
        return LOOKS[kind](name)
    except (OSError, KeyError, subprocess.SubprocessError):  # KeyError: an account that is not there
        return None


def read(place: str) -> dict[str, Any]:
    """All notes of a host, by task; none if the file is missing or damaged."""
    try:
        notes = json.loads((Path(place) / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def keep(
    noted: Mapping[str, Any], looks: Sequence[Look], result: Mapping[str, Any], is_right: Callable[[], bool]
) -> None:
    """Note for the next run that all is in order, and what a task answers as long as it is.

    noted: what the task's action told the module; nothing is noted without it, nor before a host has its ledger.
    is_right: whether all is in order; asked after the looks, so that what somebody changes meanwhile is in them.
    """
    place = Path(str(noted.get("place") or PLACE))
    if not noted.get("digest") or not place.is_dir():
        return
    # what is to be absent counts as soon as it is: a handler removes what is owed
    seen = [[kind, name, None if kind == "absent" else look(kind, name)] for kind, name in looks]
    if ["succeeds", False] in ([kind, bool(found)] for kind, _name, found in seen):
        return  # it would be in order as long as that fails
    note = {"digest": noted["digest"], "marks": seen, "result": dict(result)}
    notes = read(str(place))
    if notes.get(noted["task"]) != note and is_right():
        _write(place / NAME, {**notes, noted["task"]: note})


def _write(path: Path, notes: Mapping[str, Any]) -> None:
    """Put the file into place in one step."""
    descriptor, temporary = tempfile.mkstemp(prefix=".stat-cache.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(json.dumps(notes, indent=0, sort_keys=True) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def untouched(place: str) -> dict[str, dict[str, Any]]:
    """The digests of tasks for which everything is as it was, each with what the task answers."""
    return {str(note["digest"]): note.get("result", {}) for note in read(place).values() if _is_as_it_was(note)}


def _is_as_it_was(note: Any) -> bool:
    try:
        return bool(note["digest"]) and all(look(kind, name) == found for kind, name, found in note["marks"])
    except (TypeError, ValueError, LookupError):
        return False  # damaged
