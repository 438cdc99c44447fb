"""Delivery to other servers: TLS by domain, families, and whose mail is signed."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from gatekeeper.addresses import in_ascii
from gatepost import config
from gatepost.problems import KeyProblem

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.smtproutes import routing_of
from gatewright.inventory import Site
from gatewright.problems import InventoryError, Problems, kind_of

LEVELS = ("never", "optional", "required", "verified")
FAMILIES = ("ipv4", "ipv6")
SIGNER = "gatepost-signer"
# Made from other variables, or fixed by the role.
_OWN_KEYS = (
    "journal", "domains", "prefer", "is_ipv6_used", "helo", "own_addresses", "reuse_seconds", "per_host", "signer",
    "clients", "home", "socket", "tls_counts", "reporter", "organization", "contact",
)  # names, many a line # fmt: skip
_PEM = re.compile(r"\s*-----BEGIN [A-Z ]*PRIVATE KEY-----\r?\n[A-Za-z0-9+/=\r\n]+-----END [A-Z ]*PRIVATE KEY-----\s*")
_ANCHOR = re.compile(
    r"(?P<owner>[A-Za-z0-9._-]+) ([0-9]+ )?(IN )?"
    r"(DS [0-9]{1,5} [0-9]{1,3} (?P<type>[0-9]) (?P<digest>[0-9A-Fa-f ]+)"
    r"|DNSKEY 257 3 [0-9]{1,3} (?P<key>[A-Za-z0-9+/= ]+))"
)
_DIGITS = {"1": 40, "2": 64, "4": 96}
"""Of a DS record's digest, by its type (RFC 4034, 4509, 6605)."""
_SELECTOR = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_GIVEN_SELECTOR = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*")
"""As others make them: with underscores, and of several labels (RFC 6376, 3.1)."""


# Variables that stand for keys of gatepost_settings.
_STANDS_FOR = {
    "gatepost_dnssec": ("name_server", "name_server_port", "is_validating"),
    "gatepost_mta_sts": ("sts_socket",),
}
_NEEDS_GATEPOST = ("gatepost_dkim_domains", "gatepost_domains", "gatepost_tls_reports", *_STANDS_FOR)


def check(site: Site, problems: Problems) -> None:
    """What must fit together."""
    _check_keys(site, problems)
    _check_selectors(site, problems)
    _check_settings(site, problems)
    if site.value("gatepost_tls_reports") is True:
        check_reporter(site, problems, "gatepost_tls_reports", "gatepost_reports")
    if site.value("gatepost_enabled") is False:
        for variable in _NEEDS_GATEPOST:
            if site.value(variable):
                problems.add(variable, "needs gatepost, but gatepost_enabled is false")


def _check_keys(site: Site, problems: Problems) -> None:
    signed = _names(site.value("gatepost_dkim_domains"))
    keys = site.value("gatepost_dkim_keys") or {}
    for domain in keys if isinstance(keys, Mapping) else ():
        if in_ascii(str(domain)) not in signed:
            problems.add(
                f"gatepost_dkim_keys.{domain}", "is not one of gatepost_dkim_domains: its key would not be used"
            )


def _check_selectors(site: Site, problems: Problems) -> None:
    """Each gateway makes keys of its own, and DNS has one key under one name."""
    own = _selector(site)
    for other in site.others if own else ():
        there = site.of(other)
        shared = _made_here(site) & _made_here(there)
        if shared and _selector(there) == own:
            why = f"{own} is {other.name}'s too, so that {min(shared)} would have two keys under one name in DNS"
            problems.add(
                "gatepost_dkim_selector", f"{why}: each gateway needs its own, or all a key of gatepost_dkim_keys"
            )
            return


def _selector(site: Site) -> str:
    """What selectors of keys made on a gateway begin with; empty if the inventory alone does not say."""
    values = site.host.values
    return str(values.get("gatepost_dkim_selector") or values.get("qmail_me") or "").lower().partition(".")[0]


def _made_here(site: Site) -> set[str]:
    """The domains for which a gateway makes keys itself."""
    keys = site.value("gatepost_dkim_keys")
    given = {in_ascii(str(domain)) for domain in keys} if isinstance(keys, Mapping) else set()
    is_on = site.value("gatepost_enabled") is not False
    return set(_names(site.value("gatepost_dkim_domains"))) - given if is_on else set()


def remark(site: Site, remarks: Problems) -> None:
    """TLS by domain where a route has the last word."""
    wanted = site.value("gatepost_domains")
    try:
        routing = routing_of(site)
    except InventoryError:
        return
    for domain, level in wanted.items() if isinstance(wanted, Mapping) else ():
        name = in_ascii(str(domain))
        route = routing.route_for(name.removeprefix("."))
        if route and route.tls != level:
            said = f"has no effect: its mail goes by {route.where}, whose tls ({route.tls}) holds"
            remarks.add(f"gatepost_domains.{domain}", said)


def check_reporter(site: Site, problems: Problems, variable: str, *senders: str) -> None:
    """Reports have a sender whose mail is signed.

    variable: what has them sent. senders: what the variables begin with that say who they are from; the first one
    that is set counts.
    """
    for part in ("organization", "contact"):
        if not any(site.value(f"{sender}_{part}") for sender in senders):
            problems.add(variable, f"needs {senders[0]}_{part}")
    contact = next((f"{sender}_contact" for sender in senders if site.value(f"{sender}_contact")), "")
    domain = in_ascii(str(site.value(contact) or "").rpartition("@")[2]) if contact else ""
    names = _names(site.value("gatepost_dkim_domains"))
    if domain and not any(domain == name or domain.endswith(f".{name}") for name in names):
        problems.add(
            contact,
            f"{domain} is none of gatepost_dkim_domains, and reports that are not signed are not believed",
        )


