"""Scripts of a page, layer by layer: what they hide in codes and joined words, and the files that they carry.

Nothing is run. Each layer is text: the page itself, the same with its strings joined and their escapes undone, what
stands there in base64, hex, percent signs or numbers, and so on, until nothing new comes. What was seen in all layers
together is the evidence.
"""

from __future__ import annotations

import binascii
import html
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from gatescan.judging import filetype
from gatescan.judging.budget import Budget, LimitReached
from gatescan.mime import strewn
from gatescan.model import Buffer
from gatescan.text.large import BLOCK, holds, windows
from gatescan.text.words import loose_base64

MAX_LAYERS = 12
"""Layers in one another; more is a `limit`."""
MAX_NAMES = 20
"""Names under which a page saves files, of which each is tested."""

_OVERLAP = 8_192
_FILE_BYTES = 45
"""Decoded bytes below which a magic number may be chance."""
_OPAQUE_BYTES = 384
"""Decoded bytes that are of no known kind, from which on they may be a hidden script or file."""
_INFLATED = 2_000_000
_SWAPPED = bytes(byte << 4 & 0xF0 | byte >> 4 for byte in range(256))
_RAMP_MOST, _RAMP_STEP = 768, 8
"""Bytes of 256 colours, and how far apart two of them are on average; in a program or a text it is 20 and more."""

# What a browser saves as a file, by itself or with one of BYTES or TEXTS behind it.
SAVES = (b"createobjecturl", b"mssaveoropenblob", b"mssaveblob", b"showsavefilepicker")
_READS = b"readasdataurl"
"""Makes an address of a file that the reader chose, or of one that a script has built."""
# How bytes that are no text get there ...
BYTES = (
    *(b"atob", b"8array", b"clampedarray", b"16array", b"32array", b"64array", b"arraybuffer", b"dataview"),
    *(b"fromcharcode", b"fromcodepoint", b"charcodeat", b"unescape", b"frombase64"),
)
# ... and text.
TEXTS = (b"new blob", b"new file(", b"newblob", b".blob(")
_DECODES = frozenset(
    (
        *(b"atob", b"unescape", b"fromcharcode", b"charcodeat", b"fromcodepoint", b"frombase64"),
        *(b"textdecoder", b"decrypt("),
    )
)
# Programs that are written without letters: JSFuck, AAEncode and their kin.
_WITHOUT_LETTERS = (b"(![]+[])", b"(!![]+[])", b'(![]+"")', b"(!''+[])", b"(![]+'')")
_SINKS = (b"srcdoc", b"contextualfragment", b"parsefromstring", b"construct", b".text")
"""Beside those with `html`: what makes a page or a script of a text."""
_FAMILIES: dict[bytes, tuple[bytes, ...]] = {
    b"objecturl": (b"createobjecturl",),
    b"mssave": (b"mssaveoropenblob", b"mssaveblob"),
    b"filepicker": (b"showsavefilepicker",),
    b"asdataurl": (_READS,),
    b"array": (b"8array", b"clampedarray", b"16array", b"32array", b"64array", b"arraybuffer"),
    b"char": (b"fromcharcode", b"charcodeat"),
    b"codepoint": (b"fromcodepoint",),
    b"base64": (b"base64", b"frombase64"),
    b"blob": (b"new blob", b"newblob", b".blob("),
    b"+[])": _WITHOUT_LETTERS,
    b"(![]+": _WITHOUT_LETTERS,
    **{word: (word,) for word in (b"atob", b"dataview", b"unescape", b"new file(", b"download", b"_0x")},
    **{word: (word,) for word in (b"eval", b"write", b"execscript", b"textdecoder", b"decrypt(", *_SINKS)},
    b"html": (b"innerhtml", b"outerhtml", b"insertadjacenthtml"),
}
"""Words that are looked for, by what they have in common: one search where none of them stands."""
PASSIVE = (
    *(".csv", ".tsv", ".txt", ".json", ".geojson", ".xml", ".md", ".log", ".ics", ".vcf"),
    *(".png", ".jpg", ".jpeg", ".gif", ".pdf"),
)
"""Ends of names of text and pictures that nothing runs."""

