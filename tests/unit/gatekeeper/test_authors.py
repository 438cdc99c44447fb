"""Whose name a message bears: one author, or none that could be counted on."""

from __future__ import annotations

import time

import pytest
from gatekeeper.auth.mail import DOMAINS, FIELDS_LIMIT, HEADER_LIMIT, Authors, authors, of_bytes, shown_name

EVIL = "From: <first@evil.test>\n"


def found(header: str | bytes) -> Authors:
    return authors(of_bytes((header.encode() if isinstance(header, str) else header) + b"Subject: x\n\nhello\n"))


@pytest.mark.parametrize(
    "value",
    [
        "ann@corp.test",
        "<ann@corp.test>",
        "Ann <ann@CORP.test>",
        '"Miller, Ann" <ann@corp.test>',
        '"ann@other.test" <ann@corp.test>',
        "=?utf-8?q?M=C3=BCller?= <ann@corp.test>",
        "Ann\n Miller\n <ann@corp.test>",
        "ann@corp.test (Ann Miller)",
        "Müller & Söhne <ann@corp.test>",
        '"ann miller"@corp.test',
        "ann@corp.test <ann@corp.test>",
        "ann@corp.test, bob@corp.test",
        "Team: ann@corp.test;",
        "Ann Miller <ann@corp.test>\r",
    ],
)
def test_one_domain_is_seen_by_all(value: str) -> None:
    assert found(f"From: {value}\n") == Authors(("corp.test",), True)


def test_an_international_domain_is_in_ascii() -> None:
    assert found("From: ann@müller.test\n") == Authors(("xn--mller-kva.test",), True)


FORGED = {
    "two fields": EVIL + "From: <ann@corp.test>\n",
    "a blank before the name": "Subject: y\n From: <ann@corp.test>\n" + EVIL,
    "a blank before the first name": " From: <ann@corp.test>\n" + EVIL,
    "a blank behind the name": EVIL + "From : <ann@corp.test>\n",
    "a fold behind the name": EVIL + "From\n : <ann@corp.test>\n",
    "a control character in the name": EVIL + "Fr\0om: <ann@corp.test>\n",
    "a bare carriage return": EVIL + "X: y\rFrom: <ann@corp.test>\n",
    "a name with a blank behind it alone": "From : <ann@corp.test>\n",
    "a sender beside a name with a fold": "From\n : <first@evil.test>\nSender: <ann@corp.test>\n",
    "who sends it on beside a name with a fold": "From\n : <first@evil.test>\nResent-From: <ann@corp.test>\n",
    "a sender beside a name with a control character": "Fr\0om: <first@evil.test>\nSender: <ann@corp.test>\n",
    "two addresses": "From: <first@evil.test>, <ann@corp.test>\n",
    "two addresses, one bare": "From: ann@corp.test,<second@evil.test>\n",
    "an encoded address": "From: =?utf-8?B?PGFubkBjb3JwLnRlc3Q+?=,<second@evil.test>\n",
    "a route": "From: <@evil.test,@any.test:ann@corp.test>\n",
    "a route of the other": "From: <@corp.test:any@evil.test>\n",
    "a quoted pair": "From: <ann@corp.test>\\,<second@evil.test>\n",
    "two brackets": "From: <any@evil.test>ann@corp.test\n",
    "an address as the name": "From: ann@corp.test <any@evil.test>\n",
    "a group": "From: ann@corp.test:<any@evil.test>;\n",
    "an address in a comment": "From: any@evil.test (ann@corp.test)\n",
    "a comment in an address": "From: ann@corp.test(<any@evil.test>)\n",
    "a quoted local part": 'From: "ann@corp.test"@evil.test\n',
    "an address in another charset": "From: =?utf-7?q?ann+AEA-corp.test?=,<second@evil.test>\n",
    "an odd character in the domain": "From: <ann@corp.test%.evil.test>\n",
    "NUL": "From: any@evil.test\0@corp.test\n",
    "a NUL in the domain": "From: ann@corp.test\0.evil.test\n",
    "two at signs": "From: any@corp.test@evil.test\n",
    "an unended quotation": 'From: "x <ann@corp.test> y@evil.test\n',
    "many fields": EVIL + "X: y\n" * FIELDS_LIMIT + "From: <ann@corp.test>\n",
    "comments around the at sign": "From: ann(x)@(y)corp.test\n",
    "a comment in the domain": "From: ann@corp(x).test\n",
    "comments in comments": "From: Ann <ann(x(y))@ (z) corp . test>\n",
    "comments three deep": "From: Ann <ann@(((a)))corp.test>\n",
    "comments three deep in the domain": "From: Ann <ann@corp(a(b(c))).test>\n",
    "a quoted bracket in a comment": "From: Ann <ann@corp(\\().test>\n",
    "a bracket behind a backslash that some do not know": "From: Ann <ann@corp(\\).test>\n",
    "a comment in quotation marks that is none": 'From: "x (" <ann@corp(y).test> ")"\n',
    "a comment behind a quotation mark without an end": 'From: "x <ann@corp(\\().test>\n',
    "a comment behind one without an end": "From: ( <ann@(x)corp.test>\n",
    "an encoded comment": "From: =?utf-8?q?ann=40(x)corp.test?=\n",
    "an encoded quotation mark before a comment": "From: =?utf-8?q?=22x?= <ann@corp(y(z)).test>\n",
    "encoded neighbours": "From: =?utf-8?q?ann=40corp=2Ete?= =?utf-8?q?st?=\n",
    "encoded neighbours on two lines": "From: =?utf-8?q?ann=40corp=2Ete?=\n =?utf-8?q?st?=\n",
    "encoded neighbours with a comment between them": "From: =?utf-8?q?ann=40corp=2Ete?= (x) =?utf-8?q?st?=\n",
    "an encoded word that only some join": "From: =?utf-8?q?ann=40corp.test?= =?utf-8?q?x?=\n",
    "an encoded word that is no text": "From: =?utf-8?q?ann=40corp.test=ff.evil.test?=\n",
    "many addresses": EVIL.strip() + "".join(f", x@e{number}.test" for number in range(DOMAINS)) + ", ann@corp.test\n",
    "many From fields": EVIL * DOMAINS + "From: ann@corp.test\n",
    "a long name": "From: " + "x " * 6000 + "<ann@corp.test>\n",
    "a long header": EVIL + f"X: {'y' * HEADER_LIMIT}\n" + "From: <ann@corp.test>\n",
}


