"""Every fuzz target runs, bounded, without a finding. Longer runs are started by hand; tests/fuzz tells how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TARGETS = sorted(path.stem for path in (PROJECT / "tests/fuzz").glob("fuzz_*.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT / "roles/scanner/files")}
"""As that of ./gw shell."""
RUNS = 500
SECONDS = 120


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_bounded_run_finds_nothing(target: str) -> None:
    command = [sys.executable, "-m", f"tests.fuzz.{target}", "--runs", str(RUNS), "--seed", "7"]
    done = subprocess.run(
        command, cwd=PROJECT, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(RUNS) in done.stdout  # each says how many inputs it tried


def test_a_run_in_pieces_tries_each_turn_once(tmp_path: Path) -> None:
    def run(*arguments: str) -> dict[str, object]:
        state = tmp_path / "state.json"
        command = [sys.executable, "-m", "tests.fuzz", "--seed", "5", "--jobs", "1", "--state", str(state)]
        subprocess.run([*command, *arguments, "rules"], cwd=PROJECT, env=ENVIRONMENT, check=True, capture_output=True)
        found: dict[str, object] = json.loads(state.read_text()) if state.exists() else {}
        return found

    assert run("--runs", "40", "--seconds", "0") == {}, "too late for any"
    first = run("--runs", "40")
    assert first == {"seed": 5, "turns": 1, "inputs": {"rules": 40}, "found": []}
    assert run("--runs", "40") == first
