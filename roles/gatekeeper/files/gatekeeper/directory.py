"""gatekeeper-ldap: fetches recipients from directories into files as gatekeeper reads them.

A program and a user of its own: it alone knows the passwords, and gatekeeper waits for no directory. What cannot be
fetched whole changes no file.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gatekeeper.addresses import AddressError, parse_entry
from gatekeeper.gatesettings import ConfigError, Parser, build, listing, mapping, read

log = logging.getLogger("gatekeeper-ldap")

CONFIG = Path("/etc/gatekeeper-ldap/config.json")
CONNECT = 10
"""Seconds for a connection."""
ANSWER = 60
"""Seconds for an answer."""
PAGE = 500
"""Entries at a time; directories refuse more than 1000."""
MOST = 2_000_000
"""Entries of a directory."""

DEEPEST = 20
"""Filters within filters."""
_ITEM = re.compile(r"\([A-Za-z0-9][A-Za-z0-9.;-]*(?::dn)?(?::[A-Za-z0-9.-]+:)?[~<>]?=(?:[^()\\]|\\[^()])+\)")
_NAMING = re.compile(r" *[A-Za-z0-9][A-Za-z0-9.-]* *= *(?! )(?:[^\\;<>\"]|\\.)+")
_COMMA = re.compile(r"(?<!\\),")
_NO_PEOPLE = re.compile(r"ldaps?://[^/]*/(?:DC=(?:Forest|Domain)DnsZones|CN=Configuration),.*", re.IGNORECASE)
"""What Active Directory says another server has, and where nobody has mail."""
_KIND = re.compile(r"([A-Za-z0-9]+):")
Entry = Mapping[str, Iterable[bytes]]
"""Values by attribute."""


class FetchError(Exception):
    """A directory that gives no whole answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Where a domain's recipients are. servers: ldaps://HOST, or ldap://HOST, where TLS is begun first of all.

    user: whom to be (a distinguished name; Active Directory takes user@domain too); empty: nobody. ca: a file of
    certificates, one of which must have signed the server's.
    """

    servers: tuple[str, ...]
    base: str
    user: str = ""
    password: str = ""
    filter: str = ""
    attributes: tuple[str, ...] = ("mail", "proxyAddresses", "mailAlternateAddress", "mailLocalAddress")
    ca: str = "/etc/ssl/certs/ca-certificates.crt"

    @property
    def search(self) -> str:
        """The filter; without one of the site's own: whoever has one of the attributes."""
        return self.filter or "(|" + "".join(f"({name}=*)" for name in self.attributes) + ")"


def directory(where: str, value: object) -> Directory:
    """A directory of the inventory's mapping; raise ConfigError."""
    found = build(Directory, value, where, own=_CHECKS)
    if bool(found.user) != bool(found.password):
        raise ConfigError(where, "user and password are needed together")
    return found


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ConfigError(where, "must be one line of text")
    return value


def _matching(pattern: str, what: str) -> Callable[[str, object], str]:
    def check(where: str, value: object) -> str:
        text = _text(where, value)
        if not re.fullmatch(pattern, text):
            raise ConfigError(where, f"must be {what}, not {text!r}")
        return text

    return check


def _texts(check: Callable[[str, object], str]) -> Callable[[str, object], tuple[str, ...]]:
    def check_all(where: str, value: object) -> tuple[str, ...]:
        items = listing(where, value)
        if not items:
            raise ConfigError(where, "must be a list that is not empty")
        return tuple(check(f"{where}[{index}]", item) for index, item in enumerate(items))

    return check_all


def _filter(where: str, value: object) -> str:
    text = _text(where, value)
    if text and behind_filter(text, 0) != len(text):
        raise ConfigError(where, f"must be a filter in parentheses, such as (mail=*), not {text!r}")
    return text


def behind_filter(text: str, at: int, depth: int = 0) -> int:
    """Where a filter that begins here has its end (RFC 4515); -1 if it is none."""
    if match := _ITEM.match(text, at):
        return match.end()
    if depth > DEEPEST or text[at : at + 2] not in ("(&", "(|", "(!"):
        return -1
    is_not, inner, count = text[at + 1] == "!", _behind_blanks(text, at + 2), 0
    while text[inner : inner + 1] == "(":
        end, count = behind_filter(text, inner, depth + 1), count + 1
        if end < 0:
            return -1
        inner = _behind_blanks(text, end)
    return inner + 1 if text[inner : inner + 1] == ")" and (count == 1 or (count and not is_not)) else -1


def _behind_blanks(text: str, at: int) -> int:
    return len(text) - len(text[at:].lstrip(" "))


def _base(where: str, value: object) -> str:
    text = _text(where, value)
    if not all(map(_NAMING.fullmatch, _COMMA.split(text))):
        raise ConfigError(where, f"must be a distinguished name, such as dc=example,dc=org, not {text!r}")
    return text


