"""Fixtures over the lab that molecule's scenario made."""

from __future__ import annotations

import os

import pytest
from lab_hosts import GATEWAYS, Gateway, Peer, lab_host

collect_ignore = ["test_remove.py"]
"""Files that run only when they are named: no gateway is left afterwards."""

ONE_GATEWAY = {
    "test_cut_runs": "gw1",
    "test_cutoff": "gw2",
    "test_day": "gw1",
    "test_drain": "gw1",
    "test_engines_fail": "gw2",
    "test_engines_find": "gw1",
    "test_engines_inventory": "gw1",
    "test_fleet": "gw1",
    "test_greedy_strangers": "gw1",
    "test_guard": "gw1",
    "test_jobs": "gw1",
    "test_log_server": "gw2",
    "test_log_shipping": "gw1",
    "test_monitoring": "gw1",
    "test_no_loss": "gw1",
    "test_notices": "gw2",
    "test_outbreak": "gw1",
    "test_page": "gw1",
    "test_qmailctl": "gw2",
    "test_quarantine": "gw1",
    "test_policy_daemon": "gw1",
    "test_relay_rights": "gw2",
    "test_release_by_reply": "gw1",
    "test_remove": "gw1",
    "test_delivery": "gw1",
    "test_smtp_door": "gw1",
    "test_survey": "gw1",
    "test_verify": "gw1",
}
"""Long files whose subject is the same on both distributions run on one; GATEWRIGHT_EVERYWHERE=1 runs them on all."""


def runs_here(item: pytest.Item) -> bool:
    """Whether a test is one for the gateway that it was given."""
    chosen = ONE_GATEWAY.get(item.path.stem)
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("gateway") if callspec else None
    return name is None or chosen not in GATEWAYS or name == chosen


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long files to one gateway each."""
    if os.environ.get("GATEWRIGHT_EVERYWHERE"):
        return
    elsewhere = [item for item in items if not runs_here(item)]
    items[:] = [item for item in items if runs_here(item)]
    config.hook.pytest_deselected(items=elsewhere)


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