CUT = ("many fields", "many addresses", "many From fields", "a long header")
"""Those in which the forged author stands behind what is looked at."""


@pytest.mark.parametrize("header", FORGED.values(), ids=FORGED)
def test_an_author_whom_readers_could_see_differently_is_none_that_counts(header: str) -> None:
    seen = found(header)
    assert not seen.is_one
    assert seen.domains or seen.is_cut


@pytest.mark.parametrize("kind", CUT)
def test_of_too_many_authors_it_is_told_that_not_all_were_looked_at(kind: str) -> None:
    assert found(FORGED[kind]).is_cut


@pytest.mark.parametrize("kind", sorted(FORGED.keys() - {*CUT}))
def test_and_the_forged_one_is_among_those_that_are_looked_at(kind: str) -> None:
    assert {"corp.test"} <= {name.partition("\0")[0] for name in found(FORGED[kind]).domains}


def test_what_is_no_text_ends_a_domain_for_some_readers() -> None:
    assert "corp.test" in found(b"From: ann@corp.test\xff.evil.test\n").domains


@pytest.mark.parametrize(
    "value",
    [
        "Ann (Work) <ann@corp.test>",
        "Ann (Work (Day) <ann@corp.test>",
        "Ann :) <ann@corp.test>",
        "Ann :( <ann@corp.test>",
        '"Ann (Work" <ann@corp.test>',
        "ann@corp.test (Ann (Work))",
        "Ann (Work), <ann@corp.test>",
        "Ann (a.b) <ann@corp.test>, Bob (c) <bob@corp.test>",
    ],
)
def test_brackets_in_a_name_make_no_other_author(value: str) -> None:
    assert found(f"From: {value}\n").domains == ("corp.test",)


@pytest.mark.parametrize(
    "header",
    ["", "From: \n", "From: ann\n", "From: Nobody:;\n", "From: <>\n", "Sender: ann\n", "Reply-To: <a@b.test>\n"],
)
def test_a_message_may_have_no_author(header: str) -> None:
    assert found(header).domains == ()


@pytest.mark.parametrize("author", ["", "From: \n", "From: ann\n", "From: <>\n"])
def test_without_an_author_programs_show_the_sender(author: str) -> None:
    assert found(f"Sender: Ann <ann@corp.test>\n{author}") == Authors(("corp.test",), False)
    assert found(f"{author}Sender: <eve@evil.test>\nSender: ann@corp.test\n").domains == ("evil.test", "corp.test")
    assert found("From: eve@evil.test\nSender: ann@corp.test\n") == Authors(("evil.test",), True)
    assert found(author + "Sender: eve@evil.test\n" * 10 + "Sender: ann@corp.test\n").is_cut


@pytest.mark.parametrize("domain", ["", ".", "test", "[192.0.2.7]", "-x", "a..test", ".test", f"{'a' * 64}.test"])
def test_what_is_no_domain_is_no_author(domain: str) -> None:
    assert not found(f"From: ann@{domain}\n").is_one


@pytest.mark.parametrize("domain", ["straße.test", "τέλος.test", "a\u200db.test"])
def test_a_domain_that_is_another_one_for_some_programs_is_none_that_counts(domain: str) -> None:
    assert not found(f"From: ann@{domain}\n").is_one


def test_the_fields_that_a_signature_lists_are_no_author() -> None:
    folded = "DKIM-Signature: v=1; d=corp.test; h=To:\n From:Subject; i=@corp.test; b=x\n"
    assert found(folded + "From: ann@corp.test\n") == Authors(("corp.test",), True)


@pytest.mark.parametrize(
    "text",
    [
        "a ",
        '"a" ',
        "(",
        "() ",
        "@a",
        "a@",
        "=?q?",
        "a<a@a",
        '"\\"',
        "\t(a)",
        "\r",
        ":",
        "()",
        "<",
        "<@",
        ". ",
        "\\(",
        '"(',
        "(\\)",
        "=?q?q?(?= ",
        "=?q?q?@(a)?= ",
    ],
)
def test_a_strangers_header_does_not_take_long(text: str) -> None:
    header = b"From: " + text.encode() * 50_000 + b"x\n" + (text.encode() + b"\n") * 20_000
    start = time.process_time()
    found(header)
    short = b"From: " + text.encode() * 3000 + b"x\n"
    found(short)
    shown_name(of_bytes(short))
    assert time.process_time() - start < 5
