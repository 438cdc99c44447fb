"""`gw trace`, `quarantine`, `queue` and `status` over several gateways: what is printed, and the exit status."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gateway_logs import Gateway
from on_gateway import quarantine, queue, supervise
from on_gateway import status as gateway_status
from on_gateway.frame import Refusal
from on_gateway.trace import search
from test_trace import ANN, delivered

from gatewright.fleet import __main__ as fleet
from gatewright.fleet import ask, filters, show, trace
from gatewright.fleet import quarantine as quarantine_command
from gatewright.fleet import queue as queue_command
from gatewright.fleet import status as fleet_status
from tests.log_schemas import fitting

PROJECT = Path(__file__).parents[3]
ANSIBLE = Path(sys.executable).parent / "ansible"
HOSTILE = "\x1b]0;gone\x07\u202eevil\r\n{{ 7 * 7 }}"


@dataclass
class Site:
    """An inventory of gateways whose files are below folders of this machine."""

    folder: Path
    capture: Callable[[], tuple[str, ...]]

    def root(self, host: str) -> Path:
        """Where a gateway's files are."""
        return self.folder / host

    def call(self, *words: str) -> tuple[int, str, str]:
        """Run a command: exit status, output, and errors."""
        own, further = words.index("--") if "--" in words else len(words), ["-i", str(self.folder / "inventory")]
        status = fleet.main([*words[:own], *further, *words[own:]])
        out, errors = self.capture()
        return status, out, errors