def _names(domains: Any) -> list[str]:
    """The domains of a list as DNS has them, as far as they are any."""
    names = domains if isinstance(domains, list | tuple) else []
    return list(ascii_domains(name for name in names if isinstance(name, str)))


def _check_settings(site: Site, problems: Problems) -> None:
    """A resolver or policy daemon is either the role's or the site's own."""
    settings = site.value("gatepost_settings")
    for variable, keys in _STANDS_FOR.items():
        for key in keys if site.value(variable) is True and isinstance(settings, Mapping) else ():
            if key in settings:
                problems.add(f"gatepost_settings.{key}", f"is set by the role, as {variable} is true")


def ascii_domains(domains: Any) -> Any:
    """Domains as DNS and SMTP have them, in ASCII and lower case: those of a list, each once, or a mapping's keys."""
    if isinstance(domains, Mapping):
        return {in_ascii(name): item for name, item in domains.items()}
    return list(dict.fromkeys(map(in_ascii, domains)))


def gatepost_keys(keys: Mapping[str, Mapping[str, str]], folder: str) -> dict[str, dict[str, str]]:
    """Entries of `file_set` for keys that the inventory has: root's, and readable for the signer alone."""
    files = {}
    for domain, selectors in ascii_domains(keys).items():
        files[f"{folder}/{domain}"] = {"state": "directory", "group": SIGNER, "mode": "0750"}
        for selector, pem in selectors.items():
            files[f"{folder}/{domain}/{selector}.pem"] = {
                "content": pem.replace("\r", "").strip() + "\n",
                "group": SIGNER,
                "mode": "0640",
            }
    return files


@kinds.plain
def _address(value: Any) -> str:
    """An address of this gateway."""
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return f"must be an IP address, not {value!r}"
    return ""


@kinds.plain
def _anchor(value: Any) -> str:
    """A trust anchor as unbound reads it."""
    found = _ANCHOR.fullmatch(value) if isinstance(value, str) else None
    if found and _is_owner(found["owner"]):
        digits, wanted = len((found["digest"] or "").replace(" ", "")), _DIGITS.get(found["type"])
        if found["key"]:
            return "" if _is_base64(found["key"].replace(" ", "")) else "its key is no base64: it was cut, perhaps"
        if digits == wanted:
            return ""
        return f"its digest has {digits} digits, and one of type {found['type']} has {wanted or 'no known number'}"
    return f"must be a DS or DNSKEY record on one line, such as '. IN DS 20326 8 2 E06D...', not {value!r}"


def _is_owner(name: str) -> bool:
    """Whether a record can be a name's: the root, or a domain, with or without the dot at its end."""
    found = Problems()
    kinds.dns_name(found, "", name.removesuffix("."))
    return name == "." or not found.found


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def _keys(problems: Problems, where: str, value: Any) -> None:
    for domain, selectors in value.items():
        kinds.domain(problems, f"{where}.{domain}", domain)
        if not isinstance(selectors, Mapping) or not selectors:
            problems.add(f"{where}.{domain}", f"must be a mapping of selectors to keys, not {kind_of(selectors)}")
            continue
        for selector, pem in selectors.items():
            if not _GIVEN_SELECTOR.fullmatch(str(selector)):
                problems.add(f"{where}.{domain}.{selector}", "a selector is small letters, digits and hyphens")
            if said := _key_problem(pem):
                problems.add(f"{where}.{domain}.{selector}", said)


def _key_problem(pem: Any) -> str:
    """Why the signer could not sign with a key; empty, it can."""
    from gatepost.signer import parse_key  # which only a site with keys need wait for

    if not isinstance(pem, str) or not _PEM.fullmatch(pem):
        return "must be a private key in PEM, each line on its own"
    try:
        parse_key(pem.encode())
    except KeyProblem as error:
        return f"cannot sign: {error}"
    return ""


def _settings(problems: Problems, where: str, value: Any) -> None:
    """What gatepost's own parser says of each key."""
    for key, item in value.items():
        if key in _OWN_KEYS:
            problems.add(f"{where}.{key}", "is made by the role; set the variable of its own")
            continue
        try:
            config.parse({key: item})
        except config.ConfigError as error:
            problems.add(where, str(error))


CHAPTER = Chapter(
    options={
        "gatepost_domains": kinds.mapped(kinds.covering_domain, kinds.choice(*LEVELS), same=kinds.as_domain),
        "gatepost_helo": kinds.mapped(kinds.choice(*FAMILIES), kinds.dns_name),
        "gatepost_own_addresses": kinds.listed(_address),
        "gatepost_reuse_seconds": kinds.number(0, 60, "seconds"),
        "gatepost_per_host": kinds.number(1, 1000, "connections"),
        "gatepost_dkim_domains": kinds.listed(kinds.domain),
        "gatepost_dkim_selector": kinds.matching(_SELECTOR.pattern, "letters, digits and hyphens"),
        "gatepost_dkim_keys": _keys,
        "gatepost_dnssec_anchors": kinds.listed(_anchor),
        "gatepost_dnssec_unsigned": kinds.listed(
            kinds.either("a domain, or . for all", kinds.choice("."), kinds.dns_name)
        ),
        "gatepost_dnssec_uid": kinds.account_id,
        "gatepost_mta_sts_uid": kinds.account_id,
        "gatepost_reports_organization": kinds.line(empty=True, longest=200),
        "gatepost_reports_contact": kinds.either("an address, or empty", kinds.choice(""), kinds.mailbox),
        "gatepost_reports_uid": kinds.account_id,
        "gatepost_settings": _settings,
        "gatepost_signer_uid": kinds.account_id,
    },
    check=check,
    remark=remark,
)
