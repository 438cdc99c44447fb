"""`gw trace`, `quarantine`, `queue` and `status` on a gateway of the lab: what they tell of mail that was sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import PROGRAM, USER, send, with_file

from lab.machine import environment
from lab.topology import PROJECT

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: unit tests read generated logs")


def gw(gateway: Gateway, *words: str, statuses: tuple[int, ...] = (0,)) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "gatewright.fleet", *words, "-i", "inventory/lab", "--limit", gateway.name]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode in statuses, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def objects(gateway: Gateway, *words: str) -> list[dict[str, Any]]:
    """The same as objects; none is no failure."""
    return [json.loads(line) for line in gw(gateway, *words, "--json", statuses=(0, 1)).splitlines()]


def traced(gateway: Gateway, mark: str, fate: str, **filters: str) -> dict[str, Any]:
    """The only message with a subject, once its fate is the one."""
    words = [word for name, value in filters.items() for word in (f"--{name}", value)] or ["--subject", mark]

    def look() -> dict[str, Any] | None:
        return next((one for one in objects(gateway, "trace", *words) if one["fate"] == fate), None)

    return eventually(look, what=f"{fate}: {objects(gateway, 'trace', *words)}")


@pytest.fixture
def cut_off(gateway: Gateway) -> Iterator[None]:
    """Nothing leaves the queue."""
    gateway.run("gatewright-cutoff", "cut", "outbound")
    yield
    gateway.run("gatewright-cutoff", "open", "outbound")


def test_a_delivered_message_is_traced_to_the_server_that_took_it(
    gateway: Gateway, outside: Peer, office: Peer
) -> None:
    mark = token()
    assert outside.send(gateway.ipv4, USER, mark=mark).code == 250
    office.arrived(mark)
    found = traced(gateway, mark, "delivered")
    (delivery,) = found["deliveries"]
    assert (found["ip"], found["to"], delivery["result"]) == (outside.ipv4, [USER], "success")
    assert "250" in delivery["text"] and found["msg"] and found["queued"] and found["ended"]
    assert mark in gw(gateway, "trace", "--id", str(found["msg"]))
    assert mark in gw(gateway, "trace", "--to", USER, "--ip", outside.ipv4, "--since", "1h", "-v")


def test_a_bounce_is_traced_with_its_own_delivery(gateway: Gateway, office: Peer) -> None:
    mark = token()
    assert office.send(gateway.ipv4, "friend@nowhere.invalid", mark=mark).code == 250
    found = traced(gateway, mark, "bounced")
    assert found["deliveries"][-1]["result"] == "failure" and found["bounce"]["msg"]


def test_a_held_message_is_released_and_traced_to_its_recipient(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    assert send(outside, gateway.ipv4, with_file(mark, "tool.exe", PROGRAM)).code == 250
    held = traced(gateway, mark, "held")["held"]
    assert held in gw(gateway, "quarantine", "list", "--subject", mark)
    assert "released to 1 recipient" in gw(gateway, "quarantine", "release", held)
    office.arrived(f"Subject: {mark}")
    found = eventually(lambda: next(iter(objects(gateway, "trace", "--id", held)), None), what="its trace")
    assert found["fate"] == "released" and "@" in found["events"][0]["by"]
    eventually(lambda: traced(gateway, mark, "released")["delivery"] == "delivered", what="the copy's delivery")


def test_a_message_in_the_queue_is_held_resumed_and_another_dropped(
    gateway: Gateway, outside: Peer, office: Peer, cut_off: None
) -> None:
    kept, dropped = token(), token()
    for mark, to in ((kept, "ann@corp.test"), (dropped, "ben@corp.test")):
        eventually(lambda mark=mark, to=to: outside.send(gateway.ipv4, to, mark=mark).code == 250, what="a 250")  # type: ignore[misc]  # a default is not inferred
        eventually(lambda to=to: objects(gateway, "queue", "list", "--to", to), what="in the queue")  # type: ignore[misc]  # a default is not inferred
    gw(gateway, "queue", "drop", "--to", "ben@corp.test", "--yes")
    gw(gateway, "queue", "hold", "--to", "ann@corp.test")
    gateway.run("gatewright-cutoff", "open", "outbound")
    assert traced(gateway, dropped, "dropped")["events"][0]["event"] == "queue-drop"
    assert [one["state"] for one in objects(gateway, "queue", "list", "--to", "ann@corp.test")] == ["held"]
    gw(gateway, "queue", "resume", "--to", "ann@corp.test")
    office.arrived(kept)
    assert not office.find(dropped)
    assert dropped in gateway.sh("cat /var/lib/gatewright/dropped/*.eml")


def test_a_status_line_knows_the_gateway(gateway: Gateway) -> None:
    (found,) = objects(gateway, "status")
    missing = {"queue", "held", "cutoff", "outbreak", "engines", "certificate", "changed", "version", "doctor"} - set(
        found
    )
    assert not missing and found["certificate"] > 1
    assert gateway.name in gw(gateway, "status", statuses=(0, 1))
