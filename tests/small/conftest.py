"""Tests from end to end on the small gateway: real processes, on loopback, without any privilege."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.small.gateway import SmallGateway, small_gateway


@pytest.fixture(scope="session")
def gateway() -> Iterator[SmallGateway]:
    """A gateway made of inventory/example, at which recipients may release by mail, built once."""
    with small_gateway({"scanner_release_by_mail": True}) as running:
        yield running
