"""Who gets mail of the gateway's own: somebody who has a mailbox elsewhere."""

from __future__ import annotations

from gatewright.domains import is_loopback
from gatewright.inventory import Host, Site
from gatewright.problems import Problems


def check_person(site: Site, problems: Problems, variable: str) -> None:
    """An address at the gateway itself has no mailbox: mail to it would go round for ever, or to nobody.

    One at another gateway goes to that one's postmaster, unless that leads back here.
    """
    local, _at, domain = str(site.value(variable) or "").lower().partition("@")
    if local and (domain in _own(site.host) or is_loopback(domain)):
        problems.add(variable, f"is at this gateway itself ({domain}), which delivers to nobody")
        return
    way = [site.host.name]
    while local and (host := next((other for other in site.gateways.values() if domain in _own(other)), None)):
        way.append(host.name)
        if way.count(host.name) > 1:
            problems.add(variable, f"leads round for ever: {' -> '.join(way)}")
            return
        local, _at, domain = str(site.of(host).value("qmail_postmaster") or "").lower().partition("@")


def _own(host: Host) -> set[str]:
    """The names of a gateway whose mail it delivers itself."""
    return {name for name in host.names if name != str(host.values.get("ansible_host", "")).lower()}
