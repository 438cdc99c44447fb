"""The MIME tree of a message, walked in every reading that a client may have of it.

An ordinary entity has one reading and takes the short way. When its header is odd, each reading is tried;
if they show different things, all of them are followed and the message is ambiguous. The walk keeps a
stack of its own and bounds the readings of a message, so its cost is linear in the message's size.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gatescan.judging import filetype
from gatescan.judging.budget import Budget, LimitReached
from gatescan.mime import enclosed, header, markup, media, multipart, sealed, transfer
from gatescan.mime.header import Header, Octets
from gatescan.mime.media import Media
from gatescan.model import Buffer, Finding, Part, Verdict
from gatescan.text.large import blocks, piece, windows

MAX_ALTERNATIVES = 200
"""Readings of one message beyond the first of each entity."""

_SHORT_PREAMBLE = 256
_LONGEST_HALF = 10_000
"""Bytes of a header that a boundary line cuts in two."""
_MAX_LONGER = 8
_MESSAGE_TYPES = ("message/rfc822", "message/global", "message/news", "message/rfc822-headers")
_POLICY_TYPES = {
    "message/partial": ("message-partial", "a fragment of a message"),
    "message/external-body": ("external-body", "content that is fetched from elsewhere"),
}
_NO_MATTER_IN_TEXTS = ("readings-differ", "boundary-missing", "parts-after-end", "bare-cr")
_BARE_CR = re.compile(rb"\r(?![\r\n])")
_LINE_END = re.compile(rb"(?<!\r)\r++\n")
_BLANK_LINES = re.compile(rb"(?:[ \t\0]{0,9}\r*+\n|\r)+")
_UNSEEN = b"\r\n\0"


@dataclass(slots=True)
class Entity:
    """A piece of a buffer with a header and a body. level counts MIME nesting.

    source: the number of the buffer; 0 is the message, each decoded body has one of its own.
    cut: it is the end of a message that is given back in a report, without the lines that would close it.
    """

    data: Octets
    start: int
    end: int
    path: str = ""
    level: int = 0
    source: int = 0
    default_type: str = "text/plain"
    cut: bool = False


class Body(NamedTuple):
    """The body of an entity, as it is or decoded; `source` as in Entity."""

    data: Octets
    start: int
    end: int
    source: int


@dataclass(slots=True)
class View:
    """What one reading of an entity shows; `void` if that is nothing.

    shape, content: equal, but for line ends in the content, for readings that show the same.

    quiet: worth following, but a difference that honest mail shows too.
    """

    shape: tuple[object, ...]
    entities: list[Entity] = field(default_factory=list)
    leaves: list[Part] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    void: bool = False
    quiet: bool = False
    longer: list[bytes] = field(default_factory=list)
    content: Buffer = b""

    def shown(self) -> tuple[object, ...]:
        """Equal for views that show the same."""
        return (*self.shape, content_key(self.content))

    @property
    def is_text(self) -> bool:
        """Whether this is nothing but a text without a name."""
        return self.shape[0] == "leaf" and all(
            not part.names and part.content_type.startswith("text/") for part in self.leaves
        )


class Walk:
    """One walk over a message; `parts` and `findings` grow as it goes, also if it ends early."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.parts: list[Part] = []
        self.findings: list[Finding] = []
        self.top: Header | None = None
        self.alternatives = 0
        self._seen: set[tuple[int, int, int, str]] = set()
        self._sources = 0

    def run(self, data: Octets) -> None:
        """Walk a whole message. Raises LimitReached."""
        stack = [Entity(data, 0, len(data))]
        while stack:
            entity = stack.pop()
            if entity.level > self.budget.limits.mime_depth:
                raise LimitReached("depth", f"MIME parts nested deeper than {self.budget.limits.mime_depth}")
            self.budget.part()
            stack += reversed(self._open(entity))

    def _open(self, entity: Entity) -> list[Entity]:
        """Look at one entity; return those in it."""
        head = header.read(entity.data, entity.start, entity.end)
        if self.top is None:
            self.top = head
        reading = media.read(head, entity.default_type)
        path = entity.path or "1"
        if reading.oversized:
            self.findings.append(Finding(Verdict.LIMIT, "field-size", "a MIME field that is huge", path))
        for code, detail in reading.oddities:
            self.findings.append(Finding(Verdict.AMBIGUOUS, code, detail, path))
        views = [view for chosen in reading.media for view in self._views(entity, head, chosen)]
        if head.odd:
            views += self._other_headers(entity, head, views)
        return self._follow(views[0]) if len(views) == 1 else self._follow_all(views, entity)

    def _other_headers(self, entity: Entity, head: Header, usual: list[View]) -> list[View]:
        """The views of clients that see another header than most do."""
        only_text = all(view.is_text for view in usual)
        others = []
        for other in header.other_readings(entity.data, head, entity.start, entity.end):
            for chosen in media.read(other, entity.default_type).media:
                views = self._views(entity, other, chosen)
                for view in views:
                    # A text with more or fewer header lines on top of it is still that text; and a mail system that
                    # cuts what it gives back may do so within a header.
                    view.quiet = (view.is_text and (only_text or other.by_relay)) or entity.cut
                others += views
        return others

    def _follow_all(self, views: list[View], entity: Entity) -> list[Entity]:
        """Follow every view that differs from the others, within the message's bound."""
        self.alternatives += len(views) - 1
        if self.alternatives > MAX_ALTERNATIVES:
            raise LimitReached("readings", f"more than {MAX_ALTERNATIVES} readings beyond the first")
        telling = {view.shown(): view for view in reversed(views) if not view.void}
        if not telling:
            return self._follow(views[0])
        chosen = list(reversed(telling.values()))
        if sum(not view.quiet for view in chosen) > 1 and not all(view.is_text for view in chosen):
            detail = f"{len(chosen)} readings that show different things"
            self.findings.append(Finding(Verdict.AMBIGUOUS, "readings-differ", detail, entity.path or "1"))
        inner = [e for view in chosen for e in self._follow(view)]
        return [e for e in inner if self._is_new(e)]

    def _is_new(self, entity: Entity) -> bool:
        key = (entity.source, entity.start, entity.end, entity.default_type)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _follow(self, view: View) -> list[Entity]:
        self.findings += view.findings
        self.parts += view.leaves
        return view.entities

    def _views(self, entity: Entity, head: Header, chosen: Media) -> list[View]:
        """What one reading of the header shows; several if it leaves the body open to readings."""
        if chosen.type.startswith("multipart"):
            return self._multipart_views(entity, head, chosen)
        if chosen.type in _MESSAGE_TYPES:
            return self._message_views(entity, head, chosen)
        leaf = self._leaf_view(entity, head.body, chosen)
        if chosen.boundary:
            # No multipart by its type, but some clients go by the boundary.
            as_multipart = self._split_view(
                entity,
                Body(entity.data, head.body, entity.end, entity.source),
                media.with_boundary(chosen, chosen.boundary),
            )
            if not as_multipart.void:
                return [leaf, as_multipart]
        return [leaf]

    def _bodies(self, entity: Entity, head: Header, chosen: Media) -> list[Body]:
        """The body as it is and, if it claims to be encoded (which RFC 2045 forbids here), decoded."""
        bodies = [Body(entity.data, head.body, entity.end, entity.source)]
        if chosen.encoding not in ("identity", "unknown"):
            body = piece(entity.data, head.body, entity.end)
            decoded, _ = transfer.decode(body, chosen.encoding, True, self.budget)
            # The line end before the first boundary line is the header's.
            self._sources += 1
            bodies.append(Body(b"\n" + bytes(decoded[0]), 1, len(decoded[0]) + 1, self._sources))
        return bodies

    def _multipart_views(self, entity: Entity, head: Header, chosen: Media) -> list[View]:
        bodies = self._bodies(entity, head, chosen)
        views = []
        if chosen.boundary is not None:
            views = [self._split_view(entity, body, chosen) for body in bodies]
            if chosen.encoding == "quoted-printable" and not views[0].void:
                # Careless programs write that over parts that aren't encoded as a whole: no client minds.
                views[1].quiet = True
            exact = list(zip(views, bodies, strict=True))
            views += [v for view, body in exact if view.longer for v in self._by_prefix(entity, body, chosen, view)]
        if all(view.void for view in views):
            views += self._guessed(entity, bodies, chosen)
        if all(view.void for view in views):
            return [self._leaf_view(entity, head.body, chosen, "text/plain")]
        return views

    def _guessed(self, entity: Entity, bodies: list[Body], chosen: Media) -> list[View]:
        """The reading of clients that make up the boundary that is missing or wrong."""
        views = []
        for body in bodies:
            boundary = multipart.guess(body.data, body.start, body.end)
            if boundary:
                view = self._split_view(entity, body, media.with_boundary(chosen, boundary))
                detail = "parts without a boundary that is declared"
                view.findings.append(Finding(Verdict.AMBIGUOUS, "boundary-missing", detail, entity.path or "1"))
                views.append(view)
        return views

    def _by_prefix(self, entity: Entity, body: Body, chosen: Media, exact: View) -> list[View]:
        """The reading of clients that take any line beginning with the boundary for a boundary line.

        It is of no interest where the longer line is the boundary of another multipart, as it is declared.
        """
        boundary = chosen.boundary or b""
        longer = list(dict.fromkeys(tail.rstrip().removesuffix(b"--") for tail in exact.longer))
        if all(tail and multipart.declared(body.data, boundary + tail) for tail in longer[:_MAX_LONGER]):
            return []
        return [self._split_view(entity, body, chosen, prefix=True)]

    @property
    def _max_parts(self) -> int:
        return self.budget.limits.parts

    def _split_view(self, entity: Entity, body: Body, chosen: Media, prefix: bool = False) -> View:
        data, start, end, source = body
        cut = multipart.split(data, start, end, chosen.boundary or b"", self._max_parts, prefix)
        path = entity.path
        stem = f"{path}." if path else ""
        default = "message/rfc822" if chosen.type == "multipart/digest" else "text/plain"
        spans = [span for span in cut.parts + cut.late if span[1] > span[0] or len(cut.parts) == 1]
        # A decoded copy has offsets of its own, so its size tells it from the original.
        view = View(("multipart", len(data), *spans), void=not cut.found, longer=cut.longer)
        if view.void:
            return view
        view.entities = [
            Entity(data, s, e, f"{stem}{n}", entity.level + 1, source, default) for n, (s, e) in enumerate(spans, 1)
        ]
        if view.entities and (chosen.type == "multipart/report" or (entity.cut and not cut.closed)):
            view.entities[-1].cut = True
        for number, (start, end) in enumerate(_joined(data, spans + cut.outside[1:]), len(spans) + 1):
            view.entities.append(Entity(data, start, end, f"{stem}{number}", entity.level + 1, source, default))
        for number, span in enumerate(cut.outside):
            self._outside(view, data, span, f"{stem}epilogue" if number else f"{stem}preamble")
        if chosen.names:
            view.leaves.append(Part(path or "1", chosen.names, chosen.type, b""))
        if chosen.type == "multipart/encrypted":
            smime = b"pkcs7" in chosen.parameter(b"protocol").lower()
            code = sealed.SMIME if smime else sealed.PGP
            view.findings.append(Finding(Verdict.ENCRYPTED, code, "an encrypted message", path or "1"))
        if any(data[s:e].strip() for s, e in cut.late[:4]) or len(cut.late) > 4:
            view.findings.append(
                Finding(Verdict.AMBIGUOUS, "parts-after-end", "parts after the last boundary", path or "1")
            )
        return view

    def _outside(self, view: View, data: Octets, span: tuple[int, int], path: str) -> None:
        """Text before the first or after the last part, unless it is short and plain."""
        start, end = span
        if end <= start:
            return
        if end - start < _SHORT_PREAMBLE:
            text = data[start:end]
            if b"begin" not in text and text[:2] != b"MZ" and b"ontent-" not in text.lower():
                return
        body = piece(data, start, end)
        self.budget.spend(end - start)
        view.leaves.append(Part(path, (), "text/plain", body))

    def _message_views(self, entity: Entity, head: Header, chosen: Media) -> list[View]:
        views = []
        bodies = self._bodies(entity, head, chosen)
        for data, start, end, source in bodies:
            window = data[start : min(end, start + 4096)]
            view = View(("message", len(data), start, end), void=not enclosed.starts_as_message(window))
            view.entities = [Entity(data, start, end, entity.path, entity.level + 1, source, cut=entity.cut)]
            views.append(view)
        if all(view.void for view in views):
            # No message by its looks: whatever it is, it goes by its names and bytes.
            for view in views:
                view.leaves = self._leaf_view(entity, head.body, chosen).leaves
        return views

    def _leaf_view(self, entity: Entity, body: int, chosen: Media, shown_as: str = "") -> View:
        content_type = shown_as or chosen.type
        is_text = content_type.startswith("text/")
        raw: Buffer = piece(entity.data, body, entity.end)
        outputs, differ = transfer.decode(raw, chosen.encoding, is_text, self.budget)
        path = entity.path or "1"
        if chosen.encoding != "identity":
            # In front, as what is equal but for blank lines is kept once.
            outputs = [bare for data in outputs if (bare := _without_blank_lines(data))] + outputs
        view = View(("leaf", chosen.names, markup.shown_as_markup(content_type, ())), content=outputs[0])
        view.leaves = [
            Part(path, chosen.names, content_type, data, charset=chosen.charset, cut=entity.cut) for data in outputs
        ]
        view.void = not chosen.names and not any(len(data) for data in outputs)
        if differ and not entity.cut and not all(filetype.kind(data) in filetype.IMAGES for data in outputs):
            view.findings.append(
                Finding(Verdict.AMBIGUOUS, "encoding", f"{chosen.encoding} that readers decode differently", path)
            )
        if content_type in _POLICY_TYPES:
            code, detail = _POLICY_TYPES[content_type]
            view.findings.append(Finding(Verdict.POLICY, code, detail, path))
        return view


