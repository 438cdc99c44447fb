"""Classes 51 to 66 of the corpus: archives and documents, hostile and harmless.

Each function yields the cases of one class; `cases()` yields them all, always the same ones.
"""

from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence

from gatescan.model import Verdict

from tests.corpus import documents as doc
from tests.corpus import packers as pack
from tests.corpus.case import EXE, HARMLESS, Case, attached
from tests.corpus.packers import File, ZipMember

POLICY, ENCRYPTED, AMBIGUOUS, LIMIT = Verdict.POLICY, Verdict.ENCRYPTED, Verdict.AMBIGUOUS, Verdict.LIMIT
PAPER: File = ("minutes.txt", b"Minutes of the meeting, page 1.\nAll were present.\n" * 20)
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    + bytes(64)
)
PROGRAM: File = ("run.exe", EXE)
DISGUISED: File = ("agenda.txt", EXE)
SCRIPT: File = ("minutes.vbs", b'MsgBox "hello"\n')
PE = EXE[:60] + struct.pack("<L", 64) + b"PE\x00\x00" + EXE[68:]
Packer = Callable[[Sequence[File]], bytes]

PACKERS: dict[str, tuple[Packer, bytes]] = {
    "zip": (pack.zip_bytes, b"application/zip"),
    "tar": (pack.tar_bytes, b"application/x-tar"),
    "tar.gz": (lambda files: pack.gzip_bytes(pack.tar_bytes(files)), b"application/gzip"),
    "tar.bz2": (lambda files: pack.bzip2_bytes(pack.tar_bytes(files)), b"application/x-bzip2"),
    "tar.xz": (lambda files: pack.xz_bytes(pack.tar_bytes(files)), b"application/x-xz"),
    "tar.lzma": (lambda files: pack.lzma_bytes(pack.tar_bytes(files)), b"application/x-lzma"),
    "tar.zst": (lambda files: pack.zstd_bytes(pack.tar_bytes(files)), b"application/zstd"),
    "7z": (pack.seven_zip_bytes, b"application/x-7z-compressed"),
    "rar": (pack.rar4_bytes, b"application/vnd.rar"),
    "rar5.rar": (pack.rar5_bytes, b"application/x-rar-compressed"),
    "cab": (pack.cab_bytes, b"application/vnd.ms-cab-compressed"),
    "lzh": (pack.lzh_bytes, b"application/x-lzh-compressed"),
    "iso": (pack.iso_bytes, b"application/x-iso9660-image"),
    "cpio": (pack.cpio_bytes, b"application/x-cpio"),
    "ar": (pack.ar_bytes, b"application/x-archive"),
    "deb": (pack.deb_bytes, b"application/vnd.debian.binary-package"),
    "rpm": (pack.rpm_bytes, b"application/x-rpm"),
    "dat": (doc.tnef_bytes, b"application/ms-tnef"),
    "msg": (doc.msg_bytes, b"application/vnd.ms-outlook"),
    "one": (doc.onenote_bytes, b"application/onenote"),
    "pdf": (doc.pdf_bytes, b"application/pdf"),
}
"""Suffix: a writer of it, and its media type."""


def cases() -> Iterator[Case]:
    """All cases about archives and documents, in a fixed order."""
    for source in (
        _zip_headers, _polyglots, _damaged_zips, _locked, _bombs, _nested, _depth, _volumes, _disguised, _links,
        _everywhere, _odd_names, _unknown_containers, _office, _pdf, _self_extracting, _harmless,
    ):  # names, many a line # fmt: skip
        yield from source()


def _case(cls: int, name: str, file_name: str, data: bytes, expected: Verdict, kind: bytes = b"") -> Case:
    message = attached(file_name.encode(), data, kind or b"application/octet-stream")
    return Case(f"archive/{name}", cls, message, expected)


def _zip_headers() -> Iterator[Case]:
    """51: the two headers of a member disagree."""
    for local, listed, what in (
        (b"run.exe", b"minutes.txt", "program-in-local"),
        (b"minutes.txt", b"run.exe", "program-in-directory"),
        (b"a.vbs", b"a.doc", "script-in-local"),
        (b"x/minutes.scr", b"x/minutes.txt", "saver-in-local"),
    ):
        data = pack.zip_bytes([ZipMember(listed, PAPER[1], local_name=local)])
        yield _case(51, f"zip-names/{what}", "papers.zip", data, POLICY)
    for local, listed in ((b"one.txt", b"two.txt"), (b"minutes.pdf", b"minutes.txt"), (b"a", b"b")):
        data = pack.zip_bytes([ZipMember(listed, PAPER[1], local_name=local)])
        yield _case(51, f"zip-names/harmless-{listed.decode()}", "papers.zip", data, AMBIGUOUS)
    hidden = ZipMember(b"hidden.txt", PAPER[1], listed=False)
    yield _case(51, "zip-hidden/text", "papers.zip", pack.zip_bytes([PAPER, hidden]), AMBIGUOUS)
    program = ZipMember(b"hidden.txt", EXE, listed=False)
    yield _case(51, "zip-hidden/program", "papers.zip", pack.zip_bytes([PAPER, program]), POLICY)
    stored = ZipMember(b"a.txt", b"x" * 500, local_method=0)
    yield _case(51, "zip-methods/stored-or-deflated", "papers.zip", pack.zip_bytes([stored]), AMBIGUOUS)
    flag = ZipMember(b"a.txt", PAPER[1], local_flags=1)
    yield _case(51, "zip-flags/locked-in-local", "papers.zip", pack.zip_bytes([flag]), AMBIGUOUS)
    flag = ZipMember(b"a.txt", EXE, flags=1, local_flags=0)
    yield _case(51, "zip-flags/locked-in-directory", "papers.zip", pack.zip_bytes([flag]), POLICY)


