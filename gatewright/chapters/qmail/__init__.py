"""The mail transfer agent: the gateway's own name, its users, its bounds, and who gets the administrator's mail."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.qmail.control import control_files
from gatewright.chapters.qmail.door import check_door
from gatewright.chapters.qmail.people import check_person
from gatewright.domains import is_loopback
from gatewright.inventory import Site
from gatewright.problems import Problems

MOST_PLACES = 4096
"""That smtp-slots can count, of a kind."""
LEAST_SOFTLIMIT = 32_000_000
"""Bytes: OpenSSL and a session's buffers, with some room."""
_NEEDED_ALIASES = ("postmaster", "root")
_NUMBERED = {
    "qmail_users": ("alias", "qmaild", "qmaill", "qmailp", "qmailq", "qmailr", "qmails"),
    "qmail_groups": ("qmail", "nofiles"),
}
_version = kinds.matching(r"[0-9][0-9A-Za-z.~]*", 'a version in quotation marks, such as "1.09"')


def check(site: Site, problems: Problems) -> None:
    """What must fit together on one gateway, and what no two may share."""
    name = str(site.value("qmail_me") or "").lower()
    if is_loopback(name):
        problems.add("qmail_me", "is a name of every host; the gateway needs its own")
    elif name and "." not in name and "name" not in (site.value("survey_accept") or ()):
        problems.add(
            "qmail_me", f"{name!r} has no domain, and servers refuse a name without one, as mx1.example.org has"
        )
    _check_release(site, problems)
    _check_postmaster(site, problems)
    _check_ids(site, problems)
    _check_locals(site, problems)
    check_door(site, problems)
    for other in site.others:
        _check_other(site, problems, other)


def _check_release(site: Site, problems: Problems) -> None:
    source = site.value("qmail_source")
    archive = source.get("archive") if isinstance(source, Mapping) else None
    if isinstance(archive, str) and archive not in (site.value("source_build_pins_extra") or {}):
        problems.add("qmail_source: archive", f"{archive!r} is not in source_build_pins_extra, which has its digest")
    if site.value("ucspi_tcp_install_method") == "source" and ":" in str(site.value("qmail_smtpd_address") or ""):
        problems.add("qmail_smtpd_address", "the original tcpserver (ucspi_tcp_install_method: source) knows IPv4 only")


def _check_postmaster(site: Site, problems: Problems) -> None:
    """Mail to root goes to somebody."""
    for variable in ("qmail_postmaster", "qmail_double_bounces"):
        check_person(site, problems, variable)
    if site.value("qmail_aliases") is not None:
        missing = [name for name in _NEEDED_ALIASES if name not in site.value("qmail_aliases")]
        if missing:
            problems.add("qmail_aliases", f"lacks {', '.join(missing)}, whose mail must go to somebody")


def _check_locals(site: Site, problems: Problems) -> None:
    """What the gateway delivers itself is its own name's mail, and none that has a route."""
    control, routes = site.value("qmail_control"), site.value("smtproutes_routes")
    text = control.get("locals") if isinstance(control, Mapping) else None
    if not isinstance(text, str):
        return
    names = {line.strip().lower() for line in text.splitlines()}
    me = str(site.host.values.get("qmail_me") or "").lower()
    if me and me not in names:
        problems.add("qmail_control.locals", f"lacks {me} (qmail_me), whose mail would go round for ever")
    for route in routes if isinstance(routes, list | tuple) else ():
        domain = str(route.get("domain")).lower() if isinstance(route, Mapping) else ""
        if domain in names:
            problems.add(
                "qmail_control.locals", f"has {domain}, whose mail would stay here: smtproutes_routes sends it on"
            )


def remark(site: Site, remarks: Problems) -> None:
    """A gateway that no other host can send to."""
    address = str(site.value("qmail_smtpd_address"))
    if address.startswith("127.") or address == "::1":
        remarks.add("qmail_smtpd_address", f"{address} is loopback: no other host can send mail to this gateway")


def _check_ids(site: Site, problems: Problems) -> None:
    for variable in _NUMBERED:
        _check_id_table(problems, variable, site.host.values.get(variable))


def _check_id_table(problems: Problems, variable: str, value: object) -> None:
    """Ids of users or groups: numbers of their own, above root's, for all of them."""
    missing = [name for name in _NUMBERED[variable] if name not in value] if isinstance(value, dict) else []
    if missing:
        problems.add(variable, f"lacks {', '.join(missing)}: the inventory's mapping is used without the default's")
    holders: dict[object, str] = {}
    for name, number in value.items() if isinstance(value, dict) else ():
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 2**32 - 1:
            problems.add(f"{variable}.{name}", f"must be a number above 0, not {number!r}")
        elif holders.setdefault(number, name) != name:
            problems.add(f"{variable}.{name}", f"{number} is {holders[number]}'s already")


