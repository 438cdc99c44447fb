"""Who may connect and relay: /etc/tcp.smtp.

policy.py reads the lists and decides, keys.py finds the keys that tcprules knows, render.py makes the file.
"""

from __future__ import annotations

from gatewright.chapters import Chapter
from gatewright.chapters.tcp_smtp.policy import CLIENTS, DEFAULT_ENV, DENY, NETWORKS, read_policy
from gatewright.chapters.tcp_smtp.render import keyed
from gatewright.inventory import Site
from gatewright.problems import Problems

_LISTS = (CLIENTS, DENY, NETWORKS, DEFAULT_ENV)


def check(site: Site, problems: Problems) -> None:
    """Every entry is one that tcprules can express."""
    policy = problems.collect(lambda: read_policy(*(site.value(name) for name in _LISTS)))
    if policy:
        keyed(problems, policy, ipv6=site.value("ucspi_tcp_install_method") != "source")
        for entry in policy.entries:
            if entry.senders and site.value("gatekeeper_enabled") is not True:
                problems.add(entry.where, "has senders, which nobody looks at: that needs gatekeeper_enabled: true")


CHAPTER = Chapter(check=check, parsed=frozenset(_LISTS))
