"""The talk between the queue client and the daemon: one packet each way over a unix SOCK_SEQPACKET socket.

Request: the byte VERSION, then NAME=VALUE and a NUL for each environment variable that the client reports.
With it come two descriptors: the message, behind HEADER_ROOM free bytes, and the envelope. Both are memory
files that can neither shrink nor grow any more, so nobody can cut a mapping off under a worker's feet. A message of
more than a few MB lies in a file without a name in the spool instead, so that many large ones do not take the host's
memory. Nothing keeps its writer from changing such a file: the worker looks at a copy of its own.

Reply: version, exit code, start (32 bits), length of the text (16 bits), little-endian; then the text.
Code 0 and a start tell the client to pass the message on, beginning at that byte: the worker has written the
new header lines into the room in front. Code 0 and start 0: the message is held. Any other code: the client
ends with it, see `client/gatescan-queue.c`.

The single byte PING instead of a request asks whether anybody is there; the reply has code 0 and for its text the
time at which the worker's configuration and code were loaded, in seconds since 1970, a blank, and how far the worker
is fenced in.
"""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import socket
import stat
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gatescan.errors import GatescanError
from gatescan.model import Buffer

VERSION = 1
PING = b"\0"
HEADER_ROOM = 4096
"""Bytes in front of the message. A multiple of the page size: a mapping can begin right behind them."""
PACKET_LIMIT = 8192
"""Bytes of a request."""
TEXT_LIMIT = 255
"""Bytes of a reply's text that qmail-smtpd reads."""
ENVELOPE_LIMIT = 8 << 20
"""Bytes of an envelope; the client accepts no larger one."""
MESSAGE_LIMIT = 250_000_000
"""Bytes of a message; the client accepts no larger one, whatever it is told."""
MAPPED_FROM = 1 << 20
"""Messages of so many bytes are mapped; smaller ones are cheaper to copy than to fault in page by page."""
TRY_AGAIN = 71

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_REPLY = struct.Struct("<BBIH")
_PEER = struct.Struct("iII")
_INT = array.array("i").itemsize


class ProtocolError(GatescanError):
    """What came over the socket is not a request."""


class Ping(GatescanError):
    """Somebody asks whether anybody is there."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as the kernel says. The process id is the next queue program's too."""

    pid: int
    uid: int
    gid: int


@dataclass(slots=True)
class Request:
    """A message and its envelope, as two open memory files; `close` them, or use it in a `with`."""

    env: Mapping[str, str]
    message: int
    envelope: int

    def __enter__(self) -> Request:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close both files. What `read_message` gave stays valid."""
        os.close(self.message)
        os.close(self.envelope)

    def read_message(self, spool: Path | None = None) -> Buffer:
        """The message, without the room in front; a large one is mapped. spool: where files without a name may lie."""
        if spool is not None and not _is_sealed(self.message) and _is_spooled(self.message, spool):
            return self._copy()
        size = _sealed_size(self.message, hole=HEADER_ROOM) - HEADER_ROOM
        _check_size(size)
        if size < MAPPED_FROM:
            return _read(self.message, size, HEADER_ROOM)
        return mmap.mmap(self.message, size, access=mmap.ACCESS_READ, offset=HEADER_ROOM)

    def _copy(self) -> Buffer:
        """A mapping of a private copy of the spooled message: its writer cannot cut it off or change it."""
        size = os.fstat(self.message).st_size - HEADER_ROOM
        _check_size(size)
        with tempfile.TemporaryFile(buffering=0) as own:
            at = HEADER_ROOM
            while at < HEADER_ROOM + size:
                count = os.sendfile(own.fileno(), self.message, at, HEADER_ROOM + size - at)
                if not count:
                    raise ProtocolError("a spooled message that was cut off")
                at += count
            return mmap.mmap(own.fileno(), size, access=mmap.ACCESS_READ) if size else b""

    def read_envelope(self) -> bytes:
        """The envelope's bytes."""
        size = _sealed_size(self.envelope)
        if size > ENVELOPE_LIMIT:
            raise ProtocolError(f"an envelope of {size} bytes")
        return _read(self.envelope, size, 0)

    def prepend(self, header: bytes, replaced: int = 0) -> int:
        """Write header lines in front of the message, or of its rest behind so many bytes; return where they start."""
        start = HEADER_ROOM + replaced - len(header)
        if start <= 0:
            raise ProtocolError(f"{len(header)} bytes of new header lines")
        if os.pwrite(self.message, header, start) != len(header):
            raise ProtocolError("the new header lines could not be written")
        return start


