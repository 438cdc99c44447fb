"""Programs inside a container, run by one process that stays there: a podman exec for each takes a sixth of a second.

The process is a podman exec itself, so what it starts has the rights, limits and environment of one.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

RUNNER = r"""
import base64, json, subprocess, sys, tempfile
with open("/proc/self/environ", "rb") as file:
    environment = dict(pair.split(b"=", 1) for pair in file.read().split(b"\0") if b"=" in pair)
print("ready", flush=True)
for line in sys.stdin:
    print("heard", flush=True)
    if sys.stdin.readline() != "go\n":
        break
    order = json.loads(line)
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(base64.b64decode(order["input"]))
        given.seek(0)
        try:
            status = subprocess.call(
                order["command"], stdin=given, stdout=out, stderr=err, env=environment, start_new_session=True
            )
        except OSError as error:
            status = 127
            err.write(str(error).encode())
        told = [status if status >= 0 else 128 - status]
        for file in (out, err):
            file.seek(0)
            told.append(base64.b64encode(file.read()).decode())
    print(json.dumps(told), flush=True)
"""
"""Programs write to files and not to pipes, so that one that stays in the background holds nothing up. They get the
environment that podman gave, to which Python has added a locale. `go` follows once `heard` has come: a program whose
process was given up is not run by it later."""
ANSWER_SECONDS = 20.0
"""So long a process has to start, and to say that it has heard."""


class NotBegun(Exception):
    """The process that stays is not there, or not any more: the program was not run."""


@dataclass(frozen=True)
class Done:
    """How a program ended, as podman exec tells it, and what it printed."""

    status: int
    stdout: bytes
    stderr: bytes


class Runner:
    """The process that stays; it runs one program at a time."""

    def __init__(self, inside: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it by the command that runs a program inside; raise NotBegun if it does not come up."""
        self._process = subprocess.Popen(
            [*inside, "python3", "-c", RUNNER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._said = b""
        if self._next_line(ANSWER_SECONDS) != b"ready":
            self.close()
            raise NotBegun

    def run(self, command: Sequence[str], given: bytes, seconds: float | None) -> Done:
        """Run a program; raise NotBegun, or subprocess.TimeoutExpired when it has not ended after `seconds`."""
        order = {"command": list(command), "input": base64.b64encode(given).decode()}
        self._say(json.dumps(order))
        if self._next_line(ANSWER_SECONDS) != b"heard":
            raise NotBegun
        self._say("go")
        line = self._next_line(seconds)
        if line is None:
            raise subprocess.TimeoutExpired(list(command), seconds or 0)
        if not line:
            return Done(255, b"", b"the host ended before the program did")
        status, out, err = json.loads(line)
        return Done(status, base64.b64decode(out), base64.b64decode(err))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin and self._process.stdout
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        with suppress(OSError):  # what it did not read any more
            self._process.stdin.close()

    def _say(self, line: str) -> None:
        """Hand it a line; raise NotBegun when it has ended."""
        assert self._process.stdin
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise NotBegun from error

    def _next_line(self, seconds: float | None) -> bytes | None:
        """What it says next; empty when it has ended, None when it says nothing for so long."""
        assert self._process.stdout
        deadline = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._said:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                return None
            if not (more := os.read(self._process.stdout.fileno(), 1 << 20)):
                return b""
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line


_idle: dict[tuple[str, ...], list[Runner]] = defaultdict(list)
"""Runners that wait for the next program, by the command that runs a program inside."""


def run(
    inside: Sequence[str], environment: Mapping[str, str], command: Sequence[str], given: bytes, seconds: float | None
) -> Done:
    """Run a program inside; NotBegun where no process can stay: no Python, no host, a host that boots."""
    idle = _idle[tuple(inside)]
    while True:
        runner, is_new = _next_runner(idle, inside, environment)
        try:
            return _by(runner, idle, command, given, seconds)
        except NotBegun:  # of one that waited, the host was booted again since
            if is_new:
                raise


def _next_runner(idle: list[Runner], inside: Sequence[str], environment: Mapping[str, str]) -> tuple[Runner, bool]:
    """One that waits, or, where all are at work, a new one; and whether it is new."""
    try:
        return idle.pop(), False
    except IndexError:
        return Runner(inside, environment), True


def _by(runner: Runner, idle: list[Runner], command: Sequence[str], given: bytes, seconds: float | None) -> Done:
    """Have a runner run it; afterwards it waits for the next, if it is still there."""
    try:
        done = runner.run(command, given, seconds)
    except BaseException:
        runner.close()
        raise
    idle.append(runner)
    return done
