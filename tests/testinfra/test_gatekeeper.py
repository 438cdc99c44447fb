"""gatekeeper in the way of real mail: who a message is from, its fence, and workers that die or make way meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from lab_hosts import GATEWAYS, Gateway, Peer, Reply, eventually, lab_host, token
from scanner_lab import USER, Scanner, delivered, mail, order, send, send_all

from lab import hosts
from lab.demonstration import BANK, BANK_RECORDS

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(
    not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: it needs gateways made with -e @lab/demo.yml"
)

CONFIG = "/etc/gatekeeper/config.json"
BANKER = f"accounts@{BANK}"
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()
    print("connected")
except OSError as error:
    print("refused")
"""


@pytest.fixture(scope="module", autouse=True)
def bank() -> Iterator[None]:
    """The DNS knows a bank that wants forgeries refused."""
    dns, data = lab_host("dns"), hosts.dns_data([lab_host(name) for name in GATEWAYS])
    hosts.serve_dns(dns, data + hosts.text_records(BANK_RECORDS))
    yield
    hosts.serve_dns(dns, data)


def test_all_is_in_order_and_the_fence_stands(gateway: Gateway) -> None:
    told = [json.loads(line) for line in gateway.run("gatekeeper", "doctor", "--json").splitlines()]
    assert {check["state"] for check in told} == {"ok"}, told
    assert {"fence", "authentication"} <= {check["what"].partition(":")[0] for check in told}
    status = gateway.run("cat", f"/proc/{worker(gateway)}/status")
    user = gateway.run("id", "-u", "gatekeeper").strip()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [user] * 4
    assert (fields["Seccomp"], fields["NoNewPrivs"], fields["CapEff"]) == ("2", "1", "0" * 16)


def test_the_profile_is_sound(gateway: Gateway) -> None:
    # The kernel takes it on a machine of its own only: tests/vm.
    gateway.run("apparmor_parser", "--skip-kernel-load", "--skip-cache", "/etc/apparmor.d/gatewright-gatekeeper")


def test_a_clean_message_has_one_field_of_results_and_it_is_ours(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark, name = token(), gateway.host.fqdn
    forged = f"Authentication-Results: {name}; dmarc=pass header.from=corp.test\n"
    other = "other.test; spf=pass smtp.mailfrom=world.test"
    assert send(outside, gateway.ipv4, mail(mark, header=f"{forged}Authentication-Results: {other}\n")).code == 250
    found = [" ".join(str(value).split()) for value in office.arrived(mark).get_all("Authentication-Results", [])]
    assert len(found) == 2 and found[1] == other
    assert found[0].startswith(f"{name}; spf=none") and found[0].endswith("dmarc=none header.from=world.test")


def test_a_forged_colleague_is_held(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark, scanner = token(), Scanner(gateway)
    assert (
        send(outside, gateway.ipv4, mail(mark).replace(b"From: someone@world.test", b"From: boss@corp.test")).code
        == 250
    )
    assert "spoofed" in json.dumps(scanner.held(mark))
    assert not delivered(office, mark)
    scanner.forget(mark)


def test_what_a_domain_wants_refused_is_refused(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    forgery = mail(mark).replace(b"From: someone@world.test", f"From: {BANKER}".encode())
    reply = send(outside, gateway.ipv4, forgery, sender=BANKER)
    assert (reply.code, reply.stage) == (554, "data"), reply
    assert not delivered(office, mark)
    eventually(lambda: f"client={outside.ipv4}" in authentications(gateway), 30, "the line in gatekeeper's log")


def test_a_person_who_is_not_known_has_no_mail(gateway: Gateway, outside: Peer) -> None:
    reply = send(outside, gateway.ipv4, mail(token()), "nobody@corp.test")
    assert (reply.code, reply.stage) == (550, "rcpt"), reply


def test_its_user_reaches_no_port_of_others(gateway: Gateway, outside: Peer) -> None:
    """The firewall's word, which counts where the kernel's Landlock knows no ports."""
    for user, told in (("qmailr", "connected"), ("gatekeeper", "refused")):
        way = ("setpriv", f"--reuid={user}", "--clear-groups", "python3", "-c", CONNECT)
        assert gateway.run(*way, outside.ipv4, "25").strip() == told


# Workers


def worker(gateway: Gateway) -> int:
    """The process that answers; 0 while there is none."""
    master = gateway.sh("svstat /service/gatekeeper").partition("(pid ")[2].partition(")")[0]
    children = gateway.sh(f"cat /proc/{master}/task/{master}/children", check=False).split()
    return int(children[0]) if children else 0


def next_worker(gateway: Gateway, before: int) -> int:
    """Wait for another one than before."""
    return eventually(lambda: (found := worker(gateway)) != before and found, 30, "the next worker")


def authentications(gateway: Gateway) -> str:
    """What gatekeeper's log says of forgeries."""
    return gateway.sh("grep authentication /var/log/gatekeeper/daemon/current || true")


@contextmanager
def flow(peer: Peer, gateway: Gateway, marks: list[str]) -> Iterator[Future[list[list[Reply]]]]:
    """Messages come in over two sessions while something is done; their replies."""
    orders = [order(gateway.ipv4, mail(mark)) for mark in marks]
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(send_all, peer, orders, 2)


def test_mail_flows_while_workers_die(gateway: Gateway, outside: Peer, office: Peer) -> None:
    marks, kills = [token() for _ in range(40)], 0
    process = worker(gateway)
    with flow(outside, gateway, marks) as told:
        while not told.done() or kills < 3:
            gateway.run("kill", "-9", str(process))
            process = next_worker(gateway, process)
            kills += 1
    replies = [reply for (reply,) in told.result()]
    assert {reply.code for reply in replies} <= {250, 451}, replies
    for mark, reply in zip(marks, replies, strict=True):
        if reply.code == 250:
            office.arrived(mark)
    assert send(outside, gateway.ipv4, mail(token())).code == 250


@pytest.fixture
def settings(gateway: Gateway) -> Iterator[dict[str, object]]:
    """gatekeeper's settings, which are put back in the end."""
    before = gateway.run("cat", CONFIG)
    try:
        yield json.loads(before)
    finally:
        gateway.run("tee", CONFIG, stdin=before)
        gateway.sh("svc -h /service/gatekeeper; rm -rf /srv/lists-*")


def test_nobody_is_put_off_while_ten_workers_make_way(
    gateway: Gateway, outside: Peer, office: Peer, settings: dict[str, object]
) -> None:
    marks = [token() for _ in range(40)]
    process = worker(gateway)
    with flow(outside, gateway, marks) as told:
        for number in range(10):
            path = f"/srv/lists-{number}/corp.test"
            gateway.sh(f"mkdir -p /srv/lists-{number}; echo {USER} > {path}; touch -d '-1 min' {path}")
            gateway.run("tee", CONFIG, stdin=json.dumps({**settings, "recipients": {"corp.test": {"file": path}}}))
            gateway.sh("svc -h /service/gatekeeper")
            process = next_worker(gateway, process)
    assert [reply.code for (reply,) in told.result()] == [250] * len(marks)
    for mark in (marks[0], marks[-1]):
        office.arrived(mark)
