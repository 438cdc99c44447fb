"""The scanner in the way of real mail: what passes, what is held, and what happens when it is not there."""

from __future__ import annotations

import functools
import json
import re

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import PROGRAM, QUEUE, RULES, USER, Scanner, delivered, mail, marked, send, with_file

from tests.corpus import archives as corpus

BODY = "Grüße, 漢字\n\nFrom the start of a line\n..two dots\n" + "x" * 900 + "\ntrailing space \n"


@functools.cache
def archives() -> dict[str, bytes]:
    """The corpus's messages with archives, by name."""
    return {case.name: case.message for case in corpus.cases()}


def pick(pattern: str) -> bytes:
    """The first of them whose name fits."""
    return next(message for name, message in archives().items() if re.search(pattern, name))


@pytest.fixture
def scanner(gateway: Gateway) -> Scanner:
    """The gateway's scanner."""
    return Scanner(gateway)


@pytest.mark.parametrize("family", [4, 6])
def test_clean_mail_passes_unchanged_with_two_header_lines(
    gateway: Gateway, outside: Peer, office: Peer, family: int
) -> None:
    mark = token()
    message = f"From: someone@world.test\nTo: {USER}\nSubject: {mark}\nX-Odd:  two  spaces\n\n{BODY}".encode()
    server = gateway.ipv4 if family == 4 else gateway.ipv6
    peer = outside.address(31, family)
    assert send(outside, server, message, source=peer).code == 250
    arrived = office.raw(mark)
    before, _, after = arrived.partition("From: someone@world.test\n")
    assert f"From: someone@world.test\n{after}" == message.decode(), "what was sent comes last, byte for byte"
    assert f"Received: from {peer} by {gateway.host.fqdn} with gatescan-" in before
    assert re.search(r"^X-Qmail-Scanner: \S+ \(Clear:RC:0\(" + re.escape(peer) + r"\):", before, re.MULTILINE)


def test_a_name_with_its_exact_size_is_held(scanner: Scanner, outside: Peer, office: Peer) -> None:
    mark = token()
    assert send(outside, scanner.gateway.ipv4, with_file(mark, "Eicar.Com", b"x" * 69)).code == 250
    entry = scanner.held(mark)
    assert "EICAR test virus" in entry["reason"]
    assert entry["recipients"] == [USER]
    assert not delivered(office, mark)
    scanner.forget(mark)


@pytest.mark.parametrize(
    ("pattern", "verdict"),
    [
        pytest.param(r"bomb/gzip$", "limit", id="a bomb of gzip"),
        pytest.param(r"bomb/overlap$", "limit", id="a bomb of overlapping members"),
        pytest.param(r"zip/alone$", "encrypted", id="a zip with a password"),
        pytest.param(r"mixed/7z-in-gzip-in-zip$", "policy", id="a program in a zip in a 7z in a gzip in a zip"),
    ],
)
def test_hostile_mail_is_held_with_its_verdict(scanner: Scanner, outside: Peer, pattern: str, verdict: str) -> None:
    mark = token()
    assert send(outside, scanner.gateway.ipv4, marked(pick(pattern), mark)).code == 250
    assert scanner.held(mark)["verdict"] == verdict
    scanner.forget(mark)


def test_a_program_is_held_by_its_bytes_under_any_name(scanner: Scanner, outside: Peer) -> None:
    mark = token()
    assert send(outside, scanner.gateway.ipv4, with_file(mark, "report.txt", PROGRAM)).code == 250
    assert scanner.held(mark)["code"] == "executable"
    scanner.forget(mark)


def test_two_boundaries_are_ambiguous(scanner: Scanner, outside: Peer) -> None:
    mark = token()
    header = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="one"; boundary="two"\n'
    text = "--one\n\nfor some\n--one--\n--two\n\nfor others\n--two--\n"
    assert send(outside, scanner.gateway.ipv4, mail(mark, text, header)).code == 250
    assert scanner.held(mark)["verdict"] == "ambiguous"
    scanner.forget(mark)


