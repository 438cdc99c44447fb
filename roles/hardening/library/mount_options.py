#!/usr/bin/python
"""Take rights away from file systems that are mounted by themselves, in /etc/fstab and at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mount_options
short_description: Give partitions the mount options that take rights away, and name the paths that are none
description:
  - Where a path has a line in /etc/fstab, the options that it lacks are added to that line, behind those it has.
    Nothing else of the file changes. What is mounted without them is mounted anew at once, with these flags only.
  - A path without a line is left and named; so is a mount that may not be changed here, as most in a container.
options:
  wanted:
    description: Path of a mount point to the list of its options, of C(nodev), C(noexec) and C(nosuid).
    type: dict
    required: true
  own:
    description:
      - Path of a tmpfs that systemd mounts without a line to the options that it gives it. Where such a one is
        mounted, a line with these options is added, so that the wanted ones last.
    type: dict
    default: {}
  enforce:
    description: Whether to change anything. If not, what is lacking is only named.
    type: bool
    default: true
  fstab:
    description: The table of file systems.
    type: path
    default: /etc/fstab
  mounts:
    description: Where the kernel shows what is mounted.
    type: path
    default: /proc/self/mountinfo
  noted:
    description: What the action plugin has noted once all is in order; see M(file_set). For the plugin only.
    type: dict
    default: {}
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Run nothing from the logs' partition
  mount_options:
    wanted: {/var/log: [nodev, noexec, nosuid]}
"""

RETURN = r"""
apart:
  description: Paths that are partitions of their own.
  type: list
  elements: str
  returned: always
report:
  description: What is no partition of its own, and what is lacking and stays so, a sentence each.
  type: list
  elements: str
  returned: always
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway import stat_cache
from ansible.module_utils.on_gateway.mounts import Mount, may_mount, mounted, plain

OPPOSITES = {"dev": "nodev", "exec": "noexec", "suid": "nosuid"}
IMPLIED = {
    "group": ["nodev", "nosuid"],
    "owner": ["nodev", "nosuid"],
    "user": [*OPPOSITES.values()],
    "users": [*OPPOSITES.values()],
}
# What a mount anew has to say again, as it would take it away. How times are kept stays by itself.
FLAGS = {*OPPOSITES.values(), "ro", "nosymfollow"}
LINE = re.compile(
    r"(?P<head>\s*[^#\s]\S*\s+(?P<path>\S+)\s+\S+)(?:(?P<gap>\s+)(?P<options>[^#\s]\S*)(?P<tail>.*))?\s*", re.DOTALL
)


class EntryError(Exception):
    """An entry that cannot be brought about; the message names it."""


@dataclass
class Plan:
    """What is to be done: /etc/fstab's new text, path to options that its line or its mount lacks, and what is told."""

    fstab: str
    lines: dict[str, list[str]] = field(default_factory=dict)
    anew: dict[str, list[str]] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)


def check(wanted: Mapping[str, Any]) -> None:
    """Raise EntryError on an entry that would spoil /etc/fstab."""
    for path, options in wanted.items():
        if not re.fullmatch(r"/[^\s#]*", path) or os.path.normpath(path) != path:
            raise EntryError(f"{path!r} is not the absolute path of a mount point")
        if not isinstance(options, list) or any(option not in OPPOSITES.values() for option in options):
            raise EntryError(f"{path}: {options!r} is not a list of {', '.join(OPPOSITES.values())}")


