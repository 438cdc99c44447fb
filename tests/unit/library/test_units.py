"""Units that need nothing: those that run, are started at boot, and run by the files that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_gateway import units


def shown(unit: str, active: str = "active", state: str = "enabled", stale: str = "no") -> str:
    """A unit as `systemctl show` has it."""
    return f"Id={unit}\nActiveState={active}\nUnitFileState={state}\nNeedDaemonReload={stale}\n"


@pytest.mark.parametrize("state", ["enabled", "static"])
def test_a_unit_that_runs_and_is_started_at_boot_needs_nothing(state: str) -> None:
    assert units.in_order(shown("a.service", state=state)) == ["a.service"]


@pytest.mark.parametrize(
    "block",
    [
        shown("a.service", active="inactive"),
        shown("a.service", active="failed"),
        shown("a.service", active="activating"),
        shown("a.service", state="disabled"),
        shown("a.service", state="masked"),
        shown("a.service", state="enabled-runtime"),
        shown("a.service", state="linked"),
        shown("a.service", state=""),
        shown("a.service", stale="yes"),
    ],
)
def test_one_that_does_not_run_or_will_not_or_has_another_file_does(block: str) -> None:
    assert units.in_order(f"{block}\n{shown('b.timer')}") == ["b.timer"]


def test_a_timer_needs_something_where_the_file_of_what_it_starts_is_newer() -> None:
    starts = shown("a.service", active="inactive", state="static", stale="yes")
    assert units.in_order(f"{starts}\n{shown('a.timer')}\n{shown('b.timer')}") == ["b.timer"]


def test_only_units_of_which_there_is_a_file_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.timer").touch()
    (tmp_path / "a.service").touch()
    assert units.present(["a", "b"], [str(tmp_path)]) == ["a.service", "a.timer"]
    assert units.question(["a.timer"])[-1] == "a.timer"


def test_a_systemd_that_says_nothing_says_that_nothing_is_in_order() -> None:
    assert units.in_order("") == []
