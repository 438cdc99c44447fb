"""What the scanner holds and does: checked by the scanner's own parsers, which the role brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from gatescan import config
from gatescan.engines.build import engines, panel
from gatescan.judging.budget import Limits

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.qmail.people import check_person
from gatewright.chapters.scanner.release import check_release, release_key
from gatewright.chapters.scanner.rules import EXTRA, VARIABLE, read_rules
from gatewright.inventory import Site
from gatewright.problems import Problems

# Keys of scanner_settings that have an option of their own: what stood there would be overridden, or override it.
_OWN = {
    "limits": "scanner_limits",
    "engines": "scanner_engines",
    "certificate": "starttls_certificate",
    "local_domains": "scanner_local_domains",
    "hostname": "qmail_me",
    "authentication": "gatekeeper_authentication",
    "release": "scanner_release_by_mail",
}
_DEADLINE = "daemon.deadline"
_DAEMON = config.DaemonConfig()


def check(site: Site, problems: Problems) -> None:
    """Rules, actions, bounds, engines and further settings as the scanner itself reads them."""
    lists = {name: site.host.values.get(name) for name in (VARIABLE, EXTRA)}
    read_rules(problems, lists)
    _check_section(problems, "scanner_actions", "actions", site.host.values.get("scanner_actions"))
    _check_domains(problems, site.host.values.get("scanner_actions"))
    _check_section(problems, "scanner_limits", "limits", site.host.values.get("scanner_limits"))
    _check_patience(site, problems)
    _check_settings(problems, site.host.values.get("scanner_settings"))
    _check_engines(site, problems)
    check_release(site, problems)
    check_person(site, problems, "scanner_admin")


def _check_section(problems: Problems, variable: str, section: str, value: Any) -> None:
    """Each setting of one section by itself, so that all mistakes are told at once."""
    for part in _parts(value):
        _ask(problems, variable, section, partial(config.parse, {section: part}))


def _check_domains(problems: Problems, actions: Any) -> None:
    """Recipient domains that mail can have, each once."""
    domains = actions.get("domains") if isinstance(actions, Mapping) else None
    if isinstance(domains, Mapping):
        known = kinds.mapped(kinds.covering_dns_name, kinds.checked_elsewhere, same=kinds.as_domain)
        known(problems, "scanner_actions.domains", domains)


def _check_patience(site: Site, problems: Problems) -> None:
    """Bounds that no message can keep hold all mail. One whose time ends after the daemon's deadline gets 4xx each time
    that it is sent, and no verdict.
    """
    given, settings = (site.host.values.get(name) for name in ("scanner_limits", "scanner_settings"))
    limits = given if isinstance(given, Mapping) else {}
    for name in ("bytes_out", "parts", "depth", "mime_depth", "seconds"):
        value = limits.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value == 0:
            problems.add(f"scanner_limits.{name}", "must be more than 0: every message would be over it")
    daemon = settings.get("daemon") if isinstance(settings, Mapping) else None
    deadline = daemon.get("deadline", _DAEMON.deadline) if isinstance(daemon, Mapping) else _DAEMON.deadline
    seconds = limits.get("seconds", Limits().seconds)
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (deadline, seconds))
    if is_number and not seconds < deadline:
        place = "scanner_limits.seconds" if "seconds" in limits else f"scanner_settings.{_DEADLINE}"
        wrong = f"less than scanner_settings.{_DEADLINE}" if "seconds" in limits else "more than scanner_limits.seconds"
        bound = deadline if "seconds" in limits else seconds
        problems.add(place, f"must be {wrong} ({bound:g}), or a message that takes so long gets 4xx for ever")


def _check_settings(problems: Problems, value: Any) -> None:
    for key, part in value.items() if isinstance(value, Mapping) else ():
        if key in _OWN:
            problems.add(f"scanner_settings.{key}", f"has a variable of its own, {_OWN[key]}")
            continue
        for single in list(_parts(part)) or [part]:
            _ask(problems, "scanner_settings", "", partial(config.parse, {key: single}))


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """A mapping taken apart down to its single settings, each in the mappings that it stands in."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        if isinstance(item, Mapping) and item:
            yield from ({key: part} for part in _parts(item))
        else:
            yield {key: item}


