#!/usr/bin/python
"""Add rules of an outbreak to a gateway's scanner, take them back, or show them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: outbreak_rules
short_description: Block a pattern in an outbreak, and take it back
description:
  - Adds lines to C(outbreak.txt) beside the scanner's own rules, or removes them, and puts the result in force with
    C(gatescan rules build). The daemon takes the new rules by itself; no message is lost or waits for it.
  - If the rules do not build, the file is as it was, the old rules stay in force, and the module fails.
  - The file is no role's, so the rules stay over later runs of the playbook and reboots until they are taken back.
options:
  state:
    description: C(block) adds the rules, C(lifted) removes them, C(show) only lists.
    type: str
    choices: [block, lifted, show]
    default: show
  rules:
    description: Lines as C(quarantine-attachments.txt) has them.
    type: list
    elements: str
    default: []
  everything:
    description: With C(lifted), remove all rules of outbreaks.
    type: bool
    default: false
  by:
    description: Who has it done, for the host's journal (C(journalctl -t gatewright)).
    type: str
    default: root
  path:
    description: The file.
    type: path
    default: /etc/gatescan/outbreak.txt
  gatescan:
    description: The scanner's command.
    type: path
    default: /usr/bin/gatescan
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Hold everything with this subject
  outbreak_rules:
    state: block
    rules: ["Your invoice.*\tPolicy-Subject:\tOutbreak of 22 November"]
"""

RETURN = r"""
rules:
  description: The outbreak's rules that are in force afterwards.
  type: list
  elements: str
  returned: always
"""

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule

HEADER = "# Rules of an outbreak: playbooks/outbreak.yml adds them and takes them back.\n"
BUILD_SECONDS = 60


class BuildError(Exception):
    """The rules cannot be put in force; the message has gatescan's words."""


def read(path: str) -> str:
    """The file's text, empty if there is none."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except FileNotFoundError:
        return ""


def rules_of(text: str) -> list[str]:
    """The lines that are rules."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def what_it_blocks(rule: str) -> tuple[str, ...]:
    """A rule without its description: the same pattern is the same rule, whatever was said of it."""
    columns = rule.split("\t")
    return (*columns[:2], *columns[3:])


def wanted(present: list[str], state: str, rules: list[str], everything: bool) -> list[str]:
    """The rules that are to be in force."""
    named = {what_it_blocks(rule) for rule in rules}
    if state == "block":
        known = {what_it_blocks(rule) for rule in present}
        return present + [rule for rule in rules if what_it_blocks(rule) not in known]
    if state == "lifted":
        return [] if everything else [rule for rule in present if what_it_blocks(rule) not in named]
    return present


def write(path: str, text: str) -> None:
    """Replace the file by a text, or remove it if there is none."""
    if not text:
        if os.path.exists(path):
            os.unlink(path)
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".outbreak.", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            os.fchmod(handle.fileno(), 0o644)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError:  # a full disk, which is not to be filled further
        os.unlink(temporary)
        raise


@contextlib.contextmanager
def alone(path: str) -> Iterator[None]:
    """Keep another administrator's run waiting, whose rule would be lost between reading and writing."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def put_in_force(path: str, old: str, new: str, gatescan: str) -> None:
    """Write the new text and build; on any failure bring the old text back and raise BuildError."""
    write(path, new)
    try:
        built = subprocess.run([gatescan, "rules", "build"], capture_output=True, timeout=BUILD_SECONDS, check=False)
        words = built.stderr.decode(errors="replace").strip()
        failed = built.returncode != 0
    except (OSError, subprocess.TimeoutExpired) as error:
        words, failed = str(error), True
    if failed:
        write(path, old)
        raise BuildError(f"the rules do not build, and nothing was changed: {words}")


def note(by: str, verb: str, rules: list[str]) -> None:
    """Write into the host's journal who has done what; the rules are in force also where there is none."""
    for rule in rules:
        line = f"outbreak: {by} {verb} " + rule.replace("\t", "   ")
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["logger", "--tag", "gatewright", "--", line], timeout=BUILD_SECONDS, check=False)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["block", "lifted", "show"], "default": "show"},
            "rules": {"type": "list", "elements": "str", "default": []},
            "everything": {"type": "bool", "default": False},
            "by": {"type": "str", "default": "root"},
            "path": {"type": "path", "default": "/etc/gatescan/outbreak.txt"},
            "gatescan": {"type": "path", "default": "/usr/bin/gatescan"},
        },
        supports_check_mode=True,
    )
    path, gatescan = module.params["path"], module.params["gatescan"]
    if not os.path.exists(gatescan):
        module.fail_json(msg=f"{gatescan} is not on this host: run site.yml first")
    with alone(path) if module.params["state"] != "show" else contextlib.nullcontext():
        change(module, path, gatescan)


def change(module: AnsibleModule, path: str, gatescan: str) -> None:
    """Do what was asked, and end the module."""
    old = read(path)
    present = rules_of(old)
    rules = wanted(present, module.params["state"], module.params["rules"], module.params["everything"])
    if rules == present:
        module.exit_json(changed=False, rules=present)
    new = HEADER + "".join(f"{rule}\n" for rule in rules) if rules else ""
    if not module.check_mode:
        try:
            put_in_force(path, old, new, gatescan)
        except (BuildError, OSError) as error:
            module.fail_json(msg=str(error), rules=present)
        note(module.params["by"], "blocked", [rule for rule in rules if rule not in present])
        note(module.params["by"], "lifted", [rule for rule in present if rule not in rules])
    diff = {"before_header": path, "after_header": path, "before": old, "after": new}
    module.exit_json(changed=True, rules=rules, diff=diff)


if __name__ == "__main__":
    main()
