"""Real engines on a gateway: what they find is stopped, and how they are is told.

For gateways whose inventory switches clamav and spamassassin on, with a signature of EICAR as a file of the site.
"""

from __future__ import annotations

import json
import re

import pytest
from engine_lab import EICAR, GTUBE, SIGNATURES, Engines
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import delivered, mail, send, with_file


@pytest.fixture
def engines(gateway: Gateway) -> Engines:
    """The gateway's engines, which the inventory switches on."""
    return Engines(gateway)


def test_eicar_under_another_name_is_held(engines: Engines, outside: Peer) -> None:
    mark = token()
    assert send(outside, engines.gateway.ipv4, with_file(mark, "sneaky.txt", EICAR.encode())).code == 250
    assert engines.scanner.held(mark)["verdict"] == "infected"
    engines.scanner.forget(mark)


def test_gtube_is_held(engines: Engines, outside: Peer) -> None:
    mark = token()
    assert send(outside, engines.gateway.ipv4, mail(mark, GTUBE)).code == 250
    assert "GTUBE" in engines.scanner.held(mark)["reason"]
    engines.scanner.forget(mark)


def test_the_scanner_alone_can_reach_the_sockets(engines: Engines) -> None:
    gateway = engines.gateway
    for path in ("/run/clamav/clamd.ctl", "/run/spamd/spamd.sock"):
        stranger = f"setpriv --reuid 65534 --clear-groups test -w {path} && echo open || echo shut"
        assert gateway.sh(stranger).strip() == "shut"
        assert gateway.sh(f"setpriv --reuid gatescan --regid gatescan --clear-groups test -w {path} && echo open")


def test_the_doctor_is_content_with_the_engines(engines: Engines) -> None:
    output = engines.gateway.run("gatescan", "doctor", "--json", check=False)
    found = [check for check in map(json.loads, output.splitlines()) if check["what"].startswith("engine ")]
    assert [check["state"] for check in found] == ["ok", "ok"], found


def test_the_nightly_look_mails_the_administrator_about_old_signatures_and_else_nothing(
    engines: Engines, gateway: Gateway, office: Peer
) -> None:
    assert engines.units("gatescan-engines.timer") == ["active enabled"]
    look = ("systemctl", "start", "gatescan-engines.service")
    subject = f"gatescan on {gateway.host.fqdn}: 1 complaint(s) about its engines"
    before = delivered(office, subject)
    gateway.run(*look)
    gateway.sh(f"touch -d '10 days ago' {SIGNATURES}/*")
    try:
        gateway.run(*look)
    finally:
        gateway.sh(f"touch {SIGNATURES}/*")
    mails = eventually(lambda: sorted(set(delivered(office, subject)) - set(before)), 60, "a mail to the administrator")
    assert len(mails) == 1, "what is well needs no mail"
    text = office.run("cat", mails[0])
    assert re.search(r"^engine clamd: its signatures are 10\.\d days old, more than 3", text, re.MULTILINE)
    assert "Delivered-To: admin@corp.test" in text or "for <admin@corp.test>" in text


def test_the_metrics_have_each_engine(engines: Engines, gateway: Gateway, outside: Peer) -> None:
    mark = token()

    def figures() -> dict[str, float]:
        lines = gateway.run("gatescan", "stats", "--prometheus").splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    before = figures()
    assert send(outside, gateway.ipv4, with_file(mark, "notes.txt", EICAR.encode())).code == 250
    engines.scanner.held(mark)
    engines.scanner.forget(mark)
    after = figures()
    for name, more in (("scanned", 1), ("found", 1), ("failed", 0)):
        key = f'gatescan_engine_{name}_total{{engine="clamd"}}'
        assert after[key] - before.get(key, 0) == more, key
    assert after['gatescan_engine_left_alone{engine="clamd"}'] == 0
    newest = float(gateway.sh(f"stat -c %Y {SIGNATURES}/* | sort -n | tail -n 1"))
    assert after['gatescan_engine_signatures_seconds{engine="clamd"}'] <= newest
    assert after['gatescan_engine_scanned_total{engine="spamd"}'] > 0
