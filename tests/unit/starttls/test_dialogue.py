"""What a client and qmail-smtpd notice of starttls-smtpd: one line in the reply to EHLO, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path

import pytest
from starttls_rig import PATIENCE, SOURCES, Start, make_certificate

MESSAGE = b"Subject: x\r\n\r\nbare\nline feeds\n.\nMAIL FROM:<smuggled@x>\r\n\0NUL\r\n..dots\r\n.\r\n"


def test_ehlo_names_starttls_behind_what_the_server_offers(start: Start) -> None:
    session = start()
    assert session.hear(b"\r\n") == b"220 here\r\n"
    assert session.ask(b"EHLO client\r\n", b"STARTTLS\r\n").split(b"\r\n") == [
        b"250-here",
        b"250-PIPELINING",
        b"250-8BITMIME",
        b"250 STARTTLS",
        b"",
    ]


def test_a_client_that_reads_once_sees_the_whole_reply(start: Start) -> None:
    session = start(kind=socket.SOCK_SEQPACKET)  # a write is a packet
    assert session.wire.recv(4096) == b"220 here\r\n"
    session.send(b"EHLO client\r\n")
    assert session.wire.recv(4096).endswith(b"250-8BITMIME\r\n250 STARTTLS\r\n")


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_message_passes_byte_for_byte(start: Start, encrypted: bool) -> None:
    session = start().greeted()
    if encrypted:
        session.ask(b"STARTTLS\r\n")
        session.encrypt()
    session.ask(b"MAIL FROM:<a@b>\r\n")
    session.ask(b"DATA\r\n")
    assert session.ask(MESSAGE, b"taken\r\n") == b"250 taken\r\n"
    heard = "".join(session.heard()).encode("latin-1")
    assert heard.endswith(b"DATA\r\n" + MESSAGE), "a line feed alone must not become a line's end on the way"


def test_much_pipelined_mail_passes_in_both_directions(start: Start) -> None:
    session = start().greeted()
    session.ask(b"STARTTLS\r\n")
    session.encrypt()
    count = 30_000
    session.send(b"MAIL FROM:<a@b>\r\n" + b"RSET\r\n" * count)
    expected = (count + 1) * len(b"250 ok\r\n")
    while expected > 0:
        expected -= len(session.wire.recv(65536))
    assert expected == 0


def test_the_server_behind_tls_knows_it_and_nothing_of_before(start: Start) -> None:
    session = start().greeted()
    assert session.ask(b"starttls\r\n").startswith(b"220")
    session.encrypt()
    assert b"STARTTLS" not in session.ask(b"EHLO client\r\n", b"8BITMIME\r\n")
    started = [item["started"] for item in session.noted() if "started" in item]
    assert started[0] == {}
    assert started[1]["SSL_PROTOCOL"] == "TLSv1.3" and started[1]["SSL_CIPHER"]
    assert session.ask(b"STARTTLS\r\n").startswith(b"502"), "once is enough"


def test_a_client_cannot_claim_tls_by_the_environment(start: Start) -> None:
    start(SSL_PROTOCOL="TLSv1.3").hear(b"\r\n")
    session = start("never", SSL_PROTOCOL="TLSv1.3")
    session.hear(b"\r\n")
    assert [item["started"] for item in session.noted()] == [{}, {}]


def test_what_is_pipelined_behind_starttls_is_discarded(start: Start) -> None:
    session = start().greeted()
    assert session.ask(b"STARTTLS\r\nMAIL FROM:<injected@x>\r\n").startswith(b"220")
    session.encrypt()
    assert session.ask(b"NOOP\r\n") == b"250 ok\r\n", "one reply, to the one command that came by TLS"
    assert not [line for line in session.heard() if "injected" in line]


def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption(start: Start) -> None:
    session = start().greeted()
    session.ask(b"STARTTLS\r\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session.encrypt(context)
    assert isinstance(session.wire, ssl.SSLSocket)
    cipher = session.wire.cipher()
    assert cipher is not None and cipher[0].startswith("ECDHE-") and "GCM" in cipher[0]


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES256-GCM-SHA384"])
def test_weak_ciphers_are_refused(start: Start, ciphers: str) -> None:
    session = start().greeted()
    session.ask(b"STARTTLS\r\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError):
        session.encrypt(context)


def test_plain_mail_passes_where_tls_is_optional(start: Start) -> None:
    session = start("optional").greeted()
    assert session.ask(b"MAIL FROM:<a@b>\r\n") == b"250 ok\r\n"
    assert session.ask(b"STARTTLS\r\n").startswith(b"502"), "within a transaction's talk there is no way back"


@pytest.mark.parametrize("command", [b"MAIL FROM:<a@b>\r\n", b"DATA\r\n", b"ehlo\0x\r\n", b"AUTH x\r\n", b"\r\n"])
@pytest.mark.parametrize("policy", ["required", "no word that is known"])
def test_plain_mail_is_refused_where_tls_is_required(start: Start, command: bytes, policy: str) -> None:
    session = start(policy).greeted()
    assert session.ask(command).startswith(b"530 5.7.0")
    assert session.ask(b"NOOP\r\n") == b"250 ok\r\n"
    assert session.heard() == ["EHLO client\r\n", "NOOP\r\n"]


def test_mail_passes_by_tls_where_it_is_required(start: Start) -> None:
    session = start("required").greeted()
    session.ask(b"STARTTLS\r\n")
    session.encrypt()
    assert session.ask(b"MAIL FROM:<a@b>\r\n") == b"250 ok\r\n"


def test_nothing_is_offered_where_the_policy_is_never(start: Start) -> None:
    session = start("never")
    session.hear(b"\r\n")
    assert b"STARTTLS" not in session.ask(b"EHLO client\r\n", b"250 8BITMIME\r\n")
    assert session.ask(b"STARTTLS\r\n").startswith(b"502")


def test_without_a_certificate_mail_goes_on_in_plain_text_unless_tls_is_required(start: Start) -> None:
    session = start("optional", None).greeted()
    assert session.ask(b"MAIL FROM:<a@b>\r\n") == b"250 ok\r\n"
    session = start("required", None).greeted()
    assert session.ask(b"STARTTLS\r\n").startswith(b"454 4.7.0")
    assert session.ask(b"MAIL FROM:<a@b>\r\n").startswith(b"530")


@pytest.mark.parametrize("content", ["", "no key\n", "foreign"])
def test_a_certificate_that_is_of_no_use_costs_the_session_nothing(
    start: Start, tmp_path: Path, certificate: Path, content: str
) -> None:
    broken = tmp_path / "broken.pem"
    if content == "foreign":
        other = make_certificate(tmp_path / "other.pem").read_text()
        key, _, _ = certificate.read_text().partition("-----BEGIN CERTIFICATE")
        content = key + "-----BEGIN CERTIFICATE" + other.partition("-----BEGIN CERTIFICATE")[2]
    broken.write_text(content)
    session = start("optional", broken).greeted()
    assert session.ask(b"STARTTLS\r\n").startswith(b"454" if content else b"502")
    session.ask(b"MAIL FROM:<a@b>\r\n")
    assert session.heard()[-1] == "MAIL FROM:<a@b>\r\n"


def test_starttls_with_an_argument_is_a_mistake(start: Start) -> None:
    session = start().greeted()
    assert session.ask(b"STARTTLS now\r\n").startswith(b"501")
    assert session.ask(b"STARTTLS  \r\n").startswith(b"220")


def test_a_server_that_sends_the_client_away_is_heard(start: Start) -> None:
    session = start(GREETING="421 later")
    assert session.hear(b"\r\n") == b"421 later\r\n"
    session.ask(b"STARTTLS\r\n")
    session.encrypt()
    assert session.hear(b"\r\n") == b"421 later\r\n", "it is told by TLS too"


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_servers_exit_status_is_the_programs(start: Start, encrypted: bool) -> None:
    session = start().greeted()
    if encrypted:
        session.ask(b"STARTTLS\r\n")
        session.encrypt()
    assert session.ask(b"QUIT\r\n") == b"221 bye\r\n"
    assert session.hear(b"never") == b"", "the connection is closed"
    assert session.process.wait(PATIENCE) == 7


@pytest.mark.parametrize("talk", [b"", b"EHL", b"MAIL FROM:<a@b>\r\n"])
def test_a_client_that_leaves_ends_everything(start: Start, talk: bytes) -> None:
    session = start().greeted()
    session.send(talk)
    session.wire.close()
    session.process.wait(PATIENCE)


def test_a_line_without_end_is_refused(start: Start) -> None:
    session = start().greeted()
    assert session.ask(b"x" * 20_000).startswith(b"500 5.5.2")
    session.process.wait(PATIENCE)


def test_a_writer_that_holds_its_lock_holds_no_session_for_long(start: Start, certificate: Path) -> None:
    session = start("optional").greeted()
    with certificate.open("rb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        session.wire.settimeout(10)  # the program waits 2 s; without a limit it would wait for this test
        assert session.ask(b"STARTTLS\r\n").startswith(b"454 4.7.0")
        fcntl.lockf(file, fcntl.LOCK_UN)
        assert session.ask(b"STARTTLS\r\n").startswith(b"220")


@pytest.mark.parametrize(("policy", "command"), [("required", b"MAIL FROM:<a@b>\r\n"), ("", b"STARTTLS x\r\n")])
def test_commands_that_are_refused_here_end_the_session_too(start: Start, policy: str, command: bytes) -> None:
    session = start(policy).greeted()
    session.send(command * 500)
    heard = session.hear(b"never")
    assert heard.splitlines()[-1].startswith(b"421 4.7.0") and heard.count(b"\n") < 100


def test_many_tries_for_tls_that_cannot_be_had_leak_nothing(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no key\n")
    session = start("optional", broken).greeted()
    for _ in range(20):  # the sanitizers that the program is built with tell at its end of what was lost
        assert session.ask(b"STARTTLS\r\n").startswith(b"454")
    session.ask(b"QUIT\r\n")


STEAL = """
import ctypes, os, subprocess, sys
os.setgid(65534); os.setuid(65534)
libc = ctypes.CDLL(None, use_errno=True)
got = 0
for _ in range(40):
    process = subprocess.Popen([sys.argv[1], "/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(9,))
    fd = libc.syscall(434, process.pid, 0)
    while process.poll() is None:
        if open(f"/proc/{process.pid}/comm").read().strip() == "starttls-smtpd":
            got += libc.syscall(438, fd, 9, 0) >= 0
            got += os.access(f"/proc/{process.pid}/fd/9", os.F_OK)
            process.stdin.close()
            process.wait()
    os.close(fd)
print("taken", got)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become somebody else")
@pytest.mark.parametrize(("mode", "is_safe"), [(0o711, True), (0o755, False)])
def test_who_runs_it_cannot_take_the_key_from_its_first_moment_on(
    compiler: str, certificate: Path, mode: int, is_safe: bool
) -> None:
    """The mode is the package's; readable, it shows that the thief of this test can steal."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # other users may go in here
    place.chmod(0o755)
    slow = place / "starttls-smtpd"
    source = place / "slow.c"
    source.write_text("#include <unistd.h>\nint main(void) { return read(0, &(char) {0}, 1) != 0; }\n")
    subprocess.run([compiler, "-o", slow, source], check=True)  # open to its user for as long as it runs
    slow.chmod(mode)
    try:
        command = f"exec /usr/bin/python3 -c '{STEAL}' {slow} 9< {certificate}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
        assert done.stdout.startswith("taken "), done
        assert (done.stdout == "taken 0\n") == is_safe
    finally:
        shutil.rmtree(place)


def test_the_package_has_it_unreadable() -> None:
    assert "install -D -m 0711 starttls-smtpd" in (SOURCES / "package/install.sh").read_text()
