"""What an engine is: a scanner made by others, asked about one message at a time.

An adapter either says what the engine found or raises EngineError. There is no third way: an answer that it
does not understand is an error, and a message that an engine could not look at is never clean.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gatescan.context import Context
from gatescan.engines.needs import Needs
from gatescan.errors import GatescanError
from gatescan.model import Buffer, Part, Verdict


class EngineError(GatescanError):
    """The engine could not look at the message.

    why: what happened. advice: what the administrator can do. answered: the engine is alive and said so itself
    (such as "too large"), thus it is no reason to leave it alone for a while. hits: what was found before.
    """

    def __init__(self, why: str, advice: str, *, answered: bool = False) -> None:
        super().__init__(f"{why}; {advice}")
        self.why = why
        self.advice = advice
        self.answered = answered
        self.hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that an engine found.

    name: the virus's name, or what a spam scanner says. part: path of the part, empty for the whole message.
    action: the action that the engine's own settings have for it; empty: the policy's action for `verdict`.
    """

    name: str
    part: str = ""
    verdict: Verdict = Verdict.INFECTED
    code: str = "virus"
    action: str = ""


@dataclass(frozen=True, slots=True)
class EngineResult:
    """What became of one question to one engine. seconds: how long it took."""

    engine: str
    hits: tuple[Hit, ...] = ()
    error: EngineError | None = None
    seconds: float = 0.0

    @property
    def verdict(self) -> Literal["clean", "infected", "error"]:
        """In a word; `infected` is anything that was found."""
        if self.error is not None:
            return "error"
        return "infected" if self.hits else "clean"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what was found, each once."""
        return tuple(dict.fromkeys(hit.name for hit in self.hits))


@dataclass(frozen=True, slots=True)
class Sample:
    """A message as engines see it: as it came, and each part and archive member that was opened."""

    message: Buffer
    parts: Sequence[Part] = ()
    context: Context = field(default_factory=Context)

    def pieces(self) -> Iterator[tuple[str, Buffer]]:
        """The message (path empty), then the bytes of every part that has some."""
        yield "", self.message
        for part in self.parts:
            if not part.sealed and len(part.data):
                yield part.path, part.data


class Engine(Protocol):
    """An adapter. timeout: seconds that one message may take."""

    @property
    def name(self) -> str: ...

    @property
    def timeout(self) -> float: ...

    def scan(self, sample: Sample, deadline: float) -> Sequence[Hit]:
        """What it finds. Returns or raises EngineError before `deadline` (monotonic seconds)."""

    def version(self, deadline: float) -> str:
        """Its program's and signatures' version in one line; EngineError if it cannot be asked."""

    def signature_date(self, deadline: float) -> float | None:
        """When its signatures were made, in seconds since 1970; None if it has none or does not tell."""

    @property
    def needs(self) -> Needs:
        """What a worker must be able to reach to ask it."""


def remaining(deadline: float) -> float:
    """Seconds until `deadline` (monotonic); EngineError if it has passed."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise EngineError("no answer within its time limit", "is the host overloaded? see its log, or raise timeout")
    return left