def peer_of(connection: socket.socket) -> Peer:
    """The process that connected."""
    return Peer(*_PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)))


def peek(connection: socket.socket) -> bytes | None:
    """The text of the packet that waits, left where it is with its descriptors; None: there is none yet."""
    try:
        return connection.recv(PACKET_LIMIT, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def receive(connection: socket.socket) -> Request:
    """Read one request from a connection; raise Ping, or ProtocolError for anything else, with nothing left open."""
    text, files, truncated = _receive(connection)
    if text == PING and not files:
        raise Ping
    try:
        if truncated or len(files) != 2:
            raise ProtocolError("not exactly two files")
        if text[:1] != bytes((VERSION,)):
            raise ProtocolError(f"version {text[0]}, not {VERSION}" if text else "the client went away")
        return Request(environment(text[1:]), files[0], files[1])
    except ProtocolError:
        for fd in files:
            os.close(fd)
        raise


def reply(code: int, start: int = 0, text: bytes = b"") -> bytes:
    """The packet that answers a request."""
    text = text[:TEXT_LIMIT]
    return _REPLY.pack(VERSION, code, start, len(text)) + text


@dataclass(frozen=True, slots=True)
class Pong:
    """A worker's answer to PING. loaded: when its configuration and code were. fence: see `fence.Standing`.

    daemon: the process that listens.
    """

    loaded: float
    fence: str = ""
    daemon: int = 0

    def packet(self) -> bytes:
        """What is sent."""
        return reply(0, text=f"{self.loaded:.6f} {self.fence}".encode("ascii", "replace"))


def ping(path: Path, timeout: float) -> Pong:
    """Ask a worker at `path` about itself.

    Raises OSError; it is a TimeoutError after `timeout` seconds without an answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(timeout)
        client.connect(str(path))
        daemon = peer_of(client).pid
        client.send(PING)
        answer = client.recv(PACKET_LIMIT)
    if len(answer) <= _REPLY.size or _REPLY.unpack_from(answer)[1] != 0:
        raise ConnectionResetError("no worker took the question")
    loaded, _, fence = answer[_REPLY.size :].decode("ascii", "replace").partition(" ")
    return Pong(float(loaded), fence, daemon)


def _receive(connection: socket.socket) -> tuple[bytes, list[int], bool]:
    """The packet, the descriptors that came with it, and whether anything was cut off."""
    room = socket.CMSG_SPACE(2 * _INT)
    flags = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
    try:
        text, control, seen, _ = connection.recvmsg(PACKET_LIMIT, room, flags)
    except BlockingIOError:
        raise ProtocolError("the client says nothing") from None
    files = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            files.frombytes(data[: len(data) // _INT * _INT])
    return text, files.tolist(), bool(seen & (socket.MSG_TRUNC | socket.MSG_CTRUNC))


def environment(text: bytes) -> dict[str, str]:
    """NAME=VALUE pairs; bytes that are no UTF-8 are kept as surrogate escapes."""
    pairs = (field.decode("utf-8", "surrogateescape").partition("=") for field in text.split(b"\0") if field)
    return {name: value for name, _, value in pairs}


def _check_size(size: int) -> None:
    if size < 0:
        raise ProtocolError("no room for a header in front of the message")
    if size > MESSAGE_LIMIT:
        raise ProtocolError(f"a message of {size} bytes")


def _is_sealed(fd: int) -> bool:
    """Whether it is a memory file that can neither shrink nor grow."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        return False


def _sealed_size(fd: int, hole: int = 0) -> int:
    """A memory file's size in bytes, once it is sure that it stays so. hole: bytes that may be missing in it."""
    if not _is_sealed(fd):
        raise ProtocolError("not a memory file that is sealed")
    state = os.fstat(fd)
    if state.st_blocks * 512 + hole < state.st_size:
        # It would cost us what it did not cost its maker.
        raise ProtocolError(f"a memory file of {state.st_size} bytes that holds {state.st_blocks * 512}")
    return state.st_size


def _is_spooled(fd: int, spool: Path) -> bool:
    """Whether it is a plain file without a name on the spool's file system: reading it cannot block."""
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink:
        return False
    try:
        return state.st_dev == os.stat(spool).st_dev
    except OSError:
        return False


def _read(fd: int, size: int, offset: int) -> bytes:
    data = os.pread(fd, size, offset)
    if len(data) != size:
        raise ProtocolError("a memory file that cannot be read")
    return data
