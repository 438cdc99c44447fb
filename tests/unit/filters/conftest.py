"""What tests of several chapters need."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session")
def tcprules() -> str:
    """The path of tcprules; its companion tcprulescheck stands beside it."""
    found = shutil.which("tcprules")
    if found is None or shutil.which("tcprulescheck") is None:
        pytest.skip("tcprules and tcprulescheck are not installed here (Debian: ucspi-tcp-ipv6)")
    return found
