#!/usr/bin/python
"""Take away what file_set owns on a host, and put back what stood there before."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_files
short_description: Take away the files that file_set owns on a host, and put back what stood before them
description:
  - Goes by the ledger that M(file_set) keeps. A file or link of it is removed, or replaced by the copy of what was
    there before. A directory is removed if nothing is left in it.
  - Without such a copy (a host that an earlier release made), a file that belongs to a Debian package stays and is
    named.
  - The directories of C(trees) go with all that is in them. The ledger stays: a run that was cut can be
    done again.
options:
  ledger_dir:
    description: Where file_set keeps its ledger.
    type: path
    default: /var/lib/gatewright
  trees:
    description: Files and directories that go whole, those that programs and not file_set made among them.
    type: list
    elements: path
    default: []
  keep:
    description: Directories that stay with all that is in them.
    type: list
    elements: path
    default: []
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Take the files away
  release_files:
    trees: [/etc/dnscache]
    keep: [/etc/dnscache/log/main]
"""

RETURN = r"""
removed:
  description: Paths that were (or, in check mode, would be) removed.
  type: list
  elements: str
  returned: always
restored:
  description: Paths at which stands again what was there before.
  type: list
  elements: str
  returned: always
kept:
  description: Directories of C(keep) that are there.
  type: list
  elements: str
  returned: always
debian:
  description: Files of Debian packages that were left as they are, as no copy of Debian's own was kept.
  type: list
  elements: str
  returned: always
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible.module_utils.basic import AnsibleModule


@dataclass
class Outcome:
    """What was done, path by path."""

    removed: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    debian: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Host:
    """The host's side; before: the folder with what stood at a path once."""

    module: AnsibleModule
    before: str
    keep: Sequence[str]

    def is_kept(self, path: str) -> bool:
        """Whether a path is in, or is, what stays."""
        return any(is_inside(path, kept) for kept in self.keep)

    def belongs_to_debian(self, path: str) -> bool:
        """Whether a package that is installed has this very path."""
        code, _output, _errors = self.module.run_command(["dpkg-query", "--search", path])
        return bool(code == 0)


def is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder, or below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def ledger_of(folder: str) -> dict[str, str]:
    """What file_set owns: path to state, the deepest first."""
    try:
        with open(os.path.join(folder, "owned")) as handle:
            lines = handle.read().splitlines()
    except FileNotFoundError:
        return {}
    owned = {path: state for state, path in (line.split(" ", 1) for line in lines)}
    return dict(sorted(owned.items(), key=lambda item: item[0].count("/"), reverse=True))


def put_back(copy: str, path: str) -> None:
    """Bring a copy to its old place, with its owner and mode, in one step."""
    status = os.lstat(copy)
    temporary = f"{path}.release"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    shutil.copy2(copy, temporary, follow_symlinks=False)
    os.chown(temporary, status.st_uid, status.st_gid, follow_symlinks=False)
    os.rename(temporary, path)


def release(host: Host, path: str, state: str, outcome: Outcome) -> None:
    """Give up one path of the ledger."""
    copy = host.before + path
    if host.is_kept(path):
        return
    if os.path.lexists(copy):
        outcome.restored.append(path)
        if not host.module.check_mode:
            put_back(copy, path)
    elif state == "directory":
        remove_if_empty(host, path, outcome)
    elif state != "absent" and (os.path.islink(path) or os.path.isfile(path)):
        remove_file(host, path, outcome)


def remove_file(host: Host, path: str, outcome: Outcome) -> None:
    """Remove a file or link, unless a Debian package would miss it."""
    if host.belongs_to_debian(path):
        outcome.debian.append(path)
        return
    outcome.removed.append(path)
    if not host.module.check_mode:
        os.unlink(path)


def remove_if_empty(host: Host, path: str, outcome: Outcome) -> None:
    """Remove a directory in which nothing is left and that no Debian package has."""
    if os.path.islink(path) or not os.path.isdir(path) or os.listdir(path) or host.belongs_to_debian(path):
        return
    outcome.removed.append(path)
    if not host.module.check_mode:
        os.rmdir(path)


def remove_tree(host: Host, path: str, outcome: Outcome) -> None:
    """Remove a directory but for what is kept in it, or a file."""
    if not os.path.lexists(path) or host.is_kept(path):
        return
    if not any(is_inside(kept, path) and os.path.lexists(kept) for kept in host.keep):
        outcome.removed.append(path)
        if not host.module.check_mode:
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        return
    for name in sorted(os.listdir(path)):
        remove_tree(host, os.path.join(path, name), outcome)


def run(module: AnsibleModule) -> dict[str, object]:
    """Give up the ledger's paths, then the trees."""
    params = module.params
    folder = params["ledger_dir"]
    host = Host(module, os.path.join(folder, "before"), params["keep"])
    outcome = Outcome()
    for path, state in ledger_of(folder).items():
        release(host, path, state, outcome)
    for path in params["trees"]:
        remove_tree(host, path, outcome)
    kept = [path for path in params["keep"] if os.path.isdir(path)]
    return {
        "changed": bool(outcome.removed or outcome.restored),
        "removed": outcome.removed,
        "restored": outcome.restored,
        "kept": kept,
        "debian": outcome.debian,
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "ledger_dir": {"type": "path", "default": "/var/lib/gatewright"},
            "trees": {"type": "list", "elements": "path", "default": []},
            "keep": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
