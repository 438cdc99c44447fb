"""The daemon: a master that owns the socket and looks after the workers, which do everything else.

The master never touches a message. It waits for signals and for connections that no worker may serve yet (`waiting`),
and, once a tick, looks at the workers' clocks:

    SIGCHLD   a worker ended: a fresh one takes its place
    SIGHUP    new configuration and code: tried out in a process of its own first, then this process executes
              itself anew. The listening socket stays; the old workers serve until then, and finish what they have
    SIGTERM   nobody new is let in, who waits is told to try again, present messages are finished

It may be killed at any time: its workers notice the end of the pipe that all of them hold (the lifeline),
finish their messages and end. The socket's path always leads to the newest daemon; it is never removed.
A master that has no worker at its socket for a while ends by itself, so that supervise starts another.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from gatescan import fence
from gatescan.config import Config, ConfigError, load
from gatescan.engines.build import needs_of
from gatescan.engines.needs import Needs
from gatescan.errors import GatescanError
from gatescan.fence.confine import ConfinementError, confine_worker, private_directory
from gatescan.gatefence.process import give_up_privileges
from gatescan.health import metrics
from gatescan.service import protocol
from gatescan.service.slots import Deaths, Slots
from gatescan.service.waiting import Desk
from gatescan.service.worker import Handler, Shared, Worker, refuse_all

log = logging.getLogger("gatescan.daemon")

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
INHERITED = "GATESCAN_INHERITED"
"""Set for the process that this one becomes on SIGHUP: its pid and, each behind a colon, the descriptors of listener
and lifeline, and the old workers' pids. Lists have commas. Release 1.0.0, to which a gateway may go back, reads four
words and no other number; there were six for a while."""
INHERITED_MORE = "GATESCAN_INHERITED_MORE"
"""What that release does not know: the descriptors of the channels to and from the workers and of what they died of,
and behind a colon the connections that wait. A successor that does not read it lets these wait until they give up."""
LONGEST_TICK = 0.5
"""Seconds between two looks at the workers' clocks."""
WAITING_TICK = 0.05
"""The same while somebody waits for his share of the workers."""
PUBLISH_EVERY = 15.0
"""Seconds between two publications of the master's own metrics."""
CHANNEL_BYTES = 1 << 20
"""Buffer of the channels on which connections go from one process to another: some hundred fit."""
LOG_FORMAT = "gatescan[%(process)d]: %(levelname)s %(message)s"
"""On standard error, for multilog; the time is multilog's."""
RESPAWN_DELAY = 1.0
"""Delay before a worker that died right after its start is started again (seconds)."""
FILE_BYTES = 2_000_000_000
"""The largest file that a worker may write (RLIMIT_FSIZE): a quarantined message."""

HandlerFactory = Callable[[Config], Handler]


class StartError(GatescanError):
    """The daemon cannot start; the text says why and what to do."""


@dataclass(slots=True)
class Place:
    """A worker's place: who is in it, since when, and from when on it may be filled again."""

    index: int
    pid: int = 0
    started: float = 0.0
    not_before: float = 0.0


@dataclass(slots=True)
class Channels:
    """Two pairs of sockets on which workers and master give each other connections. All have all ends."""

    handover: tuple[socket.socket, socket.socket]
    returned: tuple[socket.socket, socket.socket]

    @classmethod
    def new(cls) -> Channels:
        """Make both; the first of each is to write to."""
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        for pair in pairs:
            pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
        return cls(*pairs)

    @classmethod
    def of(cls, fds: Sequence[int]) -> Channels:
        """Those that are open as these four descriptors."""
        first, second, third, fourth = (socket.socket(fileno=fd) for fd in fds)
        return cls((first, second), (third, fourth))

    def fds(self) -> list[int]:
        """The four descriptors."""
        return [end.fileno() for end in (*self.handover, *self.returned)]


@dataclass(slots=True)
class Inheritance:
    """What the process before this one left: its socket, its workers and their lifeline, channels, who waits."""

    listener: socket.socket
    lifeline: int
    workers: set[int] = field(default_factory=set)
    channels: Channels | None = None
    deaths: int = -1
    waiting: tuple[socket.socket, ...] = ()


