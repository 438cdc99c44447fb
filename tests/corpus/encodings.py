"""Classes 22 and 28 to 34: content that is encoded in ways that readers undo differently."""

# ruff: noqa: E501 - a message is easier to read when its lines are not broken.

from __future__ import annotations

import binascii
import quopri
from collections.abc import Iterator

from gatescan.model import Verdict

from tests.corpus.case import EXE, TEXT, Case, base64_lines, multipart, single

POLICY, AMBIGUOUS = Verdict.POLICY, Verdict.AMBIGUOUS


def cases() -> Iterator[Case]:
    """Every case of these classes."""
    for cls, name, entity, verdict in (*_transfer(), *_base64(), *_quoted_printable()):
        yield Case(f"encoding/{name}", cls, multipart(TEXT, entity), verdict)
        head, _, body = entity.partition(b"\n\n")
        yield Case(f"encoding/alone/{name}", cls, single(head + b"\n", body), verdict)
    for cls, name, text in (*_uuencoded(), *_yenc(), *_binhex()):
        yield Case(f"encoding/text/{name}", cls, single(b"Content-Type: text/plain\n", text), POLICY)
        plain = b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + base64_lines(text)
        yield Case(f"encoding/part/{name}", cls, multipart(TEXT, plain), POLICY)
        html = b"Content-Type: text/html\n\n<html><pre>\n" + text + b"</pre></html>\n"
        yield Case(f"encoding/html/{name}", cls, multipart(TEXT, html), POLICY)
    for cls, name, document, charset in _markup():
        entity = b"Content-Type: text/html; charset=" + charset + b"\nContent-Transfer-Encoding: base64\n\n"
        yield Case(f"encoding/body/{name}", cls, multipart(TEXT, entity + base64_lines(document)), POLICY)
        file = (
            b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
            b'Content-Disposition: attachment; filename="offer.html"\n\n' + base64_lines(document)
        )
        if charset in (b"utf-8", b"utf-16"):
            yield Case(f"encoding/file/{name}", cls, multipart(TEXT, file), POLICY)
    yield from _svg()


def entity(encoding: bytes, body: bytes, name: bytes = b"papers.bin") -> bytes:
    """An attachment whose transfer encoding is written so."""
    return (
        b'Content-Type: application/octet-stream; name="' + name + b'"\n'
        b"Content-Transfer-Encoding: " + encoding + b"\n"
        b'Content-Disposition: attachment; filename="' + name + b'"\n\n' + body
    )


def _transfer() -> Iterator[tuple[int, str, bytes, Verdict]]:
    coded = base64_lines(EXE)
    for name, encoding in {
        "upper-case": b"BASE64", "comma": b"base64,", "semicolon": b"base64;", "quoted": b'"base64"',
        "comment": b"base64 (really)", "comment-first": b"(x) base64", "two-words": b"base64 7bit",
        "spelled": b"base-64", "x": b"x-base64", "folded": b"\n base64", "unknown": b"x-unknown", "tab": b"\tbase64\t",
    }.items():  # short cases, many a line # fmt: skip
        yield 22, f"transfer/{name}", entity(encoding, coded), POLICY
        harmless = base64_lines(b"%PDF-1.4 some text here %%EOF")
        if name in ("comma", "two-words", "spelled", "x", "unknown"):
            yield 22, f"transfer/{name}/harmless", entity(encoding, harmless), AMBIGUOUS
    for encoding in (b"x-uuencode", b"uuencode", b"X-UUE", b"x-uu"):
        yield 22, f"transfer/{encoding.decode().lower()}", entity(encoding, uuencode(EXE, b"papers.bin")), POLICY
    for encoding in (b"8 bit", b"binary", b"8bit", b"none", b""):
        yield (
            22,
            f"transfer/raw/{encoding.decode().replace(' ', '-') or 'empty'}",
            entity(encoding, EXE + b"\n"),
            POLICY,
        )
    yield 20, "claims-text", b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + coded, POLICY
    two = b"Content-Type: application/octet-stream\nContent-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\n"
    yield 2, "two-encodings", two + coded, POLICY


