"""gw test: what runs beside what, and that no failure is lost."""

from __future__ import annotations

import os
import subprocess
from threading import Event

import pytest

from gatewright import cli


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was run, a word each; lint passes, and unit tests end only after the first container was asked for."""
    words: list[str] = []
    begun = Event()

    def pytest_(*arguments: str) -> int:
        words.append(arguments[-1])
        if arguments == cli.WITHOUT_CONTAINERS and "GATEWRIGHT_SMALL" not in os.environ:
            assert begun.wait(20), "nothing runs beside the unit tests"
        return 0

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        words.append(arguments[-1])
        begun.set()
        return subprocess.CompletedProcess(arguments, int(arguments[-1] == "tests/bare"), f"{arguments[-1]}: said\n")

    monkeypatch.setattr(cli, "lint", lambda: 0)
    monkeypatch.setattr(cli, "pytest", pytest_)
    monkeypatch.setattr(cli, "output_and_status", command)
    monkeypatch.delenv("GATEWRIGHT_SMALL", raising=False)
    return words


def test_the_first_containers_are_made_beside_the_unit_tests_and_their_failure_is_told(
    ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.test() == 1
    assert set(ran[:3]) == {"images", "tests/bare", "tests/small"} and ran[3:] == ["tests/molecule"]
    assert "images: said\ntests/bare: said\n" in capsys.readouterr().out


def test_without_containers_none_is_made(
    ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWRIGHT_SMALL", "1")
    assert cli.test() == 0
    assert ran == ["tests/small"]
    assert "not run: molecule's scenarios" in capsys.readouterr().out
