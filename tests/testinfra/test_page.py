"""`gw console` over a real gateway: its figures are the gateway's, and what is done on a page is done there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from lab_hosts import Gateway, Peer, eventually, token
from page import Browser, console, served
from scanner_lab import PROGRAM, Scanner, delivered, send, with_file
from test_browser import BROWSER, DRIVER, Chromium, chromium

from gatewright.fleet.ask import who

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(
    not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: unit tests click through it over gateways of files"
)
CUT = ("verb", "cut")
__all__ = ["chromium"]  # a fixture


@pytest.fixture
def browser(gateway: Gateway) -> Iterator[Browser]:
    """A page over this gateway."""
    with console("-i", "inventory/lab", "--limit", gateway.name) as opened:
        yield opened


@pytest.fixture
def mended(gateway: Gateway) -> Iterator[None]:
    """Nothing is blocked or cut off afterwards, whatever becomes of the test."""
    yield
    gateway.run("gatewright-cutoff", "open", "both")
    Scanner(gateway).lift_all()


def noted(gateway: Gateway, since: str) -> list[str]:
    """What the host's journal has of blocks and cut-offs, without their time."""
    told = gateway.run("journalctl", "--quiet", "--identifier=gatewright", "--output=cat", f"--since={since}")
    return told.splitlines()


def now(gateway: Gateway) -> str:
    """The gateway's time as its journal has it."""
    return gateway.run("date", "+%F %T").strip()


def test_the_overview_has_the_gateways_own_figures(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    assert outside.send(gateway.ipv4, "ann@corp.test", mark=mark).code == 250
    office.arrived(mark)
    gateway.wait_for_empty_queue()
    with console("-i", "inventory/lab", "--limit", gateway.name) as browser:
        html, text = browser.page.html, browser.page.text
    figures = {name: int(number) for number, name in re.findall(r"<b>(\d+)</b> ([a-z ]+)</p>", html)}
    lines = Scanner(gateway).lines('"verdict":')
    recent = float(gateway.run("date", "+%s")) - 86_400
    assert figures["messages judged"] == sum(line["time"] > recent and "event" not in line for line in lines)
    assert figures["held now"] == len(Scanner(gateway).entries("--state", "held"))
    assert figures["in the queues now"] == 0
    release = gateway.run("gatescan", "version").split()[-1]
    assert f" {gateway.name} " in text and f" {release} " in text and "ann@corp.test" in text


def test_a_held_message_is_looked_at_released_and_arrives(
    gateway: Gateway, outside: Peer, office: Peer, browser: Browser
) -> None:
    mark, scanner = token(), Scanner(gateway)
    assert send(outside, gateway.ipv4, with_file(mark, "tool.exe", PROGRAM)).code == 250
    held = scanner.held(mark)["id"]
    assert mark in browser.open("/quarantine").text
    shown = browser.open(f"/message?gateway={gateway.name}&id={held}").text
    assert "tool.exe" in shown and mark in shown and "It is held because" in shown
    assert f"{held} released to 1 recipient" in browser.send("/do/held", ("verb", "release")).text
    eventually(lambda: delivered(office, mark), what="the released message")
    (event,) = [line for line in scanner.lines('"event":"release"') if line["held"] == held]
    assert event["by"] == who()
    assert mark not in browser.open("/quarantine").text


@pytest.mark.skipif(not (DRIVER and BROWSER), reason="no chromium with chromium-driver here (Debian packages)")
def test_a_message_is_released_in_a_real_browser(
    gateway: Gateway, outside: Peer, office: Peer, chromium: Chromium
) -> None:
    mark = token()
    assert send(outside, gateway.ipv4, with_file(mark, "tool.exe", PROGRAM)).code == 250
    held = Scanner(gateway).held(mark)["id"]
    with served("-i", "inventory/lab", "--limit", gateway.name) as address:
        chromium.open(address)
        assert chromium.title.startswith("Overview") and gateway.name in chromium.text()
        for name in ("Trace", "Queue", "Outbreak", "Cut-off", "Quarantine"):
            chromium.click(f"nav a[href='/{name.lower().replace('-', '')}']")
            assert chromium.title.startswith(name)
        chromium.click(f"a[href*='{held}']")
        assert mark in chromium.text("h1") and "tool.exe" in chromium.text()
        chromium.click("button[value=release]")
        assert f"{held} released to 1 recipient" in chromium.text()
    eventually(lambda: delivered(office, mark), what="the released message")


def test_a_block_holds_what_comes_until_it_is_lifted_and_the_journal_has_both(
    gateway: Gateway, outside: Peer, office: Peer, browser: Browser, mended: None
) -> None:
    word, before, after, began = token(), token(), token(), now(gateway)
    browser.open("/outbreak")
    asked = browser.send("/do/block", kind="name", value=f"{word}.csv", description="Worm", direction="")
    assert "Block this on all gateways?" in asked.text
    assert "1 block in force" in browser.send("/do/block").text
    assert send(outside, gateway.ipv4, with_file(before, f"{word}.csv", b"1,2\n")).code == 250
    assert Scanner(gateway).held(before)["reason"].endswith("Worm")
    rule = browser.open("/outbreak").form("/do/lift").ticks[0]
    assert "0 blocks in force" in browser.send("/do/lift", rule).text
    assert send(outside, gateway.ipv4, with_file(after, f"{word}.csv", b"1,2\n")).code == 250
    eventually(lambda: delivered(office, after), what="the message after the block")
    blocked, lifted = [line for line in noted(gateway, began) if word in line]
    assert blocked.startswith(f"outbreak: {who()} blocked {word}.csv")
    assert lifted.startswith(f"outbreak: {who()} lifted {word}.csv")


def test_mail_is_cut_off_after_a_question_and_given_back(
    gateway: Gateway, outside: Peer, office: Peer, browser: Browser, mended: None
) -> None:
    began, outbound = now(gateway), ("way", "outbound")
    browser.open("/cutoff")
    assert "Cut off outbound mail on all gateways?" in browser.send("/do/cutoff", outbound, CUT).text
    assert "outbound: open" in gateway.run("gatewright-cutoff", "status"), "nothing before the yes"
    assert "outbound: cut off since" in browser.send("/do/cutoff").text
    assert "CUT OFF" in browser.open("/cutoff").text
    mark = token()
    eventually(lambda: outside.send(gateway.ipv4, "ann@corp.test", mark=mark).code == 250, what="a 250")
    eventually(lambda: "ann@corp.test" in gateway.queue(), what="the message waits")
    assert "outbound: open" in browser.send("/do/cutoff", outbound, ("verb", "open")).text
    assert len([office.arrived(mark)]) == len(office.find(mark)) == 1
    assert noted(gateway, began) == [f"cutoff: {who()}: {verb} outbound" for verb in ("cut", "open")]
