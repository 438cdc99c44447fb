"""Figures for Prometheus: who may ask for them."""

from __future__ import annotations

from gatewright import PROJECT, kinds
from gatewright.chapters import Chapter
from gatewright.chapters.firewall.reach import is_everybody
from gatewright.chapters.qmail.people import check_person
from gatewright.inventory import Site
from gatewright.problems import Problems
from gatewright.published import check_port

MODULE_UTILS = PROJECT / "module_utils"
# What console/report.py needs, and nothing of what asks other hosts or serves pages.
_OF_CONSOLE = (
    "gatewright/__init__.py",
    *(f"gatewright/console/{name}.py" for name in ("__init__", "charts", "desk", "overview", "render", "report")),
    *(f"gatewright/console/templates/{name}.html" for name in ("base", "charts", "figures", "report")),
    "gatewright/console/static/style.css",
    *(f"gatewright/fleet/{name}.py" for name in ("__init__", "ask", "filters", "show", "status")),
)


def check(site: Site, problems: Problems) -> None:
    """Reports have a reader; an exporter has something to serve, a port of its own, and networks that may ask."""
    check_person(site, problems, "monitoring_report_to")
    if site.value("monitoring_exporter") is not True:
        return
    if site.value("monitoring_enabled") is not True:
        problems.add("monitoring_exporter", "needs monitoring_enabled: true, or it has nothing to serve")
    networks = site.value("firewall_admin_networks")
    if not networks or is_everybody(networks):
        problems.add("monitoring_exporter", "needs firewall_admin_networks that are not everybody, or all may ask it")
    check_port(site, problems, "monitoring_port")


def report_files(folder: str) -> dict[str, str]:
    """What the report of a gateway about itself is made by, of the project's own files: path on the gateway to text."""
    found = {name: PROJECT / name for name in _OF_CONSOLE} | {
        path.relative_to(MODULE_UTILS).as_posix(): path
        for pattern in ("on_gateway/*.py", "on_gateway/trace/*.py")
        for path in sorted(MODULE_UTILS.glob(pattern))
    }
    return {f"{folder}/{name}": path.read_text(encoding="utf-8") for name, path in found.items()}


CHAPTER = Chapter(
    options={
        "monitoring_port": kinds.port,
        "monitoring_report_schedule": kinds.calendar,
        "monitoring_report_to": kinds.mailbox,
    },
    check=check,
)