_EVAL = re.compile(rb"eval(?![\w$])")
_WRITES = re.compile(rb"(?:\.\s{0,9}|\[[\"'`])write(?:ln)?(?:[\"'`]\])?\s{0,9}\(")
_MAKES_FUNCTION = re.compile(rb"Function\s{0,9}\(\s{0,9}[\"'`\w]")
_INSERTS = re.compile(
    rb"(?:(?:inner|outer)html[\"'`\]]{0,2}\s{0,9}\+?=(?!=)|srcdoc[\"'`\]]{0,2}\s{0,9}=(?!=)|\.text\s{0,9}=(?!=)|(\.textcontent)\s{0,9}=(?!=)"
    rb"|(?:insertadjacenthtml|contextualfragment|parsefromstring|constructor)[\"'`\]]{0,2}\s{0,9}\("
    rb"|construct\s{0,9}\(\s{0,9}function\b)"
    rb"[^;{}]{0,200}?\b(?:atob|unescape|fromcharcode|fromcodepoint|decode|decrypt)[\"'`\]]{0,2}\s{0,9}\("
)
"""Where a text that is decoded becomes a page, or what an element (a script, it may be) says, there and then."""
_MAKES_SCRIPT = re.compile(rb"createelement[\"'`\]]{0,2}\s{0,9}\(\s{0,9}[\"'`]script")
_INSERTING = frozenset((b"innerhtml", b"outerhtml", b"insertadjacenthtml", *_SINKS))
_OBFUSCATOR = re.compile(rb"_0x[0-9a-f]{4,6}\b")
_OBFUSCATED_NAMES = 30
_DOWNLOAD = re.compile(
    rb"download([\"'`]?)\s{0,9}\]?\s{0,9}([=,)]=?)(?:\s{0,9}[\"'`]?([^\"'`<>\s;)]{1,255}))?", re.IGNORECASE
)
_SETS_ATTRIBUTE = re.compile(rb"setattribute(?:[\"'`]\s{0,9}\])?\s{0,9}\(\s{0,9}[\"'`]$", re.IGNORECASE)
_PROPERTY = re.compile(rb"(?:\.\s{0,9}|\[\s{0,9}[\"'`])$")
_ATTRIBUTE = re.compile(rb"[\s\"'](?:[\w-]{1,20}[:.])?$")
_COMPUTED_DATA = re.compile(rb"base64\s{0,9},(?:[\"'`]|\$\{)", re.IGNORECASE)
"""An address whose content is put together, where what stands there in clear is none yet: see `_makes_address`."""
_ADDED_TO = re.compile(rb"\s{0,9}(?:\+|\.\s{0,9}concat|\[\s{0,9}[\"'`]concat)", re.IGNORECASE)
_NEXT = re.compile(rb"\s{0,9},")
_LITERAL = re.compile(rb"[\"'`]([^\"'`]{0,100})\Z")
_ONLY_ASKS = re.compile(
    rb"(?:[=!]=|\b(?:split|indexOf|lastIndexOf|includes|startsWith|search|match|replace|replaceAll)"
    rb"(?:[\"'`]\s{0,9}\])?\s{0,9}\()\s{0,9}\Z"
)
"""In front of a string that is looked for in an address, or taken out of it."""
_SET_PROPERTY = re.compile(rb"(?:\.|\[\s{0,9}[\"'`])([A-Za-z_$][\w$]{0,40})(?:[\"'`]\s{0,9}\])?\s{0,9}=\s{0,9}\Z")
_READ_NAME = re.compile(rb"(?<![\w$])([A-Za-z_$][\w$]*+)(?![\"'`]?\s{0,9}\]?\s{0,9}=(?![=>]))")
"""A name that stands there for what it has, not to be given something."""
_ALTERED = re.compile(
    rb"\s{0,9}(?:\+|(?:\.|\[\s{0,9}[\"'`])\s{0,9}(?:replace|split(?!(?:[\"'`]\])?\((?:[\"'`],[\"'`])?\))))",
    re.IGNORECASE,
)
"""What stands behind an address whose content is not what its script uses; `split(",")` only takes it apart."""
_CALLED_BY_RESULT = re.compile(rb"[)\]]\s{0,9}\]\s{0,9}\(")
_CALLS = 4
"""Calls of functions by names that a script works out, of which a library has hardly one."""
_SHOWN = re.compile(rb"(?:image|font|audio|video)[\\/]", re.IGNORECASE)

