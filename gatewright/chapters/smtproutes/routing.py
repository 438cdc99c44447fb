"""qmail's control files of routing from the inventory: smtproutes, tlsroutes, rcpthosts, badmailfrom and so on."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from gatewright.domains import is_loopback, parse_domain, parse_port, parse_relay_host, parse_sender, refuse_registry
from gatewright.problems import Problems, as_list, check_keys, entry_name, kind_of

ROUTES, DEFAULT, EXTRA, BAD_SENDERS, DATABYTES, TLS = (
    "smtproutes_routes",
    "smtproutes_default_route",
    "smtproutes_extra_rcpthosts",
    "smtproutes_badmailfrom",
    "smtproutes_databytes",
    "smtproutes_tls",
)
# qmail-smtpd reads rcpthosts whole for every session, so its manual keeps it at about this many; a cdb takes the rest.
MOST_RCPTHOSTS = 50
SMTP_PORT = 25
MOST_BYTES = 4_000_000_000
# What a route may say of TLS. `never` has no line in tlsroutes: its mail is qmail's own program's.
TLS_POLICIES = (NEVER, OPTIONAL, REQUIRED, VERIFIED) = ("never", "optional", "required", "verified")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Route:
    """Where mail for a domain goes. domain: empty for the default route."""

    domain: str
    host: str
    port: int
    subdomains: bool
    where: str
    tls: str = OPTIONAL

    @property
    def names(self) -> list[str]:
        """The names under which qmail must know the domain."""
        return [self.domain, f".{self.domain}"] if self.subdomains else [self.domain]

    @property
    def lines(self) -> list[str]:
        """The lines of smtproutes."""
        port = "" if self.port == SMTP_PORT else f":{self.port}"
        return [f"{name}:{self.host}{port}" for name in self.names]

    @property
    def tls_lines(self) -> list[str]:
        """The lines of tlsroutes."""
        return [] if self.tls == NEVER else [f"{name}:{self.tls}" for name in self.names]

    @property
    def insists_on_tls(self) -> bool:
        """Whether its mail may not go without TLS."""
        return self.tls in (REQUIRED, VERIFIED)


@dataclass(frozen=True, slots=True)
class Routing:
    """The whole of a gateway's routing, checked."""

    routes: tuple[Route, ...]
    default: Route | None
    rcpthosts: tuple[str, ...]
    bad_senders: tuple[str, ...]
    databytes: int

    @property
    def all_routes(self) -> tuple[Route, ...]:
        """The routes, the default one last."""
        return (*self.routes, self.default) if self.default else self.routes

    def route_for(self, domain: str) -> Route | None:
        """The route that qmail-remote takes for a domain: its own, else the nearest parent's, else the default."""
        exact = {route.domain: route for route in self.routes}
        if domain in exact:
            return exact[domain]
        labels = domain.split(".")
        for parent in (".".join(labels[index:]) for index in range(1, len(labels))):
            if parent in exact and exact[parent].subdomains:
                return exact[parent]
        return self.default


def read_routing(
    routes: object,
    default_route: object = None,
    extra_rcpthosts: object = None,
    badmailfrom: object = None,
    databytes: object = 0,
    own_names: Iterable[str] = (),
    tls: object = OPTIONAL,
) -> Routing:
    """Read the variables. own_names: the gateway's own names and addresses, to which no route may lead.

    tls: what holds for routes that do not say.

    Raises InventoryError with every problem.
    """
    problems = Problems()
    own = {name.lower().strip("[]") for name in own_names}
    usual = _read_policy(problems, TLS, tls) or OPTIONAL
    found = [
        _read_route(problems, entry_name(ROUTES, index, _shown(item)), item, own, usual)
        for index, item in enumerate(as_list(problems, ROUTES, routes))
    ]
    good = [route for route in found if route]
    _check_twice(problems, good)
    no_default = default_route is None or default_route == {}
    default = None if no_default else _read_route(problems, DEFAULT, default_route, own, usual, default=True)
    extra = _read_items(problems, EXTRA, extra_rcpthosts, _parse_rcpthost)
    senders = _read_items(problems, BAD_SENDERS, badmailfrom, parse_sender)
    if isinstance(databytes, bool) or not isinstance(databytes, int) or not 0 <= databytes <= MOST_BYTES:
        problems.add(DATABYTES, f"must be a number of bytes (0: no limit), not {databytes!r}")
        databytes = 0
    problems.raise_if_any()
    names = dict.fromkeys([name for route in good for name in route.names] + extra)
    return Routing(tuple(good), default, tuple(names), tuple(senders), databytes)


def smtproutes_control(
    routes: object,
    default_route: object = None,
    extra_rcpthosts: object = None,
    badmailfrom: object = None,
    databytes: object = 0,
    tls: object = OPTIONAL,
    authorities: str = "",
    speaks_tls: bool = True,
) -> dict[str, str]:
    """Qmail's control files, name to content. A file that would say nothing is left out, but for rcpthosts.

    Without rcpthosts qmail-smtpd takes mail for everyone, so it is always there, even empty. authorities: the file of
    those who vouch for servers. speaks_tls: whether there is a program that heeds tlsroutes; without it no route may
    insist on TLS. Raises InventoryError.
    """
    routing = read_routing(routes, default_route, extra_rcpthosts, badmailfrom, databytes, tls=tls)
    if not speaks_tls:
        refuse_tls(routing, "no program here speaks it").raise_if_any()
    files = {
        "smtproutes": [line for route in routing.all_routes for line in route.lines],
        "tlsroutes": [line for route in routing.all_routes for line in route.tls_lines] if speaks_tls else [],
        "tlsca": [authorities] if authorities and speaks_tls else [],
        "morercpthosts": list(routing.rcpthosts[MOST_RCPTHOSTS:]),
        "badmailfrom": list(routing.bad_senders),
        "databytes": [str(routing.databytes)] if routing.databytes else [],
    }
    control = {name: _text(lines) for name, lines in files.items() if lines}
    return {"rcpthosts": _text(routing.rcpthosts[:MOST_RCPTHOSTS]), **control}


