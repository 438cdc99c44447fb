#!/usr/bin/python
"""One task that owns a whole set of files, directories and links."""

from __future__ import annotations

DOCUMENTATION = r"""
module: file_set
short_description: Own a whole set of files, directories and links in one task
description:
  - Brings every entry to its content, mode and owner, and optionally removes what is not listed.
  - Files are written beside their target, synced and renamed into place, so that a reader sees the old or the new one.
  - All entries are looked at before the first is written, so that a mistake in one changes nothing.
options:
  root:
    description: Directory against which relative entry names are taken.
    type: path
    default: /
  entries:
    description:
      - Path to content (a string, a regular file) or to a mapping with C(content), C(state) (C(file), C(directory),
        C(link), C(absent), C(touch)), C(target), C(owner), C(group), C(mode).
      - C(touch) makes an empty file if there is none and leaves the content of one that is there.
      - In place of C(content) an entry may have C(src), a file of the role's C(files), or C(template), one of its
        C(templates), or C(true) for the one at the target's path (C(.j2) is added to a template's). C(vars) are further
        variables of a template; C(managed) is the sentence that names Gatewright as the file's owner.
    type: dict
    required: true
  owner:
    description: Owner (name or number) of entries that name none.
    type: str
    default: root
  group:
    description: Group (name or number) of entries that name none.
    type: str
    default: root
  mode:
    description: Mode of files that name none, in octal.
    type: str
    default: "0644"
  directory_mode:
    description: Mode of directories that name none, in octal.
    type: str
    default: "0755"
  purge:
    description: Directories, relative to C(root) or absolute, in which files and links that are not listed are removed.
    type: list
    elements: str
    default: []
  keep:
    description: Patterns (as in the shell) of file names that C(purge) leaves alone.
    type: list
    elements: str
    default: []
  owed:
    description:
      - Name of a note on the host that something is still to be done about these files (a restart, say). It is written
        before the first change, with the paths, and counts as a change of them until somebody removes it; so a run that
        was cut between a change and its handler is made good by the next one.
      - The note is a file of this name in C(owed_dir). Whoever has done what is owed removes it.
    type: str
    default: ""
  owed_dir:
    description: Where such notes are.
    type: path
    default: /var/lib/gatewright/owed
  ledger_dir:
    description:
      - Where the module keeps what it owns on the host, if there is such a directory, so that C(release_files) can
        take it away again. The file C(owned) there has a line for each path with its state, and below C(before) stands
        a copy of what was at a path when the module first replaced or removed it.
    type: path
    default: /var/lib/gatewright
  noted:
    description:
      - C(task), which task this is, and C(digest) of its arguments. For the action plugin only, which has them noted in
        the file C(stat-cache) in C(ledger_dir) once all is in order, and does not send a task of which M(host_survey)
        says that nobody has touched its files since.
    type: dict
    default: {}
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Own a service directory
  file_set:
    root: /etc/dnscache
    entries:
      env/IP: "127.0.0.1\n"
      run: {content: "#!/bin/sh\nexec true\n", mode: "0755"}
      seed: {src: true, mode: "0600"}
      /etc/resolv.conf: {template: true}
      log/main: {state: directory, owner: dnslog}
      /service/dnscache: {state: link, target: /etc/dnscache}
    purge: [env]
"""

RETURN = r"""
changed_paths:
  description: Absolute paths that were (or, in check mode, would be) made, changed or removed, in order.
  type: list
  elements: str
  returned: always
"""

import contextlib
import fnmatch
import grp
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_bytes, to_native
from ansible.module_utils.on_gateway import stat_cache

STATES = ("file", "directory", "link", "absent", "touch")
KEYS = {"content", "state", "target", "owner", "group", "mode"}
DIFF_BYTES = 100_000
MARK = b"Gatewright"
"""What the project's own configuration files say of themselves."""
UNKNOWN = -1  # the id of a user or group that the host does not have yet


class EntryError(Exception):
    """An entry that cannot be brought about; the message names it."""


@dataclass(frozen=True)
class Entry:
    """What shall stand at `path`; owner, group: UNKNOWN where the host does not know the name yet (check mode)."""

    path: str
    state: str
    content: bytes | None
    target: str
    owner: int
    group: int
    mode: int


