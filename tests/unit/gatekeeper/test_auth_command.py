"""`gatekeeper auth check`, as an administrator runs it, with a name server that answers over the wire."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from gatekeeper.auth.suffixes import LIST, Suffixes, load
from gatekeeper_rig import PROJECT
from test_dkim_verified import BODY, HEADER, record, signed

RECORDS = {
    ("corp.example", "TXT"): ['"v=spf1 mx ptr:nothing.example" " -all"'],
    ("corp.example", "MX"): ["10 mx.corp.example."],
    ("mx.corp.example", "A"): ["192.0.2.7"],
    ("7.2.0.192.in-addr.arpa", "PTR"): ["mx.corp.example."],
    ("_dmarc.corp.example", "TXT"): ['"v=DMARC1; p=reject"'],
    ("_dmarc.slow.example", "TXT"): ["SERVFAIL"],
}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A configuration whose name server knows RECORDS."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(server,), daemon=True).start()
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"name_server_port": server.getsockname()[1], "home": str(tmp_path)}))
    (tmp_path / "control").mkdir()
    (tmp_path / "control/me").write_text("gw.example\n")
    yield path
    server.close()


def _serve(server: socket.socket) -> None:
    records = {**RECORDS, ("one._domainkey.corp.test", "TXT"): [_quoted(record())]}
    while True:
        try:
            wire, client = server.recvfrom(4096)
        except OSError:
            return
        query = dns.message.from_wire(wire)
        asked = query.question[0]
        kind = dns.rdatatype.to_text(asked.rdtype)
        found = records.get((asked.name.to_text(omit_final_dot=True).lower(), kind), [])
        response = dns.message.make_response(query, recursion_available=True)
        if found == ["SERVFAIL"]:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif found:
            response.answer.append(dns.rrset.from_text(asked.name, 0, "IN", kind, *found))
        server.sendto(response.to_wire(), client)


def _quoted(text: str) -> str:
    return " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))


def check(config: Path, message: bytes, *words: str, ip: str = "192.0.2.7") -> tuple[int, str]:
    """The exit status and what it says."""
    command = [sys.executable, "-m", "gatekeeper", "--config", str(config), "auth", "check", "--ip", ip, *words]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "roles/gatekeeper/files")}
    done = subprocess.run(command, env=environment, input=message, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


@pytest.mark.skipif(not LIST.exists(), reason="Debian's package publicsuffix is not here")
class TestCommand:
    """With the list of public suffixes."""

    def test_a_good_message_is_good(self, config: Path) -> None:
        status, said = check(config, b"From: ann@corp.example\r\n\r\nhello\r\n", "--mail", "ann@corp.example")
        assert status == 0
        assert said.startswith("Authentication-Results: gw.example;\n  spf=pass smtp.mailfrom=corp.example;\n")
        assert said.endswith("dmarc=pass header.from=corp.example policy.dmarc=reject\n")

    def test_a_signature_is_checked_with_a_key_of_several_strings(self, config: Path) -> None:
        status, said = check(config, signed(HEADER + BODY), "--helo", "mx.corp.example")
        assert status == 0
        assert "dkim=pass header.d=corp.test;" in said

    def test_a_forged_one_is_not_and_why_is_told(self, config: Path) -> None:
        message = b"From: ann@corp.example\n\nhello\n"
        status, said = check(config, message, "--mail", "x@corp.example", ip="198.51.100.1")
        assert status == 1
        assert "spf=fail" in said
        assert said.splitlines()[-1].startswith("verdict: unauthenticated: it is not from corp.example")
        assert "verdict: spoofed: " in check(config, message, "--own", "corp.example", ip="198.51.100.1")[1]

    def test_a_name_server_that_does_not_answer_is_named(self, config: Path) -> None:
        status, said = check(config, b"From: ann@slow.example\n\nhello\n")
        assert status == 1
        assert "dmarc=temperror" in said
        assert "verdict: later: TXT of _dmarc.slow.example" in said

    def test_debians_list_of_public_suffixes_is_read(self) -> None:
        found = load()
        assert found.organisation("a.b.example.co.uk") == "example.co.uk"
        assert found.organisation("a.www.ck") == "www.ck"


def test_what_is_no_address_is_said(config: Path) -> None:
    assert check(config, b"", ip="mx.corp.example") == (1, "gatekeeper: --ip mx.corp.example: is no address\n")


def test_without_a_list_every_last_two_labels_are_an_organisation() -> None:
    assert Suffixes("").organisation("a.b.c.test") == "c.test"
