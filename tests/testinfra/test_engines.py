"""Real engines on a gateway: what they find is stopped, and when they fail mail waits and nothing passes.

For gateways whose inventory switches clamav and spamassassin on, with a signature of EICAR as a file of the site.
"""

from __future__ import annotations

import json
from base64 import encodebytes

import pytest
from lab_hosts import Gateway, Peer, eventually, token

# In two halves each, so that no scanner takes this file itself for what it describes.
EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
TO = "user@corp.test"


@pytest.fixture(autouse=True)
def engines(gateway: Gateway) -> dict[str, dict[str, object]]:
    """The gateway's engines by name; all of them well."""
    if gateway.sh("command -v gatescan", check=False) == "":
        pytest.skip(f"{gateway.name} has no scanner")
    lines = gateway.run("gatescan", "engines", "--json", check=False).splitlines()
    found = {str(engine["name"]): engine for engine in map(json.loads, lines)}
    if not {"clamd", "spamd"} <= set(found):
        pytest.skip(f"{gateway.name}'s inventory switches on {sorted(found) or 'no engines'}, not clamd and spamd")
    return found


def with_file(mark: str, data: str, name: str = "sneaky.txt") -> str:
    coded = encodebytes(data.encode()).decode().replace("\n", "\r\n")
    return (
        f"From: someone@world.test\r\nTo: {TO}\r\nSubject: {mark}\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n{mark}\r\n'
        f'--b\r\nContent-Disposition: attachment; filename="{name}"\r\nContent-Type: text/plain\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--b--\r\n"
    )


def held(gateway: Gateway, mark: str) -> dict[str, object]:
    """The journal's line on a message."""
    journal = "/var/log/gatescan/messages.jsonl"
    line = eventually(lambda: gateway.sh(f"grep -F {mark} {journal} | tail -n 1", check=False), what=mark)
    return dict(json.loads(line))


def test_eicar_under_another_name_is_held(gateway: Gateway, outside: Peer) -> None:
    mark = token()
    assert outside.send(gateway.ipv4, TO, with_file(mark, EICAR)).code == 250
    line = held(gateway, mark)
    assert (line["verdict"], line["action"]) == ("infected", "quarantine")


def test_gtube_is_held(gateway: Gateway, outside: Peer) -> None:
    mark = token()
    outside.send(gateway.ipv4, TO, f"From: a@world.test\r\nTo: {TO}\r\nSubject: {mark}\r\n\r\n{GTUBE}\r\n")
    line = held(gateway, mark)
    assert line["action"] == "quarantine" and "GTUBE" in str(line["findings"])


@pytest.mark.parametrize("unit", ["clamav-daemon", "spamd"])
def test_mail_waits_for_an_engine_that_is_stopped(gateway: Gateway, outside: Peer, office: Peer, unit: str) -> None:
    mark = token()
    message = with_file(mark, "harmless")
    gateway.run("systemctl", "stop", unit)
    try:
        reply = outside.send(gateway.ipv4, TO, message)
        assert reply.code // 100 == 4, reply
    finally:
        gateway.run("systemctl", "start", unit)
    reply = eventually(lambda: (one := outside.send(gateway.ipv4, TO, message)).code == 250 and one, what=unit)
    office.arrived(mark)


def test_mail_waits_for_a_clamd_that_hangs(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    message = with_file(mark, "harmless")
    pid = gateway.run("systemctl", "show", "-p", "MainPID", "--value", "clamav-daemon").strip()
    gateway.run("kill", "-STOP", pid)
    try:
        # a client that waits less than the scanner gives up first: that is a reply of 0, and no delivery either
        assert outside.send(gateway.ipv4, TO, message).code != 250
    finally:
        gateway.run("kill", "-CONT", pid)
    eventually(lambda: outside.send(gateway.ipv4, TO, message).code == 250, what="clamd is back")
    office.arrived(mark)


def test_a_reload_lets_nothing_pass(gateway: Gateway, outside: Peer) -> None:
    gateway.run("systemctl", "reload", "clamav-daemon")
    mark = token()
    assert eventually(lambda: outside.send(gateway.ipv4, TO, with_file(mark, EICAR)).code == 250, what="an answer")
    assert held(gateway, mark)["action"] == "quarantine"


def test_the_scanner_alone_can_reach_the_sockets(gateway: Gateway) -> None:
    for path in ("/run/clamav/clamd.ctl", "/run/spamd/spamd.sock"):
        assert (
            gateway.sh(f"setpriv --reuid 65534 --clear-groups test -w {path} && echo open || echo shut").strip()
            == "shut"
        )
        assert gateway.sh(
            f"setpriv --reuid gatescan --regid gatescan --clear-groups test -w {path} && echo open"
        ).strip()


def test_the_doctor_is_content_with_the_engines(gateway: Gateway) -> None:
    checks = [json.loads(line) for line in gateway.run("gatescan", "doctor", "--json", check=False).splitlines()]
    found = [check for check in checks if check["what"].startswith("engine ")]
    assert len(found) >= 2 and {check["state"] for check in found} <= {"ok", "warning"}, found
