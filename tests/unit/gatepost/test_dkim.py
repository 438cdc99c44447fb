"""Signatures over what leaves, put to a verifier that nobody here wrote."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import dkim
import pytest
from gatepost import signing as requests
from gatepost_rig import PATIENCE, PROJECT, Gatepost, NameServer
from server_rig import Server

QUEUED = b"Received: (qmail 4711 invoked from network); 27 Nov 2026 08:00:00 -0000\n"
SCANNED = b"Received: from 192.0.2.9 by gw.test with gatescan-1.0 (clean); 27 Nov 2026 08:00:00 -0000\n"
RELAYED = b"X-Qmail-Scanner: 1.0 (clean:RC:1(192.0.2.9):. Processed in 0.0010 secs)\n"
UNSCANNED = b"Received: from unknown (HELO x) (192.0.2.9)\n  by gw.test with SMTP; 27 Nov 2026 08:00:00 -0000\n"
OURS = QUEUED + SCANNED + RELAYED
HEADER = b"From: Ann <ann@corp.test>\nTo: bob@world.test\nSubject: x\nDate: Fri, 27 Nov 2026 08:00:00 +0000\n\n"
CODE = {**os.environ, "PYTHONPATH": str(PROJECT / "roles/gatepost/files")}

BODIES = {
    "plain": b"hello\n",
    "empty": b"",
    "blank lines at the end": b"hello\n\n\n\n",
    "blank lines alone": b"\n\n\n",
    "blanks": b"a  b\t \tc \t\n   \n\td\n",
    "dots": b".\n..\n.x\n",
    "bare carriage returns": b"a\rb\r\nc\r\r\nd\n",
    "8 bit": "Grüße aus Köln\n".encode() + b"\x80\xff\n",
    "a long line": b"x" * 100_000 + b"\n",
    "a block's border": b"y" * 65_535 + b" \n" + b"z\r" * 40_000 + b"\n",
    "a long end of blank lines": b"a\n" + b"\n" * 200_000,
}


def gatepost(*words: str) -> str:
    """Run the gatepost command."""
    return subprocess.run(
        [sys.executable, "-m", "gatepost", *words], env=CODE, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of corp.test: RSA and Ed25519."""
    folder = tmp_path_factory.mktemp("keys")
    for selector, algorithm in (("one", "rsa"), ("two", "ed25519")):
        gatepost("dkim", "make", "corp.test", selector, algorithm, "--keys", str(folder))
    return folder


@pytest.fixture(scope="module")
def signer(keys: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The signer's socket and process."""
    path = keys / "signer.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "gatepost", "signer", "--socket", str(path), "--keys", str(keys),
         "--client", str(os.getuid())],
        env=CODE, stderr=subprocess.PIPE,
    )  # a command as one types it # fmt: skip
    assert process.stderr is not None and b"signing for corp.test" in process.stderr.readline()
    yield path, process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def signing(
    signer: tuple[Path, subprocess.Popen[bytes]], authority: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gatepost]:
    """A daemon that has mail signed."""
    daemon = Gatepost(tmp_path_factory.mktemp("gatepost"), NameServer())
    daemon.furnish()
    daemon.start(signer=str(signer[0]))
    yield daemon
    assert "Traceback" not in daemon.stop()


@pytest.fixture
def remote(signing: Gatepost) -> Gatepost:
    """The same, its home made anew."""
    signing.furnish()
    return signing


def published(keys: Path) -> dict[str, str]:
    """The records that `gatepost dkim show` wants published."""
    return dict(json.loads(gatepost("dkim", "show", "--json", "--keys", str(keys))))


def verdicts(message: bytes, keys: Path) -> list[bool]:
    """What dkimpy says of each signature of a message."""
    return dkimpys_verdicts(message, published(keys))


def dkimpys_verdicts(message: bytes, records: Mapping[str, str]) -> list[bool]:
    """The same by these records."""

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        found = records.get(name.decode().rstrip("."))
        return found.encode() if found else None

    count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
    return [verifies(message, index, txt) for index in range(count)]


def verifies(message: bytes, index: int, txt: Callable[..., bytes | None]) -> bool:
    """What dkimpy says of one signature."""
    try:
        return bool(dkim.DKIM(message).verify(idx=index, dnsfunc=txt))
    except dkim.ValidationError:
        return False