_CHECKS: dict[str, Parser] = {
    "servers": _texts(
        _matching(r"ldaps?://[A-Za-z0-9.-]+(:\d{1,5})?", "ldaps://HOST or ldap://HOST, with :PORT if need be")
    ),
    "base": _base,
    "filter": _filter,
    "attributes": _texts(_matching(r"[A-Za-z][A-Za-z0-9;.-]*", "an attribute's name")),
    "user": _text,
    "password": _text,
    "ca": _matching(r"/.+", "the path of a file on the gateway"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """A domain, its directory and the file that is written."""

    domain: str
    directory: Directory
    file: Path


@dataclass(frozen=True, slots=True)
class _Told:
    """What the file says of a domain."""

    ldap: Directory
    file: Path


def main(arguments: Sequence[str]) -> int:
    """Fetch all; returns the exit status: 1 if one could not be fetched."""
    top = argparse.ArgumentParser(prog="gatekeeper-ldap", description="Fetches recipients from directories.")
    top.add_argument("--config", type=Path, default=CONFIG, help=f"the configuration (default: {CONFIG})")
    options = top.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        jobs = load(options.config)
    except ConfigError as error:
        log.error("%s", error)
        return 1
    done = [run(job) for job in jobs]  # one that fails keeps no other from being fetched
    return int(not all(done))


def load(path: Path) -> list[Job]:
    """The configuration: by domain a directory, and the file; raise ConfigError."""
    return read(path, _jobs)


def _jobs(data: object) -> list[Job]:
    return [_job(domain, value) for domain, value in sorted(mapping("", data).items())]


def _job(domain: str, value: object) -> Job:
    told = build(_Told, value, domain, own={"ldap": directory})
    return Job(domain, told.ldap, told.file)


def run(job: Job) -> bool:
    """Fetch one; whether it was."""
    try:
        found = sorted(set(addresses(fetch(job.directory), job.directory.attributes, job.domain)))
        if not found:
            raise FetchError(f"it has no address at {job.domain}; are base, filter and attributes right?")
        write(job.file, found)
    except (FetchError, OSError) as error:
        log.error("%s: the list of before stays: %s", job.domain, error)
        return False
    except Exception:
        log.exception("%s: the list of before stays", job.domain)
        return False
    log.info("%s: %d addresses", job.domain, len(found))
    return True


def addresses(entries: Iterable[Entry], attributes: Sequence[str], domain: str) -> Iterator[str]:
    """The addresses of a domain (`.domain`: of all below it) in entries; proxyAddresses' other kinds are left out."""
    wanted = {name.lower() for name in attributes}
    for entry in entries:
        for name, values in entry.items():
            if name.partition(";")[0].lower() in wanted:
                yield from (found for value in values if (found := _address(value, domain)))


def _address(value: bytes, domain: str) -> str:
    """An address of a value; empty if there is none that counts."""
    text = value.decode("utf-8", "replace").strip()
    kind = _KIND.match(text)
    if kind and kind[1].lower() != "smtp":
        return ""
    text = text[kind.end() :] if kind else text
    if text.startswith("#") and "@" in text:  # a comment, in the file
        text = '"{}"@{}'.format(*text.rsplit("@", 1))
    try:
        local, found = parse_entry(text)
    except AddressError as error:
        log.info("left out: %r %s", text[:100], error)
        return ""
    is_ours = found.endswith(domain) if domain.startswith(".") else found == domain
    # as it is, and not as it is compared: gatekeeper reads it as any other file
    return f"{text.rpartition('@')[0]}@{found}" if local and is_ours else ""


def write(path: Path, found: Sequence[str]) -> None:
    """Put a list in the place of another, whole; raise OSError."""
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write("\n".join([*found, f"# end {len(found)}"]) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def fetch(settings: Directory) -> list[Entry]:
    """All entries, of the first server that gives them; raise FetchError naming what each said."""
    said = []
    for server in settings.servers:
        try:
            return _fetch_from(server, settings)
        except FetchError as error:
            said.append(f"{server}: {error}")
    raise FetchError("; ".join(said))


def _fetch_from(server: str, settings: Directory) -> list[Entry]:
    from ldap3.core.exceptions import LDAPException

    try:
        with _connect(server, settings) as connection:
            return _pages(connection, settings)
    except (LDAPException, OSError, ssl.SSLError) as error:
        raise FetchError(str(error) or type(error).__name__) from None


def _connect(server: str, settings: Directory) -> Any:
    import ldap3

    tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings.ca, sni=urlsplit(server).hostname)
    target = ldap3.Server(server, get_info=ldap3.NONE, connect_timeout=CONNECT, tls=tls)
    connection = ldap3.Connection(
        target,
        settings.user or None,
        settings.password or None,
        auto_bind=ldap3.AUTO_BIND_NONE,
        auto_referrals=False,
        receive_timeout=ANSWER,
        raise_exceptions=True,
        read_only=True,
    )
    connection.open()
    if server.startswith("ldap:"):
        connection.start_tls()
    connection.bind()
    return connection


def _pages(connection: Any, settings: Directory) -> list[Entry]:
    """All pages of an answer; raise FetchError, LDAPException."""
    found: list[Entry] = []
    cookie: bytes | None = None
    while True:
        connection.search(
            settings.base, settings.search, attributes=list(settings.attributes), paged_size=PAGE, paged_cookie=cookie
        )
        _refuse_part(connection)
        found += [item["raw_attributes"] for item in connection.response if item["type"] == "searchResEntry"]
        if len(found) > MOST:
            raise FetchError(f"more than {MOST} entries")
        control = connection.result.get("controls", {}).get("1.2.840.113556.1.4.319")
        cookie = control["value"]["cookie"] if control else None
        if not cookie:
            return found


def _refuse_part(connection: Any) -> None:
    """Raise FetchError if an answer is not the whole one: ldap3 itself passes over limits and references."""
    if connection.result["result"]:
        raise FetchError(f"it gives a part only: {connection.result['description']}")
    for item in connection.response:
        elsewhere = [where for where in item.get("uri", ()) if not _NO_PEOPLE.fullmatch(where)]
        if item["type"] == "searchResRef" and elsewhere:
            raise FetchError(
                f"another server has a part, {elsewhere[0]}: ask the global catalog (port 3269), or a base without it"
            )
