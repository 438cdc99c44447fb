"""Whether the firewall lets gateways reach what the inventory names, and administrators reach the gateway."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gatewright.addresses import Address, Network, parse_network
from gatewright.chapters.firewall.ruleset import as_list
from gatewright.inventory import Site
from gatewright.problems import Problems

_USUAL = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Way:
    """A way out: ports and networks (none: everywhere)."""

    ports: Any
    networks: Any

    def lets(self, address: Address | None, port: int) -> bool:
        """Whether it leads to a port of an address; of a name (none) the address is not known, and not looked at."""
        networks = networks_of(self.networks)
        is_there = address is None or not networks or any(address in network for network in networks)
        return is_there and any(_has(ports, port) for ports in as_list(self.ports))


def check_url(site: Site, problems: Problems, place: str, url: Any, user: str, *variables: tuple[str, str]) -> None:
    """A server that gateways fetch from by http is one that the firewall lets this user reach.

    variables: pairs of the names of those that hold ports and networks. What is no URL is told elsewhere.
    """
    try:
        parts = urlsplit(str(url))
        port = parts.port or _USUAL.get(parts.scheme)
    except ValueError:
        return
    if port and parts.hostname and parts.scheme in _USUAL:
        ways = [Way(site.value(ports), site.value(networks)) for ports, networks in variables]
        told = f"{variables[0][0]} and {variables[0][1]} must let it through"
        check_server(site, problems, place, parts.hostname, port, user, ways, told)


def check_server(
    site: Site, problems: Problems, place: str, host: str, port: int, user: str, ways: Iterable[Way], told: str
) -> None:
    """A server is one that the firewall lets a user reach. told: what is to be done otherwise."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address and address.is_loopback:
        return
    if not any(way.lets(address, port) for way in (*ways, *_of_site(site, user))):
        problems.add(place, f"the firewall lets nobody reach {host}, port {port}: {told}")


def _of_site(site: Site, user: str) -> Iterator[Way]:
    """The ways out that the site itself opens for a user."""
    for entry in as_list(site.value("firewall_outbound")):
        if isinstance(entry, Mapping) and user in map(str, as_list(entry.get("user"))):
            yield Way([*as_list(entry.get("port")), *as_list(entry.get("ports"))], entry.get("networks"))


def networks_of(values: Any) -> list[Network]:
    """The networks of a list, as far as they are any."""
    found = []
    for value in as_list(values):
        try:
            found.append(parse_network(value))
        except ValueError:
            continue  # its kind tells it
    return found


def is_everybody(values: Any) -> bool:
    """Whether networks leave nobody out of a family, in one piece or in several."""
    found = networks_of(values)
    four = ipaddress.collapse_addresses(item for item in found if isinstance(item, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(item for item in found if isinstance(item, ipaddress.IPv6Network))
    return any(network.prefixlen == 0 for network in four) or any(network.prefixlen == 0 for network in six)


def check_administrators(site: Site, problems: Problems) -> None:
    """Those who come from the networks of administrators can come by the gateway's address."""
    found = networks_of(site.value("firewall_admin_networks"))
    if not found:
        return
    if all(network.is_loopback or network.is_multicast for network in found):
        problems.add("firewall_admin_networks", "has no network of another host: nobody could log in any more")
        return
    try:
        version = ipaddress.ip_address(str(site.host.values.get("ansible_host"))).version
    except ValueError:
        return
    if all(network.version != version for network in found):
        why = f"has no IPv{version} network, but the gateway is reached by IPv{version} (ansible_host)"
        problems.add("firewall_admin_networks", f"{why}: nobody could log in any more")


def _has(ports: Any, port: int) -> bool:
    """Whether a port is one, or in a range."""
    low, _dash, high = str(ports).partition("-")
    return low.isdecimal() and (high or low).isdecimal() and int(low) <= port <= int(high or low)
