"""Where mail goes: smtproutes, rcpthosts and what goes with them; routing.py reads and makes them."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.smtproutes.routing import (
    BAD_SENDERS,
    DATABYTES,
    DEFAULT,
    EXTRA,
    ROUTES,
    TLS,
    Routing,
    find_loops,
    read_routing,
    refuse_tls,
)
from gatewright.inventory import Host, Site
from gatewright.problems import InventoryError, Problems

LEAST_DATABYTES = 65_536
"""RFC 5321, 4.5.3.1.7: a server takes messages of 64 kB."""
_NO_LIMIT = "0 is no limit, and one message could take the host's memory"


def routing_of(site: Site) -> Routing:
    """The routing of a host. Raises InventoryError."""
    return read_routing(
        site.value(ROUTES),
        site.value(DEFAULT),
        site.value(EXTRA),
        site.value(BAD_SENDERS),
        site.value(DATABYTES),
        own_names=site.host.names | site.host.addresses,
        tls=site.value(TLS),
    )


def check(site: Site, problems: Problems) -> None:
    """Routes are right, get the TLS that they ask for, and lead round nowhere."""
    routing = problems.collect(lambda: routing_of(site))
    if routing:
        if routing.databytes < LEAST_DATABYTES:
            problems.add(DATABYTES, f"must be {LEAST_DATABYTES} at least, not {routing.databytes}: {_NO_LIMIT}")
        for route in routing.routes:
            if route.domain == str(site.value("qmail_me") or "").lower():
                problems.add(
                    route.where, "is the gateway's own name (qmail_me), whose mail goes to its aliases and nowhere else"
                )
        if site.value("gatepost_enabled") is False:
            problems.found += refuse_tls(routing, "gatepost_enabled is false").found
        problems.found += _loops(site, routing)


def remark(site: Site, remarks: Problems) -> None:
    """Senders that are the site's own people."""
    try:
        routing = routing_of(site)
    except InventoryError:
        return
    own = {route.domain for route in routing.routes}
    for sender in routing.bad_senders if site.value("tcp_smtp_relay_clients") else ():
        if sender.startswith("@") and sender[1:] in own:
            remarks.add(BAD_SENDERS, f"{sender} is a domain of yours: what relay clients send from it is refused, too")


def _loops(site: Site, own: Routing) -> list[str]:
    """Routes that lead round among the gateways; one whose own routing is wrong is named with its own problems."""
    routings = {site.host.name: own}
    for gateway in site.others:
        found = _routing_or_nothing(site, gateway)
        if found:
            routings[gateway.name] = found
    return find_loops(
        site.host.name, routings, {name: host.names | host.addresses for name, host in site.gateways.items()}
    )


def _routing_or_nothing(site: Site, gateway: Host) -> Routing | None:
    try:
        return routing_of(site.of(gateway))
    except InventoryError:
        return None


CHAPTER = Chapter(
    options={"smtproutes_tls_ca": kinds.path(empty=True)},
    check=check,
    remark=remark,
    parsed=frozenset({ROUTES, DEFAULT, EXTRA, BAD_SENDERS, DATABYTES, TLS}),
)
