"""Writers of document formats for the corpus: OLE2, OOXML, OpenDocument, RTF, PDF, TNEF, OneNote, Outlook messages."""

from __future__ import annotations

import base64
import hashlib
import itertools
import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence

from gatescan.unpack.ciphers import aes_cbc

from tests.corpus.packers import File, ZipMember, zip_bytes

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
MSI_CLASS = uuid.UUID("000c1084-0000-0000-c000-000000000046").bytes_le


def ole_bytes(streams: Mapping[str, bytes], class_id: bytes = bytes(16)) -> bytes:
    """A compound file; keys are paths with `/` between storages. Streams are padded to 4096 bytes."""
    nodes: list[tuple[str, int, bytes, list[int]]] = [("Root Entry", 5, b"", [])]
    places: dict[str, int] = {"": 0}
    for path, data in streams.items():
        *folders, name = path.split("/")
        parent = ""
        for folder in folders:
            where = f"{parent}/{folder}"
            if where not in places:
                places[where] = len(nodes)
                nodes[places[parent]][3].append(len(nodes))
                nodes.append((folder, 1, b"", []))
            parent = where
        nodes[places[parent]][3].append(len(nodes))
        nodes.append((name, 2, data.ljust(4096, b"\x00"), []))
    directory_sectors = -(-len(nodes) // 4)
    chains: list[int] = []
    starts: list[int] = []
    content = b""
    place = 1 + directory_sectors
    for _, _, data, _ in nodes:
        count = -(-len(data) // 512)
        starts.append(place if count else _END)
        chains += [*range(place + 1, place + count), _END][: count or 0]
        content += data.ljust(count * 512, b"\x00")
        place += count
    fat = [_FAT, *range(2, 1 + directory_sectors), _END, *chains]
    if len(fat) > 128:
        raise ValueError("too much for one FAT sector")
    siblings: dict[int, int] = {}
    for _, _, _, children in nodes:
        siblings |= dict(itertools.pairwise(children))
    directory = b"".join(
        _ole_entry(node, starts[i], siblings.get(i, _FREE), class_id if not i else bytes(16))
        for i, node in enumerate(nodes)
    )
    header = struct.pack("<8s16sHHHHH6sLLLLLLLLLL", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 62, 3, 0xFFFE, 9, 6, b"",
                         0, 1, 1, 0, 4096, _END, 0, _END, 0, 0)  # a header's fields, in a row # fmt: skip
    table = struct.pack(f"<{len(fat)}L", *fat).ljust(512, b"\xff")
    return header.ljust(512, b"\xff") + table + directory.ljust(directory_sectors * 512, b"\x00") + content


def _ole_entry(node: tuple[str, int, bytes, list[int]], start: int, right: int, class_id: bytes) -> bytes:
    name, kind, data, children = node
    raw = name.encode("utf-16-le")
    child = children[0] if children else _FREE
    return struct.pack(
        "<64sHBBLLL16sL8s8sLQ", raw, len(raw) + 2, kind, 1, _FREE, right, child, class_id, 0, b"", b"", start, len(data)
    )


def ole_package(name: str, data: bytes) -> bytes:
    """An Ole10Native stream with a packed file."""
    raw = name.encode("latin-1", "replace") + b"\x00"
    path = b"C:\\Temp\\" + raw
    body = b"\x02\x00" + raw + path + b"\x00\x00\x03\x00" + struct.pack("<L", len(path)) + path
    body += struct.pack("<L", len(data)) + data
    return struct.pack("<L", len(body)) + body


def ole_shortcut(target: str) -> bytes:
    """An Ole10Native stream of a package that is a shortcut: it names a program and holds no bytes of it."""
    raw = target.encode("latin-1") + b"\x00"
    body = b"\x02\x00" + raw.rpartition(b"\\")[2] + raw + b"\x00\x00\x01\x00\x01\x00" + raw
    return struct.pack("<L", len(body)) + body


def xls_workbook(macro_sheet: bool = False, locked: bool = False, dde: bool = False) -> bytes:
    """The records that begin a Workbook stream."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<HH", kind, len(body)) + body

    out = record(0x809, struct.pack("<HHHHLL", 0x600, 5, 0, 0, 0, 0))
    if locked:
        out += record(0x2F, struct.pack("<HHH", 1, 1, 1) + bytes(48))
    out += record(0x85, struct.pack("<LBBBB", 100, 0, 1 if macro_sheet else 0, 6, 0) + b"Sheet1")
    if dde:
        path = b"cmd\x03/c calc"
        out += record(0x1AE, struct.pack("<HHB", 1, len(path), 0) + path)
        out += record(0x23, struct.pack("<HLBB", 0, 0, 2, 0) + b"A0")
    return out + record(0x0A, b"")


def locked_workbook(password: str = "VelvetSweatshop", macro_sheet: bool = False) -> bytes:
    """A Workbook stream under RC4 (MS-OFFCRYPTO 2.3.6), by default with the password that Excel tries by itself."""
    salt, verifier = bytes(range(16)), bytes(range(50, 66))
    start = hashlib.md5(password.encode("utf-16-le")).digest()[:5]
    root = hashlib.md5((start + salt) * 16).digest()[:5]
    key = hashlib.md5(root + bytes(4)).digest()
    proof = rc4(key, verifier + hashlib.md5(verifier).digest())
    out = struct.pack("<HHHHHHLL", 0x809, 16, 0x600, 5, 0, 0, 0, 0)
    out += struct.pack("<HHHHH", 0x2F, 54, 1, 1, 1) + salt + proof
    sheet = struct.pack("<LBBBB", 100, 0, 1 if macro_sheet else 0, 6, 0) + b"Sheet1"
    place = len(out) + 4
    return out + struct.pack("<HH", 0x85, len(sheet)) + rc4(key, bytes(place) + sheet)[place:] + b"\x0a\x00\x00\x00"


def locked_office(content: bytes, password: str = "VelvetSweatshop") -> bytes:
    """A document under agile encryption (MS-OFFCRYPTO 2.3.4.10)."""
    salt, secret, proof = bytes(range(16)), bytes(range(100, 116)), bytes(range(7, 23))
    digest = hashlib.sha1(salt + password.encode("utf-16-le")).digest()
    for number in range(1000):
        digest = hashlib.sha1(struct.pack("<L", number) + digest).digest()

    def sealed(block: str, data: bytes) -> str:
        key = hashlib.sha1(digest + bytes.fromhex(block)).digest()[:16]
        return base64_text(aes_cbc(key, salt, data.ljust(-(-len(data) // 16) * 16, b"\x00"), True))

    package = struct.pack("<Q", len(content))
    for number, start in enumerate(range(0, len(content), 4096)):
        piece = content[start : start + 4096]
        vector = hashlib.sha1(salt + struct.pack("<L", number)).digest()[:16]
        package += aes_cbc(secret, vector, piece.ljust(-(-len(piece) // 16) * 16, b"\x00"), True)
    shape = f'saltSize="16" blockSize="16" keyBits="128" cipherAlgorithm="AES" saltValue="{base64_text(salt)}"'
    kind = 'cipherChaining="ChainingModeCBC" hashAlgorithm="SHA1" hashSize="20"'
    info = (
        f'<encryption><keyData {shape} {kind}/><keyEncryptors><p:encryptedKey spinCount="1000" {shape} {kind}'
        f' encryptedVerifierHashInput="{sealed("fea7d2763b4b9e79", proof)}"'
        f' encryptedVerifierHashValue="{sealed("d7aa0f6d3061344e", hashlib.sha1(proof).digest())}"'
        f' encryptedKeyValue="{sealed("146e0be7abacd0d6", secret)}"/></keyEncryptors></encryption>'
    )
    return ole_bytes({"EncryptionInfo": struct.pack("<HHL", 4, 4, 64) + info.encode(), "EncryptedPackage": package})


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


FIELD_BEGIN = '<w:r><w:fldChar w:fldCharType="begin"/></w:r>'
FIELD_END = '<w:r><w:fldChar w:fldCharType="end"/></w:r>'


def instruction(text: str) -> str:
    return f"<w:r><w:instrText>{text}</w:instrText></w:r>"


def word_field(*runs: str) -> str:
    """A field whose instruction stands in these runs."""
    return FIELD_BEGIN + "".join(map(instruction, runs)) + FIELD_END


def flat_part(name: str, content: bytes | str) -> str:
    """A part of a Flat OPC document: base64 for bytes, else XML."""
    body = "<pkg:xmlData>" + ("" if isinstance(content, bytes) else content) + "</pkg:xmlData>"
    if isinstance(content, bytes):
        body = f"<pkg:binaryData>{base64_text(content)}</pkg:binaryData>"
    return f'<pkg:part pkg:name="{name}" pkg:contentType="application/octet-stream">{body}</pkg:part>'


def flat_opc(*parts: str) -> bytes:
    """A document as one XML file."""
    space = "http://schemas.microsoft.com/office/2006/xmlPackage"
    return f'<?xml version="1.0"?><pkg:package xmlns:pkg="{space}">{"".join(parts)}</pkg:package>'.encode()


def word_2003(body: str) -> bytes:
    space = "http://schemas.microsoft.com/office/word/2003/wordml"
    return f'<?xml version="1.0"?><w:wordDocument xmlns:w="{space}">{body}</w:wordDocument>'.encode()


def excel_2003(body: str) -> bytes:
    space = "urn:schemas-microsoft-com:office:spreadsheet"
    return f'<?xml version="1.0"?><Workbook xmlns="{space}" xmlns:ss="{space}">{body}</Workbook>'.encode()


def word_stream(locked: bool = False) -> bytes:
    return struct.pack("<HHHHHH", 0xA5EC, 0xC1, 0, 0x409, 0, 0x0100 if locked else 0) + bytes(1024)


def msg_bytes(files: Sequence[File]) -> bytes:
    """An Outlook message with attachments."""
    streams = {"__properties_version1.0": bytes(64), "__substg1.0_0037001F": "the papers".encode("utf-16-le")}
    for number, (name, data) in enumerate(files):
        folder = f"__attach_version1.0_#{number:08X}"
        streams[f"{folder}/__substg1.0_3707001F"] = name.encode("utf-16-le")
        streams[f"{folder}/__substg1.0_37010102"] = data
    return ole_bytes(streams)


def vba_project(code: str = "", options: str = "", folder: str = "VBA", compiled: int = 0) -> dict[str, bytes]:
    """The streams of a macro project with one module; without `code` it is what Excel writes for each sheet.

    compiled: lines of compiled form (p-code) in front of the source.
    """
    source = f'Attribute VB_Name = "Sheet1"\r\nAttribute VB_GlobalNameSpace = False\r\n{options}{code}'
    table = b"".join(struct.pack("<LHHL", 0x8000, 8, 0, 8 * line) for line in range(compiled))
    cache = (
        bytes(40) + b"\xfe\xca\x01\x00" + struct.pack("<H", compiled) + table + bytes(10) + b"\x20\x00" * 4 * compiled
    )
    names = "Sheet1".encode("utf-16-le")
    directory = struct.pack("<HLHHHH", 9, 4, 1, 0, 7, 0)[:12]
    for kind, body in ((0x19, b"Sheet1"), (0x1A, b"Sheet1"), (0x32, names), (0x31, struct.pack("<L", len(cache)))):
        directory += struct.pack("<HL", kind, len(body)) + body
    return {
        f"{folder}/dir": vba_compressed(directory),
        f"{folder}/_VBA_PROJECT": b"\xcc\x61\xff\xff\x00\x00\x00",
        f"{folder}/Sheet1": cache + vba_compressed(source.encode("cp1252")),
    }


def vba_compressed(data: bytes) -> bytes:
    """The compressed container of MS-OVBA, with literals only."""
    out = b"\x01"
    for start in range(0, len(data), 3600):
        piece = data[start : start + 3600]
        packed = b"".join(b"\x00" + piece[i : i + 8] for i in range(0, len(piece), 8))
        out += struct.pack("<H", 0xB000 | len(packed) - 1) + packed
    return out


MACRO = 'Sub AutoOpen()\r\nShell "calc"\r\nEnd Sub\r\n'


def macro_project(code: str = MACRO) -> bytes:
    """A vbaProject.bin."""
    return ole_bytes(vba_project(code))


_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/"


def ooxml_bytes(
    extra: Sequence[File | ZipMember] = (),
    relations: Sequence[tuple[str, str]] = (),
    types: str = "",
    folder: str = "word",
) -> bytes:
    """A small OOXML file. relations: (type, external target) pairs of the main part."""
    content_types = (
        f'<?xml version="1.0"?><Types xmlns="{_PACKAGE}content-types"><Default Extension="xml" '
        f'ContentType="application/xml"/>{types}</Types>'
    )
    main = "document.xml" if folder == "word" else "workbook.xml"
    links = "".join(
        f'<Relationship Id="rId{i}" Type="{_RELATIONS}{kind}" Target="{target}" TargetMode="External"/>'
        for i, (kind, target) in enumerate(relations)
    )
    members = [
        ("[Content_Types].xml", content_types.encode()),
        ("_rels/.rels", f'<Relationships xmlns="{_PACKAGE}relationships"/>'.encode()),
        (f"{folder}/{main}", b"<?xml version='1.0'?><w:document xmlns:w='x'><w:body/></w:document>"),
        (
            f"{folder}/_rels/{main}.rels",
            f'<Relationships xmlns="{_PACKAGE}relationships">{links}</Relationships>'.encode(),
        ),
        ("docProps/app.xml", b"<Properties/>"),
    ]
    return zip_bytes([*members, *extra])


def odf_bytes(
    macro: bool = False,
    locked: bool = False,
    module: str = "Sub Main\nShell x\nEnd Sub",
    extra: Sequence[File | ZipMember] = (),
) -> bytes:
    """A small OpenDocument text; module: the lines of its macro."""
    kind = "application/vnd.oasis.opendocument.text"
    lock = '<manifest:encryption-data manifest:checksum="x"/>' if locked else ""
    entries = f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/>'
    entries += f'<manifest:file-entry manifest:full-path="content.xml">{lock}</manifest:file-entry>'
    if macro:
        entries += '<manifest:file-entry manifest:full-path="Basic/Standard/Module1.xml"/>'
    members: list[ZipMember | File] = [
        ZipMember(b"mimetype", kind.encode(), method=0),
        ("content.xml", b"<office:document-content/>"),
        ("META-INF/manifest.xml", f"<manifest:manifest>{entries}</manifest:manifest>".encode()),
    ]
    if macro:
        members.append(("Basic/Standard/Module1.xml", f"<script:module>{module}</script:module>".encode()))
    return zip_bytes([*members, *extra])


def rtf_bytes(objects: Sequence[bytes] = (), before: str = "", noise: bytes = b"") -> bytes:
    """An RTF document with OLE 1.0 objects; `noise` goes between the digits."""
    body = b"".join(
        b"{\\object\\objemb{\\*\\objclass X}{\\*\\objdata " + noise.join(_pairs(item.hex().encode())) + b"}}"
        for item in objects
    )
    return b"{\\rtf1\\ansi " + before.encode() + b"Good morning.\\par " + body + b"}"


def _pairs(digits: bytes) -> list[bytes]:
    return [digits[i : i + 64] for i in range(0, len(digits), 64)]


def ole1_object(class_name: str, data: bytes, form: int = 2) -> bytes:
    def text(value: bytes) -> bytes:
        return struct.pack("<L", len(value) + 1) + value + b"\x00" if value else bytes(4)

    return (
        struct.pack("<LL", 0x501, form)
        + text(class_name.encode())
        + text(b"") * 2
        + struct.pack("<L", len(data))
        + data
    )


def pdf_bytes(
    files: Sequence[File] = (),
    launch: bool = False,
    compressed: bool = False,
    plain_streams: bool = False,
    key: str = "",
) -> bytes:
    """A PDF. compressed: everything but streams stands in an object stream; key: how `/EF` is spelled."""
    ef = key or "/EF"
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R", 2: b"<< /Type /Pages /Kids [] /Count 0 >>"}
    streams: dict[int, bytes] = {}
    names = []
    for number, (name, data) in enumerate(files):
        spec, content = 10 + 2 * number, 11 + 2 * number
        objects[spec] = f"<< /Type /Filespec /F ({name}) /UF ({name}) {ef} << /F {content} 0 R >> >>".encode(
            "latin-1", "replace"
        )
        body = data if plain_streams else zlib.compress(data)
        coding = b"" if plain_streams else b" /Filter /FlateDecode"
        streams[content] = b"<< /Length %d%s >>\nstream\n" % (len(body), coding) + body + b"\nendstream"
        names.append(f"({name}) {spec} 0 R")
    if names:
        objects[1] += f" /Names << /EmbeddedFiles << /Names [{' '.join(names)}] >> >>".encode("latin-1", "replace")
    if launch:
        objects[1] += b" /OpenAction << /S /Launch /F (cmd.exe) >>"
    objects[1] += b" >>"
    if compressed:
        numbers = b" ".join(b"%d 0" % n for n in objects)
        body = zlib.compress(numbers + b"\n" + b"\n".join(objects.values()))
        head = b"<< /Type /ObjStm /N %d /First %d /Filter /FlateDecode /Length %d >>"
        streams[90] = head % (len(objects), len(numbers) + 1, len(body)) + b"\nstream\n" + body + b"\nendstream"
        objects = {}
    out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    for number, body in {**objects, **streams}.items():
        out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    return out + b"trailer << /Root 1 0 R >>\n%%EOF\n"


def locked_pdf(user_password: bytes = b"", open_owner: bool = False) -> bytes:
    """A PDF under the standard handler, revision 3, RC4 128; with an empty password everybody may open it, be it the
    user's or the owner's (`open_owner`)."""
    pad = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
    owner, identifier, permissions = bytes(range(32)), b"0123456789abcdef", -44
    if open_owner:
        outer = pad
        for _ in range(51):
            outer = hashlib.md5(outer).digest()
        owner = (user_password + pad)[:32]
        for step in range(20):
            owner = rc4(bytes(byte ^ step for byte in outer), owner)
    key = hashlib.md5(
        (user_password + pad)[:32] + owner + (permissions & 0xFFFFFFFF).to_bytes(4, "little") + identifier
    ).digest()
    for _ in range(50):
        key = hashlib.md5(key).digest()
    check = hashlib.md5(pad + identifier).digest()
    for step in range(20):
        check = rc4(bytes(byte ^ step for byte in key), check)
    user = check.hex() + "00" * 16
    lock = f"<< /Filter /Standard /V 2 /R 3 /Length 128 /P {permissions} /O <{owner.hex()}> /U <{user}> >>"
    out = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    out += b"2 0 obj\n<< /Type /Pages /Kids [] /Count 0 >>\nendobj\n"
    out += b"3 0 obj\n" + lock.encode() + b"\nendobj\n"
    return (
        out
        + f"trailer << /Root 1 0 R /Encrypt 3 0 R /ID [<{identifier.hex()}> <{identifier.hex()}>] >>\n%%EOF\n".encode()
    )


def rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = []
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def tnef_bytes(files: Sequence[File], html: bytes = b"", by_property: bool = False) -> bytes:
    """A winmail.dat; by_property: name and data stand in MAPI properties, not in attributes of their own."""
    out = struct.pack("<LH", 0x223E9F78, 1) + _tnef(1, 0x00089006, struct.pack("<L", 0x10000))
    if html:
        out += _tnef(1, 0x00069003, _mapi([(0x0102, 0x1013, html)]))
    for name, data in files:
        out += _tnef(2, 0x00069002, bytes(14))
        if by_property:
            values = [(0x001F, 0x3707, f"{name}\x00".encode("utf-16-le")), (0x0102, 0x3701, data)]
            out += _tnef(2, 0x00069005, _mapi(values))
        else:
            out += _tnef(2, 0x00018010, name.encode("cp1252", "replace") + b"\x00") + _tnef(2, 0x0006800F, data)
    return out


def _tnef(level: int, attribute: int, value: bytes) -> bytes:
    return struct.pack("<BLL", level, attribute, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def _mapi(values: Sequence[tuple[int, int, bytes]]) -> bytes:
    out = struct.pack("<L", len(values))
    for kind, tag, value in values:
        out += struct.pack("<HHLL", kind, tag, 1, len(value)) + value + bytes(-len(value) % 4)
    return out


def onenote_bytes(files: Sequence[File]) -> bytes:
    out = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(1008)
    for name, data in files:
        out += f"{name}\x00".encode("utf-16-le") + bytes(16)
        out += bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac") + struct.pack("<QLQ", len(data), 0, 0) + data
    return out + bytes(64)
