"""TLS-RPT: how TLS with other domains' servers went is counted, and told once to the domains that want to know."""

from __future__ import annotations

import datetime
import email
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from gatepost.gatereport import records
from gatepost.gatereport.days import Days, today
from gatepost_rig import PATIENCE, PROJECT, Gatepost, NameServer
from server_rig import Server
from test_mx import PolicyDaemon, chain, free_port, tlsa

__all__ = ["chain"]  # a fixture

SCHEMA = json.loads((Path(__file__).parent / "tls-report.schema.json").read_text())
YESTERDAY = today() - datetime.timedelta(1)
REPORTER = 4242
"""The user of the program that sends reports."""


@dataclass
class Domain:
    """A domain: how its server's TLS is, and what its report must say. result: empty for success."""

    name: str
    policy: str = "no-policy-found"
    result: str = ""
    certificate: str = "self-signed"
    spoil: Callable[[Server], None] = lambda _: None
    sts: bytes = b""
    tlsa: str = ""
    host: str = field(init=False)
    address: str = ""

    def __post_init__(self) -> None:
        # a.test is the name in the authority's certificates
        self.host = "a.test" if self.sts and not self.result else f"mx.{self.name}"


def without_tls(server: Server) -> None:
    """It offers no STARTTLS."""
    server.certificate = None


def refuses_tls(server: Server) -> None:
    """It cannot do TLS just now."""
    server.replies["STARTTLS"] = b"454 not now\r\n"


def drops_handshake(server: Server) -> None:
    """It hangs up in the handshake."""
    server.drops.add("handshake")


DOMAINS = [
    Domain("good.test"),
    Domain("plain.test", result="starttls-not-supported", spoil=without_tls),
    Domain("refused.test", result="starttls-not-supported", spoil=refuses_tls),
    Domain("broken.test", result="validation-failure", spoil=drops_handshake),
    Domain("dane.test", "tlsa", tlsa="right"),
    Domain("otherdane.test", "tlsa", "tlsa-invalid", tlsa="3 1 1 " + "00" * 32),
    Domain("oddtlsa.test", "tlsa", "tlsa-invalid", tlsa="1 1 1 " + "00" * 32),
    Domain("bogus.test", "tlsa", "dnssec-invalid", tlsa="bogus"),
    Domain("sts.test", "sts", certificate="own", sts=b"OK secure match=a.test"),
    Domain("othername.test", "sts", "certificate-host-mismatch", "own", sts=b"OK secure match=.othername.test"),
    Domain("expired.test", "sts", "certificate-expired", certificate="expired", sts=b"OK secure match=.expired.test"),
    Domain("untrusted.test", "sts", "certificate-not-trusted", sts=b"OK secure match=.untrusted.test"),
    Domain("othermx.test", "sts", "validation-failure", sts=b"OK secure match=mx.elsewhere.test"),
    Domain("nopolicy.test", "sts", "sts-policy-fetch-error", sts=b"TIMEOUT the policy's server does not answer"),
]


