"""Public suites of SPF and ARC, put to gatekeeper. They are files below the folder that GATEWRIGHT_SUITES names.

pyspf/rfc7208-tests.yml     RFC 7208's own suite, as pyspf has it
arc/validation.yml          arc_test_suite's tests/arc-draft-validation-tests.yml
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from gatekeeper.addresses import parse_client
from gatekeeper.auth import arc, spf
from gatekeeper.auth.mail import of_bytes
from gatekeeper.resolve import TryLater

from tests.suites.public import path_of

OTHERWISE = {
    "cv_fail_i1_as_cv_fail": "the suite leaves open what a chain is that says of itself that it is broken: fail",
    "cv_fail_i2_as2_fail": "the same",
    "cv_fail_i2_as1_fail": "the same",
    "ams_fields_c_na": "without c= both forms are simple (RFC 6376); the suite's are not",
    "ams_fields_h_empty": "a signature that does not cover From proves nothing about who wrote it (RFC 6376)",
}


def scenarios(name: str) -> Iterator[Mapping[str, Any]]:
    """The parts of a suite, or a skip that says that it is not there."""
    yield from yaml.safe_load_all(path_of(name).read_bytes())


class Zone:
    """A scenario's names, as the suite's own driver reads them: where there is no TXT, records of kind SPF are some."""

    def __init__(self, data: Mapping[str, list[Any]]) -> None:
        self.data = {name.lower(): list(_records(items)) for name, items in data.items()}

    def _found(self, name: str, kind: str, depth: int = 0) -> list[Any]:
        if depth > 3:
            raise TryLater(f"{name}: a loop")
        items = self.data.get(name.removesuffix(".").lower(), [])
        found = [value for of, value in items if of == kind]
        for of, value in items:
            if of == "TIMEOUT" and not found:
                raise TryLater(f"{name}: no answer")
            if of == "CNAME":
                found += self._found(value, kind, depth + 1)
        return found

    def for_message(self) -> Zone:
        return self

    def expect(self, name: str) -> None:
        """Nobody waits here."""

    async def texts(self, name: str) -> list[str]:
        return [text.encode().decode("latin-1") for text in self._found(name, "TXT")]

    async def addresses(self, name: str, kind: str) -> list[str]:
        return self._found(name, kind)

    async def exchanges(self, name: str) -> list[str]:
        return [server.removesuffix(".") for _, server in sorted(self._found(name, "MX"))]

    async def pointers(self, address: str) -> list[str]:
        return [name.removesuffix(".") for name in self._found(ipaddress.ip_address(address).reverse_pointer, "PTR")]


def _records(items: list[Any]) -> Iterator[tuple[str, Any]]:
    has_text = any("TXT" in item for item in items if isinstance(item, dict))
    for item in items:
        for kind, value in item.items() if isinstance(item, dict) else [("TIMEOUT", "")]:
            if kind in ("TXT", "SPF"):
                value = value if isinstance(value, str) else "".join(value)
                kind = "TXT" if kind == "TXT" or not has_text else kind
            if value != "NONE":
                yield kind, value


def test_spf_is_that_of_rfc_7208(capsys: pytest.CaptureFixture[str]) -> None:
    count, wrong = 0, []
    for scenario in scenarios("pyspf/rfc7208-tests.yml"):
        names = Zone(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            client = parse_client(str(test["host"]))
            assert client
            found = asyncio.run(spf.check(client, test["helo"], test["mailfrom"], names, test.get("receiver", "")))
            said = found.explanation or "DEFAULT"
            if found.result not in test["result"] or said != test.get("explanation", said):
                wrong.append((name, test["result"], found))
            count += 1
    with capsys.disabled():
        print(f"\nrfc7208-tests: {count} tests, {len(wrong)} otherwise")
    assert not wrong


def test_arc_is_that_of_the_suite(capsys: pytest.CaptureFixture[str]) -> None:
    count, wrong = 0, []
    for scenario in scenarios("arc/validation.yml"):
        for name, test in scenario["tests"].items():
            records = test.get("txt-records") or scenario.get("txt-records") or {}
            names = Zone({key: [{"TXT": text}] for key, text in records.items()})
            message = of_bytes(test["message"].encode())
            found = asyncio.run(arc.verify(message, names, arc.begin(message, names)))
            count += 1
            if found.result != (test["cv"] or "").strip().lower():
                wrong.append((name, test["cv"], found))
    with capsys.disabled():
        print(f"\narc_test_suite: {count} tests, {len(wrong)} otherwise: {', '.join(name for name, _, _ in wrong)}")
    assert {name for name, _, _ in wrong} == OTHERWISE.keys()