_DATA_URL = re.compile(rb"d[\t\r\n]*a[\t\r\n]*t[\t\r\n]*a[\t\r\n]*:", re.IGNORECASE)
_TYPE_END = re.compile(rb"[,<>()]")
_LONGEST_TYPE = 200
_SAYS_BASE64 = re.compile(rb";\s{0,9}b[\t\r\n]*ase64\s{0,9}\Z", re.IGNORECASE)
_ADDRESS_END = re.compile(rb"[\"'`<>)\\]")

_BETWEEN = rb"(?:\s|/\*[^*]{0,80}\*/){0,20}"
_JOINT = re.compile(
    rb"[\"'`]" + _BETWEEN + rb"(?:\+|,|\.concat\(|\)\s{0,9}\+\s{0,9}\()" + _BETWEEN + rb"[\"'`]"
    rb"|\$\{\s{0,9}([\"'`])([^\"'`{}\\]{0,80})\1\s{0,9}\}|\$\{\s{0,9}\}"
    rb"|[\"'`]\s{0,9}[;,]\s{0,9}[A-Za-z_$][\w$.]{0,40}\s{0,9}\+=\s{0,9}[\"'`]"
)
_JS_ESCAPE = re.compile(
    rb"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{0*([0-9a-fA-F]{1,6})\}|([0-3]?[0-7]{1,2})|(\r?\n|.))", re.DOTALL
)
_PLAIN_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b" ", b"f": b" ", b"v": b" ", b"\n": b"", b"\r\n": b""}
_CODES = (
    (b"\\x", re.compile(rb"\\x[0-9a-fA-F]{2}(?:\\x[0-9a-fA-F]{2}){44,}")),
    (b"\\u00", re.compile(rb"\\u00[0-9a-fA-F]{2}(?:\\u00[0-9a-fA-F]{2}){44,}")),
    (b"%", re.compile(rb"%[0-9a-fA-F]{2}(?:%[0-9a-fA-F]{2}){44,}")),
)
_PERCENT = re.compile(rb"%(?:u[0-9a-fA-F]{4}|[0-9a-fA-F]{2})(?:[^%]{0,9}%(?:u[0-9a-fA-F]{4}|[0-9a-fA-F]{2})){5}")
_PERCENT_CODE = re.compile(rb"%(?:u([0-9a-fA-F]{4})|([0-9a-fA-F]{2}))")
_QUOTED = re.compile(rb"[\"'`]([A-Za-z0-9+/_-]{8,59}={0,2})[\"'`]")
_RUN = re.compile(rb"[A-Za-z0-9+/_-]{60,}+(?:[\\\s]{1,8}[A-Za-z0-9+/]{16,}+)*={0,2}")
_HEX = re.compile(rb"[0-9a-fA-F]{16,}")
_BYTE = rb"(?:0x[0-9a-fA-F]{1,2}|\d{1,3})"
_NUMBERS = re.compile(_BYTE + rb"(?:[\s,;|:-]{1,9}" + _BYTE + rb"){11,}")
_HEX_PAIRS = re.compile(rb"[0-9a-fA-F]{2}(?:[ ,;:|!@#$&*~^-][0-9a-fA-F]{2}){11,}")
_LEAST_LIST = 23
"""Characters of a list of twelve numbers."""
_NUMBER = re.compile(rb"0x[0-9a-fA-F]{1,2}|\d{1,3}")
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdefABCDEF"))


def _table(letters: bytes) -> bytes:
    """For `bytes.translate`: `A` for these letters, a blank for all others."""
    return bytes(65 if c in letters else 32 for c in range(256))


_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IN_BASE64 = _table(_LETTERS + b"0123456789+/_-")
_IN_LISTS = _table(b"0123456789abcdefABCDEFxX ,;|:!@#$&*~^-\t\r\n")
_LEAST_RUN = 60
_SRCDOC = re.compile(rb"srcdoc\s{0,9}=\s{0,9}(?:\"([^\"]*+)|'([^']*+))", re.IGNORECASE)

