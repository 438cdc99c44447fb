"""The scanner's shared types, from a message's bytes to its verdict."""

from __future__ import annotations

import enum
import mmap
from dataclasses import dataclass, field

Buffer = bytes | memoryview | mmap.mmap
"""Bytes that are looked at in place: a whole message may be 50 MB and is never copied whole."""


class Verdict(enum.StrEnum):
    """What was found. The order of `SEVERITY` decides when a message earns several."""

    CLEAN = "clean"
    INFECTED = "infected"
    POLICY = "policy"
    ENCRYPTED = "encrypted"
    AMBIGUOUS = "ambiguous"
    LIMIT = "limit"
    ENGINE_ERROR = "engine-error"
    OWN_NAME = "own-name"
    AUTH_TEMPERROR = "auth-temperror"
    UNAUTHENTICATED = "unauthenticated"
    SPOOFED = "spoofed"

    @property
    def severity(self) -> int:
        """0 for clean; the higher one wins."""
        return SEVERITY.index(self)


SEVERITY = (
    Verdict.CLEAN,
    Verdict.OWN_NAME,
    Verdict.ENCRYPTED,
    Verdict.AMBIGUOUS,
    Verdict.LIMIT,
    Verdict.ENGINE_ERROR,
    Verdict.AUTH_TEMPERROR,
    Verdict.POLICY,
    Verdict.UNAUTHENTICATED,
    Verdict.SPOOFED,
    Verdict.INFECTED,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason for a verdict.

    code: a stable short name, such as `name-extension`, `encrypted-zip`, `two-boundaries`, `bomb`.
    detail: one line for people; may quote the sender's text, already made printable.
    part: path of the part that it was found in, such as `1.2/invoice.zip/run.exe`; empty for the whole message.
    source: the rule's line or the engine's name, where there is one.
    action: the action that its source has for it (a spam score's); empty: the policy's action for the verdict.
    """

    verdict: Verdict
    code: str
    detail: str
    part: str = ""
    source: str = ""
    action: str = ""


@dataclass(slots=True)
class Part:
    """A leaf of the MIME tree or a member of an archive.

    path: where it sits, parts joined by `/` (archive members) and `.` (MIME parts), for reports.
    names: every name it goes by, as found and decoded, not normalised; may be empty.
    content_type: the declared type in lower case, such as `text/plain`; empty for archive members.
    data: its decoded bytes.
    depth: 0 for a part of the message itself, one more for each container that was opened to reach it.
    sealed: it exists, but its bytes can't be read (an encrypted member); data is then empty.
    kind: type by its bytes (a short name from filetype.py), empty until it was looked at.
    charset: as the part's header declares it; empty if it does not.
    inner: a piece of a document format, such as a style sheet in an EPUB: nobody opens it by its name, so it is judged
        by its bytes alone.
    cut: it is the end of a message that came back, which mail systems cut somewhere.
    """

    path: str
    names: tuple[str, ...]
    content_type: str
    data: Buffer
    depth: int = 0
    sealed: bool = False
    kind: str = ""
    findings: list[Finding] = field(default_factory=list)
    charset: str = ""
    inner: bool = False
    cut: bool = False


@dataclass(slots=True)
class Report:
    """What the judge says of one message."""

    findings: list[Finding] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    size: int = 0

    @property
    def verdict(self) -> Verdict:
        """The most severe verdict among the findings; clean if there is none."""
        return max((f.verdict for f in self.findings), key=lambda v: v.severity, default=Verdict.CLEAN)

    @property
    def reasons(self) -> list[Finding]:
        """The findings that carry the verdict, in the order in which they were found."""
        worst = self.verdict
        return [f for f in self.findings if f.verdict is worst]
