"""Engines that are daemons with a small protocol of their own: Sophie, Trophie, SAVDI, aveserver, fpscand.

All but SAVDI are told paths. As the message's files can be read by the scanner's user alone, these daemons
have to run as that user, which is how qmail-scanner's manual had it too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gatescan.engines.base import EngineError, Hit, Sample
from gatescan.engines.connection import Connection, check_address
from gatescan.engines.files import sample_files
from gatescan.engines.needs import Needs
from gatescan.model import Verdict
from gatescan.text import printable

ADVICE = "does its daemon run, as the scanner's user? see its log"


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """Keys of an engine that is such a daemon; an empty socket: its usual place."""

    socket: str = ""

    def check(self, where: str) -> None:
        """ConfigError for what cannot work."""
        if self.socket:
            check_address(self.socket, f"{where}.socket")


Dialogue = Callable[[str, float, Sample], list[Hit]]
"""Asks the daemon at an address, before a deadline, about a sample."""


class SocketEngine:
    """The adapter."""

    def __init__(self, name: str, timeout: float, address: str, dialogue: Dialogue) -> None:
        self.name = name
        self.timeout = timeout
        self.address = address
        self._dialogue = dialogue

    def scan(self, sample: Sample, deadline: float) -> list[Hit]:
        return self._dialogue(self.address, deadline, sample)

    def version(self, deadline: float) -> str:
        with Connection(self.address, deadline, ADVICE):
            return f"answers on {self.address}"

    def signature_date(self, deadline: float) -> float | None:
        del deadline
        return None  # none of these protocols tells

    @property
    def needs(self) -> Needs:
        return Needs.at(self.address)


def sophie(address: str, deadline: float, sample: Sample) -> list[Hit]:
    """Sophie: a directory's path; `0`, `1:NAME` or `-1:...`."""
    return _whole_directory(address, deadline, sample, "\n")


def trophie(address: str, deadline: float, sample: Sample) -> list[Hit]:
    """Trophie: the same, with a slash after the path."""
    return _whole_directory(address, deadline, sample, "/\n")


def _whole_directory(address: str, deadline: float, sample: Sample, end: str) -> list[Hit]:
    with sample_files(sample) as files, Connection(address, deadline, ADVICE) as session:
        session.send(os.fsencode(files.directory) + end.encode())
        session.end_sending()
        answer = _text(session.read_to_end()).strip("\0\r\n ")
    if answer == "0":
        return []
    found = re.fullmatch(r"1(?::(?P<name>[^\n]*))?", answer)
    if not found:
        raise _no_answer(answer)
    return [Hit(printable(found["name"] or "unnamed"))]


def savdi(address: str, deadline: float, sample: Sample) -> list[Hit]:
    """Sophos' SAVDI speaks SSSP/1.0 and takes the bytes themselves (SCANDATA)."""
    hits: list[Hit] = []
    with Connection(address, deadline, ADVICE) as session:
        _expect(session, r"OK SSSP/1\.0")
        session.send(b"SSSP/1.0\r\n")
        _expect(session, r"ACC [\w/:.-]+")
        for path, data in sample.pieces():
            session.send(f"SCANDATA {len(data)}\r\n".encode())
            session.send(data)
            _expect(session, r"ACC [\w/:.-]+")
            hits += _savdi_events(session, path)
        session.send(b"BYE\r\n")
    return hits


def _savdi_events(session: Connection, path: str) -> list[Hit]:
    """The events up to the end of one answer; an answer ends with an empty line."""
    hits: list[Hit] = []
    failed = ""
    while line := _line(session):
        if found := re.fullmatch(r"VIRUS (?P<name>\S+)(?: .*)?", line):
            hits.append(Hit(printable(found["name"]), path))
        elif re.match(r"(?:FAIL 0212|DONE FAIL 0212)\b", line):
            hits.append(Hit("encrypted", path, Verdict.ENCRYPTED, "engine-encrypted"))
        elif line.startswith(("FAIL", "REJ")):
            failed = line
        elif line.startswith("DONE"):
            if not line.startswith("DONE OK") and not hits:
                failed = failed or line
        elif not re.match(r"(?:EVENT|TYPE|FILE|OK|INFO)\b", line):
            failed = line
    if failed:
        error = EngineError(f"could not look at {path or 'the message'}: {printable(failed)!r}", ADVICE, answered=True)
        error.hits = tuple(hits)
        raise error
    return hits


def aveserver(address: str, deadline: float, sample: Sample) -> list[Hit]:
    """Kaspersky's aveserver greets with 2xx; 322: a virus, 220 or 200: done, 5xx: an error."""

    def ask(session: Connection, path: str) -> str:
        session.send(b"SCAN bPQRSTUW " + path.encode() + b"\r\n")
        name = ""
        while True:
            line = _line(session)
            if found := re.match(r"322[ -](?P<name>\S+)", line):
                name = name or found["name"]
            elif re.match(r"2\d\d(?: |$)", line):
                return name
            elif not re.match(r"[23]\d\d[ -]", line):
                raise _no_answer(line)

    return _each_file(address, deadline, sample, ask, greeting=r"2\d\d .*")


def fpscand(address: str, deadline: float, sample: Sample) -> list[Hit]:
    """F-Prot's fpscand: `0 <clean> PATH`, `1 <infected: NAME> PATH`; the number is fpscan's exit code."""

    def ask(session: Connection, path: str) -> str:
        session.send(b"SCAN FILE " + path.encode() + b"\n")
        line = _line(session)
        found = re.match(r"(?P<code>\d+) <(?P<what>[^>]*)>", line)
        if not found:
            raise _no_answer(line)
        if int(found["code"]) & 3:
            return found["what"].partition(": ")[2] or found["what"] or "unnamed"
        if int(found["code"]) != 0:  # 8 and 64: it has not looked at all of it
            raise EngineError(f"could not look at all of it: {printable(line)!r}", ADVICE, answered=True)
        return ""

    return _each_file(address, deadline, sample, ask)


def _each_file(
    address: str,
    deadline: float,
    sample: Sample,
    ask: Callable[[Connection, str], str],
    greeting: str = "",
) -> list[Hit]:
    """Ask about one file after another; `ask` returns a virus's name, or nothing."""
    hits: list[Hit] = []
    with sample_files(sample) as files, Connection(address, deadline, ADVICE) as session:
        if greeting:
            _expect(session, greeting)
        for file, part in files.paths.items():
            try:
                name = ask(session, str(files.directory / file))
            except EngineError as error:
                error.hits = tuple(hits)
                raise
            if name:
                hits.append(Hit(printable(name), part))
    return hits


def _line(session: Connection) -> str:
    return _text(session.read_until(b"\n")).rstrip("\r")


def _expect(session: Connection, pattern: str) -> None:
    line = _line(session)
    if not re.fullmatch(pattern, line):
        raise _no_answer(line)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _no_answer(text: str) -> EngineError:
    return EngineError(f"answered what is no answer: {printable(text)!r}", ADVICE)


DIALOGUES: Mapping[str, tuple[str, Dialogue]] = MappingProxyType(
    {
        "sophie": ("/var/run/sophie", sophie),
        "trophie": ("/var/run/trophie", trophie),
        "savdi": ("/var/run/savdi/sssp.sock", savdi),
        "aveserver": ("/var/run/aveserver", aveserver),
        "fpscand": ("127.0.0.1:10200", fpscand),
    }
)
"""Their usual addresses and how to speak to them."""
