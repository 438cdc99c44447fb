"""DANE for SMTP (RFC 7672, RFC 6698): whether a server's certificates are those that TLSA records name.

Usages 0 and 1 (PKIX-TA, PKIX-EE) are not usable for SMTP. With usage 3 (DANE-EE) the key or certificate counts alone:
no name, no dates. With usage 2 (DANE-TA) the chain must lead to the named authority, be in date, and show a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatepost import results
from gatepost.results import Outcome

TRUST_ANCHOR, END_ENTITY = 2, 3
FULL, PUBLIC_KEY = 0, 1
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
_LENGTHS = {1: 32, 2: 64}


@dataclass(frozen=True, slots=True)
class Tlsa:
    """A TLSA record: certificate usage, selector, matching type, data."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"

    @property
    def is_usable(self) -> bool:
        """Whether SMTP can go by it (RFC 7672, 3.1): of known kind, and of the length that its digest has."""
        length = _LENGTHS.get(self.matching, len(self.data))
        return (
            self.usage in (TRUST_ANCHOR, END_ENTITY)
            and self.selector in (FULL, PUBLIC_KEY)
            and self.matching in (0, *_DIGESTS)
            and len(self.data) == length > 0
        )

    def matches(self, certificate: bytes) -> bool:
        """Whether it names this certificate (DER)."""
        selected = certificate if self.selector == FULL else _public_key(certificate)
        digest = _DIGESTS.get(self.matching)
        return bool(selected) and (digest(selected).digest() if digest else selected) == self.data


def _public_key(certificate: bytes) -> bytes:
    # only few domains need it, and it costs some megabytes: so with the imports below
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        return b""


def usable(records: Iterable[Tlsa]) -> tuple[Tlsa, ...]:
    """The records that SMTP can go by, those of the strongest digest first."""
    return tuple(sorted((record for record in set(records) if record.is_usable), key=lambda r: (-r.usage, -r.matching)))


def problem(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str]) -> Outcome | None:
    """None if the chain (DER, the server's own certificate first) is one that the records name; else why not."""
    if not chain:
        return Outcome(results.FAILED, "the server showed no certificate")
    if any(record.usage == END_ENTITY and record.matches(chain[0]) for record in records):
        return None
    anchors = [
        certificate
        for record in records
        if record.usage == TRUST_ANCHOR
        for certificate in _candidates(record, chain)
        if record.matches(certificate)
    ]
    if not anchors:
        return Outcome(results.TLSA_INVALID, "its TLSA records name another certificate")
    return _chain_problem(anchors, chain) or _name_problem(chain[0], names)


def _candidates(record: Tlsa, chain: Sequence[bytes]) -> Sequence[bytes]:
    """Certificates that may be the authority: those that came, and the record's own, if it holds a whole one."""
    return [*chain, record.data] if (record.selector, record.matching) == (FULL, 0) else chain


def _chain_problem(anchors: Iterable[bytes], chain: Sequence[bytes]) -> Outcome | None:
    """Whether the chain leads to one of the authorities, which need not sign itself, and is in date."""
    from OpenSSL import crypto

    try:
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        for anchor in anchors:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, anchor))
        leaf, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, item) for item in chain)
        crypto.X509StoreContext(store, leaf, others).verify_certificate()
    except crypto.X509StoreContextError as error:
        return Outcome(results.of_certificate(error.errors[0]), str(error))
    except (crypto.Error, ValueError):
        return Outcome(results.FAILED, "a certificate that cannot be read")
    return None


def _name_problem(certificate: bytes, names: Sequence[str]) -> Outcome | None:
    from cryptography import x509

    try:
        extension = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        shown = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        shown = []
    if any(name_matches(pattern, name) for pattern in shown for name in names):
        return None
    return Outcome(results.OTHER_NAME, "hostname mismatch")


def name_matches(pattern: str, name: str) -> bool:
    """Whether a name is that of a pattern; `*` stands for one whole first label (RFC 6125, RFC 8461 4.1)."""
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if pattern.startswith("*."):
        return "." in name and name.split(".", 1)[1] == pattern[2:]
    return pattern == name
