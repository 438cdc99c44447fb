"""The soak's short form: what `make nightly` does with 50,000 messages, with some hundred and two reloads."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SECONDS = 500


@pytest.mark.slow
def test_a_long_life_in_short_loses_nothing_and_lets_nothing_pass() -> None:
    """Reloads, killed workers and masters, rotated logs, a full quarantine, a greedy sender beside an honest one."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler on this machine: the queue client cannot be built")
    command = [sys.executable, "-m", "tests.soak", "--messages", "1300", "--reloads", "2", "--warm-up", "300"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False)
    faults = done.stdout.splitlines()[1:-1]
    # A machine that is busy otherwise makes all wait, and so few messages leave a process still growing.
    assert [fault for fault in faults if "waited" not in fault and "memory grew" not in fault] == [], done.stdout
    assert done.stdout.rstrip().endswith("faults"), done.stderr
