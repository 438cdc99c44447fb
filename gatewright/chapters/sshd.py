"""SSH: its port, who may come, and what else its configuration has."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.inventory import Site
from gatewright.problems import Problems


def check(site: Site, problems: Problems) -> None:
    """SMTP's port is taken."""
    if site.value("sshd_port") in (25, "25"):
        problems.add("sshd_port", "25 is SMTP's port")


_keyword = kinds.matching(r"[A-Z][A-Za-z0-9]+", "an option of sshd_config")

CHAPTER = Chapter(
    options={
        "sshd_port": kinds.port,
        "sshd_allow_groups": kinds.listed(kinds.account),
        "sshd_authorized_keys_files": kinds.listed(
            kinds.matching(r"(?!.*\.\.)[!-~]+", "a path without blanks, absolute or below the user's home"), empty=False
        ),
        "sshd_rsa_bits": kinds.number(2048, 16384, "bits"),
        "sshd_max_auth_tries": kinds.number(1, 100, "attempts"),
        "sshd_max_sessions": kinds.number(1, 100, "sessions"),
        "sshd_banner": kinds.path(empty=True),
        "sshd_extra_options": kinds.mapped(
            _keyword, kinds.either("text or a list of texts", kinds.scalar, kinds.listed(kinds.scalar))
        ),
        "sshd_window": kinds.number(10, 3600, "seconds"),
    },
    check=check,
)
