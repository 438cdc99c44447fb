"""Release by mail, as an inventory may switch it on: one key for the fleet, and recipients who hear of what is held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatescan.config import NoticesConfig
from gatescan.outcome.tokens import LEAST_KEY

from gatewright import kinds
from gatewright.inventory import Site
from gatewright.problems import Problems

UNHEARD = "has no effect: notices to recipients are off (scanner_settings.notices, scanner_local_domains)"
SWITCH, KEY, VERDICTS = "scanner_release_by_mail", "scanner_release_key", "scanner_release_verdicts"


@kinds.plain
def release_key(value: Any) -> str:
    """A key, or none. What is wrong is said without it."""
    if value == "" or (isinstance(value, str) and len(value) >= LEAST_KEY and value.isascii() and value.isprintable()):
        return ""
    return f"must have {LEAST_KEY} or more printable ASCII characters, such as `openssl rand -hex 32` makes"


def check_release(site: Site, problems: Problems) -> None:
    """Whether it can work, here and with the other gateways."""
    _check_digest(site, problems)
    if site.value(SWITCH) is not True:
        return
    if not site.value(KEY):
        problems.add(KEY, f"is needed with {SWITCH}: one for the fleet, from the vault")
    _check_fleet(site, problems)
    heard = _heard(site)
    if not heard:
        problems.add(SWITCH, UNHEARD)
    verdicts = site.value(VERDICTS)
    for verdict in verdicts if heard and isinstance(verdicts, list | tuple) else ():
        if verdict not in heard:
            problems.add(VERDICTS, f"{verdict}: scanner_settings.notices.recipient_verdicts keeps it from recipients")


def _check_digest(site: Site, problems: Problems) -> None:
    if site.value("scanner_daily_digest") is not True:
        return
    if not _heard(site):
        problems.add("scanner_daily_digest", UNHEARD)
    if site.value("scanner_daily_digest_schedule") == "":
        problems.add("scanner_daily_digest_schedule", "is empty")


def _check_fleet(site: Site, problems: Problems) -> None:
    """A reply may reach any gateway, so that each has to know the others and to have their key."""
    for other in site.others:
        there = site.of(other)
        if there.value(SWITCH) is not True:
            problems.add(SWITCH, f"is off on {other.name}: a reply may reach any gateway")
        elif there.value(KEY) != site.value(KEY):
            problems.add(KEY, f"is another one than {other.name}'s; the fleet has one")
    if site.others and "qmail_me" not in site.host.values:
        problems.add("qmail_me", f"is needed in the inventory with {SWITCH}: the other gateways pass replies on to it")


def _heard(site: Site) -> tuple[str, ...]:
    """The verdicts of which recipients hear."""
    settings = site.value("scanner_settings")
    notices = settings.get("notices") if isinstance(settings, Mapping) else None
    told = notices if isinstance(notices, Mapping) else {}
    if told.get("enabled") is False or site.host.values.get("scanner_local_domains") in ([], ()):
        return ()
    verdicts = told.get("recipient_verdicts")
    return tuple(verdicts if isinstance(verdicts, list | tuple) else NoticesConfig().recipient_verdicts)
