"""The engine uvscan: the licensed archive, and where its signatures come from."""

from __future__ import annotations

import re
from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.firewall.reach import check_url
from gatewright.controller import check_source
from gatewright.inventory import Site
from gatewright.problems import Problems

_WAYS = (("uvscan_update_ports", "uvscan_update_networks"), ("firewall_package_ports", "firewall_package_networks"))
"""By which root fetches."""


def check(site: Site, problems: Problems) -> None:
    """Who switches it on must say where the program is, and which one."""
    if site.value("uvscan_enabled") is not True:
        return
    archive = str(site.value("uvscan_archive"))
    if not archive:
        problems.add("uvscan_archive", "is needed with uvscan_enabled: the licensed program's archive")
    # a gateway that pulls may have it installed already, and need no archive of its own
    elif not archive.startswith(("http://", "https://")) and site.value("pull_enabled") is not True:
        check_source(site, problems, "uvscan_archive")
    for variable in ("uvscan_archive", "uvscan_updates"):
        check_url(site, problems, variable, site.value(variable), "root", *_WAYS)
    if not site.value("uvscan_sha256"):
        problems.add("uvscan_sha256", "is needed with uvscan_enabled: the archive's SHA-256")


@kinds.plain
def _updates(value: Any) -> str:
    """A URL of a folder, a folder of the gateway, or nothing."""
    if re.search(r"['\\]", str(value)):
        return f"has a quotation mark or a backslash, which a shell would read: {value!r}"
    found = Problems()
    kind = kinds.path(empty=True, folder=True) if not str(value).startswith("http") else kinds.url()
    kind(found, "x", value)
    if found.found:
        return "must be a URL that ends in a slash, the absolute path of a folder on the gateway, or empty"
    wrong = str(value).startswith("http") and not str(value).endswith("/")
    return f"must end in a slash, as it is a folder's address, not {value!r}" if wrong else ""


def _list(problems: Problems, where: str, value: Any) -> None:
    """The name of a file, in which a shell finds nothing to read."""
    kinds.file_name(problems, where, value)
    if isinstance(value, str) and re.search(r"['\\]", value):
        problems.add(where, f"has a quotation mark or a backslash, which a shell would read: {value!r}")


CHAPTER = Chapter(
    options={
        "uvscan_archive": kinds.controller_path(empty=True),
        "uvscan_sha256": kinds.sha256,
        "uvscan_updates": _updates,
        "uvscan_update_list": _list,
        "uvscan_update_schedule": kinds.schedule,
        "uvscan_update_ports": kinds.listed(kinds.ports, empty=False),
        "uvscan_update_networks": kinds.networks,
        "uvscan_timeout": kinds.number(1, 3600, "seconds"),
        "uvscan_max_signature_days": kinds.number(0, 3650, "days"),
    },
    check=check,
)
