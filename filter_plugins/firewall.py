"""Filters: the gateway's policy to an nftables ruleset, and what the firewall role reads from the host."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Ansible loads a filter file by its path: the project's package must be made known.
sys.path[:0] = [folder for folder in (str(Path(__file__).resolve().parents[1]),) if folder not in sys.path]

from gatewright.chapters.firewall.ruleset import bootstrap_elements, firewall_survey, nftables_ruleset  # noqa: E402  (as above)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "nftables_ruleset": nftables_ruleset,
            "firewall_survey": firewall_survey,
            "bootstrap_elements": bootstrap_elements,
        }
