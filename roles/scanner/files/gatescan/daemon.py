"""The daemon: a master that owns the socket and looks after the workers, which do everything else.

The master never touches a message. It waits for signals and, once a tick, looks at the workers' clocks:

    SIGCHLD   a worker ended: a fresh one takes its place
    SIGHUP    new configuration and code: tried out in a process of its own first, then this process executes
              itself anew. The listening socket stays, and the old workers serve until the new ones do
    SIGTERM   nobody new is let in, who waits is told to try again, present messages are finished

It may be killed at any time: its workers notice the end of the pipe that all of them hold (the lifeline),
finish their messages and end. The socket's path always leads to the newest daemon; it is never removed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from gatescan import fence, protocol
from gatescan.config import Config, ConfigError, load
from gatescan.confine import ConfinementError, confine_daemon, confine_worker, private_directory
from gatescan.engines.needs import Needs, of_engines
from gatescan.worker import Handler, Slots, Worker, refuse_all

log = logging.getLogger("gatescan.daemon")

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
INHERITED = "GATESCAN_INHERITED"
"""Set for the process that this one becomes on SIGHUP: `pid:listener:lifeline:old worker,old worker...`."""
LONGEST_TICK = 1.0
"""Seconds between two looks at the workers' clocks."""
LOG_FORMAT = "gatescan[%(process)d]: %(levelname)s %(message)s"
"""On standard error, for multilog; the time is multilog's."""
RESPAWN_DELAY = 1.0
"""Seconds until the place of a worker that died right after its start is filled again."""
FILE_BYTES = 2_000_000_000
"""The largest file that a worker may write (RLIMIT_FSIZE): a quarantined message."""

HandlerFactory = Callable[[Config], Handler]


class StartError(Exception):
    """The daemon cannot start; the text says why and what to do."""


@dataclass(slots=True)
class Place:
    """A worker's place: who is in it, since when, and from when on it may be filled again."""

    index: int
    pid: int = 0
    started: float = 0.0
    not_before: float = 0.0


@dataclass(slots=True)
class Inheritance:
    """What the process before this one left: its socket, its workers and their lifeline."""

    listener: socket.socket
    lifeline: int
    workers: set[int] = field(default_factory=set)


def load_handler(config: Config) -> Handler:
    """Import all that a message may need, so that the workers share it, load the rules, and set up the engines."""
    from gatescan import handle
    from gatescan.engines.build import panel

    engines = panel(config)
    return handle.Handler(config, (engines,) if engines else ())


