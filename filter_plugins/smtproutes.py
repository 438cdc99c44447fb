"""Filter: routes to qmail's control files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Ansible loads a filter file by its path: the project's package must be made known.
sys.path[:0] = [folder for folder in (str(Path(__file__).resolve().parents[1]),) if folder not in sys.path]

from gatewright.chapters.smtproutes.routing import smtproutes_control  # noqa: E402  (needs the line above)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"smtproutes_control": smtproutes_control}
