"""Which file of the lab's tests runs where: each in one scenario, and none is forgotten by a name that is no file's."""

from __future__ import annotations

import yaml
from parts import LONG, ONE_GATEWAY

from lab.topology import PROJECT


def environment(scenario: str) -> dict[str, str]:
    """What molecule tells a scenario's tests."""
    told = yaml.safe_load((PROJECT / f"molecule/{scenario}/molecule.yml").read_text())
    return dict(told["ansible"]["env"])


def test_every_name_is_a_files() -> None:
    files = {path.stem for path in (PROJECT / "tests/testinfra").glob("test_*.py")}
    assert (LONG | set(ONE_GATEWAY)) - files == set()


def test_a_long_file_runs_on_the_gateway_that_its_scenario_has() -> None:
    assert {ONE_GATEWAY.get(name) for name in LONG} == {environment("long")["GATEWRIGHT_GATEWAYS"]}


def test_two_scenarios_have_all_files_between_them() -> None:
    assert environment("long")["GATEWRIGHT_PART"] == "long"
    assert environment("default")["GATEWRIGHT_PART"] == "short"