@dataclass(frozen=True)
class Found:
    """What stands at a path now; kind is one of file, directory, link, other, absent."""

    kind: str
    content: bytes | None = None
    target: str = ""
    owner: int = 0
    group: int = 0
    mode: int = 0


def resolve(name: object, database: Callable[[str], Any], kind: str, path: str, check_mode: bool) -> int:
    """Return the numeric id of a user or group given by name or number.

    In check mode a name that does not exist yet gives UNKNOWN: an earlier task would have made it.
    """
    text = str(name)
    if text.isdigit():
        return int(text)
    try:
        entry = database(text)
    except KeyError as error:
        if check_mode:
            return UNKNOWN
        raise EntryError(f"{path}: no {kind} {text!r} on this host") from error
    number: int = entry.pw_uid if kind == "user" else entry.gr_gid
    return number


def parse_mode(text: object, path: str) -> int:
    """Return an octal mode string as a number."""
    try:
        mode = int(str(text), 8)
    except ValueError as error:
        raise EntryError(f"{path}: mode {text!r} is not octal") from error
    if not 0 <= mode <= 0o7777:
        raise EntryError(f"{path}: mode {text!r} is out of range")
    return mode


def parse_entry(name: str, value: object, params: Mapping[str, Any], check_mode: bool) -> Entry:
    """Turn one item of `entries` into an Entry."""
    path = os.path.normpath(os.path.join(params["root"], name))
    if isinstance(value, str):
        value = {"content": value}
    if not isinstance(value, dict):
        raise EntryError(f"{path}: neither content nor a mapping")
    unknown = sorted(set(value) - KEYS)
    if unknown:
        raise EntryError(f"{path}: unknown key {unknown[0]!r}")
    state = value.get("state", "file")
    if state not in STATES:
        raise EntryError(f"{path}: state {state!r} is not one of {', '.join(STATES)}")
    if state == "file" and not isinstance(value.get("content"), str):
        raise EntryError(f"{path}: a file needs its content as a string")
    if state == "link" and not value.get("target"):
        raise EntryError(f"{path}: a link needs its target")
    default_mode = params["directory_mode"] if state == "directory" else params["mode"]
    return Entry(
        path=path,
        state=state,
        content=to_bytes(value["content"], errors="surrogate_or_strict") if state == "file" else None,
        target=value.get("target", ""),
        owner=resolve(value.get("owner", params["owner"]), pwd.getpwnam, "user", path, check_mode),
        group=resolve(value.get("group", params["group"]), grp.getgrnam, "group", path, check_mode),
        mode=parse_mode(value.get("mode", default_mode), path),
    )


