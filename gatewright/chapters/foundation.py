"""Users and packages of all roles, and the note of which release was here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gatewright import MANAGED, PROJECT, kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import InventoryError, Problems


def check(site: Site, problems: Problems) -> None:
    """No two users of services may have one number, and no two groups."""
    named = [(name, site.value(name)) for role in site.roles.values() for name in role.options if name.endswith("_uid")]
    holders: dict[str, str] = {}
    for name, number in named:
        holder = holders.setdefault(str(number), name)
        if number is not None and holder != name:
            problems.add(name, f"{number} is {holder}'s already")


CHAPTER = Chapter(options={"foundation_extra_packages": kinds.listed(kinds.package)}, check=check)


def sysusers(users: Iterable[Mapping[str, Any]], groups: Iterable[Mapping[str, Any]]) -> str:
    """Return a sysusers.d file that makes groups (name, gid) and users (name, uid, gid, home) with fixed numbers.

    Raises InventoryError when a number or a name is given twice with different meanings.
    """
    owners: dict[tuple[str, int], str] = {}
    lines = [f"# {MANAGED}"]
    for kind, key, items in (("group", "gid", groups), ("user", "uid", users)):
        for item in items:
            holder = owners.setdefault((kind, int(item[key])), item["name"])
            if holder != item["name"]:
                raise InventoryError([f"{kind} {item['name']}: {key} {item[key]} is {holder}'s already"])
    lines += [f"g {group['name']} {group['gid']}" for group in groups]
    lines += [f'u {user["name"]} {user["uid"]}:{user["gid"]} "Gatewright" {user["home"]}' for user in users]
    return "\n".join(lines) + "\n"


def release_note(migrations: Mapping[str, str]) -> dict[str, Any]:
    """Return what a host is to know of this release: its number, and what an older one loses by each migration."""
    return {"release": (PROJECT / "VERSION").read_text(encoding="utf-8").strip(), "migrations": dict(migrations)}
