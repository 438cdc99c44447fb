"""What gatekeeper asks about the bench's mail: a sender who signs, and a name server that knows his records."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from gatepost import dkim
from gatepost.signer import Secret

from lab.small.names import Names

SENDER = "example.org"
"""The domain of all messages."""


class Site(Names):
    """Answers on the loopback address; its CPU time is the bench's own. Use it in a `with`."""

    def __init__(self) -> None:
        """Make a key, and publish what receivers look for."""
        super().__init__("127.0.0.1")
        self._secret = Secret(SENDER, "bench", generate_private_key(65537, 2048))
        self.publish_text(f"bench._domainkey.{SENDER}", self._secret.record())
        self.publish_text(SENDER, "v=spf1 ip4:127.0.0.0/8 -all")
        self.publish_text(f"_dmarc.{SENDER}", "v=DMARC1; p=reject")

    def signed(self, messages: Iterable[bytes]) -> list[bytes]:
        """The messages as their sender's server signs them."""
        return [self._sign(message) for message in messages]

    def _sign(self, message: bytes) -> bytes:
        signable = dkim.prepare(iter((message,)))
        assert signable is not None
        key = dkim.Key(self._secret.domain, self._secret.selector, self._secret.algorithm)
        field, digest = dkim.unsigned(signable, key, dkim.now())
        return dkim.fold(field, self._secret.sign(digest)).replace(b"\r\n", b"\n") + message
