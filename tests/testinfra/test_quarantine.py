"""What is held can be looked at, given to its recipients once, removed, and goes away by itself."""

from __future__ import annotations

import json

import pytest
from lab_hosts import Gateway, Peer, token
from scanner_lab import PROGRAM, STRANGER, USER, Scanner, delivered, send, with_file

QUARANTINE = ("gatescan", "quarantine")


@pytest.fixture
def scanner(gateway: Gateway) -> Scanner:
    """The gateway's scanner."""
    return Scanner(gateway)


def hold(scanner: Scanner, outside: Peer, *recipients: str) -> tuple[str, str]:
    """Have a message held; its subject and its id."""
    mark = token()
    assert send(outside, scanner.gateway.ipv4, with_file(mark, "tool.exe", PROGRAM), *recipients).code == 250
    return mark, str(scanner.held(mark)["id"])


def test_list_and_show_tell_who_when_what_and_why(scanner: Scanner, outside: Peer) -> None:
    mark, held = hold(scanner, outside, "ann@corp.test", "bob@corp.test")
    gateway = scanner.gateway
    for filters in (
        ["--subject", mark],
        ["--to", "BOB@corp.test"],
        ["--reason", "*EXE*"],
        ["--verdict", "policy", "--since", "1h"],
    ):
        assert held in gateway.run(*QUARANTINE, "list", *filters), filters
    assert held not in gateway.run(*QUARANTINE, "list", "--before", "1h")
    entry = json.loads(gateway.run(*QUARANTINE, "show", "--json", held[-8:]))
    assert (entry["sender"], entry["recipients"]) == (STRANGER, ["ann@corp.test", "bob@corp.test"])
    assert (entry["subject"], entry["remote_ip"], entry["direction"]) == (mark, outside.ipv4, "inbound")
    assert "quarantine-attachments.txt:" in entry["rule"] or entry["code"] == "executable"
    message = gateway.run(*QUARANTINE, "show", "--message", held)
    assert message.startswith("Received: "), "as it came, and nothing of ours in front"
    assert f"Subject: {mark}\n" in message
    gateway.run(*QUARANTINE, "delete", held)


def test_a_release_reaches_the_recipients_exactly_once_and_is_recorded(
    scanner: Scanner, outside: Peer, office: Peer
) -> None:
    gateway = scanner.gateway
    mark, held = hold(scanner, outside)
    assert "released to 1 recipient" in gateway.run(*QUARANTINE, "release", held)
    gateway.wait_for_empty_queue()
    office.arrived(f"Subject: {mark}")
    again = gateway.sh(f"gatescan quarantine release {held} 2>&1; echo status=$?")
    assert "was released before" in again
    assert "status=1" in again
    gateway.wait_for_empty_queue()
    (path,) = delivered(office, mark)
    assert USER in office.run("cat", path)
    assert len(scanner.entries("--subject", f"*{mark}*")) == 1, "it was not held a second time by the same rule"
    assert scanner.held(mark)["state"] == "released"
    (record,) = [line for line in scanner.lines(held) if line.get("event") == "release"]
    assert record["by"] == "root"
    gateway.run(*QUARANTINE, "delete", held)


def test_two_releases_at_once_give_one_copy(scanner: Scanner, outside: Peer, office: Peer) -> None:
    gateway = scanner.gateway
    mark, held = hold(scanner, outside)
    release = f"gatescan quarantine release {held} 2>&1"
    told = gateway.sh(f"{release} & {release} & {release} & wait")
    assert told.count("released to 1") == 1, told
    gateway.wait_for_empty_queue()
    office.arrived(f"Subject: {mark}")
    assert len(delivered(office, mark)) == 1
    gateway.run(*QUARANTINE, "delete", held)


def test_what_is_deleted_is_gone_and_recorded(scanner: Scanner, outside: Peer) -> None:
    mark, held = hold(scanner, outside)
    assert f"{held} deleted" in scanner.gateway.run(*QUARANTINE, "delete", held)
    assert scanner.entries("--subject", f"*{mark}*") == []
    assert held not in scanner.gateway.run("ls", "-R", "/var/spool/gatescan/quarantine")
    assert [line["event"] for line in scanner.lines(held) if "event" in line] == ["delete"]


def test_the_timer_removes_what_is_past_its_days_and_nothing_else(scanner: Scanner, outside: Peer) -> None:
    gateway = scanner.gateway
    old, old_id = hold(scanner, outside)
    new, new_id = hold(scanner, outside)
    # Aged in its own entry, which is where the days are counted from.
    entry = scanner.held(old)["time"]
    place = f"/var/spool/gatescan/quarantine/new/{old_id}"
    gateway.sh(f'sed -i \'1s/"time":{entry}/"time":{entry - 31 * 86400}/\' {place} && chown gatescan: {place}')
    gateway.sh("rm -f /var/spool/gatescan/quarantine/index.sqlite*")  # an index is made anew from the messages
    gateway.run("systemctl", "start", "gatescan-expire.service")
    assert gateway.run("systemctl", "is-active", "gatescan-expire.timer").strip() == "active"
    assert scanner.entries("--subject", f"*{old}*") == []
    assert [found["id"] for found in scanner.entries("--subject", f"*{new}*")] == [new_id]
    assert [line["event"] for line in scanner.lines(old_id) if "event" in line] == ["expire"]
    gateway.run(*QUARANTINE, "delete", new_id)
