"""DKIM signatures of what comes in: those that dkimpy makes, and what is done to them on the way."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import threading
import time
from functools import cache
from pathlib import Path

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from gatekeeper.auth import dkim
from gatekeeper.auth.dkim import MOST, Signature
from gatekeeper.auth.mail import Message, of_bytes, of_file
from zone import Zone

HEADER = (
    b"From: Ann <ann@corp.test>\nTo: bob@world.test\nSubject: a  b\n\tc \nDate: Fri, 27 Nov 2026 08:00:00 +0000\n\n"
)
BODY = b"hello\n"
DER = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@cache
def key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def small_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def record(bits: int = 2048) -> str:
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(key(bits).public_key().public_bytes(*DER)).decode()


def small_record() -> str:
    return "v=DKIM1; k=ed25519; p=" + base64.b64encode(small_key().public_key().public_bytes(*RAW)).decode()


def signed(
    message: bytes, bits: int = 2048, form: str = "relaxed/relaxed", algorithm: str = "rsa-sha256", **more: object
) -> bytes:
    """A message with dkimpy's signature in front."""
    header, body = (part.encode() for part in form.split("/"))
    if algorithm == "ed25519-sha256":
        raw = serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        pem = base64.b64encode(small_key().private_bytes(*raw))
    else:
        pkcs1 = serialization.PrivateFormat.TraditionalOpenSSL
        pem = key(bits).private_bytes(serialization.Encoding.PEM, pkcs1, serialization.NoEncryption())
    field = dkimpy.sign(
        message.replace(b"\n", b"\r\n"), b"one", b"corp.test", pem, canonicalize=(header, body),
        signature_algorithm=algorithm.encode(), **more,
    )  # short arguments, many a line # fmt: skip
    return bytes(field).replace(b"\r\n", b"\n") + message


def zone(text: str = "") -> Zone:
    return Zone(txt={"one._domainkey.corp.test": text or record()})


def verified(message: bytes, names: Zone | None = None) -> list[Signature]:
    return asyncio.run(dkim.verify(of_bytes(message), names or zone()))


def result(message: bytes, names: Zone | None = None) -> tuple[str, str]:
    (one,) = verified(message, names)
    return one.result.value, one.why


BODIES = {
    "plain": b"hello\n",
    "empty": b"",
    "no line end": b"hello",
    "blank lines at the end": b"hello\n\n\n\n",
    "blank lines alone": b"\n\n\n",
    "blanks": b"a  b\t \tc \t\n   \n\td\n",
    "blanks at the end": b"a\n \n \t\n  \n",
    "8 bit": "Grüße aus Köln\n".encode() + b"\x80\xff\n",
    "a long line": b"x" * 600_000 + b"\n",
    "a block's border": b"y" * ((1 << 18) - 2) + b"  \n" + b"z \t" * 90_000 + b"\n",
    "a long end of blank lines": b"a\n" + b"\n" * 300_000 + b"b" + b"\n" * 300_000,
}


@pytest.mark.parametrize("form", ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_dkimpy_signed_is_valid_whether_it_is_in_memory_or_in_a_file(
    body: bytes, form: str, tmp_path: Path
) -> None:
    message = signed(HEADER + body, form=form)
    (tmp_path / "message").write_bytes(b"\0" * 100 + message)
    with (tmp_path / "message").open("rb") as file:
        (stored,) = asyncio.run(dkim.verify(of_file(file.fileno(), 100), zone()))
    assert verified(message) == [stored]
    assert (stored.result, stored.domain, stored.selector) == ("pass", "corp.test", "one")


def test_ed25519_is_known() -> None:
    message = signed(HEADER + BODY, algorithm="ed25519-sha256")
    assert result(message, zone(small_record())) == ("pass", "")
    assert result(message.replace(b"hello", b"hullo"), zone(small_record()))[0] == "fail"
    assert result(message, zone())[0] == "permerror"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"hello", b"hullo"),
        (b"hello\n", b"hello\nand more\n"),
        (b"Ann <ann", b"Bob <bob"),
        (b"a  b\n", b"ab\n"),
        (b"; t=", b"; t=1"),
        (b"; d=corp.test", b"; d=Corp.test"),
    ],
)
def test_what_was_changed_on_the_way_is_not(before: bytes, after: bytes) -> None:
    message = signed(HEADER + BODY)
    changed = message.replace(before, after)
    assert changed != message
    assert result(changed)[0] == "fail"


def test_what_a_relay_does_to_blanks_changes_nothing() -> None:
    message = signed(HEADER + BODY).replace(b"a  b\n\tc \n", b"a b c\n").replace(b"hello\n", b"hello  \n\n")
    assert result(message) == ("pass", "")


def test_a_second_author_is_noticed_where_the_first_is_signed_once_more() -> None:
    message = signed(HEADER + BODY)
    assert result(b"From: eve@evil.test\n" + message)[0] == "fail"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("v=DKIM1; p=", "withdrawn"),
        ("v=DKIM1; k=rsa; p=!!!!", "no base64"),
        ("v=DKIM1; k=rsa; p=AAAA", "none"),
        ("v=DKIM2; p=AAAA", "none"),
        ("hello", "no list of tags"),
        ("v=DKIM1; h=sha1; p=AAAA", "something else"),
        ("v=DKIM1; s=tlsrpt; p=AAAA", "something else"),
        ("k=rsa; v=DKIM1; p=AAAA", "none"),
        ("v=DKIM1; p=" + "A" * 5000, "too long"),
    ],
)
def test_a_key_that_is_none_proves_nothing(text: str, why: str) -> None:
    found, said = result(signed(HEADER + BODY), zone(text))
    assert found == "permerror"
    assert why in said


