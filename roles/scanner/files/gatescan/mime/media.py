"""What the header of an entity says of its body: type, boundary, transfer encoding, names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

from gatescan.judging import names as naming
from gatescan.mime.header import Header, unfold
from gatescan.mime.parameters import (
    MAX_FIELD_BYTES,
    NOTHING,
    Structured,
    decoded_readings,
    parse,
    readings,
)
from gatescan.text import printable
from gatescan.text.words import decode_words

MAX_READINGS = 16
"""Of one header. More candidates than that are no accident; `too-many-readings` says so."""

MAX_NAMES = 64
"""Of one part, over all readings of its header."""

_COMMENT = re.compile(rb"\([^()]*+\)?")
_SAME_EXTENSION = {"jpeg": "jpg", "jpe": "jpg", "tiff": "tif", "htm": "html", "mpeg": "mpg", "text": "txt"}
# Only well-known extensions are compared: `Dr.Smith` and `No.5` have none.
_WELL_KNOWN = frozenset({
    "7z", "bmp", "csv", "doc", "docx", "eml", "gif", "gz", "html", "ics", "jpg", "key", "mp3", "mp4", "mpg", "msg",
    "odp", "ods", "odt", "pages", "pdf", "png", "ppt", "pptx", "rar", "rtf", "svg", "tar", "tif", "txt", "vcf",
    "wav", "webp", "xls", "xlsx", "xml", "zip",
})  # names, many a line # fmt: skip
_ENCODINGS = {
    b"": "identity", b"7bit": "identity", b"8bit": "identity", b"binary": "identity",
    b"base64": "base64", b"quoted-printable": "quoted-printable",
    b"x-uuencode": "uuencode", b"x-uue": "uuencode", b"uuencode": "uuencode", b"uue": "uuencode",
    b"x-yencode": "yenc", b"yenc": "yenc", b"x-binhex40": "binhex", b"binhex": "binhex",
    b"mac-binhex40": "binhex",
}  # spellings of one encoding share a line # fmt: skip
# Words that careless programs write there and that every client takes for "not encoded".
_CARELESS = re.compile(rb"[78][ -]?bits?|none|text|plain|utf-?8|us-ascii|iso-8859-\d+|quoted-?printable|binary")


@dataclass(frozen=True, slots=True)
class Media:
    """One reading of an entity's header.

    type: media type in lower case; `text/plain` if there is none (or what the parent makes the default).
    boundary: of a multipart; None if there is none. encoding: `identity`, `base64`, `quoted-printable`,
    `uuencode`, `yenc`, `binhex`, or `unknown`. names: decoded, not normalised. charset: as declared.
    """

    type: str
    boundary: bytes | None
    encoding: str
    names: tuple[str, ...]
    charset: str
    parameters: tuple[tuple[bytes, bytes], ...]

    def parameter(self, name: bytes) -> bytes:
        """A parameter of the Content-Type in its likeliest reading; empty if it isn't there."""
        return next((v for n, v in self.parameters if n == name), b"")


@dataclass(slots=True)
class Reading:
    """All readings of a header: the likeliest first. oddities: (code, detail) that are ambiguous as such."""

    media: list[Media]
    oddities: list[tuple[str, str]] = field(default_factory=list)
    oversized: bool = False


def read(header: Header, default_type: str) -> Reading:
    """What `header` says, in every reading."""
    types: list[bytes] = []
    dispositions: list[bytes] = []
    encodings: list[bytes] = []
    for name, value in header.fields:
        if name.startswith(b"content-"):
            if name == b"content-type":
                types.append(value)
            elif name == b"content-disposition":
                dispositions.append(value)
            elif name == b"content-transfer-encoding":
                encodings.append(value)
    if len(types) < 2 and len(dispositions) < 2 and len(encodings) < 2:
        quick = _one_reading(
            types[0] if types else b"",
            dispositions[0] if dispositions else b"",
            encodings[0] if encodings else b"",
            default_type,
        )
        if quick is not None:
            return quick
    return _every_reading(types, dispositions, encodings, default_type)


def _one_reading(type_: bytes, disposition: bytes, encoding: bytes, default_type: str) -> Reading | None:
    """The one reading of a header that is well-formed; None if it isn't."""
    content = parse(type_) if type_ else NOTHING
    shown = parse(disposition) if disposition else NOTHING
    transfer = _encoding(encoding)
    if content.odd or shown.odd or len(transfer) != 1:
        return None
    media_type = content.values[0] if content.values else default_type
    boundary, charset = None, ""
    for name, value in content.parameters:
        if name == b"boundary":
            boundary = value
        elif name == b"charset":
            charset = value.decode("latin-1")
        elif name.startswith(b"boundary*"):
            return None
    if boundary is None:
        if media_type.startswith("multipart"):
            return None
    elif not boundary or boundary[-1:].isspace() or b"=?" in boundary or not media_type.startswith("multipart/"):
        return None
    found = _names(content, shown) if content.parameters or shown.parameters else ()
    media = Media(media_type, boundary, transfer[0], found, charset, content.parameters)
    oddities = [("names-differ", _listed(found))] if len(found) > 1 and _names_differ(content, shown) else []
    return Reading([media], oddities)


