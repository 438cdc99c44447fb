"""The worker's fence: what a process may do that speaks with servers all over the world, put in force by `gatefence`.

    files    read: its code, qmail's control files, the authorities; write: its journal, its counts, qmail's table of
             timeouts
    TCP      to the name server, port 25 (`port`) and the routes' ports; it listens nowhere
    calls    no program, no other process, no socket but of unix, IPv4 and IPv6

What a worker needs is read once, when it starts. Routes that lead to another port, or another file of authorities, take
another worker: see `master`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatepost.config import Config
from gatepost.control import Control, ControlError, port_of
from gatepost.gatefence import Standing, enclose, python
from gatepost.gatefence.landlock import APPEND, READ_FILE, WRITE_FILE, Rule
from gatepost.gatefence.seccomp import AF_INET, AF_INET6, AF_UNIX, Filter

OFF = Standing("off", "switched off by confined")


@dataclass(frozen=True, slots=True)
class Needs:
    """What the configuration and the routes ask for: TCP ports, and folders of authorities."""

    ports: frozenset[int]
    authorities: frozenset[Path]

    def covers(self, other: Needs) -> bool:
        """Whether a fence for these needs does for others, too."""
        return other.ports <= self.ports and other.authorities <= self.authorities


def needs_of(config: Config, control: Control) -> Needs:
    """What mail may need now; a control file that cannot be read asks for nothing, as its mail waits."""
    try:
        routes = control.table("smtproutes") or {}
        named = control.line("tlsca")
    except ControlError:
        routes, named = {}, None
    ports = frozenset(filter(None, map(port_of, routes.values())))
    # A list of authorities is replaced by renaming, so what is allowed is its folder.
    folders = frozenset(Path(path).parent for path in (config.authorities, named) if path)
    return Needs(ports | {config.port, config.name_server_port}, folders)


@dataclass(slots=True)
class Watch:
    """Tells when the control files ask for more than a fence for these needs lets through."""

    config: Config
    control: Control
    needs: Needs
    _seen: tuple[object, object] = (None, None)

    def is_outgrown(self) -> bool:
        """Whether another worker is needed."""
        if not self.config.confined:
            return False
        try:
            table, line = self.control.table("smtproutes"), self.control.line("tlsca")
        except ControlError:
            return False
        if table is self._seen[0] and line == self._seen[1]:
            return False
        self._seen = (table, line)
        return not self.needs.covers(needs_of(self.config, self.control))


def enclose_worker(config: Config, needs: Needs) -> Standing:
    """Shut this process in, for good; returns how far that went. It must have one thread."""
    return enclose(rules(config, needs), needs.ports, _calls) if config.confined else OFF


def rules(config: Config, needs: Needs) -> Iterator[Rule]:
    """What a worker may do with which files. It may execute nothing."""
    yield from python.files(Path(__file__).parent)
    yield from (Rule(folder, READ_FILE) for folder in sorted(needs.authorities))
    yield Rule(config.home / "control", READ_FILE)
    if not config.timeouts_descriptor:
        yield Rule(config.home / "queue/lock", READ_FILE | WRITE_FILE)
    if config.journal:
        # lines are added; none can be read or taken away
        yield Rule(Path(config.journal).parent, APPEND)
    if config.tls_counts:
        yield Rule(Path(config.tls_counts), APPEND)


def _calls() -> Filter:
    return python.calls((AF_UNIX, AF_INET, AF_INET6), "listen")
