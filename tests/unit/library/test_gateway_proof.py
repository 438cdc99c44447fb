"""gateway_proof: what a run says at its end when mail does not flow, and when it only cannot be seen from here."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gateway_proof
import pytest
from on_gateway import proof

from tests import actions

action = actions.load("gateway_proof")

ME = "gw1.example.org"


@pytest.mark.parametrize(
    ("line", "error", "seen", "problem", "remark"),
    [
        ("220 gw1.example.org ESMTP", "", {}, "", ""),
        ("", "timed out", {"arrived": True}, "although its calls reach the host", ""),
        ("", "timed out", {"arrived": None}, "nft list ruleset", ""),
        ("", "timed out", {"arrived": False}, "", "the network between"),
        ("", "Connection refused", {"arrived": True}, "Connection refused", ""),
        ("220 mail1 Postfix", "", {"arrived": True}, "'220 mail1 Postfix'", ""),
        ("421 gw1.example.org mail is cut off", "", {"cut": True}, "", "cut off"),
        ("", "closed", {"denied": True, "arrived": True}, "", "tcp_smtp_deny"),
    ],
)
def test_port_25_as_the_controller_sees_it(
    line: str, error: str, seen: dict[str, Any], problem: str, remark: str
) -> None:
    wrong, remarked = action.judge_greeting(line, error, ME, seen)
    assert (bool(wrong), bool(remarked)) == (bool(problem), bool(remark))
    assert problem in wrong and remark in remarked


@pytest.mark.parametrize(
    ("code", "fate", "problem", "remark"),
    [
        (250, {"fate": "delivered"}, "", ""),
        (
            250,
            {"fate": "deferred", "words": "Sorry,_I_wasn't_able_to_connect"},
            "",
            "waits in the queue: Sorry, I wasn't",
        ),
        (250, {"fate": "queued"}, "", "has not ended"),
        (250, {"fate": "failed", "words": "No_such_user"}, "came back: No such user", ""),
        (250, {"fate": "absent"}, "does not know it", ""),
        (451, {}, "451 the scanner", ""),
    ],
)
def test_the_message_to_the_postmaster(code: int, fate: dict[str, Any], problem: str, remark: str) -> None:
    proved = {"sender": f"proof@{ME}", "code": code, "reply": "the scanner is not there"}
    wrong, remarked = action.judge_message(proved, fate)
    assert (bool(wrong), bool(remarked)) == (bool(problem), bool(remark))
    assert problem in wrong and remark in remarked


def test_without_a_change_no_message_is_sent_and_nothing_is_said() -> None:
    assert action.judge_message({"sender": ""}, {}) == ("", "")


class Sent:
    """The action with a host that answers as it is told, and what was asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, greeting: str = f"220 {ME} ESMTP", **options: Any) -> None:
        self.modules: list[str] = []
        self.calls: list[str] = []
        self.own = object.__new__(action.ActionModule)
        self.own._task = SimpleNamespace(args={"me": ME, **options}, check_mode=False)
        self.own._templar = SimpleNamespace(template=lambda text: text)
        monkeypatch.setattr(action.ActionBase, "run", lambda *_: {})
        monkeypatch.setattr(action, "greeting", lambda *_, **__: (greeting, "" if greeting else "timed out"))
        monkeypatch.setattr(self.own, "_execute_module", self._module)
        monkeypatch.setattr(self.own, "_low_level_execute_command", self._command)
        self.answer = self.own.run(task_vars={"inventory_hostname": "gw1"})

    def _module(self, name: str, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        self.modules.append(name)
        return {"resolves": True, "sender": "", "arrived": True}

    def _command(self, command: str, sudoable: bool) -> dict[str, Any]:
        self.calls.append(command)
        return {"stdout": "192.0.2.1 1 192.0.2.2 22"}


def test_what_the_survey_proved_inside_is_not_asked_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Sent(monkeypatch, inside=True, controller="192.0.2.1")
    assert (sent.modules, sent.calls) == ([], [])
    assert "failed" not in sent.answer and not sent.answer["remarks"]
    assert Sent(monkeypatch).modules == ["gateway_proof"]


def test_port_25_is_called_even_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Sent(monkeypatch, greeting="", inside=True, controller="192.0.2.1").answer["failed"]


def test_the_end_of_a_run_is_noted_once_mail_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Sent(monkeypatch, note="/x/last-run").modules == ["gateway_proof", "ansible.legacy.file"]
    assert "ansible.legacy.file" not in Sent(monkeypatch, greeting="", note="/x/last-run").modules
    assert Sent(monkeypatch, note="").modules == ["gateway_proof"]


def test_an_answer_that_is_none_of_a_name_servers_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            server.sendto(b"", server.recvfrom(512)[1])

        serving = threading.Thread(target=answer)
        serving.start()
        assert "0 bytes" in proof.resolve("example.org", attempts=1, server=server.getsockname())
        serving.join()


def test_a_message_is_due_once_after_each_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, stamp = tmp_path / "etc", tmp_path / "proved"
    (place / "service" / "supervise").mkdir(parents=True)
    slots = place / "qmail-smtpd" / "slots"
    slots.parent.mkdir(parents=True)
    monkeypatch.setattr(proof, "SEEN", (str(place),))
    not_seen = [name.replace("/var/qmail/supervise", str(place)) for name in proof.NOT_SEEN]
    monkeypatch.setattr(proof, "NOT_SEEN", not_seen)
    assert proof.is_due(stamp)
    stamp.write_text("")
    (place / "service" / "supervise" / "status").write_text("written by supervise all the time")
    slots.write_text("written by every connection")
    assert not proof.is_due(stamp)
    (place / "tcp.smtp").write_text("")
    assert proof.is_due(stamp)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "192.0.2.7"), (socket.AF_INET6, "2001:db8::7")])
def test_a_call_to_port_25_is_told_from_other_packets(family: socket.AddressFamily, address: str) -> None:
    caller, other = socket.inet_pton(family, address), bytes(len(socket.inet_pton(family, address)))
    four = family == socket.AF_INET

    def packet(source: bytes, port: int) -> bytes:
        head = (
            b"\x45" + bytes(8) + b"\x06" + bytes(2) + source + bytes(4)
            if four
            else b"\x60" + bytes(5) + b"\x06\x40" + source + bytes(16)
        )
        return head + (1024).to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(16)

    assert gateway_proof.is_call(packet(caller, 25), family, caller)
    assert not gateway_proof.is_call(packet(caller, 22), family, caller)
    assert not gateway_proof.is_call(packet(other, 25), family, caller)


def test_the_greeting_is_read_or_the_error_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def greet() -> None:
            link, _ = server.accept()
            with link:
                link.sendall(b"220 gw1.example.org ESMTP\r\n")

        threading.Thread(target=greet, daemon=True).start()
        assert action.greeting("127.0.0.1", port) == ("220 gw1.example.org ESMTP", "")
    line, error = action.greeting("127.0.0.1", port)
    assert line == "" and error
