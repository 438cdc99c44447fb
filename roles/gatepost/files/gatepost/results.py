"""How TLS with a server went, in TLS-RPT's words (RFC 8460, 4.3)."""

from __future__ import annotations

from dataclasses import dataclass

NO_STARTTLS = "starttls-not-supported"
OTHER_NAME = "certificate-host-mismatch"
EXPIRED = "certificate-expired"
NOT_TRUSTED = "certificate-not-trusted"
FAILED = "validation-failure"
TLSA_INVALID = "tlsa-invalid"
DNSSEC_INVALID = "dnssec-invalid"
STS_FETCH_ERROR = "sts-policy-fetch-error"

# OpenSSL's numbers (X509_V_ERR_...): an issuer that is missing or not trusted, certificates that sign themselves
_OF_CERTIFICATES = {10: EXPIRED, 62: OTHER_NAME, 64: OTHER_NAME, **dict.fromkeys((2, 18, 19, 20, 21, 27), NOT_TRUSTED)}


def of_certificate(number: int) -> str:
    """The word for OpenSSL's number of what is wrong with a chain."""
    return _OF_CERTIFICATES.get(number, FAILED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """result: empty for success. why: in words of our own."""

    result: str = ""
    why: str = ""
