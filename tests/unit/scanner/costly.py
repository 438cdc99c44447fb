"""Mail that is made to cost: for each reader something of which it is to read as much as it can, in `n` pieces."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from tests.corpus import documents, encodings, packers, readings, structure
from tests.corpus.case import TEXT, attached, base64_lines, file_entity, multipart, single

Maker = Callable[[int], bytes]


def _files(n: int, data: bytes = b"x", suffix: str = "txt") -> list[tuple[str, bytes]]:
    return [(f"{number}.{suffix}", data) for number in range(n)]


def _zipped(*texts: bytes) -> bytes:
    return attached(b"a.zip", packers.zip_bytes(_files(1, b"".join(texts))))


def _page(text: bytes) -> bytes:
    return single(b"Content-Type: text/html\n", b"<html><body>" + text + b"</body></html>\n")


def _image(text: bytes) -> bytes:
    return attached(b"a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'>" + text + b"</svg>", b"image/svg+xml")


def _script(text: bytes) -> bytes:
    return _page(b"<script>" + text + b"</script>")


def _pdf(body: bytes) -> bytes:
    catalog = b"1 0 obj << /Type /Catalog /Names << /EmbeddedFiles 2 0 R >> >> endobj\n"
    return attached(b"a.pdf", b"%PDF-1.7\n" + catalog + body + b"trailer << /Root 1 0 R >>\n%%EOF\n")


def _object_streams(count: int, tree: bytes) -> bytes:
    """A PDF whose object streams are all the same name tree, packed to nearly nothing."""
    packed = zlib.compress(tree, 9)
    head = b"<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>stream\n" % len(packed)
    return b"".join(b"%d 0 obj" % n + head + packed + b"\nendstream endobj\n" for n in range(9, 9 + count))


_NESTED = b"(" + (b"(" + b"x" * 399 + b")") * 1999 + b")"
"""A string as long as a reader of PDF takes for one."""


def _kids(n: int) -> bytes:
    return b"".join(b"%d 0 obj << /Kids [%d 0 R %d 0 R] >> endobj\n" % (k, k + 1, k + 1) for k in range(2, n + 2))


def _signed_again(n: int) -> bytes:
    content = b"Good morning.\n" * 100
    for _ in range(n):
        content = structure.signed(content)
    return attached(b"a.p7m", content, b"application/pkcs7-mime")


def _packed_again(n: int) -> bytes:
    content = bytes(1_000_000)
    for _ in range(n):
        content = packers.gzip_bytes(content)
    return attached(b"a.gz", content)


def _word(body: str) -> bytes:
    return attached(
        b"a.docx", documents.ooxml_bytes([("word/document2.xml", f"<w:document>{body}</w:document>".encode())])
    )


def _relations(n: int) -> bytes:
    one = '<Relationship Type="x/hyperlink" Target="&#104;ttp://a.example/" TargetMode="External"/>'
    return attached(b"a.docx", documents.ooxml_bytes([("word/_rels/a.xml.rels", f"<R>{one * n}</R>".encode())]))


def _link(target: str) -> bytes:
    return attached(b"a.docx", documents.ooxml_bytes(relations=[("hyperlink", target), ("attachedTemplate", target)]))


def _inner_zips(n: int) -> bytes:
    inner = packers.zip_bytes([packers.ZipMember(b"a.txt", b"x", method=0)] * 3)
    return attached(b"a.zip", packers.zip_bytes([packers.ZipMember(b"%d.zip" % k, inner, method=0) for k in range(n)]))


MAKERS: dict[str, Maker] = {
    # MIME
    "many parts": lambda n: multipart(*[TEXT] * n),
    "empty parts": lambda n: multipart(*[b"\n"] * (20 * n)),
    "parts in parts": lambda n: single(structure.nested(TEXT, min(n, 55)).partition(b"\n\n")[0] + b"\n", b"\n" * n),
    "messages in messages": lambda n: b"Subject: x\nContent-Type: message/rfc822\n\n" * n + TEXT,
    "a long header": lambda n: b"X-Field: word =?utf-8?q?=41?= word\n" * (10 * n) + b"\nx\n",
    "one long field": lambda n: b"Subject: " + b"=?utf-8?q?=41=42?= " * (20 * n) + b"\n\nx\n",
    "a long address list": lambda n: b"To: " + b'"a" <a@example.org>,\n ' * (20 * n) + b"x\n\nx\n",
    "many parameters": lambda n: single(b"Content-Type: text/plain" + b'; name*1="a"' * n + b"\n", b"x\n"),
    "continued names": lambda n: single(
        b"Content-Type: text/plain" + b"".join(b"; name*%d*=%%41" % k for k in range(n)) + b"\n", b"x\n"
    ),
    "many Content-Types": lambda n: single(b"".join(b"Content-Type: a/b%d\n" % k for k in range(n)), b"x\n"),
    "boundary lines": lambda n: single(
        b"Content-Type: multipart/mixed; boundary=b\n", b"--b" + b"\n--bx\n--b b\n" * (10 * n)
    ),
    "hyphens": lambda n: single(b"Content-Type: multipart/mixed; boundary=-\n", b"--" * (100 * n)),
    "long comments": lambda n: single(b"Content-Type: text/plain " + b"(a" * (30 * n) + b"\n", b"x\n"),
    "broken header lines": lambda n: b"Content-Type\xff: a/b\n \nno field here\n" * n + b"\nx\n",
    "soft line ends": lambda n: single(b"Content-Transfer-Encoding: quoted-printable\n", b"=\n" * (100 * n)),
    "fields in a text": lambda n: single(b"", b"text\n\nContent-Type: a/b; name=x\n\nabc\n" * (5 * n)),
    "fields in a bounce": lambda n: single(b"", b"--b\nContent-Transfer-Encoding: base64\n\nQUJD\n" * (5 * n)),
    # Files in texts
    "uu lines": lambda n: single(b"", encodings.uuencode(b"x" * 45 * (20 * n), b"a.txt")),
    "uu beginnings": lambda n: single(b"", b"begin 644 x\nM" + b"begin 644 x\n" * (20 * n)),
    "uu beginnings in a zip": lambda n: _zipped(
        b"begin 644 x\n" + b"M" + b"A" * 60 + b"\n", b"begin 644 y\nM\n" * (40 * n)
    ),
    "yEnc": lambda n: single(b"", encodings.yenc(b"x=" * (200 * n), b"a.txt")),
    "yEnc in a zip": lambda n: _zipped(b"begin 644 x\nM" + b"A" * 60 + b"\n", b"=ybegin x\n" * (100 * n)),
    "BinHex": lambda n: single(b"", encodings.binhex(b"a.txt", b"\x90" * (200 * n))),
    "BinHex beginnings": lambda n: single(b"", b"(This file must be converted with BinHex 4.0)\n:" * (10 * n)),
    "a calendar": lambda n: single(
        b"Content-Type: text/calendar\n", b"BEGIN:VCALENDAR\r\n" + b"ATTACH;ENCODING=BASE64:QUJD\r\n" * (5 * n)
    ),
    "calendar parameters": lambda n: single(
        b"Content-Type: text/calendar\n", b"BEGIN:VCALENDAR\r\nATTACH" + b";a=b" * (20 * n) + b"\r\n"
    ),
    "a calendar as JSON": lambda n: single(
        b"Content-Type: application/calendar+json\n",
        b'["vcalendar", "x-filename" ' + b'"label":"a" "binary" , "QUJD"' * (10 * n),
    ),
    "frames that are passed over": lambda n: attached(
        b"a.dat", b"\x50\x2a\x4d\x18\0\0\0\0" * (50 * n) + b"\x28\xb5\x2f\xfd"
    ),
    "binary runs": lambda n: attached(b"a.rtf", b"{\\rtf1" + b"{\\*\\template \\bin1 }" * (5 * n)),
    "fields that load": lambda n: _word(documents.word_field("LINK a " + "INCLUDETEXT  x " * 3) * n),
    "fields in a page": lambda n: attached(b"a.doc", b"<html>" + b"<p style=mso-element:field-begin>LINK <" * (10 * n)),
    "cells of a page": lambda n: attached(b"a.xls", b"<html><td>" + b">=HYPERLINK(\"a'|(" * (20 * n)),
    "formulas of a page": lambda n: attached(b"a.xls", b"<html><td " + b"fmla=\"'|a fmla='" * (20 * n)),
    "addresses in a PDF": lambda n: attached(b"a.pdf", b"%PDF-1.4\n" + b"/URI(file:/URI (" * (20 * n)),
    "addresses of handlers": lambda n: _page(b"<a href= search-ms:" * (10 * n) + b"action = ms-msdt :" * n),
    "a mailbox": lambda n: attached(b"a.mbox", b"From a@b Mon\nFrom: a\nSubject: b\n\nx\n\n" * n),
    "mail in a zip": lambda n: attached(
        b"a.zip",
        packers.zip_bytes(_files(30, b"From: a\nSubject: " + b"=?utf-8?q?=41?= " * (4 * n) + b"\n\nx\n", "eml")),
    ),
    "signed again and again": lambda n: _signed_again(min(n, 100)),
    "signed in pieces": lambda n: attached(b"a.p7m", structure.signed(b"x" * (100 * n), pieces=True)),
    "compressed by CMS": lambda n: attached(b"a.p7m", readings.compressed(bytes(10_000 * n))),
    # HTML, SVG, scripts
    "references": lambda n: _page(b"<script>" + b"&#x61;&amp;" * (20 * n) + b"</script>"),
    "data addresses": lambda n: _page(b'<img src="data:image/png;base64,QUJD">' * (10 * n)),
    "open tags": lambda n: _page(b"<a onclick=" * (20 * n)),
    "open data addresses": lambda n: _page(b"data:text/html," * (20 * n)),
    "lines that look coded": lambda n: single(b"", (b"\nTVqQ" + b"A" * 60) * n),
    "layers of unescape": lambda n: _script(b"unescape(" * (10 * n) + b"'%41'" + b")" * (10 * n)),
    "joined words": lambda n: _script(b"x='a'" + b"+'b'" * (50 * n)),
    "atob": lambda n: _script(b"eval(atob('QUJDREVG'));" * (10 * n)),
    "junk of many kinds": lambda n: _script(
        b"s.replace(/[!?]+|x/g,'').split('!#').join('');" * (8 * n) + b"'a!#b?'" * 30
    ),
    "classes that never end": lambda n: _script(b"replace(/[replace(/[x]\\" * (20 * n)),
    "bases of numbers": lambda n: _script(
        b"".join(b"parseInt(x,%d)" % b for b in (2, 8, 36)) + b"'1'" + b",'11z'" * (40 * n)
    ),
    "long strings": lambda n: _script(b"x='" + b"a!Z%" * (70 * n) + b"';"),
    "addresses that go on": lambda n: _script(b"'data:x;base64," * (20 * n) + b"'+x"),
    "addresses that are empty": lambda n: _script(b"x.a='data:x;base64,';" * (10 * n)),
    "arrays of numbers": lambda n: _script(b"x=[" + b"65,66," * (50 * n) + b"];"),
    "comments in front": lambda n: attached(b"a", b"<!-- x -->" * (50 * n) + b"<html>"),
    "svg attributes": lambda n: _image(b"<a " + b"x='&#106;' " * (20 * n) + b"/>"),
    "svg entities": lambda n: _image(b"<!ENTITY a '" + b"&a;" * (50 * n) + b"'>"),
    "svg entity declarations": lambda n: _image(b"<!ENTITY a 'x" * (20 * n)),
    "escape sequences": lambda n: _page(b"\x1b$B<\x1b(B" * (30 * n)),
    "UTF-7": lambda n: _page(b"+ADw-script+AD4-" * (20 * n)),
    # Documents
    "PDF references": lambda n: _pdf(b"/URI 9 0 R " * (30 * n) + b"9 0 obj (" + (b"(" + b"x" * 399 + b")") * n + b")"),
    "PDF simple objects": lambda n: _pdf(b"/URI 9 0 R " + _object_streams(1, b"9 0 " * (30 * n) + _NESTED)),
    "PDF name trees": lambda n: _pdf(_object_streams(n, b"/Names[" + b"(" + b"\\)" * 900 + b")" + b"/Names[(" * 300)),
    "PDF names": lambda n: _pdf(b"2 0 obj << /Names [" + b"(a) 3 0 R " * (50 * n) + b"] >> endobj\n"),
    "PDF open strings": lambda n: _pdf(b"2 0 obj << /Names [" + b"(" * (100 * n)),
    "PDF kids": lambda n: _pdf(_kids(10 * n)),
    "columns in formulas": lambda n: _word("<f>|'" + "['" * (40 * n) + "|</f>"),
    "PDF files": lambda n: attached(b"a.pdf", documents.pdf_bytes(_files(n))),
    "PDF objects": lambda n: _pdf(b"7 0 obj << /Type /Filespec /F (a.txt) >> endobj\n" * (10 * n)),
    "PDF names in a zip": lambda n: attached(
        b"a.zip", packers.zip_bytes([("a.pdf", b"%PDF-1.7\n/Names[" + b"(a) 3 0 R /Kids [" * (100 * n))])
    ),
    "RTF groups": lambda n: attached(b"a.rtf", b"{\\rtf1" + b"{" * (100 * n)),
    "RTF objects": lambda n: attached(b"a.rtf", documents.rtf_bytes([documents.ole1_object("P", b"x")] * (3 * n))),
    "RTF noise": lambda n: attached(b"a.rtf", documents.rtf_bytes([b"x" * 3 * n], noise=b"{\\*\\x }\r\n" * 20)),
    "RTF templates": lambda n: attached(b"a.rtf", b"{\\rtf1" + b"{\\*\\template \\u104?\\'41" * (20 * n)),
    "RTF binary": lambda n: attached(b"a.rtf", b"{\\rtf1{\\*\\objdata " + b"\\bin1 x" * (30 * n)),
    "OLE streams": lambda n: attached(b"a.doc", documents.ole_bytes({f"s{k}": b"x" for k in range(min(n // 20, 13))})),
    "OLE without end": lambda n: attached(b"a.doc", documents.ole_bytes({"s": b"x"}) + b"\xff" * (100 * n)),
    "macro projects": lambda n: attached(
        b"a.docm",
        documents.ooxml_bytes([("word/vbaProject.bin", documents.ole_bytes(documents.vba_project("'a\r\n" * n)))]),
    ),
    "workbook records": lambda n: attached(
        b"a.xls", documents.ole_bytes({"Workbook": documents.xls_workbook() + b"\x0c\0\0\0" * min(100 * n, 12_000)})
    ),
    "Word fields": lambda n: _word(documents.word_field("PAGE") * (3 * n)),
    "open Word fields": lambda n: _word(documents.FIELD_BEGIN * (10 * n)),
    "relations": _relations,
    "a long target": lambda n: _link("file:" + "/system32/x" * (4 * n)),
    "a target of slashes": lambda n: _link("file:" + "/" * (20 * n) + "x"),
    "a target of commands": lambda n: _link("/cmd%20%20a" * (10 * n)),
    "Flat OPC": lambda n: attached(b"a.xml", documents.flat_opc(*[documents.flat_part("/a.xml", "x")] * (3 * n))),
    "open Flat OPC tags": lambda n: attached(b"a.xml", documents.flat_opc("<pkg:part pkg:name=" * (30 * n))),
    "Flat OPC data": lambda n: attached(b"a.xml", documents.flat_opc("<binData>QUJD" * (30 * n))),
    "SYLK": lambda n: attached(b"a.slk", b"ID;P\n" + b"C;X1;Y1;EAAA\n" * (20 * n)),
    "TNEF": lambda n: attached(b"winmail.dat", documents.tnef_bytes(_files(n)), b"application/ms-tnef"),
    "TNEF properties": lambda n: attached(b"winmail.dat", documents.tnef_bytes(_files(n), by_property=True)),
    "OneNote": lambda n: attached(b"a.one", documents.onenote_bytes(_files(n))),
    # Archives
    "zip members": lambda n: attached(b"a.zip", packers.zip_bytes(_files(n))),
    "zip hidden members": lambda n: attached(
        b"a.zip", packers.zip_bytes([packers.ZipMember(b"%d.txt" % k, b"x", listed=k == 0) for k in range(n)])
    ),
    "zip over itself": lambda n: attached(b"a.zip", packers.overlapping_zip(b"x" * 1000, n)),
    "zip end records": lambda n: attached(
        b"a.zip", packers.zip_bytes(_files(1)) + packers.end_record(1, 50, 0) * (10 * n)
    ),
    "zip local headers": lambda n: attached(b"a.zip", b"PK\x03\x04" * (50 * n)),
    "zips in a zip": _inner_zips,
    "long names in a zip": lambda n: attached(
        b"a.zip", packers.zip_bytes([("a." * n + str(k), b"x") for k in range(30)])
    ),
    "tar members": lambda n: attached(b"a.tar", packers.tar_bytes(_files(n))),
    "cpio members": lambda n: attached(b"a.cpio", packers.cpio_bytes(_files(n))),
    "ar members": lambda n: attached(b"a.a", packers.ar_bytes(_files(n))),
    "cab members": lambda n: attached(b"a.cab", packers.cab_bytes(_files(n))),
    "ISO files": lambda n: attached(b"a.iso", packers.iso_bytes(_files(min(n // 10, 40)))),
    "an ISO in a loop": lambda n: attached(b"a.iso", packers.looping_iso(b"a" * min(n, 200))),
    "RAR members": lambda n: attached(b"a.rar", packers.rar4_bytes(_files(n))),
    "RAR 5 members": lambda n: attached(b"a.rar", packers.rar5_bytes(_files(n))),
    "7z members": lambda n: attached(b"a.7z", packers.seven_zip_bytes(_files(min(n, 120)))),
    "gzip members": lambda n: attached(b"a.gz", packers.gzip_bytes(b"x") * (3 * n)),
    "gzip in gzip": lambda n: _packed_again(min(n // 10, 30)),
    "bzip2 members": lambda n: attached(b"a.bz2", packers.bzip2_bytes(b"x") * n),
    "xz members": lambda n: attached(b"a.xz", packers.xz_bytes(b"x") * n),
    "nothing packed": lambda n: attached(b"a.gz", packers.gzip_bytes(bytes(20_000 * n))),
    # Names
    "dots in a name": lambda n: multipart(file_entity(b"a." * min(n, 400) + b"txt", b"x")),
    "many named parts": lambda n: multipart(*[file_entity(b"a.b.c.d;e.txt", b"x")] * n),
    "base64 in lines of one": lambda n: multipart(
        b"Content-Transfer-Encoding: base64\n\n" + base64_lines(b"x" * (20 * n), 1)
    ),
}
"""What to make of `n` pieces; between 20 and 200 bytes a piece in the message, or what a bound of the format lets."""
