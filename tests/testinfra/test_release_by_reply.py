"""Release by mail on two gateways of the lab: the notice comes from one, the reply goes through the other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, lab_host, token
from scanner_lab import PROGRAM, Scanner, send, with_file

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(
    not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: the small gateway's test is like it"
)
SITE, TAGS, MINUTES = "playbooks/site.yml", "scanner", 900
ON = {
    "scanner_release_by_mail": True,
    "scanner_release_key": "0123456789abcdef0123456789abcdef",
    "scanner_daily_digest": True,
    "qmail_me": "{{ inventory_hostname }}.corp.test",
}
UNITS = ("gatescan-answers.path", "gatescan-digest.timer")


@pytest.fixture(scope="module")
def switched_on(gateway: Gateway) -> Iterator[None]:
    """Both gateways release by mail; afterwards nothing of it is left."""
    playbook(SITE, "gateways", "--tags", TAGS, variables=ON, seconds=MINUTES)
    yield
    playbook(SITE, "gateways", "--tags", TAGS, seconds=MINUTES)
    for unit in UNITS:
        assert gateway.sh(f"systemctl is-active {unit} || true").strip() == "inactive"
    assert (
        gateway.sh("ls /etc/gatescan/release.key /var/qmail/alias/.qmail-held-mail-default 2>/dev/null || true") == ""
    )


def held_for(scanner: Scanner, outside: Peer, office: Peer, local: str) -> tuple[str, str, str]:
    """A message that is held: its mark, its id, and the address that the recipient's notice or digest names."""
    mark = token()
    assert send(outside, scanner.gateway.ipv4, with_file(mark, "tool.exe", PROGRAM), local).code == 250
    held = scanner.held(mark)["id"]
    scanner.gateway.run("systemctl", "start", "gatescan-digest.service")

    def named() -> str:
        texts = [office.run("cat", path) for path in office.find(mark)]
        found = [
            re.search(rf"{held}.*?(held-mail-\S+)", text, re.DOTALL) for text in texts if f"\nTo: {local}\n" in text
        ]
        return next((match[1] for match in found if match), "")

    return mark, held, eventually(named, what="a digest with an address")


def reply(peer: Peer, server: str, author: str, address: str) -> None:
    """Somebody writes to an address."""
    message = f"From: {author}\r\nTo: {address}\r\nSubject: Re: held\r\n\r\nplease\r\n"
    assert peer.send(server, address, message, sender=author).code == 250


@pytest.mark.parametrize("through", ["gw1", "gw2"])
def test_a_reply_through_either_gateway_releases_the_message_once(
    switched_on: None, gateway: Gateway, outside: Peer, office: Peer, through: str
) -> None:
    scanner, local = Scanner(gateway), f"{token()}@corp.test"
    mark, held, address = held_for(scanner, outside, office, local)
    server = Gateway(lab_host(through)).ipv4
    reply(outside, gateway.ipv4, local, address)
    for _ in range(2):
        reply(office, server, local, address)

    def releases() -> list[str]:
        return [line["by"] for line in scanner.lines('"event":"release"') if line["held"] == held]

    eventually(releases, what="a release")
    gateway.wait_for_empty_queue()
    released = [path for path in office.find(mark) if "by gatescan answers at" in office.run("cat", path)]
    assert len(released) == 1 and releases() == [f"{local} by mail"]


def test_no_user_of_the_scanner_can_read_the_key(switched_on: None, gateway: Gateway) -> None:
    for user in ("gatescan", "gatescan-notify", "qmaild"):
        denied = gateway.sh(f"/command/setuidgid {user} cat /etc/gatescan/release.key 2>&1 || true")
        assert "Permission denied" in denied
