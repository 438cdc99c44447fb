"""The engine SpamAssassin: scores and what is done from them on."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.foundation import check_socket_group
from gatewright.inventory import Site
from gatewright.problems import Problems

_scores = kinds.mapped(kinds.choice("tag", "quarantine", "quarantine+reject", "reject"), kinds.any_number(-1000, 1000))


def check(site: Site, problems: Problems) -> None:
    """The scanner must be able to ask it."""
    check_socket_group(site, problems, "spamassassin")


CHAPTER = Chapter(
    options={
        "spamassassin_inbound": _scores,
        "spamassassin_outbound": _scores,
        "spamassassin_children": kinds.number(1, 256, "processes"),
        "spamassassin_max_bytes": kinds.number(10_000, 1_000_000_000, "bytes"),
        "spamassassin_settings": kinds.listed(kinds.line(), unique=False),
        "spamassassin_timeout": kinds.number(1, 3600, "seconds"),
        "spamassassin_uid": kinds.account_id,
        "spamassassin_socket_group": kinds.account,
    },
    check=check,
)
