"""What follows of what gatekeeper has said of a message from outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import desk
import pytest
from gatescan.config import Config, ConfigError, parse
from gatescan.context import Context
from gatescan.judging.authentication import VARIABLE, Authentication, cleaned
from gatescan.outcome import handle
from gatescan.outcome.handle import Outcome

RESULTS = "spf=pass smtp.mailfrom=evil.test; dkim=none; arc=none; dmarc=fail header.from=corp.test policy.dmarc=reject"
FIELD = (
    b"Authentication-Results: gw.example.org;\n  spf=pass smtp.mailfrom=evil.test;\n  dkim=none;\n  arc=none;\n"
    b"  dmarc=fail header.from=corp.test policy.dmarc=reject\n"
)
FORGED = b"Authentication-Results: gw.example.org;\n dmarc=pass header.from=corp.test\n"


@pytest.fixture
def gate(tmp_path: Path) -> desk.Desk:
    found = desk.make(tmp_path)
    found.change(authentication=True)
    return found


def told(answer: str, base: Context = desk.INBOUND) -> Context:
    return replace(base, remote_ip="192.0.2.7", env={VARIABLE: answer})


def handled(gate: desk.Desk, answer: str, message: bytes | None = None) -> Outcome:
    return _handled(gate, told(answer), message)


def _handled(gate: desk.Desk, context: Context, message: bytes | None = None) -> Outcome:
    services = gate.services()
    try:
        return handle.handle(services, message or desk.plain(), context, desk.Ids())
    finally:
        services.close()


def delivered(outcome: Outcome, message: bytes) -> bytes:
    """What the queue gets."""
    assert (outcome.code, bool(outcome.headers_to_add)) == (0, True)
    return outcome.headers_to_add + message[outcome.replaced :]


def test_good_mail_is_delivered_with_our_results_in_front(gate: desk.Desk) -> None:
    outcome = handled(gate, f"- {RESULTS}")
    assert delivered(outcome, desk.plain()).endswith(FIELD + desk.plain())
    assert gate.journal()[-1]["authentication"] == RESULTS.split("; ")


def test_results_that_forge_our_name_are_gone_and_others_stay(gate: desk.Desk) -> None:
    theirs = b"Authentication-Results: mx.example.net; spf=fail\n"
    message = b"Received: by x\n" + FORGED + theirs + FORGED + desk.plain()
    got = delivered(handled(gate, f"- {RESULTS}", message), message)
    assert got.endswith(FIELD + b"Received: by x\n" + theirs + desk.plain())
    assert got.count(b"gw.example.org;") == 1


def test_those_that_forge_another_gateways_name_are_gone_too(gate: desk.Desk) -> None:
    gate.change(authentication=True, fleet=("gw.example.org", "GW2.example.org"))
    forged = FORGED.replace(b"gw.", b"gw2.")
    message = b"Received: by x\n" + forged + FORGED + desk.plain()
    got = delivered(handled(gate, f"- {RESULTS}", message), message)
    assert got.endswith(FIELD + b"Received: by x\n" + desk.plain())


@pytest.mark.parametrize(
    "field",
    [
        b"AUTHENTICATION-results : gw.example.org 1; dmarc=pass\n",
        b"Authentication-Results:\n\tGW.Example.ORG;\n\tdmarc=pass\n",
        b'Authentication-Results: "gw\\.example.org"; dmarc=pass\n',
        b"Authentication-Results: (a comment) gw.example.org. (another); dmarc=pass\n",
        b"Authentication-Results: gw.example.org\n",
        b"Authentication-Results\n : gw.example.org; dmarc=pass\n",
        b"Authentication-Results: (a; (b;)) gw.example.org; dmarc=pass\n",
        b"Authentication-Results: (\\); gw.example.org; dmarc=pass\n",
        b'Authentication-Results: "a;b" gw.example.org; dmarc=pass\n',
        b"Authentication-Results: =?utf-8?q?gw.example.org?=; dmarc=pass\n",
    ],
)
def test_however_our_name_is_written(field: bytes) -> None:
    message = b"Subject: a\n" + field + b"To: b\n\nAuthentication-Results: gw.example.org; as text\n"
    assert cleaned(message, {"gw.example.org"}) == (b"Subject: a\n", len(b"Subject: a\n" + field))


def test_one_behind_a_bare_cr_is_gone_and_its_fields_line_end_stays() -> None:
    message = b"Subject: a\rAuthentication-Results: gw.example.org; dmarc=pass\nTo: b\n\n"
    beginning, replaced = cleaned(message, {"gw.example.org"})
    assert beginning + message[replaced:] == b"Subject: a\r\nTo: b\n\n"


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mx.gw.example.org; spf=pass\n",
        b"Authentication-Results: mx.example.net; spf=pass smtp.helo=gw.example.org\n",
        b"X-Authentication-Results: gw.example.org; spf=pass\n",
    ],
)
def test_what_is_not_ours_stays(field: bytes) -> None:
    assert cleaned(field + b"\nbody", {"gw.example.org"}) == (b"", 0)


@pytest.mark.parametrize(
    ("said", "verdict", "action", "code", "text"),
    [
        ("spoofed", "spoofed", "quarantine", 0, ""),
        ("reject", "unauthenticated", "reject", 31, "(#5.7.1)"),
        ("quarantine", "unauthenticated", "quarantine", 0, ""),
        ("temperror", "auth-temperror", "tempfail", 71, "(#4.7.0)"),
        ("own-name", "own-name", "tag", 0, ""),
        ("reject,own-name", "unauthenticated", "reject", 31, "(#5.7.1)"),
    ],
)
def test_each_verdict_has_its_default(
    gate: desk.Desk, said: str, verdict: str, action: str, code: int, text: str
) -> None:
    outcome = handled(gate, f"{said} {RESULTS}")
    line = gate.journal()[-1]
    assert (line["verdict"], line["action"], outcome.code) == (verdict, action, code)
    assert outcome.text.endswith(text)
    assert bool(outcome.text) is bool(text)


def test_and_the_site_may_have_another(gate: desk.Desk) -> None:
    actions = {
        "spoofed": "reject",
        "unauthenticated-quarantine": "tag",
        "auth-temperror": "tag",
        "own-name": "quarantine",
    }
    gate.change(actions={"inbound": actions})
    assert handled(gate, f"spoofed {RESULTS}").code == 31
    assert b"\nX-Gatescan-Tag: unauthenticated-quarantine (" in handled(gate, f"quarantine {RESULTS}").headers_to_add
    assert b"\nX-Gatescan-Tag: auth-temperror (dns)\n" in handled(gate, f"temperror {RESULTS}").headers_to_add
    assert handled(gate, f"own-name {RESULTS}") == Outcome(0)
    assert handled(gate, f"reject {RESULTS}").code == 31


def test_but_none_that_lets_through_in_silence_what_could_not_be_known() -> None:
    with pytest.raises(ConfigError, match="auth-temperror: a message that could not be looked at never gets accept"):
        parse({"actions": {"inbound": {"auth-temperror": "accept"}}})


def test_what_is_held_and_released_has_our_results_and_no_forged_ones(gate: desk.Desk) -> None:
    message = b"Received: by x\n" + FORGED + desk.plain()
    assert handled(gate, f"spoofed {RESULTS}", message) == Outcome(0)
    (entry,) = gate.quarantine().entries()
    gate.quarantine().release(entry, gate.config)
    ((released, _),) = gate.queued()
    assert released.endswith(FIELD + b"Received: by x\n" + desk.plain())
    assert released.count(b"gw.example.org;") == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "-",
        "- ",
        "- dmarc=pass",
        "good spf=pass; dmarc=pass",
        "- spf=pass; dmarc=pass\nX-Evil: 1",
        "- spf=pass; dmarc=pass; x=y",
        "- spf=pass smtp.helo=A B; dmarc=pass",
    ],
)
def test_without_an_answer_that_is_one_nothing_passes(gate: desk.Desk, answer: str) -> None:
    assert Authentication.parse(answer) is None
    assert handled(gate, answer).code == 71
    assert gate.journal()[-1]["findings"][0]["code"] == "authentication-missing"


def test_our_own_mail_needs_none(gate: desk.Desk) -> None:
    for context in (desk.INBOUND, replace(desk.INBOUND, remote_ip="10.0.0.1", relayclient=True)):
        message = FORGED + desk.plain()
        outcome = _handled(
            gate, replace(context, remote_ip="" if not context.relayclient else context.remote_ip), message
        )
        assert b"Authentication-Results" not in outcome.headers_to_add
        assert outcome.replaced == 0


def test_where_it_is_off_nobody_is_believed(gate: desk.Desk) -> None:
    gate.change(authentication=False)
    outcome = handled(gate, f"reject {RESULTS}")
    assert outcome.code == 0
    assert b"Authentication-Results" not in outcome.headers_to_add
    assert "authentication" not in gate.journal()[-1]


def test_a_message_that_kills_the_scanner_is_no_way_past_it(gate: desk.Desk) -> None:
    gate.change(actions={"inbound": {"limit": "tag"}})
    outcome = handle.Handler(gate.config).doomed(desk.plain(), told(f"reject {RESULTS}"), desk.Ids(), "died")
    assert outcome.code == 31


@pytest.mark.parametrize(
    ("rule", "is_hit"),
    [
        ("spf=pass", True),
        ("spf=fail", False),
        ("dmarc=(fail|none)", True),
        (r"spf=pass smtp\.mailfrom=.*evil\.test", True),
        ("pass", False),
    ],
)
def test_rules_can_ask_for_the_results(gate: desk.Desk, rule: str, is_hit: bool) -> None:
    gate.write_rules(f"{rule}\tPolicy-AUTH:\tnot wanted\n")
    assert handled(gate, f"- {RESULTS}").headers_to_add.startswith(b"Received") is not is_hit


def test_the_default_is_off() -> None:
    assert Config().authentication is False
