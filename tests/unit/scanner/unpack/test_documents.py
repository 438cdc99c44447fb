"""Documents: macros, packages, remote parts, attachments and locks are found; everyday documents pass."""

from __future__ import annotations

import base64
import zlib

import pytest
from gatescan.model import Verdict
from locked_pdfs import OPEN_FOR_ALL
from opener import open_all

from tests.corpus import documents as doc
from tests.corpus.packers import zip_bytes

PROGRAM = ("run.exe", b"MZ\x90\x00" + bytes(200))
TEXT = ("minutes.txt", b"Minutes of the meeting.\n")
PACKAGE = doc.ole_package(*PROGRAM)


def test_streams_of_a_compound_file_are_read_whole_small_and_large() -> None:
    big = bytes(range(256)) * 60
    opened = open_all(doc.ole_bytes({"A/Package": b"MZ\x90\x00" + big, "B/CONTENTS": b"%PDF-1.4\n"}))
    assert bytes(opened.members[0].data) == b"MZ\x90\x00" + big
    assert bytes(opened.members[1].data).startswith(b"%PDF-1.4\n")


def test_a_loop_in_the_sector_chain_ends() -> None:
    data = bytearray(doc.ole_bytes({"Package": bytes(range(256)) * 40}))
    data[512 + 4 * 5 : 512 + 4 * 6] = (4).to_bytes(4, "little")
    assert open_all(bytes(data)).limit == ""


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ({"WordDocument": doc.word_stream(), **doc.vba_project(doc.MACRO, folder="Macros/VBA")}, "macro"),
        ({"Workbook": doc.xls_workbook(), **doc.vba_project(doc.MACRO, folder="_VBA_PROJECT_CUR/VBA")}, "macro"),
        ({"Workbook": doc.xls_workbook(macro_sheet=True)}, "macro-sheet"),
        ({"ObjectPool/_1/\x01Ole10Native": PACKAGE}, "embedded-package"),
        ({"WordDocument": doc.word_stream(locked=True)}, "encrypted-office"),
        ({"Workbook": doc.xls_workbook(locked=True)}, "encrypted-office"),
        ({"EncryptedPackage": b"x"}, "encrypted-office"),
    ],
)
def test_what_an_old_office_document_carries(streams: dict[str, bytes], code: str) -> None:
    assert open_all(doc.ole_bytes(streams)).codes == {code}


def test_an_old_office_document_without_any_of_it_passes() -> None:
    streams = {"WordDocument": doc.word_stream(), "1Table": b"x", "ObjectPool/_1/Workbook": doc.xls_workbook()}
    assert open_all(doc.ole_bytes(streams)).findings == []


def test_macros_of_a_presentation_are_found_in_their_packed_record() -> None:
    project = zlib.compress(doc.macro_project())
    body = (9000).to_bytes(4, "little") + project
    record = b"\x10\x00\x11\x10" + len(body).to_bytes(4, "little") + body
    assert "macro" in open_all(doc.ole_bytes({"PowerPoint Document": b"\x00" * 8 + record})).codes


def test_a_package_gives_its_file_and_its_name() -> None:
    opened = open_all(doc.ole_bytes({"\x01Ole10Native": PACKAGE}))
    assert opened.content("run.exe") == PROGRAM[1]


def test_attachments_of_an_outlook_message_come_with_their_names() -> None:
    opened = open_all(doc.msg_bytes([TEXT, PROGRAM]))
    assert opened.names == ["minutes.txt", "run.exe"]
    assert opened.content("run.exe").startswith(PROGRAM[1])


@pytest.mark.parametrize(
    "target",
    ["https://x.example/t", r"\\192.0.2.1\s\t", "file://192.0.2.1/s/t", "http&#58;//x.example/t", "mhtml:http://x/y"],
)
def test_a_template_from_elsewhere_is_against_policy(target: str) -> None:
    assert open_all(doc.ooxml_bytes(relations=[("attachedTemplate", target)])).codes == {"remote-template"}


def test_links_images_and_the_own_template_of_a_document_pass() -> None:
    relations = [
        ("attachedTemplate", "file:///C:\\Users\\ann\\Normal.dotm"),
        ("hyperlink", "https://x.example"),
        ("image", "https://x.example/a.png"),
    ]
    assert open_all(doc.ooxml_bytes(relations=relations)).findings == []


