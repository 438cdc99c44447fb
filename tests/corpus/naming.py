"""Classes 35 to 50: names that only some readers see, and names that are dangerous in themselves."""

from __future__ import annotations

from collections.abc import Iterator

from gatescan.model import Verdict

from tests.corpus.case import EXE, TEXT, Case, base64_lines, file_entity, multipart

POLICY, AMBIGUOUS = Verdict.POLICY, Verdict.AMBIGUOUS

CONTENT = base64_lines(b"good morning, this is only text\n")
"""Harmless in itself, so that the name alone must do."""

EXTENSIONS = (b"exe", b"vbs", b"scr")


def cases() -> Iterator[Case]:
    """Every case of these classes."""
    for extension in EXTENSIONS:
        for cls, name, fields in _fields(extension):
            suffix = extension.decode()
            yield Case(f"name/{name}/{suffix}", cls, multipart(TEXT, with_fields(fields)), POLICY)
    for cls, name, fields, verdict in _dangerous():
        yield Case(f"name/{name}", cls, multipart(TEXT, with_fields(fields)), verdict)
    for name, content_type in {"image": b"image/png", "text": b"text/plain", "pdf": b"application/pdf"}.items():
        yield Case(f"name/typed/{name}", 49, multipart(TEXT, file_entity(b"x.exe", b"text", content_type)), POLICY)
        bare = b"Content-Type: " + content_type + b"\nContent-Transfer-Encoding: base64\n\n" + base64_lines(EXE)
        yield Case(f"name/none/{name}", 49, multipart(TEXT, bare), POLICY)
    bare = b"Content-Transfer-Encoding: base64\n\n" + base64_lines(EXE)
    yield Case("name/none/no-type", 49, multipart(TEXT, bare), POLICY)


def with_fields(fields: bytes) -> bytes:
    """An attachment with these header fields and a harmless content."""
    return fields + b"Content-Transfer-Encoding: base64\n\n" + CONTENT


def disposition(parameters: bytes) -> bytes:
    """Header fields of an attachment with these parameters in its Content-Disposition."""
    return b"Content-Type: application/octet-stream\nContent-Disposition: attachment; " + parameters + b"\n"


def named(name: str | bytes) -> bytes:
    """Header fields of an attachment whose filename is `name`, raw and quoted."""
    raw = name.encode() if isinstance(name, str) else name
    return disposition(b'filename="' + raw + b'"')


