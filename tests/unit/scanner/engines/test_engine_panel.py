"""Several engines as one: none passes for clean that did not look, and a dead one costs no worker its time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from gatescan.context import Context
from gatescan.engines import panel as panel_module
from gatescan.engines.base import EngineError, Hit, Sample
from gatescan.engines.needs import Needs
from gatescan.engines.panel import Member, Panel
from gatescan.engines.records import FAILURES, LOOK_EVERY, PAUSE, Records, read_all
from gatescan.judging.judge import MessageReport
from gatescan.model import Finding, Verdict
from samples import SAMPLE

HIT = Hit("EICAR", "2")
DOWN = EngineError("is down", "start it")


class Fake:
    def __init__(self, name: str, answer: Sequence[Hit] | Exception = (), timeout: float = 30.0) -> None:
        self.name = name
        self.timeout = timeout
        self.answer = answer
        self.asked = 0
        self.dated = 0
        self.signatures: float | Exception | None = None

    def scan(self, sample: Sample, deadline: float) -> Sequence[Hit]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def version(self, deadline: float) -> str:
        return "1"

    def signature_date(self, deadline: float) -> float | None:
        self.dated += 1
        if isinstance(self.signatures, Exception):
            raise self.signatures
        return self.signatures

    @property
    def needs(self) -> Needs:
        return Needs()


def panel(*engines: Fake, groups: str = "", records: Records | None = None) -> Panel:
    names = [engine.name for engine in engines]
    members = [Member(engine, groups or engine.name) for engine in engines]
    return Panel(members, records or Records(None, names))


def found(asked: Panel) -> list[Finding]:
    return asked.scan(SAMPLE.message, MessageReport(parts=list(SAMPLE.parts)), Context())


def verdicts(asked: Panel) -> list[Verdict]:
    return [finding.verdict for finding in found(asked)]


def test_all_clean() -> None:
    assert found(panel(Fake("a"), Fake("b"))) == []


def test_what_one_finds_is_a_finding_with_its_name() -> None:
    (finding,) = found(panel(Fake("a"), Fake("b", [HIT, HIT])))
    assert finding == Finding(Verdict.INFECTED, "virus", "EICAR", "2", "b")


@pytest.mark.parametrize("error", [DOWN, RuntimeError("bug"), OSError(5, "x")])
def test_each_engine_is_needed(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        (finding,) = found(panel(Fake("a"), Fake("b", error)))
    assert (finding.verdict, finding.source) == (Verdict.ENGINE_ERROR, "b")
    assert "engine b: " in caplog.text and "4xx" in caplog.text
    if error is DOWN:
        assert "is down; start it" in caplog.text


def test_one_of_a_group_is_enough() -> None:
    assert found(panel(Fake("a"), Fake("b", DOWN), groups="antivirus")) == []
    assert verdicts(panel(Fake("a", [HIT]), Fake("b", DOWN), groups="antivirus")) == [Verdict.INFECTED]


def test_a_group_that_is_silent_is_an_error() -> None:
    assert set(verdicts(panel(Fake("a", DOWN), Fake("b", DOWN), groups="antivirus"))) == {Verdict.ENGINE_ERROR}


def test_a_hit_before_an_error_is_kept() -> None:
    error = EngineError("is down", "start it")
    error.hits = (HIT,)
    assert set(verdicts(panel(Fake("a", error)))) == {Verdict.INFECTED, Verdict.ENGINE_ERROR}


def test_they_are_asked_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=20)

    class Meets(Fake):
        def scan(self, sample: Sample, deadline: float) -> Sequence[Hit]:
            meeting.wait()
            return ()

    assert found(panel(Meets("a"), Meets("b"))) == []


def test_an_adapter_that_does_not_come_back_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_module, "GRACE", 0.0)
    end = threading.Event()

    class Lost(Fake):
        def scan(self, sample: Sample, deadline: float) -> Sequence[Hit]:
            end.wait(60)
            return ()

    assert verdicts(panel(Fake("a"), Lost("b", timeout=0.3))) == [Verdict.ENGINE_ERROR]
    end.set()


def test_a_dead_engine_is_left_alone_and_then_tried_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    dead = Fake("a", DOWN)
    asked = panel(dead)
    for _ in range(FAILURES):
        assert verdicts(asked) == [Verdict.ENGINE_ERROR]
    (finding,) = found(asked)
    assert finding.verdict is Verdict.ENGINE_ERROR and "left alone" in finding.detail and "is down" in finding.detail
    assert dead.asked == FAILURES
    now[0] += PAUSE + 1
    assert asked.records.pause("a", dead.timeout) == 0  # another worker tries it now
    assert verdicts(asked) == [Verdict.ENGINE_ERROR]
    assert dead.asked == FAILURES
    now[0] += PAUSE + dead.timeout
    dead.answer = ()
    assert found(asked) == [] and dead.asked == FAILURES + 1
    assert found(asked) == [] and dead.asked == FAILURES + 2  # well again, for all


def test_messages_that_an_engine_refuses_do_not_make_it_dead() -> None:
    refusing = Fake("a", EngineError("too large", "raise its limit", answered=True))
    asked = panel(refusing)
    for _ in range(FAILURES + 3):
        assert verdicts(asked) == [Verdict.ENGINE_ERROR]
    assert refusing.asked == FAILURES + 3


def test_workers_share_what_they_know(tmp_path: Path) -> None:
    path = tmp_path / "engines.ledger"
    one, two = Records(path, ["a", "b"]), Records(path, ["b", "a"])
    for _ in range(FAILURES):
        one.failed("a", "is down", alive=False)
    assert two.pause("a", 30.0) > 0 and two.pause("b", 30.0) == 0
    two.answered("b", 0.5)
    one.answered("b", 1.5)
    records = read_all(path)
    assert (records["b"].asked, records["b"].mean, records["a"].why) == (2, 1.0, "is down")
    one.answered("a", 0.1)
    assert two.pause("a", 30.0) == 0
    one.close()
    two.close()


def test_what_was_found_and_when_signatures_were_made_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    engine = Fake("a", [HIT])
    engine.signatures = 900_000.0
    asked = panel(engine)
    found(asked)
    engine.answer, engine.signatures = (), 950_000.0
    found(asked)
    record = asked.records.read("a")
    assert (record.asked, record.found, record.signatures, engine.dated) == (2, 1, 900_000.0, 1)
    now[0] += LOOK_EVERY
    found(asked)
    assert (asked.records.read("a").signatures, engine.dated) == (950_000.0, 2)


@pytest.mark.parametrize("error", [DOWN, OSError(2, "gone")])
def test_an_engine_that_cannot_tell_its_signatures_date_still_answers(error: Exception) -> None:
    engine = Fake("a", [HIT])
    engine.signatures = error
    assert verdicts(panel(engine, Fake("b"))) == [Verdict.INFECTED]


def test_a_damaged_or_missing_file_of_figures_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "engines.ledger"
    path.write_bytes(b"damaged")
    assert found(panel(Fake("a"), records=Records(path, ["a"]))) == []
    assert found(panel(Fake("a"), records=Records(tmp_path / "none" / "x", ["a"]))) == []


def test_a_clock_set_back_does_not_leave_an_engine_alone_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Fake("a", DOWN)
    asked = panel(dead)
    for _ in range(FAILURES):
        found(asked)
    past = time.time() - 1_000_000
    monkeypatch.setattr(time, "time", lambda: past)
    found(asked)
    assert dead.asked == FAILURES + 1
