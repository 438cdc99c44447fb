"""A name server of one zone, the root, which DNSSEC vouches for; and the role's own unbound in front of it."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm
from jinja2 import Template

from tests.unpacked import environment

PROJECT = Path(__file__).parents[3]
TEMPLATE = PROJECT / "roles/gatepost/templates/etc/unbound/gatepost.conf.j2"
ROOT = dns.name.root
PATIENCE = 20.0
"""Seconds for unbound to answer."""


def configuration(port: int = 5335, zones: dict[str, list[str]] | None = None, **values: object) -> str:
    """/etc/unbound/gatepost.conf, laid out as Ansible's template does it."""
    template = Template(TEMPLATE.read_text(), trim_blocks=True, keep_trailing_newline=True)
    made = {
        "_gatepost_managed": "Managed.",
        "_gatepost_dnssec_port": port,
        "_gatepost_dnssec_zones": zones or {".": ["192.0.2.53"]},
        "gatepost_dnssec_anchors": [],
        "gatepost_dnssec_unsigned": [],
        "dnscache_forward_only": False,
    }
    return str(template.render(**made | values))


class SignedZone:
    """Serves a zone over UDP on a port of 127.0.0.1. forged: names whose records are not those that were signed."""

    def __init__(self, records: str) -> None:
        text = f"@ 60 SOA ns. root. 1 60 60 60 60\n@ 60 NS ns.\nns 60 A 127.0.0.1\n{records}"
        self.zone = dns.zone.from_text(text, ROOT, relativize=False)
        self.forged: set[str] = set()
        key = ec.generate_private_key(ec.SECP256R1())
        public = dns.dnssec.make_dnskey(key.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
        self.anchor = f". IN DNSKEY {public.to_text()}"
        with self.zone.writer() as writer:
            dns.dnssec.sign_zone(self.zone, writer, [(key, public)], lifetime=3600)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            wire, client = self.socket.recvfrom(4096)
            self.socket.sendto(self._answer(dns.message.from_wire(wire)).to_wire(max_size=65535), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        asked = query.question[0]
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        is_there = any(name.is_subdomain(asked.name) for name in self.zone.nodes)
        found = self._with_signature(asked.name, asked.rdtype)
        if found:
            response.answer += found
        else:
            response.set_rcode(dns.rcode.NOERROR if is_there else dns.rcode.NXDOMAIN)
            response.authority += self._with_signature(ROOT, dns.rdatatype.SOA)
            before = max(name for name in self.zone.nodes if name <= asked.name)
            for name in {ROOT, before}:
                response.authority += self._with_signature(name, dns.rdatatype.NSEC)
        return response

    def _with_signature(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
        data = self.zone.get_rrset(name, kind)
        signature = self.zone.get_rrset(name, dns.rdatatype.RRSIG, kind)
        if data is None:
            return []
        if name.to_text() in self.forged:
            data = dns.rrset.from_text(name, 60, "IN", kind, re.sub(r"\d+(?=\D*$)", "99", data[0].to_text()))
        return [data, signature] if signature is not None else [data]


def configure(place: Path, zone: SignedZone) -> tuple[Path, int]:
    """Write unbound's configuration as the role does, but that it may ask loopback, where the zone is; and its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    text = configuration(port, {".": [f"127.0.0.1@{zone.port}"]}, gatepost_dnssec_anchors=[zone.anchor])
    path = place / "unbound.conf"
    path.write_text(text.replace("/etc/unbound", str(place)) + "server:\n  do-not-query-localhost: no\n")
    return path, port


@contextmanager
def unbound(program: Path, place: Path, zone: SignedZone) -> Iterator[int]:
    """Run unbound; its port."""
    path, port = configure(place, zone)
    with (
        (place / "unbound.log").open("wb") as log,
        subprocess.Popen([program, "-d", "-p", "-c", str(path)], stderr=log, env=environment()) as process,
    ):
        try:
            _wait_for_answer(port, process)
            yield port
        finally:
            process.terminate()


def _wait_for_answer(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            dns.query.udp(dns.message.make_query("ns.", "A"), "127.0.0.1", port=port, timeout=0.5)
            return
        except (dns.exception.Timeout, OSError):
            continue
    raise AssertionError("unbound does not answer")
