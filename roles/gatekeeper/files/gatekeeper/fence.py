"""The worker's fence: what a process may do whose questions strangers write, put in force by `gatefence`.

    files    read: its code, its configuration, qmail's control files, folders of lists; write: its state, its figures
    TCP      to the name server and, where recipients are known by callout, the routes' ports
    calls    no program, no other process, no socket but of IPv4 and IPv6, and none that waits for others

Its sockets come from the master, messages as descriptors. Whom it needs else is looked at once, when it starts. If that
does not do any more, another worker takes over: see `master`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gatekeeper.callout import ports
from gatekeeper.config import Config
from gatekeeper.gatefence import Standing, enclose, python
from gatekeeper.gatefence.landlock import KEEP, READ_FILE, Rule
from gatekeeper.gatefence.seccomp import AF_INET, AF_INET6, Filter
from gatekeeper.master import sockets_of

OFF = Standing("off", "switched off by confined")
Place = tuple[Path, int, int]
"""A folder, its device and its inode: a fence lets through what stands at a path when it is built."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a configuration asks for: folders to read and to write in, TCP ports; and what only the master can give."""

    read: frozenset[Place]
    written: frozenset[Place]
    ports: frozenset[int]
    sockets: frozenset[Path]
    is_confined: bool

    def cover(self, other: Needs) -> bool:
        """Whether a worker for these does for others, too."""
        return (
            other.read <= self.read
            and other.written <= self.written
            and other.ports <= self.ports
            and (other.sockets, other.is_confined) == (self.sockets, self.is_confined)
        )


def needs_of(path: Path, config: Config) -> Needs:
    """What a worker needs now, by the configuration in a file."""
    files = [rule.file for rule in config.recipients.values() if rule.kind == "file"]
    asks = any(rule.kind == "callout" for rule in config.recipients.values())
    # A file is replaced by renaming, so what is allowed is its folder: the one that it is in, wherever links lead.
    read = {config.home / "control", *(Path(os.path.realpath(name)).parent for name in (str(path), *files))}
    counts = {Path(config.dmarc_counts)} if config.dmarc_counts else set()
    return Needs(
        _places(read),
        _places({config.state.parent, config.metrics.parent, *counts}),
        frozenset({config.name_server_port, *(ports(config) if asks else ())}),
        frozenset(sockets_of(config)),
        config.confined,
    )


def _places(folders: Iterable[Path]) -> frozenset[Place]:
    return frozenset(map(_place, folders))


def _place(folder: Path) -> Place:
    try:
        status = folder.stat()
    except OSError:  # it may come later
        return folder, 0, 0
    return folder, status.st_dev, status.st_ino


def enclose_worker(needs: Needs) -> Standing:
    """Shut this process in, for good; returns how far that went. It must have one thread."""
    return enclose(rules(needs), needs.ports, _calls) if needs.is_confined else OFF


def rules(needs: Needs) -> Iterator[Rule]:
    """What a worker may do with which files. It may execute nothing."""
    yield from python.files(Path(__file__).parent)
    yield from (Rule(folder, READ_FILE) for folder, _, _ in sorted(needs.read))
    yield from (Rule(folder, KEEP) for folder, _, _ in sorted(needs.written))


def _calls() -> Filter:
    """Its event loop has its pair of sockets by then, and connects to servers alone."""
    return python.calls((AF_INET, AF_INET6), "bind", "listen", "socketpair")
