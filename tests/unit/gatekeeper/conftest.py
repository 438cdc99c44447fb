"""gatekeeper's daemon as these tests start it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gatekeeper_rig import Gatekeeper


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Gatekeeper]:
    """A daemon that is not started yet."""
    found = Gatekeeper(tmp_path)
    yield found
    found.close()
