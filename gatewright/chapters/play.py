"""What an inventory says to the plays themselves: gatewright_serial, how many gateways are changed at once."""

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


def check(site: Site, problems: Problems) -> None:
    """A run has one order of batches: every gateway must say the same."""
    if "gatewright_serial" not in site.host.values:
        return
    value = site.host.values["gatewright_serial"]
    several = kinds.listed(_batch, empty=False, unique=False)
    (several if isinstance(value, list) else _batch)(problems, "gatewright_serial", value)
    for other in site.others:
        if other.values.get("gatewright_serial") != value:
            problems.add("gatewright_serial", f"must be the same for all gateways; {other.name} has another")


PLAY = Role(
    "gatewright",
    {"gatewright_serial": {"type": "raw", "description": "How many gateways site.yml changes at once."}},
    {"gatewright_serial": ["100%"]},
    Chapter(check=check),
)
