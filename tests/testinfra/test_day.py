"""The day of an administrator, as docs/operations.md tells it: its commands are read out of it and run.

"A gateway that died" is told by test_backup.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from lab_hosts import GATEWAYS, Gateway, Peer, eventually, lab_host, token
from scanner_lab import OUTBREAK, PROGRAM, Scanner, delivered, mail, send, with_file
from story import Story, text_of

from lab import hosts

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: other tests look at each command")
MINUTES = 900
PEOPLE = {"@partner.example": "@world.test", "ann@example.org": "ann@corp.test", "app@example.org": "app@corp.test"}
WORM = ".*worm.*\tVirus-Subject:\tThe worm of a Friday"


def story(title: str, gateway: Gateway, inventory: str = "-i inventory/lab", **names: str) -> Story:
    """A story whose gateway is one of the lab's."""
    return Story(title, f"{inventory} --limit {gateway.name}", {**PEOPLE, **names})


def test_a_caller_misses_a_mail(gateway: Gateway, outside: Peer, office: Peer) -> None:
    came, held = token(), token()
    assert outside.send(gateway.ipv4, "ann@corp.test", mark=came).code == 250
    assert send(outside, gateway.ipv4, with_file(held, "tool.exe", PROGRAM), "ann@corp.test").code == 250
    office.arrived(came)
    told = story("A caller misses a mail", gateway)
    trace = "./gw trace INV --to ann@example.org --from @partner.example --since 2d"

    def lines(mark: str) -> list[str]:
        return [line for line in told.run(trace).output.splitlines() if mark in line]

    (line,) = eventually(lambda: [one for one in lines(came) if "  delivered  " in one], what="a delivery")
    assert gateway.name in line and office.ipv4 in line
    (line,) = eventually(lambda: lines(held), what="what is held")
    one = Scanner(gateway).held(held)["id"]
    assert "  held  " in line and one in line
    told.run("./gw quarantine release INV ID", names={"ID": one})
    eventually(lambda: delivered(office, held), what="the released message")
    reached = told.run("./gw trace INV --ip 192.0.2.7", names={"192.0.2.7": outside.ipv4}).output
    assert came in reached and held in reached
    told.was_told_whole()


def test_a_virus_on_a_friday_evening(gateway: Gateway, outside: Peer, office: Peer) -> None:
    worm, scanner = f"worm {token()}", Scanner(gateway)
    told = story("A virus on a Friday evening", gateway)
    with scanner.rules_with(WORM):
        gateway.run("/var/qmail/bin/qmail-scanner-queue", "-g")
        assert send(outside, gateway.ipv4, mail(worm), "ann@corp.test").code == 250
        scanner.held(worm)
    listed = told.run("./gw quarantine list INV --verdict infected --since 1d").output
    assert worm in listed and "ann@corp.test" in listed
    told.run("./gw quarantine release INV --reason '*worm*' --since 1d --all")
    eventually(lambda: delivered(office, worm), what="what was held by mistake")
    told.was_told_whole()


@pytest.fixture
def scanner(gateway: Gateway) -> Iterator[Scanner]:
    """The scanner, which blocks nothing of an outbreak afterwards."""
    yield Scanner(gateway)
    Scanner(gateway).lift_all()


def test_an_outbreak_is_blocked_and_lifted(gateway: Gateway, outside: Peer, office: Peer, scanner: Scanner) -> None:
    told = story("An outbreak: block a pattern", gateway)
    begin = "ansible-playbook INV playbooks/outbreak.yml"
    for options in (
        """ -e '{"subject": ".*Your invoice.*"}'""",
        ''' -e extension=iso -e "description='Worm of 22 November'"''',
        " -e filename=invoice.zip -e size=12345",
        """ -e '{"header": "MAILFROM", "pattern": ".*@bad[.]example"}'""",
    ):
        assert told.run(begin + options).changed(gateway.name) == 1
    shown = told.run(begin).output
    assert "Your invoice" in shown and "Worm of 22 November" in shown and "invoice.zip" in shown and "bad" in shown
    iso, after = token(), token()
    assert send(outside, gateway.ipv4, with_file(iso, "x.iso", b"1"), sender="a@world.test").code == 250
    assert scanner.held(iso)["reason"].endswith("Worm of 22 November")
    told.run(f"{begin} -e extension=iso -e state=lifted")
    assert send(outside, gateway.ipv4, with_file(after, "y.iso", b"1")).code == 250
    told.run(f"{begin} -e everything=true -e state=lifted")
    assert not gateway.shell.file(OUTBREAK).exists
    told.was_told_whole()


