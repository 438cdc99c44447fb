#!/usr/bin/python
"""List every listening socket with its owner, and name the ones that nobody declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: declared_sockets
short_description: Compare the listening sockets of a host with the declared ones
description:
  - Lists every listening TCP socket and every bound UDP socket with the program that owns it.
  - Fails, naming it, on one that no declaration covers, and on a declared one that is missing. Changes nothing.
  - The sockets of a DHCP client need no declaration.
  - A service that was just started or stopped gets C(seconds) to listen, or to end.
  - In check mode it only reports, as the tasks that would bring the host about did not run.
  - Where root may not look into the processes of other users (a container without CAP_SYS_PTRACE), a socket's owner is
    shown as C(hidden), and the declared owner counts when a program of that name runs and may not be looked into.
options:
  declared:
    description:
      - Mappings with C(proto) (tcp or udp), C(owner) (program), C(port) and optionally C(address).
      - Without C(port), any port on C(address), which must be a loopback address, is covered, and none need be there.
    type: list
    elements: dict
    required: true
  seconds:
    description: Seconds within which the sockets must come to be as declared.
    type: int
    default: 0
  noted:
    description: What the action plugin has noted once all is in order; see M(file_set). For the plugin only.
    type: dict
    default: {}
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Nothing listens that the inventory does not declare
  declared_sockets:
    declared:
      - {proto: tcp, port: 22, owner: sshd}
      - {proto: udp, port: 53, owner: dnscache, address: 127.0.0.1}
      - {proto: tcp, owner: containerd, address: 127.0.0.1}
"""

RETURN = r"""
sockets:
  description: Every listening socket as one line, C(proto address port owner).
  type: list
  elements: str
  returned: always
undeclared:
  description: Those of them that no declaration covers.
  type: list
  elements: str
  returned: always
missing:
  description: Declarations that no socket meets.
  type: list
  elements: str
  returned: always
"""

import ipaddress
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_native
from ansible.module_utils.on_gateway import listeners, stat_cache

PAUSE_SECONDS = 0.5


def is_loopback(address: str) -> bool:
    """Whether an address is one of the host itself."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def too_wide(declared: Iterable[Mapping[str, Any]]) -> list[str]:
    """Declarations without a port that are not bound to a loopback address, each as it was given."""
    return [
        str(dict(one)) for one in declared if one.get("port") is None and not is_loopback(str(one.get("address") or ""))
    ]


def settled(declared: Sequence[Mapping[str, Any]], seconds: int) -> dict[str, list[str]]:
    """Compare, and again until the sockets are as declared or the seconds are over."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, list[str]] = listeners.compare(declared)
        if not (found["undeclared"] or found["missing"]) or time.monotonic() >= deadline:
            return found
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "declared": {"type": "list", "elements": "dict", "required": True},
            "seconds": {"type": "int", "default": 0},
            "noted": stat_cache.NOTED,
        },
        supports_check_mode=True,
    )
    declared = module.params["declared"]
    if wide := too_wide(declared):
        module.fail_json(msg=f"a declared socket without a port must have a loopback address: {'; '.join(wide)}")
    try:
        found = settled(declared, 0 if module.check_mode else module.params["seconds"])
    except (OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"listening sockets cannot be listed: {to_native(error)}")
    if (found["undeclared"] or found["missing"]) and not module.check_mode:
        words = [f"not declared: {item}" for item in found["undeclared"]]
        words += [f"declared, but not there: {item}" for item in found["missing"]]
        reason = "listening sockets differ from the declared ones (proto address port owner): "
        module.fail_json(msg=reason + "; ".join(words), **found)
    if not module.check_mode:
        look = ("sockets", stat_cache.told(declared))
        stat_cache.keep(module.params["noted"], [look], found, lambda: stat_cache.look(*look) == [[], []])
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
