"""qmailctl, every verb of the paper's Appendix C: what each does to real services and real mail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from lab_hosts import Gateway, Peer, eventually, token

SERVICES = ("qmail-send", "qmail-smtpd")
VERBS = {
    "start", "stop", "restart", "doqueue", "alrm", "flush", "queue", "reload", "hup", "pause", "cont", "cdb", "stat",
}  # names, many a line # fmt: skip


@pytest.fixture(autouse=True)
def started(gateway: Gateway) -> Iterator[None]:
    """Whatever a test does to the services, they run afterwards."""
    yield
    gateway.run("qmailctl", "cont")
    gateway.run("qmailctl", "start")
    for service in SERVICES:
        eventually(lambda service=service: gateway.is_up(service), what=f"{service} is up")  # type: ignore[misc]  # a default is not inferred
    gateway.wait_for_empty_queue()


def states(gateway: Gateway) -> list[str]:
    """What svstat says of both services."""
    return gateway.run("/command/svstat", *(f"/service/{name}" for name in SERVICES)).splitlines()


def inject(gateway: Gateway, recipient: str) -> str:
    """Put a message into the queue on the gateway itself; return its mark."""
    mark = token()
    gateway.run("sendmail", "-f", "x@corp.test", recipient, stdin=f"Subject: {mark}\n\n{mark}\n")
    return mark


@contextlib.contextmanager
def edited(gateway: Gateway, path: str, line: str) -> Iterator[None]:
    """A file with one more line at its top, for a while."""
    before = gateway.run("cat", path)
    try:
        gateway.run("sh", "-c", f"cat > {path}", stdin=f"{line}\n{before}")
        yield
    finally:
        gateway.run("sh", "-c", f"cat > {path}", stdin=before)


def test_stop_shuts_the_door_and_keeps_the_queue_and_start_delivers_it(
    gateway: Gateway, outside: Peer, office: Peer
) -> None:
    gateway.run("qmailctl", "stop")
    eventually(lambda: all(": down " in line for line in states(gateway)), what="both are down")
    assert outside.send(gateway.ipv4, "user@corp.test", mark=token()).stage == "connect"
    mark = inject(gateway, "user@corp.test")
    assert not office.find(mark)
    gateway.run("qmailctl", "start")
    office.arrived(mark)


def test_restart_starts_both_anew(gateway: Gateway, outside: Peer, office: Peer) -> None:
    before = states(gateway)
    pids = [line.split("pid ")[1].split(")")[0] for line in before]
    gateway.run("qmailctl", "restart")
    eventually(
        lambda: all(
            ": up " in line and f"pid {pid})" not in line for line, pid in zip(states(gateway), pids, strict=True)
        ),
        what=f"other processes than {before}",
    )
    mark = token()
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250, what="a 250")
    office.arrived(mark)


@pytest.mark.parametrize("verb", ["doqueue", "alrm", "flush"])
def test_mail_that_waits_is_tried_at_once(gateway: Gateway, office: Peer, verb: str) -> None:
    office.run("systemctl", "stop", "postfix")
    try:
        mark = inject(gateway, "user@corp.test")
        eventually(lambda: "deferral" in gateway.sh("tail -n 4 /var/log/qmail/current"), what="a deferral")
        listed = gateway.run("qmailctl", "queue")
        assert "messages in queue: 1" in listed and "user@corp.test" in listed
    finally:
        office.run("systemctl", "start", "postfix")
    gateway.run("qmailctl", verb)
    office.arrived(mark, 30)


@pytest.mark.parametrize("verb", ["reload", "hup"])
def test_a_new_local_domain_counts_once_it_is_reread(gateway: Gateway, office: Peer, verb: str) -> None:
    domain = f"{token()}.test"
    try:
        with edited(gateway, "/var/qmail/control/locals", domain):
            gateway.run("qmailctl", verb)
            office.arrived(inject(gateway, f"root@{domain}"))
    finally:
        gateway.run("qmailctl", verb)


def test_pause_freezes_and_cont_goes_on(gateway: Gateway, office: Peer) -> None:
    gateway.run("qmailctl", "pause")
    eventually(lambda: all("paused" in line for line in states(gateway)), what="both are paused")
    mark = inject(gateway, "user@corp.test")
    assert not office.find(mark)
    gateway.run("qmailctl", "cont")
    office.arrived(mark)


def test_cdb_puts_the_edited_rules_in_force(gateway: Gateway, outside: Peer) -> None:
    try:
        with edited(gateway, "/etc/tcp.smtp", f"{outside.ipv4}:deny"):
            assert outside.send(gateway.ipv4, "user@corp.test").code == 250, "an edit alone changes nothing"
            gateway.run("qmailctl", "cdb")
            assert outside.send(gateway.ipv4, "user@corp.test").stage == "connect"
    finally:
        gateway.run("qmailctl", "cdb")
    assert outside.send(gateway.ipv4, "user@corp.test").code == 250


def test_cdb_names_a_line_without_an_instruction_and_changes_nothing(gateway: Gateway, outside: Peer) -> None:
    with edited(gateway, "/etc/tcp.smtp", outside.ipv4):
        refused = gateway.shell.run("timeout 20 qmailctl cdb")
        assert refused.rc == 100 and f"1:{outside.ipv4}" in refused.stderr
    assert outside.send(gateway.ipv4, "user@corp.test").code == 250


def test_stat_shows_services_queue_and_cutoff(gateway: Gateway) -> None:
    shown = gateway.run("qmailctl", "stat")
    for word in ("/service/qmail-send: up", "/service/qmail-smtpd: up", "messages in queue: 0", "inbound: open"):
        assert word in shown


def test_help_names_every_verb_and_an_unknown_one_is_refused(gateway: Gateway) -> None:
    shown = gateway.run("qmailctl", "help")
    assert {verb for verb in VERBS if verb not in shown} == set()
    refused = gateway.shell.run("qmailctl explode")
    assert refused.rc == 100 and "usage" in refused.stderr
