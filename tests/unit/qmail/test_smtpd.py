"""What qmail-smtpd takes and refuses by our patches, in each release and in the lab's stand-in."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from smtpd_rig import HELLO, PATIENCE, PolicyDaemon, Smtpd

pytestmark = pytest.mark.slow  # built of the releases' archives

ODD = [
    "victim%world.test@corp.test",
    "victim@world.test@corp.test",
    '"victim@world.test"@corp.test',
    '"victim%world.test"@corp.test',
    "world.test!victim@corp.test",
    "victim@world.test\t@corp.test",
    "victim\\@world.test@corp.test",
    "victim@world.test\\@corp.test",
    '"a\\"b"@corp.test',
    '"a b"@corp.test',
    "a\x01b@corp.test",
    "a\x7fb@corp.test",
    "victim:world.test@corp.test",
    "victim(world.test)@corp.test",
    "victim,world.test@corp.test",
    "victim;world.test@corp.test",
    "[victim]@corp.test",
    "|id@corp.test",
    "/tmp/x@corp.test",
    "victim@world.test%x.corp.test",
    "victim@world.test!x.corp.test",
    '""@corp.test',
]
PLAIN = ["user@corp.test", "first.last+tag@corp.test", "o'neill@corp.test", "a=b/c{d}@corp.test", '"user"@corp.test']


@pytest.mark.parametrize("recipient", ODD)
def test_recipients_that_might_be_a_way_around_are_refused(smtpd: Smtpd, recipient: str) -> None:
    assert smtpd.rcpt(recipient).startswith("553 ") and "#5.1.3" in smtpd.rcpt(recipient)


@pytest.mark.parametrize("recipient", PLAIN)
def test_ordinary_recipients_are_taken(smtpd: Smtpd, recipient: str) -> None:
    assert smtpd.rcpt(recipient) == "250 ok"


BROKEN = [
    "a@world.test\\> SIZE=1 X=<",
    "a@world.test SIZE=1",
    "a@world.test SIZE=1 ",
    "a@ world.test",
    "a@world .test",
    'a@world.test\\"',
    "a@(x)world.test",
    "a@world.test\\\\",
    "a@world.test,b.test",
    "a@world.test\rRSET",
    "a\rRCPT TO:<b@world.test>",
    "a\tb@world.test",
    "a\x1b[2J@world.test",
    "a\x7f@world.test",
    "a\rb",
]
SENDERS = [
    "",
    "#@[]",
    "list-@world.test-@[]",
    "a@[192.0.2.7]",
    "a@[IPv6:2001:db8::1]",
    "a b@world.test",
    "\xfc@w\xf6rld.test",
    "ann",
]


@pytest.mark.parametrize("address", BROKEN)
def test_addresses_that_would_end_early_on_the_next_servers_line_are_refused(smtpd: Smtpd, address: str) -> None:
    networks: list[dict[str, Any]] = [{}, {"RELAYCLIENT": ""}, {"ODDRECIPIENTS": "1"}]
    for env in networks:
        reply = smtpd.talk("EHLO x", f"MAIL FROM:<{address}>", **env)[-1]
        assert reply.startswith("553 ") and "#5.1.7" in reply
    reply = smtpd.rcpt(address, RELAYCLIENT="")
    assert reply.startswith("553 ") and "#5.1.3" in reply


@pytest.mark.parametrize("address", SENDERS)
def test_ordinary_senders_are_taken(smtpd: Smtpd, address: str) -> None:
    assert smtpd.talk("EHLO x", f"MAIL FROM:<{address}> BODY=8BITMIME".encode("latin-1"))[-1] == "250 ok"


@pytest.mark.parametrize("env", [{}, {"RELAYCLIENT": ""}])
def test_blanks_at_the_end_of_an_address_are_no_part_of_it(smtpd: Smtpd, env: dict[str, Any]) -> None:
    """So some devices that scan to mail write it."""
    lines = ("MAIL FROM:<ann@client.test > SIZE=7", "RCPT TO:<u@corp.test  >", "DATA")
    assert smtpd.talk("EHLO x", *lines, body=b"x\r\n.\r\n", **env)[-1].startswith("250 ok ")
    assert smtpd.envelope == b"Fann@client.test\0Tu@corp.test\0\0"
    smtpd.control(databytes=5000)
    assert smtpd.talk("EHLO x", "MAIL FROM:<ann@client.test > SIZE=5001", **env)[-1].startswith("552 ")
    assert smtpd.talk("EHLO x", "MAIL FROM:< >", **env)[-1] == "250 ok"


@pytest.mark.parametrize("env", [{"RELAYCLIENT": ""}, {"ODDRECIPIENTS": "1"}])
def test_who_may_relay_or_is_said_to_need_them_has_odd_recipients(smtpd: Smtpd, env: dict[str, str]) -> None:
    assert smtpd.rcpt("victim%world.test@corp.test", **env) == "250 ok"


def test_a_message_has_no_more_recipients_than_its_limit(smtpd: Smtpd) -> None:
    smtpd.control(maxrcpt=3, maxrcptrelay=5)
    lines = [f"RCPT TO:<u{number}@corp.test>" for number in range(7)]
    again = ("MAIL FROM:<>", "RCPT TO:<u@corp.test>")
    cases: list[tuple[dict[str, Any], int]] = [({}, 3), ({"RELAYCLIENT": ""}, 5), ({"MAXRCPT": "1"}, 1)]
    for env, taken in cases:
        replies = smtpd.talk(*HELLO, *lines, *again, **env)[-9:]
        assert [reply[:3] for reply in replies] == ["250"] * taken + ["452"] * (7 - taken) + ["250", "250"]
        assert all("#4.5.3" in reply for reply in replies[taken:7])


def test_recipients_beyond_the_limit_do_not_spoil_the_message(smtpd: Smtpd) -> None:
    smtpd.control(maxrcpt=2, maxerrors=2)
    lines = [f"RCPT TO:<u{number}@corp.test>" for number in range(20)]
    assert smtpd.talk(*HELLO, *lines, "DATA", body=b"x\r\n.\r\n")[-1].startswith("250 ok ")
    assert smtpd.envelope == b"Fann@client.test\0Tu0@corp.test\0Tu1@corp.test\0\0"


def test_size_is_announced_and_heeded(smtpd: Smtpd) -> None:
    smtpd.control(databytes=5000)
    assert "250-SIZE 5000" in smtpd.talk("EHLO x")
    assert smtpd.talk("EHLO x")[-1] == "250 8BITMIME"
    assert "250-SIZE 7" in smtpd.talk("EHLO x", DATABYTES="7")
    for size, code in (("5000", "250"), ("5001", "552"), ("9" * 40, "552"), ("", "501"), ("12x", "501")):
        assert smtpd.talk("EHLO x", f"MAIL FROM:<a@b.test> BODY=8BITMIME size={size}")[-1].startswith(code), size
    assert smtpd.talk("EHLO x", 'MAIL FROM:<"a> SIZE=9999 "@b.test> SIZE=1')[-1] == "250 ok"
    for line in ("<a@b.test> SIZE=5001 AUTH=<>", "a@b.test SIZE=5001", "<a@b.test> SIZE=5001 X=>"):
        assert smtpd.talk("EHLO x", f"MAIL FROM:{line}")[-1].startswith("552"), line


def test_a_message_without_a_said_size_is_bounded_too(smtpd: Smtpd) -> None:
    smtpd.control(databytes=5000)
    assert smtpd.mail("u@corp.test", b"x" * 6000 + b"\r\n.\r\n").startswith("552")
    assert smtpd.envelope is None


@pytest.mark.parametrize("body", [b"a\0b\r\n.\r\n", b"\r\n\0\r\n.\r\n", b"Subject: \0x\r\n\r\nx\r\n.\0\r\n.\r\n"])
def test_a_nul_byte_in_a_message_is_refused(smtpd: Smtpd, body: bytes) -> None:
    replies = smtpd.talk(*HELLO, "RCPT TO:<u@corp.test>", "DATA", body=body + b"RSET\r\n")
    assert replies[-2].startswith("554 ") and "#5.6.0" in replies[-2]
    assert replies[-1] == "250 flushed"
    assert smtpd.envelope is None


def test_the_next_message_is_not_blamed_for_a_nul_byte(smtpd: Smtpd) -> None:
    body = b"\0\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@corp.test>\r\nDATA\r\nx\r\n.\r\n"
    assert smtpd.talk(*HELLO, "RCPT TO:<u@corp.test>", "DATA", body=body)[-1].startswith("250 ok ")


@pytest.mark.parametrize("line", [b"RCPT TO:<u@world.test\0@corp.test>", b"NO\0OP", b"RCPT TO:<" + b"a" * 5000 + b">"])
def test_commands_with_nul_bytes_or_without_end_are_none(smtpd: Smtpd, line: bytes) -> None:
    replies = smtpd.talk(*HELLO, line, "NOOP")
    assert [reply[:3] for reply in replies[-2:]] == ["502", "250"]


def test_errors_end_a_session(smtpd: Smtpd) -> None:
    smtpd.control(maxerrors=3)
    for line in ("JUNK", "RCPT TO:<a@b.test>", "DATA"):
        replies = smtpd.talk(*[line] * 10)
        assert len(replies) == 5 and replies[-1].startswith("421 "), replies
    refused = smtpd.talk(*HELLO, *["RCPT TO:<a@world.test>"] * 10)
    assert [reply[:3] for reply in refused[-4:]] == ["553"] * 3 + ["421"]


def test_commands_without_a_message_end_a_session(smtpd: Smtpd) -> None:
    smtpd.control(maxcommands=5)
    for line in ("NOOP", "RSET", "HELO x", "VRFY x", "HELP", "MAIL FROM:<a@b.test>"):
        replies = smtpd.talk(*[line] * 20)
        assert len(replies) == 7 and replies[-1].startswith("421 "), replies


def test_who_sends_messages_may_go_on(smtpd: Smtpd) -> None:
    smtpd.control(maxcommands=5)
    one = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@corp.test>\r\nDATA\r\nx\r\n.\r\nRSET\r\n"
    assert smtpd.talk("EHLO x", body=one * 10)[-1] == "250 flushed"


def dripping(smtpd: Smtpd, first: bytes, drip: bytes) -> bytes:
    """What a client hears that says something every 50 ms, for as long as it is let."""
    process = smtpd.command({})
    assert process.stdin and process.stdout
    wire = process.stdin
    wire.write(first)
    over = threading.Event()

    def drop() -> None:
        while not over.wait(0.05):
            try:
                wire.write(drip)
                wire.flush()
            except OSError:
                return

    dripper = threading.Thread(target=drop, daemon=True)
    dripper.start()
    threading.Timer(PATIENCE, process.kill).start()
    heard = process.stdout.read()
    over.set()
    process.wait()
    return heard


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"", b"NOOP\r\n"),
        (b"", b"x"),
        (b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@corp.test>\r\nDATA\r\n", b"x"),
    ],
)
def test_a_session_has_an_end_whatever_is_said(smtpd: Smtpd, first: bytes, drip: bytes) -> None:
    smtpd.control(maxsession=1)
    assert dripping(smtpd, first, drip).splitlines()[-1].startswith(b"421 this session has lasted too long")
    assert smtpd.envelope is None


@pytest.mark.parametrize("name", ["alias", "gatescan", "_chrony", "root-x", "nosuch", "x/../y", "a" * 600])
def test_nobody_has_mail_at_the_gateways_own_name_but_aliases(smtpd: Smtpd, name: str) -> None:
    smtpd.control(onlyaliases=1)
    smtpd.alias("postmaster", "first:last", "list-default")
    for env in ({}, {"RELAYCLIENT": ""}):
        for address in (f"{name}@gw.test", f"{name}@GW.test", *([] if "/" in name or env else [name])):
            assert smtpd.rcpt(address, **env).startswith("550 "), address
        assert smtpd.rcpt(f"{name}@corp.test", **{**env, "ODDRECIPIENTS": "1"}) == "250 ok"


@pytest.mark.parametrize(
    "name", ["postmaster", "POSTmaster", "first.last", "list-x", "list-x-y", "postmaster@gw.test", "First.Last@GW.TEST"]
)
def test_aliases_have_mail(smtpd: Smtpd, name: str) -> None:
    smtpd.control(onlyaliases=1)
    smtpd.alias("postmaster", "first:last", "list-default")
    assert smtpd.rcpt(name) == "250 ok"


def test_without_limits_it_behaves_as_it_came(smtpd: Smtpd) -> None:
    assert smtpd.rcpt("nosuch@gw.test") == "250 ok"
    lines = [f"RCPT TO:<u{number}@corp.test>" for number in range(300)]
    assert set(smtpd.talk(*HELLO, *["NOOP"] * 300, *lines)[-600:]) == {"250 ok"}


# The policy daemon


def test_nobody_is_asked_without_smtppolicy(smtpd: Smtpd, policy: PolicyDaemon) -> None:
    assert smtpd.mail("u@corp.test").startswith("250 ok ")
    assert smtpd.mail("u@corp.test", SMTPPOLICY="").startswith("250 ok ")
    assert policy.questions == []


def test_each_recipient_and_each_message_is_asked_about_over_one_connection(smtpd: Smtpd, policy: PolicyDaemon) -> None:
    one = b"MAIL FROM:<ann@client.test> SIZE=77\r\nRCPT TO:<u@corp.test>\r\nRCPT TO:<v@corp.test>\r\nDATA\r\nx\r\n.\r\n"
    env = {"SSL_PROTOCOL": "TLSv1.3", "SSL_CIPHER": "TLS_AES", "TCPREMOTEPORT": "4711"}
    assert smtpd.talk("EHLO client.test", body=one * 2, SMTPPOLICY=str(policy.path), **env)[-1].startswith("250 ok ")
    assert policy.states() == ["RCPT", "RCPT", "DATA"] * 2
    assert policy.connections == 1
    first, _, data = policy.questions[:3]
    expected = {
        "request": "smtpd_access_policy", "protocol_name": "ESMTP", "client_address": "192.0.2.7", "size": "77",
        "client_name": "peer.test", "helo_name": "client.test", "sender": "ann@client.test", "client_port": "4711",
        "recipient": "u@corp.test", "recipient_count": "0", "encryption_protocol": "TLSv1.3",
        "encryption_cipher": "TLS_AES",
    }  # short pairs, many a line # fmt: skip
    assert expected.items() <= first.items()
    assert (data["recipient"], data["recipient_count"]) == ("", "2")
    instances = [question["instance"] for question in policy.questions]
    assert len(set(instances[:3])) == len(set(instances[3:])) == 1 and instances[0] != instances[3]


@pytest.mark.parametrize(
    ("action", "reply"),
    [
        (b"OK", "250 ok"),
        (b"dunno", "250 ok"),
        (b"PREPEND X-Y: z", "250 ok"),
        (b"DEFER_IF_REJECT x", "250 ok"),
        (b"REJECT", "554 5.7.1 refused by policy"),
        (b"reject go away", "554 5.7.1 go away"),
        (b"REJECT 5.1.1 nobody", "554 5.1.1 nobody"),
        (b"550 5.1.1 nobody", "550 5.1.1 nobody"),
        (b"DEFER later", "450 4.7.1 later"),
        (b"DEFER_IF_PERMIT Greylisted", "450 4.7.1 Greylisted"),
        (b"451 4.3.2 busy", "451 4.3.2 busy"),
        (b"421 gone", "421 4.7.1 gone"),
        (b"550 with \xff\x1b\r", "550 5.7.1 with ???"),
        (b"550 " + b"x" * 3000, "550 5.7.1 " + "x" * 400),
        (b"HOLD", "451 4.3.5"),
        (b"DISCARD", "451 4.3.5"),
        (b"250 ok", "451 4.3.5"),
        (b"", "451 4.3.5"),
    ],
)
def test_actions_are_obeyed(smtpd: Smtpd, policy: PolicyDaemon, action: bytes, reply: str) -> None:
    policy.answer = lambda question: action
    said = smtpd.rcpt("u@corp.test", SMTPPOLICY=str(policy.path))
    assert said == reply or (reply == "451 4.3.5" and said.startswith(reply))


def test_a_message_that_policy_refuses_at_data_is_not_taken(smtpd: Smtpd, policy: PolicyDaemon) -> None:
    policy.answer = lambda question: b"REJECT no" if question["protocol_state"] == "DATA" else b"OK"
    replies = smtpd.talk(*HELLO, "RCPT TO:<u@corp.test>", "DATA", "DATA", SMTPPOLICY=str(policy.path))
    assert replies[-2:] == ["554 5.7.1 no", "503 MAIL first (#5.5.1)"]


@pytest.mark.parametrize(
    "noise",
    [b"\n\n", b"action=OK\n", b"nonsense\n\n", b"ACTION=OK\n\n", b"action=OK\n\naction=OK\n\n", b"action=OK\0\n\n",
     b"x" * 100_000, b""],
)  # short cases, many a line # fmt: skip
def test_a_daemon_that_lies_lets_nobody_in(smtpd: Smtpd, policy: PolicyDaemon, noise: bytes) -> None:
    policy.raw, policy.answers_per_connection = True, 1
    policy.answer = lambda question: noise
    assert smtpd.rcpt("u@corp.test", SMTPPOLICY=str(policy.path)).startswith("451 4.3.5")


def test_a_daemon_that_is_not_there_lets_nobody_in(smtpd: Smtpd, policy: PolicyDaemon) -> None:
    policy.close()
    for path in (policy.path, policy.path.parent / "nothing", policy.path.parent / ("x" * 200)):
        assert smtpd.rcpt("u@corp.test", SMTPPOLICY=str(path)).startswith("451 4.3.5")


def test_a_daemon_that_says_nothing_holds_a_session_no_longer_than_its_limit(
    smtpd: Smtpd, policy: PolicyDaemon
) -> None:
    policy.answer = lambda question: None
    smtpd.control(maxsession=1)
    replies = smtpd.talk(*HELLO, "RCPT TO:<u@corp.test>", SMTPPOLICY=str(policy.path))
    assert replies[-1].startswith(("451 4.3.5", "421 "))


def test_a_daemon_that_ends_idle_connections_is_asked_anew(smtpd: Smtpd, policy: PolicyDaemon) -> None:
    policy.answers_per_connection = 1
    assert smtpd.mail("u@corp.test", SMTPPOLICY=str(policy.path)).startswith("250 ok ")
    assert policy.states() == ["RCPT", "DATA"] and policy.connections == 2


def test_no_client_can_put_attributes_into_a_question(smtpd: Smtpd, policy: PolicyDaemon) -> None:
    recipients = ("RCPT TO:<u@corp.test\raction=x>", "RCPT TO:<u@corp.test>")
    smtpd.talk("EHLO x\rsender=a", *HELLO[1:], *recipients, RELAYCLIENT="", SMTPPOLICY=str(policy.path))
    (question,) = policy.questions  # nobody is asked about what is no address
    assert "\r" not in "".join(question.values())
    assert "action" not in question
