"""A look at the host before the first change: what may be a warning has choices in its specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatewright import kinds
from gatewright.chapters import Chapter

CHAPTER = Chapter(options={"survey_accept": kinds.listed(kinds.line())})


def may_have(host: Mapping[str, Any], *paths: str) -> bool:
    """Whether a host has one of these units or folders of services; it may, where no survey has looked.

    host: what the survey has found (survey__host), empty without one.
    """
    return "units" not in host or not set(host["units"]).isdisjoint(paths)
