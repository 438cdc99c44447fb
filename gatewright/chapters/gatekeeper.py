"""The door: whose recipients are known how, what relay clients may send, and which DNS lists have a say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatekeeper import config
from gatekeeper.addresses import covering, in_ascii
from gatekeeper.directory import directory

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.gatepost import check_reporter
from gatewright.inventory import Site
from gatewright.problems import Problems

# Made from other variables, or fixed by the role.
_OWN_KEYS = (
    "recipients", "list_loss", "delimiter", "guesses", "limits", "relay_senders", "dns_lists", "dns_threshold",
    "home", "socket", "state", "clients", "authentication", "authentication_socket", "own_domains", "may_spoof",
    "forwarders", "protected_names", "dmarc_counts", "organization", "contact",
)  # names, many a line # fmt: skip


_NEED_AUTHENTICATION = (
    "gatekeeper_may_spoof",
    "gatekeeper_forwarders",
    "gatekeeper_protected_names",
    "gatekeeper_dmarc_reports",
)
_NEED_GATEKEEPER = ("gatekeeper_recipients", "gatekeeper_dns_lists")
_SHOWN = 10
"""Domains that a remark names."""


def check(site: Site, problems: Problems) -> None:
    """Recipients have a way in, and what says who mail is from is asked."""
    _check_recipients(site, problems)
    _check_dns_lists(site, problems)
    _check_authentication(site, problems)
    if site.value("gatekeeper_dmarc_reports") is True:
        check_reporter(site, problems, "gatekeeper_dmarc_reports", "gatekeeper_reports", "gatepost_reports")


def remark(site: Site, remarks: Problems) -> None:
    """Domains whose mail becomes bounces to forged senders, and what nobody looks at."""
    if site.value("gatekeeper_enabled") is not True:
        for name in _NEED_GATEKEEPER:
            if site.value(name):
                remarks.add(name, "nobody looks at it: that needs gatekeeper_enabled: true")
    elif found := _open(site):
        named = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        what = "what their servers refuse becomes bounces to senders that are often forged (backscatter)"
        remarks.add(
            "gatekeeper_recipients", f"anybody at {named} gets mail, so {what}; name a list, a file or a callout"
        )


def _open(site: Site) -> list[str]:
    """The domains that take mail for whoever."""
    recipients = site.value("gatekeeper_recipients")
    told = recipients.items() if isinstance(recipients, Mapping) else ()
    rules = {in_ascii(str(domain)): rule for domain, rule in told}
    names = _routed(site) | _names(site.value("smtproutes_extra_rcpthosts"))
    return sorted(name for name in names if next((rules[at] for at in covering(name) if at in rules), "any") == "any")


def _check_authentication(site: Site, problems: Problems) -> None:
    if site.value("gatekeeper_authentication") is not True:
        for name in _NEED_AUTHENTICATION:
            if site.value(name):
                problems.add(name, "nobody looks at it: that needs gatekeeper_authentication: true")
    elif site.value("gatekeeper_enabled") is not True:
        problems.add("gatekeeper_authentication", "needs gatekeeper_enabled: true")


def _check_recipients(site: Site, problems: Problems) -> None:
    """Recipients are those of domains that come in here, and a server that is asked has a route."""
    recipients = site.value("gatekeeper_recipients")
    if not isinstance(recipients, Mapping):
        return
    routed, accepted = _routed(site), _names(site.value("smtproutes_extra_rcpthosts"))
    for domain, rule in recipients.items():
        names = set(covering(in_ascii(str(domain))))
        where = f"gatekeeper_recipients.{domain}"
        if not names & (routed | accepted):
            problems.add(
                where, "has neither a route nor an entry in smtproutes_extra_rcpthosts, so no mail for it comes in"
            )
        elif rule == {"callout": True} and not names & routed and not site.value("smtproutes_default_route"):
            problems.add(where, "has no route, so there is no server that could be asked for recipients")
        elif _names_nobody(in_ascii(str(domain)), rule):
            problems.add(where, f"has no address at {domain}; nobody would have mail")


def _names_nobody(domain: str, rule: Any) -> bool:
    """Whether a rule is a list for another domain. What is no rule at all is told of the entry itself."""
    try:
        return config.names_nobody(domain, config.rule("", rule))
    except config.ConfigError:
        return False


def _check_dns_lists(site: Site, problems: Problems) -> None:
    """Lists can refuse somebody, and are lists."""
    lists, threshold = site.value("gatekeeper_dns_lists"), site.value("gatekeeper_dns_threshold")
    if not isinstance(lists, Mapping) or not lists:
        return
    for zone in sorted(_routed(site) & {in_ascii(str(name)) for name in lists}):
        problems.add(f"gatekeeper_dns_lists.{zone}", "is a domain of yours and no DNS list")
    weights = [entry.get("weight", 1) for entry in lists.values() if isinstance(entry, Mapping)]
    if all(isinstance(number, int) for number in (*weights, threshold)) and sum(weights) < threshold:
        why = f"is more than {sum(weights)}, all weights of gatekeeper_dns_lists together: nobody would be refused"
        problems.add("gatekeeper_dns_threshold", why)


def _routed(site: Site) -> set[str]:
    found = set()
    routes = site.value("smtproutes_routes")
    for route in routes if isinstance(routes, list | tuple) else ():
        if isinstance(route, Mapping) and isinstance(route.get("domain"), str):
            name = in_ascii(route["domain"])
            found |= {name, f".{name}"} if route.get("subdomains") is True else {name}
    return found


def _names(value: Any) -> set[str]:
    return {in_ascii(item) for item in value if isinstance(item, str)} if isinstance(value, list | tuple) else set()


def _own(key: str) -> kinds.Kind:
    """What gatekeeper's own parser says of a key of its configuration, under the variable's name."""

    def look(problems: Problems, where: str, value: Any) -> None:
        try:
            config.parse({key: value})
        except config.ConfigError as error:
            problems.add(where, str(error).removeprefix(key).lstrip(".:").strip())

    return look


def _part(parse: Any) -> kinds.Kind:
    """What one of its parsers says of an entry."""

    def look(problems: Problems, where: str, value: Any) -> None:
        try:
            parse(where, value)
        except config.ConfigError as error:
            problems.add(where, str(error).removeprefix(where).lstrip(".:").strip())

    return look


def _rule(where: str, value: Any) -> None:
    """The role makes a file of what a directory says; gatekeeper itself knows of none."""
    if isinstance(value, Mapping) and set(value) == {"ldap"}:
        directory(f"{where}.ldap", value["ldap"])
    else:
        config.rule(where, value)


def _settings(problems: Problems, where: str, value: Any) -> None:
    for key, item in value.items():
        if key in _OWN_KEYS:
            problems.add(f"{where}.{key}", "is made by the role; set the variable of its own")
        else:
            _part(lambda _, found, key=key: config.parse({key: found}))(problems, where, item)


CHAPTER = Chapter(
    options={
        "gatekeeper_recipients": kinds.mapped(kinds.covering_domain, _part(_rule), same=kinds.as_domain),
        "gatekeeper_ldap_schedule": kinds.schedule,
        "gatekeeper_ldap_uid": kinds.account_id,
        "gatekeeper_list_loss": kinds.number(0, 100, "percent"),
        "gatekeeper_guesses": kinds.number(0, 1_000_000, "recipients"),
        "gatekeeper_limits": _own("limits"),
        "gatekeeper_dns_lists": kinds.mapped(kinds.domain, _part(config.dns_list), same=kinds.as_domain),
        "gatekeeper_dns_threshold": kinds.number(1, 1_000_000, "the sum of weights"),
        "gatekeeper_own_domains": kinds.listed(_part(config.domain)),
        "gatekeeper_may_spoof": kinds.listed(_part(config.network_or_domain)),
        "gatekeeper_forwarders": kinds.listed(_part(config.domain)),
        "gatekeeper_protected_names": kinds.listed(_part(config.person)),
        "gatekeeper_reports_organization": kinds.line(empty=True, longest=200),
        "gatekeeper_reports_contact": kinds.either("an address, or empty", kinds.choice(""), kinds.mailbox),
        "gatekeeper_settings": _settings,
        "gatekeeper_uid": kinds.account_id,
    },
    check=check,
    remark=remark,
)
