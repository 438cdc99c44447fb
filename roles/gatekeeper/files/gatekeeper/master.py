"""The daemon's first process: holds the sockets, and starts a worker, which shuts itself in and serves.

It hears nothing of what is asked, so it may do what a worker may not: open sockets, and start a worker with another
fence. There is one worker at a time, as it alone counts. While there is none, who connects waits in a socket's queue.

    SIGTERM   the worker lets nobody in and answers what it was asked, then both end
    SIGHUP    is the worker's: it reads its configuration again, or ends so that another one with another fence does
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from gatekeeper.config import Config, ConfigError, load
from gatekeeper.gatefence.process import die_with, give_up_privileges

log = logging.getLogger("gatekeeper")

AGAIN = 75
"""Exit status of a worker that wants another one to take over (sysexits.h's EX_TEMPFAIL)."""
BACKLOG = 512
PAUSE = 1.0
"""Seconds from the start of a worker that died to that of the next, so that those that die at once are no storm."""
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})
SIGNALS = frozenset({*_ENDING, signal.SIGHUP, signal.SIGCHLD})
"""Those that the master waits for; a worker finds them blocked, and lets them through once it can obey."""

Listeners = Mapping[Path, socket.socket]
Work = Callable[[Config, Listeners], bool]
"""Serve by a configuration, on sockets by their paths; whether another worker is to take over."""


@dataclass(slots=True)
class Master:
    """Serves until it is told to end."""

    path: Path
    work: Work
    config: Config = field(init=False)
    listeners: dict[Path, socket.socket] = field(default_factory=dict)

    def run(self) -> None:
        """Serve; returns when the last question has been answered. Raises ConfigError, OSError."""
        self._take(load(self.path))
        give_up_privileges()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        while self._has_another_worker_to_start():
            self._look_again()
        log.info("ended")

    def _has_another_worker_to_start(self) -> bool:
        """Start a worker and see it end; False: as it was told to."""
        pause_until = time.monotonic() + PAUSE
        status, is_ending = self._attend(self._start())
        if is_ending or status == AGAIN:
            return not is_ending
        log.error("the worker ended with %d; another one takes over", status)
        return signal.sigtimedwait(_ENDING, max(0.0, pause_until - time.monotonic())) is None

    def _attend(self, worker: int) -> tuple[int, bool]:
        """Hand signals on to a worker until it has ended; its exit status, and whether it was told to end."""
        is_ending = False
        while True:
            number = signal.sigwait(SIGNALS)
            if number != signal.SIGCHLD:
                is_ending |= number in _ENDING
                os.kill(worker, number)
            elif (done := os.waitpid(worker, os.WNOHANG))[0]:
                return os.waitstatus_to_exitcode(done[1]), is_ending

    def _look_again(self) -> None:
        """Take the configuration as it is now, for another worker."""
        try:
            self._take(load(self.path))
            log.info("reloaded, for another worker")
        except (ConfigError, OSError) as error:
            log.error("reload failed, the old configuration stays in force: %s", error)

    def _take(self, config: Config) -> None:
        """Listen where a configuration says, and nowhere else. Raises OSError, and then all is as before."""
        wanted = sockets_of(config)
        fresh = {path: listen(path, wanted[path]) for path in wanted.keys() - self.listeners.keys()}
        for path in self.listeners.keys() - wanted.keys():
            self.listeners.pop(path).close()
            path.unlink(missing_ok=True)
        self.listeners |= fresh
        self.config = config

    def _start(self) -> int:
        """A worker's process."""
        master = os.getpid()
        process = os.fork()
        if not process:
            self._be_worker(master)
        return process

    def _be_worker(self, master: int) -> NoReturn:
        status = 1
        try:
            die_with(master)
            status = AGAIN if self.work(self.config, self.listeners) else 0
        except ConfigError as error:
            log.error("%s", error)
        except BaseException:
            log.exception("a worker ends")
        finally:
            sys.stderr.flush()
            os._exit(status)


def sockets_of(config: Config) -> dict[Path, socket.SocketKind]:
    """Where clients come: qmail-smtpd's, and the scanner's queue client if it may ask."""
    desk = {config.authentication_socket: socket.SOCK_SEQPACKET} if config.authentication else {}
    return {config.socket: socket.SOCK_STREAM, **desk}


def listen(path: Path, kind: socket.SocketKind) -> socket.socket:
    """The socket, under its path at once: made beside it and moved. Who may ask is looked at with each connection."""
    fresh = f"{path}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.setblocking(False)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    listener.bind(fresh)
    os.chmod(fresh, 0o666)
    listener.listen(BACKLOG)
    os.rename(fresh, path)
    return listener
