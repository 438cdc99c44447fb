"""The schemas of the logs: strict, and right for lines that no other test's program writes.

Whatever the scanner and gatepost write in their own tests is held against them, too: their rigs read by `fitting`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gatescan.config import ACTIONS
from gatescan.model import Verdict
from gateway_logs import Gateway
from jsonschema import ValidationError

from tests.log_schemas import fitting, schema


def judged() -> dict[str, Any]:
    """A line of the scanner's."""
    gateway = Gateway()
    gateway.judged(1, ["ann@example.org"])
    line: dict[str, Any] = json.loads(gateway.scanner[0][1])
    return line


def test_a_line_of_a_judged_message_fits() -> None:
    assert fitting("messages", json.dumps(judged()))


@pytest.mark.parametrize("name", ["time", "verdict", "to", "qp", "tls"])
def test_a_line_without_an_old_field_does_not_fit(name: str) -> None:
    line = judged()
    del line[name]
    with pytest.raises(ValidationError):
        fitting("messages", json.dumps(line))


@pytest.mark.parametrize("change", [{"new": 1}, {"verdict": "fine"}, {"to": "ann@example.org"}, {"size": "1"}])
def test_a_line_with_an_unknown_field_or_value_does_not_fit(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        fitting("messages", json.dumps(judged() | change))


def test_the_schema_knows_every_verdict_and_action() -> None:
    known = schema("messages").schema["$defs"]
    assert known["verdict"]["enum"] == [verdict.value for verdict in Verdict]
    assert known["judged"]["properties"]["action"]["enum"] == [*ACTIONS, "asked"]


def test_docs_name_both_schemas() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert "docs/logs/messages.schema.json" in text and "docs/logs/deliveries.schema.json" in text
