"""Whatever comes in: no exception but LimitReached, within the budget, and every member well-formed."""

from __future__ import annotations

import functools

from gatescan.judging.budget import Limits
from hypothesis import given, settings
from hypothesis import strategies as st
from opener import Opened, open_all

from tests.corpus import archives
from tests.corpus import documents as doc
from tests.corpus.packers import zip_bytes

LIMITS = Limits(bytes_floor=2_000_000, bytes_ratio=1, parts=300, depth=6, seconds=20)


@functools.cache
def samples() -> tuple[bytes, ...]:
    """A container of each kind, with a text and a program in it."""
    files = [archives.PAPER, archives.PROGRAM]
    packed = [packer(files) for packer, _ in archives.PACKERS.values()]
    office = [
        doc.ole_bytes({"Workbook": doc.xls_workbook(True), "Macros/VBA/dir": b"x", "\x01Ole10Native": b"\x09" * 90}),
        doc.ooxml_bytes([("word/vbaProject.bin", b"x")], relations=[("attachedTemplate", "http://x.example/")]),
        doc.rtf_bytes([doc.ole1_object("Package", doc.ole_package("run.exe", b"MZ" * 40)[4:])]),
        doc.pdf_bytes(files, launch=True, compressed=True),
        doc.locked_pdf(),
        b"MZ\x90\x00" + bytes(90) + zip_bytes(files),
    ]
    return (*packed, *office)


def check(opened: Opened) -> None:
    """What holds for everything that is opened."""
    assert opened.budget.bytes_out <= opened.budget.bytes_bound + 1_100_000
    for part in opened.members:
        assert part.path.startswith("1/")
        assert "\n" not in part.path
        assert not (part.sealed and len(part.data))
    for finding in opened.findings:
        assert finding.part.startswith("1")
        assert finding.detail.isprintable()


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_a_damaged_container_is_a_finding_and_never_an_error(data: st.DataObject) -> None:
    sample = bytearray(data.draw(st.sampled_from(samples())))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(sample) - 1))
        change = data.draw(st.binary(min_size=1, max_size=4))
        sample[place : place + len(change)] = change
    check(open_all(bytes(sample), limits=LIMITS))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(range(27)), st.integers(0, 3000), st.integers(0, 3000))
def test_a_cut_container_is_never_an_error(which: int, start: int, length: int) -> None:
    sample = samples()[which % len(samples())]
    check(open_all(sample[start % 40 : start % 40 + length], limits=LIMITS))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(range(27)), min_size=2, max_size=4))
def test_containers_glued_together_are_never_an_error(which: list[int]) -> None:
    check(open_all(b"".join(samples()[i % len(samples())] for i in which), limits=LIMITS))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([sample[:16] for sample in samples()]), st.binary(max_size=600))
def test_noise_behind_a_magic_number_is_never_an_error(head: bytes, tail: bytes) -> None:
    check(open_all(head + tail, limits=LIMITS))
