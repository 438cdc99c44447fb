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
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

Socket = tuple[str, str, int, str]
"""proto, address, port, owner"""

HIDDEN = "hidden"
DHCP_CLIENTS = frozenset({"dhclient", "dhcpcd", "systemd-network", "NetworkManager"})
DHCP_PORTS = frozenset({68, 546})
"""A host that has its address by DHCP listens there; the firewall lets it, by firewall_dhcp_client."""
PAUSE_SECONDS = 0.5
OWNER = re.compile(r'\("([^"]+)",pid=(\d+)')


def listening(module: AnsibleModule) -> list[Socket]:
    """Return (proto, address, port, owner) of every listening socket, as ss lists them."""
    _code, output, _errors = module.run_command(["ss", "-H", "-l", "-n", "-t", "-u", "-p"], check_rc=True)
    found = []
    for line in output.splitlines():
        fields = line.split(None, 6)
        address, port = fields[4].rsplit(":", 1)
        owner = OWNER.search(line)
        name = owner.group(1) if owner else HIDDEN
        found.append((fields[0], address.strip("[]").split("%")[0], int(port), name))
    return sorted(set(found))


def hidden_programs() -> set[str]:
    """Return the names of the programs whose descriptors root may not list here."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for descriptor in (process / "fd").iterdir():
                descriptor.readlink()
        except PermissionError:
            found.add((process / "comm").read_text().strip())
        except OSError:
            continue
    return found


def covers(declaration: Mapping[str, Any], socket: Socket, hidden: Collection[str]) -> bool:
    """Whether a declaration covers a socket."""
    proto, address, port, owner = socket
    return (
        declaration["proto"] == proto
        and (declaration.get("port") is None or int(declaration["port"]) == port)
        and (declaration["owner"] == owner or (owner == HIDDEN and declaration["owner"] in hidden))
        and declaration.get("address", address) == address
    )


def show(declaration: Mapping[str, Any]) -> str:
    """A declaration as one line."""
    return f"{declaration['proto']} {declaration.get('address', '*')} {declaration['port']} {declaration['owner']}"


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


def is_dhcp_client(socket: Socket) -> bool:
    """Whether a socket is that of the host's DHCP client."""
    proto, _address, port, owner = socket
    return proto == "udp" and port in DHCP_PORTS and owner in DHCP_CLIENTS


def compare(module: AnsibleModule, declared: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What listens, what of it nobody declared, and what is declared and not there."""
    sockets, hidden = listening(module), hidden_programs()
    return {
        "sockets": [" ".join(map(str, item)) for item in sockets],
        "undeclared": [
            " ".join(map(str, item))
            for item in sockets
            if not is_dhcp_client(item) and not any(covers(one, item, hidden) for one in declared)
        ],
        "missing": [
            show(one)
            for one in declared
            if one.get("port") is not None and not any(covers(one, item, hidden) for item in sockets)
        ],
    }


def settled(module: AnsibleModule, declared: Sequence[Mapping[str, Any]], seconds: int) -> dict[str, list[str]]:
    """Compare, and again until the sockets are as declared or the seconds are over."""
    deadline = time.monotonic() + seconds
    while True:
        found = compare(module, declared)
        if not (found["undeclared"] or found["missing"]) or time.monotonic() >= deadline:
            return found
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "declared": {"type": "list", "elements": "dict", "required": True},
            "seconds": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    declared = module.params["declared"]
    if wide := too_wide(declared):
        module.fail_json(msg=f"a declared socket without a port must have a loopback address: {'; '.join(wide)}")
    found = settled(module, declared, 0 if module.check_mode else module.params["seconds"])
    if (found["undeclared"] or found["missing"]) and not module.check_mode:
        words = [f"not declared: {item}" for item in found["undeclared"]]
        words += [f"declared, but not there: {item}" for item in found["missing"]]
        reason = "listening sockets differ from the declared ones (proto address port owner): "
        module.fail_json(msg=reason + "; ".join(words), **found)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