def refuse_tls(routing: Routing, why: str) -> Problems:
    """What is wrong with a gateway's routes if TLS is not to be had, and why it is not."""
    problems = Problems()
    for route in routing.all_routes:
        if route.insists_on_tls:
            problems.add(route.where, f"tls is {route.tls}, but {why}")
    return problems


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _shown(item: object) -> object:
    return item.get("domain", item) if isinstance(item, dict) else item


def _read_policy(problems: Problems, where: str, value: object) -> str | None:
    if value in TLS_POLICIES:
        return str(value)
    problems.add(where, f"tls must be {', '.join(TLS_POLICIES[:-1])} or {TLS_POLICIES[-1]}, not {value!r}")
    return None


def _read_route(
    problems: Problems, where: str, item: object, own: set[str], tls: str, default: bool = False
) -> Route | None:
    needed = ("host",) if default else ("domain", "host")
    if not isinstance(item, dict):
        problems.add(where, f"must be a mapping with {' and '.join(needed)}, not {kind_of(item)}")
        return None
    check_keys(problems, where, item, {*needed, "port", "tls"} if default else {*needed, "port", "tls", "subdomains"})
    missing = [key for key in needed if item.get(key) is None]
    if missing:
        problems.add(where, f"needs {' and '.join(missing)}")
    subdomains = item.get("subdomains", False)
    if not isinstance(subdomains, bool):
        problems.add(where, f"subdomains must be true or false, not {subdomains!r}")
        return None
    parse = _parse_parent if subdomains else parse_domain
    domain = "" if default else _read_needed(problems, where, parse, item.get("domain"))
    host = _read_needed(problems, where, parse_relay_host, item.get("host"))
    port = _read(problems, where, parse_port, item.get("port", SMTP_PORT))
    policy = _read_policy(problems, where, item.get("tls", tls))
    if host and _is_own(host, own):
        problems.add(where, f"host {item['host']!r} is this gateway itself: mail would go round for ever")
    if domain is None or host is None or port is None or policy is None:
        return None
    return Route(domain, host, port, subdomains, where, policy)


def _read_needed(problems: Problems, where: str, parse: Callable[[object], T], value: object) -> T | None:
    """A value whose absence has been noted already."""
    return None if value is None else _read(problems, where, parse, value)


def _read(problems: Problems, where: str, parse: Callable[[object], T], value: object) -> T | None:
    try:
        return parse(value)
    except ValueError as error:
        problems.add(where, str(error))
        return None


def _is_own(host: str, own: set[str]) -> bool:
    text = host.strip("[]")
    if is_loopback(text) or text in own:
        return True
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _check_twice(problems: Problems, routes: list[Route]) -> None:
    first: dict[str, Route] = {}
    for route in routes:
        earlier = first.setdefault(route.domain, route)
        if earlier is not route:
            same = (earlier.host, earlier.port) == (route.host, route.port)
            problems.add(route.where, f"is a duplicate of {earlier.where}{'' if same else ', with another host'}")


def _parse_rcpthost(value: object) -> str:
    """A domain, or `.domain` for all below it, as rcpthosts takes it."""
    if isinstance(value, str) and value.startswith("."):
        return "." + _parse_parent(value[1:])
    return parse_domain(value)


def _parse_parent(value: object) -> str:
    """A domain below which all are one's own."""
    domain = parse_domain(value)
    refuse_registry(domain)
    return domain


def _read_items(problems: Problems, variable: str, value: object, parse: Callable[[object], str]) -> list[str]:
    found: dict[str, str] = {}
    for index, item in enumerate(as_list(problems, variable, value)):
        where = entry_name(variable, index, item)
        text = _read(problems, where, parse, item)
        if text is None:
            continue
        if text in found:
            problems.add(where, f"is a duplicate of {found[text]}")
        found.setdefault(text, where)
    return list(found)


def find_loops(start: str, routings: Mapping[str, Routing], names: Mapping[str, set[str]]) -> list[str]:
    """Routes of the gateway `start` that lead round among gateways, a sentence each.

    routings: by gateway. names: each gateway's own names and addresses.
    """
    owner = {name.strip("[]"): gateway for gateway, own in names.items() for name in own}
    if start not in routings or not any(route.host.strip("[]") in owner for route in routings[start].all_routes):
        return []
    # The empty domain stands for one that no route names.
    domains = dict.fromkeys(["", *(route.domain for routing in routings.values() for route in routing.routes)])
    found: dict[str, str] = {}
    for domain in domains:
        first = step = routings[start].route_for(domain)
        way = [start]
        while step and (following := owner.get(step.host.strip("[]"))):
            way.append(following)
            if way.count(following) > 1 or following not in routings:
                break
            step = routings[following].route_for(domain)
        if first and way.count(way[-1]) > 1:
            mail = f"mail for {domain}" if domain else "mail"
            found.setdefault(first.where, f"{first.where}: {mail} would go round for ever: {' -> '.join(way)}")
    return list(found.values())
