"""The folder of a small gateway, the one user of all its programs, and the processes that end with it.

Logs stand below it where a gateway has them, with a time before each line as multilog puts it there: what reads those
of a gateway (`gw trace`) reads these.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from on_gateway.trace.logs import TAI

from lab.machine import LabError
from lab.topology import CACHE

PATIENCE = 30.0
"""Seconds after which a program that does not do what it should is given up."""
COMMAND_SECONDS = 300
NOBODY = "nobody"
LONGEST_PARENT = 60
"""Bytes of the folder's parent: a socket's path has at most 107, and ours adds some 45."""


def wait_until(look: Callable[[], bool], what: str, said: Callable[[], str]) -> None:
    """Look again and again until it is so; after PATIENCE seconds raise LabError with the last words of the program."""
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            raise LabError(f"small gateway: not within {PATIENCE:.0f} s: {what}; it said: {said()[-500:]}")
        time.sleep(0.05)


def system_python() -> str:
    """The Python that a user without rights can start: Debian's, where it is new enough."""
    found = "/usr/bin/python3"
    question = "import sys; sys.exit(sys.version_info < (3, 11))"
    if Path(found).exists() and subprocess.run([found, "-c", question], check=False).returncode == 0:
        return found
    return sys.executable


def _session_of(pid: int) -> int:
    """A process's session; 0 when it has just ended."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return 0


def _log_lines(said: Iterable[bytes], log: IO[bytes]) -> None:
    """Write what a program says into a file, each line behind its time, until it says no more."""
    with log:
        for line in said:
            now = time.time_ns()
            log.write(b"@%016x%08x " % (TAI + now // 10**9, now % 10**9) + line.rstrip(b"\n") + b"\n")


class Place:
    """Use it in a `with`. Root's programs run as nobody, others' as themselves: none of them may change user.

    is_supervised: programs that go on are started anew when they end, by djb's supervise (package daemontools).
    """

    def __init__(self, is_supervised: bool = False) -> None:
        """Know the user; nothing is made yet."""
        self.is_supervised = is_supervised
        self.account = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Place:
        self.path = self._make()
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            self._end(process)
        shutil.rmtree(self.path, ignore_errors=True)

    def _make(self) -> Path:
        """A folder that our user can reach and in which programs may be started."""
        for parent in (os.environ.get("TMPDIR", "/var/tmp"), "/tmp", str(CACHE)):
            if len(parent) > LONGEST_PARENT:
                continue
            with contextlib.suppress(OSError):
                path = Path(tempfile.mkdtemp(prefix="gatewright-small-", dir=parent))
                path.chmod(0o755)
                if self._can_start_programs_in(path):
                    return path
                shutil.rmtree(path)
        raise LabError("small gateway: no folder for it: TMPDIR, /var/tmp and /tmp are full, noexec or closed to us")

    def _can_start_programs_in(self, path: Path) -> bool:
        program = path / "true"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        with contextlib.suppress(OSError):
            return subprocess.run([program], check=False, **self._as_user()).returncode == 0
        return False

    def _as_user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def folder(self, name: str) -> Path:
        """Make a folder below this one that belongs to our user."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)
        return path

    def run(
        self, *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> str:
        """Run a program to its end and return what it prints; raise LabError with its last words when it fails."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd or self.path, env=self.environment(env), input=stdin, capture_output=True, text=True,
            errors="replace", timeout=COMMAND_SECONDS, check=False, **self._as_user(),
        )  # short arguments, many a line # fmt: skip
        if done.returncode:
            words = " ".join(map(str, command))
            raise LabError(f"{words} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-2000:]}")
        return str(done.stdout)

    def start(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program that goes on; what it says is in var/log/NAME/current."""
        if self.is_supervised:
            command = ("supervise", self._service(name, command, self.environment(env)))
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [str(word) for word in command],
            cwd="/", env=self.environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, **self._as_user(),
        )  # short arguments, many a line # fmt: skip
        self._running.append(process)
        log = (self.folder(f"var/log/{name}") / "current").open("wb", buffering=0)
        threading.Thread(target=_log_lines, args=(process.stdout, log), daemon=True).start()
        return process

    def _service(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> Path:
        """A directory of daemontools' whose run script starts a program."""
        service = self.folder(f"service/{name}")
        words = ["exec", "env", "-i", *(f"{key}={value}" for key, value in environment.items()), *map(str, command)]
        run = service / "run"
        run.write_text(f"#!/bin/sh\n{shlex.join(words)} 2>&1\n")
        run.chmod(0o755)
        return service

    def processes(self) -> list[int]:
        """The ids of all programs that run here, with all that they started."""
        sessions = {process.pid for process in self._running}
        found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in found if _session_of(pid) in sessions]

    def said(self, name: str) -> str:
        """What a program that was started has said so far."""
        return (self.path / "var/log" / name / "current").read_text(errors="replace")

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of every program: nothing of the caller's."""
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **(more or {})}

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and all that it started: a word first, then by force."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