def _check_other(site: Site, problems: Problems, other: Any) -> None:
    """Two gateways with one name or address are one that is set up twice, or that nobody can tell apart."""
    mine, theirs = site.host.values, other.values
    name = mine.get("qmail_me")
    if name and str(name).lower() == str(theirs.get("qmail_me", "")).lower():
        problems.add("qmail_me", f"{name} is {other.name}'s name already; each gateway needs its own")
    address = mine.get("ansible_host")
    if address and _way_in(mine) == _way_in(theirs):
        problems.add("ansible_host", f"{address} is {other.name}'s address already")


def _way_in(values: Mapping[str, Any]) -> tuple[str, str]:
    """Where a gateway is, in one spelling."""
    address = str(values.get("ansible_host") or "").lower()
    with contextlib.suppress(ValueError):  # a name
        address = str(ipaddress.ip_address(address))
    return address, str(values.get("ansible_port") or 22)


_form = kinds.either("0 or an address", kinds.address, kinds.matching("0", "0"), kinds.number(0, 0))


def _listener(problems: Problems, where: str, value: Any) -> None:
    """An address that a program can listen on, or all of them."""
    before = len(problems.found)
    _form(problems, where, value)
    if len(problems.found) > before or str(value) == "0":
        return
    found = ipaddress.ip_address(str(value))
    is_zoned = found.version == 6 and found.is_link_local
    if found.is_multicast or is_zoned or found == ipaddress.IPv4Address(2**32 - 1):
        problems.add(where, f"{value} is no address that a server can listen on: nobody could connect")


@kinds.plain
def _alias(value: Any) -> str:
    """A local part whose dot-qmail file can be made: qmail looks for dots as colons."""
    form = kinds.matching(r"[a-z0-9_][a-z0-9_:+=-]*", "")
    found = Problems()
    form(found, "x", value)
    return f"must be a local part in small letters, without a dot, slash or blank, not {value!r}" if found.found else ""


@kinds.plain
def _rbl_list(value: Any) -> str:
    """A DNS list; rblsmtpd takes `name:message` too, but its arguments are words of a shell's command line."""
    name, _colon, message = str(value).partition(":")
    found = Problems()
    kinds.dns_name(found, "x", name)
    if found.found or "." not in name:
        return f"must be the name of a DNS list, such as bl.example.org, not {value!r}"
    if re.search(r"""[\s"'`$\\]""", message) or not message.isprintable():
        return "has a blank, a quote, $ or another sign in its text that a shell would read"
    return ""


_archive = kinds.record(
    {"archive": kinds.file_name, "version": _version, "patches": kinds.truth, "apparmor": kinds.truth},
    needed=["archive", "version"],
)


def _source(problems: Problems, where: str, value: Any) -> None:
    """An archive in the official one's place, or nothing."""
    if value:
        _archive(problems, where, value)


CHAPTER = Chapter(
    options={
        "qmail_source": _source,
        **{name: kinds.mapped(kinds.choice(*known), kinds.checked_elsewhere) for name, known in _NUMBERED.items()},
        "qmail_me": kinds.dns_name,
        "qmail_postmaster": kinds.mailbox,
        "qmail_double_bounces": kinds.either(
            "an address, nowhere, or empty", kinds.choice("", "nowhere"), kinds.mailbox
        ),
        "qmail_aliases": kinds.listed(_alias),
        "qmail_control": control_files,
        "qmail_smtpd_address": _listener,
        "qmail_concurrency_incoming": kinds.number(1, MOST_PLACES, "connections"),
        "qmail_concurrency_relay": kinds.number(1, MOST_PLACES, "connections"),
        "qmail_concurrency_source": kinds.number(1, MOST_PLACES, "connections"),
        "qmail_concurrency_relay_source": kinds.number(1, MOST_PLACES, "connections"),
        "qmail_max_recipients": kinds.number(0, 1_000_000, "recipients"),
        "qmail_max_recipients_relay": kinds.number(0, 1_000_000, "recipients"),
        "qmail_smtpd_timeout": kinds.number(60, 86_400, "seconds"),
        "qmail_session_seconds": kinds.number(0, 86_400, "seconds"),
        "qmail_session_errors": kinds.number(0, 1_000_000, "commands"),
        "qmail_session_commands": kinds.number(0, 1_000_000, "commands"),
        "qmail_concurrency_remote": kinds.number(1, 255, "deliveries"),
        "qmail_concurrency_local": kinds.number(1, 255, "deliveries"),
        "qmail_greeting_wait": kinds.number(0, 60, "seconds"),
        "qmail_smtpd_softlimit": kinds.number(LEAST_SOFTLIMIT, 4_000_000_000, "bytes"),
        "qmail_rblsmtpd_lists": kinds.listed(_rbl_list, same=lambda value: str(value).partition(":")[0].lower()),
        "qmail_log_size": kinds.number(4096, 16_777_215, "bytes"),
        "qmail_log_count": kinds.number(2, 10_000, "files"),
    },
    check=check,
    remark=remark,
)
