"""Every fuzz target runs, bounded, without a finding. Longer runs are started by hand; tests/fuzz tells how."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz"
TARGETS = sorted(path.stem for path in FUZZ.glob("fuzz_*.py"))
RUNS = 500
SECONDS = 120


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_bounded_run_finds_nothing(target: str) -> None:
    command = [sys.executable, str(FUZZ / f"{target}.py"), "--runs", str(RUNS), "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(RUNS) in done.stdout  # each says how many inputs it tried
