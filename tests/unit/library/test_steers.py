"""steers: the controller of a run that lasts and the administrators' networks are not banned; others are."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "roles/hardening/files/usr/local/lib/gatewright/steers"
LOADER = importlib.machinery.SourceFileLoader("steers", str(TOOL))
SPEC = importlib.util.spec_from_loader("steers", LOADER)
assert SPEC
tool = importlib.util.module_from_spec(SPEC)
LOADER.exec_module(tool)

TEXT = "2000\n192.0.2.7\n10.1.0.0/16\n2001:db8:5::/48\n"


@pytest.mark.parametrize("address", ["192.0.2.7", "10.1.200.3", "2001:db8:5::9"])
def test_who_steers_is_exempt_while_the_run_lasts(address: str) -> None:
    assert tool.steers(address, TEXT, 1999.0)
    assert not tool.steers(address, TEXT, 2001.0)


@pytest.mark.parametrize("address", ["192.0.2.8", "2001:db8:6::9"])
def test_others_are_banned(address: str) -> None:
    assert not tool.steers(address, TEXT, 1999.0)
