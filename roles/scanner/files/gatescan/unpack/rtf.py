"""RTF: embedded objects, read as leniently as Word does, and remote templates.

Malware hides the hexadecimal data of an object behind stray groups, control words, spaces and binary runs; so
everything that is no hexadecimal digit is dropped. Source: RTF 1.9.1, MS-OLEDS section 2.2.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Iterator

from gatescan.judging import targets
from gatescan.judging.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import fields, packages
from gatescan.unpack.common import make, note, unique
from gatescan.unpack.ole import read_package

_TEMPLATE = re.compile(rb"(?:\\\*|\{)\s{0,20}\\template(?![a-zA-Z])", re.IGNORECASE)
_FIELD = re.compile(rb"\\fldinst(?![a-zA-Z])", re.IGNORECASE)
_SHAPE_LINK = re.compile(rb"\\hlsrc(?![a-zA-Z])")
_REMOTE = re.compile(
    r"\s*(?:(?:https?|ftp|mhtml|ms-[a-z-]+):|(?:file:)?[/\\]{2,5}(?![/\\]*[a-z]:)[^/\\]+[/\\])", re.IGNORECASE
)
_CONTROL = re.compile(rb"\\(?:'[0-9a-fA-F]{2}|[a-zA-Z]+-?\d* ?|[^a-zA-Z])")
_TOKEN = re.compile(
    rb"\\'(?P<hex>[0-9a-fA-F]{2})|\\u(?P<code>-?\d{1,6}) ?|\\(?P<word>[a-zA-Z]{1,40})(?P<value>-?\d{1,10})? ?"
    rb"|\\(?P<symbol>[^a-zA-Z])|(?P<brace>[{}])|[\r\n]+|(?P<plain>[^\\{}\r\n]+)"
)
_TEXT_MAX = 20_000
_NOT_HEX = re.compile(rb"[^0-9a-fA-F]+")
_BRACES = re.compile(rb"[{}]")
_BINARY = re.compile(rb"\\bin0*(\d{1,9}) ?")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OBJECTS_MAX = 500
_FIELD_WORDS = {b"field": (fields.BEGIN, fields.END), b"fldrslt": (fields.SEPARATE, "")}


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The objects in an RTF document. Raises LimitReached."""
    for target in _texts(data, _TEMPLATE, budget):
        target = target.strip(' "')
        if _REMOTE.match(target) and not targets.on_own_server(target):
            note(part, Verdict.POLICY, "remote-template", "a document with a template elsewhere")
    for text in _texts(data, _FIELD, budget):
        packages.look_at_fields(part, f"{fields.BEGIN}{text}{fields.END}")
    if any(targets.starts_program(target.strip()) for target in _texts(data, _SHAPE_LINK, budget)):
        note(part, Verdict.POLICY, "program-link", "a document with a link that starts a program")
    at = data.find(b"\\objdata")
    count = 0
    while at >= 0:
        budget.tick()
        if count >= _OBJECTS_MAX:
            note(part, Verdict.LIMIT, "rtf-objects", f"more than {_OBJECTS_MAX} objects")
            break
        start = at + len(b"\\objdata")
        end = _group_end(data, start)
        for blob in _decoded(data[start:end]):
            budget.spend(len(blob))
            yield from _object(part, budget, blob)
        at = data.find(b"\\objdata", max(start, end))
        count += 1


def _texts(data: bytes, mark: re.Pattern[bytes], budget: Budget) -> Iterator[str]:
    """The text of each group that `mark` begins; what lies in one is not read again."""
    found = mark.search(data)
    while found:
        budget.tick()
        text = _Text()
        yield text.read(data, found.end())
        found = mark.search(data, max(text.end, found.end()))


