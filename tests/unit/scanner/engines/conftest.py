"""Fixtures of the engines' tests."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from doubles.daemon import Daemon

DOUBLE = Path(__file__).parent / "doubles" / "program.py"


@pytest.fixture
def double(tmp_path: Path) -> Callable[..., Path]:
    """Installs a scanner's double and returns its path."""

    def install(name: str, argv: Sequence[str] = (), code: int = 0, output: str = "", **more: Any) -> Path:
        program = tmp_path / name
        shutil.copy(DOUBLE, program)
        text = program.read_text()
        program.write_text(f"#!{sys.executable} -IS\n{text}")
        program.chmod(0o755)
        told = {"argv": list(argv), "code": code, "output": output, **more}
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
        return program

    return install


@pytest.fixture
def daemon(tmp_path: Path) -> Any:
    """Starts doubles of daemons, and ends them with the test."""
    started: list[Daemon] = []

    def start(serve: Callable[..., None]) -> str:
        started.append(Daemon(tmp_path / f"d{len(started)}.sock", serve))
        return started[-1].path

    yield start
    for one in started:
        one.close()
