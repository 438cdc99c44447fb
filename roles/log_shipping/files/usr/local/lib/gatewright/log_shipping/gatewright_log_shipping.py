#!/usr/bin/python3
"""Send the mail logs to another host: each line once, by RELP over TLS, whose server acknowledges line by line.

A log's place is noted only when its lines are acknowledged, so an outage, a crash or a restart loses none: the logs
themselves are the queue. What was under way when a connection broke is sent again with the same sequenceId (RFC 5424),
by which the server can tell. Managed by Gatewright.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from gatesettings import ConfigError, build, read
from gatewright_logs import Mark, files_of, head_of, is_known, unread

log = logging.getLogger("log-shipping")

MOST_LINES, MOST_BYTES = 500, 1 << 18
"""What is sent before its acknowledgements are waited for."""
LONGEST = 1 << 18
"""Bytes of a line; the rest of a longer one is left out."""
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 60.0
"""How long a connection and an answer are waited for."""
IDLE_SECONDS, LONGEST_PAUSE = 1.0, 30.0
"""Between two looks at the logs; the longest between two attempts to connect."""
SETTLED_SECONDS = 3.0
"""A file that logrotate has renamed is written to for a moment yet: its writers look for that once a second."""
LAST_NUMBER, LAST_SEQUENCE = 999_999_999, 2**31 - 1
"""The highest number of a RELP frame and of a sequenceId, behind which 1 follows."""
PRIORITY = 2 * 8 + 6
"""Facility mail, severity informational."""


@dataclass(frozen=True)
class Log:
    """A log: its name at the server, and its present file, which is multilog's if it is called `current`."""

    name: str
    path: Path

    @property
    def is_multilog(self) -> bool:
        """Whether a file that was renamed is finished."""
        return self.path.name == "current"

    @property
    def older(self) -> str:
        """A glob of the files that came before."""
        return "@*" if self.is_multilog else f"{self.path.name}.1"


@dataclass(frozen=True)
class Config:
    """Where to, and what. name: in the server's certificate. certificate, key: paths of the client's own, or empty."""

    server: str
    port: int
    name: str
    authorities: str
    logs: tuple[Log, ...]
    certificate: str = ""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """TLS with a server whose name is verified; raise OSError if a file cannot be read."""
        made = ssl.create_default_context(cafile=self.authorities)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate:
            made.load_cert_chain(self.certificate, self.key)
        return made


def load(path: Path) -> Config:
    """What the configuration file says; raise ConfigError."""
    return read(path, lambda told: build(Config, told))


# --- what is to be sent ---


@dataclass
class Batch:
    """Lines of a log, and the place behind each."""

    lines: list[bytes] = field(default_factory=list)
    places: list[Mark] = field(default_factory=list)


def next_batch(one: Log, mark: Mark | None) -> Batch:
    """The next lines behind the mark; without one, from the beginning of the present file. OSError."""
    with contextlib.ExitStack() as stack:
        files = files_of(one.path, one.older, stack)
        for file in unread(files, mark) if mark else files[-1:]:
            batch = read_batch(file)
            if batch.lines:
                if mark and not any(is_known(known, mark) for known in files):
                    log.warning("%s: a file is gone before all of it was sent; what was left is lost", one.path)
                return batch
            if file is not files[-1] and not is_finished(one, file):
                break
    return Batch()


def is_finished(one: Log, file: IO[bytes]) -> bool:
    """Whether nobody writes any more to a file that has a successor."""
    written = os.fstat(file.fileno()).st_mtime  # before the time is asked for, so that no write comes between
    # a time that lies ahead is from before the clock was set back
    return one.is_multilog or not written <= time.time() <= written + SETTLED_SECONDS


def read_batch(file: IO[bytes]) -> Batch:
    """Whole lines from where the file stands.

    A mark's time is when the file was last written to before it is read, not when it is read: should the file go away,
    what was written later is unsent, however long ago that was.
    """
    state = os.fstat(file.fileno())
    batch, start, head = Batch(), file.tell(), head_of(file)
    while len(batch.lines) < MOST_LINES and file.tell() - start < MOST_BYTES:
        line = file.readline()
        if not line.endswith(b"\n"):
            break
        batch.lines.append(line[:-1][:LONGEST])
        batch.places.append(Mark(state.st_ino, head, file.tell(), state.st_mtime))
    return batch


class State:
    """What is kept: how far each log was acknowledged, and the number of its last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.marks: dict[str, Mark] = {}
        self.sequences: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            try:
                self._take(json.loads(path.read_text()))
            except (ValueError, TypeError, KeyError, AttributeError):
                log.warning("%s is damaged: logs are sent from the beginning of their present files", path)

    def _take(self, kept: Mapping[str, Any]) -> None:
        marks = {name: Mark(**mark) for name, mark in kept["marks"].items()}
        self.sequences = dict(kept["sequences"])
        self.marks = marks

    def advance(self, name: str, mark: Mark, lines: int) -> None:
        """Note that so many further lines of a log are at the server; OSError."""
        self.marks[name] = mark
        self.sequences[name] = sequence(self.sequences.get(name, 0) + lines)
        marks = {name: vars(mark) for name, mark in self.marks.items()}
        fresh = self.path.with_name(f".{self.path.name}.new")
        with fresh.open("w") as file:
            json.dump({"marks": marks, "sequences": self.sequences}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)


def sequence(number: int) -> int:
    """A sequenceId, from 1 to its highest and then from 1 again; 0 before the first."""
    return (number - 1) % LAST_SEQUENCE + 1 if number else 0


def message(host: str, name: str, number: int, line: bytes) -> bytes:
    """A line in the form of RFC 5424."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f'<{PRIORITY}>1 {now} {host} {name} - - [meta sequenceId="{sequence(number)}"] '.encode("ascii") + line


