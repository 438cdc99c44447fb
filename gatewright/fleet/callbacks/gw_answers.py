"""Writes what each host answers into a file, a JSON object a line, and nothing to the terminal."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: gw_answers
type: stdout
short_description: Answers of hosts for Gatewright's commands
description: Writes them to the file that GATEWRIGHT_ANSWERS names.
"""
FIELDS = ("answer", "msg", "module_stderr", "module_stdout", "stdout", "rules")


def plain(value: Any) -> str | list[str]:
    """A field's text, or its list of texts."""
    return [str(one) for one in value] if isinstance(value, list) else str(value)


class CallbackModule(CallbackBase):  # type: ignore[misc]  # ansible ships no types
    """One line when a host is asked, and one when it has answered."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "gw_answers"

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """A host is asked."""
        del task
        self._write(str(host.get_name()), "asked", {})

    def v2_runner_on_ok(self, result: Any) -> None:
        """A host has answered."""
        self._write(str(result.host.get_name()), "ok", result.result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """The module failed there."""
        del ignore_errors
        self._write(str(result.host.get_name()), "failed", result.result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        """It was not done, such as a change in check mode."""
        self._write(str(result.host.get_name()), "skipped", result.result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """It could not be reached."""
        self._write(str(result.host.get_name()), "unreachable", result.result)

    def _write(self, host: str, state: str, result: Any) -> None:
        line = {"host": host, "state": state} | {name: plain(result[name]) for name in FIELDS if name in result}
        with open(os.environ["GATEWRIGHT_ANSWERS"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
