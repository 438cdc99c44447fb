"""A whole host's inventory, checked before anything is done: names, types, contents, and what must fit together."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gatewright.addresses import parse_network
from gatewright.chapters.firewall.ruleset import inbound_rule, limits, way_out
from gatewright.chapters.scanner.rules import scanner_rules
from gatewright.chapters.smtproutes.routing import OPTIONAL, Routing, find_loops, read_routing, refuse_tls
from gatewright.chapters.tcp_smtp.render import tcp_smtp
from gatewright.domains import parse_domain
from gatewright.problems import InventoryError, Problems, entry_name, kind_of, suggest

# (options of one specification, value) -> Ansible's own complaints.
Validate = Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]

# Checked in depth below, so that a mistake is told once and in the field's words.
DEEP = {
    "tcp_smtp_relay_clients", "tcp_smtp_deny", "tcp_smtp_networks", "tcp_smtp_default_env",
    "smtproutes_routes", "smtproutes_default_route", "smtproutes_extra_rcpthosts", "smtproutes_badmailfrom",
    "smtproutes_databytes", "smtproutes_tls",
    "scanner_rules",
}  # fmt: skip
_NETWORK_LISTS = (
    "firewall_admin_networks", "firewall_exempt_networks", "firewall_package_networks", "firewall_time_networks",
    "clamav_update_networks", "uvscan_update_networks", "hardening_ban_exempt",
)  # fmt: skip
_ADDRESS_LISTS = ("dnscache_root_servers",)
_STRICT_TYPES: dict[str, tuple[type, ...]] = {"list": (list, tuple), "dict": (dict,), "bool": (bool,)}
# Mount options that a path may have, and what each would stop there: directories that are looked at from above.
_MOUNT_STOPS: dict[str, tuple[str, ...]] = {
    "nodev": ("/dev",),
    "nosuid": ("/usr/bin", "/var/qmail/bin"),
    "noexec": ("/etc", "/opt", "/package", "/usr/bin", "/var/lib/dpkg", "/var/lib/gatewright", "/var/qmail/bin"),
}
_CALENDARS = ("hardening_reboot_window", "hardening_integrity_schedule", "uvscan_update_schedule")
# The words of a time as systemd.time(7) has them: a shorthand, or days, a date, a time and a zone.
_DAY = r"(mon|tue|tues|wed|wednes|thu|thurs|fri|sat|satur|sun)(day)?"
_CALENDAR_WORD = re.compile(
    rf"minutely|hourly|daily|weekly|monthly|quarterly|semi-?annually|yearly|annually|({_DAY}([,-]|\.\.)?)+"
    r"|[\d*][\d*~,./-]*|[\d*][\d*:,./-]*|utc|[a-z_]+(/[a-z_+-]+)+",
    re.IGNORECASE,
)
# How near a name must be to one of ours to be a slip of the pen although no role's name begins it.
_SLIP = 0.92


@dataclass(frozen=True, slots=True)
class Role:
    """A role's input: options of its specification and its defaults."""

    name: str
    options: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Host:
    """What the inventory says of one host. unreadable: variables that could not be templated, and why."""

    name: str
    values: Mapping[str, Any]
    unreadable: Mapping[str, str] = field(default_factory=dict)


def owner_of(name: str, roles: Mapping[str, Role]) -> Role | None:
    """The role whose name begins a variable's, the longest of several; `_role_x` is private to it too."""
    text = name.removeprefix("_")
    fitting = [role for role in roles if text.startswith(f"{role}_")]
    return roles[max(fitting, key=len)] if fitting else None


def check_host(
    host: Host,
    gateways: Mapping[str, Host],
    roles: Mapping[str, Role],
    validate: Validate,
    handed_over: Collection[str] = (),
) -> list[str]:
    """All that is wrong in the inventory of one host, a sentence each.

    handed_over: options that the play gives its roles, whatever the inventory says of them.
    """
    problems = Problems()
    for name, why in sorted(host.unreadable.items()):
        problems.add(name, f"cannot be read: {why}")
    _check_names(problems, host, roles)
    for name in sorted({*host.values, *host.unreadable}.intersection(handed_over)):
        problems.add(name, f"is what playbooks/site.yml hands over; here it would be ignored{_beside(name, roles)}")
    _check_types(problems, host, roles, validate)
    value_of = _values(host, roles)
    _collect(problems, lambda: _tcp_smtp(value_of))
    _collect(problems, lambda: _routing(host, roles))
    _collect(problems, lambda: scanner_rules(host.values.get("scanner_rules")))
    _check_loops(problems, host, gateways, roles)
    _check_routes_tls(problems, host, roles)
    _check_networks(problems, host)
    _check_firewall(problems, host, value_of)
    _check_mounts(problems, host.values.get("hardening_mount_options"))
    _check_octals(problems, host)
    _check_calendars(problems, host)
    _check_fit(problems, host, value_of)
    return list(dict.fromkeys(problems.found))


