"""Filters of verify.yml; gatewright/verification has what they do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Ansible loads a filter by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.verification import gateway_names, verification, verification_table


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "gateway_names": gateway_names,
            "verification": verification,
            "verification_table": verification_table,
        }
