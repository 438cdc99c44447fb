"""The engine ClamAV: where its signatures come from, and what it may cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.firewall.reach import check_url
from gatewright.chapters.foundation import check_socket_group
from gatewright.chapters.tcp_smtp.environments import environments
from gatewright.controller import check_source
from gatewright.inventory import Site
from gatewright.problems import Problems

# freshclam loads a file by its suffix, so another one would never be used.
_SIGNATURES = kinds.matching(
    r"[A-Za-z0-9_.-]+\.(hdb|hsb|hdu|hsu|mdb|msb|mdu|msu|ndb|ndu|ldb|ldu|idb|cdb|cfg|crb|db|fp|sfp|ftm|gdb|ign|ign2|pdb|wdb|yar|yara|cvd|cld|cud|pwdb)",
    "the name of a file with one of ClamAV's suffixes, such as site.ndb",
)

_LEAST_MEMORY = 100 * 2**20
"""Bytes that clamd takes with few signatures; the official ones take over ten times as much."""


def check(site: Site, problems: Problems) -> None:
    """Who fetches signatures from a place of the site's must say which; and no message is too large for it."""
    check_socket_group(site, problems, "clamav")
    if site.value("clamav_enabled") is not True:
        return
    source = site.value("clamav_updates")
    needed = {"mirror": "clamav_mirror", "custom": "clamav_custom_signatures"}.get(str(source))
    if needed and not site.value(needed):
        problems.add(needed, f"must say where the signatures are, as clamav_updates is {source!r}")
    check_source(site, problems, "clamav_signatures_folder", is_folder=True)
    custom = [] if source == "none" else list(site.texts("clamav_custom_signatures"))
    for place, address in [("clamav_mirror", site.value("clamav_mirror"))] * (source == "mirror") + custom:
        check_url(site, problems, place, address, "clamav", ("clamav_update_ports", "clamav_update_networks"))
    most = site.value("clamav_max_bytes")
    for place, size in _accepted(site) if isinstance(most, int) else ():
        if size > most:
            problems.add(
                "clamav_max_bytes",
                f"must be {size} at least, as much as {place} accepts: a larger message would get 4xx for ever",
            )


def remark(site: Site, remarks: Problems) -> None:
    """A mirror that nobody asks."""
    source = site.value("clamav_updates")
    if site.value("clamav_enabled") is True and site.value("clamav_mirror") and source != "mirror":
        remarks.add("clamav_mirror", f"nobody asks it, as clamav_updates is {source}")


def _accepted(site: Site) -> Iterator[tuple[str, int]]:
    """How large a message may be, and what says so: for all, and for clients with a size of their own."""
    yield from _size("smtproutes_databytes", site.value("smtproutes_databytes"))
    for name, env in environments(site):
        yield from _size(f"{name}'s DATABYTES", env.get("DATABYTES"))


def _size(place: str, value: Any) -> Iterator[tuple[str, int]]:
    """A number of bytes with its place, unless it is none, which is told elsewhere."""
    if not isinstance(value, bool) and str(value).isdecimal():
        yield place, int(value)


@kinds.plain
def _memory(value: Any) -> str:
    """What systemd may limit memory to, and clamd can start with."""
    whole = re.fullmatch(r"([0-9]{1,12})([KMGT]?)|([1-9]|[1-9][0-9]|100)%|infinity", str(value))
    if not whole:
        return f"must be a size as systemd has it, such as 500M or 3G, a share such as 50%, or infinity, not {value!r}"
    if whole[1] and int(whole[1]) * 1024 ** " KMGT".index(whole[2] or " ") < _LEAST_MEMORY:
        return f"must be 100M at least, not {value!r}: clamd would not start"
    return ""


CHAPTER = Chapter(
    options={
        "clamav_mirror": kinds.url(empty=True),
        "clamav_custom_signatures": kinds.listed(kinds.url("http", "https", "file")),
        "clamav_update_ports": kinds.listed(kinds.ports, empty=False),
        "clamav_update_networks": kinds.networks,
        "clamav_checks_per_day": kinds.number(1, 50, "looks a day"),
        "clamav_signatures_folder": kinds.controller_path(empty=True),
        "clamav_own_signatures": kinds.mapped(_SIGNATURES, kinds.text),
        "clamav_max_bytes": kinds.number(1_000_000, 4_000_000_000, "bytes"),
        "clamav_threads": kinds.number(1, 256, "threads"),
        "clamav_memory_max": _memory,
        "clamav_timeout": kinds.number(1, 3600, "seconds"),
        "clamav_max_signature_days": kinds.number(0, 3650, "days"),
        "clamav_uid": kinds.account_id,
        "clamav_socket_group": kinds.account,
    },
    check=check,
    remark=remark,
)