def _polyglots() -> Iterator[Case]:
    """52: two things at once, and what stands around an archive."""
    clean, bad = pack.zip_bytes([PAPER]), pack.zip_bytes([PROGRAM])
    for front, name in ((PNG, "logo.png"), (doc.pdf_bytes(), "paper.pdf"), (b"GIF89a" + bytes(60), "logo.gif")):
        yield _case(52, f"zip-behind/{name}-program", name, front + bad, POLICY)
        yield _case(52, f"zip-behind/{name}-text", name, front + clean, AMBIGUOUS)
    script = [("run.vbs", b'MsgBox "hello"\n'), PAPER]
    for kind, pack_it in (
        ("rar", pack.rar4_bytes),
        ("rar", pack.rar5_bytes),
        ("7z", pack.seven_zip_bytes),
        ("cab", pack.cab_bytes),
    ):
        what = f"{pack_it.__name__.removesuffix('_bytes')}-behind"
        for front in (
            b"junk" * 9,
            PNG,
            b"%PDF-1.4\n%%EOF\n",
            b"PK\x03\x04",
            doc.ole_bytes({"WordDocument": doc.word_stream()}),
        ):
            yield _case(52, f"{what}/{front[:4].hex()}.{kind}", f"papers.{kind}", front + pack_it(script), POLICY)
        yield _case(52, f"{what}/picture", "logo.png", PNG + pack_it(script), POLICY)
        yield _case(52, f"{what}/picture-text", "logo.png", PNG + pack_it([PAPER]), AMBIGUOUS)
    for what, program in (("dos", EXE), ("pe", PE)):
        yield _case(52, f"zip-behind/{what}", "papers.zip", program + clean, POLICY)
    yield _case(52, "zip-two-ends/program-first", "papers.zip", bad + clean, POLICY)
    yield _case(52, "zip-two-ends/program-last", "papers.zip", clean + bad, POLICY)
    yield _case(52, "zip-two-ends/texts", "papers.zip", clean + pack.zip_bytes([("b.txt", b"second\n")]), AMBIGUOUS)
    yield _case(52, "zip-two-ends/in-comment", "papers.zip", pack.zip_bytes([PROGRAM], comment=clean), POLICY)
    yield _case(52, "zip-trailing/bytes", "papers.zip", clean + b"payload" * 40, AMBIGUOUS)
    for what, files, verdict in (("text", [PAPER], AMBIGUOUS), ("program", [PROGRAM], POLICY)):
        yield _case(52, f"zip64-mismatch/{what}", "papers.zip", _zip64_mismatch(files), verdict)
    image = pack.iso_bytes([PROGRAM])
    yield _case(52, "iso-behind/png", "logo.png", PNG.ljust(32768, b"\x00") + image[32768:], POLICY)
    yield _case(52, "gzip-trailing/zip", "a.txt.gz", pack.gzip_bytes(PAPER[1]) + bad, POLICY)


def _zip64_mismatch(files: Sequence[File]) -> bytes:
    """The plain end record points to a harmless directory, the zip64 record to another."""
    first = pack.zip_bytes([("a.txt", b"first\n")])
    body, end = first[:-22], first[-22:]
    second = pack.zip_bytes(files, before=body)[:-22]
    start = second.index(b"PK\x01\x02", len(body))
    size = len(second) - start
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, len(files), len(files), size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(second), 1)
    return second + record + locator + end