def _collect(problems: Problems, build: Callable[[], object]) -> None:
    try:
        build()
    except InventoryError as error:
        problems.found += error.problems


def _values(host: Host, roles: Mapping[str, Role]) -> Callable[[str], Any]:
    """The value that a role will see: the inventory's, else a default that is no template."""

    def value_of(name: str) -> Any:
        if name in host.values:
            return host.values[name]
        role = owner_of(name, roles)
        default = role.defaults.get(name) if role else None
        return None if "{{" in str(default) else default

    return value_of


# Names and types


def _check_names(problems: Problems, host: Host, roles: Mapping[str, Role]) -> None:
    public = [name for role in roles.values() for name in (*role.options, *role.defaults) if "__" not in name]
    for name in sorted({*host.values, *host.unreadable}):
        role = owner_of(name, roles)
        if role is None:
            nearest = suggest(name, public, _SLIP)
            if nearest:
                problems.add(name, f"is no variable of any role{nearest}")
        elif name.startswith((f"{role.name}__", "_")):
            problems.add(name, f"is what role {role.name} says to others, not an input")
        elif name not in role.options and name not in role.defaults:
            own = [known for known in (*role.options, *role.defaults) if "__" not in known]
            problems.add(name, f"is no variable of role {role.name}{suggest(name, own)}")


def _beside(name: str, roles: Mapping[str, Role]) -> str:
    """Which option of the site's stands beside one that the play hands over."""
    own = [name.removesuffix("_from_roles"), name.replace("_packages", "_extra_packages")]
    found = [other for role in roles.values() for other in role.options if other in own and other != name]
    return f"; yours is {found[0]}" if found else ""


def _check_types(problems: Problems, host: Host, roles: Mapping[str, Role], validate: Validate) -> None:
    for role in roles.values():
        for name, option in role.options.items():
            if name not in host.values:
                if option.get("required") and "__" not in name and name not in host.unreadable:
                    problems.add(name, f"is required (role {role.name}): {_sentence(option)}")
                continue
            value = host.values[name]
            if "__" in name or name in DEEP:
                continue
            wanted = str(option.get("type", "str"))
            if not isinstance(value, _STRICT_TYPES.get(wanted, (object,))):
                article = {"list": "a list", "dict": "a mapping", "bool": "true or false"}[wanted]
                problems.add(name, f"must be {article}, not {kind_of(value)}")
                continue
            if wanted == "int" and (isinstance(value, bool) or (isinstance(value, int) and value < 0)):
                problems.add(name, f"must be a number from 0 on, not {value!r}")
                continue
            for complaint in validate({name: option}, {name: value}):
                problems.add(name, _plain(complaint))


def _sentence(option: Mapping[str, Any]) -> str:
    text = option.get("description", "")
    return str(text[0] if isinstance(text, list) and text else text)


def _plain(complaint: str) -> str:
    """Ansible's complaint without the types of Python."""
    for word, plain in (("<class 'str'>", "string"), ("<class 'int'>", "number"), ("<class 'list'>", "list")):
        complaint = complaint.replace(word, plain)
    return complaint.replace("<class 'dict'>", "mapping")


# Contents


def _tcp_smtp(value_of: Callable[[str], Any]) -> None:
    names = ("tcp_smtp_relay_clients", "tcp_smtp_deny", "tcp_smtp_networks", "tcp_smtp_default_env")
    tcp_smtp(*(value_of(name) for name in names), ipv6=value_of("ucspi_tcp_install_method") != "source")


def _own_names(host: Host) -> set[str]:
    names = (host.name, host.values.get("ansible_host"), host.values.get("qmail_me"))
    return {str(name).lower() for name in names if name}


