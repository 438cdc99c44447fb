"""Addresses that have mail, in the form in which they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from gatekeeper.addresses import AddressError, parse_entry


@dataclass(frozen=True)
class Table:
    """Addresses. bare: local parts of whatever domain asks; whole: as local@domain."""

    bare: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """How many addresses there are."""
        return len(self.bare) + len(self.whole)

    def serves(self, domain: str) -> bool:
        """Whether any address counts for a domain, or `.domain`: if none does, it is another one's table."""
        return bool(self.bare) or any(
            name == domain or (domain.startswith(".") and name.endswith(domain)) for name in self._domains
        )

    @cached_property
    def _domains(self) -> frozenset[str]:
        return frozenset(address.rpartition("@")[2] for address in self.whole)

    def knows(self, local: str, domain: str, delimiter: str) -> bool:
        """Whether a mailbox is listed, as it is written or without its tag."""
        return any(name in self.bare or f"{name}@{domain}" in self.whole for name in names(local, delimiter))


def names(local: str, delimiter: str) -> list[str]:
    """A local part, and the mailboxes that it may be a tag of; those may have the delimiter too (`ann-marie-news`)."""
    edges = (at for at in range(1, len(local)) if local[at] == delimiter)
    return [local, *(local[:edge] for edge in edges)]


def make_table(entries: Iterable[str]) -> tuple[Table, int]:
    """A table of entries, and how many there were; raise AddressError, its place in front."""
    bare, whole, count = set(), set(), 0
    for number, entry in enumerate(entries, 1):
        text = entry.strip()
        if not text or text.startswith("#"):
            continue
        count += 1
        try:
            local, domain = parse_entry(text)
        except AddressError as error:
            raise AddressError(f"line {number}: {text[:80]!r} {error}") from None
        if domain:
            whole.add(f"{local}@{domain}")
        else:
            bare.add(local)
    return Table(frozenset(bare), frozenset(whole)), count
