"""What an engine needs of a worker that is confined: ports, programs, files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NATIVE = b"\x7fELF\x02"
"""How a program of 64 bits begins."""


@dataclass(frozen=True, slots=True)
class Needs:
    """ports: TCP, of this host. programs: engines that are started. signatures: directories that are looked into."""

    ports: frozenset[int] = frozenset()
    programs: tuple[Path, ...] = ()
    signatures: tuple[Path, ...] = ()

    @classmethod
    def at(cls, address: str, *signatures: Path) -> Needs:
        """Of an engine that answers at HOST:PORT, or at the path of a socket, which needs no leave of its own."""
        ports = () if address.startswith("/") else (int(address.rpartition(":")[2]),)
        return cls(frozenset(ports), signatures=signatures)

    @classmethod
    def of_all(cls, several: Iterable[Needs]) -> Needs:
        """Those of several engines together."""
        found = list(several)
        return cls(
            frozenset().union(*(needs.ports for needs in found)),
            tuple(program for needs in found for program in needs.programs),
            tuple(directory for needs in found for directory in needs.signatures),
        )

    @property
    def foreign(self) -> bool:
        """May a program of 32 bits be among them? A script may start one, and a program may be put there later."""
        return any(not _begins(program).startswith(_NATIVE) for program in self.programs)


def directories(patterns: Iterable[str]) -> tuple[Path, ...]:
    """The directories that hold all that fits the patterns."""
    return tuple(Path(re.split(r"[*?\[]", pattern)[0] + "x").parent for pattern in patterns)


def _begins(program: Path) -> bytes:
    try:
        with program.open("rb") as file:
            return file.read(len(_NATIVE))
    except OSError:
        return b""
