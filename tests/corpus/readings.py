"""Class 67: readings that reports and public suites showed, each in several places; and honest mail that looks like them."""

# ruff: noqa: E501 - a message is easier to read when its lines are not broken.

from __future__ import annotations

import binascii
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator

from gatescan.model import Verdict

from tests.corpus.case import EXE, HARMLESS, HEADER, TEXT, Case, base64_lines, file_entity, multipart, single
from tests.corpus.documents import ooxml_bytes, tnef_bytes
from tests.corpus.encodings import uuencode
from tests.corpus.packers import (
    File,
    bzip2_bytes,
    cab_bytes,
    gzip_bytes,
    seven_zip_bytes,
    tar_bytes,
    xz_bytes,
    zip_bytes,
)
from tests.corpus.structure import PAYLOADS, apple_double, cms, der, signed

POLICY = Verdict.POLICY
CLASS = 67


def cases() -> Iterator[Case]:
    """Every case of this class, hostile ones first."""
    for name, build in _STRUCTURES.items():
        for payload, entity in PAYLOADS.items():
            yield Case(f"readings/{name}/{payload}", CLASS, build(entity), POLICY)
        for place, message in placed(build(PAYLOADS["exe"])).items():
            yield Case(f"readings/{name}/in-{place}", CLASS, message, POLICY)
    for name, entity in (*_signed(), *_texts(), *_archives_of_web_pages(), *_mailboxes()):
        message = multipart(TEXT, entity)
        yield Case(f"readings/{name}", CLASS, message, POLICY)
        for place, outer in placed(message).items():
            yield Case(f"readings/{name}/in-{place}", CLASS, outer, POLICY)
    for name, file in {"program": ("run.exe", EXE), "script": ("run.vbs", b"MsgBox 1\n")}.items():
        yield Case(f"readings/returned-cut/{name}", CLASS, _returned("papers.zip", zip_bytes([file, NOISE])), POLICY)
        for kind, packed in (("gz", gzip_bytes(tar_bytes([file, NOISE]))), ("cab", cab_bytes([file, NOISE]))):
            message = _returned(f"papers.{kind}", packed, -100)
            yield Case(f"readings/returned-cut/{kind}/{name}", CLASS, message, POLICY)
    for name, fields in _names():
        yield Case(f"readings/name/{name}", CLASS, multipart(TEXT, fields + b"\n\nMsgBox 1\n"), POLICY)
    for started in (b"application/hta", b"Text/Scriptlet", b"text/x-ms-iqy", b"application/x-java-jnlp-file"):
        entity = b"Content-Type: " + started + b"\nContent-Disposition: attachment\n\nx\n"
        what = started.decode().lower().rpartition("/")[2]
        yield Case(f"readings/name/of-type-{what}", CLASS, multipart(TEXT, entity), POLICY)
    for name, message in _harmless():
        yield Case(f"readings/harmless/{name}", CLASS, message, HARMLESS)
        for place, outer in placed(message).items():
            yield Case(f"readings/harmless/{name}/in-{place}", CLASS, outer, HARMLESS)


