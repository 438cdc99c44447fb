"""What gatekeeper's doctor says, and who may give orders."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
from pathlib import Path

import pytest
from gatekeeper import doctor
from gatekeeper.auth.suffixes import LIST
from gatekeeper_rig import Gatekeeper, put, wait_for

ZONE = "list.test"


def told(keeper: Gatekeeper) -> dict[str, tuple[str, str]]:
    """The doctor's checks: what it looked at, to the state and what it says."""
    lines = [json.loads(line) for line in keeper.run("doctor", "--json").stdout.splitlines()]
    return {line["what"].partition(":")[0]: (line["state"], line["what"]) for line in lines}


def test_a_daemon_in_order_is_all_well(keeper: Gatekeeper) -> None:
    put(keeper.place / "export.txt", "ann\nbob\n")
    keeper.names.lists(ZONE)
    lists = {ZONE: {"codes": ["127.0.0.2"]}}
    keeper.start(recipients={"corp.test": {"file": str(keeper.place / "export.txt")}}, dns_lists=lists)
    keeper.wait_for_log("is in order")
    ran = keeper.run("doctor")
    assert ran.returncode == 0
    # the kernel may not know all of a fence
    assert {state for what, (state, _) in told(keeper).items() if what != "fence"} == {"ok"}, ran.stdout
    assert f"{keeper.place}/export.txt: 2 addresses" in ran.stdout and f"DNS list {ZONE}: in order" in ran.stdout


def test_what_is_not_in_order_is_named_with_what_to_do(keeper: Gatekeeper) -> None:
    path = keeper.place / "export.txt"
    rules = {"corp.test": {"file": str(path)}, "other.test": {"file": str(keeper.place / "never.txt")}}
    put(path, "ann\nbob\n")
    lists = {ZONE: {"codes": ["127.0.0.2"]}}
    keeper.start(recipients=rules, dns_lists=lists, state="/nonexistent/state.sqlite")
    put(path, "ann\nbo")
    keeper.wait_for_log("its last line has no end")
    keeper.wait_for_log(f"the DNS list {ZONE} is left out")
    ran = keeper.run("doctor")
    assert ran.returncode == 1
    for line in (
        "BROKEN   state: /nonexistent/state.sqlite cannot be written",
        f"WARNING  recipients: {path}: its last line has no end",
        f"BROKEN   recipients: {keeper.place}/never.txt: ",
        f"WARNING  DNS list {ZONE}: left out: it does not list 127.0.0.2",
        "`gatekeeper accept FILE`",
    ):
        assert line in ran.stdout, ran.stdout


def test_a_database_that_is_locked_or_was_corrupt_is_named(keeper: Gatekeeper) -> None:
    keeper.state.write_bytes(b"no database, but long enough to be read as one" * 200)
    keeper.start()
    keeper.wait_for_log("state.sqlite was corrupt")
    state, what = told(keeper)["state"]
    assert (state, what) == (
        "warning",
        f"state: it was corrupt and was made anew; the old one is {keeper.state}.corrupt",
    )
    database = sqlite3.connect(keeper.state, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    assert told(keeper)["state"] == ("broken", f"state: {keeper.state} cannot be written: database is locked")
    database.close()
    keeper.state.with_name("state.sqlite.corrupt").unlink()
    assert told(keeper)["state"][0] == "ok"


@pytest.mark.parametrize("way", ["mute", "gone"])
def test_a_dead_name_server_is_named_where_it_is_needed(keeper: Gatekeeper, way: str) -> None:
    keeper.start()
    assert "name server" not in told(keeper)
    keeper.reload(recipients={"corp.test": {"callout": True}})
    assert told(keeper)["name server"] == ("ok", f"name server: 127.0.0.1:{keeper.names.port} answers")
    keeper.names.is_soft = True
    assert told(keeper)["name server"][0] == "ok", "a domain's failure is not its own"
    if way == "mute":
        keeper.names.is_mute = True
    else:
        keeper.reload(recipients={"corp.test": {"callout": True}}, name_server_port=1)
    assert told(keeper)["name server"][0] == "broken"


@pytest.mark.skipif(not LIST.exists(), reason="Debian's package publicsuffix is not here")
def test_who_says_who_mail_is_from_comes_and_goes_with_its_switch(keeper: Gatekeeper) -> None:
    keeper.start()
    assert "authentication" not in told(keeper)
    assert not keeper.authentication.exists()
    keeper.reload(authentication=True)
    assert told(keeper)["authentication"] == ("ok", f"authentication: answers on {keeper.authentication}")
    keeper.reload()
    assert not keeper.authentication.exists()
    keeper.configure(authentication=True)
    state, what = told(keeper)["authentication"]
    assert (state, what) == ("broken", f"authentication: {keeper.authentication}: No such file or directory")


@pytest.mark.parametrize("way", ["never started", "ended", "stopped", "full"])
def test_a_daemon_that_gives_no_answer_is_named(keeper: Gatekeeper, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper.configure()
    sessions = []
    if way != "never started":
        keeper.start(connections=1)
    if way == "ended":
        keeper.stop()
    if way == "full":
        sessions.append(keeper.session())
        assert sessions[0].ask() == "DUNNO"
    if way == "stopped":
        os.kill(keeper.worker, signal.SIGSTOP)
        monkeypatch.setattr(doctor, "PATIENCE", 0.5)
        found = [check for check in doctor.examine(keeper.config) if check.state == "broken"]
        os.kill(keeper.worker, signal.SIGCONT)
        assert found[0].what.startswith("daemon: ")
        return
    assert told(keeper)["daemon"][0] == "broken"
    for session in sessions:
        session.__exit__()


def test_a_daemon_of_the_release_before_that_says_less_is_looked_at(
    keeper: Gatekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(keeper.place / "export.txt", "ann\nbob\n")
    keeper.start(recipients={"corp.test": {"file": str(keeper.place / "export.txt")}})
    said = doctor.order(keeper.socket, "status")
    del said["names"], said["lists"][0]["unserved"]
    monkeypatch.setattr(doctor, "order", lambda *_: said)
    assert any("2 addresses" in check.what for check in doctor.examine(keeper.config))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the child only asks
def test_orders_are_for_root_and_the_daemon_alone(keeper: Gatekeeper) -> None:
    if os.geteuid():
        pytest.skip("root is needed to be another user")
    keeper.start(clients=[12345])
    above = [place for place in keeper.place.parents if "pytest-" in str(place)]  # pytest's, and root's alone
    for place in (keeper.place, *above):
        place.chmod(0o755)
    assert keeper.ask() == "DUNNO"
    assert as_user(12345, keeper.socket) == ["action=DUNNO", ""]
    wait_for(lambda: "an order of who may only ask" in keeper.log, "the line in the log")


def as_user(number: int, path: Path) -> list[str]:
    """What another user hears to a question and to an order."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            ask_as(number, path, writer)
        finally:  # whatever happens, the child is not to go on as a second run of the tests
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as stream:
        return stream.read().splitlines()


def ask_as(number: int, path: Path, told: int) -> None:
    """Become another user, put a question and give an order, and write down what is heard."""
    os.setresuid(number, number, number)
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(20)
        wire.connect(str(path))
        for request in ("smtpd_access_policy", "gatekeeper_status"):
            wire.sendall(f"request={request}\n\n".encode())
            os.write(told, wire.recv(100).strip() + b"\n")