def lacking(wanted: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the options that do not hold: of those that contradict each other the last counts."""
    held: set[str] = set()
    for option in present:
        held |= {option, *IMPLIED.get(option, ())}
        held.discard(OPPOSITES.get(option, ""))
    return [option for option in wanted if option not in held]


def amended(line: str, wanted: Mapping[str, list[str]]) -> str:
    """Return a line of /etc/fstab with the options that its path lacks."""
    body = line.rstrip("\n")
    found = LINE.fullmatch(body)
    if not found:
        return line
    options = (found["options"] or "defaults").split(",")
    missing = lacking(wanted.get(plain(found["path"]), ()), options)
    if not missing:
        return line
    text = ",".join([*options, *missing])
    return f"{found['head']}{found['gap'] or ' '}{text}{found['tail'] or ''}{line[len(body) :]}"


def listed(fstab: str) -> dict[str, list[str]]:
    """Return the paths that have a line in /etc/fstab, with the line's options."""
    found = filter(None, map(LINE.fullmatch, fstab.splitlines()))
    return {plain(match["path"]): (match["options"] or "defaults").split(",") for match in found}


def plan(wanted: Mapping[str, list[str]], own: Mapping[str, str], fstab: str, live: Mapping[str, Mount]) -> Plan:
    """Decide what to do of what stands in /etc/fstab and what is mounted."""
    made = Plan("".join(amended(line, wanted) for line in fstab.splitlines(keepends=True)))
    lines = listed(fstab)
    for path, options in wanted.items():
        mount = live.get(path)
        if path not in lines and not mount:
            made.report.append(f"{path} is no partition of its own")
            continue
        made.apart.append(path)
        missing = lacking(options, mount.options) if mount else []
        if path in lines:
            made.lines[path] = lacking(options, lines[path])
        elif mount and mount.kind == "tmpfs" and path in own and options:
            made.lines[path] = options
            made.fstab += "\n" if made.fstab and not made.fstab.endswith("\n") else ""
            made.fstab += f"tmpfs {path} tmpfs {','.join(filter(None, [own[path], *options]))} 0 0\n"
        elif missing:
            made.report.append(f"{path} is mounted without {', '.join(missing)}, and not by a line of /etc/fstab")
            continue
        if missing:
            made.anew[path] = missing
    return made


def mount_anew(module: AnsibleModule, path: str, options: list[str]) -> bool:
    """Set the flags of one mount; return whether it took. `bind` leaves the file system itself as it is."""
    command = ["mount", "-o", ",".join(["remount", "bind", *options]), "none", path]
    return bool(module.run_command(command)[0] == 0)


def read(path: str) -> str:
    """Return a file's text; nothing if there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


def write(module: AnsibleModule, path: str, text: str) -> None:
    """Put a file into place in one step, with the owner and mode of the one that was there."""
    descriptor, temporary = tempfile.mkstemp(prefix=".mount_options.", dir=os.path.dirname(path))
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        handle.write(text)
        handle.flush()
        os.fchmod(handle.fileno(), 0o644)
        os.fsync(handle.fileno())
    module.atomic_move(temporary, path)


def carry_out(made: Plan, live: Mapping[str, Mount], mount: Callable[[str, list[str]], bool]) -> list[str]:
    """Mount anew what lacks options; return the paths where that took, and report the others."""
    done = []
    for path, missing in made.anew.items():
        kept = [option for option in live[path].options if option in FLAGS]
        if mount(path, [*kept, *missing]):
            done.append(path)
        else:
            made.report.append(f"{path} is mounted without {', '.join(missing)}, and may not be mounted anew here")
    return done


def mounted_anew(made: Plan, live: Mapping[str, Mount], done: Sequence[str]) -> dict[str, str]:
    """The options of what was mounted anew, before and after, as a diff."""
    return {
        "before_header": "mounted",
        "after_header": "mounted",
        "before": "".join(f"{path} {','.join(live[path].options)}\n" for path in done),
        "after": "".join(f"{path} {','.join([*live[path].options, *made.anew[path]])}\n" for path in done),
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    """Bring lines and mounts in line, or tell what is lacking."""
    wanted, own, fstab = (module.params[name] for name in ("wanted", "own", "fstab"))
    check(wanted)

    def assess() -> tuple[Plan, str, dict[str, Mount]]:
        present, live = read(fstab), mounted(read(module.params["mounts"]))
        return plan(wanted, own, present, live), present, live

    made, present, live = assess()
    done: list[str] = []
    if not module.params["enforce"]:
        for where, found in (("in /etc/fstab", made.lines), ("as it is mounted", made.anew)):
            made.report += [f"{path} lacks {', '.join(missing)} {where}" for path, missing in found.items() if missing]
        made.fstab = present
    elif module.check_mode:
        done = carry_out(made, live, lambda path, options: may_mount())
    else:
        if made.fstab != present:
            write(module, fstab, made.fstab)
        done = carry_out(made, live, lambda path, options: mount_anew(module, path, options))
    if module.params["enforce"] and not module.check_mode:
        looks = [("file", fstab), ("may_mount", ""), ("mounts", stat_cache.told([module.params["mounts"], *wanted]))]
        lasting = {"apart": made.apart, "report": made.report}

        def is_right() -> bool:
            after, text, _live = assess()
            return after.fstab == text and not (after.anew and may_mount())

        stat_cache.keep(module.params["noted"], looks, lasting, is_right)
    file = {"before_header": fstab, "after_header": fstab, "before": present, "after": made.fstab}
    return {
        "changed": bool(done) or made.fstab != present,
        "apart": made.apart,
        "report": made.report,
        "diff": [file, mounted_anew(made, live, done)],
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "wanted": {"type": "dict", "required": True},
            "own": {"type": "dict", "default": {}},
            "enforce": {"type": "bool", "default": True},
            "fstab": {"type": "path", "default": "/etc/fstab"},
            "mounts": {"type": "path", "default": "/proc/self/mountinfo"},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except EntryError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
