"""Plain data -> entries of file_set and small files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def as_links(names: Iterable[str], directory: str, target: str) -> dict[str, dict[str, str]]:
    """Return entries that make DIRECTORY/NAME a link to TARGET/NAME, for every name."""
    return {f"{directory}/{name}": {"state": "link", "target": f"{target}/{name}"} for name in names}


def zone_server_files(zones: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return dnscache's root/servers/ZONE files: the addresses of a zone's own servers, one a line."""
    return {f"root/servers/{zone}": "".join(f"{address}\n" for address in servers) for zone, servers in zones.items()}


def sysusers(users: Iterable[Mapping[str, Any]], groups: Iterable[Mapping[str, Any]]) -> str:
    """Return a sysusers.d file that makes groups (name, gid) and users (name, uid, gid, home) with fixed numbers.

    Raises AnsibleFilterError when a number or a name is given twice with different meanings.
    """
    owners: dict[tuple[str, int], str] = {}
    lines = ["# Managed by Gatewright: change the inventory, not this file."]
    for kind, key, items in (("group", "gid", groups), ("user", "uid", users)):
        for item in items:
            holder = owners.setdefault((kind, int(item[key])), item["name"])
            if holder != item["name"]:
                raise AnsibleFilterError(f"{kind} {item['name']}: {key} {item[key]} is {holder}'s already")
    lines += [f"g {group['name']} {group['gid']}" for group in groups]
    lines += [f'u {user["name"]} {user["uid"]}:{user["gid"]} "Gatewright" {user["home"]}' for user in users]
    return "\n".join(lines) + "\n"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"as_links": as_links, "sysusers": sysusers, "zone_server_files": zone_server_files}