def test_a_key_that_is_not_there_proves_nothing_and_two_do_not_either() -> None:
    message = signed(HEADER + BODY)
    assert result(message, Zone())[0] == "permerror"
    assert result(message, Zone(txt={"one._domainkey.corp.test": [record(), record()]}))[0] == "permerror"


def test_a_key_that_cannot_be_had_now_is_no_failure() -> None:
    names = zone()
    names.failing = {"one._domainkey.corp.test"}
    assert result(signed(HEADER + BODY), names)[0] == "temperror"


def test_a_key_may_be_for_its_own_domain_alone() -> None:
    message = signed(HEADER + BODY, identity=b"ann@sub.corp.test")
    assert result(message) == ("pass", "")
    assert result(message, zone(record() + "; t=s"))[0] == "permerror"


def test_a_short_key_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    message = signed(HEADER + BODY, 1024)
    assert result(message, zone(record(1024))) == ("pass", "")
    monkeypatch.setattr(dkim, "SHORTEST", 1025)  # nothing makes shorter keys any longer
    dkim.parse_key.cache_clear()
    assert result(message, zone(record(1024))) == ("policy", "its key has 1024 bits")
    dkim.parse_key.cache_clear()


def test_a_signature_of_the_bodys_beginning_alone_is_not_believed() -> None:
    message = signed(HEADER + BODY, length=True)
    assert b"l=" in message
    assert result(message) == ("pass", "")
    assert result(message + b"<h1>pay here</h1>\n")[0] == "policy"


def edited(old: bytes, new: bytes) -> bytes:
    message = signed(HEADER + BODY)
    changed = re.sub(old, new, message, count=1)
    assert changed != message
    return changed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"v=1; ", b""),
        (rb"v=1;", b"v=2;"),
        (rb"a=rsa-sha256", b"a=rsa-sha512"),
        (rb"c=relaxed/relaxed", b"c=loose"),
        (rb"d=corp.test", b"d=corp..test"),
        (rb"d=corp.test", b"d=test"),
        (rb"d=corp.test", b"d=corp.test\0.evil.test"),
        (rb"d=corp.test", b"d=corp.test'.evil.test"),
        (rb"d=corp.test", b"d=corp.test(.evil.test"),
        (rb"s=one", b"s=one._domainkey.evil.test.\0.any"),
        (rb"i=@corp.test", b"i=@evil.test"),
        (rb"h=[^;]*;", b"h=to:subject;"),
        (rb"q=dns/txt", b"q=web"),
        (rb"v=1;", b"v=1; v=1;"),
        (rb"v=1;", b"v=1;; x;"),
        (rb"bh=", b"bh=!"),
    ],
)
def test_a_signature_that_is_none_is_none_and_no_key_is_asked_for(old: bytes, new: bytes) -> None:
    names = zone()
    assert result(edited(old, new), names)[0] in ("permerror", "policy")
    assert all(name.isprintable() for name in names.asked)


def test_sha_1_is_not_believed() -> None:
    assert result(edited(rb"a=rsa-sha256", b"a=rsa-sha1")) == ("policy", "it is made with SHA-1")


def test_a_signature_can_expire() -> None:
    past = int(time.time()) - 10_000
    assert result(edited(rb"t=\d+;", f"t={past}; x={past + 10};".encode())) == ("fail", "it has expired")
    assert result(edited(rb"t=\d+;", f"t={past}; x={past - 10};".encode()))[0] == "permerror"


def test_only_some_of_many_signatures_are_looked_at_and_the_authors_are_among_them() -> None:
    own = signed(HEADER + BODY)
    field = b"DKIM-Signature: v=1; a=rsa-sha256; d=x%d.test; s=s; h=from; bh=YQ==; b=YQ==\n"
    bogus = b"".join(field % number for number in range(200))
    names = zone()
    found = asyncio.run(dkim.verify(of_bytes(bogus + own), names, ["corp.test"]))
    assert len(found) == len(names.asked) == MOST
    assert [item.domain for item in found if item.result == "pass"] == ["corp.test"]


def test_a_large_message_costs_no_memory_and_others_are_answered_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    body = os.urandom(30).hex().encode() + b"\n"
    path = tmp_path / "message"
    path.write_bytes(signed(HEADER + body * 100_000))
    answered, digest = threading.Event(), Message.digest

    def digest_while_others_are_answered(message: Message, is_relaxed: bool) -> tuple[bytes, int]:
        answered.clear()
        assert answered.wait(30), "nobody else is answered while a body is hashed"
        return digest(message, is_relaxed)

    monkeypatch.setattr(Message, "digest", digest_while_others_are_answered)

    async def run() -> list[Signature]:
        async def answer() -> None:
            while True:
                answered.set()
                await asyncio.sleep(0.001)

        other = asyncio.create_task(answer())
        with path.open("rb") as file:
            found = await dkim.verify(of_file(file.fileno()), zone())
        other.cancel()
        return found

    tracemalloc.start()
    (one,) = asyncio.run(run())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert one.result == "pass"
    assert peak < 4_000_000
