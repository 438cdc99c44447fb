"""Fixtures over the lab that molecule's scenario made. GATEWRIGHT_GATEWAYS names its gateways."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab_hosts import Gateway, Peer, lab_host  # the path above makes it importable

GATEWAYS = os.environ.get("GATEWRIGHT_GATEWAYS", "gw1,gw2").split(",")


@pytest.fixture(scope="session", params=GATEWAYS)
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """Each gateway of the scenario in turn."""
    return Gateway(lab_host(request.param))


@pytest.fixture(scope="session")
def office() -> Peer:
    """The company's internal mail server."""
    return Peer(lab_host("office"))


@pytest.fixture(scope="session")
def outside() -> Peer:
    """A mail server on the internet's side."""
    return Peer(lab_host("outside"))


@pytest.fixture(params=[4, 6])
def family(request: pytest.FixtureRequest, gateway: Gateway) -> int:
    """Each address family that the gateway's SMTP service speaks."""
    if request.param == 6 and not gateway.speaks_ipv6:
        pytest.skip(f"{gateway.name} has the paper's ucspi-tcp 0.88 from source: its tcpserver is IPv4 only")
    return int(request.param)
