"""Replies to notices, as a worker sees them: it knows the connection, and so who a message can be from.

A message to release addresses alone goes to nobody: it becomes a request in the spool for `gatescan answers`, which
has the key. One that goes to others too is also delivered. Nothing is taken from the message but who wrote it, and what
gives a robot away; that it came from a relay client or passed DMARC is what qmail-smtpd's environment and gatekeeper
say.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from email.utils import getaddresses
from pathlib import Path

from gatescan.config import Config
from gatescan.context import Context, domain_of, in_ascii
from gatescan.judging.authentication import Authentication
from gatescan.judging.budget import LimitReached
from gatescan.judging.judge import MessageReport
from gatescan.mime import header, is_list_or_auto
from gatescan.model import Buffer
from gatescan.outcome import tokens
from gatescan.outcome.quarantine import sync_directory

WAITING = 1000
"""Requests that may wait; a further reply gets 4xx."""
MOST = 20
"""Requests of one message that count."""
HALF_WRITTEN = 3600.0
"""Seconds after which nobody writes a request any more."""
VOUCHED = b"x-gatescan-release-to"
"""The field by which a gateway names the recipient whose reply it has looked at."""
_ROBOTS = frozenset(
    (
        b"x-autoreply",
        b"x-autorespond",
        b"x-auto-reply-from",
        b"x-mail-autoreply",
        b"x-auto-response-suppress",
        b"x-gatescan-notice",
    )
)
_HEADER_MOST = 1 << 20
_PLAIN = re.compile(r"[^\s@\"(),:;<>\[\\\]]+@[^\s@\"(),:;<>\[\\\]]+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. time: when it came. address: to which.

    author: the one address in From, empty if there is not one. proof: why it is believed: `relay client`, `dmarc`, or
    empty. robot: no person wrote it. vouched: the recipient that another gateway names.
    """

    time: float
    address: str
    author: str = ""
    proof: str = ""
    robot: bool = False
    vouched: str = ""


def of(message: Buffer, report: MessageReport, context: Context, config: Config) -> list[Asked]:
    """What a message asks for: a request for each release address of the fleet among its recipients, once."""
    addresses = dict.fromkeys(address.lower() for address in context.recipients if _is_ours(address, config))
    if not addresses:
        return []
    fields = _fields(message)
    author, vouched = _author(fields), _single(fields, VOUCHED)
    # What could not be looked at, such as a message that killed a worker, has a report that says nothing of this.
    robot = not context.sender or report.automatic or is_list_or_auto(fields) or any(n in _ROBOTS for n, _ in fields)
    proof = _proof(author, report.authentication, context)
    return [Asked(time.time(), address, author, proof, robot, vouched) for address in addresses]


def goes_to_nobody(context: Context, config: Config) -> bool:
    """Whether a message is to release addresses alone."""
    return bool(context.recipients) and all(_is_ours(address, config) for address in context.recipients)


def _is_ours(address: str, config: Config) -> bool:
    token = tokens.read(address) if config.release.enabled else None
    return token is not None and token.gateway in {name.lower() for name in (config.hostname, *config.release.gateways)}


def _proof(author: str, told: Authentication | None, context: Context) -> str:
    if context.relayclient:
        return "relay client"
    wanted = ["dmarc=pass", f"header.from={in_ascii(domain_of(author))}"]
    results = told.results if author and told is not None else ()
    return "dmarc" if any(result.split()[:2] == wanted for result in results) else ""


def _fields(message: Buffer) -> list[tuple[bytes, bytes]]:
    beginning = bytes(message[:_HEADER_MOST])
    try:
        return header.read(beginning, 0, len(beginning)).fields
    except LimitReached:
        return []


def _single(fields: list[tuple[bytes, bytes]], name: bytes) -> str:
    """A field's text; nothing if there are several of it."""
    found = [header.unfold(value) for key, value in fields if key == name]
    return found[0].decode("utf-8", "surrogateescape") if len(found) == 1 else ""


def _author(fields: list[tuple[bytes, bytes]]) -> str:
    """The address in From; nothing if there is not exactly one that everybody reads alike."""
    text = _single(fields, b"from")
    found = [address for _, address in getaddresses([text])]
    return found[0] if len(found) == 1 and text.count("@") == 1 and _PLAIN.fullmatch(found[0]) else ""


class Desk:
    """The directory where requests wait."""

    def __init__(self, config: Config) -> None:
        self.directory = config.spool / "asked"

    def put(self, requests: Sequence[Asked]) -> None:
        """Keep a message's requests: when this returns they are on the disk. OSError if they cannot be kept."""
        waiting = sum(1 for _ in self.directory.glob("*.json"))
        if waiting + len(requests) > WAITING:
            raise OSError(f"{waiting} requests for a release wait already, the limit is {WAITING}")
        for asked in requests:
            self._write(asked)
        sync_directory(self.directory)

    def _write(self, asked: Asked) -> None:
        path = self.directory / f"{asked.time:.6f}-{os.getpid()}-{os.urandom(2).hex()}.json"
        fresh = path.with_suffix(".new")
        try:
            with open(fresh, "x", encoding="ascii") as file:
                json.dump(asdict(asked), file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, path)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise

    def sweep(self, now: float) -> None:
        """Remove what a worker that was killed left half-written."""
        for path in self.directory.glob("*.new"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < now - HALF_WRITTEN:
                    path.unlink()

    def waiting(self) -> Iterator[tuple[Path, Asked]]:
        """The requests, the oldest first; one that is damaged is removed."""
        for path in sorted(self.directory.glob("*.json")):
            try:
                yield path, Asked(**json.loads(path.read_bytes()))
            except FileNotFoundError:  # somebody else has answered it
                continue
            except (ValueError, TypeError):
                path.unlink(missing_ok=True)
