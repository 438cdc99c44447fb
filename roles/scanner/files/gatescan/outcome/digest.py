"""The digest: one mail a day to each local recipient for whom messages are still held that came since the last one."""

from __future__ import annotations

import io

from gatescan.config import Config
from gatescan.outcome import letters, nextqueue, notify
from gatescan.outcome.letters import Event
from gatescan.outcome.quarantine import Entry, Quarantine

DAY = 86_400.0
AT_MOST_EVERY = DAY - 3_600
"""Seconds between two digests to one address; the timer that calls is not exact."""
STORING = 60.0
"""Seconds from an entry's time until its message is in quarantine. One that came so shortly before a digest may be
missing there: the next one lists it, perhaps for the second time."""


def run(config: Config, now: float, key: bytes = b"") -> int:
    """Send what is due; returns how many mails that were. Raises QueueError when the queue takes none."""
    quarantine = Quarantine(config.quarantine)
    sent = notify.Sent(config.quarantine.directory / "digest.json", _remembered(config), now)
    count = 0
    for address, entries in _by_recipient(config, quarantine).items():
        last = sent.times.get(address, 0.0)
        events = [_event(entry) for entry in entries if entry.time > last - STORING]
        if events and now - last >= AT_MOST_EVERY:
            mail = letters.compose(config, address, events, now, "digest", key)
            nextqueue.submit(config, io.BytesIO(mail), "", [address])
            # Noted at once: a run that is killed repeats at most this one.
            sent.note(address)
            count += 1
    return count


def _remembered(config: Config) -> float:
    """Seconds for which it is known when an address had its last one: all that it listed has expired then."""
    return (config.quarantine.expire_days + 1) * DAY


def _by_recipient(config: Config, quarantine: Quarantine) -> dict[str, list[Entry]]:
    """What is held for those who hear of such messages, the oldest first. Bounces are nobody's to hear of."""
    found: dict[str, list[Entry]] = {}
    for entry in quarantine.entries():
        if entry.state == "held" and entry.sender and config.notices.enabled:
            for address in notify.addressees(config, entry.verdict, quarantine.left(entry))[1]:
                found.setdefault(address, []).append(entry)
    return found


def _event(entry: Entry) -> Event:
    author, action = entry.from_ or entry.sender, "quarantine"
    return Event(entry.time, entry.id, entry.verdict, entry.reason, author, entry.subject, entry.direction, action)
