"""ClamAV's daemon, over its socket: no process, and by default no copy on a disk, for a message.

One session (IDSESSION) for a message: the message and each of its parts are sent one after another, as an open
file in memory (FILDES) or as a stream (INSTREAM).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatescan.config import ConfigError
from gatescan.engines.base import EngineError, Hit, Sample
from gatescan.engines.connection import Closed, Connection, check_address
from gatescan.engines.needs import Needs
from gatescan.model import Buffer, Verdict
from gatescan.text import printable

ADVICE = "see `systemctl status clamav-daemon` and its journal; mail gets 4xx until it answers"
CHUNK = 1 << 17
"""Bytes of a piece of a stream."""

_ANSWER = re.compile(r"(?P<id>\d+): (?:fd\[\d+\]|stream): (?P<rest>.*)", re.DOTALL)
_EXTENDED = re.compile(r"\([0-9a-fA-F]{32,64}:\d+\)$")
_VERDICTS = (
    # What these say of a file is no virus: the policy has verdicts for it.
    ("Heuristics.Encrypted", Verdict.ENCRYPTED, "encrypted"),
    ("Heuristics.Limits.Exceeded", Verdict.LIMIT, "limit"),
    ("Heuristics.OLE2.ContainsMacros", Verdict.POLICY, "macros"),
)


@dataclass(frozen=True, slots=True)
class ClamdSettings:
    """Keys of an engine of type `clamd`."""

    socket: str = "/run/clamav/clamd.ctl"
    transfer: str = "fildes"
    """`fildes` (the file's descriptor; unix sockets only) or `instream`."""
    max_bytes: int = 100_000_000
    """Larger pieces are not sent: clamd would not look at all of them (MaxFileSize, StreamMaxLength)."""
    database: Path = Path("/var/lib/clamav")
    """Where the signatures are; their dates are used when clamd does not tell one."""

    def check(self, where: str) -> None:
        """ConfigError for what cannot work."""
        check_address(self.socket, f"{where}.socket")
        if self.transfer not in ("fildes", "instream"):
            raise ConfigError(f"{where}.transfer", "fildes or instream")
        if self.transfer == "fildes" and not self.socket.startswith("/"):
            raise ConfigError(f"{where}.transfer", "fildes needs a unix socket")


class Clamd:
    """The adapter."""

    def __init__(self, name: str, timeout: float, settings: ClamdSettings) -> None:
        self.name = name
        self.timeout = timeout
        self.settings = settings

    def scan(self, sample: Sample, deadline: float) -> list[Hit]:
        hits: list[Hit] = []
        with Connection(self.settings.socket, deadline, ADVICE) as session:
            session.send(b"zIDSESSION\0")
            for number, (path, data) in enumerate(sample.pieces(), 1):
                try:
                    hit = self._look(session, number, path, data)
                except EngineError as error:
                    error.hits = tuple(hits)
                    raise
                if hit:
                    hits.append(hit)
            with contextlib.suppress(EngineError):  # all is said
                session.send(b"zEND\0")
        return hits

    def version(self, deadline: float) -> str:
        with Connection(self.settings.socket, deadline, ADVICE) as session:
            session.send(b"zVERSION\0")
            answer = session.read_until(b"\0").decode("utf-8", "replace")
        if not answer.startswith("ClamAV "):
            raise EngineError(f"not ClamAV: {printable(answer)!r}", ADVICE)
        return printable(answer)

    def signature_date(self, deadline: float) -> float | None:
        # ClamAV 1.4.3/27500/Sun Nov 16 08:35:27 2026; the rest is missing if there is no daily.cvd
        fields = self.version(deadline).split("/")
        if len(fields) == 3:
            with contextlib.suppress(ValueError):
                return time.mktime(time.strptime(fields[2], "%a %b %d %H:%M:%S %Y"))
        return newest([self.settings.database / "*"])

    @property
    def needs(self) -> Needs:
        return Needs.at(self.settings.socket, self.settings.database)

    def _look(self, session: Connection, number: int, path: str, data: Buffer) -> Hit | None:
        if len(data) > self.settings.max_bytes:
            raise EngineError(
                f"{path or 'the message'} has {len(data)} bytes, more than max_bytes",
                "raise max_bytes and clamd's MaxFileSize, or lower qmail's databytes",
                answered=True,
            )
        try:
            if self.settings.transfer == "fildes":
                with in_memory(data) as descriptor:
                    session.send(b"zFILDES\0")
                    session.send_descriptor(b"\0", descriptor)
            else:
                session.send(b"zINSTREAM\0")
                for piece in stream(data):
                    session.send(piece)
        except Closed as closed:
            # What it said before it closed is the better reason.
            try:
                answer = session.read_until(b"\0")
            except EngineError:
                raise closed from None
        else:
            answer = session.read_until(b"\0")
        return hit_of(answer.decode("utf-8", "replace"), number, path)


def hit_of(answer: str, number: int, path: str) -> Hit | None:
    """What clamd's answer to question `number` of a session says; EngineError unless it is understood.

    The last word decides: the name before it is a stranger's text and may hold anything, even ": OK".
    """
    matched = _ANSWER.fullmatch(answer)
    if answer.endswith("ERROR"):
        advice = ADVICE
        if "size limit exceeded" in answer:
            advice = "raise clamd's StreamMaxLength to the size of the largest message"
        rest = printable(matched["rest"] if matched else answer)
        raise EngineError(f"said: {rest}", advice, answered="limit exceeded" in answer)
    if not matched or int(matched["id"]) != number:
        raise EngineError(f"answered what is no answer: {printable(answer)!r}", ADVICE)
    rest = matched["rest"]
    if rest == "OK":
        return None
    name, _, verdict = rest.rpartition(" ")
    if verdict != "FOUND" or not name:
        raise EngineError(f"answered what is no answer: {printable(answer)!r}", ADVICE)
    name = _EXTENDED.sub("", name)
    for prefix, found, code in _VERDICTS:
        if name.startswith(prefix):
            return Hit(printable(name), path, found, code)
    return Hit(printable(name), path)


def stream(data: Buffer) -> Iterator[bytes]:
    """The bytes as INSTREAM wants them: pieces with their length in front, and an empty one."""
    with memoryview(data) as view:
        for start in range(0, len(view), CHUNK):
            piece = bytes(view[start : start + CHUNK])
            yield struct.pack(">I", len(piece)) + piece
    yield struct.pack(">I", 0)


@contextlib.contextmanager
def in_memory(data: Buffer) -> Iterator[int]:
    """A file in memory that holds `data` and can never change."""
    descriptor = os.memfd_create("part", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with memoryview(data) as view:
            written = 0
            while written < len(view):
                written += os.write(descriptor, view[written:])
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def newest(patterns: list[Path]) -> float | None:
    """The time of the newest file that fits; None if there is none."""
    found = (path for pattern in patterns for path in pattern.parent.glob(pattern.name))
    return max((path.stat().st_mtime for path in found if path.is_file()), default=None)
