"""Real-world shapes that must pass: what people, lists, calendars, phones and mail systems send.

Oddities that honest software shows every day are among them, and look-alikes of the hostile classes.
"""

# ruff: noqa: E501 - a message is easier to read when its lines are not broken.

from __future__ import annotations

import base64
import quopri
import random
import zlib
from collections.abc import Callable, Iterator

from tests.corpus.case import HARMLESS, TEXT, Case, base64_lines, file_entity, multipart, single
from tests.corpus.naming import disposition, named, with_fields
from tests.corpus.structure import signed

_SEED = 20261122
_VARIANTS = 12

WORDS = {
    "en": "the papers for the meeting on Monday are ready please read them before we begin at nine",
    "de": "die Unterlagen für die Sitzung sind fertig bitte prüfen Sie die Änderungen bis Freitag grüße",
    "fr": "les résumés de la réunion sont prêts veuillez les relire à temps voilà merci déjà été",
    "ru": "документы для встречи готовы пожалуйста прочитайте их до понедельника спасибо",
    "ja": "会議 の 資料 が 準備 できました ので ご確認 ください よろしく お願い します",
    "zh": "会议 资料 已经 准备 好了 请 在 星期一 之前 阅读 谢谢",
    "ko": "회의 자료가 준비 되었습니다 월요일 전에 읽어 주세요 감사합니다",
    "ar": "وثائق الاجتماع جاهزة يرجى قراءتها قبل يوم الاثنين شكرا",
    "he": "המסמכים לפגישה מוכנים נא לקרוא אותם לפני יום שני תודה",
    "el": "τα έγγραφα για τη συνάντηση είναι έτοιμα παρακαλώ διαβάστε τα",
}
CHARSETS = {
    "de": "iso-8859-1", "fr": "windows-1252", "ru": "koi8-r", "ja": "iso-2022-jp", "zh": "gb18030", "ko": "euc-kr",
    "ar": "windows-1256", "he": "windows-1255", "el": "iso-8859-7",
}  # short pairs, many a line # fmt: skip
LANGUAGES = tuple(WORDS)

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(13) + zlib.compress(bytes(400)) + b"\0\0\0\0IEND\xaeB`\x82"
GIF = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + bytes(range(200)) + b"\xff\xd9"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
FILES = (
    ("png", "image/png", PNG),
    ("gif", "image/gif", GIF),
    ("jpg", "image/jpeg", JPEG),
    ("pdf", "application/pdf", PDF),
    ("csv", "text/csv", b"name;sum\nann;1\n"),
    ("txt", "text/plain", b"nothing special\n"),
)


class Writer:
    """Seeded words, names and files for one variant of a shape."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.language = LANGUAGES[seed % len(LANGUAGES)]
        self.words = WORDS[self.language].split()

    def sentence(self, count: int = 8) -> str:
        """Some words of the variant's language."""
        return " ".join(self.random.choice(self.words) for _ in range(count))

    def text(self, lines: int = 8) -> str:
        """Lines of sentences."""
        return "".join(self.sentence() + ".\n" for _ in range(lines))

    def file(self) -> tuple[str, str, bytes]:
        """(name, type, content) of a small honest file."""
        extension, content_type, content = self.random.choice(FILES)
        return f"{self.sentence(2)}.{extension}", content_type, content

    def html(self) -> str:
        """A page as a mail program writes it."""
        rows = "".join(f"<tr><td>{self.sentence()}&nbsp;&#8203;</td></tr>\n" for _ in range(6))
        return (
            "<!DOCTYPE html><html><head><style>p{color:#333}</style></head><body>\n"
            f'<table width="600">{rows}</table><img src="cid:logo@example.net" alt="">'
            '<a href="https://www.example.com/?a=1&amp;b=2">more</a></body></html>\n'
        )


def cases() -> Iterator[Case]:
    """Every harmless case: each shape in `_VARIANTS` variants, and the single look-alikes."""
    for number, shape in enumerate(_SHAPES):
        for variant in range(_VARIANTS):
            writer = Writer(_SEED + number * 1000 + variant)
            name = shape.__name__.strip("_").replace("_", "-")
            yield Case(f"harmless/{name}/{variant}", 0, shape(writer), HARMLESS)
    for cls, name, message in (*_oddities(), *_names(), *_look_alikes()):
        yield Case(f"harmless/{name}", cls, message, HARMLESS)