_IN_NAMES = _LETTERS + b"0123456789_$"
_ASSIGNED = re.compile(rb"=\s{0,9}([\"'`])([^\"'`\\\n]{0,200})\1")
_OPERAND = rb"(?:[A-Za-z_$][\w$]{0,40}|[\"'`][^\"'`\\\n]{0,200}[\"'`])"
_ADDED = re.compile(rb"\+\s{0,9}(" + _OPERAND + rb"(?:\s{0,9}\+\s{0,9}" + _OPERAND + rb"){0,200})")
_LINK = re.compile(rb"([A-Za-z_$][\w$]*)|[\"'`]([^\"'`]*)[\"'`]")
_LONGEST_OPERAND = 250
_UNKNOWN = b"${?}"
"""In the place of an operand of which nothing is known, as a template has it: what is made there is put together."""
_MAX_VARIABLES = 5_000

_WORDS = re.compile(
    rb"function|return|document|window|var |let |new |const |=>|</[a-z]{1,10}>|<script|https?:"
    rb"|[a-z]{2,9}(?: [a-z]{2,9}){3}"
)
"""What stands in any script, page or prose of some length."""
_PRINTABLE = re.compile(rb"[\t\n\r -~]+")
_TEXTUAL = frozenset(("text", "html", "svg", "xml", "mail", "script"))
_FILES = filetype.EXECUTABLES | filetype.ARCHIVES | filetype.DOCUMENTS | filetype.UNOPENABLE

File = tuple[tuple[str, ...], str, bytes]
"""Names, media type, content."""


@dataclass(slots=True)
class Evidence:
    """What the layers of one page have shown so far.

    seen: those of _FAMILIES that stand in any layer. names: under which it saves files. opaque: bytes of no known kind
    stand there in a code. saves: a script names a file that is saved. computed: a script makes a data: address.
    runs: it runs text as a script. obfuscated: its names are numbers. calls: so often it calls what it works out the
    name of.
    """

    seen: set[bytes] = field(default_factory=set)
    names: dict[str, None] = field(default_factory=dict)
    opaque: bool = False
    saves: bool = False
    computed: bool = False
    runs: bool = False
    obfuscated: bool = False
    calls: int = 0

    def look(self, layer: bytes, cleaned: bool = False) -> None:
        """Note what stands in a layer. cleaned: what is in clear there may have been put together by chance."""
        lower = layer.lower()
        here = {word for mark, words in _FAMILIES.items() if mark in lower for word in words if word in lower}
        self.seen |= here
        if b"download" in here:
            self._look_for_names(layer)
        if b"base64" in here and not self.computed:
            self.computed = _makes_address(layer) or _is_altered(layer, lower)
        self.runs = self.runs or _runs_text(layer, lower, here)
        if b"_0x" in here and not self.obfuscated:
            self.obfuscated = len(_OBFUSCATOR.findall(lower)) >= _OBFUSCATED_NAMES
        if not cleaned:
            self.calls = max(self.calls, len(_CALLED_BY_RESULT.findall(layer)))
            self.opaque = self.opaque or strewn.has_unreadable(layer)

    def _look_for_names(self, layer: bytes) -> None:
        """The names that files are saved under, and whether a script sets one."""
        for found in _DOWNLOAD.finditer(layer):
            before = layer[max(0, found.start() - 40) : found.start()]
            if (found[2] == b"=" and _PROPERTY.search(before)) or _SETS_ATTRIBUTE.search(before):
                self.saves = True
            elif found[1] or found[2] != b"=" or not _ATTRIBUTE.search(before):
                continue
            if found[3] and len(self.names) < MAX_NAMES:
                self.names[found[3].decode("utf-8", "replace")] = None

    @property
    def builds_a_file(self) -> bool:
        """Whether it saves what code has made."""
        if self.computed:
            return True
        saves = self.saves or not self.seen.isdisjoint(SAVES)
        blobs = not self.seen.isdisjoint(TEXTS)
        reads = blobs and _READS in self.seen
        if not self.seen.isdisjoint(BYTES):
            return saves or reads
        # A form reads the file that its reader chose, to show and to send it; a name says that a page saves one.
        return blobs and (saves or (reads and bool(self.names))) and not self._saves_plain_text

    @property
    def _saves_plain_text(self) -> bool:
        """Whether all that it can save is text that stands there, under names that no program runs."""
        return bool(self.names) and all(name.lower().endswith(PASSIVE) for name in self.names)

    @property
    def hides_a_script(self) -> bool:
        """Whether it runs what nobody can read."""
        if self.obfuscated or not self.seen.isdisjoint(_WITHOUT_LETTERS):
            return True
        decodes = self.runs and not self.seen.isdisjoint(_DECODES)
        return self.opaque and (decodes or self.calls >= _CALLS)


