"""Fixtures of the scanner's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled queue client."""
    if rig.compiler() is None:
        pytest.skip("no C compiler on this machine: the queue client cannot be built")
    return rig.build_client(tmp_path_factory.mktemp("client"))


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory, client: Path) -> rig.Gateway:
    """A client, a recorder as the next queue program, and room for a daemon."""
    return rig.Gateway(tmp_path_factory.mktemp("gw"), client)
