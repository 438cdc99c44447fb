"""The engines' figures as Prometheus sees them."""

from __future__ import annotations

from pathlib import Path

from gatescan.config import Config, JournalConfig
from gatescan.engines.figures import series
from gatescan.engines.records import FAILURES, RECORDS, Records
from gatescan.health import metrics


def config(directory: Path, *names: str) -> Config:
    """A configuration with these engines; `clamd` goes by its type."""
    engines = [{"type": "clamd"} if name == "clamd" else {"type": "spamd", "name": name} for name in names]
    journal = JournalConfig(counters=directory, metrics=directory / "gatescan.prom")
    return Config(engines=tuple(engines), journal=journal)


def test_each_engine_has_its_counters_its_breaker_and_the_date_of_its_signatures(tmp_path: Path) -> None:
    records = Records(tmp_path / RECORDS, ["clamd", "spam"])
    records.answered("clamd", 0.25, found=True)
    records.answered("clamd", 0.5)
    records.dated("clamd", 1_700_000_000.0)
    for _ in range(FAILURES):
        records.failed("spam", "is down", alive=False)
    figures = series(config(tmp_path, "clamd", "spam"))
    assert figures == {
        'gatescan_engine_scanned_total{engine="clamd"}': 2,
        'gatescan_engine_scanned_total{engine="spam"}': 0,
        'gatescan_engine_found_total{engine="clamd"}': 1,
        'gatescan_engine_found_total{engine="spam"}': 0,
        'gatescan_engine_seconds_total{engine="clamd"}': 0.75,
        'gatescan_engine_seconds_total{engine="spam"}': 0,
        'gatescan_engine_failed_total{engine="clamd"}': 0,
        'gatescan_engine_failed_total{engine="spam"}': FAILURES,
        'gatescan_engine_left_alone{engine="clamd"}': 0,
        'gatescan_engine_left_alone{engine="spam"}': 1,
        'gatescan_engine_signatures_seconds{engine="clamd"}': 1_700_000_000,
    }


def test_an_engine_that_is_no_longer_configured_has_no_figures(tmp_path: Path) -> None:
    Records(tmp_path / RECORDS, ["clamd", "spam"])
    assert {key.partition("{")[2] for key in series(config(tmp_path, "spam"))} == {'engine="spam"}'}
    assert series(config(tmp_path / "missing", "spam")) == {}


def test_they_are_published_once_a_family_and_with_names_that_need_quoting(tmp_path: Path) -> None:
    name = 'the "good" one, café'
    Records(tmp_path / RECORDS, ["clamd", name]).answered(name, 1.0)
    metrics.publish(config(tmp_path, "clamd", name), metrics.Gauges())
    lines = (tmp_path / "gatescan.prom").read_text(encoding="utf-8").splitlines()
    assert lines.count("# TYPE gatescan_engine_scanned_total counter") == 1
    assert r'gatescan_engine_scanned_total{engine="the \"good\" one, café"} 1' in lines
