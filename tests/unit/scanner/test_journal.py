"""What is written down: for scripts from 2003, for programs, for Prometheus."""

from __future__ import annotations

import email.utils
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import desk
import pytest
import rig
from gatescan.context import Context
from gatescan.health import metrics
from gatescan.outcome import handle


@pytest.fixture
def gate(tmp_path: Path) -> desk.Desk:
    return desk.make(tmp_path)


def run(gate: desk.Desk, *messages: bytes, context: Context = desk.INBOUND) -> None:
    services = gate.services()
    for message in messages:
        handle.handle(services, message, context, desk.Ids())
    services.close()


def figures(gate: desk.Desk) -> dict[str, float]:
    return metrics.collect(gate.config.journal.counters)


def test_quarantine_log_keeps_the_old_field_order(gate: desk.Desk) -> None:
    run(gate, desk.plain(), desk.attached("report.exe", b"x", subject="a\tb"))
    (line,) = gate.config.journal.quarantine_log.read_text().splitlines()
    date, sender, recipients, subject, name, versions = line.split("\t")
    assert email.utils.parsedate_to_datetime(date).tzinfo is not None
    assert re.match(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}$", date)
    assert (sender, recipients) == ("ann@example.net", "bob@example.org")
    assert subject.startswith("a") and subject.endswith("b")
    assert "report.exe" in name and name.startswith("policy:") and versions


def test_every_message_is_one_json_line(gate: desk.Desk) -> None:
    run(gate, desk.plain(), desk.EXE, desk.plain("Pickles for Breakfast"))
    lines = gate.journal()
    assert [line["verdict"] for line in lines] == ["clean", "policy", "infected"]
    assert [line["action"] for line in lines] == ["accept", "quarantine", "quarantine"]
    clean, stopped, _ = lines
    assert clean["message_id"] == "<1@example.net>" and clean["qp"] == 4711 and "held" not in clean
    assert gate.quarantine().find(stopped["held"])
    assert stopped["findings"][0]["source"] == "rules.txt:2"


def test_the_logs_are_for_their_group_to_read_whatever_the_umask(gate: desk.Desk) -> None:
    before = os.umask(0o077)
    try:
        run(gate, desk.attached("report.exe", b"x"))
    finally:
        os.umask(before)
    for path in (gate.config.journal.json_log, gate.config.journal.quarantine_log):
        assert path.stat().st_mode & 0o777 == 0o640


def test_hostile_text_stays_on_its_line(gate: desk.Desk) -> None:
    evil = Context("a\nb\t\x1b[31m@example.net", ("c\udcff\u202e@example.org",), "192.0.2.1")
    run(gate, desk.attached("x\x1b.exe", b"x", subject="=?utf-8?q?a=0Ab=1B=E2=80=AE?="), context=evil)
    log = gate.config.journal.quarantine_log.read_text()
    assert log.count("\n") == 1 and log.count("\t") == 5 and "\x1b" not in log and "\u202e" not in log
    assert len(gate.journal()) == 1


def test_a_rotated_log_is_opened_anew(gate: desk.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatescan.outcome.journal.LOOK_EVERY", 0.0)
    services = gate.services()
    handle.handle(services, desk.plain(), desk.INBOUND, desk.Ids())
    log = gate.config.journal.json_log
    log.rename(log.with_suffix(".1"))
    handle.handle(services, desk.plain(), desk.INBOUND, desk.Ids())
    assert len(gate.journal()) == 1
    services.close()


def test_a_journal_that_cannot_be_written_does_not_stop_mail(gate: desk.Desk) -> None:
    gate.change(journal={"json_log": str(gate.root / "nowhere" / "log")})
    services = gate.services()
    outcome = handle.handle(services, desk.plain(), desk.INBOUND, desk.Ids())
    assert outcome.code == 0 and outcome.headers_to_add
    services.close()


def test_counters_add_up_over_processes_and_restarts(gate: desk.Desk) -> None:
    first, second = gate.services(), gate.services()
    for services in (first, second, second):
        handle.handle(services, desk.plain(), desk.INBOUND, desk.Ids())
    first.close()
    run(gate, desk.EXE)
    second.close()
    key = 'gatescan_messages_total{direction="inbound",verdict="%s",action="%s"}'
    counted = figures(gate)
    assert counted[key % ("clean", "accept")] == 3
    assert counted[key % ("policy", "quarantine")] == 1
    assert counted["gatescan_scan_seconds_count"] == 4


def test_counts_survive_a_killed_worker(gate: desk.Desk) -> None:
    code = (
        "import os, sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path; from gatescan import config; from gatescan.outcome import handle; import desk\n"
        "services = handle.Services.open(config.load(Path(sys.argv[3])))\n"
        "handle.handle(services, desk.plain(), desk.INBOUND, desk.Ids())\n"
        "os.kill(os.getpid(), 9)\n"
    )
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", code, str(rig.SCANNER_FILES), here, str(gate.path)]
    subprocess.run(command, check=False, capture_output=True)
    run(gate, desk.plain())
    assert figures(gate)["gatescan_scan_seconds_count"] == 2
    assert len(list(gate.config.journal.counters.iterdir())) == 1


def test_prometheus_text_is_well_formed(gate: desk.Desk) -> None:
    run(gate, desk.plain(), desk.EXE)
    os.utime(gate.config.journal.metrics, (time.time() - 100,) * 2)
    run(gate, desk.plain())
    text = gate.config.journal.metrics.read_text()
    samples = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            match = re.fullmatch(r'([a-z_]+(?:\{(?:[a-z]+="[^"]*",?)+\})?) (\S+)', line)
            assert match, line
            assert match[1] not in samples
            samples[match[1]] = float(match[2])
    assert samples['gatescan_scan_seconds_bucket{le="+Inf"}'] == samples["gatescan_scan_seconds_count"] == 3
    bounds = [value for key, value in samples.items() if key.startswith("gatescan_scan_seconds_bucket")]
    assert bounds == sorted(bounds)
    assert samples["gatescan_quarantine_messages"] == 1
    assert samples["gatescan_rules"] == 4 and samples["gatescan_rules_stale"] == 0
    names = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    typed = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} == typed


def test_stale_rules_show_in_the_metrics_and_the_log(gate: desk.Desk, caplog: pytest.LogCaptureFixture) -> None:
    with open(gate.config.rules.source, "a") as file:
        file.write(".new\t0\tnew\n")
    run(gate, desk.plain())
    assert "gatescan_rules_stale 1\n" in gate.config.journal.metrics.read_text()
    assert "rules build" in caplog.text


def test_an_idle_worker_publishes_when_no_message_comes(gate: desk.Desk) -> None:
    run(gate, desk.plain(), desk.plain())
    assert "gatescan_scan_seconds_count 1\n" in gate.config.journal.metrics.read_text()
    os.utime(gate.config.journal.metrics, (time.time() - 100,) * 2)
    handle.Handler(gate.config).tick()
    assert "gatescan_scan_seconds_count 2\n" in gate.config.journal.metrics.read_text()
