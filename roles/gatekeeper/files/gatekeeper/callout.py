"""Asking a route's own server whether it has a mailbox: RCPT with the null sender, and no message."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

from gatekeeper.addresses import covering, unquoted
from gatekeeper.config import Config
from gatekeeper.listfile import Stamp, stamp_of
from gatekeeper.resolve import Resolver, TryLater
from gatekeeper.store import Shelf

log = logging.getLogger("gatekeeper")

BACK_OFF = 15.0
"""Seconds for which a server is left alone that could not be asked."""
STALE = 7 * 86_400.0
"""Seconds for which a yes is remembered, for when the server is down."""
SERVERS = 1000
"""Servers that are remembered as down."""
LINE = 4096
LINES = 100
_CODE = re.compile(r"([2-5]\d\d)([ -]|$)")
_STATUS = re.compile(r"5\d\d[ -]5\.(\d{1,3}\.\d{1,3})")
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_OF_SENDER = ("1.7", "1.8")
"""Statuses that speak of the sender's address (RFC 3463), which is the null one."""
_UNKNOWN_CODES = ("550", "551", "553", "554", "556")


class Down(Exception):
    """The server cannot be asked, or gives no answer that decides."""


class Known(IntEnum):
    """What a server says of a mailbox."""

    NO = 0
    YES = 1


@dataclass(frozen=True, slots=True)
class Route:
    """A server that smtproutes names."""

    host: str
    port: int


def route(config: Config, domain: str) -> Route:
    """Where qmail sends a domain's mail; raise Down if no route says so."""
    table = _table(config)
    found = next((table[name] for name in (*covering(domain), "") if name in table), None)
    if found is None:
        raise Down(f"{_routes(config)} has no server for {domain}")
    return found


def ports(config: Config) -> frozenset[int]:
    """The ports of all routes' servers; none while the routes cannot be read."""
    try:
        return frozenset(found.port for found in _table(config).values() if found)
    except Down:
        return frozenset()


def _routes(config: Config) -> Path:
    return config.home / "control/smtproutes"


def _table(config: Config) -> Mapping[str, Route | None]:
    """The routes by domain, None for one without a server; raise Down."""
    path = _routes(config)
    return _read_table(path, stamp_of(path))


@lru_cache(maxsize=1)
def _read_table(path: Path, _: Stamp | None) -> Mapping[str, Route | None]:
    """The routes in a file, read again when its stamp is another one; raise Down."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise Down(f"{path}: {error}") from None
    if text and not text.endswith("\n"):
        raise Down(f"{path} is half-written: its last line has no end")
    lines = (line.rstrip(" \t").partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name.lower(): _server(value) for name, colon, value in lines if colon}


def _server(value: str) -> Route | None:
    host, _, port = value.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        return None
    return Route(host.removeprefix("[").removesuffix("]"), int(port or 25))


def helo(config: Config) -> str:
    """This host's name, as qmail-remote says it."""
    for name in ("helohost", "me"):
        with contextlib.suppress(OSError, UnicodeError):
            text = (config.home / "control" / name).read_text(encoding="ascii").split("\n", 1)[0].strip()
            if text:
                return text
    return "localhost"