def _every_reading(types: list[bytes], dispositions: list[bytes], encodings: list[bytes], default_type: str) -> Reading:
    oversized = any(len(v) > MAX_FIELD_BYTES for v in (*types, *dispositions, *encodings))
    contents = [parse(v) for v in dict.fromkeys(types)] or [NOTHING]
    shown = [parse(v) for v in dict.fromkeys(dispositions)]
    merged = Structured((), tuple(p for s in shown for p in s.parameters), False)
    every = Structured((), tuple(p for s in contents for p in s.parameters), False)
    found = _names(every, merged)
    oddities = []
    if _names_differ(every, merged):
        oddities.append(("names-differ", _listed(found)))
    if len(found) > MAX_NAMES:
        oddities.append(("too-many-names", f"a part with {len(found)} names"))
        found = found[:MAX_NAMES]
    heads: dict[tuple[str, bytes | None], Structured] = {}
    for content in contents:
        boundaries = _boundaries(content)
        oddities += _odd_boundaries(content, boundaries)
        for media_type in content.values or (default_type,):
            for boundary in boundaries or (None,):
                heads.setdefault((media_type, boundary), content)
    transfers = list(dict.fromkeys(e for v in (encodings or [b""]) for e in _encoding(v)))
    media = [
        Media(
            media_type,
            boundary,
            transfer,
            found,
            next((v.decode("latin-1") for n, v in content.parameters if n == b"charset"), ""),
            content.parameters,
        )
        for ((media_type, boundary), content), transfer in product(heads.items(), transfers)
    ]
    if len(media) > MAX_READINGS:
        oddities.append(("too-many-readings", f"a header that can be read in {len(media)} ways"))
    return Reading(media[:MAX_READINGS], oddities, oversized)


def _odd_boundaries(content: Structured, boundaries: list[bytes]) -> Iterator[tuple[str, str]]:
    if b"boundary" in content.repeated:
        yield "two-boundaries", "two boundary parameters in one Content-Type"
    if b"" in boundaries:
        yield "empty-boundary", "an empty boundary"
    if any(b"\0" in v for n, v in content.parameters if n == b"boundary"):
        yield "nul-in-boundary", "a NUL in the boundary"


def _boundaries(content: Structured) -> list[bytes]:
    """Every boundary that a client may take, the likeliest first."""
    found: dict[bytes, None] = {}
    for value in readings(content.all(b"boundary")):
        found[value] = None
        for other in (
            value.rstrip(),
            value.strip(b"\"'; \t"),
            value.replace(b"\\", b""),
            value.replace(b"\0", b""),
            value.partition(b"\0")[0],
            decode_words(value).encode("utf-8", "replace") if b"=?" in value else value,
        ):
            if other:
                found[other] = None
    extended = [p for p in content.all(b"boundary") if b"*" in p[0]]
    for text in decoded_readings(extended):
        found[text.encode("utf-8", "replace")] = None
    return [b for b in found if len(b) <= 1000]


@lru_cache(maxsize=64)
def _encoding(value: bytes) -> tuple[str, ...]:
    """The transfer encodings that clients may see in a field: one if it is well-formed."""
    flat = unfold(value[:MAX_FIELD_BYTES])
    if b"=?" in flat:
        return tuple(dict.fromkeys((*_plain_encoding(decode_words(flat).encode("utf-8", "replace")), "identity")))
    return _plain_encoding(flat)


def _plain_encoding(flat: bytes) -> tuple[str, ...]:
    flat = flat.lower()
    if flat in _ENCODINGS:
        return (_ENCODINGS[flat],)
    bare = _COMMENT.sub(b"", flat).strip(b" \t\"';,.")
    if bare in _ENCODINGS:
        # A comment, quotes, a comma: some clients see through them, some see an unknown encoding.
        known = _ENCODINGS[bare]
        return ("identity",) if known == "identity" else (known, "identity")
    if _CARELESS.fullmatch(bare):
        return ("quoted-printable", "identity") if b"quoted" in bare else ("identity",)
    for token, known in ((b"base64", "base64"), (b"quoted", "quoted-printable"), (b"uu", "uuencode")):
        if token in bare.replace(b"-", b"").replace(b" ", b"").replace(b"\0", b""):
            return (known, "identity")
    return ("unknown",)


def _names(content: Structured, disposition: Structured) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for source in (disposition, content):
        for parameter in (b"filename", b"name"):
            chosen = source.all(parameter)
            if chosen:
                found.update(dict.fromkeys(decoded_readings(chosen)))
    return tuple(found)


def _names_differ(content: Structured, disposition: Structured) -> bool:
    """Whether two names that a client may show end in different well-known extensions."""
    seen: set[str] = set()
    for source in (content, disposition):
        for name in decoded_readings(source.all(b"filename", b"name")):
            last = {_SAME_EXTENSION.get(e, e) for e in naming.extensions(name)} & _WELL_KNOWN
            seen |= last
    return len(seen) > 1


def _listed(found: tuple[str, ...]) -> str:
    return " / ".join(printable(name, 60) for name in found[:4])


def with_boundary(media: Media, boundary: bytes) -> Media:
    """The same reading, but as a multipart with that boundary."""
    multipart = media.type if media.type.startswith("multipart/") else "multipart/mixed"
    return replace(media, type=multipart, boundary=boundary)
