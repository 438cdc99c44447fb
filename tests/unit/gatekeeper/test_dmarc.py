"""DMARC, ARC and what follows: whom a message is from, and whether it is spoofed or not authenticated."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from gatekeeper.addresses import parse_client
from gatekeeper.auth import arc
from gatekeeper.auth.dmarc import Policy, _one, parse
from gatekeeper.auth.judge import Origin, Report, Site, judge
from gatekeeper.auth.mail import Body, Field, of_bytes, relaxed
from gatekeeper.auth.suffixes import Suffixes
from test_authors import CUT, FORGED
from test_dkim_verified import BODY, HEADER, key, record, signed
from zone import Zone

SUFFIXES = Suffixes("// a comment\ntest\nco.test\n*.wide.test\n!www.wide.test\nxn--p1ai\nрф\n")
SITE = Site(SUFFIXES, "gw.test")
OWN = Site(SUFFIXES, "gw.test", own=frozenset({"corp.test"}))
ORIGIN = Origin(parse_client("192.0.2.7"), "mx.evil.test", "first@evil.test")
EVIL = {"evil.test": "v=spf1 ip4:192.0.2.7 -all", "mx.evil.test": "v=spf1 +all"}


def zone(policy: str = "v=DMARC1; p=reject", **more: str | list[str]) -> Zone:
    return Zone(txt={**EVIL, "_dmarc.corp.test": policy, "one._domainkey.corp.test": record(), **more})


def judged(
    message: bytes = HEADER + BODY,
    names: Zone | None = None,
    site: Site = SITE,
    sender: str = "first@evil.test",
    chance: float = 0.0,
) -> Report:
    origin = Origin(ORIGIN.client, ORIGIN.helo, sender)
    return asyncio.run(judge(of_bytes(message), origin, names or zone(), site, lambda: chance))


# Organisations


@pytest.mark.parametrize(
    ("domain", "organisation"),
    [
        ("corp.test", "corp.test"),
        ("a.b.corp.test", "corp.test"),
        ("corp.co.test", "corp.co.test"),
        ("a.corp.co.test", "corp.co.test"),
        ("co.test", "co.test"),
        ("a.b.c.wide.test", "b.c.wide.test"),
        ("a.www.wide.test", "www.wide.test"),
        ("a.b.unknown", "b.unknown"),
        ("a.b.xn--p1ai", "b.xn--p1ai"),
        ("test", "test"),
    ],
)
def test_an_organisations_domain_is_the_one_below_a_public_suffix(domain: str, organisation: str) -> None:
    assert SUFFIXES.organisation(domain) == organisation


# Records


@pytest.mark.parametrize(
    ("text", "policy", "below", "percent"),
    [
        ("v=DMARC1; p=reject", Policy.REJECT, Policy.REJECT, 100),
        ("v=DMARC1;p=quarantine;sp=none;pct=20", Policy.QUARANTINE, Policy.NONE, 20),
        ("v = DMARC1 ; p = Reject ; pct=x", Policy.REJECT, Policy.REJECT, 100),
        ("v=DMARC1; rua=mailto:x@y.test", Policy.NONE, Policy.NONE, 100),
        ("v=DMARC1; p=none; p=reject", Policy.NONE, Policy.NONE, 100),
    ],
)
def test_a_record_says_what_a_domain_wants(text: str, policy: Policy, below: Policy, percent: int) -> None:
    found = parse(text)
    assert found
    assert (found.policy, found.below, found.percent) == (policy, below, percent)


@pytest.mark.parametrize("text", ["", "v=DMARC2; p=reject", "v=DMARC1", "v=DMARC1; p=maybe", "p=reject; v=DMARC"])
def test_what_is_no_record_says_nothing(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("texts", "is_found"),
    [
        (["V=DMARC1; p=reject"], True),
        (["v=spf1 -all", "v=DMARC1; p=reject"], True),
        (["v=DMARC12; p=none", "v=DMARC1; p=reject"], True),
        (["v=dmarc1; p=reject"], False),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], False),
    ],
)
def test_of_several_texts_those_that_are_records_count(texts: list[str], is_found: bool) -> None:
    assert bool(_one(texts)) is is_found


# Alignment


def test_a_signature_of_the_authors_domain_is_a_pass() -> None:
    found = judged(signed(HEADER + BODY))
    assert (found.dmarc.result, found.verdict, found.dmarc.aligned) == ("pass", "", ("corp.test",))


def test_spf_of_the_authors_domain_is_a_pass() -> None:
    names = zone(**{"corp.test": "v=spf1 ip4:192.0.2.7 -all"})
    assert judged(names=names, sender="bounces@corp.test").dmarc.result == "pass"


def test_another_domains_proof_is_none() -> None:
    found = judged()
    assert found.spf
    assert (found.spf.result, found.dmarc.result, found.verdict) == ("pass", "fail", "unauthenticated")
    assert found.wanted is Policy.REJECT


@pytest.mark.parametrize(("strictness", "result"), [("", "pass"), ("; adkim=s; aspf=s", "fail")])
def test_names_of_one_organisation_are_aligned_unless_it_wants_it_otherwise(strictness: str, result: str) -> None:
    message = signed(HEADER.replace(b"ann@corp.test", b"ann@sub.corp.test") + BODY)
    names = zone("v=DMARC1; p=reject" + strictness, **{"news.corp.test": "v=spf1 +all"})
    assert judged(message, names).dmarc.result == result
    plain = HEADER.replace(b"ann@corp.test", b"ann@sub.corp.test") + BODY
    assert judged(plain, names, sender="x@news.corp.test").dmarc.result == result


def test_two_customers_of_one_suffix_are_not_one_organisation() -> None:
    names = zone(**{"_dmarc.a.co.test": "v=DMARC1; p=reject", "b.co.test": "v=spf1 +all"})
    message = HEADER.replace(b"corp.test", b"a.co.test") + BODY
    assert judged(message, names, sender="x@b.co.test").dmarc.result == "fail"


@pytest.mark.parametrize(
    ("author", "policy", "wanted"),
    [
        ("corp.test", "v=DMARC1; p=quarantine; sp=reject", Policy.QUARANTINE),
        ("sub.corp.test", "v=DMARC1; p=quarantine; sp=reject", Policy.REJECT),
        ("sub.corp.test", "v=DMARC1; p=quarantine", Policy.QUARANTINE),
        ("corp.test", "v=DMARC1; p=none", Policy.NONE),
    ],
)
def test_an_organisation_has_a_policy_for_names_below_it(author: str, policy: str, wanted: Policy) -> None:
    found = judged(HEADER.replace(b"corp.test", author.encode()) + BODY, zone(policy))
    assert (found.dmarc.result, found.wanted) == ("fail", wanted)


@pytest.mark.parametrize(("chance", "wanted"), [(0.1, Policy.REJECT), (0.5, Policy.QUARANTINE)])
def test_a_policy_for_a_part_of_the_mail_is_a_milder_one_for_the_rest(chance: float, wanted: Policy) -> None:
    assert judged(names=zone("v=DMARC1; p=reject; pct=30"), chance=chance).wanted is wanted


# Name servers that do not answer


@pytest.mark.parametrize("name", ["_dmarc.corp.test", "one._domainkey.corp.test"])
def test_what_cannot_be_known_now_is_neither_passed_nor_refused(name: str) -> None:
    names = zone()
    names.failing = {name}
    found = judged(signed(HEADER + BODY), names)
    assert (found.dmarc.result, found.verdict) == ("temperror", "later")


def test_nor_is_it_where_spf_would_have_to_say_it() -> None:
    names = zone()
    names.failing = {"corp.test"}
    assert judged(names=names, sender="ann@corp.test").verdict == "later"


def test_a_stranger_whose_own_name_server_is_dead_is_refused_all_the_same() -> None:
    names = zone()
    names.failing = {"evil.test", "mx.evil.test", "_dmarc.evil.test"}
    assert judged(names=names).verdict == "unauthenticated"


# Forged authors


@pytest.mark.parametrize("header", FORGED.values(), ids=FORGED)
def test_no_forged_author_has_a_pass(header: str) -> None:
    names = zone(**{"_dmarc.evil.test": "v=DMARC1; p=none"})
    found = judged(header.encode() + b"Subject: x\n\nhello\n", names)
    assert found.dmarc.result != "pass"
    assert " dmarc=pass" not in found.header()


TWO = b"From: <x@slow.test>, <ann@corp.test>\nSubject: x\n\nhello\n"


@pytest.mark.parametrize("policy", ["v=DMARC1; p=none", "v=DMARC1; p=reject", "no record"])
def test_a_dead_domain_beside_a_colleagues_hides_no_forgery(policy: str) -> None:
    names = zone(policy)
    names.failing = {"_dmarc.slow.test"}
    assert judged(TWO, names, OWN).verdict == "spoofed"


def test_a_dead_domain_beside_one_that_wants_such_mail_refused_changes_nothing() -> None:
    names = zone()
    names.failing = {"_dmarc.slow.test"}
    found = judged(TWO, names)
    assert (found.dmarc.result, found.verdict, found.wanted) == ("permerror", "unauthenticated", Policy.REJECT)
    names = zone("v=DMARC1; p=quarantine")
    names.failing = {"_dmarc.slow.test"}
    assert judged(TWO, names).verdict == "later"


@pytest.mark.parametrize("header", FORGED.values(), ids=FORGED)
@pytest.mark.parametrize("has_policy", [True, False])
def test_a_forged_colleague_is_found_whatever_the_trick(header: str, has_policy: bool) -> None:
    names = zone() if has_policy else Zone(txt=EVIL)
    site = Site(SUFFIXES, "gw.test", own=frozenset({"corp.test", "evil.test"}))
    assert judged(header.encode() + b"Subject: x\n\nhello\n", names, site).verdict == "spoofed"


@pytest.mark.parametrize("kind", sorted(FORGED))
def test_a_colleague_is_found_behind_a_stranger_who_has_a_proof(kind: str) -> None:
    names = zone(**{"_dmarc.evil.test": "v=DMARC1; p=none"})
    found = judged(FORGED[kind].encode() + b"Subject: x\n\nhello\n", names, OWN)
    assert found.verdict == ("unauthenticated" if kind in CUT else "spoofed")
    assert found.wanted is Policy.QUARANTINE or kind not in CUT


@pytest.mark.parametrize(
    "sender",
    [
        "any@nowhere.corp.test",
        "(any@corp.test",
        "any@corp.test(a.evil.test",
        "any@corp.test'@any.evil.test",
        "@corp.test,@any.test:'any@evil.test",
        "any@corp.test\0.evil.test",
        "",
    ],
)
def test_no_trick_with_the_envelope_is_a_proof(sender: str) -> None:
    found = judged(sender=sender)
    assert (found.dmarc.result, found.verdict) == ("fail", "unauthenticated")


def test_nothing_of_strangers_gets_into_the_results_but_domains() -> None:
    message = signed(HEADER + BODY).replace(b"d=corp.test", b"d=corp.test;dmarc=pass(.evil.test")
    found = judged(message.replace(b"ann@corp.test", b"ann@corp.test;dmarc=pass"), sender="x@a;dmarc=pass.test")
    assert "pass" not in found.header()


def test_the_results_are_those_of_rfc_8601() -> None:
    assert judged(signed(HEADER + BODY)).header() == (
        "Authentication-Results: gw.test;\n  spf=pass smtp.mailfrom=evil.test;\n  dkim=pass header.d=corp.test;\n"
        "  arc=none;\n  dmarc=pass header.from=corp.test policy.dmarc=reject\n"
    )


# Our own names


def test_our_own_name_from_outside_is_spoofed_whatever_its_policy() -> None:
    assert judged(names=Zone(txt=EVIL), site=OWN).verdict == "spoofed"
    assert judged(HEADER.replace(b"@corp.test", b"@sub.corp.test") + BODY, Zone(txt=EVIL), OWN).verdict == "spoofed"
    assert judged(names=Zone(txt=EVIL), site=OWN).why.startswith("it is written in the name of corp.test")


def test_our_own_name_as_the_sender_of_what_has_no_author_is_spoofed() -> None:
    message = b"Sender: Ann <ann@corp.test>\nTo: bob@corp.test\n\n" + BODY
    found = judged(message, zone(), OWN)
    assert (found.dmarc.result, found.verdict) == ("permerror", "spoofed")


def test_our_own_name_with_a_proof_is_not() -> None:
    names = Zone(txt={**EVIL, "one._domainkey.corp.test": record()})
    found = judged(signed(HEADER + BODY), names, OWN)
    assert (found.dmarc.result, found.verdict) == ("none", "")
    names.failing = {"one._domainkey.corp.test"}
    assert judged(signed(HEADER + BODY), names, OWN).verdict == "later"


def test_some_networks_may_use_our_names_without_one() -> None:
    from ipaddress import ip_network

    site = Site(SUFFIXES, "gw.test", own=frozenset({"corp.test"}), may_spoof=(ip_network("192.0.2.0/28"),))
    assert judged(names=Zone(txt=EVIL), site=site).verdict == ""


def test_other_names_are_not_ours() -> None:
    assert judged(HEADER.replace(b"corp.test", b"notcorp.test") + BODY, Zone(txt=EVIL), OWN).verdict == ""


# Forwarders


SEEN = "dmarc=pass header.from=corp.test"
KINDS = ("arc-authentication-results", "arc-message-signature", "arc-seal")


def sealed(message: bytes, domain: str = "lists.test", seen: str = SEEN, at: int = 1) -> bytes:
    """A message with a forwarder's seal, with RSA and relaxed forms."""
    parsed = of_bytes(message)
    body = Body(True)
    for block in parsed.body():
        body.feed(block)
    bh = base64.b64encode(body.end()[0]).decode()
    by = f"a=rsa-sha256; d={domain}; s=one"
    results = f"ARC-Authentication-Results: i={at}; {domain}; {seen}"
    signature = f"ARC-Message-Signature: i={at}; {by}; c=relaxed/relaxed; h=from:subject; bh={bh}; b="
    seal = f"ARC-Seal: i={at}; {by}; t=1; cv={'none' if at == 1 else 'pass'}; b="
    signature += _signed([*(parsed.named(name)[0] for name in ("from", "subject")), _field(signature)])
    hops = [(hop, kind) for hop in range(1, at) for kind in KINDS]
    earlier = [item for hop, kind in hops for item in parsed.named(kind) if f"i={hop};".encode() in item.raw]
    seal += _signed([*earlier, _field(results), _field(signature), _field(seal)])
    return f"{seal}\n{signature}\n{results}\n".encode() + message