class Peeler:
    """One page's layers. `files` gives the files that are found on the way; `evidence` is whole after that."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.evidence = Evidence()
        self._known: set[int] = set()
        self._stack: list[tuple[bytes, int, bool]] = []

    def addresses(self, page: Buffer) -> Iterator[File]:
        """The files in a page that has no script: what its data: addresses hold. Raises LimitReached."""
        if holds(page, b"download"):
            for window in windows(page, _OVERLAP):
                self.evidence.look(window)
        return self._addresses(page, 0)

    def files(self, page: Buffer) -> Iterator[File]:
        """The files in a page and in all of its layers, each once. Raises LimitReached."""
        if len(page) > BLOCK:
            # Whole, because a window holds no file that is larger.
            yield from self._addresses(page, 0)
            yield from self._runs_of(page)
        for window in windows(page, _OVERLAP):
            self._push(window, 0)
            while self._stack:
                layer, depth, cleaned = self._stack.pop()
                self.budget.tick()
                self.budget.spend(len(layer))
                yield from self._open(layer, depth, cleaned)

    def _push(self, layer: bytes, depth: int, cleaned: bool = False) -> None:
        if depth > MAX_LAYERS:
            raise LimitReached("depth", f"scripts wrapped more than {MAX_LAYERS} times")
        if self._is_new(layer):
            self._stack.append((layer, depth, cleaned))

    def _is_new(self, content: bytes) -> bool:
        key = hash(content)
        new = key not in self._known
        self._known.add(key)
        return new

    def _open(self, layer: bytes, depth: int, cleaned: bool) -> Iterator[File]:
        """Push the layers under one layer; yield the files that stand in it.

        cleaned: it is what is left of strings without what a script takes out of some of them. What is unreadable in
        it then is no evidence.
        """
        flat = _without_joints(_without_escapes(layer))
        self.evidence.look(flat, cleaned)
        yield from self._addresses(layer, depth)
        if flat != layer and self._is_new(flat):
            yield from self._addresses(flat, depth)
        for inner in _layers(layer, flat):
            self._push(inner, depth + 1, cleaned)
        if not cleaned and (clean := strewn.without_junk(layer, flat, _without_escapes)):
            self._push(clean, depth + 1, cleaned=True)
        if b"reverse" in flat and self._is_new(b"reversed" + flat):
            backwards = flat[::-1]
            self._is_new(b"reversed" + backwards)
            self._push(backwards, depth + 1, cleaned)
        for content, from_numbers in _contents(layer, flat):
            self.budget.spend(len(content))
            self.budget.tick()
            yield from self._sorted(content, depth, from_numbers, cleaned)

    def _runs_of(self, page: Buffer) -> Iterator[File]:
        """Files that stand in base64 in a page which is too large to be looked at whole otherwise."""
        for run in _RUN.finditer(page):
            if len(run[0]) > _OVERLAP:
                for content in _decoded(run[0]):
                    self.budget.spend(len(content))
                    if filetype.kind(content) in _FILES and self._is_new(content + b"\0"):
                        yield (), "", content

    def _sorted(self, content: bytes, depth: int, from_numbers: bool, cleaned: bool) -> Iterator[File]:
        """A decoded run of codes: a file, a further layer, or neither."""
        if content[:1] == b"\x78":
            content = _inflated(content, self.budget)
        doubtful = cleaned and _WORDS.search(content) is None
        if _PRINTABLE.fullmatch(content, 0, 4096):
            self._push(content, depth + 1, doubtful)
        kind = filetype.kind(content) if len(content) >= _FILE_BYTES else "data"
        if kind in _FILES:
            if self._is_new(content + b"\0"):
                yield (), "", content
        elif kind in _TEXTUAL:
            self._push(content, depth + 1, doubtful)
        # Numbers of letters that spell nothing wait for an addition or an exclusive or.
        spells = kind in _TEXTUAL and not (from_numbers and _WORDS.search(content) is None)
        opaque = not spells and not cleaned and kind in ("data", "text") and len(content) >= _OPAQUE_BYTES
        if opaque and not _is_ramp(content):
            self.evidence.opaque = True

    def _addresses(self, layer: Buffer, depth: int) -> Iterator[File]:
        """What the data: addresses of a layer hold. A script among them belongs to the page."""
        names = tuple(self.evidence.names)
        for media_type, content in data_addresses(layer, self.budget):
            if not self._is_new(content + b"\0"):
                continue
            if "script" in media_type or "html" in media_type:
                self._push(content, depth + 1)
            yield names, media_type, content


def data_addresses(text: Buffer, budget: Budget) -> Iterator[tuple[str, bytes]]:
    """(media type in lower case, content) of each data: address in a text, in any spelling."""
    for before, start, end in _addresses(text) if _has_address(text) else ():
        media_type = bytes(text[start:end])
        quote = bytes(text[before - 1 : before]) if before else b""
        content = _address_content(text, end + 1, quote, encoded=_SAYS_BASE64.search(media_type) is not None)
        budget.spend(len(content))
        if content.strip():
            yield media_type.partition(b";")[0].strip().decode("latin-1").lower(), content


def _addresses(text: Buffer) -> Iterator[tuple[int, int, int]]:
    """Where each data: address begins, and where its media type begins and ends. Linear: each comma is found once."""
    comma = taken = -1
    for mark in _DATA_URL.finditer(text):
        start = mark.end()
        if comma < start:
            found = _TYPE_END.search(text, start)
            if found is None:
                return
            comma = found.start()
        if comma != taken and bytes(text[comma : comma + 1]) == b"," and comma - start <= _LONGEST_TYPE:
            taken = comma
            yield mark.start(), start, comma


def _has_address(text: Buffer) -> bool:
    return any(b"data:" in window.lower().translate(None, b"\t\r\n") for window in windows(text, 100))


def _address_content(text: Buffer, start: int, quote: bytes, encoded: bool) -> bytes:
    """In base64 it ends at the first letter that is none; else at the quotation mark that it began with."""
    end = _ADDRESS_END.search(text, start)
    stop = end.start() if end else len(text)
    if encoded:
        return loose_base64(unquote_to_bytes(bytes(text[start:stop])))
    if quote in (b'"', b"'", b"`") and isinstance(text, bytes):
        closing = text.find(quote, start)
        stop = closing if closing >= 0 else stop
    return unquote_to_bytes(bytes(text[start:stop]))


def _is_shown(layer: bytes, base64_at: int) -> bool:
    """Whether a data: address that ends there in `base64` is of a picture, a font, a sound or a film."""
    return _SHOWN.search(layer, max(0, base64_at - 60), base64_at) is not None


def _makes_address(layer: bytes) -> bool:
    """Whether a script puts something behind the head of a data: address, or keeps that for later.

    The mark alone, as in `var m=';base64,'`, is used to take addresses apart; where it becomes part of one, the sum
    shows it. A property that nothing reads, as in `frame.src='data:application/pdf;base64,'`, is emptied.
    """
    read: set[bytes] | None = None
    for made in _COMPUTED_DATA.finditer(layer):
        if _is_shown(layer, made.start()):
            continue
        if made[0].endswith(b"{") or _ADDED_TO.match(layer, made.end()):
            return True
        before = layer[max(0, made.start() - 200) : made.start()]
        literal = _LITERAL.search(before)
        around = before[: literal.start()] if literal else b""
        if _ONLY_ASKS.search(around):
            continue
        if _NEXT.match(layer, made.end()):
            return True
        if b"data:" not in (literal[1] if literal else before).lower():
            continue
        kept = _SET_PROPERTY.search(around)
        if kept is None:
            return True
        if read is None:
            read = set(_READ_NAME.findall(layer))
        if kept[1] in read:
            return True
    return False


def _is_altered(layer: bytes, lower: bytes) -> bool:
    """Whether a script takes something out of a data: address, or adds to it. Linear: each end is found once."""
    start, end = lower.find(b"base64,"), -1
    while start >= 0:
        if end < start:
            closing = _ADDRESS_END.search(layer, start)
            if closing is None:
                return False
            end = closing.start()
            if _ALTERED.match(layer, end + 1) and not _is_shown(layer, start):
                return True
        start = lower.find(b"base64,", start + 7)
    return False


def _runs_text(layer: bytes, lower: bytes, words: set[bytes]) -> bool:
    """Whether a script makes a script or a page of a text."""
    return (
        b"execscript" in words
        or (b"eval" in words and any(lower[e.start() - 1] not in _IN_NAMES for e in _EVAL.finditer(lower, 1)))
        or (b"write" in words and b"document" in lower and _WRITES.search(lower) is not None)
        or _MAKES_FUNCTION.search(layer) is not None
        or (not words.isdisjoint(_INSERTING) and _inserts_decoded(lower))
    )


def _inserts_decoded(lower: bytes) -> bool:
    """Whether a script puts what it decodes into the page. A mere text runs only in a script that it makes."""
    texts = {found[1] for found in _INSERTS.finditer(lower)}
    return None in texts or (bool(texts) and _MAKES_SCRIPT.search(lower) is not None)


def _without_escapes(layer: bytes) -> bytes:
    return _JS_ESCAPE.sub(_js_escape, layer) if b"\\" in layer else layer


def _js_escape(found: re.Match[bytes]) -> bytes:
    if code := found[1]:
        return bytes((int(code, 16),))
    if code := found[2] or found[3]:
        return _character(int(code, 16))
    if code := found[4]:
        return bytes((int(code, 8) & 255,)) if code != b"0" else b""
    return _PLAIN_ESCAPES.get(found[5], found[5])


def _character(code: int) -> bytes:
    """A character as one byte if it can be: scripts keep bytes in letters."""
    if code < 256:
        return bytes((code,))
    return chr(min(code, 0x10FFFF)).encode("utf-8", "replace")


def _without_joints(layer: bytes) -> bytes:
    """With strings joined that stand side by side, as `"down"+"load"` and the elements of an array do."""
    return _JOINT.sub(rb"\2", layer)


def _layers(layer: bytes, flat: bytes) -> Iterator[bytes]:
    """The texts that stand in a layer in a code that makes text."""
    if b"srcdoc" in layer.lower():
        for document in _SRCDOC.finditer(layer):
            text = (document[1] or document[2] or b"").decode("utf-8", "replace")
            yield html.unescape(text).encode("utf-8", "replace")
    if b"+" in flat and (sums := _evaluated(flat)):
        yield sums
    if b"%" in flat and _PERCENT.search(flat):
        yield _PERCENT_CODE.sub(_percent_code, flat)
    if short := b"\n".join(_short_texts(flat)):
        yield short


def _percent_code(found: re.Match[bytes]) -> bytes:
    return _character(int(found[1] or found[2], 16))


def _evaluated(layer: bytes) -> bytes:
    """What sums of variables with known strings make, one a line."""
    sums = list(_ADDED.finditer(layer))
    known: dict[bytes, bytes] = {}
    for assigned in _ASSIGNED.finditer(layer) if sums else ():
        if len(known) >= _MAX_VARIABLES:
            break
        known[_name_before(layer, assigned.start())] = assigned[2]
    return b"\n".join(filter(None, (_sum(layer, added, known) for added in sums))) if known else b""


def _name_before(layer: bytes, end: int) -> bytes:
    """The variable that is named before a place; empty if there is none."""
    before = layer[max(0, end - 50) : end].rstrip()
    return before[len(before.rstrip(_IN_NAMES)) :]


def _sum(layer: bytes, added: re.Match[bytes], known: dict[bytes, bytes]) -> bytes:
    first = _operand_before(layer, added.start(), known)
    links = [known.get(link[1]) if link[1] else link[2] for link in _LINK.finditer(added[1])]
    if first is None and not any(links):
        return b""
    return b"".join(_UNKNOWN if link is None else link for link in (first, *links))


def _operand_before(layer: bytes, end: int, known: dict[bytes, bytes]) -> bytes | None:
    before = layer[max(0, end - _LONGEST_OPERAND) : end].rstrip()
    if before[-1:] in (b'"', b"'", b"`"):
        return before[before.rfind(before[-1:], 0, -1) + 1 : -1]
    return known.get(before[len(before.rstrip(_IN_NAMES)) :])


def _short_texts(layer: bytes) -> Iterator[bytes]:
    """Strings that are text in base64, as those who obfuscate keep the names of functions."""
    for quoted in _QUOTED.finditer(layer):
        if len(quoted[1]) % 4 == 0:
            content = loose_base64(quoted[1])
            if _PRINTABLE.fullmatch(content):
                yield content


def _contents(layer: bytes, flat: bytes) -> Iterator[tuple[bytes, bool]]:
    """Every run of codes in a layer, decoded, and whether these were numbers."""
    for mark, pattern in _CODES:
        for codes in pattern.finditer(layer) if mark in layer else ():
            yield bytes.fromhex(codes[0].replace(mark, b"").decode("ascii")), False
    for start, _ in _stretches(flat, _IN_BASE64, _LEAST_RUN):
        if not flat[max(0, start - 12) : start].lower().rstrip().endswith(b"base64,") and (
            run := _RUN.match(flat, start)
        ):
            yield from ((content, False) for content in _decoded(run[0]))
    for start, end in _stretches(flat, _IN_LISTS, _LEAST_LIST):
        for numbers in _NUMBERS.finditer(flat, start, end):
            yield from ((content, True) for content in _from_numbers(numbers[0]))
        for pairs in _HEX_PAIRS.finditer(flat, start, end):
            yield binascii.unhexlify(pairs[0].translate(None, _NOT_HEX)), True
    yield from ((content, True) for content in strewn.numbers(flat))


def _stretches(text: bytes, table: bytes, least: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each stretch of at least so many letters of a table. Much quicker than a regex."""
    mapped = text.translate(table)
    wanted = b"A" * least
    start = mapped.find(wanted)
    while start >= 0:
        end = mapped.find(b" ", start)
        yield start, end if end >= 0 else len(text)
        start = mapped.find(wanted, end) if end >= 0 else -1