@pytest.fixture
def graz(gateway: Gateway, outside: Peer) -> Iterator[Peer]:
    """The server of an office that is new: no gateway knows it, and DNS has its domain already."""
    dns, data = lab_host("dns"), hosts.dns_data([lab_host(name) for name in GATEWAYS])
    domains = outside.run("postconf", "-h", "virtual_mailbox_domains").strip()
    outside.sh(f"postconf -e 'virtual_mailbox_domains = {domains} graz.corp.test' && postfix reload")
    hosts.serve_dns(dns, data + f"@graz.corp.test::{gateway.host.fqdn}:10\n")
    yield outside
    hosts.serve_dns(dns, data)
    outside.sh(f"postconf -e 'virtual_mailbox_domains = {domains}' && postfix reload")


def with_the_office(folder: Path, graz: Peer) -> str:
    """An inventory beside the lab's, to whose lists the lines of the story were added."""
    block = "\n".join(line[4:] for line in text_of("A new office").splitlines() if line.startswith("    "))
    assert block.count("198.51.100.17") == 2
    added = yaml.safe_load(block.replace("198.51.100.17", graz.ipv4).replace("example.org", "corp.test"))
    lab = yaml.safe_load(Path("inventory/lab/group_vars/gateways.yml").read_text())
    (folder / "group_vars").mkdir()
    lists = {name: lab[name] + entries for name, entries in added.items()}
    (folder / "group_vars/gateways.yml").write_text(yaml.safe_dump(lists))
    (folder / "hosts.yml").write_text(yaml.safe_dump({"gateways": {}}))
    return f"-i inventory/lab -i {folder}/hosts.yml"


def test_a_new_office(gateway: Gateway, office: Peer, graz: Peer, tmp_path: Path) -> None:
    told = story("A new office", gateway, with_the_office(tmp_path, graz), **{"example.org": "corp.test"})
    site = "ansible-playbook INV playbooks/site.yml --tags tcp_smtp,smtproutes"
    assert graz.send(gateway.ipv4, "friend@world.test").code == 553
    assert office.send(gateway.ipv4, "ann@graz.corp.test", sender="x@elsewhere.test").code == 250
    try:
        told.run(site, seconds=MINUTES)
        out, inward = token(), token()
        assert graz.send(gateway.ipv4, "friend@world.test", mark=out).code == 250
        graz.arrived(out)
        assert office.send(gateway.ipv4, "ann@graz.corp.test", mark=inward).code == 250
        graz.arrived(inward)
        verified = told.run("ansible-playbook INV playbooks/verify.yml -e verify_recipient=ann@graz.example.org")
        assert "MX of graz.corp.test" in verified.output and "WRONG" not in verified.output
    finally:
        story("A new office", gateway).run(site, seconds=MINUTES)
    told.was_told_whole()


@pytest.fixture
def silent_world(outside: Peer) -> Iterator[None]:
    """The partner's server is down; it is up again at the end."""
    outside.run("systemctl", "stop", "postfix")
    yield
    outside.run("systemctl", "start", "postfix")


def test_a_receiver_that_blocks_us(gateway: Gateway, outside: Peer, office: Peer, silent_world: None) -> None:
    honest, suspect = token(), token()
    told = story("A receiver that blocks us, or a server that is down", gateway)
    for mark, sender in ((honest, "ann@corp.test"), (suspect, "app@corp.test")):
        assert office.send(gateway.ipv4, "bob@world.test", mark=mark, sender=sender).code == 250
    trace = "./gw trace INV --to @partner.example"
    eventually(lambda: told.run(trace).output.count("  deferred  ") >= 2, what="why they wait")
    listed = "./gw queue list INV --to @partner.example"
    assert told.run(listed).output.count("bob@world.test") == 2
    hold = "./gw queue hold INV --from app@example.org"
    told.run(hold)
    outside.run("systemctl", "start", "postfix")
    told.run("./gw queue flush INV --to @partner.example")
    outside.arrived(honest)
    assert "  held  " in told.run(listed).output and not outside.find(suspect)
    assert "then `resume`, or `drop`" in text_of("A receiver that blocks us, or a server that is down")
    told.run(hold, names={"hold": "resume"})
    outside.arrived(suspect)
    told.was_told_whole()


def test_the_first_look_in_the_morning(gateway: Gateway) -> None:
    told = story("The first look in the morning", gateway)
    assert gateway.name in told.run("./gw status INV").output
    told.was_told_whole()
