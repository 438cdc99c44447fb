"""Writers of archive formats for the corpus: small, deterministic, and able to lie where a case wants a lie.

They store rather than compress unless the format makes compression easy. Only what the cases need is written.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

File = tuple[str, bytes]
"""A member: its name and its bytes."""


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One member as both headers describe it; `local_*` differ from the directory only where a case says so."""

    name: bytes
    data: bytes
    method: int = 8
    flags: int = 0
    local_name: bytes | None = None
    local_flags: int | None = None
    local_method: int | None = None
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    extra: bytes = b""
    raw: bytes | None = None
    listed: bool = True
    attributes: int = 0

    def body(self) -> bytes:
        """The packed bytes."""
        if self.raw is not None:
            return self.raw
        return deflate(self.data) if self.method == 8 else self.data


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip_bytes(members: Sequence[ZipMember | File], comment: bytes = b"", before: bytes = b"", disk: int = 0) -> bytes:
    """A zip file; `before` stands in front and the offsets count from its start."""
    out = bytearray(before)
    central = bytearray()
    count = 0
    for item in members:
        member = item if isinstance(item, ZipMember) else ZipMember(item[0].encode(), item[1])
        offset = len(out)
        local, listed = _zip_headers(member, offset)
        out += local + member.body()
        if member.listed:
            central += listed
            count += 1
    return bytes(out + central + end_record(count, len(central), len(out), comment, disk))


def end_record(count: int, size: int, offset: int, comment: bytes = b"", disk: int = 0) -> bytes:
    """The end of central directory."""
    return struct.pack("<4s4H2LH", b"PK\x05\x06", disk, disk, count, count, size, offset, len(comment)) + comment


def _zip_headers(member: ZipMember, offset: int) -> tuple[bytes, bytes]:
    body = member.body()
    crc = zlib.crc32(member.data) if member.crc is None else member.crc
    size = len(member.data) if member.size is None else member.size
    packed = len(body) if member.packed is None else member.packed
    name = member.name if member.local_name is None else member.local_name
    flags = member.flags if member.local_flags is None else member.local_flags
    method = member.method if member.local_method is None else member.local_method
    extra = member.extra
    local = struct.pack(
        "<4s5H3L2H", b"PK\x03\x04", 20, flags, method, 0, 0x5A21, crc, packed, size, len(name), len(extra)
    )
    listed = struct.pack(
        "<4s6H3L5H2L",
        *(b"PK\x01\x02", 20, 20, member.flags, member.method, 0, 0x5A21, crc, packed, size),
        *(len(member.name), len(extra), 0, 0, 0, member.attributes, offset),
    )
    return local + name + extra, listed + member.name + extra


def overlapping_zip(data: bytes, copies: int) -> bytes:
    """Many directory entries for one and the same packed data."""
    one = ZipMember(b"a.txt", data)
    local, _ = _zip_headers(one, 0)
    out = local + one.body()
    central = b"".join(_zip_headers(replace(one, name=b"%05d" % i), 0)[1] for i in range(copies))
    return out + central + end_record(copies, len(central), len(out))