def load_handler(config: Config) -> Handler:
    """Import all that a message may need, so that the workers share it, load the rules, and set up the engines."""
    from gatescan.engines.build import panel
    from gatescan.outcome import handle

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
        needs = needs_of(config)
        if check:
            return 0
        inheritance = inherited()
        give_up_privileges()
        os.umask(0o077)
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
        daemon = config.daemon
        self.places = [Place(index) for index in range(daemon.workers + daemon.spare_workers)]
        self.retired: dict[int, float] = dict.fromkeys(
            inheritance.workers if inheritance else (), time.monotonic() + daemon.deadline
        )
        self.trial: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self.failed = False
        self.lifeline, self._lifeline_end = os.pipe()
        self._old_lifeline = inheritance.lifeline if inheritance else -1
        self.channels = (inheritance and inheritance.channels) or Channels.new()
        self.shared = Shared(
            listener=self._take_listener(inheritance),
            handover=self.channels.handover[0],
            returned=self.channels.returned[1],
            lifeline=self.lifeline,
            slots=Slots(len(self.places)),
            deaths=Deaths(inheritance.deaths if inheritance else -1),
        )
        self.slots = self.shared.slots
        incoming, outgoing = self.channels.handover[1], self.channels.returned[0]
        self.desk = Desk(incoming, outgoing, daemon.workers, daemon.source_wait)
        self.desk.take(inheritance.waiting if inheritance else ())
        self.served_at = time.monotonic()
        self.published = self.served_at
        self.told_serving = 0
        self.ended = 0
        self._signals = Signals()
        self.desk.poller.register(self._signals.reading, select.EPOLLIN)

    def run(self) -> int:
        """The master's loop; returns when the last worker is gone."""
        gc.collect()
        gc.freeze()  # what is here now is shared with the workers, and stays so
        self._dismiss_old_workers()  # first: once a new one answers, no old one takes another message
        self._fill_places()
        log.info("%d workers serve %s", self.config.daemon.workers, self.config.daemon.socket)
        while not (self.stopping and not self._alive()):
            self._wait()
            got = self._signals.take()
            if got & {signal.SIGTERM, signal.SIGINT}:
                self._stop()
            elif signal.SIGHUP in got and not self.stopping:
                self._try_reload()
            self._reap()
            self._kill_overdue()
            self._fill_places()
            self.desk.attend(self.slots)
            self._watch(time.monotonic())
            self._publish(time.monotonic())
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # one more is no reason to end by a signal
        log.info("ended")
        return int(self.failed)

    def _wait(self) -> None:
        tick = min(LONGEST_TICK, self.config.daemon.deadline / 4)
        self.desk.poller.poll(WAITING_TICK if self.desk.queue else tick, 1)

    def _watch(self, now: float) -> None:
        """End if nobody stands at the socket for long: a fresh process may do what this one cannot."""
        if self.serving():
            self.served_at = now
        elif now - self.served_at > self.config.daemon.watchdog and not self.stopping:
            log.error("no worker has served for %g seconds: the daemon ends, to be started anew", now - self.served_at)
            self.failed = True
            self._stop()
            for pid in [*self.retired, *(place.pid for place in self.places if place.pid)]:
                os.kill(pid, signal.SIGKILL)  # none of them serves

    def serving(self) -> int:
        """Workers that stand at the socket or work on a message."""
        return sum(bool(place.pid) and self.slots.is_ready(place.index) for place in self.places)

    def _publish(self, now: float) -> None:
        """Every so often, and when the first worker serves: at the start none does, which is no news to tell."""
        serving = self.serving()
        if now - self.published < PUBLISH_EVERY and (self.told_serving or not serving):
            return
        self.published, self.told_serving = now, serving
        figures = metrics.Master(
            workers=serving,
            wanted=self.config.daemon.workers,
            idle_seconds=now - self.served_at,
            died=self.ended,
            waiting=len(self.desk),
            held_back=self.desk.held_back,
            turned_away=self.desk.turned_away,
        )
        with contextlib.suppress(OSError):
            metrics.publish_master(self.config, figures)

    # The socket

    def _take_listener(self, inheritance: Inheritance | None) -> socket.socket:
        path, backlog = str(self.config.daemon.socket), self.config.daemon.backlog
        if inheritance:
            listener = inheritance.listener
            if listener.getsockname().rpartition(".")[0] == path and _has_group_of_directory(path):
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
        for place in self.places[: self._places_wanted(now)]:
            if not self.stopping and not place.pid and now >= place.not_before:
                self._fork(place)

    def _places_wanted(self, now: float) -> int:
        """The regular places and, while everybody in them has been busy for a while, one more."""
        present = [place for place in self.places if place.pid]
        if len(present) < self.config.daemon.workers or self.slots.slow(now) < len(present):
            return self.config.daemon.workers
        return next((place.index + 1 for place in self.places if not place.pid), 0)

    def _fork(self, place: Place) -> None:
        self.slots.clear(place.index)
        place.started = time.monotonic()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        place.pid = os.fork()
        if place.pid == 0:
            self._be_worker(place)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.fence_told = True

    def _dismiss_old_workers(self) -> None:
        """The workers before a reload hear that they are done, as its end alone may also be the master's death."""
        if self._old_lifeline >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._old_lifeline, b"\n")
        self._let_go_of_old_lifeline()

    def _let_go_of_old_lifeline(self) -> None:
        """Once: its number is soon another file's."""
        if self._old_lifeline >= 0:
            os.close(self._old_lifeline)
            self._old_lifeline = -1

    def _be_worker(self, place: Place) -> NoReturn:
        """In the child: serve, and never return into the master's code."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS - {signal.SIGCHLD}:
                signal.signal(number, lambda *_: None)  # signals to the whole group are the master's business
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            os.close(self._lifeline_end)
            self._let_go_of_old_lifeline()
            self.desk.poller.close()
            self.desk.close()
            settings = self.config.daemon
            confine_worker(f"gatescan-{place.index}", settings.memory_bytes, FILE_BYTES)
            standing = fence.enclose_worker(self.config, self.needs)
            if not self.fence_told or (standing.state == "part" and place.index == 0):
                log.log(logging.WARNING if standing.state == "part" else logging.INFO, "workers' fence: %s", standing)
            spare = place.index >= settings.workers
            Worker(place.index, self.shared, self.handler, self.config, self.loaded, str(standing), spare).run()
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
                key = self.slots.key(place.index)
                self.slots.clear(place.index)
                if status != 0:
                    self.ended += 1
                    if key:
                        self.shared.deaths.note(key)
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
        refuse_all(self.shared.listener)
        self.desk.close()
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
        """Execute the daemon anew in this process. The workers here serve on until it is there."""
        workers = [*self.retired, *(place.pid for place in self.places if place.pid)]
        waiting = [connection.fileno() for connection in self.desk.connections()]
        kept = [
            self.shared.listener.fileno(),
            self._lifeline_end,
            *self.channels.fds(),
            self.shared.deaths.fd,
            *waiting,
        ]
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for fd in kept:
            os.set_inheritable(fd, True)
        fence.record_filter_for_successor()
        os.environ[INHERITED] = _lists([os.getpid()], kept[:1], kept[1:2], workers)
        os.environ[INHERITED_MORE] = _lists(kept[2:7], waiting)
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        except OSError as error:
            log.error("reload failed, the old configuration stays in force: %s", error)
            for name in (INHERITED, INHERITED_MORE, fence.FILTERED):
                os.environ.pop(name, None)
            for fd in kept:
                os.set_inheritable(fd, False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _has_group_of_directory(path: str) -> bool:
    """Whether the socket has the group that one that is made now would have: its directory may have got another."""
    directory = os.stat(os.path.dirname(path))
    try:
        return os.stat(path).st_gid == directory.st_gid or not directory.st_mode & stat.S_ISGID
    except FileNotFoundError:
        return False


class Signals:
    """Signals as something that can be waited for beside sockets."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def take(self) -> set[int]:
        """The signals that came since the last look."""
        with contextlib.suppress(BlockingIOError):
            return set(os.read(self.reading, 4096))
        return set()


def _lists(*lists: Sequence[int]) -> str:
    return ":".join(",".join(map(str, one)) for one in lists)


def inherited() -> Inheritance | None:
    """What the process that this one was before SIGHUP left to it, if there is any."""
    pid, *rest = os.environ.pop(INHERITED, "").split(":")
    more = os.environ.pop(INHERITED_MORE, ":").split(":")
    if pid != str(os.getpid()) or len(rest) not in (3, 5):
        return None
    listener, lifeline, workers, channels, waiting = (
        [int(word) for word in part.split(",") if word] for part in (*rest, *more)[:5]
    )
    for fd in (*listener, *lifeline, *channels, *waiting):
        os.set_inheritable(fd, False)
    return Inheritance(
        socket.socket(fileno=listener[0]),
        lifeline[0],
        set(workers),
        Channels.of(channels[:4]) if channels else None,
        channels[4] if channels else -1,
        tuple(socket.socket(fileno=fd) for fd in waiting),
    )
