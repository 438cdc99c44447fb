"""What qmail-rspawn and a route's server notice of gatepost."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gatepost_rig import Gatepost as Remote
from server_rig import Server
from starttls_rig import make_certificate

HERE = b"127.0.0.1"
BY_TLS = rb"By TLSv1\.3 TLS_[A-Z0-9_]+"
POLICIES = ("optional", "required", "verified")

each_policy = pytest.mark.parametrize("policy", POLICIES)
strict = pytest.mark.parametrize("policy", ["required", "verified", "no word that is known"])


def said_in_plain(server: Server) -> list[bytes]:
    """The verbs that came in plain text."""
    return [line.split()[0] for line in server.lines(encrypted=False) if line.split()]


# Which mail it is that this has to do with


@pytest.mark.parametrize(
    ("domain", "key"),
    [
        ("corp.test", "corp.test"),
        ("CORP.test", "corp.TEST"),
        ("a.corp.test", ".corp.test"),
        ("b.a.corp.test", ".corp.test"),
        ("a.corp.test", "a.corp.test"),
        ("elsewhere.test", ""),
        ("a.corp.test", ".test"),
    ],
)
def test_routes_are_found_as_qmail_remote_finds_them(remote: Remote, server: Server, domain: str, key: str) -> None:
    decoys = [name for name in (".corp.test", ".test", "") if len(name) < len(key)]
    lines = [f"{key}:[127.0.0.1]:{server.port} \t\n", *(f"{name}:[127.0.0.1]:1\n" for name in decoys)]
    remote.control(smtproutes="".join(lines), tlsroutes=f"{key}:required\n.test.:optional\n")
    assert b"accepted message" in remote.run(domain=domain)


@pytest.mark.parametrize("name", ["smtproutes", "tlsroutes", "tlsca", "timeoutremote", "helohost"])
def test_a_control_file_that_cannot_be_read_keeps_the_message(remote: Remote, server: Server, name: str) -> None:
    remote.route(server, "verified")
    (remote.home / "control" / name).unlink(missing_ok=True)
    (remote.home / "control" / name).mkdir()
    assert b"Z" in remote.run() and server.messages == []


# By TLS


@each_policy
@pytest.mark.parametrize("host", ["[127.0.0.1]", "127.0.0.1", "mx.test"])
def test_a_message_goes_by_tls_and_the_report_says_so(remote: Remote, server: Server, policy: str, host: str) -> None:
    remote.route(server, policy, host)
    report = remote.run()
    proof = b", certificate verified" if policy == "verified" else b""
    assert re.fullmatch(
        b"r\0K127.0.0.1 accepted message.\n" + BY_TLS + proof + rb"\.\nRemote host said: 250 taken\n\0", report
    ), report
    assert server.messages == [b"Subject: x\r\n\r\nhello\r\n"]
    assert said_in_plain(server) == [b"EHLO", b"STARTTLS"]
    assert server.lines(encrypted=True) == [
        b"EHLO gw.test\r\n",
        b"MAIL FROM:<ann@gw.test>\r\n",
        b"RCPT TO:<bob@corp.test>\r\n",
        b"DATA\r\n",
        b"QUIT\r\n",
    ]


def test_helohost_goes_before_me(remote: Remote, server: Server) -> None:
    remote.route(server, "required")
    remote.control(helohost="mail.gw.test \nnot this\n")
    remote.run()
    assert server.all_heard()[0] == (False, b"EHLO mail.gw.test\r\n")


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (b"", b""),
        (b".\n..\n.x\n", b"..\r\n...\r\n..x\r\n"),
        (b"a\r\nb\rc\n", b"a\r\nb\r\nc\r\n"),
        (b"a\r.\r\nMAIL FROM:<smuggled@x>\n", b"a\r\n..\r\nMAIL FROM:<smuggled@x>\r\n"),
        (b"a\n\r.\r.\n\r", b"a\r\n\r\n..\r\n..\r\n\r\n"),
        (b"\x80\xff\0\n", b"\x80\xff\0\r\n"),
        (b"x" * 70_000 + b"\n", b"x" * 70_000 + b"\r\n"),
        (b".\n" * 40_000, b"..\r\n" * 40_000),
        (b"a\r\n" * 20_000 + b"\r\n.\r\n", b"a\r\n" * 20_000 + b"\r\n..\r\n"),
    ],
)
def test_lines_end_as_smtp_wants_and_no_dot_ends_a_message_early(
    remote: Remote, server: Server, message: bytes, sent: bytes
) -> None:
    remote.route(server, "required")
    assert b"accepted message" in remote.run(message=message)
    assert server.messages == [sent]


def test_a_message_whose_last_line_does_not_end_goes_back(remote: Remote, server: Server) -> None:
    remote.route(server, "required")
    report = remote.run(message=b"Subject: x\n\nhello")
    assert report.startswith(b"r\0D") and report.endswith(b"(#5.6.2)\n\0")
    assert server.messages == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", b"<>"),
        ("ann", b"<ann>"),
        ("a.b+c@gw.test", b"<a.b+c@gw.test>"),
        ("@gw.test", b'<""@gw.test>'),
        ("a b@gw.test", b'<"a b"@gw.test>'),
        ("a@b@gw.test", b'<"a@b"@gw.test>'),
        (".a@gw.test", b'<".a"@gw.test>'),
        ("a.@gw.test", b'<"a."@gw.test>'),
        ("a..b@gw.test", b'<"a..b"@gw.test>'),
        ('a"\\@gw.test', b'<"a\\"\\\\"@gw.test>'),
        ("ü@gw.test", '<"ü"@gw.test>'.encode()),
    ],
)
def test_addresses_are_quoted_as_smtp_wants(remote: Remote, server: Server, address: str, said: bytes) -> None:
    remote.route(server, "required")
    remote.run(sender=address)
    assert server.all_heard()[3] == (True, b"MAIL FROM:" + said + b"\r\n")


@pytest.mark.parametrize("which", ["sender", "recipient"])
@pytest.mark.parametrize("end", ["\n", "\r"])
def test_an_address_cannot_bring_a_command_along(remote: Remote, server: Server, which: str, end: str) -> None:
    remote.route(server, "required")
    bad = f"a{end}RCPT TO:<victim@x>@gw.test"
    report = remote.run(sender=bad) if which == "sender" else remote.run(bad)
    assert report.startswith(b"D") and b"(#5.1.3)" in report
    assert server.connections == 0


@pytest.mark.parametrize("which", ["sender", "recipient"])
@pytest.mark.parametrize(
    "domain", ["x.test> SIZE=1 X=<", "x.test SIZE=1", "x.test\tX", 'x.test"', "x.test\\", "<x.test", "x(y).test"]
)
def test_an_address_cannot_bring_a_parameter_along(remote: Remote, server: Server, which: str, domain: str) -> None:
    remote.control(smtproutes=f":[127.0.0.1]:{server.port}\n")
    bad = f"a@{domain}"
    report = remote.run(sender=bad) if which == "sender" else remote.run(bad, domain=domain)
    assert report.startswith(b"D") and b"(#5.1.3)" in report
    assert server.connections == 0


def test_a_double_bounce_leaves_with_the_null_sender(remote: Remote, server: Server) -> None:
    remote.route(server, "required")
    server.replies["tls MAIL"] = b"250 fine\r\n"
    assert b"accepted" in remote.run(sender="#@[]")
    assert server.all_heard()[3] == (True, b"MAIL FROM:<>\r\n"), "what qmail calls it is no address for other servers"


def test_the_roots_dot_makes_no_other_domain(remote: Remote, server: Server) -> None:
    remote.route(server, "required")
    assert b"By TLS" in remote.run("bob@corp.test.", domain="corp.test.")
    assert (True, b"RCPT TO:<bob@corp.test>\r\n") in server.all_heard()


# What the server says


@pytest.mark.parametrize(
    ("replies", "report"),
    [
        (
            {"tls MAIL": b"550 no\r\n"},
            b"DConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 550 no\n\0",
        ),
        (
            {"tls MAIL": b"450 no\r\n"},
            b"ZConnected to 127.0.0.1 but sender was rejected.\nRemote host said: 450 no\n\0",
        ),
        (
            {"RCPT": b"550-no\r\n550 such user\r\n"},
            b"h127.0.0.1 does not like recipient.\nRemote host said: 550-no\n550 such user\n\0"
            b"DGiving up on 127.0.0.1.\n\0",
        ),
        (
            {"RCPT": b"450 wait\r\n"},
            b"s127.0.0.1 does not like recipient.\nRemote host said: 450 wait\n\0DGiving up on 127.0.0.1.\n\0",
        ),
        ({"DATA": b"554 no\r\n"}, b"r\0D127.0.0.1 failed on DATA command.\nRemote host said: 554 no\n\0"),
        ({"DATA": b"451 no\r\n"}, b"r\0Z127.0.0.1 failed on DATA command.\nRemote host said: 451 no\n\0"),
        ({".": b"554 no\r\n"}, b"r\0D127.0.0.1 failed after I sent the message.\nRemote host said: 554 no\n\0"),
        ({".": b"452 no\r\n"}, b"r\0Z127.0.0.1 failed after I sent the message.\nRemote host said: 452 no\n\0"),
    ],
)
def test_a_refusal_is_reported_as_qmail_remote_reports_it(
    remote: Remote, server: Server, replies: dict[str, bytes], report: bytes
) -> None:
    remote.route(server, "optional")
    server.replies = replies
    assert remote.run() == report


def test_each_recipient_has_a_report_of_its_own(remote: Remote, server: Server) -> None:
    remote.route(server, "required")

    class Picky(dict[str, bytes]):
        answers = iter([b"250 yes\r\n", b"550 never\r\n", b"450 later\r\n"])

        def __contains__(self, key: object) -> bool:
            return key == "RCPT"

        def __getitem__(self, key: str) -> bytes:
            return next(self.answers)

    server.replies = Picky()
    parts = remote.run("a@corp.test", "b@corp.test", "c@corp.test").split(b"\0")
    assert [part[:1] for part in parts] == [b"r", b"h", b"s", b"K", b""]
    assert len(server.messages) == 1


@pytest.mark.parametrize("greeting", [b"554 no service\r\n", b"421 later\r\n", b"250 odd\r\n"])
@each_policy
def test_another_greeting_keeps_the_message(remote: Remote, server: Server, policy: str, greeting: bytes) -> None:
    remote.route(server, policy)
    server.greeting = greeting
    said = greeting.replace(b"\r", b"")
    assert remote.run() == b"ZConnected to 127.0.0.1 but greeting failed.\nRemote host said: " + said + b"\0"


DIED = b"ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n\0"
DUPLICATE = b"r\0ZConnected to 127.0.0.1 but connection died. Possible duplicate! (#4.4.2)\n\0"
WHERE = [("greeting", DIED), ("tls MAIL", DIED), ("RCPT", DIED), ("DATA", b"r\0" + DIED), (".", DUPLICATE)]


@pytest.mark.parametrize(("where", "report"), [*WHERE, ("message", b"r\0" + DIED)])
@each_policy
def test_a_connection_that_dies_keeps_the_message(
    remote: Remote, server: Server, policy: str, where: str, report: bytes
) -> None:
    remote.route(server, policy)
    server.drops = {where}
    assert remote.run(message=b"x" * 998 + b"\n" if where != "message" else b"x\n" * 8_000_000) == report


@pytest.mark.parametrize(("where", "report"), WHERE)
def test_a_server_that_says_no_more_is_not_waited_for(
    remote: Remote, server: Server, where: str, report: bytes
) -> None:
    remote.route(server, "optional")
    remote.control(timeoutremote="1\n")
    server.stalls = {where}
    assert remote.run() == report


@pytest.mark.parametrize(
    "reply", [b"250-" + b"x" * 1000 + b"\r\n", b"250 " + b"x" * 90_000, b"what?\r\n", b"\n", b"25\r\n"]
)
@pytest.mark.parametrize(("where", "report"), WHERE)
def test_a_reply_without_end_or_that_is_none_is_taken_for_a_connection_that_died(
    remote: Remote, server: Server, where: str, report: bytes, reply: bytes
) -> None:
    remote.route(server, "required")
    server.replies = {where: reply * 100 if reply.startswith(b"250-") else reply}
    assert remote.run() == report


def test_a_long_reply_is_shown_in_part_and_without_controls(remote: Remote, server: Server) -> None:
    remote.route(server, "required")
    server.replies = {".": b"250-\0\x1b[2J\r\n" + b"250-" + b"y" * 9000 + b"\r\n250 taken\r\n"}
    report = remote.run()
    assert b"Remote host said: 250-??[2J\n250-yyy" in report and report.endswith(b"y\n\0")
    assert report.count(b"\0") == 2 and len(report) < 5200


# Where TLS does not come about


def broken(server: Server, how: str) -> None:
    """Make a server's TLS fail in one of many ways."""
    match how:
        case "not offered":
            server.certificate = None
        case "no EHLO":
            server.replies["EHLO"] = b"502 what?\r\n"
        case "only in the greeting's line":
            server.replies["EHLO"] = b"250-STARTTLS\r\n250-XSTARTTLS\r\n250 STARTTLSX\r\n"
        case "EHLO stalls" | "handshake stalls" | "STARTTLS stalls" | "tls EHLO stalls":
            server.stalls = {how.removesuffix(" stalls")}
        case "EHLO dies" | "handshake dies" | "STARTTLS dies" | "tls EHLO dies":
            server.drops = {how.removesuffix(" dies")}
        case "refused":
            server.replies["STARTTLS"] = b"454 not now\r\n"
        case "no TLS behind it":
            server.replies["handshake"] = b"500 what?\r\n"
        case "injected":
            server.behind = b"250 injected\r\n" * 3
        case "old TLS":
            server.newest = ssl.TLSVersion.TLSv1_1
        case "weak ciphers":
            server.newest, server.ciphers = ssl.TLSVersion.TLSv1_2, "AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"
        case "EHLO is refused by TLS":
            server.replies["tls EHLO"] = b"502 not you\r\n"
        case "EHLO goes on for ever":
            server.replies["EHLO"] = b"250-x\r\n" * 40_000
        case _:
            raise AssertionError(how)


