"""The alert rules and the dashboard that the project ships: right in themselves, and about figures that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gatewright_metrics
import pytest
import yaml
from gatekeeper import metrics as of_gatekeeper
from gatescan.health import metrics as of_gatescan

from tests.unpacked import environment, find

PROJECT = Path(__file__).parents[3]
FOLDER = PROJECT / "monitoring"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
COLUMNS = 24
NAME = re.compile(r"\b(?:gatewright|gatescan|gatekeeper)_\w+")

PROMTOOL = find("usr/bin/promtool")
needs_promtool = pytest.mark.skipif(
    not PROMTOOL, reason="promtool, of Debian's prometheus, is neither unpacked (./gw nightly) nor installed"
)


def written() -> set[str]:
    """Every name that the programs can publish, histograms' series too."""
    families = {**gatewright_metrics.FAMILIES, **of_gatescan._HELP, **of_gatekeeper._HELP}
    histograms = [name for name, (kind, *_) in families.items() if kind == "histogram"]
    series = {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
    return families.keys() | series | {name for _, _, name, _ in of_gatescan._MASTER}


def expressions() -> Iterator[str]:
    """What the panels ask for."""
    for panel in PANELS:
        yield from (target["expr"] for target in panel["targets"])


def promtool(*arguments: str, folder: Path = FOLDER) -> str:
    """Run promtool, which must be content."""
    done = subprocess.run(
        [str(PROMTOOL), *arguments],
        cwd=folder,
        env=environment(),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@needs_promtool
def test_promtool_takes_the_rules() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "alerts.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_none_for_a_gateway_that_is_well() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


@needs_promtool
def test_promtool_can_read_what_the_dashboard_asks_for(tmp_path: Path) -> None:
    asked = [expression.replace("$__rate_interval", "5m") for expression in expressions()]
    records = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "asked.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", "asked.yml", folder=tmp_path)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_is_about_figures_that_there_are_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert set(NAME.findall(rule["expr"])) <= written()
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert all(rule["annotations"][text].strip() for text in ("summary", "action"))


def test_each_alert_has_a_test() -> None:
    assert sorted(test["name"] for test in TESTS[1:]) == sorted(rule["alert"] for rule in RULES)
    assert len(RULES) >= 12


def test_the_gateway_that_is_well_has_all_figures_that_alerts_ask_for() -> None:
    given = {name for item in TESTS[0]["input_series"] for name in NAME.findall(item["series"])}
    asked = {name for rule in RULES for name in NAME.findall(rule["expr"])}
    assert asked <= given


def test_the_dashboard_asks_for_figures_that_there_are() -> None:
    assert {name for text in expressions() for name in NAME.findall(text)} <= written()


def test_the_dashboard_shows_every_figure_that_gatewright_writes_for_people() -> None:
    shown = {name for text in expressions() for name in NAME.findall(text)}
    for_alerts = {name for name in gatewright_metrics.FAMILIES if name.startswith("gatewright_source_")}
    assert gatewright_metrics.FAMILIES.keys() - shown <= for_alerts | {"gatewright_service_start_timestamp_seconds"}


def test_the_dashboards_form_is_one_that_grafana_imports() -> None:
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= DASHBOARD.keys()
    assert DASHBOARD.get("id") is None  # an id would be that of another dashboard where it is imported
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    variables = {item["name"] for item in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(PANELS)))
    assert used <= variables
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_the_dashboards_panels_do_not_cover_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
