"""Notices: who hears of a message that was stopped, in two steps.

The confined daemon may not run the set-uid qmail-queue, so it only spools an event, a small JSON file.
`gatescan notify`, a supervised loop under another user, makes mail of the events: at most one for each
address in `digest_minutes`, with everything that was stopped meanwhile. All notices have the empty envelope
sender.

Nobody hears of a message that is a bounce, comes from a list or a robot, or is a notice itself. The sender
never does: it is forged. A notice names no other recipient, so that a Bcc stays one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gatescan.config import Config
from gatescan.context import covers, domain_of, in_ascii
from gatescan.outcome import letters, nextqueue
from gatescan.outcome.letters import Event

RECIPIENTS_BOUND = 100
"""Local recipients of one message that hear of it; a mail to thousands must not become thousands of mails."""
EVENTS_BOUND = 20_000
"""Events that one run takes on, so that its memory is bounded; the next run takes the rest."""
COUNT_EVERY = 5.0
"""Seconds between two counts of the events that wait: in an outbreak there are many, and each count reads them all."""
LEFT_AFTER = 3600.0
"""Age in seconds from which a half-written event is nobody's any more: its worker was killed, or the disk was full."""
_STATE = "sent.json"


def addressees(config: Config, verdict: str, recipients: Iterable[str]) -> tuple[bool, tuple[str, ...]]:
    """Does the administrator hear of a message with this verdict, and which of its recipients do?"""
    notices = config.notices
    local: tuple[str, ...] = ()
    if verdict in notices.recipient_verdicts:
        known = dict.fromkeys(address for address in recipients if is_local(config, address))
        local = tuple(known)[:RECIPIENTS_BOUND]
    return bool(notices.admin) and verdict in notices.admin_verdicts, local


def is_local(config: Config, address: str) -> bool:
    """Is it an address of one of the configured domains?"""
    domain = in_ascii(domain_of(address))
    return bool(domain) and any(covers(pattern, domain) for pattern in config.local_domains)


class Spool:
    """The directory where `gatescan notify` finds the events, as a worker sees it."""

    def __init__(self, config: Config) -> None:
        self.directory = config.notices_spool
        self.bound = config.notices.max_pending
        self._count = 0
        self._counted = -COUNT_EVERY

    def put(self, event: Event) -> bool:
        """Add an event; False when too many wait already. May raise OSError.

        Not synced: a notice that a power cut destroys is a pity, the message itself is in quarantine.
        """
        if time.monotonic() - self._counted >= COUNT_EVERY:
            self._count = sum(1 for _ in os.scandir(self.directory))
            self._counted = time.monotonic()
        if self._count >= self.bound:
            return False
        self._count += 1
        _write(self.directory / f"{event.time:.6f}-{os.getpid()}-{os.urandom(2).hex()}.json", event)
        return True


def _write(path: Path, event: Event) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(asdict(event)), encoding="ascii")
    os.chmod(temporary, 0o660)
    os.replace(temporary, path)


@dataclass(slots=True)
class _Pending:
    path: Path
    event: Event


def run(config: Config, now: float | None = None, key: bytes = b"") -> int:
    """Send what is due; return how many notices were sent. Raises QueueError when the queue takes none.

    key: the fleet's, where recipients may release by mail.
    """
    now = time.time() if now is None else now
    directory = config.notices_spool
    _clear(directory, now)
    pending = list(_pending(directory))
    sent = Sent(directory / _STATE, config.notices.digest_minutes * 60, now)
    count = 0
    for address, items in _by_address(config, pending).items():
        if not sent.may(address):
            continue
        admin = address == config.notices.admin
        kind: letters.Kind = "notice-admin" if admin else "notice-recipient"
        mail = letters.compose(config, address, [item.event for item in items], now, kind, key)
        nextqueue.submit(config, io.BytesIO(mail), "", [address])
        # Noted at once: a run that is killed repeats at most this one notice.
        sent.note(address)
        count += 1
        for item in items:
            _heard(item, address, admin)
    return count


def _clear(directory: Path, now: float) -> None:
    """Remove half-written events, which would count as waiting ones for ever."""
    for path in directory.glob(".*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < now - LEFT_AFTER:
                path.unlink()


def _pending(directory: Path) -> Iterable[_Pending]:
    names = sorted(entry.name for entry in os.scandir(directory) if entry.name.endswith(".json"))
    for name in names[:EVENTS_BOUND]:
        if name == _STATE or name.startswith("."):
            continue
        path = directory / name
        try:
            fields = json.loads(path.read_bytes())
            yield _Pending(path, Event(**{**fields, "recipients": tuple(fields["recipients"])}))
        except (ValueError, TypeError, KeyError):
            path.unlink(missing_ok=True)  # damaged by a power cut; the journal has the message
        except FileNotFoundError:
            continue


def _by_address(config: Config, pending: Iterable[_Pending]) -> dict[str, list[_Pending]]:
    found: dict[str, list[_Pending]] = {}
    for item in pending:
        if item.event.admin:
            found.setdefault(config.notices.admin, []).append(item)
        for address in item.event.recipients:
            if address != config.notices.admin or not item.event.admin:
                found.setdefault(address, []).append(item)
        if not item.event.admin and not item.event.recipients:
            item.path.unlink(missing_ok=True)
    return found


def _heard(item: _Pending, address: str, admin: bool) -> None:
    left = tuple(other for other in item.event.recipients if other != address)
    item.event = replace(item.event, recipients=left, admin=item.event.admin and not admin)
    if item.event.admin or left:
        _write(item.path, item.event)
    else:
        item.path.unlink(missing_ok=True)


class Sent:
    """When each address got its last notice; kept in a file, forgotten when it no longer matters."""

    def __init__(self, path: Path, window: float, now: float) -> None:
        self.path = path
        self.window = window
        self.now = now
        self.times: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_bytes())
            self.times = {address: at for address, at in known.items() if 0 <= now - at < window}

    def may(self, address: str) -> bool:
        return address not in self.times

    def note(self, address: str) -> None:
        self.times[address] = self.now
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.write_text(json.dumps(self.times), encoding="ascii")
        os.replace(temporary, self.path)