# --- how it is sent ---


class Relp:
    """A session of RELP; OSError when it has come to its end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb")
        self._number = 0
        self._connection.sendall(self._frame(b"open", b"relp_version=0\nrelp_software=gatewright\ncommands=syslog"))
        self._answer()

    def send(self, lines: Sequence[bytes]) -> Iterator[None]:
        """Send lines; the iterator goes on with each that is acknowledged."""
        self._connection.sendall(b"".join(self._frame(b"syslog", line) for line in lines))
        for _ in lines:
            self._answer()
            yield

    def close(self) -> None:
        """Take leave."""
        with contextlib.suppress(OSError):
            self._connection.sendall(self._frame(b"close", b""))
            self._answer()

    def _frame(self, command: bytes, data: bytes) -> bytes:
        self._number = self._number % LAST_NUMBER + 1
        return b"%d %s %d%s\n" % (self._number, command, len(data), b" " + data if data else b"")

    def _answer(self) -> None:
        """Read an answer, which must say that all is well."""
        number, command, length = self._word(), self._word(), self._word()
        if command != b"rsp" or not number.isdigit() or not (length.isdigit() and int(length) <= LONGEST):
            raise ConnectionError("the server closes the session" if command == b"serverclose" else "this is no RELP")
        data = self._answers.read(int(length) + 1) if int(length) else b"200"
        if not data.startswith(b"200"):
            raise ConnectionError(f"the server says {data[:200]!r}")

    def _word(self) -> bytes:
        """Bytes up to a blank or the end of a line."""
        word = b""
        while (letter := self._answers.read(1)) not in (b" ", b"\n"):
            if not letter or len(word) > 20:
                raise ConnectionError("the server has ended the connection" if not letter else "this is no RELP")
            word += letter
        return word


@contextlib.contextmanager
def session(config: Config) -> Iterator[Relp]:
    """A session with the server; OSError, of which ssl.SSLError is one, if there is none."""
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(socket.create_connection((config.server, config.port), CONNECT_SECONDS))
        secure = stack.enter_context(config.context().wrap_socket(plain, server_hostname=config.name))
        secure.settimeout(ANSWER_SECONDS)
        relp = Relp(secure)
        yield relp
        relp.close()


class Shipper:
    """Sends what the logs have until SIGTERM comes, which is blocked and asked for between two steps.

    A handler that sets a threading.Event may interrupt who waits for it with its lock held, and so wait for ever.
    """

    def __init__(self, config: Config, state: State) -> None:
        self.config, self.state = config, state
        self._is_stopped = False
        self._host = socket.getfqdn()
        self._unreadable: set[str] = set()

    def run(self) -> None:
        """Connect, send, and after a failure connect again."""
        pause, told = IDLE_SECONDS, ""
        while not self._is_stopped:
            try:
                with session(self.config) as relp:
                    log.info("connected with %s port %d", self.config.server, self.config.port)
                    pause, told = IDLE_SECONDS, ""
                    self._serve(relp)
            except OSError as error:
                if str(error) != told:  # once, not for each attempt of an outage
                    told = str(error)
                    log.warning("%s port %d: %s; lines wait in their logs", self.config.server, self.config.port, told)
                self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _serve(self, relp: Relp) -> None:
        while not self._is_stopped:
            sent = sum(self._ship(relp, one) for one in self.config.logs)
            self._pause(0.0 if sent else IDLE_SECONDS)

    def _pause(self, seconds: float) -> None:
        """Let so much time pass, or less if it is to stop."""
        if signal.sigtimedwait({signal.SIGTERM}, seconds):
            self._is_stopped = True

    def _ship(self, relp: Relp, one: Log) -> int:
        """Send the next lines of a log; returns how many. What is acknowledged is noted, also if the rest is not."""
        batch, first = self._batch(one), self.state.sequences.get(one.name, 0) + 1
        lines = [message(self._host, one.name, first + place, line) for place, line in enumerate(batch.lines)]
        acknowledged = 0
        try:
            for _ in relp.send(lines):
                acknowledged += 1
        finally:
            if acknowledged:
                self.state.advance(one.name, batch.places[acknowledged - 1], acknowledged)
        return acknowledged

    def _batch(self, one: Log) -> Batch:
        """The next lines; none of a log that cannot be read, which costs the others nothing."""
        try:
            batch = next_batch(one, self.state.marks.get(one.name))
        except OSError as error:
            if one.name not in self._unreadable:
                log.warning("%s: %s", one.path, error.strerror)
            self._unreadable.add(one.name)
            return Batch()
        self._unreadable.discard(one.name)
        return batch


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/gatewright/log_shipping.json"))
    parser.add_argument("--state", type=Path, default=Path("/var/lib/gatewright-logs/state.json"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = load(options.config)
    except ConfigError as error:
        sys.exit(str(error))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    Shipper(config, State(options.state)).run()


if __name__ == "__main__":
    main()
