"""The daemon's first process: holds the socket, and starts workers, which shut themselves in and serve.

It speaks with nobody, so it may do what a worker may not: read the configuration, and start a worker for another one.
A worker tells through a pipe when it serves, and when it lets nobody in any more, as its fence does not do for a new
route; the pipe's end tells that it has died. The next one takes over. Who has connected meanwhile waits in the
socket's queue.

    SIGTERM   nobody new is let in, present deliveries are finished, then it ends; clients wait for the next daemon
    SIGHUP    new deliveries go by the new configuration; one that cannot be used changes nothing
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gatepost.config import Config, ConfigError, load
from gatepost.daemon import listen
from gatepost.gatefence.process import die_with, give_up_privileges

log = logging.getLogger("gatepost")

PAUSE = 1.0
"""Seconds from the start of a worker that died to that of the next, so that those that die at once are no storm."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Work = Callable[[Config, socket.socket, Callable[[], None], Callable[[], None]], None]
"""Serve by a configuration on a socket; calls the first when it serves, the second when it lets nobody in any more."""


@dataclass(slots=True)
class Worker:
    """A process that serves. pipe: there is something to read when it lets nobody in any more."""

    process: int
    pipe: int


@dataclass(slots=True)
class Master:
    """Serves until it is told to end."""

    path: Path
    work: Work
    config: Config = field(init=False)
    worker: Worker | None = None
    _listener: socket.socket = field(init=False)
    _processes: set[int] = field(default_factory=set)
    _news: int = -1
    _pause_until: float = 0.0

    def run(self) -> None:
        """Serve; returns when the last delivery has ended. Raises ConfigError, OSError."""
        self.config = load(self.path)
        give_up_privileges()
        self._news, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        self._listener = listen(self.config)
        self.worker = self._start(self.config)
        if self.worker is None:
            raise OSError("no worker can serve")
        log.info("serving %s", self.config.socket)
        while self._attend():
            pass
        self._listener.close()
        self._end()
        log.info("ended")

    def _attend(self) -> bool:
        """Wait for something to do, and do it; False: it is time to end."""
        watched = [self._news, *([self.worker.pipe] if self.worker else [])]
        pause = None if self.worker else max(0.0, self._pause_until - time.monotonic())
        ready, _, _ = select.select(watched, [], [], pause)
        numbers = set(os.read(self._news, 512)) if self._news in ready else set()
        self._reap()
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            return False
        if signal.SIGHUP in numbers:
            self._reload()
        elif self.worker is None and time.monotonic() >= self._pause_until:
            self.worker = self._start(self.config)
        elif self.worker is not None and self.worker.pipe in ready:
            if os.read(self.worker.pipe, 1):  # it has not died but left
                self._pause_until = 0.0
            os.close(self.worker.pipe)
            self.worker = None
        return True

    def _reload(self) -> None:
        try:
            config = load(self.path)
        except (ConfigError, OSError) as error:
            log.error("reload failed, the old configuration stays in force: %s", error)
            return
        fresh = self._start(config)
        if fresh is None:
            log.error("reload failed, the old configuration stays in force")
            return
        before, self.config, self.worker = self.worker, config, fresh
        if before:
            self._leave(before)
        log.info("reloaded")

    def _leave(self, worker: Worker) -> None:
        """Have a worker finish what it has, and end."""
        os.close(worker.pipe)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.process, signal.SIGHUP)

    def _start(self, config: Config) -> Worker | None:
        """A worker that serves; None if it has died before."""
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self._pause_until = time.monotonic() + PAUSE
        master = os.getpid()
        process = os.fork()
        if not process:
            self._be_worker(config, master, ours, theirs)
        self._processes.add(process)
        os.close(theirs)
        if os.read(ours, 1):
            return Worker(process, ours)
        log.error("a worker ended before it served")
        os.close(ours)
        return None

    def _be_worker(self, config: Config, master: int, ours: int, theirs: int) -> None:
        """Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            die_with(master)
            os.close(ours)
            os.close(self._news)
            self.work(config, self._listener, lambda: _tell(theirs), lambda: _tell(theirs))
            status = 0
        except BaseException:
            log.exception("a worker ends")
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self, options: int = os.WNOHANG) -> None:
        """Take note of processes that have ended."""
        with contextlib.suppress(ChildProcessError):
            while process := os.waitpid(-1, options)[0]:
                self._processes.discard(process)

    def _end(self) -> None:
        """End all workers, those too that finish what they have."""
        for process in self._processes:
            os.kill(process, signal.SIGTERM)
        self._reap(0)


def _tell(pipe: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the master has left this worker
        os.write(pipe, b"\n")
