"""gw nightly: what a night runs, and that one failure hides no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from parts import ONE_GATEWAY

from gatewright.nightly import PROJECT, Step, plan, run

BY_OTHERS = {"tests/molecule/test_scenarios.py"}
"""Run by `gw test`; by night with a scenario more, which is a step of its own."""


def words(steps: list[Step]) -> set[str]:
    """All words of all commands that can be run."""
    return {word for step in steps if not step.missing for command in step.commands for word in command}


def test_a_night_runs_every_slow_proof() -> None:
    wanted = {"tests.soak", "tests.fuzz", "tests/messy", "tests/testinfra/test_cut_runs.py", "remove", "lab.vm"}
    assert wanted <= words(plan({}))
    assert "tests/suites" in words(plan({"GATEWRIGHT_SUITES": "/somewhere"}))


def test_every_test_that_waits_for_the_night_is_run_by_it() -> None:
    files = [path for path in (PROJECT / "tests").rglob("test_*.py") if "GATEWRIGHT_NIGHTLY" in path.read_text()]
    waiting = {str(path.relative_to(PROJECT)) for path in files if path != Path(__file__).resolve()}
    assert waiting - words(plan({})) - BY_OTHERS == set()


def test_fuzzing_takes_as_many_runs_as_are_asked_for() -> None:
    assert "1000000" in words(plan({}))
    assert "7" in words(plan({"RUNS": "7"}))


def test_every_file_that_it_names_is_there() -> None:
    named = {word.removeprefix("@") for word in words(plan({"GATEWRIGHT_SUITES": "/x"})) if "/" in word}
    paths = [path for path in named if not path.startswith(".cache/")]  # a step makes those
    assert paths
    assert [path for path in paths if not (PROJECT / path).exists()] == []
    assert (PROJECT / "molecule/remove/molecule.yml").is_file()


def test_the_gateways_that_tests_look_at_are_up() -> None:
    lab_steps = [step for step in plan({}) if tuple(step.commands[0][:4]) == ("python", "-m", "lab", "up")]
    for step in lab_steps:
        files = [Path(word) for command in step.commands for word in command if word.startswith("tests/testinfra/")]
        wanted = {name for file in files for name in ONE_GATEWAY.get(file.stem, "gw1 gw2").split()}
        assert wanted <= set(step.commands[0]), f"{step.name}: {sorted(wanted)}"
        there = [word for word in step.commands[0] if word.startswith("gw")]
        assert step.environment.get("GATEWRIGHT_GATEWAYS", "") == ",".join(there), step.name
    assert lab_steps


def test_a_step_that_fails_ends_no_other_and_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = [tmp_path / name for name in ("tidied", "next", "never")]
    steps = [
        Step("first", [("false",), ("touch", str(made[2]))], ("touch", str(made[0]))),
        Step("second", [("touch", str(made[1]))]),
        Step("third", [("false",)], missing="no such machine"),
        Step("fourth", [("gatewright-no-such-program",)]),
    ]
    assert run(steps) == 1
    said = capfd.readouterr().out
    assert "nightly: first: FAILED" in said and "nightly: second: passed" in said
    assert "nightly: third: not run: no such machine" in said
    assert "nightly: fourth: FAILED" in said and "gatewright-no-such-program: No such file" in said
    assert [path.exists() for path in made] == [True, True, False]
    assert run(steps[1:3]) == 0
