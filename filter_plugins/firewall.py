"""Filters of the firewall; gatewright/chapters/firewall/ruleset has what they do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Ansible loads a filter by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.chapters.firewall.ruleset import bootstrap_elements, exempt_elements, firewall_rules, firewall_survey


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "firewall_rules": firewall_rules,
            "firewall_survey": firewall_survey,
            "bootstrap_elements": bootstrap_elements,
            "exempt_elements": exempt_elements,
        }
