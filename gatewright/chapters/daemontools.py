"""Supervision: how long services get to end."""

from __future__ import annotations

from collections.abc import Iterable

from gatewright import kinds
from gatewright.chapters import Chapter

CHAPTER = Chapter(options={"daemontools_stop_timeout": kinds.number(1, 3600, "seconds")})


def as_links(names: Iterable[str], directory: str, target: str) -> dict[str, dict[str, str]]:
    """Return entries of file_set that make DIRECTORY/NAME a link to TARGET/NAME, for every name."""
    return {f"{directory}/{name}": {"state": "link", "target": f"{target}/{name}"} for name in names}