def _damaged_zips() -> Iterator[Case]:
    """53: wrong checksums and sizes, odd methods, cut files."""
    for name, payload, verdict in (("text", PAPER, AMBIGUOUS), ("program", PROGRAM, POLICY)):
        raw = payload[0].encode()
        for what, member in {
            "crc": ZipMember(raw, payload[1], crc=1),
            "size": ZipMember(raw, payload[1], size=3),
            "stored-size": ZipMember(raw, payload[1], method=0, size=len(payload[1]) - 9),
            "packed": ZipMember(raw, payload[1], packed=12),
        }.items():
            yield _case(53, f"zip-damaged/{what}-{name}", "papers.zip", pack.zip_bytes([member]), verdict)
        whole = pack.zip_bytes([payload])
        yield _case(53, f"zip-cut/directory-{name}", "papers.zip", whole[: whole.index(b"PK\x01\x02")], verdict)
        stored = pack.zip_bytes([ZipMember(raw, payload[1], method=0)])
        yield _case(53, f"zip-cut/data-{name}", "papers.zip", stored[: 60 + len(payload[1]) // 2], verdict)
    for method in (1, 6, 10, 97, 200):
        member = ZipMember(b"a.txt", PAPER[1], method=method)
        yield _case(53, f"zip-method/{method}", "papers.zip", pack.zip_bytes([member]), POLICY)
    yield _case(
        53, "zip-method/99", "papers.zip", pack.zip_bytes([ZipMember(b"a.txt", PAPER[1], method=99)]), ENCRYPTED
    )
    yield _case(53, "zip-empty/marks-only", "papers.zip", b"PK\x03\x04" + bytes(40), POLICY)
    for suffix in ("7z", "rar", "cab", "rpm"):
        packer, kind = PACKERS[suffix]
        yield _case(53, f"cut/{suffix}", f"papers.{suffix}", packer([PAPER])[:60], POLICY, kind)
    yield _case(53, "cut/gzip", "a.txt.gz", pack.gzip_bytes(bytes(range(256)) * 9)[:150], AMBIGUOUS)
    yield _case(53, "cut/gzip-head", "a.txt.gz", pack.gzip_bytes(PAPER[1])[:10], POLICY)


def _locked() -> Iterator[Case]:
    """54: sealed members, beside open ones or with their names."""
    aes = b"\x06\xf1\x07\x01"
    noise = bytes(zlib.crc32(bytes((i % 251, i // 251))) & 0xFF for i in range(700))
    sealed = ZipMember(b"secret.txt", noise, method=0, flags=1)
    yield _case(54, "zip/one-beside-clear", "papers.zip", pack.zip_bytes([PAPER, sealed]), ENCRYPTED)
    yield _case(54, "zip/alone", "papers.zip", pack.zip_bytes([sealed]), ENCRYPTED)
    yield _case(
        54, "zip/listed-name", "papers.zip", pack.zip_bytes([ZipMember(b"run.exe", noise, method=0, flags=1)]), POLICY
    )
    yield _case(
        54, "zip/masked", "papers.zip", pack.zip_bytes([ZipMember(b"1", noise, method=0, flags=0x2041)]), ENCRYPTED
    )
    yield _case(54, "zip/beside-program", "papers.zip", pack.zip_bytes([DISGUISED, sealed]), POLICY)
    for what, data, verdict in (
        ("7z/content", pack.seven_zip_bytes([PAPER], aes), ENCRYPTED),
        ("7z/content-listed", pack.seven_zip_bytes([PROGRAM], aes), POLICY),
        ("7z/names", pack.seven_zip_bytes([PAPER], sealed=True), ENCRYPTED),
        ("rar/content", pack.rar4_bytes([PAPER], flags=4), ENCRYPTED),
        ("rar/content-listed", pack.rar4_bytes([PROGRAM], flags=4), POLICY),
        ("rar/names", pack.rar4_bytes([PAPER], main=0x80), ENCRYPTED),
        ("rar5/content", pack.rar5_bytes([PAPER], encrypted=True), ENCRYPTED),
        ("rar5/content-listed", pack.rar5_bytes([PROGRAM], encrypted=True), POLICY),
        ("rar5/names", pack.rar5_bytes([PAPER], sealed=True), ENCRYPTED),
    ):
        yield _case(54, what, f"papers.{what.partition('/')[0]}", data, verdict)


def _bombs() -> Iterator[Case]:
    """55: much out of little."""
    zeros = bytes(25_000_000)
    small = pack.gzip_bytes(zeros)
    yield _case(55, "bomb/gzip", "a.gz", small, LIMIT)
    yield _case(55, "bomb/gzip-twice", "a.gz.gz", pack.gzip_bytes(small), LIMIT)
    yield _case(55, "bomb/bzip2", "a.bz2", pack.bzip2_bytes(zeros), LIMIT)
    yield _case(55, "bomb/xz", "a.xz", pack.xz_bytes(zeros), LIMIT)
    yield _case(55, "bomb/overlap", "a.zip", pack.overlapping_zip(bytes(1_000_000), 400), LIMIT)
    many = pack.deflate(bytes(2_000_000))
    member = ZipMember(b"", bytes(2_000_000), raw=many)
    flat = [ZipMember(b"%d.dll.txt" % i, b"", raw=many, crc=zlib.crc32(member.data), size=2_000_000) for i in range(16)]
    layer = pack.zip_bytes(flat)
    nested = pack.zip_bytes([(f"{i}.zip", layer) for i in range(16)])
    yield _case(55, "bomb/42-shaped", "42.zip", nested, LIMIT)
    liar = ZipMember(b"a.txt", b"", raw=pack.deflate(zeros), size=10)
    yield _case(55, "bomb/zip-small-size", "a.zip", pack.zip_bytes([liar]), LIMIT)
    yield _case(55, "bomb/many-members", "a.zip", pack.zip_bytes([(f"{i}.txt", b"x") for i in range(2500)]), LIMIT)
    yield _case(55, "bomb/many-directories", "a.tar", pack.tar_bytes([_folder(i) for i in range(2500)]), LIMIT)


def _folder(number: int) -> tarfile.TarInfo:
    return pack.tar_special(f"d{number}/", tarfile.DIRTYPE)


def _nested() -> Iterator[Case]:
    """56: containers of different kinds in one another, and damaged TNEF."""
    inner = pack.zip_bytes([PROGRAM])
    tnef = doc.tnef_bytes([("papers.zip", inner)])
    yield _case(56, "tnef/zip-in-tnef-in-zip", "papers.zip", pack.zip_bytes([("winmail.dat", tnef)]), POLICY)
    yield _case(56, "tnef/zip-in-tnef", "winmail.dat", tnef, POLICY, b"application/ms-tnef")
    yield _case(56, "tnef/properties", "winmail.dat", doc.tnef_bytes([PROGRAM], by_property=True), POLICY)
    whole = doc.tnef_bytes([PAPER])
    for keep in (len(whole) - 20, len(whole) // 2, 8):
        yield _case(56, f"tnef/cut-{keep}", "winmail.dat", whole[:keep], POLICY, b"application/ms-tnef")
    broken = whole[:40] + b"\xff" * 9 + whole[49:]
    yield _case(56, "tnef/damaged", "winmail.dat", broken, POLICY, b"application/ms-tnef")
    for outer in ("7z", "iso", "rar5.rar", "cab", "msg", "one", "pdf", "deb"):
        packer, kind = PACKERS[outer]
        data = packer([("papers.zip", inner)])
        yield _case(56, f"mixed/zip-in-{outer}", f"a.{outer}", data, POLICY, kind)
        yield _case(
            56, f"mixed/{outer}-in-gzip-in-zip", "a.zip", pack.zip_bytes([("a.gz", pack.gzip_bytes(data))]), POLICY
        )


def _depth() -> Iterator[Case]:
    """57: nested deeper than allowed."""
    for levels in (14, 40):
        data = PAPER[1]
        for level in range(levels):
            data = pack.zip_bytes([(f"{level}.zip" if level else "a.txt", data)])
        yield _case(57, f"depth/zip-{levels}", "a.zip", data, LIMIT)
    data = PAPER[1]
    for _ in range(15):
        data = pack.gzip_bytes(data)
    yield _case(57, "depth/gzip-15", "a.gz", data, LIMIT)


def _volumes() -> Iterator[Case]:
    """58: one volume of a set."""
    noise = bytes(zlib.crc32(struct.pack("<L", i)) >> 7 & 0xFF for i in range(900))
    for name in ("a.7z.002", "a.zip.002", "a.z01", "a.r00", "a.r17", "a.part2.rar", "a.rar.003", "a.tar.002"):
        yield _case(58, f"later/{name}", name, noise, POLICY)
    for name, data in {
        "a.rar": pack.rar4_bytes([PAPER], main=1),
        "a.part1.rar": pack.rar4_bytes([PAPER], main=1, flags=2),
        "b.part2.rar": pack.rar4_bytes([PAPER], main=1, flags=1),
        "a.part01.rar": pack.rar5_bytes([PAPER], main=1),
        "a.7z.001": pack.seven_zip_bytes([PAPER])[:200],
        "a.zip": pack.zip_bytes([PAPER], disk=2),
        "a.cab": pack.cab_bytes([PAPER], flags=2),
        "b.cab": pack.cab_bytes([PAPER], flags=1),
    }.items():
        yield _case(58, f"marked/{name}", name, data, POLICY)


def _disguised() -> Iterator[Case]:
    """59: an archive under another name and type."""
    for suffix, (packer, _) in PACKERS.items():
        for name, kind in (("photo.jpg", b"image/jpeg"), ("notes.txt", b"text/plain"), ("file", b"application/zip")):
            yield _case(59, f"disguised/{suffix}-as-{name}", name, packer([DISGUISED]), POLICY, kind)


def _links() -> Iterator[Case]:
    """60: links, devices, paths that lead outside, holes."""
    for what, members in {
        "folder-up": [("a/b/up", "../../../x")],
        "up-later": [("a/b/up", "c/../../../../x")],
        "through": [("a/b", ".."), ("a/b/up", "../../x")],
        "through-on-windows": [("a/B", ".."), ("a/b/up", "../../x")],
        "through-later": [("a/b", "../c/.."), ("a/up", "b/../..")],
    }.items():
        links = [pack.tar_special(name, tarfile.SYMTYPE, target) for name, target in members]
        yield _case(60, f"tar/link-{what}", "a.tar", pack.tar_bytes([PAPER, *links]), POLICY)
    for what, kind, target in (
        ("symlink-absolute", tarfile.SYMTYPE, "/etc/passwd"),
        ("symlink-up", tarfile.SYMTYPE, "../../etc/passwd"),
        ("hardlink-up", tarfile.LNKTYPE, "../../etc/passwd"),
        ("character-device", tarfile.CHRTYPE, ""),
        ("block-device", tarfile.BLKTYPE, ""),
        ("fifo", tarfile.FIFOTYPE, ""),
    ):
        data = pack.tar_bytes([PAPER, pack.tar_special("link", kind, target)])
        yield _case(60, f"tar/{what}", "a.tar", data, POLICY)
        yield _case(60, f"tar.gz/{what}", "a.tar.gz", pack.gzip_bytes(data), POLICY)
    for suffix in ("zip", "tar", "cpio", "deb", "rpm", "7z", "cab"):
        packer, kind_type = PACKERS[suffix]
        for what, name in (("up", "../../../home/u/.profile"), ("up-later", "a/../../b.txt")):
            yield _case(60, f"{suffix}/{what}", f"a.{suffix}", packer([(name, PAPER[1])]), POLICY, kind_type)
    yield _case(60, "cpio/device", "a.cpio", pack.cpio_bytes([("null", b"")], mode=0o020644), POLICY)
    yield _case(60, "tar/sparse-terabyte", "a.tar", _sparse(1 << 40), LIMIT)


def _sparse(size: int) -> bytes:
    """An old GNU sparse member: 512 bytes of data, the rest a hole."""
    info = pack.tar_special("disk.img", b"S")
    block = bytearray(pack.tar_bytes([info])[:512])
    block[124:136] = b"%011o\x00" % 512
    block[257:265] = b"ustar  \x00"
    block[386:410] = _octal(size - 512) + _octal(512)
    block[483:495] = _octal(size)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block) + b"x" * 512 + bytes(1024)


def _octal(value: int) -> bytes:
    """Twelve bytes; base 256 where octal digits don't suffice."""
    return b"%011o\x00" % value if value < 1 << 33 else b"\x80" + value.to_bytes(11, "big")


def _everywhere() -> Iterator[Case]:
    """61 and 63: a program, disguised or named, and a listed script, in every container that is opened."""
    for suffix, (packer, kind) in PACKERS.items():
        for what, file in (("program", PROGRAM), ("disguised", DISGUISED), ("script", SCRIPT)):
            yield _case(63, f"{suffix}/{what}", f"papers.{suffix}", packer([PAPER, file]), POLICY, kind)
    with_folder = pack.zip_bytes([ZipMember(b"folder/", b"", method=0), ("folder/run.exe", EXE)])
    yield _case(61, "zip/folder-and-program", "a.zip", with_folder, POLICY)
    folder = pack.tar_bytes([pack.tar_special("folder/", tarfile.DIRTYPE), ("folder/run.exe", EXE)])
    yield _case(61, "tar/folder-and-program", "a.tar", folder, POLICY)
    trick = pack.zip_bytes([ZipMember(b"run.exe/", EXE)])
    yield _case(61, "zip/program-named-as-folder", "a.zip", trick, POLICY)
    for suffix in ("7z", "rar", "cab", "lzh"):
        yield _case(
            61, f"{suffix}/folder-and-program", f"a.{suffix}", PACKERS[suffix][0]([("folder/run.exe", EXE)]), POLICY
        )


def _odd_names() -> Iterator[Case]:
    """62: names of members."""
    long_name = b"a" * 65_000 + b".exe"
    yield _case(62, "zip/65000", "a.zip", pack.zip_bytes([ZipMember(long_name, PAPER[1])]), POLICY)
    yield _case(62, "zip/nul", "a.zip", pack.zip_bytes([ZipMember(b"run.exe\x00.txt", PAPER[1])]), POLICY)
    yield _case(62, "zip/nul-before", "a.zip", pack.zip_bytes([ZipMember(b"notes.txt\x00.exe", PAPER[1])]), POLICY)
    twice = pack.zip_bytes([PAPER, (PAPER[0], b"other\n")])
    yield _case(62, "zip/same-name-twice", "a.zip", twice, AMBIGUOUS)
    yield _case(62, "zip/same-name-twice-program", "a.zip", pack.zip_bytes([PAPER, (PAPER[0], EXE)]), POLICY)
    for suffix in ("rar", "rar5.rar", "7z", "tar", "cpio", "cab"):
        both = PACKERS[suffix][0]([PAPER, (PAPER[0], EXE)])
        yield _case(62, f"{suffix}/same-name-twice-program", f"a.{suffix}", both, POLICY)
    for raw, unicode_name in ((b"minutes.txt", b"run.exe"), (b"minutes.txt", "ex\u202etxt.exe".encode())):
        field = b"\x01" + struct.pack("<L", zlib.crc32(raw)) + unicode_name
        member = ZipMember(raw, PAPER[1], extra=struct.pack("<HH", 0x7075, len(field)) + field)
        yield _case(62, f"zip/unicode-path-{len(unicode_name)}", "a.zip", pack.zip_bytes([member]), POLICY)
    fields = (b"\x01" + struct.pack("<L", crc) + name for crc, name in ((1, b"a.txt"), (zlib.crc32(raw), b"run.vbs")))
    extra = b"".join(struct.pack("<HH", 0x7075, len(field)) + field for field in fields)
    yield _case(62, "zip/unicode-paths", "a.zip", pack.zip_bytes([ZipMember(raw, PAPER[1], extra=extra)]), POLICY)
    wide = ZipMember("minutes．ｅｘｅ".encode(), PAPER[1], flags=0x800)
    yield _case(62, "zip/full-width", "a.zip", pack.zip_bytes([wide]), POLICY)
    for suffix in ("7z", "tar", "cpio"):
        yield _case(62, f"{suffix}/trailing-dot", f"a.{suffix}", PACKERS[suffix][0]([("run.exe. ", PAPER[1])]), POLICY)


def _unknown_containers() -> Iterator[Case]:
    """63: what nothing here can open, and programs that are no PE."""
    body = bytes(i * 37 % 256 for i in range(600))
    heads = {
        "a.arj": b"\x60\xea\x2b\x00\x1e\x0b\x01\x0b\x10\x00\x02",
        "a.ace": b"\x31\xee\x31\x00\x00\x00\x90**ACE**\x14\x14",
        "a.alz": b"ALZ\x01\x0a\x00\x00\x00",
        "a.egg": b"EGGA\x00\x01",
        "a.zoo": b"ZOO 2.10 Archive.\x1a\x00\x00\xdc\xa7\xc4\xfd",
        "a.chm": b"ITSF\x03\x00\x00\x00",
        "a.vhd": b"conectix\x00\x00\x00\x02",
        "a.vhdx": b"vhdxfile",
        "a.wim": b"MSWIM\x00\x00\x00",
        "a.vmdk": b"KDMV\x01\x00\x00\x00",
        "a.lzo": b"\x89LZO\x00\r\n\x1a\n",
        "a.sit": b"SIT!\x00\x05",
        "a.zpaq": b"7kSt\xa0",
        "a.sqfs": b"hsqs",
        "a.pkg": b"xar!\x00\x1c",
        "a.qcow2": b"QFI\xfb",
        "a.dmg": b"encrcdsa\x00\x00\x00\x02",
        "b.dmg": bytes(32) + b"NXSB",
        "c.dmg": b"ER".ljust(512, b"\x00") + b"PM",
        "d.dmg": bytes(1024) + b"H+\x00\x04",
        "a.sparseimage": b"sprs\x00",
        "a.vdi": b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\x00") + b"\x7f\x10\xda\xbe",
        "a.aar": b"AA01\x3c\x00",
        "b.aar": b"pbze\x00",
        "a.shortcut": b"AEA1\x00",
    }
    for name, head in heads.items():
        yield _case(63, f"unopenable/{name}", name, head + body, POLICY)
        yield _case(63, f"unopenable/{name}-in-zip", "a.zip", pack.zip_bytes([("file", head + body)]), POLICY)
    yield _case(63, "unopenable/udf", "a.img", pack.udf_image(), POLICY)
    yield _case(63, "unopenable/dmg", "a.dmg", body * 3 + b"koly".ljust(512, b"\x00"), POLICY)
    yield _case(63, "unopenable/dmg-sealed", "a.dmg", body * 3 + b"cdsaencr", POLICY)
    yield _case(63, "unopenable/fixed-vhd", "disk", body * 3 + b"conectix".ljust(512, b"\x00"), POLICY)
    fat = b"\xeb\x3c\x90MSDOS5.0".ljust(510, b"\x00") + b"\x55\xaa"
    yield _case(63, "unopenable/fat-image", "a.img", fat + body, POLICY)
    yield _case(63, "iso/joliet-differs", "a.iso", pack.iso_bytes([PAPER], [("other.txt", b"else\n")]), AMBIGUOUS)
    yield _case(63, "iso/joliet-program", "a.iso", pack.iso_bytes([PAPER], [PROGRAM]), POLICY)
    for name in ("a.zip", "a.rar", "a.7z", "a.ace", "a.arc", "a.dmg"):
        yield _case(63, f"unknown-magic/{name}", name, b"\x01\x02\x03\x04" + body, POLICY)
    programs = {
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "macho": b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(60),
        "fat-macho": b"\xca\xfe\xba\xbe\x00\x00\x00\x02" + bytes(60),
        "class": b"\xca\xfe\xba\xbe\x00\x00\x00\x34" + bytes(60),
        "lnk": b"L\x00\x00\x00\x01\x14\x02\x00" + bytes(68),
        "msi": doc.ole_bytes({"x": b"x"}, doc.MSI_CLASS),
        "hta": b"<html><head><hta:application id=x></head></html>\n",
        "batch": b"@echo off\r\nstart notepad\r\n",
        "registry": b"Windows Registry Editor Version 5.00\r\n\r\n[HKEY]\r\n",
        "encoded-script": b"#@~^XAAAAA==v" + b"x" * 60,
    }
    for name, data in programs.items():
        yield _case(63, f"program/{name}", "notes.dat", data, POLICY)
        yield _case(63, f"program/{name}-in-zip", "a.zip", pack.zip_bytes([("notes.dat", data)]), POLICY)
    manifest = ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\nMain-Class: A\n")
    yield _case(63, "jar/class", "notes.jar", pack.zip_bytes([manifest, ("A.class", programs["class"])]), POLICY)


def _office() -> Iterator[Case]:
    """64: Office documents."""
    word, book = doc.word_stream(), doc.xls_workbook()
    project = doc.vba_project(doc.MACRO, folder="_VBA_PROJECT_CUR/VBA")
    package = doc.ole_package("run.exe", EXE)
    macro_type = '<Override PartName="/word/v.bin" ContentType="application/vnd.ms-office.vbaProject"/>'
    sheet_type = '<Override PartName="/xl/m.xml" ContentType="application/vnd.ms-excel.macrosheet+xml"/>'
    for name, data, verdict in (
        ("macro.doc", doc.ole_bytes({"WordDocument": word, **doc.vba_project(doc.MACRO, folder="Macros/VBA")}), POLICY),
        (
            "macro.xls",
            doc.ole_bytes({"Workbook": book, **project}),
            POLICY,
        ),
        ("sheet.xls", doc.ole_bytes({"Workbook": doc.xls_workbook(macro_sheet=True)}), POLICY),
        ("sheet-95.xls", doc.ole_bytes({"Book": doc.xls_workbook(macro_sheet=True)}), POLICY),
        ("package.doc", doc.ole_bytes({"WordDocument": word, "ObjectPool/_1/\x01Ole10Native": package}), POLICY),
        ("text-package.doc", doc.ole_bytes({"\x01Ole10Native": doc.ole_package("a.txt", b"x" * 99)}), POLICY),
        ("zip-in.doc", doc.ole_bytes({"WordDocument": word, "Package": pack.zip_bytes([PROGRAM])}), POLICY),
        ("locked.doc", doc.ole_bytes({"WordDocument": doc.word_stream(locked=True)}), ENCRYPTED),
        ("locked.xls", doc.ole_bytes({"Workbook": doc.xls_workbook(locked=True)}), ENCRYPTED),
        ("locked.docx", doc.ole_bytes({"EncryptionInfo": b"x", "EncryptedPackage": b"y"}), ENCRYPTED),
        ("locked.ppt", doc.ole_bytes({"Current User": bytes(12) + b"\xdf\xc4\xd1\xf3"}), ENCRYPTED),
        ("cut.doc", doc.ole_bytes({"WordDocument": word})[:700], POLICY),
        ("macro.docx", doc.ooxml_bytes([("word/vbaProject.bin", doc.macro_project())]), POLICY),
        ("macro.docm", doc.ooxml_bytes([("word/vbaProject.bin", doc.macro_project())], types=macro_type), POLICY),
        ("renamed-macro.docx", doc.ooxml_bytes([("word/v.bin", doc.macro_project())], types=macro_type), POLICY),
        ("sheet.xlsm", doc.ooxml_bytes([("xl/m.xml", b"<x/>")], types=sheet_type, folder="xl"), POLICY),
        (
            "dde.xlsx",
            doc.ooxml_bytes([("xl/externalLinks/externalLink1.xml", b"<x><ddeLink/></x>")], folder="xl"),
            POLICY,
        ),
        ("template.docx", doc.ooxml_bytes(relations=[("attachedTemplate", "https://x.example/t.dotm")]), POLICY),
        ("template-share.docx", doc.ooxml_bytes(relations=[("attachedTemplate", r"\\192.0.2.1\s\t.dotm")]), POLICY),
        ("template-file.docx", doc.ooxml_bytes(relations=[("attachedTemplate", "file://192.0.2.1/s/t.dotm")]), POLICY),
        ("template-entity.docx", doc.ooxml_bytes(relations=[("attachedTemplate", "http&#58;//x.example/t")]), POLICY),
        ("object-link.docx", doc.ooxml_bytes(relations=[("oleObject", "mhtml:https://x.example/a!x")]), POLICY),
        ("frame.docx", doc.ooxml_bytes(relations=[("frame", "http://x.example/f")]), POLICY),
        (
            "package.docx",
            doc.ooxml_bytes([("word/embeddings/o1.bin", doc.ole_bytes({"\x01Ole10Native": package}))]),
            POLICY,
        ),
        ("program.docx", doc.ooxml_bytes([("word/media/image1.png", EXE)]), POLICY),
        ("macro.odt", doc.odf_bytes(macro=True), POLICY),
        ("locked.odt", doc.odf_bytes(locked=True), ENCRYPTED),
        ("package.rtf", doc.rtf_bytes([doc.ole1_object("Package", package[4:])]), POLICY),
        ("noisy.rtf", doc.rtf_bytes([doc.ole1_object("Package", package[4:])], noise=b"\r\n {\\*\\x y}\\z9 "), POLICY),
        ("link.rtf", doc.rtf_bytes([doc.ole1_object("Word.Document.8", b"", form=1)]), POLICY),
        ("link2.rtf", doc.rtf_bytes([doc.ole1_object("OLE2Link", doc.ole_bytes({"\x01Ole": b"x"}))]), POLICY),
        ("template.rtf", doc.rtf_bytes(before="{\\*\\template http://x.example/t}"), POLICY),
        ("macro-object.rtf", doc.rtf_bytes([doc.ole1_object("Word", doc.macro_project())]), POLICY),
        ("program.one", doc.onenote_bytes([("cover.png", PNG), PROGRAM]), POLICY),
        ("script.one", doc.onenote_bytes([SCRIPT]), POLICY),
        ("program.msg", doc.msg_bytes([PAPER, PROGRAM]), POLICY),
    ):
        yield _case(64, f"office/{name}", name, data, verdict)
        zipped = pack.zip_bytes([(name, data)])
        yield _case(64, f"office-in-zip/{name}", "papers.zip", zipped, verdict)


def _pdf() -> Iterator[Case]:
    """65: PDF."""
    for name, data, verdict in (
        ("program", doc.pdf_bytes([PROGRAM]), POLICY),
        ("disguised", doc.pdf_bytes([DISGUISED]), POLICY),
        ("script", doc.pdf_bytes([PAPER, SCRIPT]), POLICY),
        ("compressed", doc.pdf_bytes([PROGRAM], compressed=True), POLICY),
        ("plain", doc.pdf_bytes([PROGRAM], plain_streams=True), POLICY),
        ("zip", doc.pdf_bytes([("a.zip", pack.zip_bytes([PROGRAM]))]), POLICY),
        ("launch", doc.pdf_bytes(launch=True), POLICY),
        ("launch-compressed", doc.pdf_bytes(launch=True, compressed=True), POLICY),
        ("behind-junk", b"junk\n" * 50 + doc.pdf_bytes([PROGRAM]), POLICY),
        ("escaped-key", doc.pdf_bytes([PAPER], key="/E#46"), AMBIGUOUS),
        ("password", doc.locked_pdf(b"secret"), ENCRYPTED),
        ("unknown-lock", doc.locked_pdf().replace(b"/Standard", b"/Obscure!"), ENCRYPTED),
    ):
        yield _case(65, f"pdf-file/{name}", "paper.pdf", data, verdict, b"application/pdf")
        yield _case(65, f"pdf-in-zip/{name}", "papers.zip", pack.zip_bytes([("paper.pdf", data)]), verdict)


def _self_extracting() -> Iterator[Case]:
    """66: programs with an archive behind them."""
    for suffix in ("zip", "7z", "rar", "rar5.rar", "cab"):
        for what, program in (("dos", EXE), ("pe", PE), ("elf", b"\x7fELF\x02\x01\x01" + bytes(200))):
            data = program + PACKERS[suffix][0]([PAPER])
            yield _case(66, f"{suffix}/{what}", "papers.dat", data, POLICY)


def _harmless() -> Iterator[Case]:
    """Look-alikes that must be delivered."""
    table: File = ("figures/2026.csv", b"month;sum\n" + b"".join(b"%d;%d\n" % (i, i * 71) for i in range(200)))
    logo: File = ("logo.png", PNG)
    sets = {
        "one": [PAPER],
        "several": [PAPER, table, logo],
        "umlaut": [("Übersicht für März.txt", b"x\n")],
        "empty-file": [("a.txt", b"")],
    }
    for suffix, (packer, kind) in PACKERS.items():
        for what, files in sets.items():
            if what == "umlaut" and suffix in ("dat", "iso", "lzh", "ar", "cab", "rar"):
                continue
            if what == "empty-file" and suffix in ("7z", "msg", "one", "ar", "iso"):
                continue
            yield _case(0, f"harmless/{suffix}/{what}", f"papers.{suffix}", packer(files), HARMLESS, kind)
    for suffix in ("zip", "tar.gz", "7z", "pdf", "msg"):
        packer, kind = PACKERS[suffix]
        inner = pack.zip_bytes([PAPER, logo])
        yield _case(0, f"harmless/{suffix}/zip-in", f"papers.{suffix}", packer([("inner.zip", inner)]), HARMLESS, kind)
    stored_zip = ZipMember(b"inner.zip", pack.zip_bytes([PAPER]), method=0)
    streamed = ZipMember(b"a.txt", PAPER[1], flags=0x0008)
    word, web = doc.word_stream(), "https://example.org"
    book = doc.ole_bytes({"Workbook": doc.xls_workbook()})
    sheets = "file:///D:\\figures\\2025.xlsx"
    invoice = b"<?xml version='1.0'?><invoice/>"
    tree = [
        pack.tar_special("app/bin/run", tarfile.SYMTYPE, "../lib/run.txt"),
        pack.tar_special("app/lib/current", tarfile.SYMTYPE, "../../minutes.txt"),
        pack.tar_special("app/a/b/c.txt", tarfile.SYMTYPE, "../../lib/./c.txt"),
        pack.tar_special("app/same.txt", tarfile.LNKTYPE, "app/lib/run.txt"),
    ]
    normal = "file:///C:\\Users\\ann\\AppData\\Roaming\\Microsoft\\Templates\\Normal.dotm"
    for name, data in (
        ("stored-zip-in.zip", pack.zip_bytes([stored_zip, logo])),
        ("commented.zip", pack.zip_bytes([PAPER], comment=b"made by hand")),
        ("streamed.zip", pack.zip_bytes([streamed])),
        ("folder.zip", pack.zip_bytes([ZipMember(b"folder/", b"", method=0), ("folder/a.txt", b"x\n")])),
        ("slashes.zip", pack.zip_bytes([ZipMember(b"folder\\a.txt", b"x\n", local_name=b"folder/a.txt")])),
        ("empty.zip", pack.zip_bytes([])),
        ("padded.zip", pack.zip_bytes([PAPER]) + b"\r\n"),
        ("dots.zip", pack.zip_bytes([("a..b/c...txt", b"x\n")])),
        ("same-link.tar", pack.tar_bytes([PAPER, pack.tar_special("latest.txt", tarfile.SYMTYPE, "minutes.txt")])),
        ("linked-tree.tar", pack.tar_bytes([PAPER, *tree])),
        ("padded.gz", pack.gzip_bytes(PAPER[1], "minutes.txt") + bytes(500)),
        ("two-members.gz", pack.gzip_bytes(PAPER[1]) + pack.gzip_bytes(PAPER[1])),
        ("volume.pax.tar", pack.tar_bytes([("ü" * 90 + ".txt", b"x\n")], tarfile.PAX_FORMAT)),
        ("plain.doc", doc.ole_bytes({"WordDocument": word, "1Table": b"x" * 50})),
        ("plain.xls", doc.ole_bytes({"Workbook": doc.xls_workbook()})),
        ("embedded-sheet.doc", doc.ole_bytes({"WordDocument": word, "ObjectPool/_1/Workbook": doc.xls_workbook()})),
        ("plain.docx", doc.ooxml_bytes()),
        ("plain.xlsx", doc.ooxml_bytes(folder="xl")),
        ("normal-template.docx", doc.ooxml_bytes(relations=[("attachedTemplate", normal)])),
        ("links.docx", doc.ooxml_bytes(relations=[("hyperlink", web), ("image", f"{web}/a.png")])),
        ("linked-book.xlsx", doc.ooxml_bytes(relations=[("externalLinkPath", sheets)], folder="xl")),
        ("embedded.docx", doc.ooxml_bytes([("word/embeddings/sheet1.xlsx", doc.ooxml_bytes(folder="xl"))])),
        ("picture.docx", doc.ooxml_bytes([("word/media/image1.png", PNG)])),
        ("plain.odt", doc.odf_bytes()),
        ("plain.rtf", doc.rtf_bytes()),
        ("sheet-object.rtf", doc.rtf_bytes([doc.ole1_object("Excel.Sheet.8", book)])),
        ("local-template.rtf", doc.rtf_bytes(before="{\\*\\template Normal.dotm}")),
        ("plain.pdf", doc.pdf_bytes()),
        ("compressed.pdf", doc.pdf_bytes(compressed=True)),
        ("invoice.pdf", doc.pdf_bytes([("factur-x.xml", invoice)])),
        ("invoice-compressed.pdf", doc.pdf_bytes([("zugferd-invoice.xml", invoice)], compressed=True)),
        ("print-only.pdf", doc.locked_pdf()),
        ("winmail.dat", doc.tnef_bytes([])),
        ("body-winmail.dat", doc.tnef_bytes([], html=b"<html><body>Good morning</body></html>")),
        ("note.one", doc.onenote_bytes([("cover.png", PNG)])),
        ("figures.dat", bytes(i * 91 % 253 for i in range(5000))),
        ("photo.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(i * 57 % 251 for i in range(3000)) + b"\xff\xd9"),
        ("mz.txt", b"MZ Wallace wrote on Monday:\nall is well.\n" * 5),
        ("pk.txt", b"PK\nis short for packet.\n" * 9),
        ("rar.txt", b"Rar! is how such files begin.\n"),
        ("archive.tar.txt", b"notes about archive.tar\n"),
    ):
        yield _case(0, f"harmless/file/{name}", name, data, HARMLESS)
        yield _case(0, f"harmless/in-zip/{name}", "papers.zip", pack.zip_bytes([(name, data), PAPER]), HARMLESS)