def _field(text: str) -> Field:
    return Field("", text.encode() + b"\r\n")


def _signed(fields: Sequence[Field]) -> str:
    data = b"".join(map(relaxed, fields))[:-2]
    return base64.b64encode(key(2048).sign(data, padding.PKCS1v15(), hashes.SHA256())).decode()


def chained(message: bytes, forwarders: Sequence[str]) -> Report:
    keys = {f"one._domainkey.{domain}": record() for domain in ("lists.test", "other.test", "eve.test")}
    return judged(message, zone(**keys), Site(SUFFIXES, "gw.test", forwarders=frozenset(forwarders)))


def test_what_a_named_forwarder_saw_counts() -> None:
    found = chained(sealed(HEADER + BODY), ["lists.test"])
    assert (found.chain.result, found.dmarc.result, found.verdict) == ("pass", "fail", "")
    assert found.forwarder == "lists.test"


def test_what_another_one_says_it_saw_does_not() -> None:
    found = chained(sealed(HEADER + BODY), ["other.test"])
    assert (found.chain.result, found.verdict) == ("pass", "unauthenticated")


@pytest.mark.parametrize(
    "seen",
    [
        "dmarc=fail header.from=corp.test",
        "dmarc=pass header.from=evil.test",
        "dmarc=pass",
        "spf=pass (; dmarc=pass header.from=corp.test ;)",
        'x="; dmarc=pass header.from=corp.test ;"',
        "dmarc=fail (x) reason=dmarc=pass header.from=corp.test",
    ],
)
def test_it_must_have_seen_a_pass_of_this_author(seen: str) -> None:
    assert chained(sealed(HEADER + BODY, seen=seen), ["lists.test"]).verdict == "unauthenticated"