def _routing(host: Host, roles: Mapping[str, Role]) -> Routing:
    value_of = _values(host, roles)
    return read_routing(
        value_of("smtproutes_routes"),
        value_of("smtproutes_default_route"),
        value_of("smtproutes_extra_rcpthosts"),
        value_of("smtproutes_badmailfrom"),
        value_of("smtproutes_databytes") or 0,
        own_names=_own_names(host),
        tls=value_of("smtproutes_tls") or OPTIONAL,
    )


def _check_loops(problems: Problems, host: Host, gateways: Mapping[str, Host], roles: Mapping[str, Role]) -> None:
    """Routes that lead round among the gateways; one whose own routing is wrong is told of there."""
    routings: dict[str, Routing] = {}
    for gateway in {**gateways, host.name: host}.values():
        try:
            routings[gateway.name] = _routing(gateway, roles)
        except InventoryError:
            continue
    names = {name: _own_names(gateway) for name, gateway in gateways.items()}
    problems.found += find_loops(host.name, routings, names)


def _check_routes_tls(problems: Problems, host: Host, roles: Mapping[str, Role]) -> None:
    """What routes ask of TLS must be to be had; routes that are wrong are told of elsewhere."""
    value_of = _values(host, roles)
    authorities = str(value_of("smtproutes_tls_ca") or "")
    if authorities and not authorities.startswith("/"):
        problems.add("smtproutes_tls_ca", f"must be the absolute path of a file on the gateway, not {authorities!r}")
    if value_of("starttls_enabled") is False:
        with suppress(InventoryError):
            problems.found += refuse_tls(_routing(host, roles), "starttls_enabled is false").found


def _check_networks(problems: Problems, host: Host) -> None:
    for variable in _NETWORK_LISTS:
        _check_network_list(problems, variable, host.values.get(variable))
    for variable in _ADDRESS_LISTS:
        value = host.values.get(variable)
        for index, item in enumerate(value if isinstance(value, list) else []):
            try:
                ipaddress.ip_address(item)
            except ValueError:
                problems.add(entry_name(variable, index, item), "is not an address")


def _check_network_list(problems: Problems, variable: str, value: object) -> None:
    seen: dict[object, str] = {}
    for index, item in enumerate(value if isinstance(value, list) else []):
        where = entry_name(variable, index, item)
        try:
            network = parse_network(item)
        except ValueError as error:
            problems.add(where, str(error))
            continue
        if seen.setdefault(network, where) != where:
            problems.add(where, f"is a duplicate of {seen[network]}")


def _check_firewall(problems: Problems, host: Host, value_of: Callable[[str], Any]) -> None:
    rates = value_of("firewall_rates")
    rates = rates if isinstance(rates, dict) else {}
    _collect(problems, lambda: limits({"rates": rates}))
    checks: dict[str, Callable[[str, Any], object]] = {
        "firewall_inbound": lambda where, item: inbound_rule(where, item, (), rates),
        "firewall_outbound": way_out,
    }
    for variable, check in checks.items():
        value = host.values.get(variable)
        for index, item in enumerate(value if isinstance(value, list) else []):
            title = (item.get("comment") or item.get("port") or item.get("ports")) if isinstance(item, dict) else item
            _collect(problems, partial(check, entry_name(variable, index, title), item))


def _check_mounts(problems: Problems, value: object) -> None:
    """Mount options that exist, on paths where they stop neither mail nor packages."""
    for path, options in value.items() if isinstance(value, dict) else ():
        where = f"hardening_mount_options.{path}"
        if not re.fullmatch(r"/[^\s#]*", str(path)) or posixpath.normpath(path) != path:
            problems.add(where, "is not the absolute path of a mount point")
            continue
        if not isinstance(options, list):
            problems.add(where, f"must be a list, not {kind_of(options)}")
            continue
        for option in map(str, options):
            if option not in _MOUNT_STOPS:
                problems.add(where, f"{option!r} is none of {', '.join(_MOUNT_STOPS)}")
                continue
            stopped = [place for place in _MOUNT_STOPS[option] if posixpath.commonpath((path, place)) == path]
            if stopped:
                problems.add(where, f"{option} would stop what is in {', '.join(stopped)}")


