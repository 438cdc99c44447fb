"""Archives that libarchive reads: 7z, rar, cab, lzh, tar, cpio, deb, rpm and compressed streams.

Nothing is ever written to disk: a link, a device or a path that leads outside can do no harm here; they are reported
because they do where the archive is unpacked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from gatescan.judging import filetype
from gatescan.judging.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import _libarchive as la
from gatescan.unpack import rarlist
from gatescan.unpack.common import MEMBER_MAX, check_name, make, note, spellings, too_big, unique, unopenable

_FORMATS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "7z": (("7zip",), (), ""),
    "rar": (("rar", "rar5"), (), ""),
    "cab": (("cab",), (), ""),
    "lzh": (("lha",), (), ""),
    "tar": (("tar",), (), "read_concatenated_archives"),
    "cpio": (("cpio",), (), ""),
    "ar": (("ar",), (), ""),
    "deb": (("ar",), (), ""),
    "rpm": (("cpio",), ("rpm", "gzip", "bzip2", "xz", "lzma", "zstd"), ""),
    "zstd": (("raw",), ("zstd",), ""),
    "lz4": (("raw",), ("lz4",), ""),
    "lzip": (("raw",), ("lzip",), ""),
    "compress": (("raw",), ("compress",), ""),
}
"""Kind: the formats, the filters and the options that libarchive is given."""

_STREAMS = frozenset(("zstd", "lz4", "lzip", "compress"))
_SUFFIX = re.compile(
    r"(?:\.(?:t?gz|gzip|t?bz2?|tbz2|bzip2?|t?xz|lzma|tlz|lz|t?zst|zstd|lz4|z|taz)|-g?z|_z)\Z", re.IGNORECASE
)
"""What compressors add to a name, gunzip's `-gz` among it; their short forms for a tar file begin with t."""
_TAR_SUFFIXES = frozenset(("tgz", "tbz", "tbz2", "txz", "tlz", "tzst", "taz"))
_DEEPEST = 64
"""Folders in one another from which a link may go up."""
_ANY_SUFFIX = re.compile(r"(?<=[^/\\])\.[^./\\\s]{1,12}\Z")


def members(part: Part, data: bytes, budget: Budget, kind: str) -> Iterator[Part]:
    """One level of the members of an archive of that kind. Raises Unavailable without libarchive."""
    if kind in _STREAMS:
        yield from _stream(part, data, budget, kind)
    elif kind == "rar":
        yield from _rar(part, data, budget)
    else:
        if kind == "cab" and len(data) > 32 and data[30] & 3:
            note(part, Verdict.POLICY, "lone-volume", "one cabinet of a set")
        yield from _walk(part, data, budget, kind)


def single(data: bytes, budget: Budget) -> tuple[bytes, bool]:
    """The bytes of the only member of a zip that was wrapped around it, and whether they ended properly."""
    out = bytearray()
    try:
        with la.Reader(data, ("zip",), ()) as reader:
            if reader.next() is not None:
                _fill(reader, budget, out)
    except la.Failure:
        return bytes(out), False
    return bytes(out), True


def _walk(part: Part, data: bytes, budget: Budget, kind: str, extra: str = "") -> Iterator[Part]:
    formats, filters, options = _FORMATS[kind]
    sealed = False
    found = 0
    links = _Links()
    try:
        with la.Reader(data, formats, filters, extra or options) as reader:
            while (member := reader.next()) is not None:
                found += 1
                budget.tick()
                made = _member(part, budget, reader, member, kind, links)
                sealed = sealed or (made is not None and made.sealed)
                if made is not None:
                    yield made
            if reader.has_encrypted and not sealed:
                note(part, Verdict.ENCRYPTED, f"encrypted-{kind}", "needs a password")
    except la.Failure as failure:
        _failed(part, kind, failure)
        return
    if not found and kind not in ("tar", "7z"):
        unopenable(part, f"a file of type {kind} without any readable member")


def _member(part: Part, budget: Budget, reader: la.Reader, member: la.Member, kind: str, links: _Links) -> Part | None:
    """The member that was just reached; None for directories. Raises Failure, LimitReached."""
    names = unique(*(spelling for raw in member.raw_names for spelling in spellings(raw)))
    shown = names[0] if names else ""
    check_name(part, shown)
    file_type, link = member.file_type, member.link
    if file_type == la.DIRECTORY:
        budget.part()
        return None
    if link:
        target = link.decode("utf-8", "replace")
        return _link(part, budget, names, links.lead_out(shown, target, file_type == la.SYMLINK))
    if file_type not in (0, la.REGULAR):
        note(part, Verdict.POLICY, "archive-device", "a device or another special file", shown)
        return make(part, budget, names, b"")
    if member.encrypted:
        note(part, Verdict.ENCRYPTED, f"encrypted-{kind}", "needs a password", shown)
        return make(part, budget, names, b"", sealed=True)
    content = _content(part, budget, reader, kind, shown)
    return make(part, budget, names, content or b"", sealed=content is None)


