"""Signatures beside those of others: the sample of RFC 8463, and 1,000 messages (by night) before two verifiers.

The second verifier is Mail::DKIM, in Perl (Debian's libmail-dkim-perl); Debian 12's knows no Ed25519.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatepost.dkim import canonical_field, prepare
from gatepost.signer import Secret
from gatepost_rig import Gatepost
from server_rig import Server
from test_dkim import BODIES, HEADER, OURS, dkimpys_verdicts, keys, published, received, remote, signer, signing

from tests.corpus.generate import cases
from tests.unpacked import environment

__all__ = ["keys", "remote", "signer", "signing"]  # fixtures

NIGHT = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
MESSAGES = 1000 if NIGHT else 12
HERE = Path(__file__).parent
LONGEST = 200_000
"""Bytes of a body."""


def test_the_sample_of_rfc_8463_is_signed_as_it_is_there() -> None:
    private = base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    secret = Secret("football.example.com", "brisbane", Ed25519PrivateKey.from_private_bytes(private))
    assert secret.record() == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    message = prepare(
        iter(
            [
                b"From: Joe SixPack <joe@football.example.com>\nTo: Suzie Q <suzie@shopping.example.net>\n"
                b"Subject: Is dinner ready?\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\n"
                b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\n\n"
                b"Hi.\n\nWe lost the game.  Are you hungry yet?\n\nJoe.\n"
            ]
        )
    )
    assert message is not None
    body = base64.b64encode(message.body_hash)
    assert body == b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    field = (
        b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; "
        b"i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
        b" subject : date : message-id : from : subject : date;\r\n bh=" + body + b";\r\n b=\r\n"
    )
    signed = b"".join(map(canonical_field, (*message.fields, field))).removesuffix(b"\r\n")
    assert base64.b64encode(secret.sign(hashlib.sha256(signed).digest())) == (
        b"/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
    )


def bodies() -> Iterator[bytes]:
    """Bodies of the corpus of hostile mail, and of made ones that each treat some line in another way."""
    yield from BODIES.values() if NIGHT else ()  # test_dkim.py has them, too
    chance = random.Random(8463)
    for case in cases():
        body = case.message.partition(b"\n\n")[2][:LONGEST]
        yield body + b"\n" if not body.endswith(b"\n") else body
        lines = [bytes(chance.choices(b"ab \t.\r\n\0\x80\xff=", k=chance.randrange(80))) for _ in range(9)]
        yield b"\n".join(lines) + b"\n"


def sent(remote: Gatepost, server: Server) -> list[bytes]:
    """What a server got of a relay client's messages with such bodies."""
    found = []
    for body in islice(bodies(), MESSAGES):
        assert b"accepted" in remote.run(message=OURS + HEADER + body)
        found.append(received(server))
        server.messages.clear()
        server.heard.clear()
    return found


def has_mail_dkim() -> bool:
    """Whether the second verifier is there."""
    return (
        bool(shutil.which("perl"))
        and not subprocess.run(
            ["perl", "-MMail::DKIM::Verifier", "-MCrypt::PK::Ed25519", "-e", "1"],
            env=environment(),
            capture_output=True,
            check=False,
        ).returncode
    )


def mail_dkims_verdicts(messages: list[bytes], folder: Path, records: Mapping[str, str]) -> list[list[str]]:
    """What Mail::DKIM says of each signature of each message."""
    (folder / "keys.json").write_text(json.dumps(records))
    for number, message in enumerate(messages):
        (folder / f"{number:05}.eml").write_bytes(message)
    command = ["perl", str(HERE / "second_verifier.pl"), str(folder)]
    told = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
    return [line.split("; ") for line in told.splitlines()]


def test_every_message_verifies_with_two_verifiers(
    remote: Gatepost, server: Server, keys: Path, tmp_path: Path
) -> None:
    remote.route(server, "optional")
    records, messages = published(keys), sent(remote, server)
    assert len(messages) == MESSAGES
    assert [n for n, message in enumerate(messages) if dkimpys_verdicts(message, records) != [True, True]] == []
    if not has_mail_dkim():
        pytest.skip("dkimpy verified all; Mail::DKIM and CryptX are neither unpacked (./gw pytest) nor installed")
    told = mail_dkims_verdicts(messages, tmp_path, records)
    right = (["pass", "pass"], ["pass", "invalid (unsupported algorithm ed25519-sha256)"])
    assert [n for n, words in enumerate(told) if words not in right] == [] and len(told) == MESSAGES
    print(json.dumps({"messages": MESSAGES, "bytes": sum(map(len, messages)), "Ed25519 twice": told[0] == right[0]}))