def _check_octals(problems: Problems, host: Host) -> None:
    """Modes and masks, which YAML takes for decimal numbers unless they are in quotation marks."""
    found = {"hardening_umask": host.values.get("hardening_umask")}
    directories = host.values.get("hardening_svscan_writable")
    for index, item in enumerate(directories if isinstance(directories, list) else []):
        if isinstance(item, dict):
            found[f"{entry_name('hardening_svscan_writable', index, item.get('path'))}: mode"] = item.get("mode")
    for where, value in found.items():
        if value is not None and not (isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value)):
            problems.add(where, f'must be three octal digits in quotation marks, such as "027", not {value!r}')


def _check_calendars(problems: Problems, host: Host) -> None:
    for variable in _CALENDARS:
        for word in str(host.values.get(variable) or "").split():
            if not _CALENDAR_WORD.fullmatch(word):
                problems.add(variable, f"{word!r} is no part of a time as systemd's OnCalendar has it")


# What must fit together


def _check_fit(problems: Problems, host: Host, value_of: Callable[[str], Any]) -> None:
    if value_of("qmail_release") == "standin" and "standin-1.0" not in (value_of("source_build_pins_extra") or {}):
        problems.add(
            "qmail_release", "standin is the lab's test program, no mail server; choose notqmail, netqmail or qmail"
        )
    if value_of("ucspi_tcp_install_method") == "source" and ":" in str(value_of("qmail_smtpd_address") or ""):
        problems.add("qmail_smtpd_address", "the original tcpserver (ucspi_tcp_install_method: source) knows IPv4 only")
    _check_starttls(problems, value_of)
    _check_signatures(problems, value_of)
    name = host.values.get("qmail_me")
    if name is not None:
        try:
            parse_domain(name)
        except ValueError as error:
            problems.add("qmail_me", str(error))
    for variable in ("qmail_users", "qmail_groups"):
        _check_ids(problems, variable, host.values.get(variable))


def _check_signatures(problems: Problems, value_of: Callable[[str], Any]) -> None:
    """Who fetches ClamAV's signatures from a place of the site's must say which."""
    source = value_of("clamav_updates")
    needed = {"mirror": "clamav_mirror", "custom": "clamav_custom_signatures"}.get(str(source))
    if value_of("clamav_enabled") is True and needed and not value_of(needed):
        problems.add(needed, f"must say where the signatures are, as clamav_updates is {source!r}")


def _check_starttls(problems: Problems, value_of: Callable[[str], Any]) -> None:
    """Certificate and key come in pairs; what is switched off cannot be required."""
    paths = {name: str(value_of(name) or "") for name in ("starttls_certificate", "starttls_key")}
    for name, other in zip(paths, reversed(paths), strict=True):
        if paths[other] and not paths[name]:
            problems.add(name, f"is needed with {other}")
        if paths[name] and not paths[name].startswith("/"):
            problems.add(name, f"must be the absolute path of a file on the gateway, not {paths[name]!r}")
    lasts, renewed = value_of("starttls_self_signed_days"), value_of("starttls_renew_days")
    if isinstance(lasts, int) and isinstance(renewed, int) and lasts <= renewed:
        problems.add("starttls_self_signed_days", f"must be more than starttls_renew_days ({renewed})")
    if value_of("starttls_enabled") is False:
        for variable in ("tcp_smtp_relay_clients", "tcp_smtp_networks", "tcp_smtp_default_env"):
            if "required" in _starttls_words(value_of(variable)):
                problems.add(variable, "STARTTLS is required, but starttls_enabled is false")


def _starttls_words(value: object) -> set[object]:
    """Every value that STARTTLS has in an environment, or in a list of entries with one."""
    if isinstance(value, list):
        return {word for item in value if isinstance(item, dict) for word in _starttls_words(item.get("env"))}
    return {value["STARTTLS"]} if isinstance(value, dict) and isinstance(value.get("STARTTLS"), str) else set()


def _check_ids(problems: Problems, variable: str, value: object) -> None:
    """Ids of users or groups: numbers of their own, above root's."""
    holders: dict[object, str] = {}
    for name, number in value.items() if isinstance(value, dict) else ():
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 2**32 - 1:
            problems.add(f"{variable}.{name}", f"must be a number above 0, not {number!r}")
        elif holders.setdefault(number, name) != name:
            problems.add(f"{variable}.{name}", f"{number} is {holders[number]}'s already")
