"""The engine rspamd: what it says from which score on, and what is done then."""

from __future__ import annotations

from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter
from gatewright.chapters.foundation import check_socket_group
from gatewright.inventory import Site
from gatewright.problems import Problems

_said = kinds.choice("add_header", "rewrite_subject", "reject", "soft_reject", "greylist", "quarantine", "discard")
_scores = kinds.mapped(_said, kinds.any_number(-1000, 1000), empty=False)
_HARMLESS = ("add_header", "rewrite_subject")
_answered = kinds.choice("add header", "rewrite subject", "reject", "quarantine", "discard")
_done = kinds.mapped(_answered, kinds.choice("tag", "quarantine", "quarantine+reject", "reject"))


def _positive(problems: Problems, where: str, value: Any) -> None:
    """Scores by rspamd's words. Mail that nothing speaks against has 0: it may be marked, and no more."""
    _scores(problems, where, value)
    for word, score in value.items():
        if word not in _HARMLESS and isinstance(score, int | float) and score <= 0:
            problems.add(f"{where}.{word}", f"must be more than 0, not {score!r}: harmless mail has 0 and less")


def check(site: Site, problems: Problems) -> None:
    """The scanner must be able to ask it."""
    check_socket_group(site, problems, "rspamd")


CHAPTER = Chapter(
    options={
        "rspamd_scores": _positive,
        "rspamd_inbound": _done,
        "rspamd_outbound": _done,
        "rspamd_workers": kinds.number(1, 256, "processes"),
        "rspamd_max_bytes": kinds.number(10_000, 1_000_000_000, "bytes"),
        "rspamd_timeout": kinds.number(1, 3600, "seconds"),
        "rspamd_uid": kinds.account_id,
        "rspamd_socket_group": kinds.account,
    },
    check=check,
)
