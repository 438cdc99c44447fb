"""Who hears of a held message: the administrator and its local recipients, never its sender."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab_hosts import Gateway, Peer, token
from scanner_lab import PROGRAM, STRANGER, Scanner, order, send, send_all, with_file

ADMIN = "admin@corp.test"
SPOOL = "/var/spool/gatescan/notices"


@pytest.fixture
def scanner(gateway: Gateway) -> Iterator[Scanner]:
    """The scanner with no notice waiting and none sent lately; its sender waits until `tell`."""
    gateway.stop("gatescan-notify")
    gateway.sh(f"rm -f {SPOOL}/*.json {SPOOL}/.[!.]*")
    yield Scanner(gateway)
    gateway.sh(f"rm -f {SPOOL}/*.json {SPOOL}/.[!.]*")
    gateway.run("/command/svc", "-u", "/service/gatescan-notify")


def tell(scanner: Scanner) -> None:
    """Send the notices that are due, as the supervised loop does."""
    scanner.gateway.run("/command/setuidgid", "gatescan-notify", "gatescan", "notify")
    scanner.gateway.wait_for_empty_queue()


def notices(office: Peer, mark: str) -> dict[str, str]:
    """The notices that name a message, by whom they are to."""
    found = {}
    for path in office.find(mark):
        text = office.run("cat", path)
        if "\nX-Gatescan-Notice: 1\n" in text:
            found[text.partition("\nTo: ")[2].partition("\n")[0]] = text
    return found


def test_administrator_and_local_recipient_hear_and_the_sender_does_not(
    scanner: Scanner, outside: Peer, office: Peer
) -> None:
    mark, name = token(), token()
    local, hidden = f"{name}@corp.test", f"hidden.{name}@corp.test"
    assert send(outside, scanner.gateway.ipv4, with_file(mark, "tool.exe", PROGRAM), local, hidden).code == 250
    held = scanner.held(mark)["id"]
    tell(scanner)
    office.arrived(mark)
    found = notices(office, mark)
    assert set(found) == {ADMIN, local, hidden}
    for text in found.values():
        assert held in text, "the number to ask for"
        assert "\nReturn-Path: <>\n" in f"\n{text}"
    assert hidden not in found[local], "nobody learns of another recipient"
    assert hidden not in found[ADMIN].partition("X-Gatescan-Notice")[2]
    assert not outside.find(mark), f"{STRANGER} may be anybody"
    scanner.forget(mark)


@pytest.mark.parametrize(
    ("sender", "header"),
    [
        pytest.param("", "", id="a bounce"),
        pytest.param(STRANGER, "List-Id: <news.world.test>\n", id="a list"),
        pytest.param(STRANGER, "Precedence: bulk\n", id="bulk"),
        pytest.param(STRANGER, "Auto-Submitted: auto-generated\n", id="a robot"),
    ],
)
def test_nobody_hears_of_bounces_lists_and_robots(scanner: Scanner, outside: Peer, sender: str, header: str) -> None:
    mark = token()
    message = with_file(mark, "tool.exe", PROGRAM, header)
    assert send(outside, scanner.gateway.ipv4, message, sender=sender).code == 250
    scanner.held(mark)
    assert scanner.gateway.run("ls", SPOOL) == ""
    scanner.forget(mark)


def test_many_held_messages_make_one_notice(scanner: Scanner, outside: Peer, office: Peer) -> None:
    first, rest = token(), token()
    local = f"{token()}@corp.test"
    server = scanner.gateway.ipv4
    assert send(outside, server, with_file(first, "tool.exe", PROGRAM), local).code == 250
    scanner.held(first)
    tell(scanner)
    office.arrived(first)
    orders = [order(server, with_file(f"{rest}.{n}.", "tool.exe", PROGRAM), local) for n in range(12)]
    assert all(tries[0].code == 250 for tries in send_all(outside, orders, sessions=4))
    tell(scanner)
    assert notices(office, rest) == {}, "within the hour there is no second one"
    window = json.loads(scanner.gateway.run("cat", f"{SPOOL}/sent.json"))
    past = json.dumps({address: at - 3601 for address, at in window.items()})
    scanner.gateway.run("sh", "-c", f"cat > {SPOOL}/sent.json", stdin=past)
    tell(scanner)
    office.arrived(rest)
    found = notices(office, rest)
    assert set(found) == {ADMIN, local}
    assert all(text.count(rest) >= 12 for text in found.values())
    scanner.forget(first)
    scanner.forget(rest)
