"""TLS on port 25: certificate and key, and who insists on it."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.tcp_smtp.environments import environments
from gatewright.inventory import Site
from gatewright.problems import Problems


def check(site: Site, problems: Problems) -> None:
    """Certificate and key come in pairs; what is switched off cannot be required."""
    site.check_pair(problems, "starttls_certificate", "starttls_key")
    lasts, renewed = site.value("starttls_self_signed_days"), site.value("starttls_renew_days")
    if isinstance(lasts, int) and isinstance(renewed, int) and lasts <= renewed:
        problems.add("starttls_self_signed_days", f"must be more than starttls_renew_days ({renewed})")
    if site.value("starttls_enabled") is False:
        if site.value("starttls_policy") == "required":
            problems.add("starttls_policy", "is required, but starttls_enabled is false")
        for variable in {name: None for name, env in environments(site) if env.get("STARTTLS") == "required"}:
            problems.add(variable, "STARTTLS is required, but starttls_enabled is false")


CHAPTER = Chapter(
    options={
        "starttls_certificate": kinds.path(empty=True),
        "starttls_key": kinds.path(empty=True),
        "starttls_self_signed_days": kinds.number(1, 3650, "days"),
        "starttls_renew_days": kinds.number(1, 3650, "days"),
    },
    check=check,
)