def test_end_to_end_encrypted_mail_arrives_with_a_tag(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    header = (
        'MIME-Version: 1.0\nContent-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"\n'
    )
    text = (
        "--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n"
        "--b\nContent-Type: application/octet-stream\n\n-----BEGIN PGP MESSAGE-----\n\n"
        "hQEMA0ZSvRXKoBplAQf/aaaaaaaaaaaaaaaaaaaaaaaaaaaa\n=abcd\n-----END PGP MESSAGE-----\n--b--\n"
    )
    assert send(outside, gateway.ipv4, mail(mark, text, header)).code == 250
    assert "encrypted-mail" in str(office.arrived(mark)["X-Gatescan-Tag"])


def test_a_message_of_20_mb_passes(gateway: Gateway, outside: Peer, office: Peer) -> None:
    databytes = "/var/qmail/control/databytes"
    mark = token()
    gateway.sh(f"cp -p {databytes} {databytes}.test; echo 50000000 > {databytes}")
    try:
        reply = send(outside, gateway.ipv4, mail(mark, ("0123456789abcde\n" * 1_250_000)), timeout=120)
        assert (reply.stage, reply.code) == ("data", 250), reply
    finally:
        gateway.sh(f"mv {databytes}.test {databytes}")
    path = eventually(lambda: office.find(mark), 120, "20 MB at the office")[0]
    assert int(office.run("stat", "-c", "%s", path)) > 20_000_000
    office.run("rm", path)


def test_each_of_many_recipients_gets_a_clean_message(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    recipients = [f"{mark}.{number}@corp.test" for number in range(40)]
    assert send(outside, gateway.ipv4, mail(mark), *recipients).code == 250
    gateway.wait_for_empty_queue()
    found = eventually(lambda: len(delivered(office, mark)) >= 40 and delivered(office, mark), 60)
    assert len(found) == 40


def test_a_held_message_keeps_a_long_envelope(scanner: Scanner, outside: Peer) -> None:
    mark = token()
    recipients = [f"{mark}.{number}@corp.test" for number in range(100)]  # as many as an outsider may name
    assert send(outside, scanner.gateway.ipv4, with_file(mark, "a.exe", PROGRAM), *recipients).code == 250
    assert scanner.held(mark)["recipients"] == recipients
    scanner.forget(mark)


def test_a_recipient_who_is_not_named_stays_unnamed(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    hidden = f"hidden.{token()}@corp.test"
    assert send(outside, gateway.ipv4, mail(mark), "seen@corp.test", hidden).code == 250
    paths = eventually(lambda: len(found := delivered(office, mark)) == 2 and found, 60, "both copies")
    for path in paths:
        # The office's own server notes whom it delivered to; everything below that came from the gateway.
        from_gateway = office.run("cat", path).partition("Received: ")[2].partition("Received: ")[2]
        assert from_gateway
        assert hidden not in from_gateway


ATTEMPTS = """
import os, socket
from gatescan import config, fence
from gatescan.engines.build import needs_of
from gatescan.gatefence.process import give_up_privileges
settings = config.load()
give_up_privileges()
print(fence.enclose_worker(settings, needs_of(settings)).state)
def attempt(name, step):
    try:
        step()
        print(name, "succeeds")
    except OSError as error:
        print(name, error.errno)
attempt("shell", lambda: os.execv("/bin/sh", ["sh", "-c", "exit 0"]))
attempt("network", lambda: socket.socket())
attempt("qmail", lambda: open("/var/qmail/control/me").close())
attempt("queue", lambda: os.listdir("/var/qmail"))
attempt("journal", lambda: open("/var/log/gatescan/messages.jsonl").close())
attempt("socket", lambda: os.rename("/run/gatescan/gatescan.sock", "/run/gatescan/mine"))
attempt("rules", lambda: open("/var/lib/gatescan/rules.json").close())
attempt("spool", lambda: open("/var/spool/gatescan/tmp/attempt", "w").close())
attempt("tidy", lambda: os.unlink("/var/spool/gatescan/tmp/attempt"))
"""


def test_the_daemon_shuts_itself_in(gateway: Gateway) -> None:
    told = gateway.run("gatescan", "doctor")
    assert re.search(r"^ok +fence: files.* by Landlock \d; system calls filtered.* in \d+ workers$", told, re.MULTILINE)
    done = gateway.sh(f"setuidgid gatescan python3 -I - <<'END'\n{ATTEMPTS}END")
    assert done.split("\n")[:-1] == [
        *("full", "shell 1", "network 1", "qmail 13", "queue 13", "journal 13", "socket 13"),
        *("rules succeeds", "spool succeeds", "tidy succeeds"),
    ]


def test_without_a_daemon_every_message_is_put_off_and_none_passes(
    scanner: Scanner, outside: Peer, office: Peer
) -> None:
    refused, later = token(), token()
    with scanner.down():
        # A client that had to wait for anything would see its own timeout, code 0.
        reply = send(outside, scanner.gateway.ipv4, mail(refused), timeout=20)
        assert (reply.stage, reply.code) == ("data", 451), reply
        done = scanner.gateway.sh(
            f"echo {refused} | QMAILQUEUE={QUEUE} /var/qmail/bin/qmail-inject {USER} 2>&1; echo status=$?"
        )
        assert "status=111" in done, done
        assert "BROKEN   daemon" in scanner.gateway.run("gatescan", "doctor", check=False)
        assert "status=1" in scanner.gateway.sh("gatescan test-installation; echo status=$?")
    assert send(outside, scanner.gateway.ipv4, mail(later)).code == 250
    office.arrived(later)
    assert not delivered(office, refused)
    assert not scanner.lines(refused)


def test_a_daemon_that_hangs_is_waited_for_only_so_long(scanner: Scanner, outside: Peer, office: Peer) -> None:
    refused, later = token(), token()
    order = f"message=$(mktemp) envelope=$(mktemp); echo 'Subject: {refused}' > $message"
    order += f"; printf 'Fa@corp.test\\000T{USER}\\000\\000' > $envelope"
    with scanner.stopped():
        done = scanner.gateway.sh(f"{order}; GATESCAN_TIMEOUT=2 {QUEUE} < $message 1< $envelope; echo status=$?")
        assert re.fullmatch(r"status=(71|72)\n", done), done
    assert send(outside, scanner.gateway.ipv4, mail(later)).code == 250
    office.arrived(later)
    assert not delivered(office, refused)


def test_the_installations_own_test_is_honest_about_engines_that_are_not_there(gateway: Gateway, office: Peer) -> None:
    recipient = f"{token()}@corp.test"
    done = gateway.sh(f"gatescan test-installation -doit --json --to {recipient}; echo status=$?")
    *lines, status = done.splitlines()
    fates = {fate["name"]: fate for fate in map(json.loads, lines)}
    assert {name: (fate["state"], fate["ok"]) for name, fate in fates.items()} == {
        "clean": ("delivered", True),
        "rule": ("held", True),
        "virus": ("delivered", None),
        "spam": ("delivered", None),
    }
    assert "no antivirus engine is configured" in fates["virus"]["detail"]
    assert "no spam engine is configured" in fates["spam"]["detail"]
    assert status == "status=0"
    gateway.wait_for_empty_queue()
    found = eventually(lambda: len(paths := office.find(f"To: <{recipient}>")) == 3 and paths, 60, "three messages")
    assert len(found) == 3
    gateway.run("gatescan", "quarantine", "delete", "--all", "--to", recipient)


def test_g_builds_the_rules_and_a_forgotten_build_is_noticed(scanner: Scanner, outside: Peer, office: Peer) -> None:
    before, after = token(), token()
    gateway = scanner.gateway
    with scanner.rules_with(".w72\tSIZE=-1\ta test of the rules"):
        assert "was edited since" in gateway.run("gatescan", "doctor", check=False)
        assert send(outside, gateway.ipv4, with_file(before, "a.w72", b"text")).code == 250
        office.arrived(before)
        assert "rules" in gateway.run(QUEUE, "-g")
        assert "was edited since" not in gateway.run("gatescan", "doctor")
        assert send(outside, gateway.ipv4, with_file(after, "a.w72", b"text")).code == 250
        assert "a test of the rules" in scanner.held(after)["reason"]
    scanner.forget(after)


def test_spaces_for_a_tab_are_named_and_the_old_rules_stay(scanner: Scanner, outside: Peer) -> None:
    mark = token()
    gateway = scanner.gateway
    number = len(gateway.run("cat", RULES).splitlines()) + 1
    with scanner.rules_with(".w73    SIZE=-1    spaces"):
        told = gateway.sh(f"{QUEUE} -g 2>&1; echo status=$?", check=False)
        assert f"{RULES}:{number}:5: no TAB in this line" in told
        assert "stay in force" in told
        assert "status=1" in told
        assert send(outside, gateway.ipv4, with_file(mark, "a.exe", PROGRAM)).code == 250
        scanner.held(mark)
    scanner.forget(mark)


def test_a_rule_for_one_direction_leaves_the_other_alone(scanner: Scanner, outside: Peer, office: Peer) -> None:
    inward, outward = token(), token()
    server = scanner.gateway.ipv4
    with scanner.rules_with(".w74\tSIZE=-1\tonly inbound\tinbound"):
        scanner.gateway.run(QUEUE, "-g")
        assert send(outside, server, with_file(inward, "a.w74", b"text")).code == 250
        message = with_file(outward, "a.w74", b"text")
        assert send(office, server, message, "friend@world.test", sender=USER).code == 250
        assert scanner.held(inward)["direction"] == "inbound"
        outside.arrived(outward)
    scanner.forget(inward)


def test_one_line_of_inventory_refuses_instead_of_holding(scanner: Scanner, outside: Peer, office: Peer) -> None:
    mark, clean = token(), token()
    gateway = scanner.gateway
    wanted: dict[str, object] = {"scanner_actions": {"inbound": {"policy": "reject"}}, "scanner_reject_reason": True}
    tags = ("--tags", "scanner_config,qmail_service")
    try:
        playbook("playbooks/site.yml", gateway.name, *tags, variables=wanted)
        gateway.wait_for_door()
        gives_reasons = "GATESCAN_TEXT_FD" in gateway.run("ls", "/service/qmail-smtpd/env")
        reply = send(outside, gateway.ipv4, with_file(mark, "tool.exe", PROGRAM))
        assert (reply.stage, reply.code) == ("data", 554), reply
        assert ("message refused: policy" in reply.text) == gives_reasons, reply
        assert scanner.entries("--subject", f"*{mark}*") == []
        assert send(outside, gateway.ipv4, mail(clean)).code == 250
        office.arrived(clean)
    finally:
        playbook("playbooks/site.yml", gateway.name, *tags)
    gateway.wait_for_door()
    assert send(outside, gateway.ipv4, with_file(mark, "tool.exe", PROGRAM)).code == 250
    scanner.held(mark)
    scanner.forget(mark)