def _entity(text: str, subtype: bytes = b"plain", charset: str = "utf-8", encoding: str = "base64") -> bytes:
    raw = text.encode(charset, "replace")
    head = b"Content-Type: text/" + subtype + b"; charset=" + charset.encode() + b"\n"
    if encoding == "base64":
        return head + b"Content-Transfer-Encoding: base64\n\n" + base64_lines(raw)
    if encoding == "qp":
        return head + b"Content-Transfer-Encoding: quoted-printable\n\n" + quopri.encodestring(raw)
    return head + b"Content-Transfer-Encoding: 8bit\n\n" + raw


def _alternative(writer: Writer, encoding: str = "qp", boundary: bytes = b"=_alt") -> bytes:
    plain, html = _entity(writer.text(), encoding=encoding), _entity(writer.html(), b"html", encoding=encoding)
    return (
        b'Content-Type: multipart/alternative;\n boundary="' + boundary + b'"\n\n--' + boundary + b"\n" + plain
        + b"\n--" + boundary + b"\n" + html + b"\n--" + boundary + b"--\n"
    )  # in the order of the message # fmt: skip


def _word(text: str) -> bytes:
    return b"=?UTF-8?B?" + base64.b64encode(text.encode()) + b"?="


def _extended(text: str) -> bytes:
    return b"UTF-8''" + b"".join(
        bytes((c,)) if (chr(c).isalnum() and c < 128) or c == 46 else b"%%%02X" % c for c in text.encode()
    )


def _plain_8_bit(w: Writer) -> bytes:
    charset = CHARSETS.get(w.language, "utf-8")
    entity = _entity(w.text(), charset=charset, encoding="8bit")
    head, _, body = entity.partition(b"\n\n")
    return single(head + b"\n", body)


def _plain_qp(w: Writer) -> bytes:
    head, _, body = _entity(w.text(30), encoding="qp").partition(b"\n\n")
    return single(head + b"\n", body)


def _newsletter(w: Writer) -> bytes:
    fields = b"List-Unsubscribe: <mailto:leave@example.com>\nPrecedence: bulk\nX-Mailer: Campaigns 7\n"
    return fields + multipart(
        _alternative(w)[:0] + _entity(w.text(), encoding="qp"),
        _entity(w.html(), b"html", encoding="qp"),
        subtype=b"alternative",
        boundary=b"_----------=_MCPart_%d" % w.random.randrange(10**9),
    )


def _related(w: Writer) -> bytes:
    image = (
        b'Content-Type: image/png; name="logo.png"\nContent-Transfer-Encoding: base64\n'
        b'Content-ID: <logo@example.net>\nContent-Disposition: inline; filename="logo.png"\n\n' + base64_lines(PNG)
    )
    return multipart(_alternative(w), image, subtype=b"related", boundary=b"----=_Part_1")


def _outlook(w: Writer) -> bytes:
    name, content_type, content = w.file()
    boundary = b"_004_%08X" % w.random.getrandbits(32)
    attachment = (
        b"Content-Type: " + content_type.encode() + b'; name="' + _word(name) + b'"\n'
        b"Content-Description: " + _word(name) + b"\n"
        b'Content-Disposition: attachment; filename="' + _word(name) + b'"; size=%d;\n'
        b'\tcreation-date="Sun, 22 Nov 2026 10:00:00 GMT"\nContent-Transfer-Encoding: base64\n\n' % len(content)
    )
    inner = _alternative(w, boundary=boundary.replace(b"004", b"000"))
    return b"Thread-Topic: x\nX-MS-Has-Attach: yes\n" + multipart(
        inner, attachment + base64_lines(content), boundary=boundary
    )


def _apple_mail(w: Writer) -> bytes:
    name, content_type, content = w.file()
    attachment = (
        b"Content-Disposition: inline;\n\tfilename*=" + _extended(name) + b"\n"
        b"Content-Type: " + content_type.encode() + b';\n\tx-unix-mode=0644;\n\tname="' + _word(name) + b'"\n'
        b"Content-Transfer-Encoding: base64\n\n" + base64_lines(content)
    )
    last = b"Content-Transfer-Encoding: 7bit\nContent-Type: text/plain;\n\tcharset=us-ascii\n\n\n\nSent from my phone\n"
    return b"X-Mailer: Apple Mail (2.3654)\n" + multipart(
        TEXT, attachment, last, boundary=b"Apple-Mail=_%X-1" % w.random.getrandbits(40)
    )


