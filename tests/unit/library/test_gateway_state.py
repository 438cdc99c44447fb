"""What gateway_state asks DNS about our mail, and how it reads the answers."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import gateway_state
import pytest

ZONE = {
    ("1.113.0.203.in-addr.arpa", "PTR"): ["gw1.example.org.", "old.example.org."],
    ("gw1.example.org", "A"): ["203.0.113.1"],
    ("old.example.org", "A"): ["203.0.113.9"],
    ("odd.example.org", "MX"): ["10 m\\255x.example.org.", "20 gw1.example.org."],
    ("example.org", "TXT"): ['"v=spf1 ip4:203.0.113.1 " "-all"', '"other"'],
    ("_dmarc.example.org", "TXT"): ['"v=DMARC1; p=none"'],
    ("_25._tcp.gw1.example.org", "TLSA"): ["3 1 1 " + "ab" * 32],
}
MAKE = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
BROKEN = "_mta-sts.example.org"


def answer(_resolver: str, wire: bytes) -> bytes:
    """What a resolver says."""
    query = dns.message.from_wire(wire)
    asked = query.question[0]
    name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
    response = dns.message.make_response(query)
    if name == BROKEN:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif (name, kind) in ZONE:
        response.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *ZONE[name, kind]))
    else:
        response.set_rcode(dns.rcode.NXDOMAIN)
    return response.to_wire()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The records of a gateway with a certificate and no DKIM key."""
    monkeypatch.setattr(gateway_state, "exchange", answer)
    certificate = tmp_path / "cert.pem"
    subprocess.run([*MAKE, "-keyout", str(tmp_path / "key"), "-out", str(certificate)], check=True, capture_output=True)
    addresses = ["203.0.113.1", "8.8.8.8", "10.0.0.7", "fe80::1"]
    monkeypatch.setattr(gateway_state, "public", lambda given: [item for item in given if item == "203.0.113.1"])
    return dict(gateway_state.mail_records("", "gw1.example.org", ["example.org"], addresses, str(certificate)))


def test_a_name_of_an_address_counts_when_it_leads_back(found: dict[str, Any]) -> None:
    assert found["addresses"] == {"203.0.113.1": ["gw1.example.org"]}


def test_a_server_whose_name_cannot_be_read_is_one_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_state, "exchange", answer)
    found = gateway_state.exchangers("", "odd.example.org")
    assert [host["addresses"] for host in found["hosts"]] == [[], ["203.0.113.1"]] and not found["error"]


def test_texts_are_read_whole_and_none_is_no_error(found: dict[str, Any]) -> None:
    assert found["texts"]["example.org"] == {"error": "", "found": ["other", "v=spf1 ip4:203.0.113.1 -all"]}
    assert found["texts"]["_dmarc.example.org"]["found"] == ["v=DMARC1; p=none"]
    assert found["texts"][BROKEN] == {"error": "server failure", "found": []}


def test_the_server_and_its_certificate_have_a_record_each(found: dict[str, Any]) -> None:
    assert found["tlsa"]["found"] == ["3 1 1 " + "ab" * 32]
    assert found["tlsa"]["fitting"][0].startswith("3 1 1 ") and len(found["tlsa"]["fitting"][0]) == 6 + 64


def test_a_record_may_be_of_the_key_of_the_certificate_or_of_an_authority_in_the_file(tmp_path: Path) -> None:
    ders = []
    for name in ("server", "authority"):
        path = tmp_path / name
        subprocess.run([*MAKE, "-keyout", str(tmp_path / "key"), "-out", str(path)], check=True, capture_output=True)
        ders.append(ssl.PEM_cert_to_DER_cert(path.read_text()))
    (tmp_path / "chain").write_text((tmp_path / "server").read_text() + (tmp_path / "authority").read_text())
    records = gateway_state.tlsa_records(str(tmp_path / "chain"))
    assert len(records) == 12 and f"3 0 1 {hashlib.sha256(ders[0]).hexdigest()}" in records
    assert f"2 0 2 {hashlib.sha512(ders[1]).hexdigest()}" in records
    assert gateway_state.tlsa_records(str(tmp_path / "none")) == gateway_state.tlsa_records("") == []


def test_only_addresses_that_others_can_reach_are_asked_for() -> None:
    assert gateway_state.public(["10.0.0.7", "8.8.8.8", "fe80::1", "127.0.0.1", "8.8.8.8"]) == ["8.8.8.8"]


def test_parents_go_up_to_the_registered_domain_at_most() -> None:
    assert gateway_state.with_parents("a.b.example.org") == ["a.b.example.org", "b.example.org", "example.org"]
    assert gateway_state.with_parents("org") == ["org"]
