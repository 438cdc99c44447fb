"""The talk with one server: greeting, EHLO, TLS as far as it must be, and messages one after another."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gatepost import dane, message, report, results
from gatepost.model import Account, Failed, Level, Order, Security
from gatepost.reply import Reply
from gatepost.results import Outcome
from gatepost.wire import CIPHERS, Gone, TlsFailed, Wire


class PlainTextNeeded(Exception):
    """Optional TLS has come to nothing: the server is to be called again, and spoken to in plain text."""


@dataclass(frozen=True, slots=True)
class NoTls:
    """Why TLS has not come about: a sentence's end, its enhanced code, and the server's words.

    is_broken: plain text cannot go on over this connection. result: TLS-RPT's word; empty: it says nothing of TLS.
    """

    why: str
    enhanced: str
    reply: Reply | None = None
    is_broken: bool = False
    result: str = ""


class Session:
    """A connection to a server. is_critical: it has a whole message, and has not said what becomes of it.

    tls, cipher: as OpenSSL names them, kept for when the connection is gone; empty in plain text.
    """

    def __init__(self, wire: Wire, helo: bytes, security: Security) -> None:
        self.wire = wire
        self.helo = helo
        self.security = security
        self.hello = Reply(0, b"")
        self.tls = ""
        self.cipher = ""
        self.verified = ""
        self.outcome: Outcome | None = None
        self.is_critical = False

    @property
    def partner(self) -> str:
        """The server's address."""
        return self.wire.address.text

    async def open(self, *, plain: bool) -> None:
        """Hear the greeting and go as far as MAIL. plain: optional TLS was tried before, and is not tried again.

        Raises Failed, and PlainTextNeeded when optional TLS fails.
        """
        try:
            greeting = await self.wire.hear()
        except Gone:
            raise self.dropped(is_final=False) from None
        if greeting.code != 220:
            raise self.quit("Z", "Connected to ", " but greeting failed", greeting, is_final=False)
        if self.security.level is Level.NEVER or plain:
            await self._greet_in_plain_text()
            return
        why = await self._go_encrypted()
        if why is None:
            self.outcome = Outcome()
            return
        if why.result:
            self.outcome = Outcome(why.result, why.why)
        if self.security.level is not Level.OPTIONAL:
            self.wire.leave()
            raise self._insecure(why)
        if why.is_broken:
            self.wire.leave()
            raise PlainTextNeeded
        if self.hello.code != 250:
            await self._greet_in_plain_text()

    # The beginning

    async def _greet_in_plain_text(self) -> None:
        try:
            self.hello = await self.wire.ask(b"EHLO " + self.helo)
            if 500 <= self.hello.code < 600:
                self.hello = await self.wire.ask(b"HELO " + self.helo)
        except Gone:
            raise self.dropped(is_final=False) from None
        if self.hello.code != 250:
            raise self.quit("Z", "Connected to ", " but my name was rejected", self.hello, is_final=False)

    async def _go_encrypted(self) -> NoTls | None:
        """Go on by TLS, before anything was said of the message; returns why that has not come about."""
        try:
            self.hello = await self.wire.ask(b"EHLO " + self.helo)
        except Gone:
            return NoTls("the connection died at EHLO", "4.7.4", is_broken=True)
        if self.hello.code != 250:
            return NoTls("EHLO was refused", "4.7.4", self.hello, result=results.NO_STARTTLS)
        if not self.hello.offers("STARTTLS"):
            return NoTls("STARTTLS is not offered", "4.7.4", result=results.NO_STARTTLS)
        try:
            context = context_for(self.security.authorities)
        except (OSError, ssl.SSLError):
            return NoTls("the file of authorities cannot be used", "4.7.5")
        try:
            reply = await self.wire.ask(b"STARTTLS")
        except Gone:
            return NoTls("the connection died at STARTTLS", "4.7.5", is_broken=True, result=results.FAILED)
        if reply.code != 220:
            return NoTls("STARTTLS was refused", "4.7.5", reply, result=results.NO_STARTTLS)
        # Whoever can write into the plain text could have its words count as the server's.
        if self.wire.replies.has_more:
            return NoTls("more than a reply came to STARTTLS", "4.7.5", is_broken=True, result=results.FAILED)
        return await self._shake_hands(context)

    async def _shake_hands(self, context: ssl.SSLContext) -> NoTls | None:
        try:
            tls = await self.wire.encrypt(context, self.security.names[0])
        except TlsFailed as error:
            return NoTls(str(error), "4.7.5", is_broken=True, result=error.result)
        self.tls, self.cipher = str(tls.version()), (tls.cipher() or ("",))[0]
        if self.security.tlsa:
            problem = dane.problem(self.security.tlsa, _chain(tls), self.security.names)
            if problem:
                return NoTls(problem.why, "4.7.5", is_broken=True, result=problem.result)
            self.verified = "DANE"
        elif self.security.authorities:
            self.verified = "MTA-STS" if self.security.whose == "MTA-STS" else "certificate"
        try:
            self.hello = await self.wire.ask(b"EHLO " + self.helo)
        except Gone:
            return NoTls("the connection died behind the handshake", "4.7.5", is_broken=True, result=results.FAILED)
        if self.hello.code != 250:
            why = "EHLO was refused behind the handshake"
            return NoTls(why, "4.7.5", self.hello, is_broken=True, result=results.FAILED)
        return None

    def _insecure(self, why: NoTls) -> Failed:
        level = "to be verified" if self.security.level is Level.VERIFIED else "required"
        whose = ("by " if self.security.whose in ("DANE", "MTA-STS") else "for ") + self.security.whose
        text = f"Connected to {self.partner} but TLS is {level} {whose}, and {why.why}. (#{why.enhanced})\n"
        return Failed("Z", text + report.said(why.reply), is_final=False)

    # A message

    async def send(self, order: Order, front: bytes, size: int, has_8bit: bool, account: Account) -> bytes:
        """Send one message; returns the report. Raises Failed with the parts of recipients in `parts`, and Gone
        when a connection that was kept open turns out to be dead before the server has answered anything."""
        parts: list[bytes] = []
        try:
            named = await self._mail(order, size, has_8bit)
            taken = await self._recipients(order.recipients, named, parts)
            if not taken:
                raise Failed("D", f"Giving up on {self.partner}.\n")
            account.reply, text = await self._data(order.message, front, account)
        except Failed as failed:
            return report.whole(parts, report.part(failed.letter, failed.text))
        return report.whole(parts, report.part("K", text))

    async def _mail(self, order: Order, size: int, has_8bit: bool) -> int:
        """Name the sender; returns how many recipients were named along with it, whose replies come next.

        Where the server knows PIPELINING (RFC 2920) that is the first one, as qmail has one for a message. DATA is not
        sent along: its reply must be known before anything of the message leaves.
        """
        words = b"MAIL FROM:<" + message.address(order.sender) + b">"
        if self.hello.offers("SIZE"):
            words += b" SIZE=%d" % size
        if has_8bit and self.hello.offers("8BITMIME"):
            words += b" BODY=8BITMIME"
        along = order.recipients[:1] if self.hello.offers("PIPELINING") else ()
        try:
            self.wire.say(words, *map(_rcpt, along))
            reply = await self.wire.hear()
        except Gone:
            if self.wire.messages:
                raise
            raise self.dropped() from None
        if reply.code == 421:
            if self.wire.messages:  # of this connection it has enough; another one may do
                raise Gone
            self.wire.is_over = True
        if reply.code >= 400:
            raise self.quit("D" if reply.code >= 500 else "Z", "Connected to ", " but sender was rejected", reply)
        return len(along)

    async def _recipients(self, recipients: tuple[str, ...], named: int, parts: list[bytes]) -> bool:
        taken = False
        for number, recipient in enumerate(recipients):
            try:
                if number >= named:
                    self.wire.say(_rcpt(recipient))
                reply = await self.wire.hear()
            except Gone:
                raise self.dropped() from None
            if reply.code >= 400:
                text = f"{self.partner} does not like recipient.\n" + report.said(reply)
                parts.append(report.part("h" if reply.code >= 500 else "s", text))
            else:
                parts.append(report.part("r"))
                taken = True
        return taken

    async def _data(self, fd: int, front: bytes, account: Account) -> tuple[str, str]:
        """Send the message itself; returns the server's last line and the text of the report."""
        try:
            reply = await self.wire.ask(b"DATA")
            if reply.code != 354:
                raise self.quit("D" if reply.code >= 500 else "Z", "", " failed on DATA command", reply)
            lines, last = message.Lines(), front
            try:
                for block in message.blocks(fd):
                    if last:
                        self.wire.put(last)
                        await self.wire.flush()
                    last = lines.feed(block)
                last += lines.end()
            except OSError:
                self.wire.hang_up()
                raise Failed("Z", "The message cannot be read. (#4.3.0)\n") from None
            except message.Unended:
                self.wire.hang_up()
                raise Failed("D", "SMTP has no messages whose last line does not end. (#5.6.2)\n") from None
            await self.wire.drain()  # what dies before the last block was no duplicate
            self.wire.put(last)
            self.is_critical = True
            account.times["dot"] = time.monotonic()
            reply = await self.wire.hear(b".")
        except Gone:
            raise self.dropped() from None
        self.is_critical = False
        if reply.code >= 300:
            raise self.quit("D" if reply.code >= 500 else "Z", "", " failed after I sent the message", reply)
        return _last_line(reply), f"{self.partner} accepted message.\n{self.describe_tls()}{report.said(reply)}"

    # Words of the report

    def describe_tls(self) -> str:
        """The line that names the TLS; empty in plain text."""
        if not self.tls:
            return ""
        how = {"": "", "certificate": ", certificate verified"}.get(
            self.verified, f", certificate verified ({self.verified})"
        )
        return f"By {self.tls} {self.cipher}{how}.\n"

    def quit(self, letter: str, before: str, behind: str, reply: Reply, *, is_final: bool = True) -> Failed:
        """How qmail-remote reports a refusal."""
        return Failed(letter, f"{before}{self.partner}{behind}.\n" + report.said(reply), is_final=is_final)

    def dropped(self, *, is_final: bool = True) -> Failed:
        """How qmail-remote reports a connection that died."""
        duplicate = "Possible duplicate! " if self.is_critical else ""
        self.wire.hang_up()
        return Failed("Z", f"Connected to {self.partner} but connection died. {duplicate}(#4.4.2)\n", is_final=is_final)


def _rcpt(recipient: str) -> bytes:
    return b"RCPT TO:<" + message.address(recipient) + b">"


def _last_line(reply: Reply) -> str:
    return reply.text.rstrip(b"\n").rpartition(b"\n")[2].decode("utf-8", "replace")[:500]


@lru_cache(maxsize=64)
def _context(authorities: str, _stamp: int) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if authorities:
        context.hostname_checks_common_name = False
        context.load_verify_locations(authorities)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def context_for(authorities: str) -> ssl.SSLContext:
    """The TLS settings for servers that must prove their name to these authorities (a file), or that need not.

    Raises OSError or ssl.SSLError for a file that cannot be used. A changed file is read again.
    """
    from pathlib import Path

    return _context(authorities, Path(authorities).stat().st_mtime_ns if authorities else 0)


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server showed (DER), its own first."""
    inner: Any = getattr(tls, "_sslobj", None)
    public: Callable[[], Any] | None = getattr(tls, "get_unverified_chain", None)  # since Python 3.13
    certificates = public() if public else inner.get_unverified_chain() if inner else None
    if certificates is None:
        own = tls.getpeercert(binary_form=True)
        return [own] if own else []
    return [item if isinstance(item, bytes) else ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in certificates]
