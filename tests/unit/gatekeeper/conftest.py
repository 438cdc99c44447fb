"""gatekeeper's daemon as these tests start it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "qmail"))
sys.path.insert(0, str(Path(__file__).parent))

from gatekeeper_rig import Gatekeeper  # the path above makes it importable


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Gatekeeper]:
    """A daemon that is not started yet."""
    found = Gatekeeper(tmp_path)
    yield found
    found.close()
