"""Plain data -> entries of file_set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def as_links(names: Iterable[str], directory: str, target: str) -> dict[str, dict[str, str]]:
    """Return entries that make DIRECTORY/NAME a link to TARGET/NAME, for every name."""
    return {f"{directory}/{name}": {"state": "link", "target": f"{target}/{name}"} for name in names}


def zone_server_files(zones: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return dnscache's root/servers/ZONE files: the addresses of the servers that a zone has of its own, one a line."""
    return {f"root/servers/{zone}": "".join(f"{address}\n" for address in servers) for zone, servers in zones.items()}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {"as_links": as_links, "zone_server_files": zone_server_files}
