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
from story import Story

from bench.plays import fresh_gateway

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
pytestmark = pytest.mark.skipif(not NIGHTLY, reason="GATEWRIGHT_NIGHTLY is not set: unit tests bring archives back")
MINUTES = 900
PEM = "/etc/gatewright/starttls.pem"
RULES = "/etc/gatescan/outbreak.txt"


def make_key(path: Path) -> str:
    """The administrator's key; returns its public half."""
    done = subprocess.run(["age-keygen", "-o", path], capture_output=True, text=True, check=True)
    return done.stderr.rpartition(" ")[2].strip()


def kept(gateway: Gateway) -> tuple[str, str, str]:
    """Keys and rules that a gateway alone has."""
    return gateway.sh(f"sha256sum {PEM}"), gateway.run("gatepost", "dkim", "show"), gateway.sh(f"cat {RULES} || true")


@pytest.mark.timeout(4 * MINUTES)
def test_a_gateway_that_died_is_rebuilt_from_the_inventory_and_the_archive(
    gateway: Gateway, outside: Peer, office: Peer, tmp_path: Path
) -> None:
    held, waiting = token(), token()
    recipient = make_key(tmp_path / "key")
    folder = tmp_path / "archives"
    given: dict[str, object] = {
        "backup_recipients": [recipient],
        "backup_directory": str(folder),
        "gatepost_dkim_domains": ["corp.test"],
    }
    names = {"gw1.example.org": gateway.name, "key.txt": str(tmp_path / "key")}
    told = Story("A gateway that died", f"-i inventory/lab --limit {gateway.name}", names)

    def tell(command: str, succeeds: bool = True) -> Run:
        return told.run(f"ansible-playbook INV playbooks/{command}", succeeds, given, MINUTES)

    playbook("playbooks/site.yml", gateway.name, "--tags", "gatepost", variables=given, seconds=MINUTES)
    tell("site.yml --tags backup")
    tell("backup.yml")
    (nightly,) = folder.iterdir()
    assert nightly.read_bytes().startswith(b"age-encryption.org/") and nightly.stat().st_mode & 0o077 == 0
    playbook("playbooks/outbreak.yml", gateway.name, variables={"extension": "iso"})
    assert send(outside, gateway.ipv4, with_file(held, "tool.exe", PROGRAM)).code == 250
    gateway.run("gatewright-cutoff", "cut", "outbound")
    eventually(lambda: outside.send(gateway.ipv4, "ann@corp.test", mark=waiting).code == 250, what="a 250")
    before = kept(gateway)

    tell("backup.yml --limit gw1.example.org -e backup_queue=take")
    assert not office.find(waiting)

    fresh_gateway(gateway.name)
    tell("site.yml --limit gw1.example.org")
    restore = "restore.yml -e gatewright_restore=gw1.example.org -e restore_identity=key.txt"
    for command in (f"{restore} --check", restore):
        assert "messages of the queue: -e restore_queue=take" in tell(command, succeeds=False).output
    back = {"gatewright_restore": gateway.name, "restore_identity": str(tmp_path / "key"), "restore_queue": "take"}
    playbook("playbooks/restore.yml", gateway.name, "--check", variables=given | back)
    assert kept(gateway)[0] != before[0], "nothing has changed"
    tell(f"{restore} -e restore_queue=take")

    assert kept(gateway) == before
    assert "iso" in before[2] and "DKIM1" in before[1]
    office.arrived(waiting)
    name = gateway.sh(f"gatescan quarantine list | grep {held}").split()[0]
    gateway.run("gatescan", "quarantine", "release", name)
    office.arrived(f"Subject: {held}")
    assert "Not brought back: /var/qmail/queue" in tell(f"{restore} -e restore_queue=take").output
    assert gateway.sh(f"gatescan quarantine list --json | grep {held}").count('"state": "released"') == 1
    renewing = "systemctl is-active aiderenew.service || true"
    eventually(lambda: gateway.sh(renewing).strip() not in ("active", "activating"), 120, "the new baseline")
    assert tell("site.yml --limit gw1.example.org").changed(gateway.name) == 0
    told.was_told_whole()
