"""A connection to a server: bytes with a patience, replies, and the change to TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import cast

from gatepost import results
from gatepost.model import Address
from gatepost.reply import BadReply, Replies, Reply

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only."""

USUAL = 300.0
"""Seconds that a server has for a reply. Here and below it is what RFC 5321 (4.5.3.2) gives it at least."""
BLOCK = 180.0
"""Seconds in which a server takes a block."""
UNUSUAL = {b"DATA": 120.0, b".": 600.0}
"""Seconds for the replies that have a time of their own."""


class Gone(Exception):
    """The connection died, took too long, or what came over it was no reply."""


class TlsFailed(Exception):
    """TLS has not come about; the text says why. result: TLS-RPT's word for it."""

    def __init__(self, text: str, result: str = results.FAILED) -> None:
        super().__init__(text)
        self.result = result


class Wire(asyncio.Protocol):
    """One connection. `seconds` bounds the patience with each reply and each block that is sent.

    asked_at: since when the server owes an answer, by time.monotonic.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.replies = Replies()
        self.is_over = False
        self.address = Address("", "")
        self.port = 0
        self.messages = 0
        self.asked_at = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._news: asyncio.Future[None] | None = None
        self._is_ahead = False
        self._may_write = asyncio.Event()
        self._may_write.set()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)
        self.wait_from_now()

    def data_received(self, data: bytes) -> None:
        """Bytes of the server's."""
        self.replies.feed(data)
        self._wake()

    def eof_received(self) -> bool:
        """The server says no more."""
        self.is_over = True
        self._wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Over."""
        self.is_over = True
        self._may_write.set()
        self._wake()

    def pause_writing(self) -> None:
        """The server does not keep up."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._may_write.set()

    def _wake(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(None)

    # gatepost's side

    @property
    def own_address(self) -> str:
        """This host's address on the connection; empty if there never was one."""
        name = self._transport.get_extra_info("sockname") if self._transport else None
        return str(name[0]) if name else ""

    @property
    def transport(self) -> asyncio.Transport:
        """The transport below."""
        if self._transport is None:
            raise Gone
        return self._transport

    def wait_from_now(self) -> None:
        """Whatever the server owes, it owes since now."""
        self.asked_at = time.monotonic()

    def put(self, data: bytes) -> None:
        """Send bytes some time; `flush` waits until the server has taken most of what was put."""
        if self.is_over or self.transport.is_closing():
            raise Gone
        self.wait_from_now()
        self._is_ahead = self.replies.has_more
        self.transport.write(data)

    async def flush(self) -> None:
        """Let others work, and wait until there is room for more; raise Gone when there is none in time."""
        await asyncio.sleep(0)  # who writes without a pause would never hear that the connection died
        if not self._may_write.is_set():
            await self._until_writable()
        if self.is_over or self.transport.is_closing():
            raise Gone

    async def _until_writable(self) -> None:
        try:
            async with asyncio.timeout(min(self.seconds, BLOCK)):
                await self._may_write.wait()
        except TimeoutError:
            raise Gone from None

    async def drain(self) -> None:
        """Wait until everything that was put has left this process; raise Gone when it does not in time."""
        if self.transport.get_write_buffer_size():
            low, high = self.transport.get_write_buffer_limits()
            self.transport.set_write_buffer_limits(high=0)
            await self.flush()
            self.transport.set_write_buffer_limits(high=high, low=low)

    async def hear(self, to: bytes = b"") -> Reply:
        """The next reply, to this command; raise Gone when it does not come whole and in time.

        Nothing is taken for granted that was said before it was asked for, or a server that is a reply ahead would seem
        to take a message that it has not heard yet. That it refuses, or has enough, it may say at any time.
        """
        loop = asyncio.get_running_loop()
        end = loop.call_later(min(self.seconds, UNUSUAL.get(to, USUAL)), self.hang_up)
        try:
            while (reply := self.replies.take()) is None:
                if self.is_over:
                    raise Gone
                self._news = loop.create_future()
                await self._news
        except BadReply:
            self.is_over = True
            raise Gone from None
        finally:
            end.cancel()
        if self._is_ahead and reply.code < 400:
            self.is_over = True
            raise Gone
        self.wait_from_now()  # for the reply to the next command, if that was sent along with this one
        return reply

    def say(self, *commands: bytes) -> None:
        """Send commands at once; the replies come one after another."""
        self.put(b"".join(command + b"\r\n" for command in commands))

    async def ask(self, command: bytes) -> Reply:
        """Send a command and hear its reply."""
        self.say(command)
        return await self.hear(command)

    async def encrypt(self, context: ssl.SSLContext, name: str) -> ssl.SSLObject:
        """Shake hands; raise TlsFailed saying why it fails. From here on plain text is over."""
        loop = asyncio.get_running_loop()
        self.wait_from_now()
        try:
            upgraded = await loop.start_tls(
                self.transport, self, context, server_hostname=name, ssl_handshake_timeout=min(self.seconds, USUAL)
            )
        except (ssl.SSLError, OSError, ValueError, Gone) as error:
            self.is_over = True
            raise TlsFailed(_why(error), results.of_certificate(getattr(error, "verify_code", 0))) from error
        if upgraded is None:
            raise TlsFailed("the connection died in the handshake")
        self._transport = upgraded
        return cast(ssl.SSLObject, upgraded.get_extra_info("ssl_object"))

    def leave(self) -> None:
        """Say QUIT if the server still listens, and hang up without waiting for its farewell."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():  # a server that does not read would be waited for without end
            self.hang_up()
            return
        if not self.is_over:
            with contextlib.suppress(Gone, OSError, RuntimeError):
                self.put(b"QUIT\r\n")
        self._transport.close()

    def hang_up(self) -> None:
        """Hang up at once."""
        self.is_over = True
        if self._transport is not None:
            self._transport.abort()
            self._transport = None  # one of TLS can be asked nothing any more


def _why(error: Exception) -> str:
    """What OpenSSL says, in its own words without the decoration."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = {62: "hostname mismatch", 64: "IP address mismatch"}
        return known.get(error.verify_code, error.verify_message)
    if isinstance(error, TimeoutError) or "handshake is taking longer" in str(error):
        return "the peer took too long"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "the connection died in the handshake"
