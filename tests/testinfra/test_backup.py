"""A gateway that died is rebuilt from the inventory and its archive, onto a fresh host: nothing is lost or comes twice.

It removes the gateway and makes it anew: nothing of other tests is left there.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from controller import Run, playbook
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import PROGRAM, send, with_file

from bench.plays import fresh_gateway

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: unit tests bring archives back")
MINUTES = 900
PEM = "/etc/gatewright/starttls.pem"
RULES = "/etc/gatescan/outbreak.txt"


def site(gateway: Gateway, recipient: str, *options: str) -> Run:
    """Build the gateway, with a signing domain and somebody who can open its archives."""
    variables = {"backup_recipients": [recipient], "gatepost_dkim_domains": ["corp.test"]}
    return playbook("playbooks/site.yml", gateway.name, *options, variables=variables, seconds=MINUTES)


def make_key(path: Path) -> str:
    """The administrator's key; returns its public half."""
    done = subprocess.run(["age-keygen", "-o", path], capture_output=True, text=True, check=True)
    return done.stderr.rpartition(" ")[2].strip()


def kept(gateway: Gateway) -> tuple[str, str, str]:
    """Keys and rules that a gateway alone has."""
    return gateway.sh(f"sha256sum {PEM}"), gateway.run("gatepost", "dkim", "show"), gateway.sh(f"cat {RULES} || true")


def test_a_gateway_that_died_is_rebuilt_from_the_inventory_and_the_archive(
    gateway: Gateway, outside: Peer, office: Peer, tmp_path: Path
) -> None:
    held, waiting = token(), token()
    recipient = make_key(tmp_path / "key")
    folder = tmp_path / "archives"
    given = {"backup_recipients": [recipient], "backup_directory": str(folder), "gatepost_dkim_domains": ["corp.test"]}
    back = given | {"gatewright_restore": gateway.name, "restore_identity": str(tmp_path / "key")}
    site(gateway, recipient, "--tags", "backup,gatepost")
    playbook("playbooks/outbreak.yml", gateway.name, variables={"extension": "iso"})
    assert send(outside, gateway.ipv4, with_file(held, "tool.exe", PROGRAM)).code == 250
    gateway.run("gatewright-cutoff", "cut", "outbound")
    eventually(lambda: outside.send(gateway.ipv4, "ann@corp.test", mark=waiting).code == 250, what="a 250")
    before = kept(gateway)

    playbook("playbooks/backup.yml", gateway.name, variables=given | {"backup_queue": "take"}, seconds=MINUTES)
    (archive,) = folder.iterdir()
    assert archive.read_bytes().startswith(b"age-encryption.org/") and archive.stat().st_mode & 0o077 == 0
    assert not office.find(waiting)

    fresh_gateway(gateway.name)
    site(gateway, recipient)
    refused = playbook("playbooks/restore.yml", gateway.name, variables=back, succeeds=False)
    assert "messages of the queue: -e restore_queue=take" in refused.output
    back["restore_queue"] = "take"
    playbook("playbooks/restore.yml", gateway.name, "--check", variables=back)
    assert kept(gateway)[0] != before[0], "nothing has changed"
    playbook("playbooks/restore.yml", gateway.name, variables=back, seconds=MINUTES)

    assert kept(gateway) == before
    assert "iso" in before[2] and "DKIM1" in before[1]
    office.arrived(waiting)
    name = gateway.sh(f"gatescan quarantine list | grep {held}").split()[0]
    gateway.run("gatescan", "quarantine", "release", name)
    office.arrived(f"Subject: {held}")
    again = playbook("playbooks/restore.yml", gateway.name, variables=back, seconds=MINUTES)
    assert "Not brought back: /var/qmail/queue" in again.output
    assert gateway.sh(f"gatescan quarantine list --json | grep {held}").count('"state": "released"') == 1
    renewing = "systemctl is-active aiderenew.service || true"
    eventually(lambda: gateway.sh(renewing).strip() not in ("active", "activating"), 120, "the new baseline")
    assert site(gateway, recipient).changed(gateway.name) == 0
