"""Who gets mail of the gateway's own: somebody who has a mailbox elsewhere."""

from __future__ import annotations

from gatewright.domains import is_loopback
from gatewright.inventory import Site
from gatewright.problems import Problems


def check_person(site: Site, problems: Problems, variable: str) -> None:
    """An address at the gateway itself has no mailbox: mail to it would go round for ever, or to nobody."""
    own = {name for name in site.host.names if name != str(site.host.values.get("ansible_host", "")).lower()}
    local, _at, domain = str(site.value(variable) or "").lower().partition("@")
    if local and (domain in own or is_loopback(domain)):
        problems.add(variable, f"is at this gateway itself ({domain}), which delivers to nobody")
