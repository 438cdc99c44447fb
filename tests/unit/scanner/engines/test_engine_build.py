"""Engines from the configuration, `gatescan engines`, the doctor, `check --engines`, and the way to an answer."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import desk
import pytest
from doubles.manual import MANUALS
from gatescan import cli
from gatescan.config import ConfigError, parse
from gatescan.engines.build import TYPES, panel
from gatescan.health import doctor
from gatescan.outcome import handle
from gatescan.outcome.handle import Handler
from samples import MARK

Double = Callable[..., Path]


@pytest.fixture
def gate(tmp_path: Path) -> desk.Desk:
    made = desk.make(tmp_path / "gate")
    made.write_rules()
    return made


def csav(program: Path, **more: Any) -> dict[str, Any]:
    return {"type": "csav", "program": str(program), **more}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_can_be_made_by_its_name_alone(kind: str) -> None:
    made = panel(parse({"engines": [{"type": kind}]}), keep=False)
    assert made is not None and made.name == kind


def test_no_engines() -> None:
    assert panel(parse({})) is None


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "engines[0].type"),
        ({"type": "klamd"}, "engines[0].type"),
        ({"type": "clamd", "sokket": "/x"}, "engines[0].sokket"),
        ({"type": "clamd", "timeout": "60"}, "engines[0].timeout"),
        ({"type": "clamd", "timeout": 0}, "engines[0].timeout"),
        ({"type": "clamd", "timeout": 500}, "engines[0].timeout"),
        ({"type": "clamd", "socket": "192.0.2.1:3310", "transfer": "instream"}, "engines[0].socket"),
        ({"type": "clamd", "socket": "127.0.0.1:3310"}, "engines[0].transfer"),
        ({"type": "clamd", "transfer": "file"}, "engines[0].transfer"),
        ({"type": "clamd", "socket": "/" + "x" * 120}, "engines[0].socket"),
        ({"type": "spamd", "socket": "localhost"}, "engines[0].socket"),
        ({"type": "spamd", "inbound": {"accept": 5}}, "engines[0].inbound"),
        ({"type": "spamd", "user": "a\nb"}, "engines[0].user"),
        ({"type": "uvscan", "program": "uvscan"}, "engines[0].program"),
        ({"type": "uvscan", "arguments": ["-r"]}, "engines[0].arguments"),
        ({"type": "uvscan", "name": "x" * 50}, "engines[0].name"),
    ],
)
def test_a_mistake_is_named(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        panel(parse({"engines": [table]}), keep=False)
    assert caught.value.key == key


def test_two_engines_of_one_name() -> None:
    with pytest.raises(ConfigError, match="another engine"):
        panel(parse({"engines": [{"type": "clamd"}, {"type": "clamd"}]}), keep=False)


def handled(gate: desk.Desk, message: bytes) -> handle.Outcome:
    engines = panel(gate.config)
    assert engines
    with_engines = Handler(gate.config, (engines,))
    return with_engines(message, desk.INBOUND, desk.Ids())


def test_a_message_from_the_client_to_the_answer(gate: desk.Desk, double: Double) -> None:
    program = double("csav", MANUALS["csav"].argv, 51, "{hit}  Infection: Lab.Virus\n")
    gate.change(engines=[csav(program)])
    outcome = handled(gate, desk.attached("a.txt", MARK))
    assert outcome.code == 0 and not outcome.headers_to_add  # held
    (entry,) = gate.quarantine().entries()
    assert asdict(entry)["reason"] == "Lab.Virus" and asdict(entry)["rule"] == "csav"


def test_an_engine_that_fails_means_try_again_and_nothing_is_held(gate: desk.Desk, double: Double) -> None:
    gate.change(engines=[csav(double("csav", MANUALS["csav"].argv, 0))])
    outcome = handled(gate, desk.plain())
    assert outcome.code == 71 and not list(gate.quarantine().entries())
    gate.change(engines=[csav(double("csav", MANUALS["csav"].argv, 50))])
    assert handled(gate, desk.plain()).headers_to_add


def test_spam_that_is_tagged_says_so_in_its_header(gate: desk.Desk, daemon: Any) -> None:
    def spamd(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass
        connection.sendall(b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 6.5 / 5.0\r\n\r\nONE,TWO\r\n")

    gate.change(engines=[{"type": "spamd", "socket": daemon(spamd)}])
    headers = handled(gate, desk.plain()).headers_to_add
    assert b"X-Gatescan-Tag: spam (score 6.5: ONE,TWO)\n" in headers and b"X-Spam-Flag: YES\n" in headers


def gatescan(gate: desk.Desk, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(["gatescan", words[0], "--config", str(gate.path), *words[1:]])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_lists_what_the_workers_noted(
    gate: desk.Desk, double: Double, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    signatures = tmp_path / "x.def"
    signatures.write_text("")
    program = double("csav", MANUALS["csav"].argv, 50)
    gate.change(engines=[csav(program, signatures=[str(signatures)])])
    handled(gate, desk.plain())
    status, out, _ = gatescan(gate, capsys, "engines", "--json")
    told = json.loads(out)
    assert (status, told["name"], told["asked"], told["errors"], told["stale"]) == (0, "csav", 1, 0, False)
    assert told["mean_seconds"] > 0
    os.utime(signatures, (1_000_000_000, 1_000_000_000))
    status, out, err = gatescan(gate, capsys, "engines")
    assert status == 1 and "OLD" in out and "days old" in err


def test_the_nightly_mail(gate: desk.Desk, double: Double, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    signatures = tmp_path / "x.def"
    signatures.write_text("")
    gate.change(engines=[csav(double("csav"), signatures=[str(signatures)])])
    assert gatescan(gate, capsys, "engines", "--mail")[0] == 0 and gate.queued() == []
    os.utime(signatures, (1_000_000_000, 1_000_000_000))
    assert gatescan(gate, capsys, "engines", "--mail")[0] == 1
    ((message, envelope),) = gate.queued()
    assert b"days old" in message and b"Auto-Submitted: auto-generated" in message
    assert envelope.startswith(b"F\0T")


def test_the_doctor_knows_the_engines(gate: desk.Desk, tmp_path: Path) -> None:
    gate.change(engines=[csav(tmp_path / "none")])
    checks = [check for check in doctor.examine(gate.path) if check.what.startswith("engine csav")]
    assert [check.state for check in checks] == ["broken"] and checks[0].advice
    gate.change(engines=[{"type": "nothing"}])
    assert any(check.state == "broken" and "engines[0].type" in check.what for check in doctor.examine(gate.path))


def test_check_asks_the_engines_only_when_told(
    gate: desk.Desk, double: Double, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gate.change(engines=[csav(double("csav", MANUALS["csav"].argv, 51, "{hit}  Infection: X\n"))])
    message = tmp_path / "m.eml"
    message.write_bytes(desk.attached("a.txt", MARK))
    assert gatescan(gate, capsys, "check", str(message))[0] == 0
    status, out, _ = gatescan(gate, capsys, "check", "--engines", str(message))
    assert status == 1 and "infected" in out and "csav" in out