def _fields(x: bytes) -> Iterator[tuple[int, str, bytes]]:
    d = disposition
    yield 35, "both/type-only", b'Content-Type: application/octet-stream; name="a.' + x + b'"\n'
    both = b'Content-Type: text/plain; name="%s"\nContent-Disposition: attachment; filename="%s"\n'
    yield 35, "both/disposition", both % (b"a.txt", b"a." + x)
    yield 35, "both/type", both % (b"a." + x, b"a.txt")
    yield 35, "both/no-disposition-type", b'Content-Disposition: filename="a.' + x + b'"\n'
    yield 35, "both/name-in-disposition", d(b'name="a.' + x + b'"')
    yield 35, "both/filename-in-type", b'Content-Type: text/plain; filename="a.' + x + b'"\n'
    yield 2, "two-dispositions", d(b"filename=a.txt") + b"Content-Disposition: attachment; filename=a." + x + b"\n"
    yield 36, "two/plain-last", d(b"filename=a.txt; filename=a." + x)
    yield 36, "two/plain-first", d(b"filename=a." + x + b"; filename=a.txt")
    yield 36, "two/extended", d(b"filename=a.txt; filename*=utf-8''a." + x)
    yield 36, "two/plain-beside-extended", d(b"filename=a." + x + b"; filename*=utf-8''a.txt")
    yield 36, "two/case", d(b"FileName=a.txt; FILENAME=a." + x)
    yield 37, "language/tag", d(b"filename*=utf-8'en-US'payload." + x)
    yield 37, "language/in-plain", d(b"filename=\"utf-8'en'payload." + x + b'"')
    yield 37, "language/no-quotes", d(b"filename*=payload." + x)
    yield 37, "language/unknown-charset", d(b"filename*=x-none''payload." + x)
    yield 37, "language/percent", d(b"filename*=utf-8''payload%2E" + x)
    yield 38, "sections/ordered", d(b'filename*0="pay"; filename*1="load.' + x + b'"')
    yield 38, "sections/reversed", d(b'filename*1="load.' + x + b'"; filename*0="pay"')
    yield 38, "sections/gap", d(b'filename*0="pay"; filename*2="load.' + x + b'"')
    yield 38, "sections/from-one", d(b'filename*1="pay"; filename*2="load.' + x + b'"')
    yield 38, "sections/mixed", d(b"filename*0*=utf-8''p%61y; filename*1=\"load." + x + b'"')
    yield 38, "sections/repeated", d(b'filename*0="a.txt"; filename*0="a."; filename*1="' + x + b'"')
    yield (
        38,
        "sections/split-extension",
        d(b'filename*0="a."; filename*1="' + x[:1] + b'"; filename*2="' + x[1:] + b'"'),
    )
    yield 38, "sections/folded", d(b'filename*0="pay";\n filename*1="load.' + x + b'"')
    yield 38, "folded/in-quotes", d(b'filename="pay\n load.' + x + b'"')
    yield 38, "folded/in-extension", d(b'filename="payload.' + x[:1] + b"\n\t" + x[1:] + b'"')
    yield (
        38,
        "folded/before-extension",
        d(b'filename="payload\n ."\n "' + x + b'"') + b"X: y." + x + b"\n" + named(b"a." + x),
    )
    yield 39, "words/quoted-printable", named(b"=?utf-8?q?a=2E" + x + b"?=")
    yield 39, "words/base64", named(b"=?utf-8?b?YS4=?= =?utf-8?q?" + x + b"?=")
    yield 39, "words/unquoted", d(b"filename==?utf-8?q?a=2E" + x + b"?=")
    yield 39, "words/split-character", named(b"=?utf-8?q?=E2=82?= =?utf-8?q?=AC." + x + b"?=")
    yield 39, "words/extension-outside", named(b"=?utf-8?q?a?=." + x)
    yield 39, "words/slash", named(b"=?utf-8?q?..=2Fa=2E" + x + b"?=")
    yield 39, "words/not-closed", named(b"=?utf-8?q?a=2E" + x)
    yield 39, "words/language", named(b"=?utf-8*en?q?a=2E" + x + b"?=")
    yield 39, "words/unknown-charset", named(b"=?x-none?q?a=2E" + x + b"?=")
    for what, tail in {
        "dots": b". . ",
        "dot": b".",
        "space": b" ",
        "tab": b"\t",
        "many": b" .. . ..",
        "nbsp": b"\xc2\xa0",
    }.items():
        yield 40, f"trailing/{what}", named(b"a." + x + tail)
    yield 40, "leading/dots", named(b" ..a." + x)
    yield 40, "leading/only-extension", named(b"." + x)
    yield 41, "stream/data", named(b"a." + x + b"::$DATA")
    yield 41, "stream/name", named(b"a." + x + b":zone.txt")
    yield 41, "stream/hidden", named(b"a.txt:b." + x)
    yield 43, "padded/spaces", named(b"a.jpg" + b" " * 150 + b"." + x)
    yield 43, "padded/underscores", named(b"a.jpg" + b"_" * 150 + b"." + x)
    yield 43, "long/300", named(b"a" * 300 + b"." + x)
    yield 43, "long/cut", named(b"a" * 251 + b"." + x + b".txt" + b"b" * 50)
    text = x.decode()
    yield 44, "direction/override", named(f"invoice\u202e{'gpj.' + text}")
    yield 44, "direction/in-extension", named(f"invoice.\u202d{text}")
    yield 44, "direction/isolate", named(f"a.\u2066{text}\u2069")
    wide = "".join(chr(ord(c) + 0xFEE0) for c in text)
    yield 45, "unicode/full-width", named(f"a\uff0e{wide}")
    yield 45, "unicode/wide-letters", named(f"a.{wide}")
    yield 45, "unicode/joiner", named(f"a.{text[0]}\u200d{text[1:]}")
    yield 45, "unicode/zero-width", named(f"a.\u200b{text}\ufeff")
    yield 45, "unicode/soft-hyphen", named(f"a.{text[0]}\xad{text[1:]}")
    yield 45, "unicode/nfd", named(f"re\u0301sume\u0301.{text}")
    yield 45, "unicode/dot-leader", named(f"a\u2024{text}")
    yield 45, "unicode/upper", named(f"A.{text.upper()}")
    yield 46, "raw/latin-1", named(b"r\xe9sum\xe9." + x)
    yield 46, "raw/shift-jis", named(b"\x83\x5c\x83\x74\x83\x67." + x)
    yield 46, "raw/shift-jis-end", d(b'filename="\x95\x5c"; x="a.' + x + b'"; filename="b.' + x + b'"')
    yield 46, "raw/utf-8", named("ünïcode." + text)
    yield 46, "raw/gb18030", named("文件.".encode("gb18030") + x)
    yield 47, "path/up", named(b"../../etc/a." + x)
    yield 47, "path/windows", named(b"C:\\\\temp\\\\a." + x)
    yield 47, "path/drive", named(b"C:a." + x)
    yield 49, "double/pdf", named(b"invoice.pdf." + x)
    yield 49, "double/many", named(b"a.b.c.doc.txt." + x)
    yield 50, "coded/percent", named(b"a%2E" + x)
    yield 50, "coded/percent-letter", named(b"a.%" + b"%02x" % x[0] + x[1:])
    yield 50, "coded/entity", named(b"a&#46;" + x)
    yield 50, "coded/entity-hex", named(b"a&#x2e;" + x)
    yield 50, "coded/entity-name", named(b"a&period;" + x)
    yield 50, "coded/semicolon", named(b"a." + x + b";.txt")
    yield 50, "coded/semicolon-unquoted", d(b"filename=a." + x + b";.txt")
    yield 50, "coded/quotes", d(b'filename="\\"a.' + x + b'\\""')
    yield 50, "coded/backslash", d(b'filename="a\\.' + x + b'"')
    yield 50, "coded/single-quotes", d(b"filename='a." + x + b"'")
    yield 50, "coded/unquoted-spaces", d(b"filename=my holiday photo." + x)
    yield 50, "coded/unclosed", d(b'filename="a.' + x)
    yield 50, "coded/nul", named(b"a." + x + b"\0.txt")
    yield 7, "illegal-parameter", d(b"x:y=1; \xe4=2; filename=a." + x)
    yield 8, "comment", d(b"filename((c))=a." + x)
    yield 9, "no-semicolon", b"Content-Disposition: attachment filename=a." + x + b"\n"
    yield 18, "nul-in-parameter", d(b"file\0name=a.txt; filename=a." + x)