def _thunderbird(w: Writer) -> bytes:
    name, content_type, content = w.file()
    pieces = _extended(name)
    half = len(pieces) // 2
    sections = (
        b" filename*0*=" + pieces[:half].rstrip(b"%") + b";\n filename*1*=" + pieces[len(pieces[:half].rstrip(b"%")) :]
    )
    attachment = (
        b"Content-Type: "
        + content_type.encode()
        + b';\n name="'
        + _word(name)
        + b'"\nContent-Transfer-Encoding: base64\n'
        b"Content-Disposition: attachment;\n" + sections + b"\n\n" + base64_lines(content)
    )
    return b"User-Agent: Mozilla Thunderbird\n" + multipart(
        TEXT, attachment, boundary=b"------------%X" % w.random.getrandbits(80)
    )


def _calendar(w: Writer) -> bytes:
    ics = f"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY:{w.sentence(3)}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    invite = b'Content-Type: text/calendar; charset="utf-8"; method=REQUEST\nContent-Transfer-Encoding: base64\n\n'
    file = b'Content-Type: application/ics; name="invite.ics"\nContent-Disposition: attachment; filename="invite.ics"\n'
    coded = base64_lines(ics.encode())
    inner = multipart(
        _entity(w.text()), _entity(w.html(), b"html"), invite + coded, subtype=b"alternative", boundary=b"in"
    )
    entity = inner[inner.index(b"Content-Type: multipart") :]
    return multipart(
        entity,
        file + b"Content-Transfer-Encoding: base64\n\n" + coded,
        boundary=b"0000000000%x" % w.random.getrandbits(48),
    )


def _signed_pgp(w: Writer) -> bytes:
    signature = (
        b"-----BEGIN PGP SIGNATURE-----\n\n"
        + base64_lines(w.random.randbytes(150), 64)
        + b"=abcd\n-----END PGP SIGNATURE-----\n"
    )
    entity = b'Content-Type: application/pgp-signature; name="signature.asc"\nContent-Disposition: attachment; filename="signature.asc"\n\n'
    return multipart(
        _entity(w.text(), encoding="qp"),
        entity + signature,
        subtype=b'signed; micalg=pgp-sha512; protocol="application/pgp-signature"',
    )