class _Text:
    """The text of a group as Word sees it, without what it passes over; fields stand between their marks."""

    def __init__(self) -> None:
        self.end = 0
        self._out: list[str] = []
        self._depth = 0
        self._marks: list[tuple[int, str]] = []
        self._skip = 0
        self._width = 1
        self._star = False
        self._hidden: int | None = None

    def read(self, data: bytes, at: int) -> str:
        """The text from `at` to the end of the group, at most 20,000 bytes on, without the bytes of binary runs."""
        left = _TEXT_MAX
        while left > 0:
            start = at
            at = self._run(data, start, start + left)
            if at < 0:
                break
            left -= self.end - start
        return "".join(self._out)

    def _run(self, data: bytes, at: int, stop: int) -> int:
        """Read on to a binary run; where that ends, or -1 where there is none before the group is closed."""
        for found in _TOKEN.finditer(data, at, stop):
            self.end = found.end()
            kind = found.lastgroup
            if kind == "brace":
                self._brace(found.group() == b"{")
                if self._depth < 0:
                    break
            elif kind == "word" or kind == "value":
                if found["word"] == b"bin" and found["value"]:
                    return self.end + max(0, int(found["value"]))
                self._word(found["word"].lower(), found["value"])
            elif kind == "symbol":
                self._symbol(found["symbol"])
            elif kind == "code":
                code = int(found["code"]) & 0xFFFF
                self._add(chr(code) if not 0xD800 <= code < 0xE000 else "")
                self._skip = self._width
            elif kind is not None:
                text = chr(int(found["hex"], 16)) if kind == "hex" else found["plain"].decode("latin-1")
                self._add(text[self._skip :])
                self._skip = max(0, self._skip - len(text))
        return -1

    def _add(self, text: str) -> None:
        if self._hidden is None:
            self._out.append(text)

    def _brace(self, opens: bool) -> None:
        self._depth += 1 if opens else -1
        self._skip = 0
        while self._marks and self._marks[-1][0] > self._depth:
            self._out.append(self._marks.pop()[1])
        if self._hidden is not None and self._hidden > self._depth:
            self._hidden = None

    def _word(self, word: bytes, value: bytes | None) -> None:
        if word == b"uc" and value:
            self._width = max(0, min(10, int(value)))
        elif word in _FIELD_WORDS:
            opening, closing = _FIELD_WORDS[word]
            self._out.append(opening)
            self._marks.append((self._depth, closing))
        elif self._star and word != b"fldinst" and self._hidden is None:
            self._hidden = self._depth
        self._star = False

    def _symbol(self, symbol: bytes) -> None:
        self._star = symbol == b"*"
        if symbol in (b"\\", b"{", b"}"):
            self._add(symbol.decode())


def _group_end(data: bytes, start: int) -> int:
    """Where the group that the data stands in is closed; binary runs are skipped."""
    depth = 0
    at = start
    while found := _BRACES.search(data, at):
        binary = data.rfind(b"\\bin", at, found.start())
        if binary >= 0 and (run := _BINARY.match(data, binary)) and run.end() + int(run.group(1)) > found.start():
            at = run.end() + int(run.group(1))
            continue
        at = found.end()
        depth += 1 if found.group() == b"{" else -1
        if depth < 0:
            return found.start()
    return len(data)


def _decoded(text: bytes) -> list[bytes]:
    """The readings of an object's text: as binary run, and as hexadecimal digits without whatever is between."""
    blobs: list[bytes] = []
    if run := _BINARY.search(text):
        blobs.append(text[run.end() : run.end() + int(run.group(1))])
    digits = _NOT_HEX.sub(b"", _CONTROL.sub(b"", text))
    odd = len(digits) % 2
    for reading in (digits[: len(digits) - odd], digits[1 : len(digits) - 1 + odd]):
        blob = binascii.unhexlify(reading) if len(reading) % 2 == 0 else b""
        blobs.append(blob)
        if b"\x02\x00\x00\x00" in blob[:16] or b"\x01\x00\x00\x00" in blob[:16] or _OLE in blob:
            break
    return [blob for blob in blobs if blob]


def _object(part: Part, budget: Budget, blob: bytes) -> Iterator[Part]:
    """An OLE 1.0 object: linked, a package, or a compound file of another program."""
    parsed = _ole1(blob)
    if parsed is None:
        at = blob.find(_OLE)
        if at >= 0:
            yield make(part, budget, (), blob[at:])
        elif b"package" in blob[:256].lower() or b"MZ" in blob[:4096]:
            note(part, Verdict.POLICY, "embedded-package", "a document with a damaged packed file in it")
        return
    form, class_name, content = parsed
    if form == 1 or class_name.lower() == b"ole2link":
        note(part, Verdict.POLICY, "remote-template", "a document with a linked object")
    if class_name.lower() == b"package" or class_name.lower() == b"ole10native":
        package = read_package(content)
        note(part, Verdict.POLICY, "embedded-package", "a document with a packed file in it")
        yield make(part, budget, package.names if package else (), package.data if package else content)
    elif content:
        yield make(part, budget, unique(class_name.decode("latin-1") if b"." not in class_name else ""), content)


def _ole1(blob: bytes) -> tuple[int, bytes, bytes] | None:
    """Its form (1 linked, 2 embedded), class name and native data."""
    try:
        _, form = struct.unpack_from("<LL", blob, 0)
        if form not in (1, 2):
            return None
        at = 8
        texts = []
        for _ in range(3):
            (length,) = struct.unpack_from("<L", blob, at)
            if length > 4096:
                return None
            texts.append(blob[at + 4 : at + 4 + length].rstrip(b"\x00"))
            at += 4 + length
        (size,) = struct.unpack_from("<L", blob, at)
    except struct.error:
        return None
    return form, texts[0], blob[at + 4 : at + 4 + size] or blob[at + 4 :]
