"""TLS on port 25: certificate and key, and who insists on it."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems

_NETWORKS = ("tcp_smtp_relay_clients", "tcp_smtp_networks", "tcp_smtp_default_env")


def check(site: Site, problems: Problems) -> None:
    """Certificate and key come in pairs; what is switched off cannot be required."""
    site.check_pair(problems, "starttls_certificate", "starttls_key")
    lasts, renewed = site.value("starttls_self_signed_days"), site.value("starttls_renew_days")
    if isinstance(lasts, int) and isinstance(renewed, int) and lasts <= renewed:
        problems.add("starttls_self_signed_days", f"must be more than starttls_renew_days ({renewed})")
    if site.value("starttls_enabled") is False:
        if site.value("starttls_policy") == "required":
            problems.add("starttls_policy", "is required, but starttls_enabled is false")
        for variable in _NETWORKS:
            if "required" in _policies(site.value(variable)):
                problems.add(variable, "STARTTLS is required, but starttls_enabled is false")


def _policies(value: object) -> set[object]:
    """Every value that STARTTLS has in an environment, or in a list of entries with one."""
    if isinstance(value, list):
        return {word for item in value if isinstance(item, dict) for word in _policies(item.get("env"))}
    return {value["STARTTLS"]} if isinstance(value, dict) and isinstance(value.get("STARTTLS"), str) else set()


CHAPTER = Chapter(
    options={
        "starttls_certificate": kinds.path(empty=True),
        "starttls_key": kinds.path(empty=True),
        "starttls_self_signed_days": kinds.number(1, 3650, "days"),
        "starttls_renew_days": kinds.number(1, 3650, "days"),
    },
    check=check,
)
