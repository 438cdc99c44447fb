"""Every scenario of molecule, whole: hosts made, converged twice, proved, rebooted, proved again, removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
AT_NIGHT = {"remove"}
"""Scenarios that only `make nightly` (GATEWRIGHT_NIGHTLY=1) runs among the others."""
SCENARIOS = sorted(
    {path.parent.name for path in PROJECT.glob("molecule/*/molecule.yml")}
    - (set() if os.environ.get("GATEWRIGHT_NIGHTLY") else AT_NIGHT)
)


@pytest.mark.slow
@pytest.mark.timeout(3300)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str) -> None:
    said = PROJECT / f".cache/molecule-{scenario}.log"
    said.unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-m", "molecule", "test", "-s", scenario], cwd=PROJECT, check=False)
    assert done.returncode == 0, what_failed(said)


def what_failed(said: Path) -> str:
    """The tests that failed in a scenario, from what its pytest said: CI shows the end of the output only."""
    if not said.exists():
        return "no test was run: molecule stopped before"
    lines = said.read_text(errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
    return "\n".join([*failed[-60:], *lines[-1:]])
