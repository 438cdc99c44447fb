"""Filters of source_build; gatewright/chapters/source_build has what they do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Ansible loads a filter by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.chapters.source_build import build_key, build_plan, lacks_build, role_files


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "build_key": build_key,
            "build_plan": build_plan,
            "lacks_build": lacks_build,
            "role_files": role_files,
        }