def look(path: str) -> Found:
    """Return what stands at a path, without following a link."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Found("absent")
    facts = status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Found("link", None, os.readlink(path), *facts)
    if stat.S_ISDIR(status.st_mode):
        return Found("directory", None, "", *facts)
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as handle:
            return Found("file", handle.read(), "", *facts)
    return Found("other", None, "", *facts)


def matches(entry: Entry, found: Found) -> bool:
    """Whether what was found is what the entry asks for."""
    if entry.state == "absent":
        return found.kind == "absent"
    if entry.state == "link":
        return found.kind == "link" and found.target == entry.target
    kind = "directory" if entry.state == "directory" else "file"
    return (
        found.kind == kind
        and (entry.content is None or found.content == entry.content)
        and (found.owner, found.group, found.mode) == (entry.owner, entry.group, entry.mode)
    )


def remove(path: str, found: Found) -> None:
    """Remove what stands at a path; a directory with all that is in it."""
    if found.kind == "directory":
        shutil.rmtree(path)
    elif found.kind != "absent":
        os.unlink(path)


def replace_atomically(entry: Entry, content: bytes) -> None:
    """Write a file beside its target, with its owner and mode, and rename it into place."""
    directory = os.path.dirname(entry.path)
    descriptor, temporary = tempfile.mkstemp(prefix=".file_set.", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            os.fchown(handle.fileno(), entry.owner, entry.group)
            os.fchmod(handle.fileno(), entry.mode)
            handle.flush()
            os.fsync(handle.fileno())
        os.rename(temporary, entry.path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def make_link(entry: Entry) -> None:
    """Put a symbolic link into place in one step."""
    temporary = f"{entry.path}.file_set.{os.getpid()}"
    os.symlink(entry.target, temporary)
    os.rename(temporary, entry.path)


def apply(entry: Entry, found: Found) -> None:
    """Bring one entry about."""
    if entry.state == "absent":
        remove(entry.path, found)
        return
    os.makedirs(os.path.dirname(entry.path), mode=0o755, exist_ok=True)
    replaceable = found.kind in ("file", "link") and entry.state != "directory"
    keeps = (entry.state == "directory" and found.kind == "directory") or replaceable
    if not keeps:
        remove(entry.path, found)
    if entry.state == "link":
        make_link(entry)
    elif entry.state == "directory":
        os.makedirs(entry.path, exist_ok=True)
        os.chown(entry.path, entry.owner, entry.group)
        os.chmod(entry.path, entry.mode)
    else:
        kept = found.content if found.kind == "file" else None
        replace_atomically(entry, entry.content if entry.content is not None else kept or b"")


def strays(params: Mapping[str, Any], wanted: Collection[str]) -> list[str]:
    """Return the files and links in purged directories that no entry names."""
    found = []
    for name in params["purge"]:
        directory = os.path.normpath(os.path.join(params["root"], name))
        if not os.path.isdir(directory):
            continue
        for item in sorted(os.listdir(directory)):
            path = os.path.join(directory, item)
            kept = any(fnmatch.fnmatch(item, pattern) for pattern in params["keep"])
            if path not in wanted and not kept and (os.path.islink(path) or not os.path.isdir(path)):
                found.append(path)
    return found


def describe(kind: str, content: bytes | None, target: str, owner: int, group: int, mode: int) -> str:
    """Return one side of a diff: a line of facts, then the content."""
    if kind == "absent":
        return ""
    if kind == "link":
        return f"link to {target}\n"
    names = f"{kind}, mode {mode:04o}, owner {owner}, group {group}\n"
    if content is None:
        return names
    if len(content) > DIFF_BYTES or b"\0" in content:
        return names + f"({len(content)} bytes, not shown)\n"
    return names + content.decode("utf-8", "backslashreplace")


def diff_of(entry: Entry, found: Found) -> dict[str, str]:
    """Return the before and after of an entry as Ansible shows them."""
    before = describe(found.kind, found.content, found.target, found.owner, found.group, found.mode)
    kind = {"touch": "file"}.get(entry.state, entry.state)
    content = entry.content if entry.state != "touch" else found.content or b""
    after = describe(kind, content, entry.target, entry.owner, entry.group, entry.mode)
    return {"before_header": entry.path, "after_header": entry.path, "before": before, "after": after}


def read_note(path: str) -> list[str]:
    """The paths that something is still owed for, of a run that was cut."""
    try:
        with open(path) as handle:
            return handle.read().splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return []


def write_note(path: str, paths: Collection[str]) -> None:
    """Note, before they are changed, what paths something will be owed for."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    replace_atomically(
        Entry(path, "file", None, "", os.geteuid(), os.getegid(), 0o644),
        "".join(f"{item}\n" for item in paths).encode(),
    )


def read_ledger(path: str) -> dict[str, str]:
    """What the module owns on this host: path to state."""
    try:
        with open(path) as handle:
            lines = handle.read().splitlines()
    except FileNotFoundError:
        return {}
    return {path: state for state, path in (line.split(" ", 1) for line in lines)}


def keep_original(path: str, found: Found, before: str) -> None:
    """Copy what stands at a path that was not the module's own, for the day on which it is to be put back."""
    copy = before + path
    ours = found.content is not None and MARK in found.content  # of a release that kept no ledger
    if found.kind not in ("file", "link") or ours or os.path.lexists(copy):
        return
    os.makedirs(before, mode=0o700, exist_ok=True)
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    temporary = f"{copy}.file_set"
    shutil.copy2(path, temporary, follow_symlinks=False)
    os.chown(temporary, found.owner, found.group, follow_symlinks=False)
    os.rename(temporary, copy)