WAYS = {
    "not offered": "STARTTLS is not offered. (#4.7.4)",
    "no EHLO": "EHLO was refused. (#4.7.4)",
    "only in the greeting's line": "STARTTLS is not offered. (#4.7.4)",
    "EHLO stalls": "the connection died at EHLO. (#4.7.4)",
    "EHLO dies": "the connection died at EHLO. (#4.7.4)",
    "EHLO goes on for ever": "the connection died at EHLO. (#4.7.4)",
    "refused": "STARTTLS was refused. (#4.7.5)",
    "STARTTLS stalls": "the connection died at STARTTLS. (#4.7.5)",
    "STARTTLS dies": "the connection died at STARTTLS. (#4.7.5)",
    "no TLS behind it": "wrong version number. (#4.7.5)",
    "injected": "more than a reply came to STARTTLS. (#4.7.5)",
    "handshake stalls": "the peer took too long. (#4.7.5)",
    "handshake dies": "(#4.7.5)",
    "old TLS": "protocol version. (#4.7.5)",
    "weak ciphers": "handshake failure. (#4.7.5)",
    "tls EHLO stalls": "the connection died behind the handshake. (#4.7.5)",
    "tls EHLO dies": "the connection died behind the handshake. (#4.7.5)",
    "EHLO is refused by TLS": "EHLO was refused behind the handshake. (#4.7.5)",
}


