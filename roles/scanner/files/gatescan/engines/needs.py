"""What the configured engines need of a worker that is confined: ports, programs, files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatescan.config import Config
from gatescan.engines.base import Engine
from gatescan.engines.build import engines
from gatescan.engines.clamd import Clamd
from gatescan.engines.commandline import CommandLine
from gatescan.engines.rspamd import Rspamd
from gatescan.engines.sockets import SocketEngine
from gatescan.engines.spamd import Spamd

_NATIVE = b"\x7fELF\x02"
"""How a program of 64 bits begins."""


@dataclass(frozen=True, slots=True)
class Needs:
    """ports: TCP, of this host. programs: engines that are started. signatures: directories that are looked into."""

    ports: frozenset[int] = frozenset()
    programs: tuple[Path, ...] = ()
    signatures: tuple[Path, ...] = ()

    @property
    def foreign(self) -> bool:
        """May a program of 32 bits be among them? A script may start one, and a program may be put there later."""
        return any(not _begins(program).startswith(_NATIVE) for program in self.programs)


def of_engines(config: Config) -> Needs:
    """What they need; ConfigError if an engine is not configured well."""
    ports: set[int] = set()
    programs: list[Path] = []
    signatures: list[Path] = []
    for engine in engines(config):
        address = _address(engine)
        if address and not address.startswith("/"):
            ports.add(int(address.rpartition(":")[2]))
        if isinstance(engine, Clamd):
            signatures.append(engine.settings.database)
        if isinstance(engine, CommandLine):
            programs.append(Path(engine.row.command[0]))
            signatures += _directories(engine.row.signatures)
    return Needs(frozenset(ports), tuple(programs), tuple(signatures))


def _address(engine: Engine) -> str:
    if isinstance(engine, Clamd | Spamd | Rspamd):
        return engine.settings.socket
    return engine.address if isinstance(engine, SocketEngine) else ""


def _directories(patterns: Sequence[str]) -> list[Path]:
    """The directories that hold all that fits the patterns."""
    return [Path(re.split(r"[*?\[]", pattern)[0] + "x").parent for pattern in patterns]


def _begins(program: Path) -> bytes:
    try:
        with program.open("rb") as file:
            return file.read(len(_NATIVE))
    except OSError:
        return b""
