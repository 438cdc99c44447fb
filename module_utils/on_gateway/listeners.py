"""The listening sockets of a host with their owners, and how they compare with declared ones."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Listener: TypeAlias = "tuple[str, str, int, str]"
"""proto, address, port, owner"""

COMMAND = ["ss", "-H", "-l", "-n", "-t", "-u", "-p"]
SECONDS = 60
HIDDEN = "hidden"
"""The owner of a socket whose process may not be looked into here."""
DHCP_CLIENTS = frozenset({"dhclient", "dhcpcd", "systemd-network", "NetworkManager"})
DHCP_PORTS = frozenset({68, 546})
"""A host that has its address by DHCP listens there; the firewall lets it, by firewall_dhcp_client."""
OWNER = re.compile(r'\("([^"]+)",pid=(\d+)')


def read(line: str) -> tuple[Listener, str]:
    """A socket as ss lists it, and the number of its process; no number where the owner is hidden."""
    fields = line.split(None, 6)
    address, port = fields[4].rsplit(":", 1)
    owner = OWNER.search(line)
    place = address.strip("[]").split("%")[0]
    return (fields[0], place, int(port), owner[1] if owner else HIDDEN), owner[2] if owner else ""


def listening() -> list[Listener]:
    """Every listening TCP socket and every bound UDP socket. Raises OSError or subprocess.SubprocessError."""
    listed = subprocess.run(COMMAND, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
    return sorted({read(line)[0] for line in listed.splitlines()})


def hidden_programs() -> frozenset[str]:
    """The names of the programs whose descriptors root may not list here."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            (process / "exe").readlink()
        except PermissionError:
            with contextlib.suppress(OSError):  # it may end between the two
                found.add((process / "comm").read_text(errors="replace").strip())
        except OSError:
            continue
    return frozenset(found)


def is_dhcp_client(listener: Listener) -> bool:
    """Whether a socket is that of the host's DHCP client."""
    proto, _address, port, owner = listener
    return proto == "udp" and port in DHCP_PORTS and owner in DHCP_CLIENTS


def covers(declaration: Mapping[str, Any], listener: Listener, hidden: Collection[str]) -> bool:
    """Whether a declaration covers a socket."""
    proto, address, port, owner = listener
    return (
        declaration["proto"] == proto
        and (declaration.get("port") is None or int(declaration["port"]) == port)
        and (declaration["owner"] == owner or (owner == HIDDEN and declaration["owner"] in hidden))
        and declaration.get("address", address) == address
    )


def show(declaration: Mapping[str, Any]) -> str:
    """A declaration as one line."""
    return f"{declaration['proto']} {declaration.get('address', '*')} {declaration['port']} {declaration['owner']}"


def compare(declared: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What listens, what of it nobody declared, and what is declared and not there, a line each."""
    found, hidden = listening(), hidden_programs()
    return {
        "sockets": [" ".join(map(str, item)) for item in found],
        "undeclared": [
            " ".join(map(str, item))
            for item in found
            if not is_dhcp_client(item) and not any(covers(one, item, hidden) for one in declared)
        ],
        "missing": [
            show(one)
            for one in declared
            if one.get("port") is not None and not any(covers(one, item, hidden) for item in found)
        ],
    }
