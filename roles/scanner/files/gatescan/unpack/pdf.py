"""PDF: embedded files, programs that a click starts, and locks (ISO 32000-1, sections 7.3 to 7.6, 7.11, 12.6).

Nothing is rendered. Objects are found by their marks, not by the cross-reference table, so that what an update hides,
or what a damaged table loses, is seen too.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Iterator

from gatescan.judging import targets
from gatescan.judging.budget import Budget
from gatescan.model import Part, Verdict
from gatescan.unpack import common, pdfcrypt
from gatescan.unpack.common import make, note, too_big, unique
from gatescan.unpack.pdftext import NAME_STRING, STRING, decode_string, raw_string

_ESCAPE = re.compile(rb"#([0-9a-fA-F]{2})")
_ESCAPED = re.compile(rb"/[A-Za-z]*(?:#[0-9a-fA-F]{2}[A-Za-z]*)+")
_TELLING = frozenset(
    (b"/ObjStm", b"/EmbeddedFile", b"/EmbeddedFiles", b"/EF", b"/Launch", b"/Encrypt", b"/Filespec", b"/UF")
)
_OBJECT_STREAM = re.compile(rb"/Type\s*/ObjStm(?![A-Za-z])")
_EMBEDDED = re.compile(rb"/Type\s*/EmbeddedFile(?![A-Za-z])")
_LAUNCH = re.compile(rb"/S(?:\s|%[^\r\n]{0,200}[\r\n])*+/Launch(?![A-Za-z])")
"""A comment is as good as a blank."""
_ADDRESS = re.compile(rb"/URI\s*(" + STRING.pattern + rb"|\d{1,8}\s+\d{1,5}\s+R)")
_TO_A_PROGRAM = re.compile(rb"\A(?:[<\d]|\(\s*(?:file|search|ms-|mk|vbs|[a-z]:|[/\\\xfe]))", re.IGNORECASE)
"""How an address begins that may be no page on the web."""
_FILES = re.compile(rb"/EF\s*(?:<<([^<>]{0,400})>>|(\d{1,8})\s+\d{1,5}\s+R)")
_REFERENCE = re.compile(rb"/(?:F|UF|DOS|Mac|Unix)\s*(\d{1,8})\s+\d{1,5}\s+R")
_OBJECT = re.compile(rb"(?<!\d)(\d{1,8})\s+(\d{1,5})\s+obj(?![A-Za-z])")
_REFERRED = re.compile(rb"(\d{1,8})\s+\d{1,5}\s+R(?![A-Za-z])")
_FILTER = re.compile(rb"/(?:Filter|F)\s*(\[[^\]]{0,200}\]|/[A-Za-z0-9]{1,30}|\d{1,8}\s+\d{1,5}\s+R)")
_PREDICTOR = re.compile(rb"/Predictor\s+(?:2|1\d)")
_SIMPLE = re.compile(rb"\s*(" + STRING.pattern + rb"|\[[^\]]{0,200}\]|/[A-Za-z0-9]{1,30})")
"""An object that other places refer to for a name, an address or a filter."""
_IN_STREAM = re.compile(rb"\s*(?:\d{1,8}\s+)+")
_GOES_TO = re.compile(
    rb"(?:/(?:AA|OpenAction)\s{0,9}<<(?:[^>/]|>(?!>)|/(?!AA|OpenA)){0,300}?/GoToR|/GoToE)(?![A-Za-z])"
)
"""What opens another document by itself, or a part of it."""
_STREAM = re.compile(rb"stream\r?\n?")
_NAME_TREE = re.compile(rb"/Names\s*\[")
_DICTIONARY_MAX = 4000
_ACTION_MAX = 400
_WINDOW = 1500
_STREAMS_MAX = 2000
_NAMES_MAX = 2000


def members(part: Part, data: bytes, budget: Budget) -> Iterator[Part]:
    """The embedded files of every revision of the document. Raises LimitReached."""
    raw = data
    if b"#" in data:
        data, escaped = _spelled_out(data)
        if escaped:
            note(part, Verdict.AMBIGUOUS, "pdf-escaped-name", "a key is spelled so that simple readers overlook it")
    key = None
    if b"/Encrypt" in data and (lock := pdfcrypt.find(data)) is not None:
        key = lock.open()
        if key is None:
            note(part, Verdict.ENCRYPTED, "encrypted-pdf", "needs a password")
            return
    reader = _Document(part, data, raw, budget, key)
    texts = [data]
    if b"/ObjStm" in data:
        texts += (_spelled_out(text)[0] if b"#" in text else text for text in reader.object_streams())
        reader.texts = texts
    if any(b"/Launch" in text and _LAUNCH.search(text) for text in texts):
        note(part, Verdict.POLICY, "pdf-launch", "a click in it starts a program")
    if any(targets.starts_program_by_address(address) for text in texts for address in reader.addresses(text)):
        note(part, Verdict.POLICY, "program-link", "a document with a link that starts a program")
    if any(targets.from_elsewhere("picture", place) for text in texts for place in reader.places(text)):
        note(part, Verdict.POLICY, "remote-template", "a document that opens another one on a share by itself")
    if any(b"/EF" in text or b"/EmbeddedFile" in text for text in texts):
        yield from reader.files(texts)


def _spelled_out(text: bytes) -> tuple[bytes, bool]:
    """The text with its names in clear, each as long as before, and whether a telling one was spelled otherwise."""
    known: dict[bytes, bytes] = {}
    telling = False

    def clear(found: re.Match[bytes]) -> bytes:
        nonlocal telling
        written = found.group()
        if clear := known.get(written):
            return clear
        name = _ESCAPE.sub(lambda m: binascii.unhexlify(m.group(1)), written)
        telling = telling or name in _TELLING
        clear = name.ljust(len(written)) if name[1:].isalnum() else written
        if len(known) < _NAMES_MAX:
            known[written] = clear
        return clear

    return _ESCAPED.sub(clear, text), telling


class _Document:
    """The objects of one document."""

    def __init__(self, part: Part, data: bytes, raw: bytes, budget: Budget, key: pdfcrypt.Key | None) -> None:
        """`data`: with its names in clear; `raw`: as it came, for what stands in streams."""
        self._part = part
        self._data = data
        self._raw = raw
        self._budget = budget
        self._key = key
        self._known: dict[int, tuple[bytes, int]] | None = None
        self.texts = [data]
        """The document and what is written in its object streams."""

    def object_streams(self) -> list[bytes]:
        """What is written in compressed object streams."""
        texts: list[bytes] = []
        for found in itertools.islice(_OBJECT_STREAM.finditer(self._data), _STREAMS_MAX + 1):
            self._budget.tick()
            if len(texts) >= _STREAMS_MAX:
                self._too_many("object streams")
                break
            if (text := self._stream_around(found.start())) is not None:
                texts.append(text)
        self._known = None  # a filter by reference was looked for before these objects were there
        return texts

    def addresses(self, text: bytes) -> Iterator[str]:
        """What the links in a text lead to."""
        locked = self._key is not None and text is self._data
        for found in _ADDRESS.finditer(text) if b"/URI" in text else ():
            if _TO_A_PROGRAM.search(found.group(1)) or locked:
                self._budget.tick()
                yield from self._strings([found.group(1)], found.start() if locked else -1)

    def places(self, text: bytes) -> Iterator[str]:
        """Which other documents are opened by themselves."""
        locked = self._key is not None and text is self._data
        for count, found in enumerate(_GOES_TO.finditer(text) if b"/GoTo" in text else ()):
            if count >= _STREAMS_MAX:
                self._too_many("documents that are opened")
                break
            before = text[max(0, found.start() - _ACTION_MAX) : found.start()].rpartition(b"<<")[2].rpartition(b">>")[2]
            behind = text[found.end() : found.end() + _ACTION_MAX].partition(b">>")[0]
            window = before + found.group() + behind
            self._budget.spend(len(window))
            yield from self._strings(NAME_STRING.findall(window), found.start() if locked else -1)

    def files(self, texts: list[bytes]) -> Iterator[Part]:
        """The embedded files, by what refers to them and by what they say they are."""
        wanted, names = self._specifications(texts)
        places = {found.start() for found in _EMBEDDED.finditer(self._data)}
        for found in _OBJECT.finditer(self._data):
            if int(found.group(1)) in wanted:
                places.add(found.end())
        seen: set[int] = set()
        for place in sorted(places):
            self._budget.tick()
            start = self._stream_start(place)
            if start is None or start in seen:
                continue
            seen.add(start)
            content = self._stream_around(place)
            yield make(self._part, self._budget, names, content or b"", sealed=content is None)
        if not seen and names:
            yield make(self._part, self._budget, names, b"", sealed=True)

    def _specifications(self, texts: list[bytes]) -> tuple[set[int], tuple[str, ...]]:
        """The numbers of the streams that file specifications name, and the names that these give."""
        wanted: set[int] = set()
        names: list[str] = []
        for text in texts:
            locked = self._key is not None and text is self._data
            for count, found in enumerate(_FILES.finditer(text)):
                if count >= _STREAMS_MAX:
                    self._too_many("file specifications")
                    break
                self._budget.tick()
                for reference in _REFERENCE.finditer(found.group(1) or b""):
                    wanted.add(int(reference.group(1)))
                window = _object_around(text, found.start())
                self._budget.spend(len(window))
                tokens = NAME_STRING.findall(window)
                tokens += (reference.group(1) + b" 0 R" for reference in _REFERENCE.finditer(window))
                names += self._strings(tokens, found.start() if locked else -1)
            for count, found in enumerate(_NAME_TREE.finditer(text)):
                if count >= _STREAMS_MAX:
                    self._too_many("name trees")
                    break
                self._budget.tick()
                leaf = text[found.end() : found.end() + _DICTIONARY_MAX].partition(b"]")[0]
                self._budget.spend(len(leaf))
                # A key of the tree orders it, and need be no name: Acrobat's own has NUL bytes.
                keys = self._strings(STRING.findall(leaf), found.start() if locked else -1)
                names += (key.replace("\x00", "") for key in keys)
        found_names = unique(*names)
        if len(found_names) > _NAMES_MAX:
            self._too_many("names of files", _NAMES_MAX)
        return wanted, found_names[:_NAMES_MAX]

    def _strings(self, tokens: list[bytes], place: int) -> list[str]:
        """Strings as text, also by reference; those at a `place` in an encrypted document are decrypted first."""
        referred = [self._object(int(found.group(1))) for found in map(_REFERRED.match, tokens) if found]
        self._budget.spend(sum(len(value) for value, _ in referred))
        elsewhere = [text for value, at in referred if value[:1] in (b"(", b"<") for text in self._strings([value], at)]
        tokens = [token for token in tokens if not _REFERRED.match(token)]
        raws = [raw_string(token) for token in tokens]
        if place >= 0 and self._key is not None:
            head = self._data[max(0, place - _DICTIONARY_MAX) : place]
            objects = _OBJECT.findall(head)
            if not objects:
                return []
            number, generation = (int(n) for n in objects[-1])
            raws = [self._key.decrypt_string(raw, number, generation) for raw in raws]
        return [decode_string(raw) for raw in raws] + elsewhere

    def _object(self, number: int) -> tuple[bytes, int]:
        """The string, name or array that an object is, and where it stands in an encrypted document; empty if it is
        none."""
        if self._known is None:
            self._known = {}
            locked = self._key is not None
            for found in _OBJECT.finditer(self._data):
                if value := _SIMPLE.match(self._data, found.end()):
                    self._known[int(found.group(1))] = value.group(1), value.end() if locked else -1
            for text in self.texts[1:]:
                self._budget.tick()
                self._known.update(_in_stream(text))
        return self._known.get(number, (b"", -1))

    def _stream_start(self, place: int) -> int | None:
        """Where the stream of the object that `place` lies in begins."""
        limit = place + _DICTIONARY_MAX
        end = self._data.find(b"endobj", place, limit)
        found = _STREAM.search(self._data, place, end if end >= 0 else limit)
        return found.end() if found else None

    def _too_many(self, what: str, bound: int = _STREAMS_MAX) -> None:
        note(self._part, Verdict.LIMIT, "pdf-objects", f"more than {bound} {what}")

    def _stream_around(self, place: int) -> bytes | None:
        """The decoded stream of the object that `place` lies in; None, with a finding, when it can't be decoded."""
        start = self._stream_start(place)
        if start is None:
            return None
        head_at = self._data.rfind(b"obj", max(0, place - _DICTIONARY_MAX), place + 3)
        head = self._data[max(0, head_at) : start]
        end = self._data.find(b"endstream", start)
        raw = self._raw[start : end if end >= 0 else len(self._raw)]
        if self._key is not None:
            numbers = re.search(rb"(\d{1,8})\s+(\d{1,5})\s+$", self._data[max(0, head_at - 20) : head_at])
            raw = self._key.decrypt(raw, *(int(n) for n in numbers.groups())) if numbers else raw
        return self._decode(raw, head)

    def _decode(self, raw: bytes, head: bytes) -> bytes | None:
        found = _FILTER.search(head)
        declared = (
            _REFERRED.sub(lambda ref: self._object(int(ref.group(1)))[0] or b"/?", found.group(1)) if found else b""
        )
        filters = re.findall(rb"/([A-Za-z0-9?]+)", declared)
        if _PREDICTOR.search(head):
            filters.append(b"Predictor")
        for name in filters:
            if name in (b"FlateDecode", b"Fl"):
                raw, _, _ = common.inflate(raw, self._budget, 15)
            elif name in (b"ASCIIHexDecode", b"AHx"):
                digits = re.sub(rb"[^0-9A-Fa-f]", b"", raw.partition(b">")[0])
                raw = binascii.unhexlify(digits + b"0" * (len(digits) % 2))
            elif name in (b"ASCII85Decode", b"A85"):
                raw = _ascii85(raw)
            else:
                note(
                    self._part,
                    Verdict.POLICY,
                    "cannot-open",
                    "an embedded file in an encoding that is not read here",
                )
                return None
            if len(raw) > common.MEMBER_MAX:
                too_big(self._part, "")
                return None
        if not filters:
            self._budget.spend(len(raw))
        return raw


def _in_stream(text: bytes) -> Iterator[tuple[int, tuple[bytes, int]]]:
    """The simple objects of an object stream, which begins with their numbers and offsets."""
    numbers = _IN_STREAM.match(text)
    pairs = numbers.group().split() if numbers else []
    known: dict[bytes, bytes | None] = {}
    for number, offset in zip(pairs[::2], pairs[1::2], strict=False):
        if numbers and offset not in known:
            value = _SIMPLE.match(text, numbers.end() + int(offset))
            known[offset] = value and value.group(1)
        if simple := known.get(offset):
            yield int(number), (simple, -1)


def _ascii85(raw: bytes) -> bytes:
    text = re.sub(rb"[^!-uz]", b"", raw.partition(b"~")[0])
    try:
        return base64.a85decode(text)
    except ValueError:
        return b""


def _object_around(text: bytes, place: int) -> bytes:
    """The surroundings of a file specification, not further than its object."""
    low = max(0, place - _WINDOW)
    before = text[low:place].rpartition(b"endobj")[2]
    return before + text[place : place + _WINDOW].partition(b"endobj")[0]