def tar_bytes(files: Sequence[File | tarfile.TarInfo], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar file; a TarInfo stands for a member without data (a link, a device)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for item in files:
            info = item if isinstance(item, tarfile.TarInfo) else tarfile.TarInfo(item[0])
            data = b"" if isinstance(item, tarfile.TarInfo) else item[1]
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def gzip_bytes(data: bytes, name: str = "") -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(name, "wb", fileobj=out, mtime=0) as packer:
        packer.write(data)
    return out.getvalue()


def bzip2_bytes(data: bytes) -> bytes:
    return bz2.compress(data)


def xz_bytes(data: bytes) -> bytes:
    return lzma.compress(data)


def lzma_bytes(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


def lz4_bytes(data: bytes) -> bytes:
    """An LZ4 frame with one block that is not packed."""
    return b"\x04\x22\x4d\x18\x60\x40\x82" + struct.pack("<L", len(data) | 1 << 31) + data + bytes(4)


def zstd_bytes(data: bytes) -> bytes:
    """A Zstandard frame of raw blocks (RFC 8878)."""
    frame = struct.pack("<LBB", 0xFD2FB528, 0x00, 0x58)
    blocks = [data[i : i + 65536] for i in range(0, len(data), 65536)] or [b""]
    for number, block in enumerate(blocks):
        frame += struct.pack("<L", len(block) << 3 | (number == len(blocks) - 1))[:3] + block
    return frame


def cpio_bytes(files: Sequence[File], mode: int = 0o100644) -> bytes:
    """The `newc` format."""
    out = b""
    for number, (name, data) in enumerate([*files, ("TRAILER!!!", b"")]):
        fields = (number + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name.encode()) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\x00"
        out += header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)
    return out


def ar_bytes(files: Sequence[File]) -> bytes:
    out = b"!<arch>\n"
    for name, data in files:
        out += b"%-16s%-12d%-6d%-6d%-8o%-10d`\n" % (name.encode(), 0, 0, 0, 0o100644, len(data)) + data
        out += b"\n" * (len(data) % 2)
    return out


def deb_bytes(files: Sequence[File]) -> bytes:
    control = gzip_bytes(tar_bytes([("control", b"Package: x\nVersion: 1\n")]))
    return ar_bytes(
        [("debian-binary", b"2.0\n"), ("control.tar.gz", control), ("data.tar.gz", gzip_bytes(tar_bytes(files)))]
    )


def rpm_bytes(files: Sequence[File]) -> bytes:
    """A lead, two empty headers and a gzipped cpio."""
    lead = struct.pack(">4sBBHH66sHH16s", b"\xed\xab\xee\xdb", 3, 0, 0, 1, b"x-1-1", 1, 5, b"")
    empty = b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">LL", 1, 4) + struct.pack(">LLLL", 1000, 4, 0, 1) + bytes(4)
    return lead + empty + bytes(-len(empty) % 8) + empty + gzip_bytes(cpio_bytes(files))


def cab_bytes(files: Sequence[File], flags: int = 0) -> bytes:
    """One folder without compression; flags 1 and 2 say that a cabinet comes before or after."""
    entries = b""
    offset = 0
    for name, data in files:
        entries += struct.pack("<LLHHHH", len(data), offset, 0, 0x5A21, 0, 0x20) + name.encode() + b"\x00"
        offset += len(data)
    content = b"".join(data for _, data in files)
    blocks = [content[i : i + 32768] for i in range(0, len(content), 32768)]
    packed = b"".join(struct.pack("<LHH", 0, len(b), len(b)) + b for b in blocks)
    extra = b"other.cab\x00disk\x00" * (flags & 1) + b"other.cab\x00disk\x00" * (flags >> 1)
    start = 36 + len(extra) + 8
    data_at = start + len(entries)
    head = struct.pack(
        "<4sLLLLLBBHHHHH", b"MSCF", 0, data_at + len(packed), 0, start, 0, 3, 1, 1, len(files), flags, 7, 0
    )
    return head + extra + struct.pack("<LHH", data_at, len(blocks), 0) + entries + packed


def lzh_bytes(files: Sequence[File]) -> bytes:
    """Level 0 headers, stored."""
    out = b""
    for name, data in files:
        raw = name.encode()
        body = b"-lh0-" + struct.pack("<LLLBBB", len(data), len(data), 0, 0x20, 0, len(raw)) + raw
        body += struct.pack("<H", crc16(data))
        out += bytes((len(body), sum(body) & 0xFF)) + body + data
    return out + b"\x00"