def _joined(data: Octets, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Parts that a boundary line within their header cuts in two, as readers see them who look for no such line there:
    the first half is a header without an end, the second begins with the empty line."""
    for (start, end), (behind, last) in itertools.pairwise(spans):
        if end - start > _LONGEST_HALF or data[behind : behind + 2].lstrip(b"\r")[:1] != b"\n":
            continue
        half = data[start:end]
        if b"ontent-" in half.lower() and b"\n\n" not in half.replace(b"\r", b""):
            yield start, last


def _without_blank_lines(data: Buffer) -> bytes:
    """A program or an archive behind lines that are blank (to some, as a NUL is their end), which some readers drop;
    empty if there is none."""
    head = bytes(data[: filetype.HEAD])
    blank = _BLANK_LINES.match(head)
    if blank is None or blank.end() == len(data):
        return b""
    known = filetype.EXECUTABLES | filetype.ARCHIVES | filetype.DOCUMENTS
    return bytes(data[blank.end() :]) if filetype.kind(head[blank.end() :]) in known else b""


def content_key(data: Buffer) -> tuple[int, int]:
    """Equal for contents that look the same: line ends, and the blanks around all of it, don't count."""
    # The blanks at the end of a window wait for what follows them.
    size, waiting, digest = 0, b"", hashlib.blake2b(digest_size=8)
    for window in windows(data):
        bare = waiting + window.translate(None, _UNSEEN)
        if not size:
            bare = bare.lstrip()
        seen = bare.rstrip()
        waiting = bare[len(seen) :]
        digest.update(seen)
        size += len(seen)
    return size, int.from_bytes(digest.digest(), "big")


def part_key(part: Part) -> tuple[object, ...]:
    """Equal for parts that a reader can't tell from each other."""
    return (part.names, markup.shown_as_markup(part.content_type, ()), content_key(part.data))


def read_every_way(data: Octets, budget: Budget) -> Walk:
    """Walk a message, and once more with bare CR for line ends if there are any. Takes LimitReached in."""
    walk = Walk(budget)
    try:
        walk.run(data)
        if data.find(b"\r") >= 0 and _BARE_CR.search(data):
            other = Walk(budget)
            other.run(_bare_cr_ended(data))
            _merge(walk, other)
    except LimitReached as limit:
        walk.findings.append(Finding(Verdict.LIMIT, f"limit-{limit.code}", limit.detail))
    if walk.findings and all(_is_text(part) for part in walk.parts):
        # All readings show texts, each of which is looked at: what differs is how much of the source is on the screen.
        walk.findings = [finding for finding in walk.findings if finding.code not in _NO_MATTER_IN_TEXTS]
    if walk.alternatives:
        walk.parts = list({part_key(part): part for part in reversed(walk.parts)}.values())[::-1]
    return walk


def _is_text(part: Part) -> bool:
    """Whether a reader sees nothing but a text in a leaf: no file, and nothing that another program opens."""
    return not part.names and part.content_type.startswith(("text/", "message/"))


def _bare_cr_ended(data: Octets) -> bytes:
    """`data` with every line end, bare CR among them, as LF."""
    out = io.BytesIO()
    for block in blocks(data, b"\n"):
        out.write(_LINE_END.sub(b"\n", block).replace(b"\r", b"\n"))
    return out.getvalue()


def _merge(walk: Walk, other: Walk) -> None:
    known = {part_key(part) for part in walk.parts if part.names or part.data}
    fresh = {part_key(part): part for part in other.parts if part.names or part.data}
    if known != set(fresh):
        walk.findings.append(Finding(Verdict.AMBIGUOUS, "bare-cr", "line ends that some readers don't see"))
    walk.parts += [part for key, part in fresh.items() if key not in known]
    walk.findings += [finding for finding in other.findings if finding not in walk.findings]
