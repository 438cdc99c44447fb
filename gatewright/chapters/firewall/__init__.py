"""The firewall: what is let in and out, in numbers and networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.firewall.reach import check_administrators, is_everybody
from gatewright.chapters.firewall.ruleset import inbound_rule, openings, rates, way_out
from gatewright.inventory import Site
from gatewright.problems import Problems


def check(site: Site, problems: Problems) -> None:
    """The site's own entries; those of roles are known to be right."""
    check_administrators(site, problems)
    limits = site.value("firewall_rates")
    rates(problems, limits)
    known = limits if isinstance(limits, dict) else {}
    for role, rate in rates_of_roles(site):
        if rate not in known:
            problems.add("firewall_rates", f"lacks {rate}, by which role {role} limits who comes to its port")
    for variable in ("firewall_inbound", "firewall_outbound"):
        for entry in openings(variable, site.host.values.get(variable)):
            if isinstance(entry.value, Mapping) and entry.value.get("networks") == []:
                problems.add(entry.where, "networks is empty; leave the line away if everybody is meant")
    for entry in openings("firewall_inbound", site.host.values.get("firewall_inbound")):
        problems.collect(partial(inbound_rule, entry.where, entry.value, (), known))
    for entry in openings("firewall_outbound", site.host.values.get("firewall_outbound")):
        problems.collect(partial(way_out, entry.where, entry.value))


def remark(site: Site, remarks: Problems) -> None:
    """Limits that nobody meets."""
    if is_everybody(site.value("firewall_exempt_networks")):
        remarks.add("firewall_exempt_networks", "is everybody: firewall_rates limit nobody")


def rates_of_roles(site: Site) -> Iterator[tuple[str, str]]:
    """The limits that roles' openings name, each with the role."""
    for role in site.roles.values():
        published = role.defaults.get(f"{role.name}__firewall")
        inbound = published.get("inbound") if isinstance(published, Mapping) else ()
        for entry in inbound if isinstance(inbound, list) else ():
            if isinstance(entry, Mapping) and "rate" in entry:
                yield role.name, str(entry["rate"])


_table = kinds.matching(
    r"(ip|ip6|inet|arp|bridge|netdev) [A-Za-z_][A-Za-z0-9_/.\\-]*", "a family and a name, such as ip filter"
)

CHAPTER = Chapter(
    options={
        "firewall_inbound": kinds.checked_elsewhere,
        "firewall_outbound": kinds.checked_elsewhere,
        "firewall_rates": kinds.mapped(kinds.line(), kinds.checked_elsewhere),
        "firewall_accepted_tables": kinds.listed(_table),
        "firewall_admin_networks": kinds.cidr_networks,
        "firewall_exempt_networks": kinds.networks,
        "firewall_package_ports": kinds.listed(kinds.ports, empty=False),
        "firewall_package_networks": kinds.networks,
        "firewall_time_networks": kinds.networks,
        "firewall_bootstrap_minutes": kinds.number(1, 1440, "minutes"),
        "firewall_log_per_minute": kinds.number(1, 10_000, "packets"),
        "firewall_ssh_port_in_use": kinds.number(0, 65535, "a port, or 0"),
        "firewall_window": kinds.number(10, 3600, "seconds"),
    },
    check=check,
    remark=remark,
)
