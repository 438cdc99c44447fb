"""All engines of a gateway as one: asked at the same time, each within its own limit, heard together.

Engines of one group stand in for each other: one answer of them is enough. An engine without a group is a group
of its own, thus needed. If a group gives no answer, the message was not looked at: that is a finding
(`engine-error`) and a line in the log, never silence.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from gatescan.context import Context
from gatescan.engines.base import Engine, EngineError, EngineResult, Sample
from gatescan.engines.records import Records
from gatescan.model import Buffer, Finding, Report, Verdict
from gatescan.text import printable

log = logging.getLogger("gatescan.engines")

GRACE = 2.0
"""Seconds beyond its limit after which an engine's answer is no longer waited for."""
DATE_TIMEOUT = 1.0
"""Seconds that an engine may take to tell the date of its signatures; it has just answered."""


@dataclass(frozen=True, slots=True)
class Member:
    """An engine and the group that it can stand in for. max_age: days after which its signatures are too old."""

    engine: Engine
    group: str
    max_age: float = 0.0


class Panel:
    """What the judge asks. Made before the workers are forked, as it holds what they share."""

    def __init__(self, members: Sequence[Member], records: Records) -> None:
        self.members = tuple(members)
        self.records = records
        self.name = ", ".join(member.engine.name for member in members)

    def scan(self, message: Buffer, report: Report, context: Context) -> list[Finding]:
        """What the engines find in the message as it came and in the parts of the report."""
        sample = Sample(message, report.parts, context)
        return self._findings(self.ask(sample))

    def ask(self, sample: Sample) -> list[EngineResult]:
        """Every engine's result, in the order of the configuration."""
        if len(self.members) == 1:
            return [self._ask_one(self.members[0].engine, sample)]
        questions = [_Question(self, member.engine, sample) for member in self.members]
        for question in questions:
            question.thread.start()
        started = time.monotonic()
        return [question.result(started) for question in questions]

    def _ask_one(self, engine: Engine, sample: Sample) -> EngineResult:
        if pause := self.records.pause(engine.name, engine.timeout):
            last = self.records.read(engine.name)
            why = f"left alone for {pause:.0f} seconds after {last.streak} failures in a row; the last: {last.why}"
            return EngineResult(engine.name, error=EngineError(why, "correct that; it is tried again by itself"))
        started = time.monotonic()
        try:
            hits = tuple(engine.scan(sample, started + engine.timeout))
        except EngineError as failure:
            error = failure
        except Exception as unforeseen:
            log.exception("engine %s failed", engine.name)
            error = EngineError(f"{type(unforeseen).__name__}: {unforeseen}", "this is a bug in gatescan: report it")
        else:
            seconds = time.monotonic() - started
            self.records.answered(engine.name, seconds, found=bool(hits))
            self._date_signatures(engine)
            return EngineResult(engine.name, hits, seconds=seconds)
        self.records.failed(engine.name, error.why, alive=error.answered)
        return EngineResult(engine.name, error.hits, error, time.monotonic() - started)

    def _date_signatures(self, engine: Engine) -> None:
        """Note now and then, for the metrics, how old its signatures are; this takes as long as one question."""
        if self.records.signatures_due(engine.name):
            with contextlib.suppress(Exception):  # a figure must never cost a message its answer
                self.records.dated(engine.name, engine.signature_date(time.monotonic() + DATE_TIMEOUT))

    def _findings(self, results: Sequence[EngineResult]) -> list[Finding]:
        findings = [
            Finding(hit.verdict, hit.code, hit.name, hit.part, result.engine, hit.action)
            for result in results
            for hit in dict.fromkeys(result.hits)
        ]
        answered = {member.group for member, result in zip(self.members, results, strict=True) if result.error is None}
        for member, result in zip(self.members, results, strict=True):
            error = result.error
            if error is None:
                continue
            if member.group in answered:
                log.warning("engine %s: %s; %s; others of its group answered", result.engine, error.why, error.advice)
                continue
            log.error("engine %s: %s; %s; the message gets 4xx", result.engine, error.why, error.advice)
            detail = f"{result.engine}: {printable(error.why, 200)}"
            findings.append(Finding(Verdict.ENGINE_ERROR, "engine-failed", detail, "", result.engine))
        return findings


class _Question:
    """One engine asked in a thread of its own, which is left behind if the engine does not keep its limit."""

    def __init__(self, panel: Panel, engine: Engine, sample: Sample) -> None:
        self.engine = engine
        self._panel = panel
        self._sample = sample
        self._answer: EngineResult | None = None
        self.thread = threading.Thread(target=self._run, name=engine.name, daemon=True)

    def _run(self) -> None:
        self._answer = self._panel._ask_one(self.engine, self._sample)

    def result(self, started: float) -> EngineResult:
        """Its result; an error if there is none `GRACE` seconds after its limit."""
        self.thread.join(max(0.0, started + self.engine.timeout + GRACE - time.monotonic()))
        if self._answer is None:
            error = EngineError("its adapter did not keep the time limit", "this is a bug in gatescan: report it")
            return EngineResult(self.engine.name, error=error)
        return self._answer
