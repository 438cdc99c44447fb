"""The engine uvscan: the licensed archive, and where its signatures come from."""

from __future__ import annotations

from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems


def check(site: Site, problems: Problems) -> None:
    """Who switches it on must say where the program is, and which one."""
    if site.value("uvscan_enabled") is True:
        if not site.value("uvscan_archive"):
            problems.add("uvscan_archive", "is needed with uvscan_enabled: the licensed program's archive")
        if not site.value("uvscan_sha256"):
            problems.add("uvscan_sha256", "is needed with uvscan_enabled: the archive's SHA-256")


@kinds.plain
def _updates(value: Any) -> str:
    """A URL of a folder, a folder of the gateway, or nothing."""
    found = Problems()
    kind = kinds.path(empty=True) if not str(value).startswith("http") else kinds.url()
    kind(found, "x", value)
    if found.found:
        return "must be a URL that ends in a slash, the absolute path of a folder on the gateway, or empty"
    wrong = str(value).startswith("http") and not str(value).endswith("/")
    return f"must end in a slash, as it is a folder's address, not {value!r}" if wrong else ""


CHAPTER = Chapter(
    options={
        "uvscan_archive": kinds.controller_path(empty=True),
        "uvscan_sha256": kinds.sha256,
        "uvscan_updates": _updates,
        "uvscan_update_list": kinds.file_name,
        "uvscan_update_schedule": kinds.schedule,
        "uvscan_update_ports": kinds.listed(kinds.ports, empty=False),
        "uvscan_update_networks": kinds.networks,
        "uvscan_timeout": kinds.number(1, 3600, "seconds"),
        "uvscan_max_signature_days": kinds.number(0, 3650, "days"),
    },
    check=check,
)
