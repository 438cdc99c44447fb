"""The schemas of the logs in docs/logs, which the lines of programs under test must fit."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FOLDER = Path(__file__).parents[1] / "docs" / "logs"


@functools.cache
def schema(log: str) -> Draft202012Validator:
    """The schema of a log: messages or deliveries."""
    found = json.loads((FOLDER / f"{log}.schema.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def fitting(log: str, text: str) -> list[dict[str, Any]]:
    """The lines of a log, each of which must fit."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        schema(log).validate(line)
    return lines