def placed(message: bytes) -> dict[str, bytes]:
    """`message` forwarded, attached as an encoded file, and packed in a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("mail/papers.eml"), message)
    return {
        "message": multipart(TEXT, b"Content-Type: message/rfc822\n\n" + message, boundary=b"outer"),
        "eml": multipart(TEXT, file_entity(b"papers.eml", message), boundary=b"outer"),
        "zip": multipart(TEXT, file_entity(b"papers.zip", buffer.getvalue(), b"application/zip"), boundary=b"outer"),
    }


def _split(entity: bytes) -> tuple[bytes, bytes]:
    head, _, body = entity.partition(b"\n\n")
    return head + b"\n", body


def _without_end(between: bytes) -> Callable[[bytes], bytes]:
    """A part whose header is not ended by an empty line, but by something else."""

    def build(entity: bytes) -> bytes:
        head, body = _split(entity)
        return multipart(TEXT, head + between + body)

    return build


def _in_quoted_printable(data: bytes) -> bytes:
    """Two letters of an ordinary program as they are, all else as codes."""
    return data[:2] + b"".join(b"=%02X" % c + (b"=\n" if n % 24 == 23 else b"") for n, c in enumerate(data[2:]))


def _quoted_without_end(between: bytes) -> Callable[[bytes], bytes]:
    """The same with the body in quoted-printable, in which junk in front of a program is not passed over."""

    def build(entity: bytes) -> bytes:
        head, body = _split(entity)
        coded = _in_quoted_printable(binascii.a2b_base64(body))
        return multipart(TEXT, head.replace(b": base64", b": quoted-printable") + between + coded)

    return build


def _before_fields(before: bytes) -> Callable[[bytes], bytes]:
    return lambda entity: multipart(TEXT, before + entity)


def _boundary(written: bytes, used: bytes, tail: bytes = b"") -> Callable[[bytes], bytes]:
    """A multipart whose boundary is written so, while its lines have another; `tail` stands behind the lines."""

    def build(entity: bytes) -> bytes:
        line = b"--" + used + tail + b"\n"
        body = line + TEXT + b"\n" + line + entity + b"\n--" + used + b"--\n"
        return single(b"Content-Type: multipart/mixed; boundary=" + written + b"\n", body)

    return build


def _outer_end_is_inner(entity: bytes) -> bytes:
    inner = b'Content-Type: multipart/mixed; boundary="b--"\n\n--b--\n' + TEXT + b"\n--b--\n" + entity + b"\n--b----\n"
    return single(b"Content-Type: multipart/mixed; boundary=b\n", b"--b\n" + inner + b"--b--\n")


def _line_in_header(line: bytes) -> Callable[[bytes], bytes]:
    def build(entity: bytes) -> bytes:
        inner = b"Content-Type: multipart/mixed; boundary=in\n" + line + b"\n\n--in\n" + TEXT + b"\n--in\n"
        return single(
            b'Content-Type: multipart/mixed; boundary="out:1"\n',
            b"--out:1\n" + inner + entity + b"\n--in--\n--out:1--\n",
        )

    return build


def _line_in_leaf_header(line: bytes) -> Callable[[bytes], bytes]:
    def build(entity: bytes) -> bytes:
        head, body = _split(entity)
        parts = b"--out:1\n" + TEXT + b"\n--out:1\n" + head + line + b"\n\n" + body + b"\n--out:1--\n"
        return single(b'Content-Type: multipart/mixed; boundary="out:1"\n', parts)

    return build


def _indented(field: bytes) -> Callable[[bytes], bytes]:
    """A field of the part or of the message stands behind a blank, as the fold of the field before it."""

    def build(entity: bytes) -> bytes:
        if field == b"top":
            message = multipart(TEXT, entity)
            return message.replace(b"Content-Type: multipart", b" Content-Type: multipart", 1)
        return multipart(
            TEXT, entity.replace(b"\nContent-Transfer-Encoding:", b"\n" + field + b"Content-Transfer-Encoding:", 1)
        )

    return build


def _encoding(written: bytes) -> Callable[[bytes], bytes]:
    return lambda entity: multipart(TEXT, entity.replace(b": base64", b": " + written, 1))


def _same_boundary(entity: bytes) -> bytes:
    inner = b"Content-Type: multipart/mixed; boundary=b1\n\n--b1\n" + TEXT + b"\n--b1--\n" + entity + b"\n--b1--\n"
    return single(b"Content-Type: multipart/mixed; boundary=b1\n", b"--b1\n" + inner)


def _preamble(entity: bytes) -> bytes:
    return single(b"Content-Type: multipart/mixed; boundary=b1\n", entity + b"\n--b1\n" + TEXT + b"\n--b1--\n")


def _epilogue(entity: bytes) -> bytes:
    return single(
        b"Content-Type: multipart/mixed; boundary=b1\n", b"--b1\n" + TEXT + b"\n--b1--\n" + entity + b"\n--b1--\n"
    )


def _bounced(entity: bytes) -> bytes:
    text = b"Hi. This is the qmail-send program.\n\n--- Below this line is a copy of the message.\n\n"
    return single(b"", text + multipart(TEXT, entity))


PAPER: File = ("minutes.txt", b"Minutes of the meeting.\n" * 9)
NOISE: File = ("figures.bin", bytes(range(250)) * 20)


def _cut(name: str, data: bytes, end: int = -300) -> bytes:
    """A message with a file, without its end."""
    return multipart(TEXT, file_entity(name.encode(), data), boundary=b"sent")[:end]


def _returned(name: str, data: bytes, end: int = -300) -> bytes:
    """A report that gives it back."""
    status = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n"
    return multipart(TEXT, status, b"Content-Type: message/rfc822\n\n" + _cut(name, data, end), subtype=b"report")


_STRUCTURES: dict[str, Callable[[bytes], bytes]] = {
    "header-without-end/nothing": _without_end(b""),
    "header-without-end/blank": _without_end(b" \n"),
    "header-without-end/two-blanks": _without_end(b"  \n"),
    "header-without-end/tab": _without_end(b"\t\n"),
    "header-without-end/vertical-tab": _without_end(b"\x0b\n"),
    "header-without-end/mark": _without_end(b"<\n"),
    "header-without-end/slash": _without_end(b")\n"),
    "header-without-end/cr": _without_end(b"\r\r\n"),
    "header-without-end/nameless-field": _without_end(b": x\n"),
    "header-without-end/quoted-cr": _quoted_without_end(b"\r"),
    "header-without-end/quoted-nul": _quoted_without_end(b"\0\n"),
    "header-without-end/quoted-nameless-field": _quoted_without_end(b":\n"),
    "empty-line-before/one": _before_fields(b"\n"),
    "empty-line-before/three": _before_fields(b"\n\n\n"),
    "empty-line-before/cr": _before_fields(b"\r\n"),
    "empty-line-before/text": _before_fields(b"\nSee the papers.\n"),
    "outer-end-is-inner": _outer_end_is_inner,
    "line-in-header/boundary": _line_in_header(b"--out:1"),
    "line-in-header/end": _line_in_header(b"--out:1--"),
    "line-in-header/of-a-file": _line_in_leaf_header(b"--out:1"),
    "line-in-header/of-a-file-end": _line_in_leaf_header(b"--out:1--"),
    "line-in-header/of-a-file-late": _line_in_leaf_header(b"X-A: b\n--out:1 "),
    "boundary-line/vertical-tab": _boundary(b"b1", b"b1", b"\x0b"),
    "boundary-line/form-feed": _boundary(b"b1", b"b1", b"\x0c"),
    "boundary-line/letter": _boundary(b"b1", b"b1", b" X"),
    "boundary/one-blank": _boundary(b'" "', b" "),
    "boundary/blank-first": _boundary(b" b1", b" b1"),
    "boundary/blank-within": _boundary(b"foo foo", b"foo"),
    "boundary/blank-within-quoted": _boundary(b'"foo foo"', b"foo"),
    "boundary/semicolon": _boundary(b"foo;foo", b"foo"),
    "boundary/semicolon-quoted": _boundary(b'"foo;foo"', b"foo"),
    "boundary/quoted-and-more": _boundary(b'"bar"foo', b"bar"),
    "boundary/quoted-joined": _boundary(b'"bar"foo', b"barfoo"),
    "boundary/unlike": _boundary(b"this", b"that"),
    "indented-field/encoding": _indented(b" "),
    "indented-field/encoding-tab": _indented(b"\t"),
    "indented-field/type": _indented(b"top"),
    "encoding/word": _encoding(b"=?us-ascii?q?base64?="),
    "encoding/word-in-part": _encoding(b"ba=?us-ascii?q?se64?="),
    "encoding/word-escaped": _encoding(b"=?us-ascii?q?base=364?="),
    "encoding/word-base64": _encoding(b"=?us-ascii?b?YmFzZTY0?="),
    "same-boundary": _same_boundary,
    "preamble": _preamble,
    "epilogue": _epilogue,
    "bounced": _bounced,
    "message-subtype/unknown": lambda e: multipart(TEXT, b"Content-Type: message/x-anything\n\n" + multipart(TEXT, e, boundary=b"in")),
    "message-subtype/encoded": lambda e: multipart(TEXT, b"Content-Type: message/rfc2822\nContent-Transfer-Encoding: base64\n\n" + base64_lines(multipart(TEXT, e, boundary=b"in"))),
}  # a case a line # fmt: skip


def compressed(content: bytes) -> bytes:
    """A CMS CompressedData around `content`."""
    oid = der(6, bytes.fromhex("2a864886f70d0109100109"))
    zlib_algorithm = der(0x30, der(6, bytes.fromhex("2a864886f70d0109100308")))
    data = der(6, bytes.fromhex("2a864886f70d010701")) + der(0xA0, der(4, zlib.compress(content)))
    return der(0x30, oid + der(0xA0, der(0x30, der(2, b"\0") + zlib_algorithm + der(0x30, data))))


def pem(object_: bytes, label: bytes = b"PKCS7") -> bytes:
    """A CMS object between lines of hyphens."""
    return b"-----BEGIN " + label + b"-----\n" + base64_lines(object_, 64) + b"-----END " + label + b"-----\n"


def _algorithm() -> bytes:
    return der(0x30, der(6, bytes.fromhex("608648016503040201")))


def _content(octets: bytes) -> bytes:
    """An EncapsulatedContentInfo."""
    return der(0x30, der(6, bytes.fromhex("2a864886f70d010701")) + der(0xA0, der(4, octets)))


def _smime_type(number: int, inner: bytes) -> bytes:
    """A ContentInfo of type 1.2.840.113549.1.9.16.1.`number`."""
    oid = bytes.fromhex("2a864886f70d01091001") + bytes((number,))
    return der(0x30, der(6, oid) + der(0xA0, der(0x30, inner)))


def _signed() -> Iterator[tuple[str, bytes]]:
    file = signed(EXE)
    for name, content in {
        "der": file, "pieces": signed(EXE, pieces=True), "base64": base64_lines(file), "one-line": binascii.b2a_base64(file),
        "pem": pem(file), "pem-cms": pem(file, b"CMS"), "pem-other": pem(file, b"SIGNED DATA"), "twice": signed(file), "twice-base64": base64_lines(signed(base64_lines(file))),
        "compressed": compressed(EXE), "compressed-in-signed": signed(compressed(EXE)), "message": signed(b"Content-Type: application/octet-stream\n\n" + EXE),
        "digested": cms(5, der(0x30, der(2, b"\0") + _algorithm() + _content(EXE) + der(4, bytes(32)))), "bare": cms(1, der(4, EXE)),
        "authenticated": _smime_type(2, der(2, b"\0") + der(0x31, b"") + _algorithm() + _content(EXE) + der(4, bytes(32))),
        "stamped": _smime_type(31, der(2, b"\1") + der(0x16, b"https://example.org/a") + der(0x30, der(1, b"\0")) + der(4, EXE)),
        "stamped-plain": _smime_type(31, der(2, b"\1") + der(4, file)),
    }.items():  # short cases, many a line # fmt: skip
        for what, type_ in {"named": b"application/octet-stream", "typed": b"application/pkcs7-mime"}.items():
            yield f"signed/{name}/{what}", file_entity(b"document.p7m", content, type_)
    script = signed(b'MsgBox "good morning"\n')
    for name, of in {
        "vbs": b"invoice.vbs.p7m",
        "upper": b"INVOICE.VBS.P7M",
        "dot": b"invoice.vbs.p7m.",
        "p7s": b"invoice.vbs.p7s",
        "tsd": b"invoice.vbs.tsd",
    }.items():
        yield f"signed/name/{name}", file_entity(of, script)
        yield f"signed/name/{name}-base64", file_entity(of, base64_lines(script))


def calendar(parameters: bytes, content: bytes, width: int = 70, kind: bytes = b"VCALENDAR") -> bytes:
    """An invitation with a file in it, folded as RFC 5545 says."""
    line = b"ATTACH" + parameters + b":" + content
    folded = b"\r\n ".join(line[i : i + width] for i in range(0, len(line), width))
    return (
        b"BEGIN:"
        + kind
        + b"\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nSUMMARY:Meeting\r\n"
        + folded
        + b"\r\nEND:VEVENT\r\nEND:"
        + kind
        + b"\r\n"
    )


def _linking(first: bytes, rest: bytes) -> bytes:
    """An entry with a link, which is folded."""
    return b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + first + b"\n " + rest + b"\nEND:VEVENT\nEND:VCALENDAR\n"


def _other_calendar(content: bytes, name: bytes, *, json: bool) -> bytes:
    """An invitation as XML (RFC 6321) or JSON (RFC 7265)."""
    kind = b"uri" if content.startswith(b"data:") else b"binary"
    if json:
        attachment = b'["attach", {"x-filename": "%s"}, "%s", "%s"]' % (name, kind, content)
        return b'["vcalendar", [], [["vevent", [["summary", {}, "text", "Meeting"], %s], []]]]' % attachment
    attachment = b"<attach><parameters><x-filename><text>%s</text></x-filename></parameters><%s>%s</%s></attach>"
    return (
        b'<?xml version="1.0"?><icalendar xmlns="urn:ietf:params:xml:ns:icalendar-2.0"><vcalendar><components><vevent>'
        b"<properties><summary><text>Meeting</text></summary>" + attachment % (name, kind, content, kind)
        + b"</properties></vevent></components></vcalendar></icalendar>"
    )  # in the order of the document # fmt: skip


def _texts() -> Iterator[tuple[str, bytes]]:
    flat = binascii.b2a_base64(EXE, newline=False)
    script = binascii.b2a_base64(b"MsgBox 1\r\n", newline=False)
    for name, text in {
        "base64": calendar(b";ENCODING=BASE64;VALUE=BINARY", flat),
        "order": calendar(b";VALUE=BINARY;ENCODING=BASE64;FMTTYPE=application/pdf", flat),
        "lower": calendar(b";value=binary;encoding=base64", flat),
        "unfolded": calendar(b";ENCODING=BASE64;VALUE=BINARY", flat, 5000),
        "name": calendar(b";X-FILENAME=run.vbs;ENCODING=BASE64;VALUE=BINARY", script),
        "bare-label": calendar(b";LABEL=run.vbs;VALUE=BINARY;ENCODING=BASE64", script),
        "link": _linking(b"ATTACH;FMTTYPE=application/binary:file://192.0.2.9/s/in", b"voice.exe"),
        "link-search": _linking(b"URL;VALUE=URI:sea", b"rch-ms:query=x"),
        "link-share": _linking(b"X-LINK:\\\\\\\\192.0.2.9\\\\s\\\\", b"a.hta"),
        "xml": _other_calendar(flat, b"papers.bin", json=False),
        "xml-name": _other_calendar(script, b"run.vbs", json=False),
        "json": _other_calendar(flat, b"papers.bin", json=True),
        "json-name": _other_calendar(script, b"run.vbs", json=True),
        "json-data": _other_calendar(b"data:;base64," + flat, b"papers.bin", json=True),
        "label": calendar(b";VALUE=BINARY;ENCODING=BASE64;X-LABEL=run.vbs", script),
        "name-quoted": calendar(b';FILENAME="a:b;run.vbs";ENCODING=BASE64;VALUE=BINARY', script),
        "data": calendar(b"", b"data:application/octet-stream;base64," + flat),
        "blanks": calendar(b"; VALUE = BINARY; ENCODING = BASE64", flat),
        "cr": calendar(b";ENCODING=BASE64;VALUE=BINARY", flat).replace(b"\r\n", b"\r"),
        "cr-cr-lf": calendar(b";ENCODING=BASE64;VALUE=BINARY", flat).replace(b"\r\n", b"\r\r\n"),
        "late": b"X-A: b\r\n" * 80 + calendar(b";ENCODING=BASE64;VALUE=BINARY", flat),
        "todo": calendar(b";ENCODING=BASE64;VALUE=BINARY", flat).replace(b"VEVENT", b"VTODO"),
    }.items():
        yield (
            f"calendar/{name}/typed",
            b"Content-Type: text/calendar; method=REQUEST\nContent-Transfer-Encoding: base64\n\n" + base64_lines(text),
        )
        yield f"calendar/{name}/file", file_entity(b"invite.ics", text)
    lines = uuencode(EXE, b"papers.bin")
    spaced = lines.replace(b"`", b" ")
    stripped = b"".join(line.rstrip(b" ") + b"\n" for line in spaced.split(b"\n")).replace(b"\n\nend", b"\n \nend")
    junk = b"".join(line + (b"x" if line[:1] == b"M" else b"") + b"\n" for line in lines.split(b"\n"))
    more = b"".join(line + (b" Zq9" if line[:1] == b"M" else b"") + b"\n" for line in lines.split(b"\n"))
    for name, text in {"blanks": spaced, "lost-blanks": stripped, "junk": junk, "more-junk": more}.items():
        yield f"uu/{name}/text", b"Content-Type: text/plain\n\nHello,\n\n" + text
        yield f"uu/{name}/file", file_entity(b"letter.txt", text, b"text/plain")
    quoted = _in_quoted_printable(EXE)
    for name, entity in {
        "base64": b"Content-Type: text/plain\n\n" + base64_lines(EXE),
        "base64-late": b"\nHello,\n\n" + base64_lines(EXE, 60),
        "quoted": b"Content-Type: text/plain\n\n" + quoted,
        "zip": b"\n" + base64_lines(zip_bytes([("run.exe", EXE)])),
        "typed": b"Content-Type: application/octet-stream; name=papers.dat\n\n" + base64_lines(EXE),
    }.items():
        yield f"coded-without-fields/{name}", entity
    yield "uu/in-picture", b"Content-Type: image/png\n\n" + lines
    yield "uu/in-message", b"Content-Type: message/rfc822\n\n" + lines
    head = b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: quoted-printable\n\n"
    yield "blank-lines/tab", head + b"\t\n" + quoted
    begin, _, rest = lines.partition(b"\n")
    for encoding in (b"uuencode", b"x-uuencode", b"X-UUE", b"x-uu"):
        for label, text in {
            "no-begin": rest,
            "lines-only": rest.partition(b"\n`")[0] + b"\n",
            "blanks": spaced.partition(b"\n")[2],
        }.items():
            head = b"Content-Type: application/octet-stream; name=papers.dat\nContent-Transfer-Encoding: " + encoding
            yield f"uu/{label}/{encoding.decode().lower()}", head + b"\n\n" + text
    for control in (b"\0", b"\x01", b"\x0c", b"\x1b"):
        name = f"{control[0]:02x}"
        yield (
            f"control/{name}/uu",
            file_entity(b"letter.txt", b"A" + control + b"B\n" + begin + b"\n" + rest, b"text/plain"),
        )
        page = (
            b"<html>"
            + control
            + b"<body><a href='data:application/octet-stream;base64,"
            + flat
            + b"'>x</a></body></html>"
        )
        yield f"control/{name}/html", file_entity(b"page.html", page, b"text/html")
        yield (
            f"control/{name}/html-body",
            b"Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64_lines(page),
        )


def web_archive(entity: bytes) -> bytes:
    """A page saved in one file, as Word and Excel write it."""
    body = (
        b"--mht\nContent-Location: file:///C:/a/document.htm\nContent-Type: text/html\n\n<html></html>\n--mht\n"
        + entity
        + b"\n--mht--\n"
    )
    return (
        b'MIME-Version: 1.0\nContent-Type: multipart/related; boundary="mht"\n\nThis document is a web archive.\n\n'
        + body
    )


def _archives_of_web_pages() -> Iterator[tuple[str, bytes]]:
    archive = web_archive(PAYLOADS["exe"])
    one_field = archive.partition(b"\n")[2]
    pdf = b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n" + b"%" * 3000 + b"\n"
    for name in (
        b"invoice.doc",
        b"invoice.xls",
        b"invoice.rtf",
        b"invoice.mht",
        b"invoice.mhtml",
        b"INVOICE.DOC",
        b"invoice.dot",
    ):
        label = name.decode().lower().replace("invoice.", "") + ("-upper" if name.isupper() else "")
        yield f"web-archive/{label}", file_entity(name, archive, b"application/msword")
        yield f"web-archive/one-field/{label}", file_entity(name, one_field, b"application/octet-stream")
        yield f"web-archive/behind-pdf/{label}", file_entity(name, pdf + archive, b"application/octet-stream")
        yield f"web-archive/blank-first/{label}", file_entity(name, b"\n \n" + archive, b"application/octet-stream")


def _mailboxes() -> Iterator[tuple[str, bytes]]:
    line = b"From ann@example.net Sun Nov 22 10:00:00 2026\n"
    clean, bad = line + single(b"", b"Good morning.\n\n"), line + multipart(TEXT, PAYLOADS["exe"]) + b"\n"
    for name, box in {"first": bad + clean, "second": clean + bad, "last": clean * 5 + bad}.items():
        for label, file in {
            "mbox": b"archive.mbox",
            "bare": b"Inbox",
            "eml": b"archive.eml",
            "mbx": b"old.mbx",
        }.items():
            yield f"mailbox/{name}/{label}", file_entity(file, box)
        yield f"mailbox/{name}/crlf", file_entity(b"archive.mbox", box.replace(b"\n", b"\r\n"))


def _names() -> Iterator[tuple[str, bytes]]:
    head = b"Content-Type: application/octet-stream\nContent-Disposition: attachment; filename"
    for charset in (b"utf-16", b"utf-16be", b"utf-16le", b"utf-32"):
        for order in ("be", "le"):
            if charset[-2:] in (b"be", b"le") and charset[-2:].decode() != order:
                continue
            wide = "run.vbs".encode(("utf-32-" if b"32" in charset else "utf-16-") + order)
            coded = binascii.b2a_base64(wide, newline=False)
            label = f"{charset.decode()}-{order}"
            yield f"{label}/word", head + b'="=?' + charset + b"?b?" + coded + b'?="'
            yield (
                f"{label}/type",
                b'Content-Type: application/octet-stream; name="=?' + charset + b"?b?" + coded + b'?="',
            )
            yield f"{label}/extended", head + b"*=" + charset + b"''" + b"".join(b"%%%02x" % c for c in wide)
    for label, stop in {
        "ideographic": "\u3002",
        "half-width": "\uff61",
        "full-width": "\uff0e",
        "small": "\ufe52",
        "arabic": "\u06d4",
        "lisu": "\ua4f8",
    }.items():
        yield f"stop/{label}", head + b'="run' + stop.encode() + b'vbs"'
        yield f"stop/{label}/extended", head + b"*=utf-8''run" + b"".join(b"%%%02x" % c for c in stop.encode()) + b"vbs"
    for label, written in {
        "doubled-quotes": b'""run.vbs""', "escaped-quotes": b'"\\"run.vbs\\""', "angle": b"<run.vbs>", "angle-quoted": b'"<run.vbs>"',
        "angle-within": b'"run.v<b>s"', "quoted-then-more": b'"run".vbs', "quoted-and-quote": b'"run".vbs"', "curly": "\u201crun.vbs\u201d".encode(),
        "guillemets": "\u00abrun.vbs\u00bb".encode(), "question": b'"run.vbs?"', "slash": b'"run.vbs/"',
    }.items():  # short cases, many a line # fmt: skip
        yield f"marks/{label}", head + b"=" + written
        yield f"marks/{label}/type", b"Content-Type: application/octet-stream; name=" + written
    yield "ebcdic", head + b'="=?ibm037?b?' + binascii.b2a_base64("run.vbs".encode("cp037"), newline=False) + b'?="'


def _harmless() -> Iterator[tuple[str, bytes]]:
    pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    for label, name in {
        "path": b"/tmp/Quarterly report.pdf", "path-windows": b"C:\\\\Users\\\\ann\\\\report.pdf", "thousands": b"Revenue $(000s).pdf",
        "currency": b"Budget $(USD m).pdf", "device-like": b"Con.pdf", "aux": b"aux.pdf", "backticks": b"the `final` version.pdf",
        "apostrophes": b"Ann`s and Bob`s.pdf", "deep": b"/".join([b"a folder with a rather long name"] * 12) + b"/report.pdf",
    }.items():  # short cases, many a line # fmt: skip
        yield f"name/{label}", multipart(TEXT, file_entity(name, pdf, b"application/pdf"))
    alternative = b"--ab\nContent-Type: text/plain\n\nHello Bob\n--ab\nContent-Type: text/html\n\n<html><body>Hello Bob</body></html>\n--ab--\n"
    for field in (b"X-Diagnostics", b"References", b"To"):
        cut = field + b": 1;" + b"A1B2" * 245 + b"\n" + b"C3D4" * 30 + b"\nMIME-Version: 1.0\n"
        title = field.decode().lower()
        yield f"field-cut/{title}", HEADER + cut + b"Content-Type: multipart/alternative; boundary=ab\n\n" + alternative
        yield f"field-cut/{title}/text", HEADER + cut + b"Content-Type: text/plain\n\nHello\n"
        mixed = (
            b"Content-Type: multipart/mixed; boundary=ab\n\n--ab\n"
            + TEXT
            + b"\n--ab\n"
            + file_entity(b"a.pdf", pdf, b"application/pdf")
            + b"\n--ab--\n"
        )
        yield f"field-cut/{title}/file", HEADER + cut + mixed
    for title, text in {
        "echo": b"@echo off\ncopy a b\n",
        "registry": b"REGEDIT4\n\n[HKEY_CURRENT_USER]\n",
        "windows": b"Windows Registry Editor Version 5.00\n",
    }.items():
        yield f"script-in-body/{title}", single(b"", text)
        yield f"script-in-body/{title}/part", multipart(b"Content-Type: text/plain\n\n" + text)
        yield f"script-in-text-file/{title}", multipart(TEXT, file_entity(b"Read me.TXT", text, b"text/plain"))
        yield f"script-in-text-file/{title}/log", multipart(TEXT, file_entity(b"build.log", text))
    jpeg = base64_lines(b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(200)) * 3)
    cut = jpeg[:300] + b"... [cut]\n" + jpeg[300:]
    yield (
        "cut-picture",
        multipart(TEXT, b"Content-Type: image/jpeg; name=a.jpg\nContent-Transfer-Encoding: base64\n\n" + cut),
    )
    report = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n"
    returned = b'Content-Type: multipart/alternative;\n boundary="gone"\nSubject: x\n\n' + alternative
    yield (
        "returned/boundary",
        multipart(TEXT, report, b"Content-Type: message/rfc822\n\n" + HEADER + returned, subtype=b"report"),
    )
    for title, data in {"letter.docx": ooxml_bytes(), "papers.zip": zip_bytes([PAPER, NOISE])}.items():
        yield f"returned/cut/{title}", _returned(title, data)
        yield f"returned/cut-in-text/{title}", single(b"", b"A copy of it follows; it is cut.\n\n" + _cut(title, data))
    noise = NOISE[1] + bytes(c * 7 % 251 for c in range(2000))
    for title, data in {
        "log.gz": gzip_bytes(noise),
        "log.bz2": bzip2_bytes(noise),
        "log.xz": xz_bytes(noise),
        "papers.7z": seven_zip_bytes([PAPER, NOISE]),
        "papers.cab": cab_bytes([PAPER, NOISE]),
        "winmail.dat": tnef_bytes([PAPER, NOISE]),
    }.items():
        yield f"returned/cut/{title}", _returned(title, data, -100)
    links = (
        b"ATTACH:https://x.example/",
        b"setup.exe\nURL:file://fs01/plans/2026.docx\nLOCATION:search Room 5\nX-A:file:///C:/a.pdf\nX-B:Search: Sales"
        b"\nATTACH:file://fs01/tools/setup.exe\nLOCATION:File: setup.exe",
    )
    yield "calendar-links", multipart(TEXT, file_entity(b"invite.ics", _linking(*links), b"text/calendar"))
    whole = _cut("letter.docx", ooxml_bytes(), 10**6)
    header = whole.index(b"; name=") + 1
    for what, end in (
        *(("in-header", header), ("in-name", header + 8), ("in-field", whole.index(b"Transfer-Encoding: base64"))),
        *(("in-file", whole.index(b"UEsD") + 3), ("in-boundary", whole.rindex(b"--sent--") + 4)),
    ):
        yield f"returned/cut-{what}/letter.docx", _returned("letter.docx", ooxml_bytes(), end)
    yield "returned/empty-parts", multipart(b"", b"", subtype=b"report").replace(b"\n\n--=_b1", b"\n--=_b1")
    twice = multipart(TEXT, report, subtype=b"report")
    yield "returned/twice", twice + b"From bounce@example.net  Sun Nov 22 10:00:00 2026\n" + twice
    yield (
        "space-before-colon",
        HEADER.replace(b"From:", b"From :") + b"Content-Type: multipart/alternative; boundary=ab\n\n" + alternative,
    )
    two = b"Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: quoted-printable\n"
    yield "two-encodings-of-a-text", single(b"Content-Type: text/plain\n" + two, b"Hello, 1=2D1 is 0.\n")
    double = apple_double(b"report.pdf", pdf)
    entity = (
        b'Content-Type: application/applefile; name="report.pdf"\nContent-Transfer-Encoding: base64\n\n'
        + base64_lines(double)
    )
    yield "apple-double", multipart(TEXT, entity)
    yield (
        "dkim",
        HEADER
        + b"DKIM-Signature: v=1; a=rsa-sha256; h=From:To:Subject:\n Content-Type:Content-Transfer-Encoding; bh=x; b=y\nContent-Type: text/plain\n\nHello\n",
    )
    yield (
        "signed-invoice",
        multipart(
            TEXT, file_entity(b"IT01234567890_00001.xml.p7m", signed(b"<?xml version='1.0'?><FatturaElettronica/>\n"))
        ),
    )
    stamped = _smime_type(31, der(2, b"\1") + der(4, signed(pdf)))
    yield "stamped-pdf", multipart(TEXT, file_entity(b"contract.pdf.p7m.tsd", stamped))
    yield "signed-pdf", multipart(TEXT, file_entity(b"contract.pdf.p7m", signed(pdf)))
    yield (
        "invitation",
        multipart(
            TEXT,
            file_entity(
                b"invite.ics",
                calendar(
                    b";FMTTYPE=image/png;ENCODING=BASE64;VALUE=BINARY",
                    base64_lines(b"\x89PNG\r\n\x1a\n" + bytes(60)).replace(b"\n", b""),
                ),
            ),
        ),
    )
    yield (
        "mailbox",
        multipart(
            TEXT,
            file_entity(
                b"archive.mbox", (b"From ann@example.net Sun Nov 22 10:00:00 2026\n" + single(b"", b"Hello.\n\n")) * 3
            ),
        ),
    )
    letter = ooxml_bytes([("customXml/item1.js", b"x"), ("word/style.css", b"p {}")])
    for title, kind in {
        "docx": "vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsm": "vnd.ms-excel.sheet.macroEnabled.12",
    }.items():
        entity = f"Content-Type: application/{kind}\nContent-Transfer-Encoding: base64\n\n".encode()
        yield f"nameless-document/{title}", multipart(TEXT, entity + base64_lines(letter))
    yield "bounce", _bounced(file_entity(b"papers.pdf", pdf, b"application/pdf"))
    yield (
        "web-archive",
        multipart(
            TEXT,
            file_entity(
                b"page.mht",
                web_archive(
                    b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
                    + base64_lines(b"\x89PNG\r\n\x1a\n" + bytes(60))
                ),
            ),
        ),
    )
    yield (
        "looks-coded",
        single(b"", b"\nTVprogramme of tonight, from the\nUEsDB page.\nMZ=90 is a mark\nTVqQAAMAAAAEAAAA is another\n"),
    )
    yield "document-in-text", single(b"", b"Here it is:\n\n" + base64_lines(ooxml_bytes([("customXml/a.js", b"x")])))
    yield (
        "begins-like-uuencode",
        single(b"", b"We begin 10 minutes late.\nbegin 644 the session\nThe first talk is about mail.\nend\n"),
    )