def _signed_inline(w: Writer) -> bytes:
    body = (
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
        + w.text().encode()
        + b"-----BEGIN PGP SIGNATURE-----\n\n"
    )
    body += base64_lines(w.random.randbytes(150), 64) + b"=abcd\n-----END PGP SIGNATURE-----\n"
    return single(b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", body)


def _signed_smime(w: Writer) -> bytes:
    detached = base64_lines(signed(b"")[:20] + w.random.randbytes(400))
    entity = (
        b'Content-Type: application/pkcs7-signature; name="smime.p7s"\nContent-Transfer-Encoding: base64\n'
        b'Content-Disposition: attachment; filename="smime.p7s"\nContent-Description: S/MIME Cryptographic Signature\n\n'
    )
    return multipart(
        _entity(w.text(), encoding="qp"),
        entity + detached,
        subtype=b'signed; protocol="application/pkcs7-signature"; micalg=sha-256',
    )


def _signed_opaque(w: Writer) -> bytes:
    body = base64_lines(signed(_entity(w.text(), encoding="qp"), pieces=bool(w.random.randrange(2))))
    fields = (
        b'Content-Type: application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"\n'
        b'Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename="smime.p7m"\n'
    )
    return single(fields, body)


def _digest(w: Writer) -> bytes:
    messages = [b"\n" + single(b"Content-Type: text/plain; charset=utf-8\n", w.text(3).encode()) for _ in range(5)]
    body = multipart(*messages, subtype=b"digest", boundary=b"===============1==")
    entity = body[body.index(b"Content-Type: multipart") :]
    footer = b"Content-Type: text/plain; charset=us-ascii\n\n_______________\nlist mailing list\nhttps://lists.example.org/\n"
    return b"List-Id: <list.example.org>\n" + multipart(TEXT, entity, footer, boundary=b"===============2==")


def _list_footer(w: Writer) -> bytes:
    """A list's footer put after the base64 of a text, as some list managers do."""
    coded = base64_lines(w.text().encode())
    footer = b"\n_______________________________________________\nlist mailing list\nlist@example.org\n"
    return b"List-Id: <list.example.org>\n" + single(
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n", coded + footer
    )


def _epilogue(w: Writer) -> bytes:
    return (
        multipart(_entity(w.text()), file_entity(b"a.pdf", PDF))
        + b"\n-- \n"
        + w.text(12).encode()
        + b"checked by the gate\n"
    )


def _bounce_dsn(w: Writer) -> bytes:
    status = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; a@example.org\nAction: failed\nStatus: 5.1.1\n"
    original = b"Content-Type: message/rfc822\n\n" + multipart(
        _entity(w.text()), file_entity(b"a.pdf", PDF), boundary=b"orig"
    )
    headers = b"Content-Type: text/rfc822-headers\n\nFrom: ann@example.net\nSubject: x\n"
    last = original if w.random.randrange(2) else headers
    return b"Return-Path: <>\nAuto-Submitted: auto-replied\n" + multipart(
        TEXT, status, last, subtype=b"report; report-type=delivery-status"
    )


def _bounce_headers_only(w: Writer) -> bytes:
    """The returned message is cut after its header, which declares parts that aren't there."""
    status = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n"
    cut = b"Content-Type: message/rfc822\n\nFrom: ann@example.net\nSubject: x\nContent-Type: multipart/mixed; boundary=gone\n\n"
    return b"Return-Path: <>\n" + multipart(TEXT, status, cut, subtype=b"report")


def _bounce_qmail(w: Writer) -> bytes:
    copy = multipart(_entity(w.text(3)), boundary=b"old")
    body = b"Hi. This is the qmail-send program at mx.example.org.\n\n<a@example.org>:\nSorry.\n\n--- Below this line is a copy of the message.\n\n"
    return b"Return-Path: <>\n" + single(b"", body + copy)


def _forwarded(w: Writer) -> bytes:
    inner = multipart(_entity(w.text()), file_entity(b"a.pdf", PDF), boundary=b"inner")
    entity = (
        b'Content-Type: message/rfc822; name="'
        + _word(w.sentence(3) + ".eml")
        + b'"\nContent-Disposition: attachment\n\n'
    )
    return multipart(TEXT, entity + inner)


def _forwarded_inline(w: Writer) -> bytes:
    body = "\n".join(f"> {line}" for line in w.text().splitlines())
    head = (
        "---------- Forwarded message ----------\nFrom: Bob <bob@example.org>\nContent-Type: text/plain\nSubject: x\n\n"
    )
    return single(
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", (head + body + "\n").encode()
    )


def _raw_8_bit_name(w: Writer) -> bytes:
    name = (
        f"{w.sentence(2)}.pdf".encode(CHARSETS.get(w.language, "utf-8"), "replace")
        .replace(b"\\", b"")
        .replace(b'"', b"")
    )
    return multipart(TEXT, file_entity(name, PDF, b"application/pdf"))


def _fallback_name(w: Writer) -> bytes:
    name = f"{w.sentence(3)}.pdf"
    ascii_name = "".join(c if c.isascii() else "_" for c in name).encode()
    fields = disposition(b'filename="' + ascii_name + b'"; filename*=' + _extended(name))
    return multipart(TEXT, fields + b"Content-Transfer-Encoding: base64\n\n" + base64_lines(PDF))


def _inline_data_image(w: Writer) -> bytes:
    html = f'<html><body>{w.sentence()}<img src="data:image/png;base64,{base64.b64encode(PNG).decode()}"></body></html>'
    return multipart(TEXT, _entity(html, b"html"), subtype=b"alternative")


def _patch(w: Writer) -> bytes:
    """A patch by mail: lines that begin with dashes, base64 literals, `begin` and quoted headers."""
    body = (
        f"{w.sentence()}\n\nSigned-off-by: Ann\n---\n src/a.c | 2 +-\n\ndiff --git a/a.c b/a.c\n--- a/a.c\n+++ b/a.c\n"
        "@@ -1 +1 @@\n-int main;\n+int main(void);\n-- \n2.39.2\n--b1\nbegin 644 is a mode\n=ybegin\n"
    )
    return single(b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n", body.encode())


def _voicemail(w: Writer) -> bytes:
    return multipart(
        TEXT, file_entity(b"vm-%d.wav" % w.random.randrange(999), b"RIFF\x24\0\0\0WAVEfmt " + bytes(60), b"audio/x-wav")
    )


def _auto_reply(w: Writer) -> bytes:
    return b"Auto-Submitted: auto-replied\nPrecedence: junk\n" + _plain_qp(w)


def _two_same_headers(w: Writer) -> bytes:
    return single(
        b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Type: text/plain; charset=UTF-8\n",
        w.text().encode(),
    )


def _careless_php(w: Writer) -> bytes:
    return single(b"Content-type: text/html; charset=utf-8\nContent-Type: text/plain\n", w.html().encode())


def _no_end(w: Writer) -> bytes:
    message = multipart(_entity(w.text()), file_entity(b"a.pdf", PDF))
    return message[: message.rindex(b"--=_b1--")]


def _crlf(w: Writer) -> bytes:
    return _outlook(w).replace(b"\n", b"\r\n")


_SHAPES: tuple[Callable[[Writer], bytes], ...] = (
    _plain_8_bit, _plain_qp, _newsletter, _related, _outlook, _apple_mail, _thunderbird, _calendar, _signed_pgp,
    _signed_inline, _signed_smime, _signed_opaque, _digest, _list_footer, _epilogue, _bounce_dsn, _bounce_headers_only,
    _bounce_qmail, _forwarded, _forwarded_inline, _raw_8_bit_name, _fallback_name, _inline_data_image, _patch,
    _voicemail, _auto_reply, _two_same_headers, _careless_php, _no_end, _crlf,
)  # names, many a line # fmt: skip

_Single = tuple[int, str, bytes]


def _oddities() -> Iterator[_Single]:
    """Sloppiness that honest software shows."""
    pdf = base64_lines(PDF)
    for name, value in {
        "trailing-semicolon": b"multipart/mixed; boundary=b1;", "spaces": b'multipart/mixed; boundary = "b1"',
        "equals": b"multipart/mixed; boundary==_b1", "upper": b"MULTIPART/MIXED; BOUNDARY=b1",
        "charset": b'multipart/mixed; charset="utf-8"; boundary="b1"', "folded": b'multipart/mixed;\n\tboundary="b1"',
        "type": b'multipart/related; type="multipart/alternative"; boundary="b1"', "double": b"multipart/mixed;; boundary=b1",
        "flowed": b"multipart/mixed; boundary=b1; format=flowed; delsp=yes", "comment": b"multipart/mixed; boundary=b1 (x)",
    }.items():  # short cases, two a line # fmt: skip
        boundary = b"=_b1" if name == "equals" else b"b1"
        body = (
            b"--"
            + boundary
            + b"\n"
            + TEXT
            + b"\n--"
            + boundary
            + b"\n"
            + file_entity(b"a.pdf", PDF)
            + b"\n--"
            + boundary
            + b"--\n"
        )
        yield 9, f"boundary/{name}", single(b"Content-Type: " + value + b"\n", body)
    for encoding in (b"7bit", b"8bit", b"quoted-printable", b"base64", b"7BIT", b"8-bit"):
        field = b"Content-Transfer-Encoding: " + encoding + b"\n"
        yield 21, f"encoded-multipart/{encoding.decode()}", field + multipart(TEXT, file_entity(b"a.pdf", PDF))
    for name, value in {
        "8 bit": b"8 bit",
        "utf-8": b"utf-8",
        "none": b"none",
        "upper": b"BASE64",
        "empty": b"",
    }.items():
        body = pdf if name == "upper" else b"hello\n"
        entity = b"Content-Type: text/plain\nContent-Transfer-Encoding: " + value + b"\n\n" + body
        yield 22, f"encoding/{name.replace(' ', '-')}", multipart(TEXT, entity)
    for name, body in {
        "no-padding": pdf.replace(b"=", b""),
        "wrap-75": base64_lines(PDF, 75),
        "blank-lines": pdf.replace(b"\n", b"\n\n"),
        "one-line": pdf.replace(b"\n", b""),
        "trailing-blank": pdf + b"\n\n  \n",
        "empty": b"",
    }.items():
        entity = b"Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n" + body
        yield 28, f"base64/{name}", multipart(TEXT, entity)
    qp = b"Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n"
    yield (
        29,
        "quoted-printable/raw-equals",
        multipart(TEXT, qp + b'<html><a href="https://example.com/?q=zebra&x=1">a</a></html>\n'),
    )
    yield 29, "quoted-printable/ends-soft", multipart(TEXT, qp + b"<html>hello</html>=")
    yield 10, "empty-parts", multipart(b"\n", TEXT, b"Content-Type: text/plain\n\n", b"")
    yield (
        12,
        "nested-similar-boundary",
        multipart(
            b'Content-Type: multipart/alternative; boundary="=_b11"\n\n--=_b11\n' + TEXT + b"\n--=_b11--\n",
            file_entity(b"a.pdf", PDF),
        ),
    )
    yield 17, "many-received", b"Received: from a by b; Sun, 22 Nov 2026 10:00:00 +0000\n" * 60 + multipart(TEXT)
    yield (
        17,
        "many-recipients",
        b"Cc: " + b",\n ".join(b"a%d@example.org" % i for i in range(2000)) + b"\n" + multipart(TEXT),
    )
    yield 17, "long-lines", single(b"Content-Type: text/plain\n", b"word " * 5000 + b"\n")
    yield 19, "bare-cr-in-text", single(b"Content-Type: text/plain\n", b"one\rtwo\rthree\n")
    yield 19, "blank-fold", b"X-Spam-Report: none\n \nX-Other: 1\n" + single(b"Content-Type: text/plain\n", b"hello\n")
    yield (
        19,
        "from-line",
        b">From ann@example.net Sun Nov 22 10:00:00 2026\n" + multipart(TEXT, file_entity(b"a.pdf", PDF)),
    )
    yield 20, "no-mime-version", b"From: a@example.net\nSubject: x\n\nhello\n"
    yield 20, "no-header", b"\nhello\n"
    yield 20, "no-body", b"From: a@example.net\nSubject: x\n"
    yield 20, "old-type", single(b"Content-Type: text\n", b"hello\n")
    yield (
        23,
        "eml-file",
        multipart(TEXT, file_entity(b"forwarded.eml", multipart(TEXT, file_entity(b"a.pdf", PDF), boundary=b"in"))),
    )
    yield (
        23,
        "encoded-message",
        multipart(
            TEXT,
            b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
            + base64_lines(multipart(TEXT, boundary=b"in")),
        ),
    )
    yield (
        27,
        "public-key",
        multipart(
            TEXT,
            b'Content-Type: application/pgp-keys; name="key.asc"\n\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n'
            + base64_lines(bytes(range(99, 250)))
            + b"-----END PGP PUBLIC KEY BLOCK-----\n",
        ),
    )
    yield 27, "pgp-prose", single(b"", b"Look for the line\n-----BEGIN PGP MESSAGE-----\nin the file, then send it.\n")


def _names() -> Iterator[_Single]:
    """Names that look like trouble and are none."""
    for name in (
        "aaa@bbb.com; ccc.zip.pdf", "aaa@bbb.com; ccc.pdf", "ann@example.com, bob@example.com.txt", "example.com report.pdf",
        "Minutes of example.com: part 2.pdf", "Re: Fwd: papers.pdf", "No. 5 Bas.pdf", "v1.2.3.txt", "archive.tar.backup.pdf",
        "AT&amp;T offer.pdf", "100%25 sure.pdf", "50%.pdf", "R&D.pdf", "it's here.pdf", "a;b.pdf", "l'été.pdf", "o'brien's 'notes'.txt",
        "com.example.app.txt", "exe.pdf", "the exe file.pdf", "setup.exe.pdf", "photo (1).jpg", "photo [2].jpg", "-draft-.pdf",
        "- agenda.pdf", ".gitignore", "README", "console.pdf", "auxiliary.txt", "common.txt", "report 2026.11.22.pdf",
        "C:\\\\Users\\\\ann\\\\report.pdf", "folder/report.pdf", "2026/11/22.pdf", "a" * 200 + ".pdf", "$budget.pdf", "#1.pdf",
        "\u200frtl\u200f.pdf", "\u05d3\u05d5\u05d7.pdf", "\u202a\u062a\u0642\u0631\u064a\u0631\u202c.pdf", "naïve café.pdf",
        "re\u0301sume\u0301.pdf", "\u8cc7\u6599\uff08\u6700\u7d42\uff09.pdf", "\U0001f600.jpg", "100\uff05.pdf", "e=mc2.pdf", "a=?b.pdf", "what?.pdf",
    ):  # names, many a line # fmt: skip
        label = base64.b32encode(zlib.crc32(name.encode()).to_bytes(4, "big")).decode().rstrip("=").lower()
        yield 48, f"names/quoted/{label}", multipart(TEXT, with_fields(named(name)))
        yield 48, f"names/extended/{label}", multipart(TEXT, with_fields(disposition(b"filename*=" + _extended(name))))
        yield 48, f"names/words/{label}", multipart(TEXT, with_fields(disposition(b'filename="' + _word(name) + b'"')))
    yield 48, "names/unquoted-address", multipart(TEXT, with_fields(disposition(b"filename=aaa@bbb.com; ccc.pdf")))
    yield (
        48,
        "names/unquoted-spaces",
        multipart(TEXT, with_fields(disposition(b"filename=Dr.Smith report No.5 May.pdf"))),
    )
    yield 46, "names/iso-2022-jp", multipart(TEXT, with_fields(named("会議資料.pdf".encode("iso-2022-jp"))))
    yield 46, "names/shift-jis", multipart(TEXT, with_fields(named("表示.pdf".encode("shift-jis"))))
    yield (
        35,
        "names/case",
        multipart(TEXT, file_entity(b"A.PDF", PDF).replace(b'filename="A.PDF"', b'filename="a.pdf"')),
    )
    yield (
        35,
        "names/jpeg",
        multipart(TEXT, file_entity(b"a.jpg", JPEG).replace(b'filename="a.jpg"', b'filename="a.jpeg"')),
    )
    yield 38, "names/folded", multipart(TEXT, with_fields(disposition(b'filename="a long name of\n a report.pdf"')))


def _look_alikes() -> Iterator[_Single]:
    """Prose and documents that only look like what is refused."""
    for name, text in {
        "begin-644": "begin 644 files with the new tool,\nthen go on to the next part.\nend\n",
        "begin": "begin  working on it today\nI will not be late.\n", "begin-quoted": "> begin 755 times\n> is too often\n",
        "begin-shell": "begin 644 run\nand so on, and so forth\n`\nend\n", "yenc": "the header =ybegin starts a yEnc file\n",
        "binhex": "(This file must be converted with BinHex 4.0)\nis what such a file says first.\n",
        "boundary": "--b1\nContent-Type: text/plain\n\nquoted from another mail\n--b1--\n", "mz": "MZ is the mark of a program\n",
        "from": "From the beginning\n>From here on\n", "url": "see data:text/html,hello or https://example.com/setup.exe\n",
        "html": "use <script> tags and new Blob() with createObjectURL and atob()\n", "utf7": "1 +ADw 2 is odd\n",
        "dots": ".\n..\n...\n", "semicolons": 'filename="x.exe"; name=y.exe\n',
    }.items():  # short cases, two a line # fmt: skip
        yield 30, f"prose/{name}", single(b"Content-Type: text/plain; charset=utf-8\n", text.encode())
        yield 30, f"prose-qp/{name}", multipart(_entity(text, encoding="qp"), file_entity(b"a.pdf", PDF))
    svg = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/><style>rect{fill:red}</style></svg>'
    yield 33, "svg", multipart(TEXT, file_entity(b"logo.svg", svg, b"image/svg+xml"))
    for name, script in {
        "menu": "document.getElementById('menu').onclick=function(){this.hidden=true}",
        "analytics": "window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments);}",
        "json-ld": '{"@context":"http://schema.org","@type":"EmailMessage"}',
    }.items():
        page = f"<html><head><script>{script}</script></head><body>hello</body></html>".encode()
        yield 33, f"script/{name}", multipart(TEXT, file_entity(b"page.html", page, b"text/html"))
    for charset in ("utf-16", "utf-8-sig", "iso-8859-1"):
        page = "<html><body>grüße</body></html>".encode(charset)
        label = charset.replace("-sig", "").encode()
        entity = (
            b"Content-Type: text/html; charset="
            + label
            + b"\nContent-Transfer-Encoding: base64\n\n"
            + base64_lines(page)
        )
        yield 34, f"charset/{charset}", multipart(TEXT, entity)
    for kind, content in {"gif": GIF, "jpg": JPEG, "png": PNG}.items():
        page = f'<html><img src="data:image/{kind};base64,{base64.b64encode(content).decode()}"></html>'.encode()
        yield 33, f"data-image/{kind}", single(b"Content-Type: text/html\n", page)
