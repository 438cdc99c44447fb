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
from lab.talk import eventually

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


RELAY = """
exec 3<&0
pid=$1
shift
{ sh -c 'echo $$ > "$0"; exec "$@"' "$pid" "$@" <&3 | cat; } &
wait
"""
"""As podman does it: the end of the client that was started ends nothing inside."""


def is_over(process: int) -> bool:
    """Whether a process has ended, if nobody has asked how, too."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_what_was_given_up_before_it_was_heard_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "ANSWER_SECONDS", 2.0)
    inside = ("sh", "-c", RELAY, "sh", str(tmp_path / "pid"))
    order = ["sh", "-c", f"echo once >> {tmp_path}/done"]
    try:
        errands.run(inside, os.environ, ["true"], b"", 30)
        first = int((tmp_path / "pid").read_text())
        os.kill(first, signal.SIGSTOP)
        assert errands.run(inside, os.environ, order, b"", 30).status == 0
        os.kill(first, signal.SIGCONT)
        eventually(lambda: is_over(first), what="the end of the one that was given up")
    finally:
        for runner in errands._idle.pop(inside):
            runner.close()
    assert (tmp_path / "done").read_text() == "once\n"


def test_a_program_has_the_environment_that_podman_gives() -> None:
    """Python adds a locale to its own, by which grep takes mail for binary files."""
    inside = ("env", "-i", f"PATH={os.environ['PATH']}", "TOLD=yes")
    try:
        told = errands.run(inside, os.environ, ["env"], b"", 30).stdout.decode().splitlines()
    finally:
        for runner in errands._idle.pop(inside):
            runner.close()
    assert sorted(told) == sorted([f"PATH={os.environ['PATH']}", "TOLD=yes"])


def test_where_none_can_stay_the_caller_is_told() -> None:
    with pytest.raises(NotBegun):
        errands.run(("false",), os.environ, ["true"], b"", 5)
