"""What an inventory says to the plays themselves: how many gateways are changed at once, and where each is."""

from __future__ import annotations

import re
from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Role, Site
from gatewright.problems import Problems


@kinds.plain
def _batch(value: Any) -> str:
    """A number of gateways, or a share of them."""
    right = not isinstance(value, bool) and re.fullmatch(r"[1-9]\d{0,3}|([1-9]\d?|100)%", str(value))
    return "" if right else f"must be a number of gateways or a share such as 50%, not {value!r}"


@kinds.plain
def _ssh_host(value: Any) -> str:
    """A name or an address as ssh takes it; the name may be one of the administrator's ssh_config."""
    if isinstance(value, str) and re.fullmatch(r"[^:]+:\d+", value):
        return f"must be a host name or an address, not {value!r}; give the port as ansible_port"
    right = isinstance(value, str) and re.fullmatch(r"[^\s/@\[\]-][^\s/@\[\]]*", value) and value.isprintable()
    return "" if right else f"must be a host name or an address alone, not {value!r}"


@kinds.plain
def _ssh_port(value: Any) -> str:
    """A port, which may be text: ansible makes a number of it."""
    right = not isinstance(value, bool) and re.fullmatch(r"\d{1,5}", str(value)) and 1 <= int(value) <= 65535
    return "" if right else f"must be a port from 1 to 65535, not {value!r}"


def check(site: Site, problems: Problems) -> None:
    """What every run needs."""
    for name, kind in (("ansible_host", _ssh_host), ("ansible_port", _ssh_port)):
        if name in site.host.values:
            kind(problems, name, site.host.values[name])
    _check_batches(site, problems)


def _check_batches(site: Site, problems: Problems) -> None:
    """A run has one order of batches: every gateway must say the same."""
    if "gatewright_serial" not in site.host.values:
        return
    value = site.host.values["gatewright_serial"]
    several = kinds.listed(_batch, empty=False, unique=False)
    (several if isinstance(value, list) else _batch)(problems, "gatewright_serial", value)
    others = [other.name for other in site.others if other.values.get("gatewright_serial") != value]
    if others:
        more = f" and {len(others) - 1} more have" if len(others) > 1 else " has"
        problems.add("gatewright_serial", f"must be the same for all gateways; {others[0]}{more} another")


PLAY = Role(
    "gatewright",
    {"gatewright_serial": {"type": "raw", "description": "How many gateways site.yml changes at once."}},
    {"gatewright_serial": ["100%"]},
    Chapter(check=check),
)