@dataclass(slots=True)
class Callouts:
    """Questions to servers, and their answers for a while: one at a time for an address, a few for a server."""

    config: Config
    resolver: Resolver
    shelf: Shelf
    down: OrderedDict[Route, float] = field(default_factory=OrderedDict)
    running: dict[str, asyncio.Task[Known]] = field(default_factory=dict)
    places: dict[Route, asyncio.Semaphore] = field(default_factory=dict)

    def known(self, address: str) -> Known | None:
        """What a server said of a mailbox, if that still counts."""
        found = self.shelf.get(address.lower())
        return Known(int(found[0])) if found and self._is_fresh(found) else None

    async def knows(self, address: str, domain: str) -> Known:
        """Whether the server of a domain has a mailbox; raise Down."""
        if (known := self.known(address)) is not None:
            return known
        try:
            return await self._ask_once(address, domain)
        except Down:
            found = self.shelf.get(address.lower())
            if found and found[0] == Known.YES:
                return Known.YES
            raise

    def _is_fresh(self, value: list[float]) -> bool:
        lasts = self.config.positive_seconds if value[0] == Known.YES else self.config.negative_seconds
        return 0 <= self.shelf.clock() - value[1] < lasts

    async def _ask_once(self, address: str, domain: str) -> Known:
        key = address.lower()
        task = self.running.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(address, domain))
            self.running[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        # who waits may give up; the answer is for others, too
        return await asyncio.shield(task)

    def _ended(self, key: str, task: asyncio.Task[Known]) -> None:
        self.running.pop(key, None)
        if not task.cancelled():
            task.exception()  # who waited has been told

    async def _ask(self, address: str, domain: str) -> Known:
        target = route(self.config, domain)
        if self.down.get(target, 0.0) > time.monotonic():
            raise Down(f"{target.host}:{target.port} could not be asked a moment ago")
        place = self._place(target)
        try:  # the wait for a place says nothing of the server: one sender's questions are not to shut it for others
            async with asyncio.timeout(self.config.callout_seconds):
                await place.acquire()
        except TimeoutError:
            raise Undecided(f"{target.host}:{target.port} has too many questions at once") from None
        try:
            async with asyncio.timeout(self.config.callout_seconds):
                answer = await self._talk(target, address)
        except (Down, TryLater, OSError, TimeoutError) as error:
            if not isinstance(error, Undecided):
                self._mark_down(target, error)
            raise Down(f"{target.host}:{target.port}: {error or 'no answer in time'}") from None
        finally:
            place.release()
        lasts = max(STALE, self.config.positive_seconds) if answer else self.config.negative_seconds
        self.shelf.put(address.lower(), [float(answer), self.shelf.clock()], lasts)
        return answer

    def _place(self, target: Route) -> asyncio.Semaphore:
        if len(self.places) > SERVERS:
            self.places.clear()
        return self.places.setdefault(target, asyncio.Semaphore(self.config.callout_at_once))

    def _mark_down(self, target: Route, error: Exception) -> None:
        log.warning("callout to %s:%d failed: %s", target.host, target.port, error or "no answer in time")
        self.down[target] = time.monotonic() + BACK_OFF
        while len(self.down) > SERVERS:
            self.down.popitem(last=False)

    async def _talk(self, target: Route, address: str) -> Known:
        reader, writer = await self._connect(target)
        try:
            return await dialogue(reader, writer, helo(self.config), address)
        finally:
            writer.close()

    async def _connect(self, target: Route) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        last: Exception = Down("it has no address")
        for address in await self._addresses(target.host):
            try:
                async with asyncio.timeout(self.config.callout_seconds / 2):
                    return await asyncio.open_connection(address, target.port, limit=LINE)
            except (OSError, TimeoutError) as error:
                last = error
        raise last

    async def _addresses(self, host: str) -> Sequence[str]:
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        return await self.resolver.records(host, "A") or await self.resolver.records(host, "AAAA")


class Undecided(Down):
    """The server is well, but puts this one question off."""


async def dialogue(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, address: str) -> Known:
    """Speak SMTP up to RCPT; raise Down, OSError."""
    await _expect(reader, "greeting")
    writer.write(f"EHLO {name}\r\n".encode("ascii", "replace"))
    code, text = await _reply(reader)
    if code[0] == "5":  # as gatepost does: a server may not know it (RFC 5321, 3.2)
        writer.write(f"HELO {name}\r\n".encode("ascii", "replace"))
        code, text = await _reply(reader)
    if code[0] != "2":
        raise Down(f"EHLO: {text}")
    writer.write(b"MAIL FROM:<>\r\n")
    await _expect(reader, "MAIL FROM:<>")
    writer.write(f"RCPT TO:<{quoted(address)}>\r\n".encode("utf-8", "surrogateescape"))
    code, text = await _reply(reader)
    writer.write(b"QUIT\r\n")
    if code[0] == "2":
        return Known.YES
    if is_unknown(code, text):
        return Known.NO
    if code[0] == "5":  # the server has something against us, which says nothing of the mailbox
        return Known.YES
    raise Undecided(f"RCPT: {text}")


def quoted(address: str) -> str:
    """An address as SMTP has it; qmail-smtpd has taken quotation marks away. Raises Undecided if it cannot be said."""
    local, _, domain = address.rpartition("@")
    if any(letter < " " or letter == "\x7f" for letter in address):
        raise Undecided("an address with a control character in it")
    if _PLAIN.fullmatch(local):
        return address
    bare = re.sub(r'(["\\])', r"\\\1", unquoted(local))
    return f'"{bare}"@{domain}'


def is_unknown(code: str, text: str) -> bool:
    """Whether a refusal says that there is no such mailbox, and not that policy forbids us to ask."""
    status = _STATUS.match(text)
    says = status[1] if status else "0.0"
    return code in _UNKNOWN_CODES and says[:2] in ("0.", "1.", "2.") and says not in _OF_SENDER


async def _expect(reader: asyncio.StreamReader, what: str) -> None:
    code, text = await _reply(reader)
    if code[0] != "2":
        raise Down(f"{what}: {text}")


async def _reply(reader: asyncio.StreamReader) -> tuple[str, str]:
    """The code of a reply, and its last line; raise Down."""
    for _ in range(LINES):
        try:
            line = (await reader.readuntil(b"\n")).decode("latin-1").rstrip("\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise Down("it hung up, or sent a line without an end") from None
        found = _CODE.match(line)
        if not found:
            raise Down("it does not speak SMTP")
        if found[2] != "-":
            return found[1], line[:200]
    raise Down("a reply without an end")
