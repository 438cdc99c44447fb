"""Control files of qmail that the inventory has: those that are nobody else's."""

from __future__ import annotations

import re
from typing import Any

from gatewright import kinds
from gatewright.problems import Problems

_MADE_THERE = ("rcpthosts.cdb", "morercpthosts.cdb", "concurrencyremote")
"""What qmail makes of other files, or is counted on the gateway."""
_ELSEWHERE = {
    "me": "qmail_me",
    "concurrencyincoming": "qmail_concurrency_incoming",
    "concurrencylocal": "qmail_concurrency_local",
    "timeoutsmtpd": "qmail_smtpd_timeout",
    "maxrcpt": "qmail_max_recipients",
    "maxrcptrelay": "qmail_max_recipients_relay",
    "maxsession": "qmail_session_seconds",
    "maxerrors": "qmail_session_errors",
    "maxcommands": "qmail_session_commands",
    "doublebounceto": "qmail_double_bounces",
    "doublebouncehost": "qmail_double_bounces",
    "smtproutes": "smtproutes_routes",
    "tlsroutes": "smtproutes_routes, whose entries have tls",
    "tlsca": "smtproutes_tls_ca",
    "rcpthosts": "smtproutes_extra_rcpthosts",
    "morercpthosts": "smtproutes_extra_rcpthosts",
    "badmailfrom": "smtproutes_badmailfrom",
    "databytes": "smtproutes_databytes",
}
"""What a variable of its own says, which is checked: by which one."""
_LEAST = {"queuelifetime": 3600, "timeoutconnect": 10, "timeoutremote": 60, "bouncemaxbytes": 0}
"""Numbers, and the least that lets mail through: seconds, or bytes."""
_NAME = kinds.matching(r"[a-z][a-z0-9_.-]{0,63}", "the name of a control file (small letters, digits, . _ -)")
_SEVERAL_HOPS = "percenthack"


def control_files(problems: Problems, where: str, value: Any) -> None:
    """Note what is wrong with a mapping of names to texts."""
    for name, text in value.items():
        place = f"{where}.{name}"
        if "/" in str(name):
            kinds.file_name(problems, place, name)
        else:
            _NAME(problems, place, name)
        kinds.text(problems, place, text)
        if name in _MADE_THERE:
            problems.add(place, "is made on the gateway itself")
        elif name in _ELSEWHERE:
            problems.add(place, f"has a variable of its own: {_ELSEWHERE[name]}")
        elif name == _SEVERAL_HOPS:
            problems.add(place, "would have mail for user%elsewhere@DOMAIN sent on: whoever asks could relay")
        elif name in _LEAST and not _is_at_least(text, _LEAST[name]):
            problems.add(place, f"must be a number, {_LEAST[name]} at least, not {text!r}")


def _is_at_least(text: Any, least: int) -> bool:
    number = str(text).strip()
    return bool(re.fullmatch(r"\d{1,9}", number)) and int(number) >= least
