"""Classes 1 to 27: messages whose structure is read in more than one way."""

# ruff: noqa: E501 - a message is easier to read when its lines are not broken.

from __future__ import annotations

from collections.abc import Callable, Iterator

from gatescan.model import Verdict

from tests.corpus.case import EXE, HEADER, TEXT, Case, base64_lines, file_entity, multipart, single

POLICY, AMBIGUOUS, LIMIT, ENCRYPTED = Verdict.POLICY, Verdict.AMBIGUOUS, Verdict.LIMIT, Verdict.ENCRYPTED

PAYLOADS = {
    "exe": file_entity(b"setup.exe", EXE),
    "nameless": b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + base64_lines(EXE),
    "script": file_entity(b"note.vbs", b'MsgBox "good morning"\n', b"text/plain"),
    "posing": file_entity(b"photo.jpg", EXE, b"image/jpeg"),
}
"""Entities that must be found wherever they are put."""

HARMLESS_FILE = file_entity(b"papers.pdf", b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n", b"application/pdf")


def cases() -> Iterator[Case]:
    """Every case of these classes."""
    for cls, name, build in _HIDING:
        for payload, entity in PAYLOADS.items():
            yield Case(f"structure/{name}/{payload}", cls, build(entity), POLICY)
    yield from _ambiguous()
    yield from _limits()
    yield from _by_type()


def _parts(*entities: bytes, boundary: bytes = b"b1", end: bytes = b"--b1--\n") -> bytes:
    return b"".join(b"--" + boundary + b"\n" + entity + b"\n" for entity in entities) + end


def _typed(content_type: bytes) -> Callable[[bytes], bytes]:
    """A multipart whose Content-Type field is written so; its parts are cut by `b1`."""
    return lambda entity: single(b"Content-Type: " + content_type + b"\n", _parts(TEXT, entity))


def nested(entity: bytes, levels: int) -> bytes:
    """`entity` inside so many multiparts, each with a boundary of its own."""
    for i in range(levels):
        boundary = b"n%d" % i
        entity = (
            b"Content-Type: multipart/mixed; boundary="
            + boundary
            + b"\n\n"
            + _parts(entity, boundary=boundary, end=b"--" + boundary + b"--\n")
        )
    return entity


def _two_types(first: bytes, second: bytes) -> Callable[[bytes], bytes]:
    return lambda e: single(b"Content-Type: " + first + b"\nContent-Type: " + second + b"\n", _parts(TEXT, e))


def _rfc822(entity: bytes) -> bytes:
    return b"Content-Type: message/rfc822\n\n" + multipart(TEXT, entity, boundary=b"inner")


def _forwarded(entity: bytes, times: int) -> bytes:
    message = multipart(TEXT, entity, boundary=b"core")
    for i in range(times):
        message = multipart(TEXT, b"Content-Type: message/rfc822\n\n" + message, boundary=b"f%d" % i)
    return message


def _encoded_body(outer: bytes, body: bytes) -> bytes:
    return single(outer + b"Content-Transfer-Encoding: base64\n", base64_lines(body))


def _early(entity: bytes) -> bytes:
    return HEADER + b"Content-Type: multipart/mixed; boundary=b1\n" + _parts(TEXT, entity)


def _cr(message: bytes, start: int = 0) -> bytes:
    return message[:start] + message[start:].replace(b"\n", b"\r")


def _partly_cr(entity: bytes) -> bytes:
    """LF in the header, bare CR in the body: boundary lines are seen by some clients only."""
    message = multipart(TEXT, entity)
    body = message.index(b"\n\n") + 2
    return _cr(message, body)


def _with_field_after(separator: bytes) -> Callable[[bytes], bytes]:
    def build(entity: bytes) -> bytes:
        field = b"Content-Type: multipart/mixed; boundary=b1\n"
        return HEADER + b"MIME-Version: 1.0" + separator + field + b"\n" + _parts(TEXT, entity)

    return build


def _outside(entity: bytes, where: str) -> bytes:
    uu = b"begin 644 setup.exe\n#35IX\n \nend\n" if b"setup" in entity else b"begin 644 a.vbs\n#86)C\n \nend\n"
    preamble, epilogue = (uu, b"") if where == "preamble" else (b"", uu)
    body = preamble + _parts(TEXT) + epilogue
    return single(b"Content-Type: multipart/mixed; boundary=b1\n", body)


def _late(entity: bytes) -> bytes:
    body = _parts(TEXT) + b"--b1\n" + entity + b"\n--b1--\n"
    return single(b"Content-Type: multipart/mixed; boundary=b1\n", body)


_B = b"multipart/mixed; boundary="
_HIDING: list[tuple[int, str, Callable[[bytes], bytes]]] = [
    (1, "two-boundaries/last-used", _typed(_B + b"zz; boundary=b1")),
    (1, "two-boundaries/first-used", _typed(_B + b"b1; boundary=zz")),
    (1, "two-boundaries/quoted", _typed(_B + b'"zz"; boundary="b1"')),
    (1, "two-boundaries/upper-case", _typed(_B + b"zz; BOUNDARY=b1")),
    (1, "two-boundaries/folded", _typed(_B + b"zz;\n boundary=b1")),
    (2, "two-types/multipart-last", _two_types(b"text/plain", _B + b"b1")),
    (2, "two-types/multipart-first", _two_types(_B + b"b1", b"text/plain")),
    (2, "two-types/boundaries", _two_types(_B + b"zz", _B + b"b1")),
    (2, "two-types/html", _two_types(b"text/html; charset=utf-8", _B + b"b1")),
    (3, "empty-boundary/quoted", _typed(_B + b'""')),
    (3, "empty-boundary/nothing", _typed(_B)),
    (3, "empty-boundary/bare-lines", lambda e: single(
        b'Content-Type: multipart/mixed; boundary=""\n', _parts(TEXT, e, boundary=b"", end=b"----\n"))),
    (4, "boundary-space/quoted", _typed(_B + b'"b1 "')),
    (4, "boundary-space/unquoted", _typed(_B + b"b1  ")),
    (4, "boundary-space/tab", _typed(_B + b'"b1\t"')),
    (4, "boundary-space/before", _typed(_B + b'" b1"')),
    (4, "boundary-space/delimiters", lambda e: single(
        b"Content-Type: multipart/mixed; boundary=b1\n", _parts(TEXT, e).replace(b"--b1\n", b"--b1 \t\n"))),
    (5, "boundary-sections/plain", _typed(b"multipart/mixed; boundary*0=b; boundary*1=1")),
    (5, "boundary-sections/reversed", _typed(b"multipart/mixed; boundary*1=1; boundary*0=b")),
    (5, "boundary-sections/repeated", _typed(b"multipart/mixed; boundary*0=zz; boundary*0=b; boundary*1=1")),
    (5, "boundary-sections/extended", _typed(b"multipart/mixed; boundary*=us-ascii''b%31")),
    (5, "boundary-sections/and-plain", _typed(_B + b"zz; boundary*=us-ascii''b1")),
    (6, "boundary-words/whole", _typed(_B + b'"=?us-ascii?q?b1?="')),
    (6, "boundary-words/base64", _typed(_B + b'"=?us-ascii?b?YjE=?="')),
    (6, "boundary-words/part", _typed(_B + b'"b=?us-ascii?q?1?="')),
    (6, "boundary-words/unquoted", _typed(_B + b"=?us-ascii?q?b1?=")),
    (7, "illegal-parameter/colon", _typed(b"multipart/mixed; x:y=1; boundary=b1")),
    (7, "illegal-parameter/8-bit", _typed(b"multipart/mixed; \xe4=1; boundary=b1")),
    (7, "illegal-parameter/no-value", _typed(b"multipart/mixed; x; boundary=b1")),
    (7, "illegal-parameter/empty-name", _typed(b"multipart/mixed; =x; boundary=b1")),
    (7, "illegal-parameter/at", _typed(b"multipart/mixed; a@b=c; boundary=b1")),
    (8, "comment/in-name", _typed(b"multipart/mixed; boundary((c))=b1; x=zz")),
    (8, "comment/two", _typed(b"multipart/mixed; boundary((c))=zz; boundary=b1")),
    (8, "comment/first-used", _typed(b"multipart/mixed; boundary((c))=b1; boundary=zz")),
    (8, "comment/before-value", _typed(b"multipart/mixed; boundary=(zz)b1")),
    (9, "separators/none", _typed(b"multipart/mixed boundary=b1")),
    (9, "separators/comma", _typed(b"multipart/mixed, boundary=b1")),
    (9, "separators/tab", _typed(b"multipart/mixed\tboundary=b1")),
    (9, "separators/colon", _typed(b"multipart/mixed: boundary=b1")),
    (9, "separators/stray-quote", _typed(b'multipart/mixed; "; boundary=b1')),
    (9, "separators/unclosed-quote", _typed(_B + b'"b1')),
    (9, "separators/single-quotes", _typed(_B + b"'b1'")),
    (9, "separators/comment-in-value", _typed(b"multipart/mixed (x; boundary=zz); boundary=b1")),
    (9, "separators/spaced", _typed(b"multipart / mixed ; boundary = b1")),
    (9, "separators/backslash", _typed(_B + b'"b\\1"')),
    (9, "separators/other-quoted", _typed(b'multipart/mixed; x="; boundary=zz"; boundary=b1')),
    (10, "no-end", lambda e: single(b"Content-Type: multipart/mixed; boundary=b1\n", _parts(TEXT, e, end=b""))),
    (10, "boundary-at-once", _early),
    (11, "after-the-end", _late),
    (12, "prefix/longer-line", lambda e: single(
        b"Content-Type: multipart/mixed; boundary=b1\n",
        _parts(TEXT) [: -len(b"--b1--\n")] + b"--b1x\n" + e + b"\n--b1--\n")),
    (12, "prefix/nested", lambda e: single(
        b"Content-Type: multipart/mixed; boundary=b1\n",
        _parts(TEXT, b"Content-Type: multipart/mixed; boundary=b12\n\n" + _parts(
            e, boundary=b"b12", end=b"--b12--\n")))),
    (13, "nested/20", lambda e: HEADER + nested(e, 20)),
    (13, "nested/50", lambda e: HEADER + nested(e, 50)),
    (18, "nul/boundary", _typed(_B + b'"b1\0zz"')),
    (18, "nul/boundary-dropped", _typed(_B + b'"b\x001"')),
    (18, "nul/field-name", lambda e: HEADER + b"Content-\0Type: multipart/mixed; boundary=b1\n\n" + _parts(TEXT, e)),
    (18, "nul/value", _typed(b"multipart/mixed\0; boundary=b1")),
    (19, "line-ends/crlf", lambda e: multipart(TEXT, e).replace(b"\n", b"\r\n")),
    (19, "line-ends/crcrlf", lambda e: multipart(TEXT, e).replace(b"\n", b"\r\r\n")),
    (19, "line-ends/bare-cr-body", _partly_cr),
    (19, "line-ends/bare-cr-all", lambda e: _cr(multipart(TEXT, e))),
    (19, "line-ends/mixed", lambda e: multipart(TEXT, e).replace(b"\n--", b"\r\n--")),
    (19, "blank-line/spaces", _with_field_after(b"\n  \n")),
    (19, "blank-line/tab", _with_field_after(b"\n\t\n")),
    (19, "blank-line/no-field", _with_field_after(b"\nthis is no field\n")),
    (19, "blank-line/bare-cr", _with_field_after(b"\r")),
    (20, "type/no-slash", _typed(b"multipart; boundary=b1")),
    (20, "type/unknown", _typed(b"unknown/unknown; boundary=b1")),
    (20, "type/text-with-boundary", _typed(b"text/plain; boundary=b1")),
    (20, "type/no-mime-version", lambda e: HEADER + b"Content-Type: multipart/mixed; boundary=b1\n\n" + _parts(e)),
    (20, "type/space-before-colon", lambda e: HEADER + b"Content-Type : multipart/mixed; boundary=b1\n\n" + _parts(e)),
    (20, "type/no-boundary", _typed(b"multipart/mixed")),
    (20, "type/wrong-boundary", _typed(_B + b"zz")),
    (21, "encoded-multipart", lambda e: _encoded_body(b"Content-Type: multipart/mixed; boundary=b1\n", _parts(TEXT, e))),
    (21, "encoded-message", lambda e: _encoded_body(b"Content-Type: message/rfc822\n", multipart(TEXT, e))),
    (21, "encoded-message/qp", lambda e: single(
        b"Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n",
        multipart(TEXT, e).replace(b"=", b"=3D"))),
    (23, "forwarded/1", lambda e: _forwarded(e, 1)),
    (23, "forwarded/20", lambda e: _forwarded(e, 20)),
    (23, "forwarded/global", lambda e: multipart(TEXT, _rfc822(e).replace(b"message/rfc822", b"message/global"))),
    (23, "digest", lambda e: multipart(
        b"\n" + multipart(TEXT, e, boundary=b"inner"), subtype=b"digest")),
    (23, "eml-file", lambda e: multipart(TEXT, file_entity(b"forwarded.eml", multipart(TEXT, e, boundary=b"inner")))),
    (26, "appledouble", lambda e: multipart(
        TEXT, b"Content-Type: multipart/appledouble; boundary=ad\n\n" + _parts(
            b"Content-Type: application/applefile\n\nx\n", e, boundary=b"ad", end=b"--ad--\n"))),
]  # a case a line # fmt: skip


def _ambiguous() -> Iterator[Case]:
    """Readings that differ, though none of them shows anything that is listed."""
    other = file_entity(b"plan.pdf", b"%PDF-1.4\n%%EOF\n", b"application/pdf")

    def both(first: bytes, second: bytes, fields: bytes) -> bytes:
        body = _parts(TEXT, first, boundary=b"zz", end=b"--zz--\n") + _parts(TEXT, second)
        return single(fields, body)

    twice = b"Content-Type: multipart/mixed; boundary=zz; boundary=b1\n"
    yield Case("structure/ambiguous/two-boundaries", 1, both(HARMLESS_FILE, other, twice), AMBIGUOUS)
    two = b"Content-Type: multipart/mixed; boundary=zz\nContent-Type: multipart/mixed; boundary=b1\n"
    yield Case("structure/ambiguous/two-types", 2, both(HARMLESS_FILE, other, two), AMBIGUOUS)
    for encodings in ((b"base64", b"7bit"), (b"7bit", b"base64"), (b"base64", b"quoted-printable")):
        fields = b"".join(b"Content-Transfer-Encoding: " + e + b"\n" for e in encodings)
        entity = b"Content-Type: application/pdf; name=a.pdf\n" + fields + b"\n" + base64_lines(b"%PDF-1.4 text")
        name = b"-".join(encodings).decode()
        yield Case(f"structure/ambiguous/two-encodings/{name}", 2, multipart(TEXT, entity), AMBIGUOUS)
    for name, fields in {
        "empty-boundary": b'multipart/mixed; boundary=""',
        "sections": b"multipart/mixed; boundary=zz; boundary*0=b; boundary*1=1",
        "words": b'multipart/mixed; boundary=zz; boundary="=?us-ascii?q?b1?="',
        "comment": b"multipart/mixed; boundary((c))=zz; boundary=b1",
        "nul": b'multipart/mixed; boundary="b1\0"',
        "missing": b"multipart/mixed",
    }.items():
        message = single(b"Content-Type: " + fields + b"\n", _parts(TEXT, HARMLESS_FILE))
        yield Case(f"structure/ambiguous/{name}", {"words": 6, "comment": 8}.get(name, 3), message, AMBIGUOUS)
    yield Case("structure/ambiguous/late-part", 11, _late(HARMLESS_FILE), AMBIGUOUS)
    yield Case("structure/ambiguous/blank-line", 19, _with_field_after(b"\n \n")(HARMLESS_FILE), AMBIGUOUS)
    yield Case("structure/ambiguous/bare-cr", 19, _partly_cr(HARMLESS_FILE), AMBIGUOUS)
    names = b'Content-Type: application/pdf; name="a.pdf"\nContent-Disposition: attachment; filename="a.docx"\n\nx\n'
    yield Case("structure/ambiguous/names", 35, multipart(TEXT, names), AMBIGUOUS)


def _limits() -> Iterator[Case]:
    for depth in (64, 65, 300, 10_000):
        nested = b"".join(b"Content-Type: multipart/mixed; boundary=n%d\n\n--n%d\n" % (i, i) for i in range(depth))
        yield Case(f"structure/limit/nested/{depth}", 13, HEADER + nested + TEXT, LIMIT)
    for times in (70, 200):
        yield Case(f"structure/limit/forwarded/{times}", 23, _forwarded(TEXT, times), LIMIT)
    for count in (2500, 100_000):
        body = b"--b1\n\nx\n" * count + b"--b1--\n"
        message = single(b"Content-Type: multipart/mixed; boundary=b1\n", body)
        yield Case(f"structure/limit/parts/{count}", 14, message, LIMIT)
    tricks = {
        "unclosed-comments": (15, b"; x=" + b"(" * 40_000),
        "encoded-words": (16, b'; x="' + b"=?" * 8000 + b'"'),
        "parameters": (15, b"; a=b" * 5000),
        "quotes": (15, b'; x="' * 4000),
        "sections": (16, b"".join(b"; x*%d=x" % i for i in range(2000))),
    }
    for name, (cls, extra) in tricks.items():
        entity = b"Content-Type: text/plain" + extra + b"\n\nx\n"
        yield Case(f"structure/limit/field/{name}", cls, multipart(TEXT, entity), LIMIT)
    yield Case("structure/limit/header/line", 17, b"X-A: " + b"a" * 1_000_100 + b"\n" + HEADER + b"\nx\n", LIMIT)
    yield Case("structure/limit/header/lines", 17, b"X-A: a\n" * 100_000 + HEADER + b"\nx\n", LIMIT)
    yield Case("structure/limit/header/folds", 17, b"X-A: a" + b"\n b" * 10_500 + b"\n" + HEADER + b"\nx\n", LIMIT)


def _by_type() -> Iterator[Case]:
    """Types that are refused, and seals that can't be opened."""
    for number in (1, 2):
        entity = b'Content-Type: message/partial; id="abc@example.net"; number=%d; total=2\n' % number
        yield Case(f"structure/partial/{number}", 24, single(entity, multipart(TEXT)), POLICY)
        yield Case(f"structure/partial/inner-{number}", 24, multipart(TEXT, entity + b"\nText\n"), POLICY)
    for access in (b"anon-ftp", b"URL", b"local-file", b"mail-server"):
        entity = b"Content-Type: message/external-body; access-type=" + access + b'; site="ftp.example.net"\n\n'
        entity += b"Content-Type: application/octet-stream\n\n"
        yield Case(f"structure/external-body/{access.decode().lower()}", 25, multipart(TEXT, entity), POLICY)
    for cls, name, entity, verdict in _sealed():
        yield Case(f"structure/sealed/{name}", cls, multipart(TEXT, entity), verdict)
        yield Case(f"structure/sealed/alone/{name}", cls, HEADER + entity, verdict)
    for name, content in {"data": EXE, "resource": b"rsrc"}.items():
        double = apple_double(b"setup.exe", content)
        entity = b"Content-Type: application/applefile\nContent-Transfer-Encoding: base64\n\n" + base64_lines(double)
        yield Case(f"structure/applefile/{name}", 26, multipart(TEXT, entity), POLICY)


def apple_double(name: bytes, content: bytes, resource: bytes = b"") -> bytes:
    """An AppleSingle file with a real name, a data fork and, if there is one, a resource fork."""
    forks = [(3, name), (1, content), (2, resource)][: 3 if resource else 2]
    entries, place = b"", 26 + len(forks) * 12
    for kind, fork in forks:
        entries += b"".join(value.to_bytes(4, "big") for value in (kind, place, len(fork)))
        place += len(fork)
    data = b"".join(fork for _, fork in forks)
    return b"\0\x05\x16\0\0\x02\0\0" + bytes(16) + len(forks).to_bytes(2, "big") + entries + data


def mac_binary(name: bytes, content: bytes) -> bytes:
    """A MacBinary file with a data fork."""
    head = bytes((0, len(name))) + name.ljust(63, b"\0") + b"W8BNMSWD" + bytes(10) + len(content).to_bytes(4, "big")
    return head.ljust(128, b"\0") + content.ljust(-(-len(content) // 128) * 128, b"\0")


def der(tag: int, content: bytes) -> bytes:
    """One DER element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def cms(kind: int, inner: bytes) -> bytes:
    """A CMS ContentInfo of type 1.2.840.113549.1.7.`kind`."""
    return der(0x30, der(6, bytes.fromhex("2a864886f70d0107") + bytes((kind,))) + der(0xA0, inner))


def signed(content: bytes, pieces: bool = False) -> bytes:
    """A CMS SignedData around `content`, its octets in one piece or many, without signers."""
    octets = der(4, content)
    if pieces:
        blocks = (der(4, content[i : i + 100]) for i in range(0, len(content), 100))
        octets = b"\x24\x80" + b"".join(blocks) + b"\0\0"
    data = der(6, bytes.fromhex("2a864886f70d010701"))
    body = der(2, b"\x01") + der(0x31, b"") + der(0x30, data + der(0xA0, octets)) + der(0x31, b"")
    return cms(2, der(0x30, body))


def _smime(content: bytes, kind: bytes, name: bytes = b"smime.p7m", type_: bytes = b"application/pkcs7-mime") -> bytes:
    return (
        b"Content-Type: " + type_ + b"; smime-type=" + kind + b'; name="' + name + b'"\n'
        b"Content-Transfer-Encoding: base64\n"
        b'Content-Disposition: attachment; filename="' + name + b'"\n\n' + base64_lines(content)
    )


PGP_SEALED = (
    b"-----BEGIN PGP MESSAGE-----\nVersion: GnuPG v2\n\n"
    + base64_lines(b"\x85\x01\x0c\x03" + bytes(range(200)), 64)
    + b"=abcd\n-----END PGP MESSAGE-----\n"
)


def _sealed() -> Iterator[tuple[int, str, bytes, Verdict]]:
    for payload, entity in PAYLOADS.items():
        yield 27, f"signed/{payload}", _smime(signed(entity), b"signed-data"), POLICY
        yield 27, f"signed-in-pieces/{payload}", _smime(signed(entity, pieces=True), b"signed-data"), POLICY
        octets = _smime(signed(entity), b"signed-data", b"x.dat", b"application/octet-stream")
        yield 27, f"signed-as-octets/{payload}", octets, POLICY
    sealed = cms(3, der(0x30, der(2, b"\0") + der(4, b"\x5a" * 300)))
    yield 27, "enveloped", _smime(sealed, b"enveloped-data"), ENCRYPTED
    yield 27, "enveloped/x-type", _smime(sealed, b"enveloped-data", type_=b"application/x-pkcs7-mime"), ENCRYPTED
    yield 27, "enveloped/octets", _smime(sealed, b"", b"x.p7m", b"application/octet-stream"), ENCRYPTED
    yield 27, "enveloped/exe-name", _smime(sealed, b"enveloped-data", b"setup.exe"), POLICY
    yield 27, "smime-broken", _smime(b"\x30\x80garbage", b"enveloped-data"), ENCRYPTED
    yield 27, "pgp-inline", b"Content-Type: text/plain\n\n" + PGP_SEALED, ENCRYPTED
    yield 27, "pgp-file", file_entity(b"papers.txt.asc", PGP_SEALED), ENCRYPTED
    yield 27, "pgp-binary", file_entity(b"papers.gpg", b"\x85\x01\x0c\x03" + bytes(200)), ENCRYPTED
    mime = b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=pe\n\n' + _parts(
        b"Content-Type: application/pgp-encrypted\n\nVersion: 1\n",
        b"Content-Type: application/octet-stream\n\n" + PGP_SEALED,
        boundary=b"pe",
        end=b"--pe--\n",
    )
    yield 27, "pgp-mime", mime, ENCRYPTED
