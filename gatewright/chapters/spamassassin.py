"""The engine SpamAssassin: scores and what is done from them on."""

from __future__ import annotations

from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.foundation import check_socket_group
from gatewright.inventory import Site
from gatewright.problems import Problems

_actions = kinds.mapped(kinds.choice("tag", "quarantine", "quarantine+reject", "reject"), kinds.any_number(-1000, 1000))


def _scores(problems: Problems, where: str, value: Any) -> None:
    """Scores by action. Mail that nothing speaks against has 0: it may be tagged, and no more."""
    _actions(problems, where, value)
    for action, score in value.items():
        if action != "tag" and isinstance(score, int | float) and score <= 0:
            problems.add(f"{where}.{action}", f"must be more than 0, not {score!r}: harmless mail has 0 and less")


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
