"""Whatever comes: no exception, no budget overrun, and work in proportion to the message's size."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gatescan.judging.budget import Budget, Limits
from gatescan.model import Verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from mime_tools import codes, take_apart, take_apart_within

from tests.corpus import encodings, structure
from tests.corpus.case import HEADER, Case, attached, multipart, single

FRAGMENTS = st.sampled_from(
    [
        b"Content-Type: ", b"Content-Disposition: attachment; ", b"Content-Transfer-Encoding: ", b"multipart/mixed",
        b"message/rfc822", b"text/html", b"application/pkcs7-mime", b"; boundary=", b"; name=", b"filename*0*=", b"b1",
        b"--b1", b"--b1--", b"--", b"\n", b"\n\n", b"\r", b"\r\n", b" ", b"\t", b'"', b"(", b")", b";", b"\\", b"\0",
        b"=?utf-8?b?", b"?=", b"utf-8''", b"%2e", b"base64", b"quoted-printable", b"x-uuencode", b"TVqQAAMA", b"=",
        b"begin 644 a.exe\n", b"#35IX\n", b"end\n", b"=ybegin name=a\n", b"=yend\n", b"<html>", b"data:;base64,",
        b"(This file must be converted with BinHex 4.0)\n:", b"-----BEGIN PGP MESSAGE-----\n", b"\x30\x80\x06\x09",
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", b"\x00\x05\x16\x07", b"\xff\xfe", b"+ADw-", b"a", b"\xe9",
    ]
)  # short fragments, many a line # fmt: skip
MESSAGES = st.lists(FRAGMENTS | st.binary(max_size=12), max_size=60).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(MESSAGES)
def test_nothing_escapes_and_the_budget_holds(body: bytes) -> None:
    for message in (body, multipart(body, boundary=b"b1"), HEADER + body):
        budget = Budget(Limits(bytes_floor=200_000, bytes_ratio=1, parts=100), len(message))
        parsed = take_apart_within(message, budget)
        assert all(part.path for part in parsed.parts)
        overrun = budget.bytes_out > budget.bytes_bound or budget.parts > 100
        assert not overrun or any(f.verdict is Verdict.LIMIT for f in parsed.findings)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*structure.cases()][:300:7]), st.integers(0, 2000), st.binary(max_size=6), st.booleans())
def test_damaged_hostile_mail_never_raises(case: Case, place: int, patch: bytes, cut: bool) -> None:
    message = case.message[:20_000]
    place %= len(message)
    take_apart(message[:place] + patch + (b"" if cut else message[place + len(patch) :]))


@settings(max_examples=100, deadline=None)
@given(MESSAGES)
def test_a_mapped_file_reads_like_bytes(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    message = multipart(body, boundary=b"b1")
    path: Path = tmp_path_factory.mktemp("mapped") / "message"
    path.write_bytes(message)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        ours = take_apart_within(mapped, Budget(Limits(), len(message)))
        assert [(p.path, p.names, bytes(p.data)) for p in ours.parts] == [
            (p.path, p.names, bytes(p.data)) for p in take_apart(message).parts
        ]
        ours.parts.clear()


GROWING: dict[str, Callable[[int], bytes]] = {
    "plain": lambda n: single(b"Content-Type: text/plain\n", b"word\n" * n),
    "base64": lambda n: attached(b"a.bin", bytes(n * 5)),
    "nested-messages": lambda n: single(b"Content-Type: message/rfc822\n", b"From: a\nTo: b\n\n" + b"word\n" * n),
    "two-boundaries": lambda n: single(b"Content-Type: multipart/mixed; boundary=a; boundary=b\n", b"word\n" * n),
    "two-encodings": lambda n: single(b"Content-Transfer-Encoding: base64,\n", b"AAAA\n" * n),
    "bare-cr": lambda n: single(b"Content-Type: text/plain\n", b"wor\r\n\r" * n),
    "uuencode": lambda n: single(b"", encodings.uuencode(bytes(n * 5), b"a.bin")),
    "html": lambda n: single(b"Content-Type: text/html\n", b"<html>" + b"data:,abcd'\n" * min(n, 300) + b"word\n" * n),
}


@pytest.mark.parametrize("shape", GROWING, ids=str)
def test_twice_the_message_is_at_most_twice_the_work(shape: str) -> None:
    """Work is counted in bytes that came out of decoders, not in seconds."""

    def work(size: int) -> int:
        message = GROWING[shape](size)
        budget = Budget(Limits(bytes_out=10**9, bytes_ratio=10**6), len(message))
        take_apart_within(message, budget)
        return budget.bytes_out

    small, large = work(20_000), work(40_000)
    assert 0 < small < large <= small * 2.1


@pytest.mark.parametrize(
    "value", [b"=?", b"=?utf-8?q?=3D?=?", b"base64=?utf-8?b?Pz0=", b"=?utf-8?q?=3D?= =?utf-8?q?=3F?="]
)
def test_an_encoding_that_looks_like_an_encoded_word_is_decoded_once(value: bytes) -> None:
    assert codes(take_apart(single(b"Content-Transfer-Encoding: " + value + b"\n", b"hello\n"))) <= {"encoding"}


@pytest.mark.parametrize(
    "unit", [b"Content-Type: a\n\n", b"Content-Type: a\n", b"\n--\nContent-Type: a\n", b"\n\nFrom a\n"]
)
def test_a_text_full_of_fields_is_read_in_one_pass(unit: bytes) -> None:
    """Were the text searched anew from each field, this would take minutes."""
    text = unit * (3_000_000 // len(unit))
    start = time.process_time()
    parsed = take_apart(single(b"", text))
    assert time.process_time() - start < 30
    assert parsed.findings == []


def test_a_log_without_an_empty_line_is_no_huge_header() -> None:
    log = b"content-type: text/html; name=a\n" + b"GET /index.html 200 0.1\n" * 100_000
    assert take_apart(attached(b"access.log", log, b"text/plain")).findings == []


def test_a_large_file_is_decoded_whole_and_strictly() -> None:
    data = bytes(range(251)) * 14_000
    parsed = take_apart(attached(b"a.bin", data))
    assert parsed.findings == []
    assert bytes(parsed.parts[1].data) == data
    broken = attached(b"a.bin", data).replace(b"\n\n--=_b1--", b"\nAAAA\n\n--=_b1--").replace(b"A\n", b"=\n", 1)
    assert "encoding" in codes(take_apart(broken))


@pytest.mark.parametrize("name", ["nested-odd", "many-odd"])
def test_readings_of_readings_are_bounded(name: str) -> None:
    """Each level doubles the readings; a walk that followed all of them would never end."""
    if name == "nested-odd":
        level = b"Content-Type: multipart/mixed; boundary=n%d; boundary=m%d\n\n--n%d\n--m%d\n"
        message = HEADER + b"".join(level % (i, i, i, i) for i in range(55))
    else:
        part = b"--b\nContent-Type: multipart/mixed; boundary=a; boundary=c\n\n--a\n\nx\n--c\n\ny\n"
        message = single(b"Content-Type: multipart/mixed; boundary=b\n", part * 500)
    budget = Budget(Limits(), len(message))
    parsed = take_apart_within(message, budget)
    assert "two-boundaries" in codes(parsed)
    if name == "many-odd":
        assert "limit-readings" in codes(parsed)
    assert budget.parts <= 700
    assert len(parsed.parts) <= 4000


@pytest.mark.parametrize(
    ("limit", "message", "code"),
    [
        ("bytes_out", attached(b"a.bin", bytes(50_000)), "limit-bytes"),
        ("parts", multipart(*[b"\nx"] * 30), "limit-parts"),
        ("mime_depth", HEADER + structure.nested(b"\nx", 20), "limit-depth"),
    ],
)
def test_a_limit_is_a_finding_and_what_was_read_is_kept(limit: str, message: bytes, code: str) -> None:
    parsed = take_apart(message, **{limit: 10})
    assert [f.code for f in parsed.findings if f.verdict is Verdict.LIMIT] == [code]
    assert parsed.subject == "the papers"
    assert code not in codes(take_apart(message))


@pytest.mark.parametrize("value", [b"=?utf-8?q?=3D?utf-8?q?base64", b"=?", b"base64 =?x", b"=?a?q?=?a?q?=?="])
def test_an_encoded_word_that_decodes_to_another_is_no_endless_matter(value: bytes) -> None:
    fields = b"Content-Type: text/plain\nContent-Transfer-Encoding: " + value + b"\n"
    assert take_apart(single(fields, b"hello\n")).parts
