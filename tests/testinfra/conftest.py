"""Fixtures over the lab that molecule's scenario made."""

from __future__ import annotations

import os

import pytest
from lab_hosts import GATEWAYS, Gateway, Peer, lab_host
from parts import LONG, ONE_GATEWAY

collect_ignore = ["test_remove.py", "test_jobs_elsewhere.py"]
"""Files that run only when they are named: no gateway is left afterwards, or another one."""


def runs_here(item: pytest.Item) -> bool:
    """Whether a test is one for the gateway that it was given."""
    chosen = ONE_GATEWAY.get(item.path.stem)
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("gateway") if callspec else None
    return name is None or chosen not in GATEWAYS or name == chosen


def is_of_this_part(item: pytest.Item) -> bool:
    """Whether a test is one for the scenario that runs; without GATEWRIGHT_PART each is."""
    part = os.environ.get("GATEWRIGHT_PART", "")
    return not part or (item.path.stem in LONG) == (part == "long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long files to one gateway each, and those of another scenario to it."""
    everywhere = bool(os.environ.get("GATEWRIGHT_EVERYWHERE"))
    here = [item for item in items if is_of_this_part(item) and (everywhere or runs_here(item))]
    config.hook.pytest_deselected(items=[item for item in items if item not in here])
    items[:] = here


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once what failed: the summary comes half an hour later, or never when a run is cut off."""
    if report.failed:
        print(f"\n{report.longreprtext[-4000:]}", flush=True)


def pytest_report_header() -> str:
    """Say which files run on one gateway only."""
    if os.environ.get("GATEWRIGHT_EVERYWHERE"):
        return "every file on every gateway"
    return "on one gateway: " + ", ".join(f"{file} ({name})" for file, name in ONE_GATEWAY.items())


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
