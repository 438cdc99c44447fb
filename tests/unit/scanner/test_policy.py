"""Which action a verdict earns."""

from __future__ import annotations

from typing import Any

import pytest
from gatescan import config
from gatescan.context import Context
from gatescan.model import Finding, Report, Verdict
from gatescan.outcome import policy

INBOUND = Context("ann@example.net", ("bob@example.org",), "192.0.2.1")
OUTBOUND = Context("bob@example.org", ("ann@example.net",), "192.0.2.1", relayclient=True)


def report(*verdicts: Verdict, code: str = "some-code") -> Report:
    return Report([Finding(verdict, code, "why") for verdict in verdicts])


def configured(**actions: Any) -> config.Config:
    return config.parse({"actions": actions})


@pytest.mark.parametrize(
    ("verdict", "action", "code"),
    [
        (Verdict.INFECTED, "quarantine", 0),
        (Verdict.POLICY, "quarantine", 0),
        (Verdict.AMBIGUOUS, "quarantine", 0),
        (Verdict.LIMIT, "quarantine", 0),
        (Verdict.ENCRYPTED, "quarantine", 0),
        (Verdict.ENGINE_ERROR, "tempfail", 71),
    ],
)
@pytest.mark.parametrize("context", [INBOUND, OUTBOUND])
def test_defaults(verdict: Verdict, action: str, code: int, context: Context) -> None:
    decision = policy.decide(report(verdict), context, config.Config())
    assert (decision.action, decision.code, decision.delivered) == (action, code, False)


def test_clean_is_delivered_untouched() -> None:
    assert policy.decide(report(), INBOUND, config.Config()) == policy.ACCEPT


@pytest.mark.parametrize("code", ["smime-encrypted", "pgp-encrypted"])
def test_end_to_end_encrypted_mail_is_delivered_with_a_tag(code: str) -> None:
    decision = policy.decide(report(Verdict.ENCRYPTED, code=code), INBOUND, config.Config())
    assert decision.delivered and decision.tags == (f"encrypted-mail ({code})",)


def test_one_line_makes_a_verdict_a_rejection() -> None:
    decision = policy.decide(report(Verdict.POLICY), INBOUND, configured(inbound={"policy": "reject"}))
    assert (decision.code, decision.quarantine, decision.text) == (31, False, "")
    both = policy.decide(report(Verdict.POLICY), INBOUND, configured(inbound={"policy": "quarantine+reject"}))
    assert (both.code, both.quarantine) == (31, True)


def test_direction_chooses_the_table() -> None:
    settings = configured(outbound={"policy": "reject"})
    assert policy.decide(report(Verdict.POLICY), OUTBOUND, settings).action == "reject"
    assert policy.decide(report(Verdict.POLICY), INBOUND, settings).action == "quarantine"


def test_the_strictest_recipient_domain_counts() -> None:
    settings = configured(
        domains={"example.org": {"policy": "accept"}, ".example.net": {"policy": "reject"}, "a.example.net": {}}
    )

    def to(*addresses: str) -> Context:
        return Context("x@y.example", addresses, "192.0.2.1")

    assert policy.decide(report(Verdict.POLICY), to("b@example.org"), settings).action == "accept"
    assert policy.decide(report(Verdict.POLICY), to("b@EXAMPLE.org."), settings).action == "accept"
    assert policy.decide(report(Verdict.POLICY), to("b@a.example.net"), settings).action == "reject"
    assert policy.decide(report(Verdict.POLICY), to("b@example.org", "c@d.example"), settings).action == "quarantine"
    assert policy.decide(report(Verdict.POLICY), to("b@example.org", "c@a.example.net"), settings).action == "reject"


def test_the_nearest_domain_pattern_counts() -> None:
    table = {".example.net": {"policy": "reject"}, "a.example.net": {"policy": "accept"}}
    settings = configured(domains=table)
    near = Context("x@y.example", ("b@a.example.net",), "192.0.2.1")
    assert policy.decide(report(Verdict.POLICY), near, settings).action == "accept"
    far = Context("x@y.example", ("b@b.example.net",), "192.0.2.1")
    assert policy.decide(report(Verdict.POLICY), far, settings).action == "reject"


def test_a_tolerated_verdict_does_not_hide_a_milder_one() -> None:
    settings = configured(inbound={"policy": "tag"})
    decision = policy.decide(report(Verdict.POLICY, Verdict.ENCRYPTED), INBOUND, settings)
    assert decision.action == "quarantine" and decision.finding and decision.finding.verdict is Verdict.ENCRYPTED
    failed = policy.decide(report(Verdict.POLICY, Verdict.ENGINE_ERROR), INBOUND, settings)
    assert failed.action == "tempfail"


def test_the_most_severe_verdict_decides() -> None:
    decision = policy.decide(report(Verdict.ENGINE_ERROR, Verdict.LIMIT, Verdict.POLICY), INBOUND, config.Config())
    assert decision.action == "quarantine" and decision.finding and decision.finding.verdict is Verdict.POLICY


def test_the_reason_is_told_only_when_asked_for_and_fits_the_contract() -> None:
    settings = configured(inbound={"policy": "reject"}, reason=True)
    finding = Finding(Verdict.POLICY, "rule-name", "evil\r\n554 ünïcode " + "x" * 400)
    text = policy.decide(Report([finding]), INBOUND, settings).text
    assert text.startswith("D") and "rule-name" in text
    assert text.isascii() and text.isprintable() and len(text) <= 255
    assert policy.decide(report(Verdict.ENGINE_ERROR), INBOUND, settings).text.startswith("Z")


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"actions": {"inbound": {"polcy": "reject"}}}, "actions.inbound.polcy"),
        ({"actions": {"inbound": {"policy": "destroy"}}}, "actions.inbound.policy"),
        ({"actions": {"domains": {"example.org": {"clean": "reject"}}}}, "actions.domains.example.org.clean"),
        ({"actions": {"inbound": {"engine-error": "accept"}}}, "actions.inbound.engine-error"),
        ({"actions": {"outbound": {"engine-error": "tag"}}}, "actions.outbound.engine-error"),
        ({"quarantine": {"max_byte": 5}}, "quarantine.max_byte"),
        ({"quarantine": {"max_bytes": "5"}}, "quarantine.max_bytes"),
        ({"quarantine": {"max_bytes": True}}, "quarantine.max_bytes"),
        ({"quarantine": {"max_bytes": -5}}, "quarantine.max_bytes"),
        ({"quarantine": 5}, "quarantine"),
        ({"local_domains": "example.org"}, "local_domains"),
        ({"local_domains": ["example.org", 5]}, "local_domains[1]"),
        ({"daemon": {"socket_mode": "rw"}}, "daemon.socket_mode"),
        ({"daemon": {"workers": 0}}, "daemon.workers"),
        ({"next_queue": []}, "next_queue"),
        ({"limits": {"second": 5}}, "limits.second"),
    ],
)
def test_a_mistake_in_the_configuration_names_its_key(data: dict[str, Any], key: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.parse(data)
    assert caught.value.key == key


def test_the_configuration_takes_what_it_documents() -> None:
    made = config.parse({"daemon": {"socket_mode": "0660", "deadline": 5}, "engines": [{"type": "clamd", "x": 1}]})
    assert made.daemon.socket_mode == 0o660 and made.daemon.deadline == 5.0
    assert made.engines == ({"type": "clamd", "x": 1},)
