"""One message from the daemon's hands to its answer: what is safe first, then everything else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import desk
import pytest
from gatescan.context import Context
from gatescan.health import metrics
from gatescan.outcome import handle, notify
from gatescan.outcome.alarm import Alarm
from gatescan.outcome.handle import Outcome


@pytest.fixture
def gate(tmp_path: Path) -> desk.Desk:
    return desk.make(tmp_path)


def handled(gate: desk.Desk, message: bytes, context: Context = desk.INBOUND) -> Outcome:
    services = gate.services()
    try:
        return handle.handle(services, message, context, desk.Ids())
    finally:
        services.close()


def test_a_clean_message_passes_with_its_trace(gate: desk.Desk) -> None:
    context = Context("ann@example.net", ("bob@example.org", "secret@example.org"), "192.0.2.1")
    outcome = handled(gate, desk.plain(), context)
    assert outcome.code == 0
    lines = outcome.headers_to_add.split(b"\n")
    assert lines[0].startswith(b"Received: from 192.0.2.1 by gw.example.org with gatescan")
    assert lines[1].startswith(b"X-Qmail-Scanner: ") and b"Clear:RC:0(192.0.2.1)" in lines[1]
    assert b"secret" not in outcome.headers_to_add and b"bob" not in outcome.headers_to_add
    assert lines[-1] == b""


def test_the_trace_is_one_line_each_whatever_the_peer_says(gate: desk.Desk) -> None:
    outcome = handled(gate, desk.plain(), Context("a@b", ("c@d",), "192.0.2.1\nX-Evil: 1\r\n"))
    assert outcome.headers_to_add.count(b"\n") == 2 and b"\r" not in outcome.headers_to_add


def test_a_stopped_message_is_on_the_disk_before_the_answer(gate: desk.Desk) -> None:
    outcome = handled(gate, desk.EXE)
    assert outcome == Outcome(0)
    (entry,) = gate.quarantine().entries()
    with gate.quarantine().open(entry) as file:
        assert file.read() == desk.EXE
    assert (entry.sender, entry.recipients) == (desk.INBOUND.sender, desk.INBOUND.recipients)
    assert (entry.verdict, entry.rule, entry.subject) == ("policy", "rules.txt:2", "hello")


def test_end_to_end_encrypted_mail_passes_with_a_tag(gate: desk.Desk) -> None:
    armour = "-----BEGIN PGP MESSAGE-----\n\nhQEMA5vJcQpFy7wCAQf+OjTNbQ==\n=abcd\n-----END PGP MESSAGE-----\n"
    extra = 'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"\n'
    body = (
        "--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n\n"
        f"--b\nContent-Type: application/octet-stream\n\n{armour}\n--b--\n"
    )
    outcome = handled(gate, desk.plain(extra=extra, body=body))
    assert outcome.code == 0 and b"X-Gatescan-Tag: encrypted-mail" in outcome.headers_to_add


@pytest.mark.parametrize(
    "broken",
    [
        {"max_messages": 0},
        {"max_bytes": 10},
        {"min_free_bytes": 10**18},
        {"directory": "/nonexistent"},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_what_cannot_be_held_gets_4xx_and_clean_mail_flows(gate: desk.Desk, broken: dict[str, Any]) -> None:
    gate.change(quarantine=broken)
    assert handled(gate, desk.EXE) == Outcome(71)
    assert [line["action"] for line in gate.journal()] == ["tempfail"]
    assert handled(gate, desk.plain()).headers_to_add


def test_a_full_disk_gets_4xx(gate: desk.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert handled(gate, desk.EXE) == Outcome(71)
    monkeypatch.undo()
    assert gate.quarantine().entries() == []


def test_rejection_besides_quarantine(gate: desk.Desk) -> None:
    gate.change(actions={"inbound": {"policy": "quarantine+reject"}, "reason": True})
    outcome = handled(gate, desk.EXE)
    assert outcome.code == 31 and outcome.text.startswith("D") and "report.exe" in outcome.text
    assert len(gate.quarantine().entries()) == 1


def test_without_rules_nothing_passes(gate: desk.Desk) -> None:
    gate.config.rules.compiled.unlink()
    assert handled(gate, desk.plain()) == Outcome(71)
    assert gate.journal()[0]["findings"][0]["code"] == "rules-missing"


def test_new_rules_are_taken_up_and_broken_ones_are_not(gate: desk.Desk) -> None:
    handler = handle.Handler(gate.config)
    note = desk.attached("note.new", b"x")
    assert handler(note, desk.INBOUND, desk.Ids()).headers_to_add
    gate.write_rules(".new\t0\tno\n")
    assert handler(note, desk.INBOUND, desk.Ids()) == Outcome(0)
    assert handler(desk.EXE, desk.INBOUND, desk.Ids()).headers_to_add
    for damage in ("{", ""):
        gate.config.rules.compiled.write_text(damage)
        assert handler(note, desk.INBOUND, desk.Ids()) == Outcome(0), "the rules that were loaded stay in force"
    gate.config.rules.compiled.unlink()
    assert handler(note, desk.INBOUND, desk.Ids()) == Outcome(0)
    gate.write_rules()
    assert handler(note, desk.INBOUND, desk.Ids()).headers_to_add


@pytest.mark.parametrize("stage", ["judge", "decide", "trace_headers", "new_id"])
def test_whatever_fails_before_the_decision_is_done_is_4xx(
    gate: desk.Desk, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(handle, stage, fail)
    message = desk.EXE if stage == "new_id" else desk.plain()
    assert handled(gate, message) == Outcome(71)
    assert gate.quarantine().entries() == []


@pytest.mark.parametrize("stage", ["journal.message", "counters.message"])
def test_whatever_fails_afterwards_does_not_change_the_answer(
    gate: desk.Desk, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    services = gate.services()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    owner, method = stage.split(".")
    monkeypatch.setattr(type(getattr(services, owner)), method, fail)
    assert handle.handle(services, desk.EXE, desk.INBOUND, desk.Ids()) == Outcome(0)
    assert len(gate.quarantine().entries()) == 1


def test_five_thousand_recipients(gate: desk.Desk) -> None:
    everyone = tuple(f"user{n}@example.org" for n in range(5000))
    assert handled(gate, desk.EXE, Context("ann@example.net", everyone, "192.0.2.1")) == Outcome(0)
    (entry,) = gate.quarantine().entries()
    assert entry.recipients == everyone
    assert handled(gate, desk.plain(), Context("ann@example.net", everyone, "192.0.2.1")).headers_to_add


def test_a_message_that_killed_the_scanner_twice_is_held_and_named(gate: desk.Desk) -> None:
    handler = handle.Handler(gate.config)
    assert handler.doomed(desk.plain(), desk.INBOUND, desk.Ids(), "the scanner died of it again") == Outcome(0)
    (entry,) = gate.quarantine().entries()
    assert (entry.verdict, entry.code) == ("limit", "limit-death")
    with gate.quarantine().open(entry) as file:
        assert file.read() == desk.plain()


def test_the_administrator_hears_before_the_quarantine_is_full(gate: desk.Desk) -> None:
    """By a notice, once, while there is still room; the mail goes out by the service that sends them all."""
    gate.change(quarantine={"max_messages": 10})
    gate.services().close()
    spool = gate.config.notices_spool
    for number in range(8):
        assert handled(gate, desk.attached("report.exe", b"%d" % number)) == Outcome(0)
    alarms = [text for path in spool.iterdir() if "80% full" in (text := path.read_text())]
    assert len(alarms) == 1
    assert handled(gate, desk.attached("report.exe", b"one more")) == Outcome(0)
    assert len([path for path in spool.iterdir() if "% full" in path.read_text()]) == 1
    year = time.time() + 365 * 86_400
    os.utime(gate.root / "quarantine/alarm", (year, year))  # the clock is set back
    Alarm(gate.config, gate.quarantine(), notify.Spool(gate.config)).look()
    assert len([path for path in spool.iterdir() if "% full" in path.read_text()]) == 2


def test_figures_are_written_again_after_the_clock_was_set_back(gate: desk.Desk) -> None:
    gate.config.journal.metrics.touch()
    assert not metrics.due(gate.config)
    year = time.time() + 365 * 86_400
    os.utime(gate.config.journal.metrics, (year, year))
    assert metrics.due(gate.config)