def missing_parents(path: str) -> list[str]:
    """The directories on the way to a path that are not there yet."""
    parent = os.path.dirname(path)
    return [] if os.path.lexists(parent) else [*missing_parents(parent), parent]


def record(ledger: str, known: Mapping[str, str], made: Collection[str], entries: Collection[Entry]) -> None:
    """Add what the entries own to the ledger. What is removed is named too, as what stood there is to come back.

    made: directories on the way to entries. What is only touched is somebody else's to fill.
    """
    states = dict.fromkeys(made, "directory") | {entry.path: entry.state for entry in entries}
    owned = dict(known) | {
        path: state
        for path, state in states.items()
        if not path.startswith("/run/") and state != "touch" and (state != "absent" or path not in known)
    }
    if owned == known or not os.path.isdir(os.path.dirname(ledger)):
        return
    text = "".join(f"{owned[path]} {path}\n" for path in sorted(owned))
    replace_atomically(Entry(ledger, "file", None, "", os.geteuid(), os.getegid(), 0o644), text.encode())


def bring_about(ledger_dir: str, entries: Collection[Entry], pending: Collection[tuple[Entry, Found]]) -> None:
    """Change what differs, and keep the ledger of all."""
    ledger = os.path.join(ledger_dir, "owned")
    known = read_ledger(ledger)
    made: list[str] = []
    for entry, found in pending:
        try:
            made += missing_parents(entry.path) if entry.state != "absent" else []
            if entry.path not in known and entry.state != "touch" and os.path.isdir(ledger_dir):
                keep_original(entry.path, found, os.path.join(ledger_dir, "before"))
            apply(entry, found)
        except OSError as error:
            raise EntryError(f"{entry.path}: {error.strerror}") from error
    record(ledger, known, made, entries)


def looks_at(params: Mapping[str, Any], entries: Collection[Entry], note: str) -> list[stat_cache.Look]:
    """What the files look like, whom their owners' names mean, and that nothing is owed for them."""
    looked = [(entry.state, entry.path) for entry in entries]
    purged = [os.path.normpath(os.path.join(params["root"], name)) for name in params["purge"]]
    looked += [("names", stat_cache.told([directory, *params["keep"]])) for directory in purged]
    for key, kind in (("owner", "user"), ("group", "group")):
        given = (str(entry[key]) for entry in params["entries"].values() if isinstance(entry, dict) and key in entry)
        looked += [(kind, name) for name in sorted({str(params[key]), *given}) if not name.isdigit()]
    return [*looked, ("absent", note)] if note else looked


def run(module: AnsibleModule) -> dict[str, Any]:
    """Look at everything first, then change what differs."""
    os.umask(0o022)  # directories on the way to an entry are everybody's to enter, whatever root's umask is
    params = module.params
    entries = [parse_entry(name, value, params, module.check_mode) for name, value in params["entries"].items()]
    for path in strays(params, {entry.path for entry in entries}):
        entries.append(Entry(path, "absent", None, "", 0, 0, 0))
    pending = [(entry, found) for entry in entries if not matches(entry, found := look(entry.path))]
    note = os.path.join(params["owed_dir"], params["owed"]) if params["owed"] else ""
    paths = list(dict.fromkeys([entry.path for entry, _ in pending] + read_note(note)))
    if not module.check_mode:
        if note and pending:
            write_note(note, paths)
        bring_about(params["ledger_dir"], entries, pending)
        stat_cache.keep(
            {**params["noted"], "place": params["ledger_dir"]},
            looks_at(params, entries, note),
            {"changed_paths": []},
            lambda: all(matches(entry, look(entry.path)) for entry in entries),
        )
    return {
        "changed": bool(paths),
        "changed_paths": paths,
        "diff": [diff_of(entry, found) for entry, found in pending],
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "entries": {"type": "dict", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "default": "0644"},
            "directory_mode": {"type": "str", "default": "0755"},
            "purge": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "list", "elements": "str", "default": []},
            "owed": {"type": "str", "default": ""},
            "owed_dir": {"type": "path", "default": "/var/lib/gatewright/owed"},
            "ledger_dir": {"type": "path", "default": "/var/lib/gatewright"},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except EntryError as error:
        module.fail_json(msg=to_native(error))


if __name__ == "__main__":
    main()