def _dangerous() -> Iterator[tuple[int, str, bytes, Verdict]]:
    for what, clsid in {
        "hta": "3050F4D8-98B5-11CF-BB82-00AA00BDCE0B",
        "vbs": "B54F3741-5B07-11CF-A4B0-00AA004A55E8",
        "shell": "20d04fe0-3aea-1069-a2d8-08002b30309d",
    }.items():
        yield 42, f"clsid/{what}", named(f"a.txt.{{{clsid}}}"), POLICY
        yield 42, f"clsid/bare-{what}", named(f"a.{{{clsid}}}"), POLICY
    yield 43, "too-long", named(b"a" * 300 + b".txt"), POLICY
    yield 43, "too-long/no-extension", named(b"a" * 3000), POLICY
    yield 43, "padded/txt", named(b"a.jpg" + b" " * 150 + b".dat"), POLICY
    yield 44, "direction/harmless", named("invoice\u202efdp.doc"), AMBIGUOUS
    for what, name in {
        "up": "../../etc/passwd", "up-windows": "..\\\\..\\\\boot.ini",
        "inner": "a/../../b.txt", "encoded": "..%2f..%2fa.txt", "device": "CON",
        "lpt": "LPT1", "option": "-rf", "long-option": "--output", "pipe": "|id", "backticks": "a`id`.txt",
        "dollar": "a$(id).txt",
    }.items():  # short cases, many a line # fmt: skip
        yield 47, f"made-for/{what}", named(name), POLICY
    yield 18, "nul", named(b"a.txt\0b"), AMBIGUOUS
