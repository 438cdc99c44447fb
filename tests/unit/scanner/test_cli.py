"""The command `gatescan`: what it prints, for people and for programs, and its exit status."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import desk
import pytest
import rig
from gatescan import __version__, cli
from gatescan.cli.common import SHIPPED_RULES
from gatescan.health import metrics
from gatescan.outcome import asked, handle, letters, notify
from gatescan.service import protocol

DEBIAN_PYTHON = "/usr/bin/python3"


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[desk.Desk]:
    made = desk.make(tmp_path)
    monkeypatch.setenv("GATESCAN_CONFIG", str(made.path))
    yield made


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command line; returns its exit status, output and messages."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        try:
            status = cli.main(["gatescan", *map(str, words)])
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def write(gate: desk.Desk, name: str, message: bytes) -> Path:
    path = gate.root / name
    path.write_bytes(message)
    return path


def hold(gate: desk.Desk, *messages: bytes) -> list[str]:
    services = gate.services()
    for message in messages:
        handle.handle(services, message, desk.INBOUND, desk.Ids())
    services.close()
    return [entry.id for entry in gate.quarantine().entries()]


# --- as a whole ---


def test_help_names_every_command_and_each_has_help(say: Any) -> None:
    status, out, _ = say("--help")
    assert status == 0
    for command in cli.COMMANDS:
        assert re.search(rf"^  {command} ", out, re.MULTILINE)
        if command != "version":
            status, text, _ = say(command, "--help")
            assert status == 0 and text.startswith(f"usage: gatescan {command}")


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("check",), ("check", "--nonsense"), ("quarantine",), ("quarantine", "release")]
)
def test_wrong_usage_is_2(gate: desk.Desk, say: Any, words: tuple[str, ...]) -> None:
    assert say(*words)[0] == 2


@pytest.mark.parametrize("python", [sys.executable, DEBIAN_PYTHON])
def test_it_runs_from_a_checkout(tmp_path: Path, python: str) -> None:
    if not os.access(python, os.X_OK):
        pytest.skip(f"no {python} on this machine")
    message = tmp_path / "message"
    message.write_bytes(desk.EXE)
    environment = {"PYTHONPATH": str(rig.SCANNER_FILES), "PATH": os.environ["PATH"]}
    command = [python, "-m", "gatescan", "check", "--rules", str(SHIPPED_RULES), "--json", str(message)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["verdict"] == "policy"


def test_a_command_imports_only_what_it_needs() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(rig.SCANNER_FILES)!r}); from gatescan import cli\n"
        "cli.main(['gatescan', 'version']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "argparse",
        "sqlite3",
        "gatescan.mime",
        "gatescan.judging.judge",
        "gatescan.service.daemon",
        "email",
    }


def test_the_old_options_still_work(gate: desk.Desk, say: Any) -> None:
    assert say("-v") == (0, f"gatescan {__version__}\n", "")
    gate.config.rules.source.write_text(".new\t0\tnew rule\n")
    status, out, _ = say("-g")
    assert status == 0 and "1 rules" in out
    status, out, _ = say("-r")
    assert status == 0 and "new rule" in out


def test_a_bad_configuration_is_named_and_75(gate: desk.Desk, say: Any) -> None:
    gate.path.write_text('{"quarantine": {"max_byte": 1}}')
    status, _, err = say("stats")
    assert status == 75 and "quarantine.max_byte" in err
    gate.path.write_text("{")
    status, _, err = say("stats")
    assert status == 75 and "config.json: is no JSON: line 1, column 2" in err


# --- check ---


def test_check_gives_one_json_object_a_message(gate: desk.Desk, say: Any) -> None:
    clean, bad = write(gate, "clean", desk.plain()), write(gate, "bad", desk.EXE)
    status, out, err = say("check", "--json", clean, bad)
    first, second = map(json.loads, out.splitlines())
    assert (status, err) == (1, "")
    assert (first["file"], first["verdict"], first["action"], first["reasons"]) == (str(clean), "clean", "accept", [])
    assert (second["verdict"], second["action"]) == ("policy", "quarantine")
    (reason,) = second["reasons"]
    assert reason["code"] == "rule-extension" and reason["source"] == "rules.txt:2"
    assert [part["names"] for part in second["parts"]] == [[], ["report.exe"]]
    assert second["parts"][1]["size"] == len(b"just text")


def test_check_says_for_people_what_and_why(gate: desk.Desk, say: Any) -> None:
    status, out, _ = say("check", write(gate, "bad", desk.EXE))
    assert status == 1 and "policy -> quarantine" in out and "report.exe" in out and "rules.txt:2" in out


def test_check_exit_status(gate: desk.Desk, say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clean, bad = write(gate, "clean", desk.plain()), write(gate, "bad", desk.EXE)
    empty = write(gate, "empty", b"")
    assert say("check", clean, empty)[0] == 0
    assert say("check", clean, bad)[0] == 1
    assert say("check", bad, gate.root / "missing")[0] == 75
    monkeypatch.setattr("gatescan.judging.judge.unpack.members", lambda *_: 1 / 0)
    assert say("check", clean)[0] == 75


def test_check_takes_rules_as_text_and_names_their_mistakes(gate: desk.Desk, say: Any) -> None:
    bad = write(gate, "bad", desk.EXE)
    other = gate.root / "other.txt"
    other.write_text(".doc\t0\tno documents\n")
    assert say("check", "--rules", other, bad)[0] == 0
    other.write_text(".doc 0 no documents\n")
    status, _, err = say("check", "--rules", other, bad)
    assert status == 75 and "other.txt:1:5: no TAB" in err


def test_check_changes_nothing(gate: desk.Desk, say: Any) -> None:
    before = sorted(str(path) for path in gate.root.rglob("*"))
    message = write(gate, "bad", desk.EXE)
    say("check", message)
    assert sorted(str(path) for path in gate.root.rglob("*")) == sorted([*before, str(message)])


def test_check_shows_hostile_names_harmlessly(gate: desk.Desk, say: Any) -> None:
    evil = desk.attached("=?utf-8?q?=1B[2Jx=E2=80=AEgpj.exe?=", b"x")
    _, out, _ = say("check", "--parts", write(gate, "bad", evil))
    assert "\x1b" not in out and "\u202e" not in out


# --- rules ---


def test_rules_test_says_which_line_hits_and_why(gate: desk.Desk, say: Any) -> None:
    bad, clean = write(gate, "bad", desk.EXE), write(gate, "clean", desk.plain())
    status, out, _ = say("rules", "test", bad)
    assert status == 1 and "rules.txt:2: extension .exe" in out
    status, out, _ = say("rules", "test", clean)
    assert status == 0 and "no rule hits" in out
    assert say("rules", "test", "--from", "x@bad.example", clean)[0] == 1


def test_rules_test_tries_the_text_before_it_is_built(gate: desk.Desk, say: Any) -> None:
    gate.config.rules.source.write_text(".txt\t0\tno text\n")
    note = write(gate, "note", desk.attached("note.txt", b"x"))
    status, out, err = say("rules", "test", "--json", note)
    assert status == 1 and json.loads(out)["hits"][0]["rule"]["pattern"] == "txt"
    assert "not in force" in err


def test_a_failed_build_says_where_and_what_stays(gate: desk.Desk, say: Any) -> None:
    gate.config.rules.source.write_text(".exe 0 program\n")
    status, _, err = say("rules", "build")
    assert status == 1 and "rules.txt:1:5" in err and "4 rules built" in err
    assert say("check", write(gate, "bad", desk.EXE))[0] == 1


def test_rules_list_tells_when_it_is_stale(gate: desk.Desk, say: Any) -> None:
    gate.config.rules.source.write_text(".exe\t0\tother\n")
    status, out, err = say("rules", "list")
    assert status == 0 and "extension .exe" in out and "edited since" in err


# --- quarantine ---


def test_quarantine_list_and_its_filters(gate: desk.Desk, say: Any) -> None:
    ids = hold(gate, desk.EXE, desk.plain("Pickles for Breakfast"))
    status, out, _ = say("quarantine", "list", "--json")
    entries = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [entry["id"] for entry in entries] == ids
    assert {"id", "date", "sender", "recipients", "subject", "verdict", "rule", "size", "state"} <= entries[0].keys()
    filters = {
        ("--verdict", "infected"): 1,
        ("--subject", "*BREAKFAST"): 1,
        ("--subject", "BREAKFAST"): 0,
        ("--from", "ANN@example.net"): 2,
        ("--from", "ann@*"): 2,
        ("--from", "ann@"): 0,
        ("--to", "nobody"): 0,
        ("--rule", "rules.txt:2"): 1,
        ("--rule", "rule-extension"): 1,
        ("--rule", "txt"): 0,
        ("--rule", "rules.txt"): 0,
        ("--rule", "?ules.txt:2"): 0,
        ("--reason", "report.exe*"): 1,
        ("--reason", "exe"): 0,
        ("--since", "1h"): 2,
        ("--before", "1h"): 0,
        ("--state", "released"): 0,
        ("--direction", "inbound"): 2,
        ("--from", "ann@*", "--verdict", "policy"): 1,
    }
    for words, count in filters.items():
        assert len(say("quarantine", "list", "--json", *words)[1].splitlines()) == count, words
    assert say("quarantine", "list", "--since", "yesterday")[0] == 2
    assert ids[0] in say("quarantine", "list")[1]


def test_quarantine_show_prints_the_message_as_it_came(gate: desk.Desk, capfdbinary: Any) -> None:
    (id_,) = hold(gate, desk.EXE)
    assert cli.main(["gatescan", "quarantine", "show", "--message", id_]) == 0
    assert capfdbinary.readouterr().out == desk.EXE


def test_quarantine_release_is_once_and_recorded(gate: desk.Desk, say: Any) -> None:
    (id_,) = hold(gate, desk.EXE)
    assert say("quarantine", "release", id_)[0] == 0
    status, _, err = say("quarantine", "release", id_)
    assert status == 1 and "released before" in err
    ((message, envelope),) = gate.queued()
    assert message.endswith(desk.EXE) and b"Tbob@example.org\0" in envelope
    (record,) = (line for line in gate.journal() if line.get("event") == "release")
    assert (gate.queue / f"{record['qp']}.message").exists(), "qmail's qp, by which its log is joined"
    assert record["held"] == id_ and record["by"]


def test_quarantine_delete_by_filter_but_never_all_by_accident(gate: desk.Desk, say: Any) -> None:
    ids = hold(gate, desk.EXE, desk.plain("Pickles for Breakfast"))
    assert say("quarantine", "delete")[0] == 2
    assert len(gate.quarantine().entries()) == 2
    assert say("quarantine", "delete", "--verdict", "infected")[0] == 0
    assert [entry.id for entry in gate.quarantine().entries()] == ids[:1]
    assert say("quarantine", "delete", "nothing")[0] == 1


@pytest.mark.parametrize("verb", ["release", "delete"])
def test_filters_that_fit_several_messages_do_nothing_without_all(gate: desk.Desk, say: Any, verb: str) -> None:
    ids = hold(gate, desk.EXE, desk.plain("Pickles for Breakfast"))
    status, out, err = say("quarantine", verb, "--since", "1h")
    assert status == 2 and out == "" and "2 messages fit" in err and "--all" in err
    assert [(entry.id, entry.state) for entry in gate.quarantine().entries()] == [(id_, "held") for id_ in ids]
    status, out, _ = say("quarantine", verb, "--since", "1h", "--all")
    assert status == 0 and all(id_ in out for id_ in ids)


def test_a_part_of_every_rules_place_releases_nothing(gate: desk.Desk, say: Any) -> None:
    hold(gate, desk.EXE)
    assert say("quarantine", "release", "--rule", "txt", "--all")[0] == 0
    assert gate.queued() == []


def test_quarantine_expire(gate: desk.Desk, say: Any) -> None:
    hold(gate, desk.EXE)
    assert say("quarantine", "expire")[1] == "0 expired\n"
    gate.change(quarantine={"expire_days": 0})
    assert say("quarantine", "expire")[1] == "1 expired\n"


def test_root_works_as_the_owner_of_the_quarantine(gate: desk.Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    (id_,) = hold(gate, desk.EXE)
    for path in (gate.root, *gate.root.rglob("*")):
        os.chown(path, 65534, 65534)
    for parent in gate.root.parents:
        if parent != Path("/") and "pytest" in parent.name:
            parent.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(rig.SCANNER_FILES)}
    command = [DEBIAN_PYTHON, "-m", "gatescan", "quarantine", "release", id_]
    if not os.access(DEBIAN_PYTHON, os.X_OK):
        pytest.skip(f"no {DEBIAN_PYTHON}, which every user may run, on this machine")
    gate.change(next_queue=["/usr/bin/tee", str(gate.root / "queued")])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "Permission denied" in done.stderr and "gatescan" in done.stderr:
        pytest.skip("this checkout cannot be read by another user")
    assert done.returncode == 0, done.stderr
    assert {path.stat().st_uid for path in (gate.root / "quarantine").rglob("*")} == {65534}
    assert (gate.root / "queued").stat().st_uid == 65534, "the queue program was run as root"


# --- notify, stats, doctor ---


def test_notify_sends_and_says_when_it_cannot(gate: desk.Desk, say: Any) -> None:
    hold(gate, desk.EXE)
    gate.queue_says(53)
    status, _, err = say("notify")
    assert status == 75 and "said 53" in err
    gate.queue_says(0)
    assert say("notify")[0] == 0
    assert len(gate.queued()) == 2


def test_stats_for_people_programs_and_prometheus(gate: desk.Desk, say: Any) -> None:
    hold(gate, desk.EXE, desk.plain(), desk.plain())
    _, out, _ = say("stats")
    assert re.search(r"inbound\s+clean\s+accept\s+2$", out, re.MULTILINE)
    assert re.search(r"^judged\s+3,", out, re.MULTILINE)
    figures = json.loads(say("stats", "--json")[1])
    assert figures["gatescan_quarantine_messages"] == 1
    assert 'gatescan_scan_seconds_bucket{le="+Inf"} 3\n' in say("stats", "--prometheus")[1]


@pytest.fixture
def healthy(gate: desk.Desk) -> Iterator[desk.Desk]:
    """A gateway with nothing wrong, and a worker's half of the talk where the daemon should be."""
    path = gate.root / "s"
    gate.change(daemon={"socket": str(path)})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen()
        worker = threading.Thread(target=answer_pings, args=(listener,))
        worker.start()
        yield gate
        listener.shutdown(socket.SHUT_RDWR)
        worker.join()


