"""A pattern blocked in an outbreak: held at once, still held after a run, and let through once it is lifted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, token
from scanner_lab import Scanner

OUTBREAK = "playbooks/outbreak.yml"


@pytest.fixture(autouse=True)
def nothing_blocked(gateway: Gateway) -> Iterator[None]:
    """Whatever a test blocks is lifted."""
    yield
    Scanner(gateway).lift_all()


def held(gateway: Gateway, mark: str) -> bool:
    """Whether the quarantine has a message with this word."""
    return bool(gateway.sh(f"grep -rlF -e {mark} /var/spool/gatescan/quarantine || true").strip())


def send(outside: Peer, gateway: Gateway, subject: str, mark: str) -> None:
    """Send a message with a subject; it is taken, whatever becomes of it."""
    message = f"From: a@world.test\r\nTo: user@corp.test\r\nSubject: {subject}\r\n\r\n{mark}\r\n"
    reply = outside.send(gateway.ipv4, "user@corp.test", message)
    assert reply.code == 250, reply


def test_a_subject_is_blocked_over_a_run_until_it_is_lifted(gateway: Gateway, outside: Peer, office: Peer) -> None:
    word = token()
    pattern: dict[str, object] = {"subject": f".*{word}.*"}
    first, second, third, other = (token() for _ in range(4))
    assert playbook(OUTBREAK, gateway.name, variables=pattern).changed(gateway.name) == 1
    send(outside, gateway, f"Your {word} invoice", first)
    send(outside, gateway, "Lunch", other)
    office.arrived(other)
    assert held(gateway, first) and not office.find(first)

    playbook("playbooks/site.yml", gateway.name, "--tags", "scanner")
    send(outside, gateway, f"Your {word} invoice", second)
    assert held(gateway, second) and not office.find(second)

    assert playbook(OUTBREAK, gateway.name, variables={**pattern, "state": "lifted"}).changed(gateway.name) == 1
    send(outside, gateway, f"Your {word} invoice", third)
    office.arrived(third)
    assert not gateway.shell.file("/etc/gatescan/outbreak.txt").exists


@pytest.mark.parametrize(
    "variables",
    [
        {"subject": "(("},
        {"extension": "a b"},
        {"size": 5},
        {"extension": "iso", "filename": "x.zip"},
        {"state": "lifted"},
    ],
    ids=lambda item: "+".join(item),
)
def test_what_is_no_pattern_is_refused_and_changes_nothing(gateway: Gateway, variables: dict[str, object]) -> None:
    playbook(OUTBREAK, gateway.name, variables=variables, succeeds=False)
    assert not gateway.shell.file("/etc/gatescan/outbreak.txt").exists
