"""How the engines are: asked directly, and by what the workers have noted of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from gatescan.config import Config
from gatescan.engines.base import EngineError
from gatescan.engines.build import panel
from gatescan.engines.panel import Member
from gatescan.engines.records import RECORDS, Record, read_all

QUESTION_TIMEOUT = 15.0
"""Seconds that an engine may take to tell its version."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Status:
    """One engine. version: empty if it did not answer; then error and advice say why and what to do.

    signatures: when they were made, in seconds since 1970, None if unknown; max_age in days, 0 for any.
    """

    name: str
    group: str
    version: str
    signatures: float | None
    max_age: float
    record: Record
    error: str = ""
    advice: str = ""

    @property
    def age(self) -> float | None:
        """Age of the signatures in days."""
        return None if self.signatures is None else max(0.0, time.time() - self.signatures) / DAY

    @property
    def stale(self) -> bool:
        """Are the signatures older than they may be?"""
        return bool(self.max_age) and self.age is not None and self.age > self.max_age

    @property
    def left_alone(self) -> bool:
        """Has it failed so often that it is only tried now and then?"""
        return self.record.left_alone


def statuses(config: Config) -> Iterator[Status]:
    """All engines in the order of the configuration; ConfigError if that is wrong."""
    asked = panel(config, keep=False)
    if asked is None:
        return
    try:
        records = read_all(config.journal.counters / RECORDS)
    except OSError:
        records = {}
    for member in asked.members:
        yield _status(member, records.get(member.engine.name, Record(member.engine.name)))


def _status(member: Member, record: Record) -> Status:
    engine = member.engine
    version, signatures, error, advice = "", None, "", ""
    try:
        deadline = time.monotonic() + QUESTION_TIMEOUT
        version = engine.version(deadline)
        signatures = engine.signature_date(deadline)
    except EngineError as failure:
        error, advice = failure.why, failure.advice
    return Status(engine.name, member.group, version, signatures, member.max_age, record, error, advice)