def received(server: Server) -> bytes:
    """The message that a server got, without the doubled dots."""
    (message,) = server.messages
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in message.split(b"\r\n"))


@pytest.mark.parametrize("body", BODIES)
def test_a_relay_clients_message_verifies_as_it_arrives(
    remote: Gatepost, server: Server, keys: Path, body: str
) -> None:
    remote.route(server, "optional")
    assert b"accepted" in remote.run(message=OURS + HEADER + BODIES[body])
    assert verdicts(received(server), keys) == [True, True]
    assert remote.journalled()[0]["signed"] == ["one._domainkey.corp.test", "two._domainkey.corp.test"]


@pytest.mark.parametrize(
    "header",
    [
        b"From: ann@sub.corp.test\nSubject:   folded\n\tand  folded \n again\n\n",
        b"From: ann@corp.test\nSUBJECT:x\nSubject: y\nTo: a@b\nTo: c@d\n\n",
        b'From: "Ann, of corp" <ann@corp.test>\n\n',
        b"From: =?utf-8?q?J=C3=BCrgen?=\n <ann@corp.test>\nX-Long: " + b"x" * 5000 + b"\n\n",
        "From: Jürgen <ann@corp.test>\nSubject: Grüße\n\n".encode(),
    ],
)
def test_odd_headers_verify(remote: Gatepost, server: Server, keys: Path, header: bytes) -> None:
    remote.route(server, "optional")
    assert b"accepted" in remote.run(message=OURS + header + b"hello\n")
    assert verdicts(received(server), keys) == [True, True]


@pytest.mark.parametrize("queued", [b"for bounce", b"by uid 1000", b"by alias"])
def test_bounces_and_mail_of_this_host_are_signed(remote: Gatepost, server: Server, keys: Path, queued: bytes) -> None:
    remote.route(server, "optional")
    first = b"Received: (qmail 1 invoked " + queued + b"); 27 Nov 2026 08:00:00 -0000\n"
    remote.run(message=first + b"From: MAILER-DAEMON@gw1.corp.test\n\nx\n", sender="")
    assert verdicts(received(server), keys) == [True, True]


def test_a_relay_client_that_speaks_tls_is_one_too(remote: Gatepost, server: Server, keys: Path) -> None:
    remote.route(server, "optional")
    by_tls = SCANNED.replace(b"with gatescan", b"with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384), gatescan")
    remote.run(message=QUEUED + by_tls + RELAYED + HEADER + b"hello\n")
    assert verdicts(received(server), keys) == [True, True]


STRANGERS = {
    "a stranger's, forwarded by an alias": b"Received: (qmail 9 invoked by alias); 27 Nov 2026 08:00:00 -0000\n"
    + b"Delivered-To: alias-postmaster@gw.test\n"
    + QUEUED
    + SCANNED
    + RELAYED.replace(b"RC:1", b"RC:0")
    + HEADER,
    "a stranger's": QUEUED + SCANNED + RELAYED.replace(b"RC:1", b"RC:0") + HEADER,
    "a stranger's who writes our lines": QUEUED + SCANNED + RELAYED.replace(b"RC:1", b"RC:0") + OURS + HEADER,
    "not scanned": QUEUED
    + b"Received: from unknown (HELO x) (192.0.2.9)\n  by gw.test with SMTP; date\n"
    + RELAYED
    + HEADER,
    "our lines in a HELO": QUEUED
    + b"Received: from unknown (HELO 192.0.2.9 by gw.test with gatescan-1) (192.0.2.9)\n  by gw.test with SMTP; date\n"
    + RELAYED
    + HEADER,
    "of a domain without a key": OURS + HEADER.replace(b"corp.test", b"elsewhere.test"),
    "of a parent of a domain with a key": OURS + HEADER.replace(b"corp.test", b"test"),
    "of two authors": OURS + b"From: ann@corp.test, eve@world.test\n\n",
    "with two From fields": OURS + b"From: ann@corp.test\nFrom: eve@world.test\n\n",
    "without an author": OURS + b"Subject: x\n\n",
    "without qmail-queue's line": HEADER,
}


@pytest.mark.parametrize("whose", STRANGERS)
def test_others_mail_is_not_signed(remote: Gatepost, server: Server, whose: str) -> None:
    remote.route(server, "optional")
    assert b"accepted" in remote.run(message=STRANGERS[whose] + b"hello\n")
    assert b"DKIM-Signature" not in server.messages[0]