def test_a_macro_project_under_another_name_is_found_by_its_type() -> None:
    kind = '<Override PartName="/word/x" ContentType="application/vnd.ms-office.vbaProject"/>'
    assert open_all(doc.ooxml_bytes([("word/x", doc.macro_project())], types=kind)).codes == {"macro"}


def test_relations_in_utf_16_are_read() -> None:
    text = '<Relationship Type="x/attachedTemplate" Target="http://x.example/" TargetMode="External"/>'
    data = zip_bytes([("word/_rels/settings.xml.rels", text.encode("utf-16"))])
    assert open_all(data).codes == {"remote-template"}


def test_opendocument() -> None:
    assert open_all(doc.odf_bytes()).findings == []
    assert open_all(doc.odf_bytes(macro=True)).codes == {"macro"}
    assert open_all(doc.odf_bytes(locked=True)).codes == {"encrypted-office"}


@pytest.mark.parametrize("noise", [b"", b"\r\n", b" {\\*\\x y}", b"\\par\\z12 ", b"\t{}\n"])
def test_a_package_in_rtf_is_found_behind_noise(noise: bytes) -> None:
    opened = open_all(doc.rtf_bytes([doc.ole1_object("Package", PACKAGE[4:])], noise=noise))
    assert opened.content("run.exe") == PROGRAM[1]
    assert opened.codes == {"embedded-package"}


def test_a_package_in_rtf_as_a_binary_run() -> None:
    blob = doc.ole1_object("Package", PACKAGE[4:])
    data = b"{\\rtf1 {\\object{\\*\\objdata \\bin%d " % len(blob) + blob + b"}}}"
    assert open_all(data).content("run.exe") == PROGRAM[1]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_files_embedded_in_a_pdf_come_out(compressed: bool, plain: bool) -> None:
    opened = open_all(doc.pdf_bytes([PROGRAM], compressed=compressed, plain_streams=plain))
    assert opened.content("run.exe").rstrip(b"\n") == PROGRAM[1]
    assert opened.findings == []


@pytest.mark.parametrize("compressed", [False, True])
def test_a_program_start_in_a_pdf_is_against_policy(compressed: bool) -> None:
    assert open_all(doc.pdf_bytes(launch=True, compressed=compressed)).codes == {"pdf-launch"}


@pytest.mark.parametrize("cipher", OPEN_FOR_ALL)
def test_a_pdf_that_only_forbids_printing_is_looked_into(cipher: str) -> None:
    """The documents were made by another program, pypdf, with the empty user password and `run.exe` embedded."""
    opened = open_all(base64.b85decode(OPEN_FOR_ALL[cipher]))
    assert opened.content("run.exe").startswith(b"MZ\x90\x00\x03")
    assert opened.findings == []


def test_a_pdf_that_needs_a_password_is_encrypted() -> None:
    assert open_all(doc.locked_pdf(b"secret")).codes == {"encrypted-pdf"}
    assert open_all(doc.locked_pdf()).findings == []


@pytest.mark.parametrize("by_property", [False, True])
def test_attachments_and_body_of_tnef(by_property: bool) -> None:
    opened = open_all(doc.tnef_bytes([TEXT, PROGRAM], html=b"<html><body>x</body></html>", by_property=by_property))
    assert opened.content("minutes.txt") == TEXT[1]
    assert opened.content("run.exe") == PROGRAM[1]
    assert bytes(opened.members[-1].data) == b"<html><body>x</body></html>"
    assert opened.findings == []


def test_damaged_tnef_is_against_policy_and_gives_what_came_before() -> None:
    opened = open_all(doc.tnef_bytes([TEXT, PROGRAM])[:-20])
    assert opened.content("minutes.txt") == TEXT[1]
    assert opened.codes == {"unopenable"}


def test_the_files_in_a_note_go_by_the_names_in_it_and_images_by_none() -> None:
    opened = open_all(doc.onenote_bytes([("cover.png", b"\x89PNG\r\n\x1a\n" + bytes(50)), ("run.vbs", b"x = 1")]))
    assert opened.members[0].names == ()
    assert "run.vbs" in opened.members[1].names


def test_an_office_document_in_one_xml_file_with_a_macro() -> None:
    head = b'<?xml version="1.0"?><?mso-application progid="Word.Document"?><w:wordDocument>'
    assert open_all(head + b"<w:binData>QWN0aXZlTWltZQAA</w:binData>").verdicts == {Verdict.POLICY}
    assert open_all(head + b"<w:body/>").findings == []