def run(
    config_path: Path | None = None,
    *,
    check: bool = False,
    allow_root: bool = False,
    handler_of: HandlerFactory = load_handler,
) -> int:
    """Be the daemon until SIGTERM; return the exit status. `check` only tries whether it would start."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=LOG_FORMAT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK if check else signal.SIG_BLOCK, SIGNALS)
    try:
        if os.geteuid() == 0 and not allow_root:
            raise StartError("refusing to run as root; start it as its own user by setuidgid, or say so")
        loaded = time.time()
        config = load(config_path)
        handler = handler_of(config)
        needs = of_engines(config)
        if check:
            return 0
        inheritance = inherited()
        confine_daemon()
        fence.enclose_master(config)
        private_directory(config.spool / "tmp", clear=inheritance is None)
        return Master(config, handler, needs, inheritance, loaded).run()
    except (ConfigError, ConfinementError, StartError, OSError) as error:
        log.error("%s", error)
        return 1


def wait_until_loaded(config_path: Path | None, since: float, seconds: float) -> bool:
    """Wait until a worker answers whose configuration and code were loaded at `since` (seconds since 1970) or later."""
    path = load(config_path).daemon.socket
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if protocol.ping(path, max(0.1, until - time.monotonic())).loaded >= since:
                return True
        time.sleep(0.1)
    return False


class Master:
    """Keeps as many workers going as the configuration says."""

    def __init__(
        self, config: Config, handler: Handler, needs: Needs, inheritance: Inheritance | None, loaded: float
    ) -> None:
        """needs: what the engines need. loaded: when `config` and the code were read, in seconds since 1970."""
        self.config = config
        self.loaded = loaded
        self.handler = handler
        self.needs = needs
        self.fence_told = False
        self.inheritance = inheritance
        self.slots = Slots(config.daemon.workers)
        self.places = [Place(index) for index in range(config.daemon.workers)]
        self.retired: dict[int, float] = dict.fromkeys(
            inheritance.workers if inheritance else (), time.monotonic() + config.daemon.deadline
        )
        self.trial: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self.lifeline, self._lifeline_end = os.pipe()
        self.listener = self._take_listener()

    def run(self) -> int:
        """The master's loop; returns when the last worker is gone."""
        gc.collect()
        gc.freeze()  # what is here now is shared with the workers, and stays so
        self._fill_places()
        if self.inheritance:
            os.close(self.inheritance.lifeline)
        log.info("%d workers serve %s", len(self.places), self.config.daemon.socket)
        tick = min(LONGEST_TICK, self.config.daemon.deadline / 4)
        while not (self.stopping and not self._alive()):
            got = signal.sigtimedwait(SIGNALS, tick)
            if got and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif got and got.si_signo == signal.SIGHUP and not self.stopping:
                self._try_reload()
            self._reap()
            self._kill_overdue()
            self._fill_places()
        log.info("ended")
        return 0

    # The socket

    def _take_listener(self) -> socket.socket:
        path, backlog = str(self.config.daemon.socket), self.config.daemon.backlog
        if self.inheritance:
            listener = self.inheritance.listener
            if listener.getsockname().rpartition(".")[0] == path:
                os.chmod(path, self.config.daemon.socket_mode)
                listener.listen(backlog)
                return listener
            refuse_all(listener)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.setblocking(False)
        # Made under another name and moved: a client finds the old daemon or the new one, never nothing.
        fresh = f"{path}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        listener.bind(fresh)
        os.chmod(fresh, self.config.daemon.socket_mode)
        listener.listen(backlog)
        os.rename(fresh, path)
        return listener

    # Workers

    def _alive(self) -> bool:
        return bool(self.retired) or any(place.pid for place in self.places)

    def _fill_places(self) -> None:
        now = time.monotonic()
        for place in self.places:
            if not self.stopping and not place.pid and now >= place.not_before:
                self._fork(place)

    def _fork(self, place: Place) -> None:
        self.slots.set(place.index, 0.0, 0)
        place.started = time.monotonic()
        place.pid = os.fork()
        if place.pid == 0:
            self._be_worker(place)
        self.fence_told = True

    def _be_worker(self, place: Place) -> NoReturn:
        """In the child: serve, and never return into the master's code."""
        status = 1
        try:
            for number in SIGNALS - {signal.SIGCHLD}:
                signal.signal(number, lambda *_: None)  # signals to the whole group are the master's business
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(self._lifeline_end)
            if self.inheritance:
                os.close(self.inheritance.lifeline)
            settings = self.config.daemon
            confine_worker(f"gatescan-{place.index}", settings.memory_bytes, FILE_BYTES)
            standing = fence.enclose_worker(self.config, self.needs)
            if not self.fence_told or (standing.state == "part" and place.index == 0):
                log.log(logging.WARNING if standing.state == "part" else logging.INFO, "workers' fence: %s", standing)
            Worker(
                place.index,
                self.listener,
                self.lifeline,
                self.slots,
                self.handler,
                settings.recycle_messages,
                settings.recycle_bytes,
                self.loaded,
                str(standing),
            ).run()
            status = 0
        except BaseException:
            log.exception("worker %d failed", place.index)
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self.trial and pid == self.trial.pid:
                self._end_trial(os.waitstatus_to_exitcode(status))
            elif pid in self.retired:
                del self.retired[pid]
            else:
                self._worker_ended(pid, os.waitstatus_to_exitcode(status))

    def _worker_ended(self, pid: int, status: int) -> None:
        for place in self.places:
            if place.pid == pid:
                place.pid = 0
                if status != 0:
                    cause = f"by signal {-status}" if status < 0 else f"with status {status}"
                    log.warning("worker %d (process %d) ended %s", place.index, pid, cause)
                    if time.monotonic() - place.started < RESPAWN_DELAY:
                        place.not_before = time.monotonic() + RESPAWN_DELAY

    def _kill_overdue(self) -> None:
        """Kill who has worked on one message for too long; its client tries again."""
        now, deadline = time.monotonic(), self.config.daemon.deadline
        for place in self.places:
            since = self.slots.busy_since(place.index)
            if place.pid and since and now - since > deadline:
                log.warning("worker %d is past its deadline of %g seconds", place.index, deadline)
                os.kill(place.pid, signal.SIGKILL)
        for pid, end in self.retired.items():
            if now > end:
                os.kill(pid, signal.SIGKILL)

    # Stop and reload

    def _stop(self) -> None:
        if self.stopping:
            return
        self.stopping = True
        refuse_all(self.listener)
        os.close(self._lifeline_end)

    def _try_reload(self) -> None:
        """Let a process of its own find out whether the new code and configuration work."""
        if self.trial:
            return
        log.info("reload: trying the new configuration and code")
        try:
            self.trial = subprocess.Popen([sys.executable, *sys.orig_argv[1:], "--check"])
        except OSError as error:
            log.error("reload failed, the old configuration stays in force: %s", error)

    def _end_trial(self, status: int) -> None:
        if self.trial:
            self.trial.returncode = status
            self.trial = None
        if status != 0:
            log.error("reload failed with status %d, the old configuration stays in force", status)
        elif not self.stopping:
            self._become_new()

    def _become_new(self) -> None:
        """Execute the daemon anew in this process. The workers here serve on until the new ones do."""
        workers = [*self.retired, *(place.pid for place in self.places if place.pid)]
        kept = (self.listener.fileno(), self._lifeline_end)
        for fd in kept:
            os.set_inheritable(fd, True)
        fence.leave_word()
        os.environ[INHERITED] = f"{os.getpid()}:{kept[0]}:{kept[1]}:{','.join(map(str, workers))}"
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except OSError as error:
            log.error("reload failed, the old configuration stays in force: %s", error)
            for name in (INHERITED, fence.FILTERED):
                os.environ.pop(name, None)
            for fd in kept:
                os.set_inheritable(fd, False)


def inherited() -> Inheritance | None:
    """What the process that this one was before SIGHUP left to it, if there is any."""
    pid, *rest = os.environ.pop(INHERITED, "").split(":")
    if pid != str(os.getpid()) or len(rest) != 3:
        return None
    listener, lifeline = int(rest[0]), int(rest[1])
    for fd in (listener, lifeline):
        os.set_inheritable(fd, False)
    workers = {int(word) for word in rest[2].split(",") if word}
    return Inheritance(socket.socket(fileno=listener), lifeline, workers)
