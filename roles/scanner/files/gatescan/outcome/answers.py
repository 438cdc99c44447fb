"""Release by mail: a recipient replies to a notice, and gets the held message, once.

How a reply reaches us  A notice's Reply-To is the address `held-mail-ID-MAC@GATEWAY` (tokens.py). The reply comes in by
                        SMTP like any mail. A worker sees the address among the recipients, writes down what it knows
                        of the connection (asked.py), and delivers the reply to nobody.
Who may release         This program, `gatescan answers`: systemd starts it when there is a request. It runs as the
                        quarantine's owner, outside of the daemon's fence, so that it may run qmail-queue. The fleet's
                        key is root's; systemd opens it as descriptor 0, so that no worker can read it.
Whom we believe         The MAC binds message and recipient. From must be that recipient, and the reply must have come
                        from a relay client (qmail-smtpd's RELAYCLIENT) or have passed DMARC (gatekeeper's word to the
                        queue client). No field of the message has a say in that.
Which gateway           The address names the one that holds the message, and office servers may send the reply
                        through another one. That one looks at it, and mails its word to the first: a second MAC, which
                        only a gateway can make, so that the first need not know the reply's sender.
Once                    given/ID.RECIPIENT in the quarantine is on the disk before qmail-queue is started.
Who gets no answer      Robots, lists, bounces, strangers, who comes too late or again: they are a line in the log.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable

from gatescan.config import Config
from gatescan.errors import GatescanError
from gatescan.outcome import letters, nextqueue, tokens
from gatescan.outcome.asked import VOUCHED, Asked, Desk
from gatescan.outcome.journal import Journal
from gatescan.outcome.quarantine import Entry, Quarantine, QuarantineBusy, QuarantineError
from gatescan.outcome.tokens import Token
from gatescan.text import printable

log = logging.getLogger("gatescan.answers")

HOUR = 3600.0
RETRY = 15.0
"""Seconds after a queue that took nothing, a disk that failed, or a message that somebody else was releasing."""


class Refused(GatescanError):
    """A request is not answered; the text says why."""


class Answers:
    """Answers requests."""

    def __init__(self, config: Config, key: bytes) -> None:
        self.config = config
        self.key = key
        self.desk = Desk(config)
        self.quarantine = Quarantine(config.quarantine)
        self.count = 0

    def run(self, sleep: Callable[[float], None] = time.sleep) -> int:
        """Answer until no request waits; returns how many messages were released or asked for at another gateway."""
        self.desk.sweep(time.time())
        while waiting := list(self.desk.waiting()):
            for path, asked in waiting:
                if self._is_done(asked):
                    path.unlink(missing_ok=True)  # a second process may have answered it
                else:
                    sleep(RETRY)
        return self.count

    def _is_done(self, asked: Asked) -> bool:
        """Answer one; False if it is to be tried again."""
        try:
            self._answer(asked)
            self.count += 1
        except (nextqueue.QueueError, QuarantineBusy, OSError) as error:
            log.error("%s: %s", asked.address, error)
            return isinstance(error, nextqueue.QueueError) and error.permanent
        except (Refused, QuarantineError) as why:
            log.warning("%s, from %s: %s", asked.address, printable(asked.author) or "nobody", why)
        return True

    def _answer(self, asked: Asked) -> None:
        token = tokens.read(asked.address)
        if token is None or not self.config.release.enabled:
            raise Refused("it is no release address")
        if not asked.time - self.config.release.days * 86_400 <= token.time <= asked.time:
            raise Refused("it came too late")
        if asked.vouched and token.is_for(self.key, "gateway", asked.vouched):
            self._release(token, asked.vouched)
            return
        recipient = self._recipient(token, asked)
        if token.gateway == self.config.hostname.lower():
            self._release(token, recipient)
        else:
            self._vouch(token, recipient)

    def _recipient(self, token: Token, asked: Asked) -> str:
        """Who asks, if it is he for whom the token is, and a person."""
        if asked.robot:
            raise Refused("a robot wrote it")
        if not asked.proof:
            raise Refused("it came from outside, and has not passed DMARC")
        if not token.is_for(self.key, "recipient", asked.author):
            raise Refused("the token is not for who wrote it")
        return asked.author

    def _release(self, token: Token, recipient: str) -> None:
        if token.gateway != self.config.hostname.lower():
            raise Refused("another gateway sent it here, which holds nothing of that name")
        entry = self.quarantine.find(token.held)
        address = self._address(entry, recipient)
        if self.quarantine.given_since(address, time.time() - HOUR) >= self.config.release.hourly:
            raise Refused(f"this recipient had {self.config.release.hourly} messages within the hour")
        queued = self.quarantine.give(entry, address, self.config)
        log.info("%s released to %s", entry.id, printable(address))
        journal = Journal(self.config.journal)
        journal.event(
            "release", held=entry.id, by=f"{printable(address, 1003)} by mail", message_id=entry.message_id,
            verdict=entry.verdict, qp=queued, to=[printable(address, 1003)],
        )  # short arguments, many a line # fmt: skip
        journal.close()

    def _address(self, entry: Entry, recipient: str) -> str:
        """The recipient as the envelope has him, if the message may be released so."""
        if not letters.is_releasable(self.config, entry.verdict):
            raise Refused(f"a message that is {entry.verdict} is not released by mail")
        for address in entry.recipients:
            if tokens.folded(address) == tokens.folded(recipient):
                return address
        raise Refused("the message was not to this recipient")

    def _vouch(self, token: Token, recipient: str) -> None:
        """Mail our word to the gateway that holds the message."""
        word = tokens.mint(self.key, "gateway", token.gateway, token.held, recipient)
        field = f"{VOUCHED.decode()}: {recipient}\n"
        mail = letters.header(self.config, word.address, "release", time.time(), field)
        nextqueue.submit(self.config, io.BytesIO(mail.encode("utf-8", "surrogateescape")), "", [word.address])
        log.info("%s asked for at %s, for %s", token.held, token.gateway, printable(recipient))