@pytest.mark.parametrize("text", ["(" * 10_000 + ")" * 10_000, '"\\' * 10_000], ids=["comments", "quotes"])
def test_what_a_forwarder_says_it_saw_does_not_take_long(text: str) -> None:
    start = time.process_time()
    assert not arc.saw_pass(text + "; dmarc=pass header.from=corp.test", "corp.test"), "it is cut"
    assert time.process_time() - start < 0.2


@pytest.mark.parametrize(
    ("text", "is_pass"),
    [
        ("spf=fail (a; (b); \\) c); dmarc=pass (p=none; x) header.from=corp.test", True),
        ('spf=fail reason="(; \\" ;"; dmarc=pass header.from=corp.test', True),
        ("spf=fail (a; (b); dmarc=pass header.from=corp.test", False),
        ('spf=fail reason="; dmarc=pass header.from=corp.test', False),
        ('spf=fail reason="; dmarc=pass header.from=corp.test ;"', False),
        ("spf=fail (; dmarc=pass header.from=corp.test ;)", False),
    ],
)
def test_comments_and_quotations_of_a_forwarder_are_no_results(text: str, is_pass: bool) -> None:
    assert arc.saw_pass(text, "corp.test") is is_pass


def test_who_comes_after_a_named_forwarder_must_be_named_too() -> None:
    message = sealed(sealed(HEADER + BODY), "other.test", "dmarc=fail header.from=corp.test", 2)
    assert chained(message, ["lists.test", "other.test"]).forwarder == "lists.test"
    assert chained(message, ["lists.test"]).verdict == "unauthenticated"
    first = sealed(sealed(HEADER + BODY, "eve.test"), "lists.test", "dmarc=fail header.from=corp.test", 2)
    assert chained(first, ["lists.test"]).verdict == "unauthenticated"