@pytest.mark.parametrize("how", WAYS)
@strict
def test_where_tls_is_required_nothing_of_a_message_goes_without(
    remote: Remote, server: Server, policy: str, how: str
) -> None:
    remote.route(server, policy)
    remote.control(timeoutremote="1\n")
    broken(server, how)
    report = remote.run()
    word = b"required" if policy == "required" else b"to be verified"
    assert report.startswith(b"ZConnected to 127.0.0.1 but TLS is " + word + b" for this route, and "), report
    assert WAYS[how].encode() in report and report.count(b"\0") == 1, report
    assert {b"MAIL", b"RCPT", b"DATA"}.isdisjoint(line[:4] for _, line in server.all_heard())


def test_without_starttls_optional_mail_goes_on_over_the_same_connection(remote: Remote, server: Server) -> None:
    remote.route(server, "optional")
    server.certificate = None
    remote.run()
    assert [line[:4] for _, line in server.all_heard()] == [b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT"]
    assert server.connections == 1, "a server that offers no TLS is not called twice"


def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption(remote: Remote, server: Server) -> None:
    remote.route(server, "required")
    server.newest = ssl.TLSVersion.TLSv1_2
    assert re.search(rb"By TLSv1\.2 ECDHE-ECDSA-(AES\d+-GCM|CHACHA20)", remote.run())


# Who the server is


@pytest.mark.parametrize(
    ("names", "host", "why"),
    [
        ("DNS:mx.test", "mx.test", None),
        ("DNS:*.corp.test", "mx.corp.test", None),
        ("DNS:*.test", "mx.corp.test", b"hostname mismatch"),
        ("IP:127.0.0.1", "[127.0.0.1]", None),
        ("DNS:mx.test", "[127.0.0.1]", b"IP address mismatch"),
        ("DNS:127.0.0.1", "127.0.0.1", b"IP address mismatch"),
        ("IP:127.0.0.1", "mx.test", b"hostname mismatch"),
        ("DNS:other.test", "mx.test", b"hostname mismatch"),
        ("DNS:m*.corp.test", "mx.corp.test", b"hostname mismatch"),
        ("", "mx.test", b"hostname mismatch"),
    ],
)
def test_a_verified_server_is_the_routes_host(
    remote: Remote, server: Server, tmp_path: Path, names: str, host: str, why: bytes | None
) -> None:
    options = ("-addext", f"subjectAltName={names}") if names else ("-subj", "/CN=mx.test")
    server.certificate = make_certificate(tmp_path / "mx.pem", *options)
    remote.control(tlsca=f"{server.certificate}\n")
    remote.route(server, "verified", host)
    report = remote.run()
    assert (b"certificate verified" in report) is (why is None), report
    assert server.messages == ([] if why else [b"Subject: x\r\n\r\nhello\r\n"])
    assert why is None or (why in report and b"(#4.7.5)" in report), report


@pytest.mark.parametrize("policy", POLICIES)
def test_a_server_that_nobody_vouches_for_will_do_unless_it_is_to_be_verified(
    remote: Remote, server: Server, tmp_path: Path, policy: str
) -> None:
    server.certificate = make_certificate(tmp_path / "mx.pem", "-addext", "subjectAltName=DNS:mx.test")
    remote.route(server, policy, "mx.test")
    report = remote.run()
    assert bool(server.messages) is (policy != "verified"), report
    assert policy != "verified" or b"self-signed certificate. (#4.7.5)" in report, report


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_authorities_that_cannot_be_used_keep_the_message(
    remote: Remote, server: Server, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    remote.control(tlsca=f"{tmp_path}/ca.pem\n")
    remote.route(server, "verified")
    assert b"the file of authorities cannot be used. (#4.7.5)" in remote.run()
    assert server.messages == []


# Where the server is


@pytest.mark.parametrize(
    ("host", "letter", "code"),
    [
        ("none.test", b"D", b"any host named none.test. (#5.1.2)"),
        ("soft.test", b"Z", b"(#4.1.2)"),
        ("alias.test", b"D", b"(#5.4.4)"),
        ("bare.test", b"D", b"(#5.4.4)"),
        ("[127.0.0.1", b"D", b"(#5.1.2)"),
        ("[]", b"D", b"(#5.1.2)"),
    ],
)
def test_a_host_that_cannot_be_found(remote: Remote, server: Server, host: str, letter: bytes, code: bytes) -> None:
    remote.route(server, "optional", host)
    report = remote.run()
    assert report.startswith(letter) and report.endswith(code + b"\n\0"), report


NO_CONNECTION = b"ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n\0"


@each_policy
def test_a_server_that_is_down_keeps_the_message(remote: Remote, server: Server, policy: str) -> None:
    remote.route(server, policy)
    server.close()
    assert remote.run() == NO_CONNECTION
    assert remote.table() == {}, "a refusal costs no time, so it is not remembered"


@contextmanager
def silence() -> Iterator[int]:
    """A port of 127.0.0.1 that does not answer at all, as its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
        for one in waiting:
            one.close()


def test_a_host_that_times_out_is_remembered_as_qmail_remote_does(remote: Remote) -> None:
    remote.control(timeoutconnect="1\n", tlsroutes=":required\n")
    with silence() as port:
        remote.control(smtproutes=f":[127.0.0.1]:{port}\n")
        assert remote.run() == NO_CONNECTION
        assert remote.table() == {"127.0.0.1": (1, pytest.approx(0, abs=2))}
        remote.run()
        assert remote.table()["127.0.0.1"][0] == 1, "once more within two minutes tells nothing new"
        remote.write_table(("192.0.2.1", 3, 7000), ("127.0.0.1", 1, 130), ("192.0.2.2", 1, 9))
        remote.run()
        assert remote.table()["127.0.0.1"] == (2, pytest.approx(0, abs=2))
        assert remote.table()["192.0.2.1"] == (3, pytest.approx(7000, abs=2)), "others stay as they are"
        remote.write_table(*((f"192.0.2.{n}", 1, 100 + n if n != 9 else 9000) for n in range(64)))
        remote.run()
        assert set(remote.table()) == {*(f"192.0.2.{n}" for n in range(64) if n != 9), "127.0.0.1"}


@pytest.mark.parametrize(("count", "age", "tried"), [(1, 10, True), (2, 10, False), (10, 3000, False), (2, 6000, True)])
def test_a_host_that_is_away_is_not_tried(remote: Remote, server: Server, count: int, age: int, tried: bool) -> None:
    remote.route(server, "required")
    remote.write_table(("127.0.0.1", count, age))
    assert (b"accepted message" in remote.run()) is tried
    assert server.connections == int(tried)
    assert remote.table()["127.0.0.1"][0] == (0 if tried else count), "who answers is forgiven"


def test_of_a_hosts_addresses_the_first_that_answers_is_taken(remote: Remote, server: Server) -> None:
    remote.route(server, "required", "two.test")
    assert b"K127.0.0.1 accepted" in remote.run()
    remote.write_table(("127.0.0.1", 5, 10))
    assert remote.run() == NO_CONNECTION


@pytest.mark.parametrize("content", [None, b"", b"x" * 15])
def test_without_a_table_mail_goes_on(remote: Remote, server: Server, content: bytes | None) -> None:
    remote.route(server, "required")
    (remote.home / "queue/lock/tcpto").unlink()
    if content is not None:
        (remote.home / "queue/lock/tcpto").write_bytes(content)
    assert b"accepted message" in remote.run()
