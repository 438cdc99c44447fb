#!/usr/bin/python
"""Bring the running kernel's parameters in line, as far as this host may."""

from __future__ import annotations

DOCUMENTATION = r"""
module: live_sysctl
short_description: Set the running kernel's parameters, and name those that this host may not set
description:
  - Reads every parameter below /proc/sys and writes those that differ.
  - A parameter that the kernel does not have, or that is read-only here (most are, in a container), is left and named.
options:
  settings:
    description: Name of a parameter, with dots, to its value.
    type: dict
    required: true
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""

EXAMPLES = r"""
- name: Answer no redirects
  live_sysctl:
    settings: {net.ipv4.conf.all.accept_redirects: 0}
"""

RETURN = r"""
set:
  description: Parameters that were (or, in check mode, would be) set.
  type: list
  elements: str
  returned: always
absent:
  description: Parameters that this kernel does not have.
  type: list
  elements: str
  returned: always
refused:
  description: Parameters with another value that may not be set here.
  type: list
  elements: str
  returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule

ROOT = "/proc/sys"


def path_of(name):
    """Return the file of a parameter; dots part the words, a slash stands for a dot inside one."""
    return os.path.join(ROOT, name.translate(str.maketrans("./", "/.")))


def read(name):
    """Return the present value with single blanks, or None where the kernel has no such parameter."""
    try:
        with open(path_of(name)) as handle:
            return " ".join(handle.read().split())
    except FileNotFoundError:
        return None
    except OSError:
        return ""


def write(name, value):
    """Set a parameter; return whether it took."""
    try:
        with open(path_of(name), "w") as handle:
            handle.write(f"{value}\n")
    except OSError:
        return False
    return read(name) == value


def is_writable(name):
    """Whether a write might succeed; what the kernel itself refuses shows only when it is tried."""
    if not os.access(path_of(name), os.W_OK):
        return False
    return not os.statvfs(path_of(name)).f_flag & os.ST_RDONLY


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec={"settings": {"type": "dict", "required": True}}, supports_check_mode=True)
    wanted = {name: " ".join(str(value).split()) for name, value in module.params["settings"].items()}
    found = {name: read(name) for name in wanted}
    absent = [name for name, value in found.items() if value is None]
    differs = [name for name in wanted if name not in absent and found[name] != wanted[name]]
    done, refused = [], []
    for name in differs:
        took = is_writable(name) if module.check_mode else write(name, wanted[name])
        (done if took else refused).append(name)
    module.exit_json(
        changed=bool(done),
        set=done,
        absent=absent,
        refused=refused,
        diff={
            "before": "".join(f"{name} = {found[name]}\n" for name in done),
            "after": "".join(f"{name} = {wanted[name]}\n" for name in done),
        },
    )


if __name__ == "__main__":
    main()