def _decoded(run: bytes) -> Iterator[bytes]:
    if _HEX.fullmatch(run) and len(run) % 2 == 0:
        yield binascii.unhexlify(run)
    elif b"_" in run or b"-" in run:
        yield loose_base64(run.replace(b"-", b"+").replace(b"_", b"/"))
    else:
        yield loose_base64(run)


def _from_numbers(text: bytes) -> Iterator[bytes]:
    """Numbers below 256 as bytes; nothing if there are others."""
    values = [int(n, 16) if n[1:2] in (b"x", b"X") else int(n) for n in _NUMBER.findall(text)]
    if max(values) < 256:
        yield bytes(values)


def _is_ramp(content: bytes) -> bool:
    """Whether it is a row of colours of which each is like the one before, as libraries that draw keep them, be its
    digits read backwards."""
    if len(content) % 3 or len(content) > _RAMP_MOST:
        return False
    return any(
        sum(abs(a - b) for a, b in zip(row, row[3:], strict=False)) < _RAMP_STEP * len(row)
        for row in (content, content.translate(_SWAPPED))
    )


def _inflated(content: bytes, budget: Budget) -> bytes:
    """Unpacked if it is zlib's, at most _INFLATED bytes of it; else as it is."""
    try:
        out = zlib.decompressobj().decompress(content, min(_INFLATED, budget.bytes_left + 1))
    except zlib.error:
        return content
    budget.spend(len(out))
    return out or content