def _check_engines(site: Site, problems: Problems) -> None:
    from gatewright.published import published  # needs Jinja, which the small demonstration does without

    tables = site.host.values.get("scanner_engines")
    settings = site.host.values.get("scanner_settings")
    daemon = settings.get("daemon", {}) if isinstance(settings, Mapping) else {}
    if isinstance(tables, list):
        asked = {"engines": tables, "daemon": daemon}
        _ask(problems, "scanner_engines", "engines", lambda: panel(config.parse(asked), keep=False))
    names: dict[str, str] = {}
    for role, table in published(site, "engines"):
        _check_engine_of_role(site, problems, role, table, daemon)
        names[str(table.get("name") or table.get("type"))] = role
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        name = str(table.get("name") or table.get("type")) if isinstance(table, Mapping) else ""
        if name in names:
            problems.add(f"scanner_engines[{index}]", f"role {names[name]} has an engine called {name}: name this one")


def _check_engine_of_role(site: Site, problems: Problems, role: str, table: Any, daemon: Any) -> None:
    """An engine as the role that brings it will have it; its keys are the ends of the role's variables."""
    try:
        engines(config.parse({"engines": [table], "daemon": daemon}))
    except config.ConfigError as error:
        key = error.key.removeprefix("engines[0].")
        if key == error.key:
            return  # a mistake of scanner_settings, which is told there
        variable = f"{role}_{key}"
        option = variable.split(".")[0].split("[")[0]
        if any(problem.startswith(option) for problem in problems.found):
            return  # its kind has told it
        if _DEADLINE not in error.problem:
            problems.add(variable, error.problem)
        elif option in site.host.values:
            problems.add(variable, f"must be {error.problem.replace(_DEADLINE, f'scanner_settings.{_DEADLINE}')}")
        else:
            problems.add(f"scanner_settings.{_DEADLINE}", f"must be more than {variable} ({table.get(key)})")


def _ask(problems: Problems, variable: str, section: str, read: Callable[[], object]) -> None:
    """Note what the scanner says, under the variable's name in place of its section's."""
    try:
        read()
    except config.ConfigError as error:
        key = error.key.removeprefix(section) if section else f".{error.key}"
        if section != "engines" or error.key.startswith("engines"):
            problems.add(f"{variable}{key}", error.problem)


_LANGUAGE = kinds.matching(r"[a-z]{2,3}(-[a-z0-9]{2,8})?", "a language, such as de or pt-br")

CHAPTER = Chapter(
    options={
        "scanner_actions": kinds.checked_elsewhere,
        "scanner_limits": kinds.checked_elsewhere,
        "scanner_settings": kinds.checked_elsewhere,
        "scanner_engines": kinds.checked_elsewhere,
        "scanner_admin": kinds.either(
            "a mail address, or a local part of the gateway's own", kinds.mailbox, kinds.matching("[a-z0-9_-]+", "")
        ),
        "scanner_local_domains": kinds.listed(kinds.covering_domain),
        "scanner_digest_minutes": kinds.number(0, 100_000, "minutes"),
        "scanner_notice_language": _LANGUAGE,
        "scanner_notice_languages": kinds.mapped(kinds.covering_domain, _LANGUAGE, same=kinds.as_domain),
        "scanner_release_key": release_key,
        "scanner_release_verdicts": kinds.listed(kinds.choice(*config.RELEASABLE), empty=False),
        "scanner_release_days": kinds.number(1, 365, "days"),
        "scanner_release_hourly": kinds.number(1, 10_000, "messages"),
        "scanner_daily_digest_schedule": kinds.calendar,
        "scanner_workers": kinds.number(1, 1000, "processes"),
        "scanner_quarantine_bytes": kinds.number(1_000_000, kinds.BYTES, "bytes"),
        "scanner_quarantine_days": kinds.number(1, 36_500, "days"),
        "scanner_uid": kinds.account_id,
        "scanner_notify_uid": kinds.account_id,
    },
    check=check,
    parsed=frozenset({VARIABLE, EXTRA}),
)
