"""Programs inside a host by a process that stays: they end and print as by podman exec, and no end of it costs one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import errands
from lab.errands import Done, NotBegun

HERE = ("env", "GATEWRIGHT_TEST=1")
"""In place of podman exec: the same machine."""


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No process stays after a test."""
    yield
    for runner in errands._idle.pop(HERE, []):
        runner.close()


def sh(script: str, given: bytes = b"", seconds: float | None = 30) -> Done:
    """Run a script."""
    return errands.run(HERE, os.environ, ["sh", "-c", script], given, seconds)


def staying() -> int:
    """The process that waits for the next program."""
    (runner,) = errands._idle[HERE]
    return runner._process.pid


def test_a_program_has_its_input_and_ends_and_prints_as_it_does() -> None:
    done = sh("cat; printf '\\377\\r\\n'; echo wrong >&2; exit 3", b"\xfe\n")
    assert done == Done(3, b"\xfe\n\xff\r\n", b"wrong\n")
    assert sh("cat") == Done(0, b"", b""), "without input it is at its end at once"
    assert sh("kill -KILL $$").status == 137
    assert errands.run(HERE, os.environ, ["/no/such"], b"", 30).status == 127
    assert len(sh("head -c 5000000 /dev/zero").stdout) == 5_000_000


def test_one_process_runs_one_program_after_another() -> None:
    sh("true")
    first = staying()
    assert int(sh("echo $PPID").stdout) == first
    assert staying() == first


def test_programs_run_side_by_side(tmp_path: Path) -> None:
    meet = f"touch {tmp_path}/$0; until [ -e {tmp_path}/$1 ]; do sleep 0.05; done"
    with ThreadPoolExecutor(2) as pool:
        orders = [["sh", "-c", meet, *pair] for pair in (("a", "b"), ("b", "a"))]
        done = list(pool.map(lambda order: errands.run(HERE, os.environ, order, b"", 30), orders))
    assert [one.status for one in done] == [0, 0]


def test_what_runs_on_in_the_background_holds_nothing_up() -> None:
    done = sh("sleep 60 & echo $!", seconds=10)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert done.status == 0


def test_a_program_that_hangs_is_given_up_and_the_next_one_runs() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        sh("exec sleep 20", seconds=0.3)
    assert sh("echo next").stdout == b"next\n"


def test_after_its_end_another_process_runs_the_next_program(tmp_path: Path) -> None:
    sh("true")
    os.kill(staying(), signal.SIGKILL)
    assert sh(f"echo once >> {tmp_path}/done").status == 0
    assert (tmp_path / "done").read_text() == "once\n"


def test_a_program_that_its_host_takes_along_is_not_run_again(tmp_path: Path) -> None:
    assert sh(f"echo once >> {tmp_path}/done; kill -KILL $PPID; sleep 20").status == 255
    assert (tmp_path / "done").read_text() == "once\n"


def test_where_none_can_stay_the_caller_is_told() -> None:
    with pytest.raises(NotBegun):
        errands.run(("false",), os.environ, ["true"], b"", 5)
