"""A domain name system in memory, for what asks it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from gatekeeper.resolve import TryLater


@dataclass
class Zone:
    """Records by kind and name; names in `failing` are not to be had now. asked: each question."""

    txt: Mapping[str, str | list[str]] = field(default_factory=dict)
    a: dict[str, list[str]] = field(default_factory=dict)
    aaaa: dict[str, list[str]] = field(default_factory=dict)
    mx: dict[str, list[str]] = field(default_factory=dict)
    ptr: dict[str, list[str]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def _found(self, records: dict[str, list[str]], name: str) -> list[str]:
        name = name.lower().removesuffix(".")
        self.asked.append(name)
        if name in self.failing:
            raise TryLater(f"{name}: no answer")
        return list(records.get(name, []))

    def for_message(self) -> Zone:
        return self

    def expect(self, name: str) -> None:
        """Nobody waits here."""

    async def texts(self, name: str) -> list[str]:
        return self._found({key: [text] if isinstance(text, str) else text for key, text in self.txt.items()}, name)

    async def addresses(self, name: str, kind: str) -> list[str]:
        return self._found(self.a if kind == "A" else self.aaaa, name)

    async def exchanges(self, name: str) -> list[str]:
        return self._found(self.mx, name)

    async def pointers(self, address: str) -> list[str]:
        return self._found(self.ptr, ipaddress.ip_address(address).compressed)