def crc16(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def iso_bytes(files: Sequence[File], joliet: Sequence[File] | None = None) -> bytes:
    """An ISO 9660 image; with `joliet`, a second tree of names and files for Windows."""
    trees = [files] if joliet is None else [files, joliet]
    place = 16 + len(trees) + 1 + len(trees)
    descriptors, directories, contents = b"", b"", b""
    for number, tree in enumerate(trees):
        wide = number == 1
        root_at = 16 + len(trees) + 1 + number
        records = _iso_record(root_at, 2048, b"\x00", 2) + _iso_record(root_at, 2048, b"\x01", 2)
        for name, data in tree:
            raw = name.encode("utf-16-be") if wide else name.encode()
            records += _iso_record(place, len(data), raw, 0)
            blocks = max(1, -(-len(data) // 2048))
            contents += data.ljust(blocks * 2048, b"\x00")
            place += blocks
        directories += records.ljust(2048, b"\x00")
        descriptors += _iso_descriptor(2 if wide else 1, _iso_record(root_at, 2048, b"\x00", 2))
    terminator = (b"\xffCD001\x01").ljust(2048, b"\x00")
    image = bytes(16 * 2048) + descriptors + terminator + directories + contents
    return image + bytes(max(2048, 60_000 - len(image)))


def _iso_descriptor(kind: int, root: bytes) -> bytes:
    head = bytes((kind,)) + b"CD001\x01\x00" + b" " * 64 + bytes(8) + _both(400, 4)
    head += (b"%/E" if kind == 2 else b"").ljust(32, b"\x00")
    head += (
        _both(1, 2)
        + _both(1, 2)
        + _both(2048, 2)
        + _both(10, 4)
        + struct.pack("<LL", 20, 0)
        + struct.pack(">LL", 20, 0)
        + root
    )
    return head.ljust(881, b" ") + b"\x01" + bytes(2048 - 882)


def _both(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little") + value.to_bytes(size, "big")


def _iso_record(extent: int, size: int, name: bytes, flags: int) -> bytes:
    body = b"\x00" + _both(extent, 4) + _both(size, 4) + bytes((126, 11, 22, 10, 0, 0, 0, flags, 0, 0)) + _both(1, 2)
    body += bytes((len(name),)) + name
    body += b"\x00" * (len(body) % 2 == 0)
    return bytes((len(body) + 1,)) + body


def looping_iso(piece: bytes = b"a" * 200) -> bytes:
    """An ISO image with a Rock Ridge name that goes on in an area (CE) that goes on in itself, a piece each time.

    The area stands right behind the directory, where libarchive reads it at once, and the file's bytes behind it.
    """
    root, area = 18, 19
    name = b"NM" + bytes((5 + len(piece), 1, 1)) + piece
    again = b"CE\x1c\x01" + _both(area, 4) + _both(0, 4) + _both(len(name) + 28, 4)
    directory = _with_system(_iso_record(root, 2048, b"\x00", 2), b"SP\x07\x01\xbe\xef\x00RR\x05\x01\x81")
    directory += _with_system(_iso_record(root, 2048, b"\x01", 2), b"RR\x05\x01\x81")
    directory += _with_system(_iso_record(area + 1, 1, b"A.TXT;1", 0), b"NM\x06\x01\x01x" + again)
    sectors = b"".join(sector.ljust(2048, b"\x00") for sector in (directory, name + again, b"x"))
    return iso_bytes([("A.TXT", b"x")])[: root * 2048] + sectors + bytes(20 * 2048)


def _with_system(record: bytes, system: bytes) -> bytes:
    """A directory record with a system use area."""
    system += b"\x00" * (len(system) % 2)
    return bytes((len(record) + len(system),)) + record[1:] + system


def udf_image() -> bytes:
    """The volume recognition area of a UDF file system; Windows mounts such an image."""
    marks = b"".join((b"\x00" + mark + b"\x01").ljust(2048, b"\x00") for mark in (b"BEA01", b"NSR02", b"TEA01"))
    return bytes(16 * 2048) + marks + bytes(20 * 2048)


def rar4_bytes(files: Sequence[File], main: int = 0, flags: int = 0) -> bytes:
    """Stored members; main: 1 a volume, 0x80 sealed headers; flags of files: 1, 2 split, 4 encrypted."""
    out = b"Rar!\x1a\x07\x00" + _rar4_block(0x73, main, bytes(6))
    if main & 0x80:
        return out + bytes(range(8)) + bytes(range(100, 228))
    for name, data in files:
        raw = name.encode()
        body = struct.pack(
            "<LLBLLBBHL", len(data), len(data), 2, zlib.crc32(data), 0x5A210000, 20, 0x30, len(raw), 0x20
        )
        out += _rar4_block(0x74, 0x8000 | flags, body + raw) + data
    return out + _rar4_block(0x7B, 0x4000, b"")


def _rar4_block(kind: int, flags: int, body: bytes) -> bytes:
    block = struct.pack("<BHH", kind, flags, len(body) + 7) + body
    return struct.pack("<H", zlib.crc32(block) & 0xFFFF) + block


def rar5_bytes(files: Sequence[File], main: int = 0, encrypted: bool = False, sealed: bool = False) -> bytes:
    """Stored members; main: 1 a volume."""
    out = b"Rar!\x1a\x07\x01\x00"
    if sealed:
        return out + _rar5_block(b"\x04\x00\x00\x00\x0f" + bytes(range(16))) + bytes(range(128))
    out += _rar5_block(bytes((1, 0, main)))
    for name, data in files:
        raw = name.encode()
        size = _vint(len(data))
        extra = b"\x30\x01\x00\x00\x0f" + bytes(range(44)) if encrypted else b""
        head = b"\x02" + (b"\x03" + _vint(len(extra)) if encrypted else b"\x02") + size
        fields = (
            b"\x04" + size + b"\x20" + struct.pack("<L", zlib.crc32(data)) + b"\x00" + b"\x01" + _vint(len(raw)) + raw
        )
        out += _rar5_block(head + fields + extra) + data
    return out + _rar5_block(b"\x05\x00\x00")


def _rar5_block(body: bytes) -> bytes:
    sized = _vint(len(body)) + body
    return struct.pack("<L", zlib.crc32(sized)) + sized


def _vint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return out + bytes((value,))


def seven_zip_bytes(files: Sequence[File], codec: bytes = b"\x00", sealed: bool = False) -> bytes:
    """One folder, stored; codec 06F10701 says AES; sealed: the header itself is under it. Fewer than 128 files."""
    aes = b"\x06\xf1\x07\x01"
    content = b"".join(data for _, data in files)
    coder = _7z_coder(aes if sealed else codec)
    sizes = b"\x06" + _7z_number(0) + b"\x01\x09" + _7z_number(len(content)) + b"\x00"
    folder = b"\x07\x0b\x01\x00" + coder + b"\x0c" + _7z_number(len(content)) + b"\x00"
    if sealed:
        header = b"\x17" + sizes + folder + b"\x00"
        return _7z_start(content, header)
    streams = b"\x08\x0d" + bytes((len(files),)) + b"\x09"
    streams += b"".join(_7z_number(len(data)) for _, data in files[:-1])
    streams += b"\x0a\x01" + b"".join(struct.pack("<L", zlib.crc32(data)) for _, data in files) + b"\x00"
    names = b"\x00" + b"".join(name.encode("utf-16-le") + b"\x00\x00" for name, _ in files)
    entries = b"\x05" + bytes((len(files),)) + b"\x11" + _7z_number(len(names)) + names + b"\x00"
    return _7z_start(content, b"\x01\x04" + sizes + folder + streams + b"\x00" + entries + b"\x00")


def _7z_coder(codec: bytes) -> bytes:
    if codec == b"\x00":
        return b"\x01\x01\x00"
    return b"\x01" + bytes((0x20 | len(codec),)) + codec + b"\x02\x13\x00"


def _7z_number(value: int) -> bytes:
    for extra in range(8):
        if value < 1 << (7 * extra + 7):
            high = (0xFF00 >> extra) & 0xFF
            return bytes((high | value >> (8 * extra),)) + (value & (1 << 8 * extra) - 1).to_bytes(extra, "little")
    return b"\xff" + value.to_bytes(8, "little")


def _7z_start(content: bytes, header: bytes) -> bytes:
    start = struct.pack("<QQL", len(content), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<L", zlib.crc32(start)) + start + content + header
