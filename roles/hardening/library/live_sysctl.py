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
  root:
    description: Where the kernel shows its parameters.
    type: path
    default: /proc/sys
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
from dataclasses import dataclass

from ansible.module_utils.basic import AnsibleModule


@dataclass(frozen=True)
class Parameter:
    """A kernel parameter by its name, with dots; root is where the kernel shows it."""

    root: str
    name: str

    @property
    def path(self) -> str:
        """Its file; dots part the words, a slash stands for a dot inside one."""
        return os.path.join(self.root, self.name.translate(str.maketrans("./", "/.")))

    def read(self) -> str | None:
        """Return its value with single blanks; None where the kernel has none such, "" where it may not be read."""
        try:
            with open(self.path) as handle:
                return " ".join(handle.read().split())
        except FileNotFoundError:
            return None
        except OSError:
            return ""

    def write(self, value: str) -> bool:
        """Set it; return whether it took."""
        try:
            with open(self.path, "w") as handle:
                handle.write(f"{value}\n")
        except OSError:
            return False
        return self.read() == value

    def is_writable(self) -> bool:
        """Whether a write might succeed; what the kernel itself refuses shows only when it is tried."""
        return os.access(self.path, os.W_OK) and not os.statvfs(self.path).f_flag & os.ST_RDONLY


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "root": {"type": "path", "default": "/proc/sys"},
        },
        supports_check_mode=True,
    )
    wanted = {name: " ".join(str(value).split()) for name, value in module.params["settings"].items()}
    parameters = {name: Parameter(module.params["root"], name) for name in wanted}
    found = {name: parameter.read() for name, parameter in parameters.items()}
    absent = [name for name, value in found.items() if value is None]
    differs = [name for name in wanted if name not in absent and found[name] != wanted[name]]
    done: list[str] = []
    refused: list[str] = []
    for name in differs:
        parameter = parameters[name]
        took = parameter.is_writable() if module.check_mode else parameter.write(wanted[name])
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
