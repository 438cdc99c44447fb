"""Services below /service that are stopped for a while, and started again whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .frame import Refusal

PATH = "/command:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def svc(what: str, *folders: Path) -> None:
    """Tell supervise something."""
    command = ["svc", what, *map(str, folders)]
    subprocess.run(command, env={"PATH": PATH}, capture_output=True, timeout=20, check=True)


def svstat(folder: Path) -> str:
    """What supervise says of a service."""
    done = subprocess.run(["svstat", str(folder)], env={"PATH": PATH}, capture_output=True, text=True, check=False)
    return done.stdout


def is_wanted(folder: Path) -> bool:
    """Whether a service runs and is to run."""
    said = svstat(folder)
    return ": up " in said and "want down" not in said


@contextlib.contextmanager
def told_to_stop(folders: Sequence[Path]) -> Iterator[None]:
    """Tell services to stop; a process that sees the end of this one, however that comes, starts those that ran."""
    running = [folder for folder in folders if is_wanted(folder)]
    if not running:
        yield
        return
    reading, writing = os.pipe()
    watcher = os.fork()
    if watcher == 0:
        _start_at_the_end(running, reading, writing)
    os.close(reading)
    try:
        svc("-d", *running)
        yield
    finally:
        os.close(writing)
        os.waitpid(watcher, 0)


def _start_at_the_end(folders: Sequence[Path], reading: int, writing: int) -> None:
    """Wait for the end of the other process, and start the services."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.close(writing)
    while os.read(reading, 1):
        pass
    with contextlib.suppress(Exception):
        svc("-u", *folders)
    os._exit(0)


@contextlib.contextmanager
def stopped(folders: Sequence[Path], wait: float) -> Iterator[None]:
    """Services are down meanwhile; Refusal if one takes longer than `wait` seconds to end."""
    with told_to_stop(folders):
        deadline = time.monotonic() + wait
        while late := [folder.name for folder in folders if ": up " in svstat(folder)]:
            if time.monotonic() > deadline:
                raise Refusal(f"{', '.join(late)} did not end within {wait:.0f} s: nothing was changed; try later")
            time.sleep(0.1)
        yield