def certify(ca: Path, names: list[str], end: datetime.timedelta) -> str:
    """A certificate of these names that the authority signed, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    authority = x509.load_pem_x509_certificate(ca.read_bytes())
    signer = load_pem_private_key(ca.with_suffix(".key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    return pem.decode()


@dataclass
class Site:
    """A gateway that counts, and the program that sends its reports."""

    daemon: Gatepost
    servers: dict[str, Server]

    @property
    def counts(self) -> Path:
        """The folder of counts; not below the journal's, for which the fence has another rule."""
        return self.daemon.place.with_name("counts")

    @property
    def sent(self) -> Path:
        """The folder of what was sent."""
        return self.daemon.place / "sent"

    def pass_midnight(self, days: int = 1) -> None:
        """What was counted today is of a day before."""
        (self.counts / f"{today()}.jsonl").rename(self.counts / f"{today() - datetime.timedelta(days)}.jsonl")

    def report(self) -> int:
        """Send the reports; the exit status."""
        command = [sys.executable, "-m", "gatepost", "--config", str(self.daemon.config), "tls-reports"]
        path = {**os.environ, "PYTHONPATH": f"{PROJECT}/roles/gatepost/files"}
        port = str(self.daemon.names.port)
        done = subprocess.run(
            [*command, "--sent", str(self.sent), "--name-server-port", port],
            env=path,
            timeout=PATIENCE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    def mails(self) -> dict[str, Message]:
        """The mails that were sent, by the domain that they are about; each once."""
        found: dict[str, Message] = {}
        for path in (self.daemon.place / "mails").glob("*.mail"):
            mail = email.message_from_bytes(path.read_bytes())
            assert found.setdefault(str(mail["TLS-Report-Domain"]), mail) is mail
        return found

    def reports(self) -> dict[str, Any]:
        """The reports in these mails."""
        return {name: contents(mail) for name, mail in self.mails().items()}

    def count(self, *domains: str) -> None:
        """Have sessions of some domains counted."""
        days = Days(self.counts)
        for domain in domains:
            days.add({"domain": domain, "policy": "no-policy-found", "result": ""})


def contents(mail: Message) -> Any:
    """The report in a mail, which fits RFC 8460."""
    parts = mail.get_payload()
    assert isinstance(parts, list)
    attached = parts[1]
    assert isinstance(attached, Message)
    data = attached.get_payload(decode=True)
    assert isinstance(data, bytes)
    report = json.loads(gzip.decompress(data))
    jsonschema.validate(report, SCHEMA, format_checker=jsonschema.FormatChecker())
    return report


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Gatepost:
    """The client, and a place for the daemon."""
    return Gatepost(tmp_path_factory.mktemp("gatepost"), NameServer())


@pytest.fixture
def site(built: Gatepost) -> Site:
    """A gateway that has counted nothing yet, and its qmail-inject, which fails while a file `broken` is there."""
    place = built.place
    built.names.records.clear()
    built.names.soft.clear()
    built.furnish()
    made = Site(built, {})
    for folder in (made.counts, made.sent, place / "mails", place / "qmail/bin"):
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
    (place / "broken").unlink(missing_ok=True)
    inject = place / "qmail/bin/qmail-inject"
    inject.write_text(
        f"#!/bin/sh\n[ ! -e {place}/broken ] || {{ echo full >&2; exit 111; }}\n"
        f'echo "$*" >> {place}/mails/arguments\nexec cat > $(mktemp {place}/mails/XXXXXX.mail)\n'
    )
    inject.chmod(0o755)
    built.configure(
        tls_counts=str(made.counts), reporter=REPORTER, organization="Example & Söhne", contact="tls@gw.test"
    )
    return made


def wants_reports(site: Site, *domains: str) -> None:
    """Domains that want reports."""
    for name in domains:
        site.daemon.names.add(f"_smtp._tls.{name}", "TXT", f'"v=TLSRPTv1; rua=mailto:reports@{name}"')


@pytest.fixture
def yard(site: Site, authority: Path, chain: tuple[Path, Path, Path], tmp_path: Path) -> Iterator[Site]:
    """The same, and all kinds of servers, which listen on one port of as many addresses."""
    ca, own, _ = chain
    expired = tmp_path / "expired.pem"
    expired.write_text(certify(ca, ["mx.expired.test"], -datetime.timedelta(days=1)))
    certificates = {"self-signed": authority, "own": own, "expired": expired}
    port, names = free_port(), site.daemon.names
    policies = PolicyDaemon(tmp_path / "sts")
    for number, domain in enumerate(DOMAINS, 1):
        address = f"127.0.4.{number}"
        names.add(domain.name, "MX", f"10 {domain.host}.")
        names.add(domain.host, "A", address)
        site.servers[domain.name] = Server(certificates[domain.certificate], address, port)
        domain.spoil(site.servers[domain.name])
        domain.address = address
        if domain.sts:
            policies.answers[domain.name] = domain.sts
        if domain.tlsa == "bogus":
            names.soft.add(f"_{port}._tcp.{domain.host}")
        elif domain.tlsa:
            names.add(f"_{port}._tcp.{domain.host}", "TLSA", domain.tlsa.replace("right", tlsa(authority)))
    site.daemon.start(
        **site.daemon.settings, port=port, is_validating=True, sts_socket=str(tmp_path / "sts"), authorities=str(ca)
    )
    yield site
    for server in site.servers.values():
        server.close()
    assert "Traceback" not in site.daemon.stop()


def test_each_kind_of_tls_is_in_the_report_to_its_domain(yard: Site) -> None:
    for domain in DOMAINS:
        yard.daemon.run(f"bob@{domain.name}", domain=domain.name)
    wants_reports(yard, *(domain.name for domain in DOMAINS))
    assert yard.report() == 0 and yard.mails() == {}  # today is not over
    yard.pass_midnight()
    assert yard.report() == 0
    reports = yard.reports()
    for domain in DOMAINS:
        (told,) = reports[domain.name]["policies"]
        failed = told["summary"]["total-failure-session-count"]
        assert told["policy"]["policy-type"] == domain.policy, domain.name
        results = [found["result-type"] for found in told.get("failure-details", [])]
        assert results == [domain.result] * failed and failed == bool(domain.result), domain.name
        # with TLSA records that cannot be used a session comes about nevertheless
        wanted = not domain.result or domain.name == "oddtlsa.test"
        assert told["summary"]["total-successful-session-count"] == wanted, domain.name
    assert len(reports) == len(DOMAINS)


def test_a_failure_names_the_server_and_the_policy(yard: Site) -> None:
    for name in ("othername.test", "otherdane.test"):
        for _ in range(3):
            yard.daemon.run(f"bob@{name}", domain=name)
        wants_reports(yard, name)
    yard.pass_midnight()
    yard.report()
    reports = yard.reports()
    (told,) = reports["othername.test"]["policies"]
    assert told["policy"] == {
        "policy-type": "sts",
        "policy-domain": "othername.test",
        "mx-host": ["*.othername.test"],
        "policy-string": ["version: STSv1", "mode: enforce", "mx: *.othername.test"],
    }
    address = next(domain.address for domain in DOMAINS if domain.name == "othername.test")
    assert told["failure-details"] == [{
        "result-type": "certificate-host-mismatch", "sending-mta-ip": "127.0.0.1", "receiving-ip": address,
        "receiving-mx-hostname": "mx.othername.test", "failure-reason-code": "hostname mismatch",
        "failed-session-count": 3,
    }]  # short pairs, many a line # fmt: skip
    (told,) = reports["otherdane.test"]["policies"]
    assert told["policy"]["policy-string"] == ["3 1 1 " + "00" * 32]
    assert told["policy"]["mx-host"] == ["mx.otherdane.test"]


def test_what_is_counted_stays_over_a_reload_and_a_restart_and_a_session_counts_once(yard: Site) -> None:
    yard.daemon.run("bob@good.test", domain="good.test")
    yard.daemon.reload({"reuse_seconds": 5})
    for _ in range(3):  # one session
        yard.daemon.run("bob@good.test", domain="good.test")
    yard.daemon.stop()
    yard.daemon.restart()
    yard.daemon.run("bob@good.test", domain="good.test")
    wants_reports(yard, "good.test")
    yard.pass_midnight()
    yard.report()
    (told,) = yard.reports()["good.test"]["policies"]
    assert told["summary"]["total-successful-session-count"] == 3


def test_a_route_is_not_counted(yard: Site) -> None:
    yard.daemon.route(yard.servers["good.test"], "optional", "[127.0.4.1]")
    assert b"accepted" in yard.daemon.run("bob@corp.test")
    assert list(yard.counts.iterdir()) == []


def test_a_report_itself_arrives_although_tls_fails_and_is_not_counted(yard: Site) -> None:
    by_us = b"Received: (qmail 7 invoked by uid %d); 1 Jan 2026 00:00:00 -0000\nSubject: x\n\nhello\n"
    assert b"accepted" in yard.daemon.run("r@otherdane.test", domain="otherdane.test", message=by_us % REPORTER)
    assert list(yard.counts.iterdir()) == []
    feigned = b"Received: (qmail 8 invoked from network); 1 Jan 2026 00:00:00 -0000\n" + by_us % REPORTER
    for message in (feigned, by_us % (REPORTER + 1)):
        report = yard.daemon.run("r@otherdane.test", domain="otherdane.test", message=message)
        assert b"TLS is to be verified by DANE" in report
    assert len(yard.servers["otherdane.test"].messages) == 1


# What is sent


def test_the_mail_is_what_rfc_8460_says(site: Site) -> None:
    site.count("good.test")
    wants_reports(site, "good.test")
    site.pass_midnight()
    site.report()
    mail = site.mails()["good.test"]
    assert (site.daemon.place / "mails/arguments").read_text() == "-a -f tls@gw.test reports@good.test\n"
    assert mail.get_content_type() == "multipart/report" and mail.get_param("report-type") == "tlsrpt"
    assert (mail["TLS-Report-Submitter"], mail["To"]) == ("gw.test", "reports@good.test")
    assert "<tls@gw.test>" in mail["From"]
    _, _, attached = mail.walk()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    begin = int(datetime.datetime.combine(YESTERDAY, datetime.time(), datetime.UTC).timestamp())
    report = site.reports()["good.test"]
    identity, _, host = report["report-id"].partition("@")
    name = attached.get_filename()
    assert name == f"gw.test!good.test!{begin}!{begin + 86399}!{identity}.json.gz" and host == "gw.test"
    subject = "".join(mail["Subject"].splitlines())
    assert subject == f"Report Domain: good.test Submitter: gw.test Report-ID: <{report['report-id']}>"
    assert report["organization-name"] == "Example & Söhne" and report["contact-info"] == "tls@gw.test"
    assert report["date-range"]["start-datetime"] == f"{YESTERDAY}T00:00:00Z"


def test_nothing_is_sent_twice(site: Site) -> None:
    site.count("good.test", "late.test")
    wants_reports(site, "good.test", "late.test")
    site.daemon.names.soft.add("_smtp._tls.late.test")
    site.pass_midnight()
    assert site.report() == 75 and set(site.mails()) == {"good.test"}
    assert site.report() == 75 and set(site.mails()) == {"good.test"}
    site.daemon.names.soft.clear()
    assert site.report() == 0 and set(site.mails()) == {"good.test", "late.test"}
    assert site.report() == 0 and set(site.mails()) == {"good.test", "late.test"}
    assert list(site.counts.iterdir()) == list(site.sent.iterdir()) == []


def test_a_report_that_qmail_does_not_take_is_sent_by_the_next_run(site: Site) -> None:
    site.count("good.test")
    wants_reports(site, "good.test")
    site.pass_midnight()
    (site.daemon.place / "broken").touch()
    assert site.report() == 75 and site.mails() == {}
    (site.daemon.place / "broken").unlink()
    assert site.report() == 0 and set(site.mails()) == {"good.test"}


def test_a_report_that_is_too_late_is_given_up(site: Site) -> None:
    site.count("late.test")
    site.daemon.names.soft.add("_smtp._tls.late.test")
    site.pass_midnight(3)
    assert site.report() == 0 and list(site.counts.iterdir()) == []


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ['"v=TLSRPTv2; rua=mailto:reports@good.test"'],
        ['"v=TLSRPTv1; rua=https://good.test/reports"'],
        ['"v=TLSRPTv1; rua=mailto:reports@good.test"', '"v=TLSRPTv1; rua=mailto:others@good.test"'],
        ['"v=TLSRPTv1; rua=mailto:-a@good.test,mailto:a b@good.test,mailto:x"'],
        ['"v=TLSRPTv1"'],
    ],
    ids=["none", "another version", "https alone", "two records", "no addresses", "no rua"],
)
def test_a_domain_without_a_record_that_can_be_used_gets_nothing(site: Site, texts: list[str]) -> None:
    site.count("good.test")
    site.daemon.names.add("_smtp._tls.good.test", "TXT", *texts)
    site.pass_midnight()
    assert site.report() == 0 and site.mails() == {}


