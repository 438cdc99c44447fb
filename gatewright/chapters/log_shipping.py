"""Mail logs at another host: which one, and by whose word."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems

_NEEDED = {
    "log_shipping_server": "the host that gets the logs",
    "log_shipping_name": "the name that its certificate must have",
}
"""By default the name is the server, which is what hardening_log_server says; what is set and empty is none."""


def check(site: Site, problems: Problems) -> None:
    """There is a server, and a certificate has its key."""
    if site.value("log_shipping_enabled") is True:
        said = site.value("hardening_log_server")
        for variable, what in _NEEDED.items():
            said = site.host.values.get(variable, said)
            if not said:
                problems.add("log_shipping_enabled", f"needs {variable}, {what}")
    site.check_pair(problems, "log_shipping_certificate", "log_shipping_key")


CHAPTER = Chapter(
    options={
        "log_shipping_server": kinds.host_or_none,
        "log_shipping_port": kinds.port,
        "log_shipping_name": kinds.host_or_none,
        "log_shipping_authorities": kinds.path(),
        "log_shipping_certificate": kinds.path(empty=True),
        "log_shipping_key": kinds.path(empty=True),
        "log_shipping_uid": kinds.account_id,
    },
    check=check,
)
