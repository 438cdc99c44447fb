"""Who may connect and relay: /etc/tcp.smtp.

policy.py reads the lists and decides, keys.py finds the keys that tcprules knows, render.py makes the file.
"""

from __future__ import annotations

from collections.abc import Mapping

from gatewright.chapters import Chapter
from gatewright.chapters.qmail.door import LEAST_RECIPIENTS, LEAST_TRIES
from gatewright.chapters.smtproutes import LEAST_DATABYTES
from gatewright.chapters.tcp_smtp.policy import CLIENTS, DEFAULT_ENV, DENY, NETWORKS, read_policy
from gatewright.chapters.tcp_smtp.render import keyed
from gatewright.inventory import Site
from gatewright.problems import Problems

_LISTS = (CLIENTS, DENY, NETWORKS, DEFAULT_ENV)
_LEAST = {
    "DATABYTES": LEAST_DATABYTES,
    "MAXRCPT": LEAST_RECIPIENTS,
    "MAXERRORS": LEAST_TRIES,
    "MAXCOMMANDS": LEAST_TRIES,
}
"""What honest clients need, as for the variables that hold for all networks."""


def check(site: Site, problems: Problems) -> None:
    """Every entry is one that tcprules can express."""
    policy = problems.collect(lambda: read_policy(*(site.value(name) for name in _LISTS)))
    if policy:
        keyed(problems, policy, ipv6=site.value("ucspi_tcp_install_method") != "source")
        _check_least(problems, DEFAULT_ENV, policy.default_env)
        for entry in policy.entries:
            _check_least(problems, entry.where, entry.env)
            if entry.senders and site.value("gatekeeper_enabled") is not True:
                problems.add(entry.where, "has senders, which nobody looks at: that needs gatekeeper_enabled: true")


def _check_least(problems: Problems, where: str, env: Mapping[str, str]) -> None:
    """Limits that honest clients of a network would meet."""
    for name, least in _LEAST.items():
        value = int(env.get(name, 0))
        if 0 < value < least:
            problems.add(where, f"env: {name} must be {least} at least, not {value}: honest clients would meet it")


CHAPTER = Chapter(check=check, parsed=frozenset(_LISTS))
