"""What the inventory says of engines, and what the gateway makes of it: on, kept fresh, off."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from controller import playbook
from engine_lab import EICAR, SIGNATURES, UNITS, Engines
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import send, with_file

INVENTORIES = ("-i", "inventory/lab", "-i", "molecule/engines/inventory")
# A double of the licensed program: it finds what its signatures name, and says nothing useful without any.
UVSCAN = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
[ "$1" = --version ] && { echo "McAfee VirusScan v4.24.0"; exit 0; }
[ -s "$here/scan.dat" ] || exit 6
for last; do :; done
for file in $(find "$last" -type f); do
  grep -q -F -f "$here/scan.dat" "$file" && { echo "$file"; echo "  Found: EICAR test file"; found=13; }
done
exit ${found:-0}
"""
MIRROR = "/srv/signatures"


def converge(gateway: Gateway, **variables: object) -> None:
    """Run the parts of the scenario's site playbook that concern engines, with further variables."""
    tags = "scanner_config,clamav,spamassassin,uvscan"
    playbook("playbooks/site.yml", gateway.name, *INVENTORIES, "--tags", tags, variables=variables or None)


@pytest.fixture
def engines(gateway: Gateway) -> Iterator[Engines]:
    """The gateway's engines; afterwards they are again what the scenario's inventory says."""
    found = Engines(gateway)
    yield found
    gateway.sh(f"rm -f {SIGNATURES}/fresh.ndb")
    converge(gateway)
    found.wait_until_well()


def archive(path: Path) -> str:
    """Make an archive of the double; its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in (("uvscan", UVSCAN), ("scan.dat", "EICAR-STANDARD\n")):
            member = tarfile.TarInfo(f"vlnx424/{name}")
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def mirror(office: Peer) -> Iterator[Peer]:
    """A web server at the office, with a folder of signatures."""
    office.sh(f"mkdir -p {MIRROR}")
    office.run(
        "systemd-run", "--quiet", "--collect", "--unit=mirror", "python3", "-m", "http.server", "-d", MIRROR, "80"
    )
    yield office
    office.sh(f"systemctl stop mirror; rm -r {MIRROR}")


def publish(mirror: Peer, word: str) -> None:
    """Put a signature of a word on the mirror, newer than what is there."""
    mirror.run("sh", "-c", f"cat > {MIRROR}/fresh.ndb", stdin=f"Lab.Fresh:0:*:{word.encode().hex()}\n")
    mirror.sh(f"touch -d @$(($(date +%s) + $(wc -c < {MIRROR}/fresh.ndb))) {MIRROR}/fresh.ndb")


def test_engines_are_switched_on_kept_fresh_and_switched_off_by_the_inventory(
    engines: Engines, mirror: Peer, outside: Peer, office: Peer, tmp_path: Path
) -> None:
    gateway = engines.gateway
    units = [*UNITS.values(), "clamav-freshclam", "uvscan-update.timer"]
    publish(mirror, first := token())
    wanted = {
        "uvscan_enabled": True,
        "uvscan_archive": str(tmp_path / "uvscan.tar.gz"),
        "uvscan_sha256": archive(tmp_path / "uvscan.tar.gz"),
        "uvscan_updates": f"http://{mirror.ipv4}/",
        "clamav_updates": "custom",
        "clamav_custom_signatures": [f"http://{mirror.ipv4}/fresh.ndb"],
    }
    converge(gateway, **wanted)
    assert engines.units(*units) == ["active enabled"] * 4
    both_find_eicar(engines, outside)
    uvscan_is_updated(engines, mirror, outside)
    new_signatures_are_used_and_broken_ones_are_not(engines, mirror, outside, first)

    converge(gateway, clamav_enabled=False, spamassassin_enabled=False, uvscan_enabled=False)
    found = [state.split() for state in engines.units(*units)]
    assert all(state[0] == "inactive" and "enabled" not in state for state in found), found
    assert engines.states() == {}
    mark = token()
    assert send(outside, gateway.ipv4, with_file(mark, "notes.txt", EICAR.encode())).code == 250
    office.arrived(mark)


def both_find_eicar(engines: Engines, outside: Peer) -> None:
    """ClamAV and the double of uvscan are asked, and both know it."""
    mark = token()
    assert send(outside, engines.gateway.ipv4, with_file(mark, "notes.txt", EICAR.encode())).code == 250
    findings = engines.scanner.line(mark)["findings"]
    # that spamd is late on a busy machine is a finding, too, but no word about a virus
    assert {found["source"] for found in findings if found["verdict"] == "infected"} == {"clamd", "uvscan"}, findings
    engines.scanner.forget(mark)


def uvscan_is_updated(engines: Engines, mirror: Peer, outside: Peer) -> None:
    """Its unit fetches, tests and uses what the mirror has, in the sandbox that it runs in."""
    gateway, word = engines.gateway, token()
    mirror.run("tee", f"{MIRROR}/scan.dat", stdin=f"EICAR-STANDARD\n{word}\n")
    mirror.sh(f"cd {MIRROR} && tar -czf dat.tar.gz scan.dat && sha256sum dat.tar.gz > SHA256SUMS")
    gateway.run("systemctl", "start", "uvscan-update")
    # a subject of letters and digits is spam to SpamAssassin, by chance
    mark = re.sub(r"\d", "x", token())
    assert send(outside, gateway.ipv4, with_file(mark, "notes.txt", word.encode())).code == 250
    assert {finding["source"] for finding in engines.scanner.line(mark)["findings"]} == {"uvscan"}
    engines.scanner.forget(mark)


def new_signatures_are_used_and_broken_ones_are_not(engines: Engines, mirror: Peer, outside: Peer, first: str) -> None:
    """The first ones are in force; then newer ones come, and then a file that is none."""
    gateway, second = engines.gateway, token()
    update = ("systemctl", "kill", "--kill-whom=main", "--signal=USR1", "clamav-freshclam")
    wait_until_held(engines, outside, first)
    publish(mirror, f"{second} and more")
    gateway.run(*update)
    wait_until_held(engines, outside, f"{second} and more")
    mirror.run("sh", "-c", f"cat > {MIRROR}/fresh.ndb; touch -d tomorrow {MIRROR}/fresh.ndb", stdin="no signature\n")
    gateway.run(*update)
    journal = "journalctl --unit clamav-freshclam --no-pager"
    eventually(lambda: "Malformed database" in gateway.sh(journal), 60, "a refusal of the broken file")
    wait_until_held(engines, outside, f"{second} and more")


def wait_until_held(engines: Engines, peer: Peer, word: str) -> None:
    """Wait until a message with this word in a file is infected."""

    def infected() -> bool:
        mark = token()
        reply = send(peer, engines.gateway.ipv4, with_file(mark, "notes.txt", word.encode()))
        held = reply.code == 250 and engines.scanner.line(mark)["verdict"] == "infected"
        engines.scanner.forget(mark)
        return held

    eventually(infected, 60, f"a signature of {word} in force")
