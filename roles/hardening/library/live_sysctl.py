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

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.on_gateway import stat_cache
from ansible.module_utils.on_gateway.parameters import PLACE, Parameter


def assess(root: str, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """What this kernel does not have, and what has another value."""
    found = {name: Parameter(root, name).read() for name in wanted}
    return {
        "absent": [name for name, value in found.items() if value is None],
        "differs": [name for name, value in found.items() if value is not None and value != wanted[name]],
    }


def run(module: AnsibleModule) -> dict[str, Any]:
    """Set what differs."""
    root = module.params["root"]
    wanted = {name: " ".join(str(value).split()) for name, value in module.params["settings"].items()}
    found = assess(root, wanted)
    done: dict[str, str | None] = {}
    refused: list[str] = []
    for name in found["differs"]:
        parameter = Parameter(root, name)
        before = parameter.read()
        if parameter.is_writable() if module.check_mode else parameter.write(wanted[name]):
            done[name] = before
        else:
            refused.append(name)
    lasting = {"set": [], "absent": found["absent"], "refused": refused}
    if not module.check_mode:
        look = ("parameters", stat_cache.told([root, *wanted]))
        # what is refused stays so until its value changes, or the right to change it
        stat_cache.keep(
            module.params["noted"],
            [look],
            lasting,
            lambda: assess(root, wanted) == {"absent": found["absent"], "differs": refused},
        )
    return {
        **lasting,
        "changed": bool(done),
        "set": list(done),
        "diff": {
            "before": "".join(f"{name} = {value}\n" for name, value in done.items()),
            "after": "".join(f"{name} = {wanted[name]}\n" for name in done),
        },
    }


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "root": {"type": "path", "default": PLACE},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    module.exit_json(**run(module))


if __name__ == "__main__":
    main()
