"""Kinds of values that options take, and what is wrong with a value that is none.

A kind is called with a collector of problems, the place of a value (`sshd_port`, `clamav_update_ports[1] (99999)`) and
the value; it notes what is wrong with it, in a sentence, and raises nothing. Types of Ansible's argument specification
were looked at before, so a kind may count on a list being a list. Choices and booleans need no kind: the specification
says all about them.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from gatewright import on_calendar
from gatewright.addresses import parse_network
from gatewright.domains import parse_domain
from gatewright.problems import QUOTED, UNQUOTED, Problems, check_keys, entry_name, kind_of

Kind = Callable[[Problems, str, Any], None]
Complain = Callable[[Any], str]
"""What is wrong with a value, as the end of a sentence; nothing if it is right."""

# Accounts as useradd and systemd-sysusers take them; a number is a user's or group's id.
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,30}"
_UNIT = r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?"
_UNIT_SUFFIX = re.compile(r"\.(service|socket|timer|path|target|mount|automount|swap|device|slice|scope)$")
FAR = 2**31 - 1
"""A number above which nothing that is counted in seconds, days or pieces makes sense."""
BYTES = 2**50
"""The same for bytes: a pebibyte."""


def plain(complain: Complain) -> Kind:
    """A kind of a single value."""

    def check(problems: Problems, where: str, value: Any) -> None:
        wrong = complain(value)
        if wrong:
            problems.add(where, wrong)

    return check


def number(low: int, high: int = FAR, unit: str = "") -> Kind:
    """A whole number within bounds. unit: what is counted, for the message."""

    def complain(value: Any) -> str:
        if isinstance(value, str) and re.fullmatch(r"\d{1,20}", value):
            return f"must be a number, and {value!r} is text; {UNQUOTED}"
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number{unit and ' of ' + unit}, not {value!r}"
        if not low <= value <= high:
            return f"must be a number from {low} to {high}{unit and ' (' + unit + ')'}, not {value!r}"
        return ""

    return plain(complain)


def any_number(low: float, high: float) -> Kind:
    """A number, with or without a fraction."""

    def complain(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return f"must be a number from {low:g} to {high:g}, not {value!r}"
        return ""

    return plain(complain)


port = number(1, 65535, "a port")
seconds = number(1, 86_400 * 7, "seconds")
_id = number(1, 2**32 - 2, "an id above root's")


def account_id(problems: Problems, where: str, value: Any) -> None:
    """A number of a user's or group's; not one that systemd-sysusers refuses, or that is nobody's."""
    _id(problems, where, value)
    if value in (65534, 65535):
        problems.add(where, f"{value} is {'nobody' if value == 65534 else 'no user'}'s on every host: give another one")


@plain
def ports(value: Any) -> str:
    """A port, or a range such as 6000-6009, as text or number."""
    ends = str(value).split("-", 1)
    if isinstance(value, bool) or not all(re.fullmatch(r"\d{1,5}", end) and 1 <= int(end) <= 65535 for end in ends):
        return f"{value!r} is no port, and no range of ports, from 1 to 65535"
    return f"the range {value!r} runs backwards" if int(ends[0]) > int(ends[-1]) else ""


def matching(pattern: str, what: str, empty: bool = False) -> Kind:
    """Text of a form. what: its description, as in `must be WHAT`. empty: whether nothing will do too."""
    form = re.compile(pattern)

    def complain(value: Any) -> str:
        if empty and value == "":
            return ""
        right = isinstance(value, str) and form.fullmatch(value)
        return "" if right else f"must be {what}, not {value!r}{'' if 'quotation' in what else _quoted(value)}"

    return plain(complain)


def _quoted(value: Any) -> str:
    """What to do with a word of which YAML has made something else, as the end of a sentence."""
    return f"; {QUOTED}" if isinstance(value, int | float) else ""


