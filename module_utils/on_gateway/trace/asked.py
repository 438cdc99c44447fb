"""What is asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..matching import fits, is_in


@dataclass(frozen=True, slots=True)
class Request:
    """The filters, all of which must fit; texts fit a whole field in any case, `*` is any text.

    since, before: seconds since 1970 (UTC), of the message's arrival. id: of a held message, qmail's number, or a qp;
    qps: further processes, besides. most: records that are given back, the newest. spans: above 0, everything from
    since to before is counted, in so many equal spans, and no other filter is heeded.
    """

    since: float = 0.0
    before: float = 1e12
    to: str = ""
    sender: str | None = None
    subject: str = ""
    message_id: str = ""
    ip: str = ""
    id: str = ""
    most: int = 1000
    qps: tuple[int, ...] = ()
    spans: int = 0

    @property
    def is_number(self) -> bool:
        """Whether the id may be a number of qmail's."""
        return self.id.isascii() and self.id.isdigit()

    @property
    def needs_scanner(self) -> bool:
        """Whether it asks for what no other log knows."""
        return bool(self.subject or self.message_id)

    def is_within(self, time: float) -> bool:
        """Whether a time is one that is asked for."""
        return self.since <= time < self.before

    def fits_to(self, recipients: Collection[str]) -> bool:
        """Whether one of the recipients is asked for."""
        return not self.to or any(fits(self.to, address) for address in recipients)

    def fits_sender(self, sender: str) -> bool:
        """Whether the sender is asked for; an empty one asks for bounces."""
        return self.sender is None or fits(self.sender, sender)

    def fits_ip(self, address: str) -> bool:
        """Whether an address is the one, or in the network, that is asked for."""
        return not self.ip or is_in(address, self.ip)
