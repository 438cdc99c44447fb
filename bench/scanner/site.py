"""What gatekeeper asks about the bench's mail: a sender who signs, and a name server that knows his records."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from itertools import count

import dns.message
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from gatepost import dkim
from gatepost.signer import Secret

from lab.small.names import Names

SENDER = "example.org"
"""The domain of all messages, if nothing else is said."""
STRANGERS = "strangers.example"
"""All domains below it are known, each with a policy and the same key."""
WAITING = 4_000_000
"""Bytes of questions that may wait: all sessions ask several at once, and a lost one is asked again seconds later."""
_SO_RCVBUFFORCE = 33  # Linux: more than net.core.rmem_max, for root


class Site(Names):
    """Answers on the loopback address; its CPU time is the bench's own. Use it in a `with`."""

    def __init__(self) -> None:
        """Make a key, and publish what receivers look for."""
        super().__init__("127.0.0.1")
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, WAITING)
        self.delay = 0.0
        """Seconds before each answer."""
        self._secret = Secret(SENDER, "bench", generate_private_key(65537, 2048))
        self.publish_text(f"bench._domainkey.{SENDER}", self._secret.record())
        self.publish_text(SENDER, "v=spf1 ip4:127.0.0.0/8 -all")
        self.publish_text(f"_dmarc.{SENDER}", "v=DMARC1; p=reject")

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The answer to a question, when its time has come."""
        time.sleep(self.delay)
        first, _, rest = query.question[0].name.to_text(omit_final_dot=True).partition(".")
        if rest.endswith(f".{STRANGERS}") and first in ("_dmarc", "bench"):
            self._publish_stranger(rest.removeprefix("_domainkey."))
        return super().answer(query)

    def _publish_stranger(self, domain: str) -> None:
        self._records[f"_dmarc.{domain}", "TXT"] = ['"v=DMARC1; p=reject"']
        self._records[f"bench._domainkey.{domain}", "TXT"] = self._records[f"bench._domainkey.{SENDER}", "TXT"]

    def signed(self, messages: Iterable[bytes]) -> list[bytes]:
        """The messages as their sender's server signs them."""
        return [self._sign(message, SENDER) for message in messages]

    def of_strangers(self, messages: Iterable[bytes], first: int) -> list[bytes]:
        """The messages, each signed and sent by a domain of its own, numbered from `first`."""
        domains = (f"d{number}.{STRANGERS}" for number in count(first))
        return [
            self._sign(message.replace(f"@{SENDER}".encode(), f"@{domain}".encode(), 1), domain)
            for message, domain in zip(messages, domains, strict=False)
        ]

    def _sign(self, message: bytes, domain: str) -> bytes:
        signable = dkim.prepare(iter((message,)))
        assert signable is not None
        key = dkim.Key(domain, self._secret.selector, self._secret.algorithm)
        field, digest = dkim.unsigned(signable, key, dkim.now())
        return dkim.fold(field, self._secret.sign(digest)).replace(b"\r\n", b"\n") + message