def test_a_record_may_name_several_mailboxes_but_not_a_crowd() -> None:
    rua = "https://x.test/, mailto:A%2Bb@good.test!10m,MAILTO:c@good.test?subject=x," + ",".join(
        f"mailto:victim{n}@elsewhere.test" for n in range(50)
    )
    assert records.mailboxes(rua, 3) == ["A+b@good.test", "c@good.test", "victim0@elsewhere.test"]


# A hostile world


def test_a_day_has_a_bound_and_mail_goes_on_behind_it(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    days = Days(site.counts, limit=1000)
    for number in range(100):
        days.add({"domain": f"d{number}.test", "policy": "no-policy-found", "result": ""})
    assert (site.counts / f"{today()}.jsonl").stat().st_size <= 1000
    assert len(caplog.records) == 1 and "is full" in caplog.text


def test_lines_that_are_none_of_ours_spoil_no_report(site: Site) -> None:
    site.count("good.test")
    with (site.counts / f"{today()}.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n[1]\n{"domain": "../x"}\n{"domain": "a\\nb.test"}\n{"domain": 7}\n' + b"[" * 100_000)
        file.write(b"\n" + json.dumps({"domain": "good.test", "text": 5, "hosts": [1], "policy": None}).encode())
    wants_reports(site, "good.test")
    site.pass_midnight()
    assert site.report() == 0
    (told,) = site.reports()["good.test"]["policies"]
    assert told["summary"]["total-successful-session-count"] == 1


def test_failures_of_many_kinds_make_no_large_report(site: Site) -> None:
    days = Days(site.counts)
    for number in range(2000):
        days.add({
            "domain": "good.test", "policy": "no-policy-found", "result": "validation-failure", "why": str(number),
        })  # short pairs, many a line # fmt: skip
    wants_reports(site, "good.test")
    site.pass_midnight()
    site.report()
    (told,) = site.reports()["good.test"]["policies"]
    assert told["summary"]["total-failure-session-count"] == 2000
    assert len(told["failure-details"]) == 501
    assert sum(found["failed-session-count"] for found in told["failure-details"]) == 2000
