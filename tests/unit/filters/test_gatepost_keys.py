"""DKIM keys and domains as administrators bring them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from gatewright.chapters.gatepost import CHAPTER, ascii_domains, gatepost_keys
from gatewright.problems import Problems

Private = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
OPEN = NoEncryption()


def pem(key: Private, form: PrivateFormat = PrivateFormat.PKCS8, encryption: KeySerializationEncryption = OPEN) -> str:
    """A key's file."""
    return key.private_bytes(Encoding.PEM, form, encryption).decode()


ED25519 = ed25519.Ed25519PrivateKey.generate()
CURVE = ec.generate_private_key(ec.SECP256R1())


def said(value: object) -> list[str]:
    """What the preflight says of gatepost_dkim_keys."""
    problems = Problems()
    CHAPTER.options["gatepost_dkim_keys"](problems, "gatepost_dkim_keys", value)
    return problems.found


@pytest.mark.parametrize("bits", [2048, 4096])
def test_rsa_keys_of_either_form_may_be_brought(bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    assert said({"example.org": {"a": pem(key), "b": pem(key, PrivateFormat.TraditionalOpenSSL)}}) == []


def test_a_key_from_a_file_of_windows_is_one_and_is_installed_without_its_carriage_returns() -> None:
    text = pem(ED25519)
    assert said({"example.org": {"a": text.replace("\n", "\r\n")}}) == []
    files = gatepost_keys({"example.org": {"a": text.replace("\n", "\r\n")}}, "/k")
    assert files["/k/example.org/a.pem"]["content"] == text


@pytest.mark.parametrize("selector", ["2026-11", "mail_2026", "s1.mail", "202611"])
def test_selectors_that_others_have_made_may_be_kept(selector: str) -> None:
    assert said({"example.org": {selector: pem(ED25519)}}) == []


@pytest.mark.parametrize("selector", ["", "../x", "a b", "a..b", ".a", "a.", "x" * 64, "a/b"])
def test_a_selector_that_is_no_name_is_refused(selector: str) -> None:
    assert "a selector is" in said({"example.org": {selector: pem(ED25519)}})[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (pem(CURVE), "cannot sign: neither an RSA key of 1024 bits or more nor an Ed25519 key"),
        (pem(ED25519).replace("PRIVATE", "PUBLIC"), "must be a private key in PEM"),
        (pem(ED25519, encryption=BestAvailableEncryption(b"x")), "cannot sign: Password was not given"),
        (pem(ED25519).replace("\n", " "), "must be a private key in PEM, each line on its own"),
        (pem(ED25519)[:60], "must be a private key in PEM"),
        ("", "must be a private key in PEM"),
    ],
    ids=["of a curve", "public", "with a passphrase", "in one line", "cut off", "empty"],
)
def test_a_key_that_could_not_sign_is_refused_before_it_reaches_a_gateway(text: str, words: str) -> None:
    (problem,) = said({"example.org": {"a": text}})
    assert problem.startswith(f"gatepost_dkim_keys.example.org.a: {words}")


def test_domains_are_those_of_dns_however_they_are_written() -> None:
    assert ascii_domains(["Example.ORG", "example.org", "Bücher.example"]) == ["example.org", "xn--bcher-kva.example"]
    levels = {"Bücher.example": "required", ".Bücher.example": "never"}
    assert ascii_domains(levels) == {"xn--bcher-kva.example": "required", ".xn--bcher-kva.example": "never"}
    assert "/k/xn--bcher-kva.example/a.pem" in gatepost_keys({"bücher.example": {"a": pem(ED25519)}}, "/k")
