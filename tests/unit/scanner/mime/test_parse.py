"""What `parse` tells of a message: its parts, its header, what is odd about it."""

from __future__ import annotations

import pytest
from gatescan.judging.budget import Budget, Limits
from gatescan.mime import END_TO_END, members, parameters
from gatescan.model import Part, Verdict
from mime_tools import codes, contents, take_apart

from tests.corpus import encodings, structure
from tests.corpus.case import EXE, HEADER, TEXT, attached, base64_lines, file_entity, multipart, single


def test_an_ordinary_message() -> None:
    parsed = take_apart(attached(b"papers.pdf", b"%PDF-1.4 \x00\xff", b"application/pdf"))
    text, file = parsed.parts
    assert (text.path, text.content_type, text.names) == ("1", "text/plain", ())
    assert (file.path, file.content_type, file.names) == ("2", "application/pdf", ("papers.pdf",))
    assert bytes(file.data) == b"%PDF-1.4 \x00\xff"
    assert parsed.findings == []


def test_the_header_is_told_unfolded_and_decoded() -> None:
    message = (
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?b?ISEh?=\nFrom: Ann\n\t<ann@example.net>\n"
        b"Message-ID: <1@example.net>\nSubject: the second\n\nhello\n"
    )
    parsed = take_apart(message)
    assert parsed.subject == "Grüße!!!"
    assert parsed.from_ == "Ann\t<ann@example.net>"
    assert parsed.message_id == "<1@example.net>"
    assert parsed.headers[-1] == ("subject", b"the second")


@pytest.mark.parametrize(
    ("field", "automatic"),
    [
        (b"", False),
        (b"List-Id: <a.example.org>\n", True),
        (b"Precedence: Bulk\n", True),
        (b"Precedence: first-class\n", False),
        (b"Auto-Submitted: auto-replied; x=y\n", True),
        (b"Auto-Submitted: no\n", False),
        (b"Return-Path: <>\n", True),
    ],
)
def test_mail_that_no_notice_may_answer(field: bytes, automatic: bool) -> None:
    assert take_apart(field + HEADER + b"\nhello\n").is_list_or_auto is automatic


def test_paths_number_the_parts_as_clients_do() -> None:
    inner = multipart(TEXT, file_entity(b"a.pdf", b"%PDF"), boundary=b"inner")
    parsed = take_apart(multipart(TEXT, b"Content-Type: message/rfc822\n\n" + inner))
    assert [part.path for part in parsed.parts] == ["1", "2.1", "2.2"]


def test_two_readings_that_show_the_same_are_one() -> None:
    fields = b"Content-Type: text/plain; charset=utf-8\nContent-Type: text/plain\n"
    parsed = take_apart(single(fields, b"hello\n"))
    assert contents(parsed) == [b"hello\n"]
    assert parsed.findings == []


def test_a_text_that_is_a_page_to_some_readers_is_looked_at_as_a_page() -> None:
    fields = b"Content-Type: text/plain\nContent-Type: text/html\n"
    page = b"<html><a href='data:;base64," + base64_lines(EXE).replace(b"\n", b"") + b"'>x</a></html>"
    assert EXE in contents(take_apart(single(fields, page)))
    assert take_apart(single(fields, b"hello\n")).findings == []


def test_every_reading_is_shown() -> None:
    body = b"--a\n" + file_entity(b"a.pdf", b"one") + b"\n--b\n" + file_entity(b"b.pdf", b"two") + b"\n"
    parsed = take_apart(single(b"Content-Type: multipart/mixed; boundary=a; boundary=b\n", body))
    assert {"two-boundaries", "readings-differ"} <= codes(parsed)
    assert {b"one", b"two"} <= {content[:3] for content in contents(parsed)}


@pytest.mark.parametrize(
    ("fields", "code", "verdict"),
    [
        (b"Content-Type: message/partial; id=a; number=1; total=2\n", "message-partial", Verdict.POLICY),
        (b"Content-Type: message/external-body; access-type=URL\n", "external-body", Verdict.POLICY),
        (b"Content-Type: multipart/encrypted; boundary=b\n", "pgp-encrypted", Verdict.ENCRYPTED),
    ],
)
def test_types_that_have_a_verdict(fields: bytes, code: str, verdict: Verdict) -> None:
    parsed = take_apart(single(fields, b"--b\n\nx\n--b--\n"))
    assert (code, verdict) in {(f.code, f.verdict) for f in parsed.findings}


def test_end_to_end_seals_are_told_from_sealed_archives() -> None:
    sealed = [c for c in structure.cases() if c.expected is Verdict.ENCRYPTED]
    assert len(sealed) > 10
    for case in sealed:
        assert codes(take_apart(case.message)) <= END_TO_END, case.name


def test_a_signed_message_is_opened() -> None:
    signed = structure.signed(file_entity(b"setup.exe", EXE), pieces=True)
    fields = b"Content-Type: application/pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n"
    parsed = take_apart(single(fields, base64_lines(signed)))
    assert EXE in contents(parsed)
    assert parsed.findings == []


def test_binhex_run_lengths_are_undone() -> None:
    data = b"a" * 300 + b"\x90\x90b" + b"\0" * 20
    packed = encodings.binhex(b"a.bin", data)
    assert data in contents(take_apart(single(b"", packed)))


def test_each_file_in_a_text_is_a_part_with_its_name() -> None:
    text = encodings.uuencode(b"one" * 50, b"a.bin") + encodings.yenc(b"two" * 50, b"b.bin")
    parts = take_apart(single(b"", text)).parts
    assert [(p.names, bytes(p.data)) for p in parts[1:]] == [(("a.bin",), b"one" * 50), (("b.bin",), b"two" * 50)]
    assert all(part.depth == 1 for part in parts[1:])


def test_members_look_into_a_file_from_an_archive() -> None:
    page = b"<html><a href='data:;base64," + base64_lines(EXE).replace(b"\n", b"") + b"'>x</a></html>"
    part = Part("2/page.html", ("page.html",), "", page, depth=1)
    found = list(members(part, Budget(Limits(), len(page))))
    assert [(p.path, bytes(p.data), p.depth) for p in found] == [("2/page.html/1", EXE, 2)]


def test_text_is_no_markup_only_because_it_speaks_of_it() -> None:
    prose = b"use <script> and new Blob with createObjectURL( and atob(\n"
    assert take_apart(single(b"Content-Type: text/plain\n", prose)).findings == []
    assert codes(take_apart(single(b"Content-Type: text/html\n", prose))) == {"html-smuggling"}


def test_every_python_reads_a_field_alike() -> None:
    """Python 3.11.2 misreads possessive groups, `(...)*+`; with one here it found a third boundary."""
    field = parameters.parse(b"multipart/mixed; boundary=n0; boundary=m0")
    assert field.parameters == ((b"boundary", b"n0"), (b"boundary", b"m0"))
