"""Filters of the scanner; gatewright/chapters/scanner/rules has what they do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Ansible loads a filter by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.chapters.scanner.rules import scanner_domains, scanner_rules, shipped_rules


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "scanner_domains": scanner_domains,
            "scanner_rules": scanner_rules,
            "scanner_shipped_rules": shipped_rules,
        }
