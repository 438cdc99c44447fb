"""The filters' package is imported as Ansible imports it: from the folder filter_plugins."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "filter_plugins"))


@pytest.fixture(scope="session")
def tcprules() -> str:
    """The path of tcprules; its companion tcprulescheck stands beside it."""
    found = shutil.which("tcprules")
    if found is None or shutil.which("tcprulescheck") is None:
        pytest.skip("tcprules and tcprulescheck are not installed here (Debian: ucspi-tcp-ipv6)")
    return found