@pytest.fixture
def site(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Site:
    """Two gateways."""
    monkeypatch.setenv("PATH", f"{ANSIBLE.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(PROJECT / "ansible.cfg"))
    lines = [f"{host} ansible_connection=local fleet_root={tmp_path / host}" for host in ("gw1", "gw2")]
    (tmp_path / "inventory").write_text("\n".join(["[gateways]", *lines, ""]))
    return Site(tmp_path, lambda: tuple(capfd.readouterr()))


def test_messages_of_all_gateways_are_told_in_the_order_they_came_and_a_silent_one_is_named(site: Site) -> None:
    first, second = Gateway(), Gateway()
    second.begin = first.begin
    delivered(first, 0)
    delivered(first, 200, subject="third")
    second.judged(100, [ANN], "quarantine", held="1.x", subject=HOSTILE)
    first.write(site.root("gw1"))
    second.write(site.root("gw2"))
    with (site.folder / "inventory").open("a") as file:
        file.write("gw3 ansible_host=127.0.0.1 ansible_port=1\n")
    status, out, errors = site.call("trace", "--to", ANN)
    lines = out.splitlines()
    assert [line.split("  ")[1:3] for line in lines] == [["gw1", "delivered"], ["gw2", "held"], ["gw1", "delivered"]]
    assert "{{ 7 * 7 }}" in lines[1] and "\\u202e" in lines[1] and "id 1.x" in lines[1]
    assert not any(letter in out for letter in "\x1b\x07\u202e\r")
    assert status == 3 and "gw3 did not answer" in errors


def test_programs_get_json_and_a_status_and_filters_are_no_templates(site: Site) -> None:
    gateway = Gateway()
    gateway.judged(100, [ANN], "quarantine", held="1.x", subject=HOSTILE)
    gateway.write(site.root("gw1"))
    status, out, _ = site.call("trace", "--subject", "*{{ 7 * 7 }}", "--json")
    record = json.loads(out)
    assert (status, record["gateway"], record["fate"]) == (0, "gw1", "held")
    assert out.isascii() and out.count("\n") == 1


def test_an_inventory_without_gateways_is_a_wrong_usage(site: Site) -> None:
    (site.folder / "inventory").write_text("[others]\nmx1\n")
    status, _, errors = site.call("trace", "--to", ANN)
    assert status == 2 and "no gateway was asked" in errors


@pytest.mark.parametrize(
    "words",
    [
        ["trace", "--since", "yesterday"],
        ["trace", "--since=-5d"],
        ["trace", "--since", "9" * 400 + "d"],
        ["trace", "--most", "0"],
        ["trace", "--most", "9" * 20],
        ["trace", "--ip", "192.0.2.300"],
        ["trace", "--forks", "0"],
        ["status", "--timeout", "-1"],
        ["queue", "list", "--wait", "nan"],
        ["queue", "list", "--wait", "soon"],
        ["queue", "drop"],
        ["quarantine", "release"],
        ["quarantine", "delete", "17.gw1", "--verdict", "policy"],
        ["quarantine", "list", "--state", "hold"],
        ["tracee"],
    ],
)
def test_a_wrong_command_line_asks_nobody(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "call", lambda *_: pytest.fail("somebody was asked"))
    try:
        status = fleet.main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2 and capsys.readouterr().err


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ansible: modules are called right here, on gw1 and gw2."""
    monkeypatch.setattr(ask, "run", run_here)


def run_here(who: ask.Fleet, module: str, request: str) -> ask.Answers:
    """What `ask.run` does, in this process."""
    folder = Path(who.inventories[0]).parent
    table = json.loads(request[4 : request.rindex(")[")]) if request.startswith("{{") else None
    answers = ask.Answers()
    for host in table or ("gw1", "gw2"):
        told = json.loads(base64.b64decode(table[host] if table else request))
        answers.said[host] = json.loads(json.dumps(MODULES[module](folder / host, told)))
    return answers


MODULES: dict[str, Callable[[Path, dict[str, Any]], dict[str, Any]]] = {
    "mail_trace": lambda root, told: search.carry_out(search.parse(told), root),
    "held_mail": lambda root, told: quarantine.carry_out(quarantine.parse(told), root),
    "mail_queue": lambda root, told: queue.carry_out(queue.parse(told), root),
}


@pytest.mark.parametrize("verb", ["trace", "quarantine", "queue", "status"])
def test_help_teaches_with_the_exit_status(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        fleet.main([verb, "--help"])
    assert end.value.code == 0
    assert "exit status: 0 " in capsys.readouterr().out


def test_what_a_gateway_answers_that_cannot_be_read_is_named_and_the_others_stand() -> None:
    cut = '{"host": "gw6", "state": "o'
    told = {
        "gw1": packed(b'{"held": 1}'),
        "gw2": "%%%",
        "gw3": packed(b"[" * 10**5),
        "gw4": packed(b"[]"),
        "gw5": "eA==",
    }
    lines = [json.dumps({"host": host, "state": "asked"}) for host in told]
    lines += [json.dumps({"host": host, "state": "ok", "answer": answer}) for host, answer in told.items()]
    answers = ask.answers_of("\n".join([*lines, json.dumps({"host": "gw6", "state": "asked"}), cut]))
    assert answers.said == {"gw1": {"held": 1}}
    assert {host: why.partition(":")[0] for host, why in answers.silent.items()} == {
        **dict.fromkeys(("gw2", "gw3", "gw4", "gw5"), "what it answered cannot be read"),
        "gw6": "ansible ended before it answered",
    }


def packed(text: bytes) -> str:
    """An answer as it comes over the wire, whatever is in it."""
    return base64.b64encode(zlib.compress(text)).decode("ascii")


def test_an_answer_that_would_fill_this_machine_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "LONGEST_ANSWER", 1000)
    bomb = base64.b64encode(zlib.compress(json.dumps({"x": "0" * 2000}).encode())).decode()
    answers = ask.answers_of(json.dumps({"host": "gw1", "state": "ok", "answer": bomb}) + "\n")
    assert not answers.said and "longer than 1000" in answers.silent["gw1"]


def told(*kinds: dict[str, Any]) -> dict[str, Any]:
    """A record in which every text is hostile."""
    names = (
        "fate",
        "from",
        "subject",
        "held",
        "ip",
        "tls",
        "message_id",
        "auth",
        "verdict",
        "action",
        "msg",
        "qp",
        "text",
    )
    found: dict[str, Any] = dict.fromkeys((*names, "what", "id", "state", "sender", "reason"), HOSTILE)
    found |= {
        "time": 1.0,
        "size": 1,
        "queued": 1,
        "ended": 1,
        "count": 2,
        "last": 2,
        "recipients": [HOSTILE],
        "to": [HOSTILE],
    }
    way = dict.fromkeys(("host", "address", "tls", "verified", "text", "result", "recipient"), HOSTILE)
    found["deliveries"] = [way | {"began": 1, "ended": 2}]
    found["findings"] = [dict.fromkeys(("verdict", "code", "detail"), HOSTILE)]
    found["events"] = [{"event": HOSTILE, "by": HOSTILE, "time": 1}]
    found["bounce"] = {"to": [HOSTILE], "fate": HOSTILE, "time": 1, "deliveries": []}
    for one in kinds:
        found |= one
    return found


def test_a_gateway_that_was_taken_over_can_do_nothing_to_the_terminal() -> None:
    printed = [*quarantine_command.row("gw1", told()), *queue_command.row("gw1", told())]
    printed += trace.lines("gw1", told({"kind": "message", "recipients": 1}), True)
    printed += trace.lines("gw1", told({"kind": "refusal"}), True)
    printed += trace.lines("gw1", told({"kind": "sessions", "tls": {HOSTILE: 1}}), True)
    printed += fleet_status.row(
        "gw1", {"queue": {"count": HOSTILE, "oldest": 1}, "held": HOSTILE, "cutoff": [HOSTILE], "outbreak": HOSTILE,
                "engines": [{"name": HOSTILE}], "version": HOSTILE, "doctor": [{"state": HOSTILE, "what": HOSTILE}]},
    )  # short values, many a line # fmt: skip
    assert not {"\x1b", "\u202e", "\r", "\n"} & set("".join(printed))


def test_a_change_in_check_mode_is_said_not_to_have_been_made(site: Site) -> None:
    status, out, errors = site.call("queue", "hold", "101", "--json", "--", "--check")
    assert (status, out) == (3, "") and "check mode" in errors


def test_ctrl_c_ends_a_command_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(fleet.VERBS, "status", interrupted)
    assert fleet.main(["status"]) == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_in_the_middle_of_a_change_says_that_gateways_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> ask.Answers:
        raise KeyboardInterrupt

    monkeypatch.setattr(queue_command, "ask", interrupted)
    assert fleet.main(["queue", "hold", "1"]) == 130
    assert "goes on there" in capsys.readouterr().err


def test_a_filter_is_what_the_logs_have() -> None:
    assert filters.as_logged("*ann*@Bücher.example") == "*ann*@xn--bcher-kva.example"
    assert filters.as_logged("@*.bücher.example") == "@*.xn--bcher-kva.example"
    assert [filters.as_logged(text) for text in ("<>", "jörg*", "*", "a@" + "ü" * 70)] == [
        "<>",
        "jörg*",
        "*",
        "a@" + "ü" * 70,
    ]
    assert filters.client("::ffff:192.0.2.7") == filters.client("192.0.2.7/32") == "192.0.2.7"
    assert quarantine_command.plain_filters({"to": "@bücher.example", "subject": "@ü"}) == {
        "to": "*@xn--bcher-kva.example",
        "subject": "@ü",
    }


@pytest.mark.parametrize("since", ["1900-01-01", "999999999w", "0d", "9999-12-31"])
@pytest.mark.usefixtures("quick")
def test_any_time_and_any_id_may_be_asked_for(site: Site, since: str) -> None:
    gateway = Gateway()
    delivered(gateway, 0)
    gateway.write(site.root("gw1"))
    status, out, errors = site.call("trace", "--id", "²", "--since", since)
    assert (status, out) == (1, "") and "nothing that fits since" in errors


def test_a_gateway_whose_doctor_does_not_answer_is_not_in_order() -> None:
    assert fleet_status.is_well({"doctor": [{"state": "warning"}]})
    assert not fleet_status.is_well({"held": 1})
    assert not fleet_status.is_well({"doctor": [{"state": "broken"}]})
    assert not fleet_status.is_well({"doctor": [], "cutoff": ["inbound"]})


def test_a_gateway_has_longer_to_answer_than_it_waits_for_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ask.Fleet] = []

    def note(who: ask.Fleet, *_: object) -> ask.Answers:
        asked.append(who)
        return ask.Answers()

    monkeypatch.setattr(queue_command, "ask", note)
    fleet.main(["queue", "hold", "1", "--wait", "300"])
    assert asked[0].seconds > 300


def test_times_are_spans_or_iso_8601() -> None:
    assert show.moment("2026-11-27T12:00Z") == show.moment("2026-11-27T13:00+01:00") == 1_795_780_800
    assert show.moment("2h") - show.moment("3h") == pytest.approx(3600, abs=5)


GATESCAN = """#!/bin/sh
exec env PYTHONPATH={files} GATESCAN_CONFIG={config} {python} -m gatescan "$@"
"""


@pytest.fixture
def held(site: Site) -> Site:
    """Each gateway holds a message; its scanner is the real one, its queue takes everything."""
    from gatescan.config import PATH_VARIABLE

    for host in ("gw1", "gw2"):
        root = site.root(host)
        for place in ("new", "cur", "tmp"):
            (root / "held" / place).mkdir(parents=True)
        (root / "logs").mkdir()
        entry = {"id": f"17.{host}", "time": 1_795_780_800.0, "sender": "bob@example.net", "recipients": [ANN]}
        entry |= {"subject": HOSTILE, "verdict": "policy", "reason": "Python script"}
        mail = f"X-Gatescan-Quarantine: {json.dumps(entry)}\nSubject: x\x1b[2J\n\nhello\n"
        (root / "held/new" / f"17.{host}").write_text(mail)
        config = {
            "quarantine": {"directory": str(root / "held")},
            "journal": {
                "json_log": str(root / "logs/messages.jsonl"),
                "quarantine_log": str(root / "logs/quarantine.log"),
            },
            "next_queue": ["/bin/true"],
        }
        (root / "config.json").write_text(json.dumps(config))
        program = root / "usr/bin/gatescan"
        program.parent.mkdir(parents=True)
        text = GATESCAN.format(
            files=PROJECT / "roles/scanner/files", config=root / "config.json", python=sys.executable
        ).replace("GATESCAN_CONFIG", PATH_VARIABLE)
        program.write_text(text)
        program.chmod(0o755)
    return site


def test_held_messages_of_all_gateways_are_listed_and_released_where_they_are(held: Site) -> None:
    status, out, errors = held.call("quarantine", "release", "17.gw2", "17.nowhere")
    assert "gw2: 17.gw2 released to 1 recipient" in out
    assert status == 1 and "no message 17.nowhere" in errors
    (record,) = fitting("messages", (held.root("gw2") / "logs/messages.jsonl").read_text())
    assert (record["event"], record["held"]) == ("release", "17.gw2")
    assert record["by"].count("@") == 1, "the controller's user and host"
    assert not (held.root("gw1") / "logs/messages.jsonl").exists()


@pytest.mark.usefixtures("quick")
def test_several_held_messages_are_deleted_with_all_alone(held: Site) -> None:
    status, out, errors = held.call("quarantine", "delete", "--reason", "*python*")
    assert status == 2 and "--all" in errors and "17.gw1" in out
    status, out, _ = held.call("quarantine", "delete", "--reason", "*python*", "--all")
    assert status == 0 and out.count(" deleted") == 2
    assert held.call("quarantine", "show", "17.gw1")[0] == 1


@pytest.mark.usefixtures("quick")
def test_many_messages_are_released_by_few_calls_and_each_is_told_of(
    held: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    run = quarantine.Quarantine._run

    def note(module: quarantine.Quarantine, *words: str) -> Any:
        calls.append(words)
        return run(module, *words)

    monkeypatch.setattr(quarantine.Quarantine, "_run", note)
    place = held.root("gw1") / "held/new"
    head = (place / "17.gw1").read_text()
    for number in range(44):
        (place / f"{number}.more").write_text(head.replace("17.gw1", f"{number}.more"))
    (place / "7.more").write_text("no entry\n")  # of which nobody knows the recipients
    status, out, errors = held.call("quarantine", "release", "--since", "9999d", "--all", "--limit", "gw1")
    assert out.count("released to 1 recipient(s)") == 45 and status == 1
    (line,) = (line for line in errors.splitlines() if "7.more" in line and "17.more" not in line)
    assert "still held" in line
    assert sum(words[0] == "release" for words in calls) == 4, "three of gw1 and one of gw2"


@pytest.mark.usefixtures("quick")
def test_what_there_is_no_time_for_is_counted_and_not_called_silent(
    held: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask.Fleet, "working_seconds", -1.0)
    status, out, errors = held.call("quarantine", "release", "--since", "9999d", "--all")
    assert (status, out) == (1, "") and "gw1: 1 more were not tried" in errors and "did not answer" not in errors


def test_a_gateway_is_asked_about_more_messages_than_a_command_line_takes(held: Site) -> None:
    fleet_of_one = ask.Fleet((str(held.folder / "inventory"),))
    request = {"verb": "release", "ids": [f"20261122-160512-{number:08x}" for number in range(20_000)], "seconds": -1}
    answers = ask.ask_each(fleet_of_one, "held_mail", {"gw1": request})
    assert (answers.said["gw1"]["left"], answers.silent) == (20_000, {})


@pytest.mark.usefixtures("quick")
def test_a_message_that_is_not_there_is_said(held: Site) -> None:
    for words in (["17.nowhere"], ["--message", "17.nowhere"], ["17.gw1", "17.nowhere"]):
        assert "no message 17.nowhere" in held.call("quarantine", "show", *words)[2], words


def test_on_the_gateway_too_a_held_message_is_shown_without_harm(held: Site) -> None:
    program = held.root("gw1") / "usr/bin/gatescan"
    for verb in (["list"], ["show", "17.gw1"]):
        done = subprocess.run([program, "quarantine", *verb], capture_output=True, text=True, check=True)
        assert "17.gw1" in done.stdout and not {"\x1b", "\u202e", "\r"} & set(done.stdout), verb


@pytest.mark.usefixtures("quick")
def test_a_terminal_that_lacks_letters_gets_escapes_for_them(held: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = held.root("gw1") / "held/new/17.gw1"
    path.write_text(path.read_text().replace('"Python script"', json.dumps("Häkchen \u2713", ensure_ascii=True)))
    program = held.root("gw1") / "usr/bin/gatescan"
    done = subprocess.run(
        [program, "quarantine", "show", "17.gw1"], env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True, check=True,
    )  # short arguments, many a line # fmt: skip
    assert "Häkchen \\u2713" in done.stdout.decode("latin-1")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert held.call("quarantine", "list")[0] == 0
    assert b"H\\xe4kchen \\u2713" in terminal.buffer.getvalue()


@pytest.mark.usefixtures("quick")
def test_held_messages_are_listed_and_shown_without_harm(held: Site) -> None:
    status, out, _ = held.call("quarantine", "list", "--to", ANN, "--since", "2026-01-01")
    assert status == 0 and "17.gw1" in out and "17.gw2" in out and "\x1b" not in out
    status, out, _ = held.call("quarantine", "show", "17.gw1")
    assert status == 0 and "Python script" in out and "\x1b" not in out
    assert held.call("quarantine", "list", "--before", "2026-01-01")[1] == ""


@pytest.mark.usefixtures("quick")
def test_a_held_message_goes_byte_for_byte_into_a_pipe(held: Site) -> None:
    _, out, _ = held.call("quarantine", "show", "--message", "17.gw1")
    assert out == "Subject: x\x1b[2J\n\nhello\n"


@pytest.mark.usefixtures("quick")
def test_a_message_that_is_too_long_to_be_shown_is_said_to_be_cut(held: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "LONGEST", 10)
    status, out, errors = held.call("quarantine", "show", "--message", "17.gw1")
    assert (status, out) == (1, "Subject: x") and "gw1 has the whole" in errors


def test_a_status_line_has_what_could_be_looked_at(held: Site) -> None:
    root = held.root("gw1")
    (root / "var/qmail/control").mkdir(parents=True)
    (root / "var/qmail/control/me").write_text("gw1.example.org\n")
    for name in ("info/3/301", "info/4/402", "todo/77"):
        path = root / "var/qmail/queue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    os.utime(root / "var/qmail/queue/info/3/301", (1, 1))
    (root / "var/lib/gatewright/cutoff").mkdir(parents=True)
    (root / "var/lib/gatewright/cutoff/outbound").touch()
    status, out, errors = held.call("status")
    assert status == 3 and "gw2 did not answer" in errors and "run site.yml first" in errors
    titles, line = out.splitlines()
    assert titles.split()[:4] == ["GATEWAY", "QUEUE", "OLDEST", "HELD"]
    assert line.split()[:2] == ["gw1", "3"] and " outbound " in line and " d " in line


# the queue


def waiting(root: Path, number: int, sender: str, remote: str, hours: float = 1) -> None:
    """A message in a gateway's queue; `remote` is its file of recipients, with spaces for NUL."""
    queue = root / "var/qmail/queue"
    born = time.time() - 3600 * hours
    texts = {"mess": b"Subject: =?utf-8?q?f=1b=5B2J?=\n\nhello\n", "info": f"F{sender}\0".encode()}
    texts["remote"] = remote.replace(" ", "\0").encode() + b"\0"
    for name, text in texts.items():
        path = queue / name / str(number % 23) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        os.utime(path, (born, born))


def recipients(root: Path, number: int) -> Path:
    """Its file of recipients."""
    return root / f"var/qmail/queue/remote/{number % 23}/{number}"


SVC = """#!/bin/sh
echo "$*" >> {folder}/told
[ "$1" != -d ] || touch {folder}/down
"""
SVSTAT = """#!/bin/sh
echo "$1: up (pid 7) 60 seconds"
"""


@pytest.fixture
def queues(site: Site, quick: None, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Two gateways with a qmail-send that ends when supervise tells it to, and the messages of two senders."""
    programs = site.folder / "command"
    programs.mkdir()
    for name, text in (("svc", SVC), ("svstat", SVSTAT)):
        (programs / name).write_text(text.format(folder=site.folder))
        (programs / name).chmod(0o755)
    monkeypatch.setattr(supervise, "PATH", f"{programs}:{supervise.PATH}")
    for host in ("gw1", "gw2"):
        root = site.root(host)
        (root / "var/qmail/queue/lock").mkdir(parents=True)
        (root / "var/qmail/queue/lock/sendmutex").touch()
        (root / "var/log/gatescan").mkdir(parents=True)
        (root / "var/log/gatescan/messages.jsonl").touch()
    waiting(site.root("gw1"), 101, "app@corp.test", f"Dx@far.test T{ANN} Tben@far.test")
    waiting(site.root("gw2"), 202, "app@corp.test", "Tben@far.test", hours=72)
    waiting(site.root("gw2"), 203, "", f"T{ANN}")
    return site


def test_what_waits_is_listed_the_oldest_first_and_harmless(queues: Site) -> None:
    status, out, _ = queues.call("queue", "list")
    assert status == 0 and [line.split()[2:4] for line in out.splitlines()[1:]] == [
        ["gw2", "202"],
        ["gw1", "101"],
        ["gw2", "203"],
    ]
    assert "<>" in out and "x@far.test" not in out and "\x1b" not in out
    for words, numbers in (
        (["--to", "@far.test"], {101, 202}),
        (["--from", "<>"], {203}),
        (["--older", "2d"], {202}),
        (["203"], {203}),
    ):
        _, out, _ = queues.call("queue", "list", "--json", *words)
        assert {json.loads(line)["msg"] for line in out.splitlines()} == numbers, words


def test_a_held_message_waits_over_a_flush_until_it_is_resumed(queues: Site) -> None:
    file, other = recipients(queues.root("gw1"), 101), recipients(queues.root("gw2"), 203)
    status, out, _ = queues.call("queue", "hold", "--from", "app@corp.test")
    assert status == 0 and "gw1: 1 message: held" in out
    assert file.stat().st_mtime > time.time() + 86_400 * 365 and other.stat().st_mtime < time.time()
    assert '"state": "held"' in queues.call("queue", "list", "--json", "101")[1]
    assert queues.call("queue", "flush")[0] == 0
    assert file.stat().st_mtime > time.time() + 86_400 * 365
    assert other.stat().st_mtime == pytest.approx(time.time(), abs=60), "what is not held is tried now"
    assert queues.call("queue", "resume", "101")[0] == 0
    assert file.stat().st_mtime == pytest.approx(time.time(), abs=60)
    assert queues.call("queue", "resume", "101")[0] == 1, "there is nothing to resume any more"
    lines = fitting("messages", (queues.root("gw1") / "var/log/gatescan/messages.jsonl").read_text())
    assert [(line["event"], line["by"]) for line in lines] == [(f"queue-{e}", ask.who()) for e in ("hold", "resume")]


@pytest.mark.usefixtures("quick")
def test_what_of_the_queue_there_is_no_time_for_is_counted(queues: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask.Fleet, "working_seconds", 59.0)
    status, out, errors = queues.call("queue", "hold", "--to", "*")
    assert (status, out.count("0 messages: held")) == (1, 2) and errors.count("more were not tried") == 2


@pytest.mark.usefixtures("quick")
def test_a_pipe_in_a_logs_place_keeps_nobody_waiting(queues: Site) -> None:
    path = queues.root("gw1") / "var/log/gatescan/messages.jsonl"
    path.unlink()
    os.mkfifo(path)
    assert queues.call("queue", "hold", "--to", "*")[1].count(": held") == 2
    assert queues.call("trace", "--to", "*")[0] == 1


def test_a_drop_asks_takes_those_recipients_alone_and_keeps_a_copy(queues: Site) -> None:
    status, out, errors = queues.call("queue", "drop", "--to", "@far.test")
    assert status == 2 and "nothing was done" in errors and "101" in out
    assert b"Tben@far.test" in recipients(queues.root("gw1"), 101).read_bytes()
    status, out, _ = queues.call("queue", "drop", "--to", "@far.test", "--yes")
    assert status == 0 and "gw1: 1 message: dropped" in out
    text = f"Dx@far.test T{ANN} Dben@far.test ".replace(" ", "\0").encode()
    assert recipients(queues.root("gw1"), 101).read_bytes() == text
    (copy,) = (queues.root("gw1") / "var/lib/gatewright/dropped").iterdir()
    assert copy.read_bytes().endswith(b"\n\nhello\n") and copy.stat().st_mode & 0o777 == 0o600
    (record,) = fitting("messages", (queues.root("gw1") / "var/log/gatescan/messages.jsonl").read_text())
    assert (record["event"], record["msg"], record["to"]) == ("queue-drop", 101, ["ben@far.test"])
    os.utime(copy, (1, 1))
    queues.call("queue", "list")
    assert not copy.exists(), "a copy goes away after its day"


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="no systemd-tmpfiles here (Debian's systemd)")
def test_copies_of_what_was_dropped_go_after_their_day_over_a_restart_too(tmp_path: Path) -> None:
    folder, rule = tmp_path / "var/lib/gatewright/dropped", "etc/tmpfiles.d/gatewright-dropped.conf"
    folder.mkdir(parents=True)
    for name, age in (("old.eml", 2 * queue.KEPT), ("new.eml", queue.KEPT / 2)):
        (folder / name).touch()
        os.utime(folder / name, (time.time(), time.time() - age))
    (tmp_path / rule).parent.mkdir(parents=True)
    shutil.copyfile(PROJECT / "roles/qmail/files" / rule, tmp_path / rule)
    subprocess.run(["systemd-tmpfiles", "--clean", f"--root={tmp_path}", tmp_path / rule], check=True)
    assert [path.name for path in folder.iterdir()] == ["new.eml"]


def test_the_queue_is_changed_while_no_qmail_send_runs_and_it_is_started_again(queues: Site) -> None:
    told, lock = queues.folder / "told", queues.root("gw1") / "var/qmail/queue/lock/sendmutex"
    with lock.open("r+") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        work = queue.Work(queues.root("gw1"), queue.Request("hold", ids=(101,), wait=0.3))
        with pytest.raises(Refusal, match="nothing was changed"):
            work.answer()
    assert [line.split()[0] for line in told.read_text().splitlines()] == ["-d", "-u"]
    assert recipients(queues.root("gw1"), 101).stat().st_mtime < time.time()
    service = queue.Service(queues.root("gw1"))
    child = os.fork()
    if child == 0:
        with service.stopped(5):
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    deadline = time.monotonic() + 30
    while len(told.read_text().splitlines()) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told.read_text().splitlines()[3].startswith("-u "), "also after its process was killed"


def test_status_says_why_the_last_pull_of_a_gateway_failed(tmp_path: Path) -> None:
    for name, text in (("usr/bin/gatescan", "#!/bin/sh\n"), ("var/qmail/control/me", "gw1.corp.test\n")):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    assert "pull" not in gateway_status.look({}, tmp_path)
    last = {"result": "failed", "why": "sshd_port: must be a number", "commit": "c0ffee" * 6, "applied": 1, "at": 2}
    path = tmp_path / "var/lib/gatewright/pull/last.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(last))
    found = gateway_status.look({}, tmp_path)
    assert found["pull"]["result"] == "failed"
    assert not fleet_status.is_well(found)
    assert "pull of c0ffeec0ffee failed: sshd_port: must be a number" in fleet_status.row("gw1", found)[-1]
    path.write_text(json.dumps(last | {"result": "ok"}))
    assert fleet_status.is_well(gateway_status.look({}, tmp_path))
