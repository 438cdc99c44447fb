"""The filters' package is imported from the project's folder, as the filters themselves do it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
sys.path[:0] = [str(PROJECT), str(PROJECT / "roles" / "scanner" / "files")]


@pytest.fixture(scope="session")
def tcprules() -> str:
    """The path of tcprules; its companion tcprulescheck stands beside it."""
    found = shutil.which("tcprules")
    if found is None or shutil.which("tcprulescheck") is None:
        pytest.skip("tcprules and tcprulescheck are not installed here (Debian: ucspi-tcp-ipv6)")
    return found
