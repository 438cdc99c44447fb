"""The gateway's own resolver: whom it asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems, entry_name

_servers = kinds.listed(kinds.server_address, empty=False)


def check(site: Site, problems: Problems) -> None:
    """The cache must fit into the memory that dnscache gets."""
    cache, limit = site.value("dnscache_cache_size"), site.value("dnscache_data_limit")
    if isinstance(cache, int) and isinstance(limit, int) and cache + 2_000_000 > limit:
        problems.add("dnscache_data_limit", f"must be at least 2000000 more than dnscache_cache_size ({cache})")

    _check_forwarding(site, problems)
    zones = site.value("dnscache_zone_servers")
    asked = [("dnscache_root_servers", site.value("dnscache_root_servers"))]
    asked += (
        [(f"dnscache_zone_servers.{zone}", found) for zone, found in zones.items()] if isinstance(zones, dict) else []
    )
    for variable, servers in asked:
        for index, server in enumerate(servers if isinstance(servers, list | tuple) else ()):
            if str(server) in site.host.names | site.host.addresses:
                problems.add(entry_name(variable, index, server), "is this gateway itself, which would ask itself")


def _check_forwarding(site: Site, problems: Problems) -> None:
    """Who is asked as a resolver is one: the servers of the root answer for nobody else."""
    servers = site.value("dnscache_root_servers")
    role = site.roles.get("dnscache")
    root = role.defaults.get("dnscache_root_servers", ()) if role else ()
    if site.value("dnscache_forward_only") is True and isinstance(servers, list | tuple):
        for index, server in enumerate(servers):
            if server in root:
                place = entry_name("dnscache_root_servers", index, server)
                problems.add(
                    place, "is a server of the root, and no resolver, which dnscache_forward_only: true asks for"
                )
                return


CHAPTER = Chapter(
    options={
        "dnscache_root_servers": _servers,
        "dnscache_zone_servers": kinds.mapped(kinds.dns_name, _servers, same=kinds.as_domain),
        "dnscache_cache_size": kinds.number(100_000, 2_000_000_000, "bytes"),
        "dnscache_data_limit": kinds.number(1_000_000, 4_000_000_000, "bytes"),
        "dnscache_uid": kinds.account_id,
        "dnscache_log_uid": kinds.account_id,
        "dnscache_gid": kinds.account_id,
        "dnscache_search_domains": kinds.listed(kinds.dns_name),
    },
    check=check,
)


def zone_server_files(zones: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return dnscache's root/servers/ZONE files: the addresses of a zone's own servers, one a line."""
    return {f"root/servers/{zone}": "".join(f"{address}\n" for address in servers) for zone, servers in zones.items()}