@pytest.mark.parametrize(
    "change", [(b"hello", b"hullo"), (b"Subject: a", b"Subject: b"), (b"dmarc=pass", b"dmarc=PASS")]
)
def test_a_chain_that_was_broken_says_nothing(change: tuple[bytes, bytes]) -> None:
    found = chained(sealed(HEADER + BODY).replace(*change), ["lists.test"])
    assert (found.chain.result, found.verdict) == ("fail", "unauthenticated")


def test_a_forwarders_key_that_cannot_be_had_now_is_waited_for() -> None:
    names = zone()
    names.failing = {"one._domainkey.lists.test"}
    site = Site(SUFFIXES, "gw.test", forwarders=frozenset({"lists.test"}))
    assert judged(sealed(HEADER + BODY), names, site).verdict == "later"
    assert judged(sealed(HEADER + BODY, "eve.test"), names, site).verdict == "unauthenticated"
    names.failing |= {"one._domainkey.eve.test"}
    assert judged(sealed(HEADER + BODY, "eve.test"), names, site).verdict == "unauthenticated"


def test_nobody_is_waited_for_in_a_named_forwarders_name() -> None:
    names = zone(**{"one._domainkey.lists.test": record()})
    names.failing = {"one._domainkey.eve.test"}
    site = Site(SUFFIXES, "gw.test", own=frozenset({"corp.test"}), forwarders=frozenset({"lists.test"}))
    seal, rest = sealed(HEADER + BODY, "eve.test").split(b"\n", 1)
    found = judged(seal.replace(b"d=eve.test", b"d=lists.test") + b"\n" + rest, names, site)
    assert (found.chain.result, found.verdict) == ("fail", "spoofed")


def test_a_chain_is_not_longer_than_fifty() -> None:
    field = b"ARC-Seal: i=%d; cv=none\nARC-Message-Signature: i=%d\nARC-Authentication-Results: i=%d; x\n"
    message = b"".join(field % (at, at, at) for at in range(1, 52)) + HEADER + BODY
    assert judged(message).chain.result == "fail"
