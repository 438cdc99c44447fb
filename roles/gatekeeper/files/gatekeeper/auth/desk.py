"""The socket at which the scanner's queue client asks who a message is from.

Why there: DKIM needs the whole message, and a wait for DNS must hold no worker of the scanner. The queue client is
a process of its own for each message, waits for a verdict anyhow, and has message and envelope in two files. So it asks
here first, with the packet that it sends to the scanner (its protocol.py), and hands the answer on to the scanner among
its variables. Neither the scanner's master nor its workers wait for a name server.

    request   VERSION, then NAME=VALUE and a NUL for each variable; two descriptors, of the message (behind ROOM free
              bytes) and of the envelope
    answer    VERSION, 0, 0 (32 bits), length (16 bits), text: what speaks against the message, with commas (`-`:
              nothing), a blank, and the results as they stand in Authentication-Results
    PING      the single byte 0; the answer's text is `ready`

A client that hears nothing within its patience, or garbage, ends with 4xx: nothing passes that was not asked about.
What is to be done with a message is not decided here: the scanner has an action for each verdict.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import logging
import os
import re
import socket
import stat
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gatekeeper.addresses import parse_client
from gatekeeper.auth import spf, suffixes
from gatekeeper.auth.dmarc import Policy
from gatekeeper.auth.judge import Origin, Report, Site, Verdict, judge
from gatekeeper.auth.mail import Message, of_file
from gatekeeper.auth.names import AskedNames, Names
from gatekeeper.auth.tally import Tally, tally_of
from gatekeeper.config import Config, ConfigError
from gatekeeper.names import spellings
from gatekeeper.protocol import Garbage, readable
from gatekeeper.resolve import Resolver

log = logging.getLogger("gatekeeper")

VERSION = 1
ROOM = 4096
"""Bytes in front of the message."""
ROOM_OF_NAMES = 1000
"""Answers of the name server that are kept: to ask costs more than all the rest, and most mail is from few domains."""
PACKET = 8192
"""Bytes of a request."""
TEXT = 480
"""Bytes of an answer's text: it becomes one variable of the client's."""
SENDER = 1100
"""Bytes of the envelope in which the sender stands."""
HURRY = 10.0
"""Seconds for a client to send its packet."""
PING = b"\0"
UNKNOWN = "temperror spf=temperror; dkim=temperror; arc=none; dmarc=temperror"
"""The answer's text where the name servers took too long."""
_ANSWER = struct.Struct("<BBIH")
_TRACE = re.compile(rb"Received: from (\S+)(?: \(HELO ([^)\n]*)\))?")


@dataclass(frozen=True, slots=True)
class Request:
    """A message, its envelope, and what the client says of the connection."""

    env: Mapping[str, str]
    message: int
    envelope: int

    def close(self) -> None:
        """Close both files."""
        os.close(self.message)
        os.close(self.envelope)


@dataclass(frozen=True, slots=True)
class Desk:
    """Answers the queue client. patience: seconds for an answer, beside those that a stranger's SPF may take: his name
    servers are not to keep us from saying what else there is. counts: messages by what DMARC says.

    tally: what counts for reports to other domains.
    """

    site: Site
    names: Names
    patience: float
    counts: Counter[str] = field(default_factory=Counter)
    tally: Tally | None = None

    async def serve(self, connection: socket.socket) -> None:
        """One question. What is none, or cannot be read, is not answered: the client's message is tried again."""
        try:
            request = await _receive(connection)
            if request is None:
                connection.send(reply("ready"))
                return
            try:
                text = await self._answer(request)
            finally:
                request.close()
            connection.send(reply(text))
        except Garbage as error:
            log.warning("a question of the queue client is not answered: %s", error)
        except (OSError, TimeoutError) as error:
            log.warning("the queue client is not answered: %s", error or "it asks nothing")
        except Exception:
            log.exception("a message of the queue client")
        finally:
            connection.close()

    async def _answer(self, request: Request) -> str:
        if not all(stat.S_ISREG(os.fstat(fd).st_mode) for fd in (request.message, request.envelope)):
            raise Garbage("a message that is no file")
        message = of_file(request.message, ROOM)
        asked, seconds = origin(request, message), self.patience + spf.SECONDS
        try:
            async with asyncio.timeout(seconds):
                report = await judge(message, asked, self.names, self.site)
        except TimeoutError:
            log.info("authentication later client=%s: no answer within %g s", asked.client, seconds)
            self.counts["temperror"] += 1
            return UNKNOWN
        self.counts[str(report.dmarc.result)] += 1
        if self.tally:
            self.tally.message(asked, report)
        if report.verdict:
            log.info("authentication %s client=%s: %s", report.verdict, asked.client, _plain(report.why))
        return text_of(report)


