"""The mail logs are at another host, by verified TLS, also what happened while that was away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token

pytestmark = pytest.mark.skipif(
    not os.environ.get("GATEWRIGHT_NIGHTLY"), reason="two runs of the playbook: GATEWRIGHT_NIGHTLY is not set"
)

NAME = "logs.lab.test"
UNIT = "gw-log-server"
FOLDER = "/tmp/gw-log-server"
AUTHORITIES = "/etc/ssl/gw-log-server.pem"
PROGRAM = Path(__file__).with_name("relp_server.py")


def serve(outside: Peer) -> None:
    """Start the log server, which adds to what it has heard before."""
    command = f"exec python3 {FOLDER}/relp_server.py 20514 {FOLDER}/server.pem >> {FOLDER}/heard"
    outside.run("systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "sh", "-c", command)


@pytest.fixture(scope="module")
def server(gateway: Gateway, outside: Peer) -> Iterator[Peer]:
    """The host that gets the logs of the gateway; switched off at the end."""
    outside.run("mkdir", "-p", FOLDER)
    outside.run("sh", "-c", f"cat > {FOLDER}/relp_server.py", stdin=PROGRAM.read_text())
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout -"
    outside.sh(
        f"openssl req -x509 {key} -subj /CN={NAME} -addext subjectAltName=DNS:{NAME} > {FOLDER}/server.pem 2>/dev/null"
    )
    gateway.run("sh", "-c", f"cat > {AUTHORITIES}", stdin=outside.sh(f"openssl x509 -in {FOLDER}/server.pem"))
    settings: dict[str, object] = {
        "log_shipping_enabled": True,
        "log_shipping_server": outside.ipv4,
        "log_shipping_name": NAME,
        "log_shipping_authorities": AUTHORITIES,
    }
    serve(outside)
    playbook("playbooks/site.yml", gateway.name, "--tags=log_shipping", variables=settings)
    yield outside
    playbook("playbooks/site.yml", gateway.name, "--tags=log_shipping")
    outside.sh(f"systemctl stop {UNIT}; rm -rf {FOLDER}")
    gateway.run("rm", AUTHORITIES)


def heard(server: Peer) -> list[str]:
    """The lines that the server has."""
    return server.sh(f"cat {FOLDER}/heard").splitlines()


def test_a_messages_lines_of_all_logs_are_at_the_server_once(gateway: Gateway, server: Peer) -> None:
    mark = token()
    assert server.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
    eventually(lambda: any(mark in line for line in heard(server)), what="the scanner's line")
    wanted = {"gatescan", "qmail-send", "qmail-smtpd"}
    eventually(lambda: wanted <= {line.split()[3] for line in heard(server)}, what="a line of each log")
    assert sum(mark in line for line in heard(server)) == 1


def test_what_happened_while_the_server_was_away_is_told_when_it_is_back(gateway: Gateway, server: Peer) -> None:
    server.run("systemctl", "stop", UNIT)
    marks = [token() for _ in range(3)]
    for mark in marks:
        assert server.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
    gateway.run("systemctl", "restart", "gatewright-log-shipping.service")
    serve(server)
    eventually(lambda: all(sum(mark in line for line in heard(server)) == 1 for mark in marks), what="all of them")


def test_it_runs_without_rights(gateway: Gateway, server: Peer) -> None:
    shown = gateway.run(
        "ps",
        "-o",
        "user:20=",
        "-p",
        gateway.sh("systemctl show --property MainPID --value gatewright-log-shipping").strip(),
    )
    assert shown.strip() == "gatewright-logs"