def _base64() -> Iterator[tuple[int, str, bytes, Verdict]]:
    flat = binascii.b2a_base64(EXE, newline=False)
    pdf = binascii.b2a_base64(b"%PDF-1.4 nothing to see here, move along %%EOF", newline=False)
    middle = len(flat) // 8 * 4
    group = binascii.b2a_base64(b"x", newline=False)

    def groups(data: bytes, size: int) -> bytes:
        return b"".join(binascii.b2a_base64(data[i : i + size], newline=True) for i in range(0, len(data), size))

    for name, body, verdict in (
        ("spaces", b" ".join(flat[i : i + 3] for i in range(0, len(flat), 3)) + b"\n", POLICY),
        ("one-line", flat + b"\n", POLICY),
        ("wrap-61", base64_lines(EXE, 61), POLICY),
        ("wrap-1", base64_lines(EXE[:100], 1), POLICY),
        ("junk", b"*".join(flat[i : i + 40] for i in range(0, len(flat), 40)) + b"\n", POLICY),
        ("junk-first", b"!!!!\n" + flat + b"\n", POLICY),
        ("8-bit-junk", flat[:middle] + b"\xff\xfe" + flat[middle:] + b"\n", POLICY),
        ("nul-junk", flat[:middle] + b"\0" + flat[middle:] + b"\n", POLICY),
        ("padding-in-middle", flat[:middle] + b"=" + flat[middle:] + b"\n", POLICY),
        ("no-padding", flat.rstrip(b"=") + b"\n", POLICY),
        ("too-much-padding", flat + b"====\n", POLICY),
        ("groups", groups(EXE, 100), POLICY),
        ("blank-lines", base64_lines(EXE).replace(b"\n", b"\n\n"), POLICY),
        ("group-before", group + b"\n" + flat + b"\n", AMBIGUOUS),
        ("harmless-groups", groups(b"%PDF-1.4 nothing to see here at all, move along please", 10), AMBIGUOUS),
        ("harmless-junk", pdf[:20] + b"*!*" + pdf[20:] + b"\n", AMBIGUOUS),
        ("harmless-tail", binascii.b2a_base64(b"%PDF-1.4.") + b"====\nUEsDBBQAAAAI\n", AMBIGUOUS),
        ("harmless-padding", pdf[:20] + b"==" + pdf[20:] + b"\n", AMBIGUOUS),
        ("url-safe", flat.replace(b"+", b"-").replace(b"/", b"_") + b"\n", POLICY),
    ):
        yield 28, f"base64/{name}", entity(b"base64", body), verdict


def _quoted_printable() -> Iterator[tuple[int, str, bytes, Verdict]]:
    coded = quopri.encodestring(EXE)
    every = b"".join(b"=%02x" % c for c in EXE[:120])
    for name, body in {
        "plain": coded,
        "lower-case": every + b"\n",
        "soft-breaks": b"=\n".join(b"=%02X" % c for c in EXE[:120]) + b"\n",
        "soft-break-blanks": b"= \t\n".join(b"=%02X" % c for c in EXE[:120]) + b"\n",
        "ends-in-equals": coded + b"=",
        "raw-8-bit": b"MZ" + EXE[2:].replace(b"=", b"=3D"),
        "wrong-escape": b"MZ=90=ZZ=03" + every,
        "bare-cr": b"M=\rZ" + every[6:] + b"\n",
    }.items():
        yield 29, f"quoted-printable/{name}", entity(b"quoted-printable", body), POLICY
    yield 29, "quoted-printable/harmless-wrong", entity(b"quoted-printable", b"%PDF=ZZ-1.4 =x\n"), AMBIGUOUS


def uuencode(data: bytes, name: bytes, mode: bytes = b"644", end: bytes = b"`\nend\n") -> bytes:
    """`data` as uuencode writes it."""
    lines = b"".join(binascii.b2a_uu(data[i : i + 45], backtick=True) for i in range(0, len(data), 45))
    return b"begin " + mode + b" " + name + b"\n" + lines + end


def _uuencoded() -> Iterator[tuple[int, str, bytes]]:
    coded = uuencode(EXE, b"papers.bin")
    yield 30, "uu/bytes", b"Hello,\n\n" + coded
    yield 30, "uu/name", uuencode(b"echo good morning, this is a script\n", b"run.bat")
    yield 30, "uu/no-end", uuencode(EXE, b"papers.bin", end=b"")
    yield 30, "uu/mode-4", uuencode(EXE, b"papers.bin", b"0755")
    yield 30, "uu/crlf", coded.replace(b"\n", b"\r\n")
    yield 30, "uu/two", uuencode(b"hello there", b"a.txt") + coded
    yield 30, "uu/name-with-spaces", uuencode(b"hello there, this is text", b"my file.exe")
    yield 30, "uu/no-mode", coded.replace(b"begin 644 ", b"begin  ")
    yield 30, "uu/checksums", coded.replace(b"`\nend", b"`\nend").replace(b"\nM", b"\nM", 1)
    bad = coded.split(b"\n")
    yield 30, "uu/bad-length", b"\n".join([bad[0], b"@" + bad[1][1:], *bad[2:]])
    base64 = b"begin-base64 644 run.exe\n" + base64_lines(EXE) + b"====\n"
    yield 30, "uu/base64", base64


def yenc(data: bytes, name: bytes) -> bytes:
    """`data` as yEnc writes it, in lines of 128."""
    out, line = bytearray(), 0
    for byte in data:
        value = (byte + 42) & 255
        if value in b"\0\n\r=":
            out += b"="
            value = (value + 64) & 255
        out.append(value)
        line += 1
        if line == 128:
            out += b"\n"
            line = 0
    return b"=ybegin line=128 size=%d name=%s\n%s\n=yend size=%d\n" % (len(data), name, out, len(data))


