"""Users and packages of all roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.problems import InventoryError

CHAPTER = Chapter(options={"foundation_extra_packages": kinds.listed(kinds.package)})


def sysusers(users: Iterable[Mapping[str, Any]], groups: Iterable[Mapping[str, Any]]) -> str:
    """Return a sysusers.d file that makes groups (name, gid) and users (name, uid, gid, home) with fixed numbers.

    Raises InventoryError when a number or a name is given twice with different meanings.
    """
    owners: dict[tuple[str, int], str] = {}
    lines = ["# Managed by Gatewright: change the inventory, not this file."]
    for kind, key, items in (("group", "gid", groups), ("user", "uid", users)):
        for item in items:
            holder = owners.setdefault((kind, int(item[key])), item["name"])
            if holder != item["name"]:
                raise InventoryError([f"{kind} {item['name']}: {key} {item[key]} is {holder}'s already"])
    lines += [f"g {group['name']} {group['gid']}" for group in groups]
    lines += [f'u {user["name"]} {user["uid"]}:{user["gid"]} "Gatewright" {user["home"]}' for user in users]
    return "\n".join(lines) + "\n"
