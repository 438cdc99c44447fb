"""Users and packages of all roles, and the note of which release was here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatewright import MANAGED, PROJECT, kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import InventoryError, Problems
from gatewright.published import published

_MAIL_SERVER = re.compile(
    r"citadel-server|courier-mta|dma|esmtp-run|exim4(-base|-daemon-.+)?|(default|lsb-invalid|msmtp)-mta|masqmail"
    r"|mail-transport-agent|nullmailer|opensmtpd|postfix|(net|not)?qmail|qmail-run|sendmail(-bin)?|ssmtp|xmail"
)
"""Debian's other mail transfer agents, which cannot be installed beside a gateway's qmail."""
_ID = {"users": "uid", "groups": "gid"}

_EVERYBODY = frozenset({
    "root", "daemon", "bin", "sys", "man", "lp", "mail", "news", "uucp", "proxy", "www-data", "backup", "list", "irc",
})  # names, many a line # fmt: skip
_GROUPS = frozenset({
    "adm", "tty", "disk", "fax", "voice", "cdrom", "floppy", "tape", "sudo", "audio", "dip", "operator", "src",
    "shadow", "utmp", "video", "sasl", "plugdev", "staff", "games", "users", "nogroup", "systemd-journal",
    "systemd-network", "input", "kvm", "render", "messagebus", "crontab",
})  # names, many a line # fmt: skip
BASE: Mapping[str, frozenset[str]] = {
    "users": _EVERYBODY | {"sync", "games", "nobody", "_apt", "systemd-network", "messagebus", "sshd"},
    "groups": _EVERYBODY | _GROUPS,
}
"""The accounts of every Debian host."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user or group with its number. place: what messages name; variable: where the number stands, if it is known."""

    name: str
    number: Any
    place: str
    variable: str = ""


def check(site: Site, problems: Problems) -> None:
    """No two users may have one number, and no two groups; and there is one mail server."""
    for kind in _ID:
        _check_numbers(site, problems, list(accounts(site, kind)))
    for place, name in site.texts("foundation_extra_packages"):
        if _MAIL_SERVER.fullmatch(name):
            problems.add(place, "is another mail server, which takes the place of this gateway's")


def accounts(site: Site, kind: str) -> Iterator[Account]:
    """The accounts of all roles: by the variables of their numbers, else as they are published."""
    variables = {(role, entry.get("name", "")): entry["variable"] for role, entry in _numbers(site)}
    known = set()
    for _role, entry in _numbers(site):
        if entry.get("of") != kind:
            continue
        variable, value = entry["variable"], site.value(entry["variable"])
        for name, number in value.items() if isinstance(value, Mapping) else [(entry.get("name", ""), value)]:
            known.add(name)
            yield Account(name, number, f"{variable}.{name}" if isinstance(value, Mapping) else variable, variable)
    for role, entry in published(site, kind):
        name, number = (entry.get("name"), entry.get(_ID[kind])) if isinstance(entry, Mapping) else (None, None)
        if name and name not in known:
            variable = variables.get((role, name), "")  # of a group whose number is its user's
            is_there = variable and site.value(variable) == number
            yield Account(name, number, variable if is_there else f"{role}__{kind} ({name})", variable)
    for silent in site.roles.values():
        if any(f"{silent.name}__{said}" in silent.defaults for said in ("numbers", kind)):
            continue
        for option in silent.options:
            if option.endswith(f"_{_ID[kind]}"):
                yield Account(option, site.value(option), option, option)


def check_socket_group(site: Site, problems: Problems, engine: str) -> None:
    """Who may ask an engine that is on is a group that a role makes: the scanner's, or one that it is in."""
    variable = f"{engine}_socket_group"
    name = site.value(variable)
    if site.value(f"{engine}_enabled") is not True or not isinstance(name, str):
        return
    if name not in {group.name for group in accounts(site, "groups")}:
        problems.add(variable, f"{name!r} is no group that a role makes, so the scanner could not ask the engine")


def _numbers(site: Site) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What roles say of the variables that hold numbers."""
    for role, entry in published(site, "numbers"):
        if isinstance(entry, Mapping) and isinstance(entry.get("variable"), str):
            yield role, entry


def _check_numbers(site: Site, problems: Problems, numbered: list[Account]) -> None:
    """The inventory's own numbers last, so that they are told and not the defaults that they meet."""
    holders: dict[str, Account] = {}
    for account in sorted(numbered, key=lambda account: account.variable in site.host.values):
        if account.number is None:
            continue
        holder = holders.setdefault(str(account.number), account)
        # a mapping's own numbers are looked at where its names are known
        if holder.name != account.name and (holder.variable != account.variable or not account.variable):
            problems.add(account.place, f"{account.number} is {holder.place}'s already ({holder.name})")


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