def answer_pings(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                select.select([connection], [], [])
                with contextlib.suppress(protocol.Ping):
                    protocol.receive(connection)
                connection.send(protocol.Pong(0, "full of holes").packet())


def test_doctor_names_a_daemon_without_workers(healthy: desk.Desk, say: Any) -> None:
    metrics.publish_master(healthy.config, metrics.Master(workers=0, wanted=4, idle_seconds=40))
    status, out, _ = say("doctor")
    assert status == 1 and "no worker has served for 40 seconds" in out
    metrics.publish_master(healthy.config, metrics.Master(workers=3, wanted=4))
    assert "3 of 4 workers" in say("doctor")[1]


def examined(say: Any) -> tuple[int, dict[str, str]]:
    status, out, _ = say("doctor", "--json")
    checks = [json.loads(line) for line in out.splitlines()]
    for check in checks:
        assert bool(check["advice"]) == (check["state"] != "ok"), check
    bad = {check["what"].split(":")[0].split()[0]: check["state"] for check in checks if check["state"] != "ok"}
    return status, bad


def test_doctor_finds_nothing_wrong_with_a_healthy_gateway(healthy: desk.Desk, say: Any) -> None:
    assert examined(say) == (0, {})


def test_doctor_finds_what_is_broken(healthy: desk.Desk, say: Any) -> None:
    def broken() -> dict[str, str]:
        return {what: state for what, state in examined(say)[1].items() if what != "libraries"}

    config = healthy.config
    healthy.config.rules.source.write_text(".new\t0\tnew\n")
    assert broken() == {"rules": "warning"}
    config.rules.compiled.write_text("{")
    assert broken() == {"rules": "broken"}
    healthy.write_rules()
    (healthy.root / "s").unlink()
    assert broken() == {"daemon": "broken"}
    shutil.rmtree(healthy.root / "quarantine" / "cur")
    assert broken() == {"daemon": "broken", "quarantine": "broken"}
    (healthy.root / "queue" / "program").unlink()
    shutil.rmtree(config.notices_spool)
    assert broken().keys() == {"daemon", "quarantine", "next", "notices"}
    healthy.path.write_text("{}x")
    assert examined(say) == (1, {"configuration": "broken"})


def test_doctor_sees_a_full_quarantine_and_notices_that_nobody_sends(healthy: desk.Desk, say: Any) -> None:
    hold(healthy, desk.EXE)
    healthy.change(quarantine={"max_messages": 1})
    event = letters.Event(1.0, "id", "policy", "why", "from", "subject", "inbound", "quarantine", admin=True)
    notify.Spool(healthy.config).put(event)
    found = examined(say)[1]
    assert found["quarantine"] == "broken" and found["notices"] == "warning"


def test_doctor_sees_replies_that_nobody_answers(healthy: desk.Desk, say: Any) -> None:
    healthy.change(release={"enabled": True})
    (asked.Desk(healthy.config).directory / "1.0-1-aaaa.new").touch()  # a killed worker's
    assert examined(say) == (0, {})
    asked.Desk(healthy.config).put([asked.Asked(1.0, "held-mail-x@gw.example.org")])
    assert examined(say)[1] == {"replies": "warning"}


# --- test-installation ---

_INJECT = '''#!{python}
"""Stands for qmail-inject, the client and the daemon: hands the message to the scanner, and delivers it."""
import os, sys
sys.path[:0] = [{files!r}, {here!r}]
import desk
from pathlib import Path
from gatescan import config
from gatescan.outcome import handle
from gatescan.context import Context
assert os.environ["QMAILQUEUE"] == "/the/client"
message = sys.stdin.buffer.read()
services = handle.Services.open(config.load(Path({config!r})))
outcome = handle.handle(services, message, Context(sys.argv[3], (sys.argv[5],)), desk.Ids())
if outcome.headers_to_add and {deliver}:
    Path({maildir!r}, str(os.getpid())).write_bytes(outcome.headers_to_add + message)
sys.exit(outcome.code)
'''


def install(gate: desk.Desk, deliver: bool = True) -> list[str | Path]:
    maildir = gate.root / "Maildir"
    (maildir / "new").mkdir(parents=True)
    program = gate.root / "inject"
    program.write_text(
        _INJECT.format(
            python=sys.executable,
            files=str(rig.SCANNER_FILES),
            here=str(Path(__file__).parent),
            config=str(gate.path),
            maildir=str(maildir / "new"),
            deliver=deliver,
        )
    )
    program.chmod(0o755)
    options: list[str | Path] = [
        "test-installation",
        "--json",
        "--inject",
        program,
        "--queue",
        "/the/client",
        "--timeout",
        "0.5",
    ]
    return [*options, "--maildir", maildir]


def fates(out: str) -> dict[str, tuple[str, bool | None]]:
    return {fate["name"]: (fate["state"], fate["ok"]) for fate in map(json.loads, out.splitlines())}


def test_test_installation_reports_what_arrived_and_what_was_held(gate: desk.Desk, say: Any) -> None:
    status, out, _ = say(*install(gate))
    assert status == 0
    assert fates(out) == {
        "clean": ("delivered", True),
        "rule": ("held", True),
        "virus": ("delivered", None),
        "spam": ("delivered", None),
    }
    assert len(gate.quarantine().entries()) == 1


@pytest.mark.slow
def test_test_installation_fails_when_the_rule_does_not_hold(gate: desk.Desk, say: Any) -> None:
    gate.write_rules(".zip\t0\tno\n")
    status, out, _ = say(*install(gate))
    assert status == 1 and fates(out)["rule"] == ("delivered", False)


@pytest.mark.slow
def test_test_installation_fails_when_an_engine_finds_nothing(gate: desk.Desk, say: Any) -> None:
    gate.change(engines=[{"type": "clamd"}, {"type": "spamassassin"}])
    status, out, _ = say(*install(gate))
    assert status == 1
    assert fates(out)["virus"] == fates(out)["spam"] == ("delivered", False)


@pytest.mark.slow
def test_test_installation_fails_when_the_clean_mail_is_lost_or_refused(gate: desk.Desk, say: Any) -> None:
    words = install(gate, deliver=False)
    status, out, _ = say(*words)
    assert status == 1 and fates(out)["clean"] == ("unknown", False)
    gate.config.rules.compiled.unlink()
    status, out, _ = say(*words)
    assert status == 1 and fates(out)["clean"] == ("refused", False)
