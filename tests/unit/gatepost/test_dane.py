"""Whether a chain is the one that TLSA records name: the kinds of cases of OpenSSL's danetest.in, as SMTP has them."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from gatepost import dane, results
from gatepost.dane import Tlsa

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
MX, DOMAIN = "mx.corp.test", "corp.test"
Key = ec.EllipticCurvePrivateKey


class Authority:
    """A key, and a certificate for it: its own, or another authority's."""

    def __init__(self, name: str, above: Authority | None = None) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (above or self).certify(self.name, self.key, is_authority=True)

    def certify(
        self, subject: x509.Name, key: Key, *, names: Sequence[str] = (), end: int = 9, is_authority: bool = False
    ) -> bytes:
        """A certificate (DER) that ends in so many days."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 30 * DAY)
            .not_valid_after(NOW + end * DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def server(self, *names: str, common: str = "server", end: int = 9) -> bytes:
        """A server's certificate."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        return self.certify(subject, ec.generate_private_key(ec.SECP256R1()), names=names, end=end)


ROOT = Authority("root")
SUB = Authority("sub", ROOT)
FEIGNED = Authority("root")  # the same name, another key
CERTIFICATES = {
    "root": ROOT.certificate,
    "sub": SUB.certificate,
    "feigned root": FEIGNED.certificate,
    "leaf": SUB.server(MX),
    "of the domain": SUB.server(DOMAIN),
    "wild": SUB.server("*.corp.test"),
    "wilder": SUB.server("*.mx.corp.test"),
    "other name": SUB.server("mx.other.test"),
    "common name": SUB.server(common=MX),
    "expired": SUB.server(MX, end=-1),
    "of root": ROOT.server(MX),
    "feigned leaf": FEIGNED.server(MX),
}


def tlsa(text: str) -> Tlsa:
    """A record of its numbers, and the name of the certificate whose data it has."""
    usage, selector, matching, name = text.split(" ", 3)
    data = CERTIFICATES[name]
    if selector == "1":
        public = x509.load_der_x509_certificate(data).public_key()
        data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digests = {"1": hashlib.sha256, "2": hashlib.sha512}
    data = digests[matching](data).digest() if matching in digests else data
    return Tlsa(int(usage), int(selector), int(matching), data)


def result(records: str, chain: str) -> str | None:
    """What is wrong of a chain, in TLS-RPT's word; None: nothing."""
    usable = dane.usable(map(tlsa, records.split(", ")))
    shown = [CERTIFICATES[name] for name in chain.split(", ") if name]
    problem = dane.problem(usable, shown, (MX, DOMAIN))
    return problem.result if problem else None


@pytest.mark.parametrize("kind", [f"{selector} {matching}" for selector in (0, 1) for matching in (0, 1, 2)])
class TestEachKind:
    """Of whole certificates and of keys; as they are, by SHA-256 and by SHA-512."""

    def test_the_servers_own_certificate_needs_no_chain_no_name_and_no_date(self, kind: str) -> None:
        for chain in ("leaf", "expired", "other name", "common name", "feigned leaf"):
            assert result(f"3 {kind} {chain}", chain) is None, chain

    def test_another_certificate_is_not_it_wherever_it_stands_in_the_chain(self, kind: str) -> None:
        for named in ("sub", "root", "of root"):
            assert result(f"3 {kind} {named}", "leaf, sub, root") == results.TLSA_INVALID, named

    def test_an_authority_vouches_for_the_servers_below_it(self, kind: str) -> None:
        assert result(f"2 {kind} root", "leaf, sub, root") is None
        assert result(f"2 {kind} root", "of root, root") is None
        assert result(f"2 {kind} sub", "leaf, sub") is None, "an authority need not sign itself"
        assert result(f"2 {kind} sub", "leaf, sub, root") is None

    def test_an_authority_vouches_for_no_server_of_another(self, kind: str) -> None:
        assert result(f"2 {kind} root", "feigned leaf, root") is not None
        assert result(f"2 {kind} root", "feigned leaf, feigned root") is not None
        assert result(f"2 {kind} sub", "of root, sub, root") is not None
        assert result(f"2 {kind} root", "leaf, root") is not None, "a link of the chain is missing"


@pytest.mark.parametrize(
    ("leaf", "word"),
    [
        ("leaf", None),
        ("of the domain", None),
        ("wild", None),
        ("wilder", results.OTHER_NAME),
        ("other name", results.OTHER_NAME),
        ("common name", results.OTHER_NAME),
        ("expired", results.EXPIRED),
    ],
)
def test_below_an_authority_name_and_date_count(leaf: str, word: str | None) -> None:
    assert result("2 1 1 sub", f"{leaf}, sub, root") == word


def test_an_authority_whose_whole_certificate_is_in_dns_need_not_be_shown() -> None:
    assert result("2 0 0 root", "leaf, sub") is None
    assert result("2 0 1 root", "leaf, sub") == results.TLSA_INVALID


@pytest.mark.parametrize("records", ["3 1 1 of root, 3 1 1 leaf", "3 1 2 wild, 2 0 1 root", "0 0 1 leaf, 3 0 1 leaf"])
def test_one_record_that_fits_is_enough(records: str) -> None:
    assert result(records, "leaf, sub, root") is None


@pytest.mark.parametrize(
    "record",
    [
        "0 0 1 leaf", "1 1 1 leaf", "1 0 0 leaf", "4 1 1 leaf", "255 1 1 leaf", "3 2 1 leaf", "3 255 1 leaf",
        "3 1 3 leaf", "3 1 255 leaf", "2 3 1 root",
    ],
)  # short cases, many a line # fmt: skip
def test_what_smtp_cannot_use_counts_for_nothing(record: str) -> None:
    assert dane.usable([tlsa(record)]) == ()
    assert result(f"{record}, 3 1 1 leaf", "leaf, sub") is None
    assert result(f"{record}, 3 1 1 wild", "leaf, sub") == results.TLSA_INVALID


@pytest.mark.parametrize("data", [b"", b"x", bytes(31), bytes(33), bytes(64)])
def test_a_digest_of_another_length_counts_for_nothing(data: bytes) -> None:
    assert dane.usable([Tlsa(3, 1, 1, data)]) == ()


def test_without_a_certificate_and_with_one_that_is_none_nothing_fits() -> None:
    assert result("3 1 1 leaf", "") == results.FAILED
    for record in (tlsa("3 1 1 leaf"), tlsa("2 0 0 root"), Tlsa(2, 0, 0, b"no certificate")):
        assert dane.problem([record], [b"no certificate"], (MX,)) is not None