def _yenc() -> Iterator[tuple[int, str, bytes]]:
    yield 31, "yenc/bytes", b"here it is\n" + yenc(EXE, b"papers.bin")
    yield 31, "yenc/name", yenc(b"good morning", b"run.exe")
    yield 31, "yenc/no-end", yenc(EXE, b"papers.bin").partition(b"=yend")[0]
    part = yenc(EXE, b"papers.bin").replace(b"line=128", b"part=1 total=1 line=128")
    head, _, rest = part.partition(b"\n")
    yield 31, "yenc/part", head + b"\n=ypart begin=1 end=400\n" + rest


_BINHEX = b"!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def binhex(name: bytes, data: bytes, resource: bytes = b"") -> bytes:
    """A BinHex 4.0 file; checksums are left zero, which no reader refuses to save."""
    raw = bytes((len(name),)) + name + b"\0TEXTttxt\0\0"
    raw += len(data).to_bytes(4, "big") + len(resource).to_bytes(4, "big") + b"\0\0"
    raw += data + b"\0\0" + resource + b"\0\0"
    packed = raw.replace(b"\x90", b"\x90\0")
    text = binascii.b2a_base64(packed, newline=False).rstrip(b"=").translate(bytes.maketrans(_BASE64, _BINHEX))
    lines = b"\n".join((b":" + text + b":")[i : i + 64] for i in range(0, len(text) + 2, 64))
    return b"(This file must be converted with BinHex 4.0)\n\n" + lines + b"\n"


def _binhex() -> Iterator[tuple[int, str, bytes]]:
    yield 32, "binhex/bytes", binhex(b"papers.bin", EXE)
    yield 32, "binhex/name", binhex(b"run.exe", b"good morning")
    yield 32, "binhex/resource", binhex(b"papers", b"text", EXE)
    yield 32, "binhex/after-text", b"Hello,\n" + binhex(b"papers.bin", EXE, b"rsrc")


def _markup() -> Iterator[tuple[int, str, bytes, bytes]]:
    url = b"data:application/x-msdownload;base64," + binascii.b2a_base64(EXE, newline=False)
    link = b'<html><body><a download="run.exe" href="' + url + b'">here</a></body></html>'
    bare = b'<html><body><a href="' + url + b'">here</a></body></html>'
    smuggling = (
        b"<html><script>var b=atob('aGVsbG8=');var u=new Uint8Array(b.length);"
        b"var a=document.createElement('a');a.href=URL.createObjectURL(new Blob([u]));a.download='x.iso';a.click();"
        b"</script></html>"
    )
    yield 33, "data-url", bare, b"utf-8"
    yield 33, "data-url/named", link, b"utf-8"
    yield 33, "data-url/upper", bare.replace(b"data:", b"DATA:").replace(b";base64", b";BASE64"), b"utf-8"
    yield 33, "data-url/entity", bare.replace(b"data:", b"d&#97;ta&#x3a;").replace(b"base64", b"b&#x61;se64"), b"utf-8"
    yield 33, "data-url/percent", bare.replace(b"+", b"%2B").replace(b"/", b"%2F", 0), b"utf-8"
    raw = b'<html><iframe src="data:application/octet-stream,' + b"".join(b"%%%02X" % c for c in EXE) + b'"></html>'
    yield 33, "data-url/not-base64", raw, b"utf-8"
    yield 33, "smuggling", smuggling, b"utf-8"
    yield (
        33,
        "smuggling/literal",
        b"<html><script>var x='" + binascii.b2a_base64(EXE)[:-1] + b"'</script></html>",
        b"utf-8",
    )
    for charset in ("utf-16", "utf-16-le", "utf-16-be", "utf-7"):
        label = charset.replace("-le", "le").replace("-be", "be").encode()
        for name, document in (("data-url", bare), ("smuggling", smuggling)):
            text = document.decode("ascii")
            coded = utf7(text) if charset == "utf-7" else text.encode(charset)
            yield 34, f"{charset}/{name}", coded, label


def utf7(text: str) -> bytes:
    """`text` in UTF-7 with every `<` and `>` hidden."""
    return text.replace("+", "+-").replace("<", "+ADw-").replace(">", "+AD4-").encode("ascii")


def _svg() -> Iterator[Case]:
    head = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    for name, inner in {
        "script": b"<script>alert(1)</script>",
        "onload": b'<rect onload="alert(1)"/>',
        "href": b'<a href="javascript:alert(1)"><text>x</text></a>',
        "foreign": b"<foreignObject><iframe/></foreignObject>",
    }.items():
        svg = head + inner + b"</svg>"
        typed = b"Content-Type: image/svg+xml\nContent-Transfer-Encoding: base64\n\n" + base64_lines(svg)
        yield Case(f"encoding/svg/{name}", 33, multipart(TEXT, typed), POLICY)
        file = b'Content-Type: application/octet-stream; name="logo.svg"\n\n' + svg + b"\n"
        yield Case(f"encoding/svg-file/{name}", 33, multipart(TEXT, file), POLICY)
