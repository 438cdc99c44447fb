"""What a gateway does without, and what may listen on it."""

from __future__ import annotations

from collections.abc import Iterator

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems, entry_name
from gatewright.published import published

SOCKET = kinds.record(
    {
        "proto": kinds.choice("tcp", "udp"),
        "port": kinds.port,
        "owner": kinds.matching(r"[!-~]([ -~]{0,30}[!-~])?", "the name of a program"),
        "address": kinds.address,
    },
    needed=["proto", "port", "owner"],
)
"""A socket that may be there: the inventory's or a role's."""
_UNITS = ("service_trimming_units", "service_trimming_mta_units", "service_trimming_extra_units")


def check(site: Site, problems: Problems) -> None:
    """A gateway does not go without what its roles need: nobody could log in any more, or no mail would go."""
    needed = {str(unit): role for role, unit in published(site, "units")}
    for variable in _UNITS:
        for place, name in _texts(site, variable):
            role = needed.get(name) or needed.get(name.partition("@")[0])
            if role:
                problems.add(place, f"role {role} needs this unit running: it cannot be trimmed")


def _texts(site: Site, variable: str) -> Iterator[tuple[str, str]]:
    """The texts of a list, each with its place; what else is in it its kind refuses."""
    value = site.value(variable)
    for index, item in enumerate(value if isinstance(value, list | tuple) else ()):
        if isinstance(item, str):
            yield entry_name(variable, index, item), item


CHAPTER = Chapter(
    options={
        "service_trimming_units": kinds.listed(kinds.unit),
        "service_trimming_mta_units": kinds.listed(kinds.unit),
        "service_trimming_extra_units": kinds.listed(kinds.unit),
        "service_trimming_purged_packages": kinds.listed(kinds.package),
        "service_trimming_allowed_sockets": kinds.listed(SOCKET),
    },
    check=check,
)