class _Links:
    """The symbolic links of one archive so far."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def lead_out(self, name: str, target: str, symbolic: bool) -> bool:
        """Whether a link leads out of the archive. A symbolic one begins at its own folder, and may go up as often as
        that lies below the top, but in no folder that may be a link itself.
        """
        path, steps = _steps(name.casefold()), _steps(target)  # Windows takes D for d
        ups = steps.count("..")
        deep = len(path) - 1
        allowed = deep if symbolic and deep <= _DEEPEST and not self._pass_link(path[:-1]) else 0
        if symbolic:
            self._names.add("/".join(path))
        return target.startswith(("/", "\\")) or ups > allowed or ".." in steps[ups:]

    def _pass_link(self, folders: list[str]) -> bool:
        return ".." in folders or any(path in self._names for path in accumulate(folders, "{}/{}".format))


def _steps(path: str) -> list[str]:
    return [step for step in path.replace("\\", "/").split("/") if step not in ("", ".")]


def _link(part: Part, budget: Budget, names: tuple[str, ...], out: bool) -> Part:
    if out:
        shown = names[0] if names else ""
        note(part, Verdict.POLICY, "path-traversal", "a link that leads out of the archive", shown)
    return make(part, budget, names, b"")


def _content(part: Part, budget: Budget, reader: la.Reader, kind: str, shown: str) -> bytes | None:
    """The member's bytes, as far as they can be read; None when nothing can or it is too big."""
    out = bytearray()
    try:
        if _fill(reader, budget, out):
            return bytes(out)
        too_big(part, shown)
        return None
    except la.Failure as failure:
        _failed(part, kind, failure, shown)
        if failure.fatal and not out:
            return None
        return bytes(out) or None


def _fill(reader: la.Reader, budget: Budget, out: bytearray) -> bool:
    """Read a member's data; holes are filled with the zeros that one would see. False when it is too big."""
    while (block := reader.block()) is not None:
        offset, content = block
        if max(offset, len(out)) + len(content) > MEMBER_MAX:
            return False
        budget.spend(max(0, offset - len(out)) + len(content))
        budget.tick()
        if offset > len(out):
            out.extend(bytes(offset - len(out)))
        out += content
    return True


def _failed(part: Part, kind: str, failure: la.Failure, shown: str = "") -> None:
    why = str(failure)
    lower = why.lower()
    if failure.memory:
        note(part, Verdict.LIMIT, "limit-memory", f"it needs more than {la.MEMORY_MAX} bytes of memory", shown)
    elif "encrypt" in lower or "crypto" in lower or "password" in lower:
        note(part, Verdict.ENCRYPTED, f"encrypted-{kind}", "needs a password", shown)
    else:
        note(part, Verdict.POLICY, "unopenable", f"can't be read to its end: {why}", shown)


def _stream(part: Part, data: bytes, budget: Budget, kind: str) -> Iterator[Part]:
    # libarchive does not know all of these frames.
    start = filetype.behind_skippable(data, len(data) // 8, budget) if kind in ("zstd", "lz4") else 0
    for member in _walk(part, data[start:] if start else data, budget, kind):
        member.names = stripped(part.names)
        yield member


def stripped(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names that a compressed stream's content goes by: those of the stream without the suffix.

    Programs go by the bytes: what is packed by bzip2 and named `.xz` loses that suffix too, and 7-Zip takes off
    whatever stands behind the last dot.
    """
    return unique(*(_stem(name) for name in names))


def _stem(name: str) -> str:
    name = name.rstrip(" .\t")
    if found := _SUFFIX.search(name):
        tar = found.group()[1:].lower() in _TAR_SUFFIXES
        return name[: found.start()] + (".tar" if tar else "")
    return _ANY_SUFFIX.sub("", name) if _ANY_SUFFIX.search(name) else ""


def _rar(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """By libarchive, and by our own list of names where that can't read the content."""
    listing = rarlist.read(data)
    if listing.volume:
        note(part, Verdict.POLICY, "lone-volume", "one volume of a set of rar volumes")
    if listing.sealed:
        note(part, Verdict.ENCRYPTED, "encrypted-rar", "even the list of names needs a password")
        return
    locked = {_slashed(entry.raw) for entry in listing.entries if entry.encrypted}
    seen: Counter[bytes] = Counter()
    for member in _walk(part, data, budget, "rar"):
        member_names = {_slashed(name.encode("utf-8", "replace")) for name in member.names}
        if member_names & locked or not (member.names or len(member.data)):
            # libarchive may hand out what it can't decrypt, or an empty thing: our list adds these members as sealed.
            continue
        seen.update(member_names)
        yield member
    for entry in listing.entries:
        raw = _slashed(entry.raw)
        seen[raw] -= 1
        if entry.directory or seen[raw] >= 0:
            continue
        # Also the second of two members of one name, which libarchive takes for the next volume's share.
        names = spellings(entry.raw)
        shown = names[0] if names else ""
        if entry.encrypted:
            note(part, Verdict.ENCRYPTED, "encrypted-rar", "needs a password", shown)
        else:
            note(part, Verdict.POLICY, "unopenable", "a member which can't be read", shown)
        yield make(part, budget, names, b"", sealed=True)


def _slashed(raw: bytes) -> bytes:
    return raw.replace(b"\\", b"/")