def test_a_changed_message_does_not_verify(remote: Gatepost, server: Server, keys: Path) -> None:
    remote.route(server, "optional")
    remote.run(message=OURS + HEADER + b"hello\n")
    message = received(server)
    assert verdicts(message.replace(b"hello", b"hullo"), keys) == [False, False]
    assert verdicts(b"From: eve@corp.test\r\n" + message, keys) == [False, False], "nobody can add an author"


def test_mail_waits_for_a_signer_that_is_down_and_hangs_for_nobody(
    remote: Gatepost, server: Server, signer: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    remote.route(server, "optional")
    signer[0].rename(signer[0].with_suffix(".away"))
    try:
        assert remote.run(message=OURS + HEADER).startswith(b"ZThe message is not signed: the signer does not answer")
        assert b"accepted" in remote.run(message=HEADER), "others' mail needs no signer"
    finally:
        signer[0].with_suffix(".away").rename(signer[0])
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(20)]
    for one in silent:
        one.connect(str(signer[0]))
    assert b"accepted" in remote.run(message=OURS + HEADER)


def test_a_crowd_of_messages_is_signed(signer: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_bytes(OURS + HEADER + b"hello\n")

    async def sign_all() -> list[tuple[bytes, tuple[str, ...]]]:
        with letter.open("rb") as file:
            return await asyncio.gather(*(requests.fields_for(file.fileno(), str(signer[0])) for _ in range(150)))

    assert {len(selectors) for _, selectors in asyncio.run(sign_all())} == {2}


def test_a_new_key_is_used_after_a_reload_and_a_broken_one_changes_nothing(
    remote: Gatepost, server: Server, signer: tuple[Path, subprocess.Popen[bytes]], keys: Path
) -> None:
    remote.route(server, "optional")
    process = signer[1]
    assert process.stderr is not None
    broken = keys / "corp.test" / "bad.pem"
    broken.write_text("no key\n")
    process.send_signal(signal.SIGHUP)
    assert b"reload failed, the old keys stay in force" in process.stderr.readline()
    broken.unlink()
    gatepost("dkim", "make", "new.test", "s", "ed25519", "--keys", str(keys))
    process.send_signal(signal.SIGHUP)
    assert b"signing for corp.test, new.test" in process.stderr.readline()
    remote.run(message=OURS + HEADER.replace(b"ann@corp.test", b"ann@new.test"))
    assert verdicts(received(server), keys) == [True]


def test_a_key_is_its_owners_alone_and_is_never_made_twice(keys: Path) -> None:
    path = keys / "corp.test" / "one.pem"
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "there already" in gatepost("dkim", "make", "corp.test", "one", "rsa", "--keys", str(keys))
    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder to another group")
def test_a_key_that_root_makes_can_be_read_by_the_group_of_the_folder_of_keys(tmp_path: Path) -> None:
    os.chown(tmp_path, -1, 65534)
    gatepost("dkim", "make", "corp.test", "one", "ed25519", "--keys", str(tmp_path))
    made = [tmp_path / "corp.test", tmp_path / "corp.test/one.pem"]
    assert [(path.stat().st_gid, path.stat().st_mode & 0o777) for path in made] == [(65534, 0o750), (65534, 0o640)]


@pytest.mark.parametrize("name", ["Corp.TEST", "corp.test."])
def test_a_domain_is_found_however_it_is_written(keys: Path, name: str) -> None:
    assert gatepost("dkim", "show", name, "--keys", str(keys)) == gatepost(
        "dkim", "show", "corp.test", "--keys", str(keys)
    )


def test_an_international_domain_has_its_key_under_its_ascii_form(tmp_path: Path) -> None:
    assert "made" in gatepost("dkim", "make", "Bücher.example", "one", "ed25519", "--keys", str(tmp_path))
    (record,) = gatepost("dkim", "show", "bücher.example", "--keys", str(tmp_path)).splitlines()
    assert record.startswith("one._domainkey.xn--bcher-kva.example. IN TXT ")


def test_what_to_publish_fits_into_strings_of_a_zone_file(keys: Path) -> None:
    lines = gatepost("dkim", "show", "corp.test", "--keys", str(keys)).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["one._domainkey.corp.test.", "two._domainkey.corp.test."]
    assert all(len(part) <= 255 for line in lines for part in line.split('"')[1::2])
