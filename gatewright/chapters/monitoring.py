"""Figures for Prometheus: who may ask for them."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems


def check(site: Site, problems: Problems) -> None:
    """An exporter has something to serve, a port of its own, and networks that may ask."""
    if site.value("monitoring_exporter") is not True:
        return
    if site.value("monitoring_enabled") is not True:
        problems.add("monitoring_exporter", "needs monitoring_enabled: true, or it has nothing to serve")
    if not site.value("firewall_admin_networks"):
        problems.add("monitoring_exporter", "needs firewall_admin_networks, or everybody may ask it")
    if site.value("monitoring_port") in (25, site.value("sshd_port")):
        problems.add("monitoring_port", "is a port of mail or SSH")


CHAPTER = Chapter(options={"monitoring_port": kinds.port}, check=check)
