"""Every scenario of molecule, whole: hosts made, converged twice, proved, rebooted, proved again, removed.

Two at a time, each in a lab of its own: most of a scenario is waiting, for mail to arrive and for hosts to boot.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.topology import NUMBER

PROJECT = Path(__file__).parents[2]
AT_NIGHT = {"remove"}
"""Scenarios that only `make nightly` (GATEWRIGHT_NIGHTLY=1) runs among the others."""
LONGEST = ["default", "long"]
"""They begin first; the others run beside them and after them."""
SCENARIOS = sorted(
    {path.parent.name for path in PROJECT.glob("molecule/*/molecule.yml")}
    - (set() if os.environ.get("GATEWRIGHT_NIGHTLY") else AT_NIGHT),
    key=lambda name: ([*LONGEST, name].index(name), name),
)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[int]]]:
    """The exit status of each scenario that was asked for, once it has ended; its words are in .cache."""
    asked = {item.name for item in request.session.items}
    with ThreadPoolExecutor(2) as pool:
        yield {
            scenario: pool.submit(run, scenario, NUMBER + place)
            for place, scenario in enumerate(SCENARIOS)
            if f"test_scenario[{scenario}]" in asked
        }


def run(scenario: str, number: int) -> int:
    """Run one in the lab of a number; returns molecule's exit status."""
    log_of_tests(scenario).unlink(missing_ok=True)
    with output_of(scenario).open("wb") as output:
        return subprocess.run(
            [sys.executable, "-m", "molecule", "test", "-s", scenario],
            cwd=PROJECT,
            env={**os.environ, "GATEWRIGHT_LAB_NUMBER": str(number)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode


@pytest.mark.slow
@pytest.mark.timeout(3300)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, runs: Mapping[str, Future[int]]) -> None:
    status = runs[scenario].result()
    failed = what_failed(log_of_tests(scenario))
    print(output_of(scenario).read_text(errors="replace"), failed, sep="\n")
    assert status == 0, failed


def output_of(scenario: str) -> Path:
    """What molecule says in a scenario."""
    return PROJECT / f".cache/scenario-{scenario}.log"


def log_of_tests(scenario: str) -> Path:
    """What a scenario's tests say."""
    return PROJECT / f".cache/molecule-{scenario}.log"


def what_failed(said: Path) -> str:
    """The tests that failed in a scenario, from what its pytest said: CI shows the end of the output only."""
    if not said.exists():
        return "no test was run: molecule stopped before"
    lines = said.read_text(errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
    return "\n".join([*failed[-60:], *lines[-1:]])
