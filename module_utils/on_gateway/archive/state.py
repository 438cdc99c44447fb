"""What roles declare of their state, and what an archive says of itself."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..frame import Refusal

FORMAT = 1
MANIFEST = "gatewright.json"
FORMS = ("tree", "held", "database", "queue")
QUEUE = "/var/qmail/queue"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder that a gateway alone has.

    form: tree (a file, or a folder with what is in it), held (the quarantine's Maildir, whose messages are known by the
    name before a colon), database (of SQLite) or queue (qmail's). services: those below /service that must not run
    while it is brought back. settle: the program that then puts it in force.
    """

    path: str
    form: str = "tree"
    services: tuple[str, ...] = ()
    settle: str = ""

    @property
    def name(self) -> str:
        """Its name in an archive."""
        return self.path.lstrip("/")

    def covers(self, member: str) -> bool:
        """Whether a member of an archive is of this entry."""
        return member == self.name or member.startswith(f"{self.name}/")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself.

    host: the gateway's own name. made: seconds since 1970. queued: messages of the queue in it.
    """

    format: int
    id: str
    host: str
    release: str
    made: int
    entries: tuple[str, ...]
    queued: int = 0

    def text(self) -> bytes:
        """As it stands in the archive."""
        return json.dumps(asdict(self)).encode("ascii")


def parse_entries(told: list[dict[str, Any]]) -> list[Entry]:
    """What roles publish; ValueError or TypeError if it is not of this form."""
    entries = [Entry(**one | {"services": tuple(one.get("services", ()))}) for one in told]
    for entry in entries:
        plain = entry.path.startswith("/") and not {"", ".", ".."} & set(entry.path[1:].split("/"))
        if entry.form not in FORMS or not plain:
            raise ValueError(f"{entry.path}: no plain absolute path, or the form {entry.form!r} is none of {FORMS}")
        if (entry.form == "queue") != (entry.path == QUEUE):
            raise ValueError(f"{entry.path}: the form queue is for {QUEUE}")
    return entries


def parse_manifest(text: bytes) -> Manifest:
    """Read it; Refusal if this is none, or one of another format."""
    try:
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise Refusal(f"the archive has format {told['format']}, and this release of Gatewright reads {FORMAT}")
        manifest = Manifest(**told | {"entries": tuple(told["entries"])})
        texts = (manifest.host, manifest.release, *manifest.entries)
        is_right = all(isinstance(one, str) for one in texts) and type(manifest.made) is type(manifest.queued) is int
        if not (re.fullmatch("[0-9a-f]{32}", manifest.id) and is_right):
            raise ValueError(manifest)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refusal(f"this is no archive of Gatewright's: {error!r}") from error
    return manifest


def check_origin(manifest: Manifest, host: str, release: str) -> None:
    """Refusal unless an archive is of this gateway, and of no later release."""
    if manifest.host != host:
        raise Refusal(f"the archive is {manifest.host}'s, and this gateway is {host}")
    if numbers(manifest.release) > numbers(release):
        raise Refusal(
            f"the archive was made by release {manifest.release}, and this is {release}: bring it back with that one"
        )


def numbers(release: str) -> tuple[int, ...]:
    """A release as it compares."""
    return tuple(map(int, re.findall(r"\d+", release)))


def own_name(root: Path) -> str:
    """The gateway's own name; Refusal if this is no gateway."""
    path = root / "var/qmail/control/me"
    try:
        return path.read_text().strip().lower()
    except FileNotFoundError:
        raise Refusal(f"{path} is not there: this host is no gateway yet; run site.yml first") from None