def line(empty: bool = False, longest: int = 1000) -> Kind:
    """One line of printable text."""

    def complain(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > longest:
            return f"must be one line of text, not {value!r}"
        return "is empty" if not value.strip() and not (empty and not value) else ""

    return plain(complain)


@plain
def text(value: Any) -> str:
    """Text of several lines."""
    if not isinstance(value, str):
        return f"must be text, not {kind_of(value)}{_quoted(value)}"
    odd = [letter for letter in value if not letter.isprintable() and letter not in "\n\t"]
    return f"has a control character in it: {odd[0]!r}" if odd else ""


def path(empty: bool = False, pattern: bool = False, folder: bool = False) -> Kind:
    """The absolute path of a file on the gateway. pattern: with `*` and `?` in it. folder: or of a folder."""

    def complain(value: Any) -> str:
        if empty and value == "":
            return ""
        if not isinstance(value, str) or not value.startswith("/"):
            return f"must be the absolute path of a file on the gateway, not {value!r}"
        if any(letter.isspace() or not letter.isprintable() for letter in value):
            return f"must be a path without blanks and control characters, not {value!r}"
        if value.endswith("/") and not folder:
            return f"must be the path of a file, not of a folder, as {value!r} is"
        bad = (
            "//" in value
            or posixpath.normpath(value) != (value.rstrip("/") or "/")
            or (not pattern and re.search(r"[*?\[\]]", value))
        )
        return f"must be a plain path, without .., double slashes or patterns, not {value!r}" if bad else ""

    return plain(complain)


def controller_path(empty: bool = False) -> Kind:
    """A path on the controller, absolute or from the folder of the playbook; whether it is there is not looked at."""
    return line(empty)


def controller_folder(empty: bool = False) -> Kind:
    """A folder on the controller that a run writes to, and makes if it has to: none of the system's."""
    form = line(empty)

    def check(problems: Problems, where: str, value: Any) -> None:
        before = len(problems.found)
        form(problems, where, value)
        if value == "" or len(problems.found) > before:
            return
        expanded = posixpath.expanduser(value)
        plain_path = posixpath.normpath("/" + expanded.lstrip("/")) if expanded.startswith("/") else expanded
        if plain_path in _SYSTEM or plain_path.startswith(tuple(f"{folder}/" for folder in _PROGRAMS)):
            problems.add(where, f"{value} is a folder of the system's: name one of your own, such as /srv/gatewright")
        elif posixpath.isfile(plain_path):
            problems.add(where, f"{value} is a file, and must be a folder")

    return check


_PROGRAMS = ("/bin", "/boot", "/dev", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/lib", "/usr/sbin")
_SYSTEM = ("/", "/etc", "/home", "/run", "/usr", "/usr/local", "/usr/share", "/var", "/var/lib", "/var/log", *_PROGRAMS)


@plain
def file_name(value: Any) -> str:
    """The name of a file, without a folder."""
    if not isinstance(value, str) or not value or value in (".", ".."):
        return f"must be the name of a file, not {value!r}"
    bad = "/" in value or any(letter.isspace() or not letter.isprintable() for letter in value)
    return f"must be the name of a file, without slash, blank or control character, not {value!r}" if bad else ""


any_account = matching(
    r"[A-Za-z_][A-Za-z0-9_.@-]{0,63}", "the name of a user or group of the host (letters, digits, _, ., @ and -)"
)
"""An account that was made elsewhere, by a directory service too, whose names are more than useradd takes."""
account = matching(_ACCOUNT, "the name of a user or group (small letters, digits, - and _)")
package = matching(r"[a-z0-9][a-z0-9+.-]+", "the name of a Debian package")
module = matching(r"[A-Za-z0-9_][A-Za-z0-9_-]*", "the name of a kernel module")
sha256 = matching(r"[0-9a-fA-F]{64}", "a SHA-256 of 64 hexadecimal digits", empty=True)
mode = matching(r"[0-7]{3,4}", 'the mode of a file in quotation marks, such as "0750"')


@plain
def journal_size(value: Any) -> str:
    """A size as systemd has it; bytes may be a number."""
    right = not isinstance(value, bool) and re.fullmatch(r"[1-9]\d{0,11}[KMGT]?", str(value))
    return "" if right else f"must be a size as systemd has it, such as 500M, not {value!r}"


@plain
def unit(value: Any) -> str:
    """The name of a systemd unit without its suffix."""
    if isinstance(value, str) and (suffix := _UNIT_SUFFIX.search(value)):
        return f"is the name of a unit with its suffix; leave {suffix[0]} away"
    if isinstance(value, str) and value.endswith("@"):
        return f"is a template of units, of which one is {value}NAME"
    right = isinstance(value, str) and re.fullmatch(_UNIT, value)
    return "" if right else f"must be the name of a systemd unit, not {value!r}"


@plain
def network(value: Any) -> str:
    """An address or a network in CIDR form."""
    try:
        parse_network(value)
    except ValueError as error:
        return str(error)
    return ""


@plain
def cidr(value: Any) -> str:
    """The same where programs read it as it stands, which know no netmask."""
    try:
        found = parse_network(value)
    except ValueError as error:
        return str(error)
    is_mask = bool(re.search(r"/.*[.:]", value))
    return f"{value!r} has a netmask, which not all programs read: write {found}" if is_mask else ""


@plain
def address(value: Any) -> str:
    """An address, without a network's length."""
    try:
        ipaddress.ip_address(str(value))  # the number of an address is none
    except ValueError:
        return f"{value!r} is not an address"
    return ""


@plain
def server_address(value: Any) -> str:
    """The IPv4 address of another host that can be asked: dnscache speaks no IPv6."""
    try:
        found = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None:
        return "is not an address"
    if found.version == 6:
        return "is an IPv6 address, and dnscache asks by IPv4 only"
    odd = found.is_loopback or found.is_unspecified or found.is_multicast or found == ipaddress.IPv4Address(2**32 - 1)
    return "is no address of another host that could be asked" if odd else ""


@plain
def domain(value: Any) -> str:
    """A domain or host name."""
    try:
        parse_domain(value)
    except ValueError as error:
        return str(error)
    return ""


@plain
def dns_name(value: Any) -> str:
    """A domain or host name that programs read as it stands: an international one in its ASCII form."""
    return _in_ascii(value)


@plain
def covering_domain(value: Any) -> str:
    """A domain, or `.domain` for all below it."""
    try:
        parse_domain(value[1:] if isinstance(value, str) and value.startswith(".") else value)
    except ValueError as error:
        return str(error)
    return ""


@plain
def covering_dns_name(value: Any) -> str:
    """The same where programs read it as it stands."""
    return _in_ascii(value[1:] if isinstance(value, str) and value.startswith(".") else value)


@plain
def host(value: Any) -> str:
    """A host name or an address."""
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return _in_ascii(value)
    return ""


def _in_ascii(value: Any) -> str:
    """What is wrong with a domain that programs read as it stands."""
    try:
        name = parse_domain(value)
    except ValueError as error:
        return str(error)
    return "" if value.isascii() else f"must be in its ASCII form, {name}, not {value!r}"


def as_domain(value: Any) -> str:
    """What two spellings of a domain, or of `.domain`, have in common."""
    text = str(value)
    return "." * text.startswith(".") + parse_domain(text.removeprefix("."))


@plain
def mailbox(value: Any) -> str:
    """The address of a person: local part, @, domain."""
    if not isinstance(value, str) or value.count("@") != 1:
        return f"must be one mail address, such as mailadmin@example.org, not {value!r}"
    local, _at, place = value.partition("@")
    if not re.fullmatch(r"[A-Za-z0-9.!#$&'*+/=?^_{}~-]+", local):
        return f"{value!r} has no local part, or one with a character that no mailbox needs"
    return _in_ascii(place)


def url(*schemes: str, empty: bool = False) -> Kind:
    """An address of the web. schemes: those that will do; http and https if none is given."""
    allowed = schemes or ("http", "https")

    def complain(value: Any) -> str:
        if empty and value == "":
            return ""
        words = " or ".join(f"{scheme}://" for scheme in allowed)
        if not isinstance(value, str) or any(letter.isspace() or not letter.isprintable() for letter in value):
            return f"must be a URL ({words}) without blanks, not {value!r}"
        try:
            parts = urlsplit(value)
            whole = parts.scheme in allowed and (bool(parts.hostname) or parts.scheme == "file")
            whole = whole and (parts.port is None or parts.port > 0)
        except ValueError:
            whole = False
        return "" if whole else f"must be a URL ({words}), not {value!r}"

    return plain(complain)


@plain
def calendar(value: Any) -> str:
    """A time as systemd's OnCalendar has it; empty: never."""
    if not isinstance(value, str):
        return f"must be a time as systemd's OnCalendar has it, not {value!r}"
    if value and not value.strip():
        return "is blank: write a time, or nothing at all"
    wrong = on_calendar.complaint(value.strip(" ")) if value else ""
    return f"{wrong} (right is, for instance, Sun *-*-* 04:00:00)" if wrong else ""


def schedule(problems: Problems, where: str, value: Any) -> None:
    """The same of what cannot be left alone: a timer without a time does not start."""
    calendar(problems, where, value)
    if value == "":
        problems.add(where, "is empty, and must be a time as systemd's OnCalendar has it, such as daily")


# Kinds of several values


def either(what: str, *kinds: Kind) -> Kind:
    """What one of several kinds takes. what: all of them in words, as in `must be WHAT`."""

    def check(problems: Problems, where: str, value: Any) -> None:
        tries = []
        for kind in kinds:
            attempt = Problems()
            kind(attempt, where, value)
            tries.append(attempt)
        if all(attempt.found for attempt in tries):
            problems.add(where, f"must be {what}, not {value!r}")

    return check


host_or_none = either("a host name, an address, or nothing", host, matching("", "nothing", empty=True))


def choice(*known: str) -> Kind:
    """One of some words, inside of lists and mappings (an option of its own has choices in its specification)."""
    return plain(lambda value: "" if value in known else f"{value!r} is none of {', '.join(known)}{_quoted(value)}")


@plain
def truth(value: Any) -> str:
    """True or false, inside of mappings."""
    return "" if isinstance(value, bool) else f"must be true or false, not {value!r}"


def listed(kind: Kind, empty: bool = True, unique: bool = True, same: Callable[[Any], Any] = str) -> Kind:
    """A list of values of one kind. same: what two entries that mean the same have in common."""

    def check(problems: Problems, where: str, value: Any) -> None:
        if not isinstance(value, list | tuple):
            problems.add(where, f"must be a list, not {kind_of(value)}")
            return
        if not value and not empty:
            problems.add(where, "is empty, and must not be")
        seen: dict[Any, str] = {}
        for index, item in enumerate(value):
            place = entry_name(where, index, _title(item))
            before = len(problems.found)
            kind(problems, place, item)
            if unique and len(problems.found) == before and seen.setdefault(same(item), place) != place:
                problems.add(place, f"is a duplicate of {seen[same(item)]}")

    return check


def _title(item: Any) -> Any:
    """What tells a mapping from others in a message."""
    if not isinstance(item, Mapping):
        return item
    return next((item[key] for key in ("path", "name", "comment", "port", "ports", "type") if item.get(key)), item)


networks = listed(network, same=lambda value: parse_network(value))
cidr_networks = listed(cidr, same=lambda value: parse_network(value))


def mapped(key: Kind, value: Kind, empty: bool = True, same: Callable[[Any], Any] | None = None) -> Kind:
    """A mapping of keys of one kind to values of one kind. same: what two keys that mean the same have in common."""

    def check(problems: Problems, where: str, found: Any) -> None:
        if not isinstance(found, Mapping):
            problems.add(where, f"must be a mapping, not {kind_of(found)}")
            return
        if not found and not empty:
            problems.add(where, "is empty, and must not be")
        seen: dict[Any, Any] = {}
        for name, item in found.items():
            before = len(problems.found)
            key(problems, f"{where}.{name}", name)
            if same and len(problems.found) == before and seen.setdefault(same(name), name) != name:
                problems.add(f"{where}.{name}", f"is {where}.{seen[same(name)]} in another spelling: leave one away")
            value(problems, f"{where}.{name}", item)

    return check


def record(kinds: Mapping[str, Kind], needed: Collection[str] = ()) -> Kind:
    """A mapping of known keys."""

    def check(problems: Problems, where: str, found: Any) -> None:
        if not isinstance(found, Mapping):
            problems.add(where, f"must be a mapping, not {kind_of(found)}")
            return
        check_keys(problems, where, dict(found), kinds)
        missing = [key for key in needed if found.get(key) is None]
        if missing:
            problems.add(where, f"needs {' and '.join(missing)}")
        for name, kind in kinds.items():
            if found.get(name) is not None:
                kind(problems, f"{where}: {name}", found[name])

    return check


@plain
def scalar(value: Any) -> str:
    """Text of one line or a number, as a setting of somebody else's program takes it."""
    if isinstance(value, bool | int | float):
        return ""
    right = isinstance(value, str) and value.isprintable()
    return "" if right else f"must be one line of text or a number, not {value!r}"


def checked_elsewhere(_problems: Problems, _where: str, _value: Any) -> None:
    """A value that its chapter's `check` reads whole, types and all."""