def text_of(report: Report) -> str:
    """The answer's text. The longest results lose their domains where there is no room for all."""
    results = report.results()
    head = ",".join(against(report)) or "-"
    while len(text := f"{head} {'; '.join(results)}") > TEXT:
        longest = max(range(len(results)), key=lambda at: len(results[at]))
        results[longest] = results[longest].partition(" ")[0]
    return text


def against(report: Report) -> Iterator[str]:
    """What speaks against a message."""
    if report.verdict is Verdict.SPOOFED:
        yield "spoofed"
    elif report.verdict is Verdict.LATER:
        yield "temperror"
    elif report.verdict is Verdict.UNAUTHENTICATED:
        yield "reject" if report.wanted is Policy.REJECT else "quarantine"
    if report.borrows_name:
        yield "own-name"


def origin(request: Request, message: Message) -> Origin:
    """How a message came. HELO stands in the line that qmail-smtpd has put in front."""
    found = _TRACE.match(message.header)
    helo = (found[2] if found[2] is not None else found[1]).decode("latin-1") if found else ""
    envelope = os.pread(request.envelope, SENDER, 0).partition(b"\0")[0]
    client = parse_client(request.env.get("TCPREMOTEIP", ""))
    if client is None or not envelope.startswith(b"F"):
        raise Garbage("a client without an address" if client is None else "an envelope without a sender")
    return Origin(client, helo, envelope[1:].decode("utf-8", "surrogateescape"))


def reply(text: str) -> bytes:
    """The packet that answers a request."""
    data = text.encode("ascii", "replace")
    return _ANSWER.pack(VERSION, 0, 0, len(data)) + data


async def _packet(connection: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
    """The packet of who is to send one within HURRY seconds; as a rule it is there."""
    while True:
        with contextlib.suppress(BlockingIOError):
            return connection.recvmsg(PACKET, socket.CMSG_SPACE(8), socket.MSG_CMSG_CLOEXEC)[:3]
        async with asyncio.timeout(HURRY):
            await readable(connection)


async def _receive(connection: socket.socket) -> Request | None:
    """What is asked; None: whether anybody is there. Raises Garbage, OSError, TimeoutError."""
    text, control, flags = await _packet(connection)
    files = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            files.frombytes(data[: len(data) // files.itemsize * files.itemsize])
    if text == PING and not files:
        return None
    if len(files) != 2 or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or text[:1] != bytes((VERSION,)):
        for fd in files:
            with contextlib.suppress(OSError):
                os.close(fd)
        raise Garbage("it is no request of this version with two files")
    pairs = (item.decode("utf-8", "surrogateescape").partition("=") for item in text[1:].split(b"\0") if item)
    return Request({name: value for name, _, value in pairs}, files[0], files[1])


def _plain(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:300])


def site_of(config: Config) -> Site:
    """What the site says, and what organisations there are. Raises ConfigError."""
    try:
        listed = suffixes.load()
    except (OSError, ValueError) as error:
        raise ConfigError(
            "", f"the public suffix list cannot be read; is Debian's publicsuffix there? {error}"
        ) from error
    return Site(
        listed,
        hostname(config),
        frozenset(name.removeprefix(".") for name in config.own_domains),
        frozenset(config.forwarders),
        config.may_spoof,
        tuple(name for person in config.protected_names for name in spellings(person)),
    )


def hostname(config: Config) -> str:
    """This host's name, by which results are known."""
    try:
        return (config.home / "control/me").read_text(encoding="ascii").split("\n", 1)[0].strip() or "localhost"
    except (OSError, UnicodeError):
        return "localhost"


def desk_of(config: Config, counts: Counter[str]) -> Desk:
    """The desk of a configuration. Raises ConfigError."""
    names = AskedNames(Resolver(config, room=ROOM_OF_NAMES))
    return Desk(site_of(config), names, config.patience, counts, tally_of(config.dmarc_counts))
