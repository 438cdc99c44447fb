"""Engines that are programs: one process a message, judged by its exit code and its output.

The rows of `table.PROGRAMS` say how each is called and how it answers. A program is given file names that were
made here, a fixed environment, no shell and no terminal; it is killed with all its children at the time limit,
or when the scanner's worker dies.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gatescan.config import ConfigError
from gatescan.engines.base import EngineError, Hit, Sample, remaining
from gatescan.engines.clamd import newest
from gatescan.engines.files import SampleFiles, sample_files
from gatescan.engines.needs import Needs, directories
from gatescan.model import Verdict
from gatescan.text import printable

OUTPUT_BOUND = 4_000_000
"""Most bytes of output, more than any engine prints: beyond it the run is an error."""
SET_PRIVILEGES = "/usr/bin/setpriv"
"""util-linux's, on every Debian; it has the kernel end the program when the thread that waits for it is gone."""

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

Codes = Callable[[int], Verdict | None]
"""What an exit code means: clean, infected, encrypted or limit (not all was looked at); None: an error."""


@dataclass(frozen=True, slots=True)
class Program:
    """How one program is called and how it answers.

    command: its path and arguments; `{directory}` stands for the directory with the files, an argument `{files}`
    for their paths, one by one. codes: the meaning of exit codes. found: patterns over its output, each with a
    group `name`; a match is a virus whatever the exit code says. needed: if no virus is named, one of these must be in
    its output. sealed: patterns of what it says of
    encrypted files; with a code of `sealed_codes`, they explain it. version: arguments that make it print its
    version. signatures: its signature files, for their age. open_input: it fails when its standard input is empty.
    """

    command: tuple[str, ...]
    codes: Codes
    found: tuple[re.Pattern[str], ...] = ()
    needed: tuple[re.Pattern[str], ...] = ()
    sealed: tuple[re.Pattern[str], ...] = ()
    sealed_codes: frozenset[int] = frozenset()
    version: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    open_input: bool = False


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """Keys of an engine that is a program; what is empty is as the table has it."""

    program: str = ""
    arguments: tuple[str, ...] = ()
    signatures: tuple[str, ...] = ()
    """Patterns of paths; the newest file that fits tells the age of the signatures."""

    def check(self, where: str) -> None:
        """ConfigError for what cannot work."""
        if self.program and not self.program.startswith("/"):
            raise ConfigError(f"{where}.program", "a whole path is needed")
        placed = any("{directory}" in word or word == "{files}" for word in self.arguments)
        if self.arguments and not placed:
            raise ConfigError(f"{where}.arguments", "neither {directory} nor {files} is among them")


class CommandLine:
    """The adapter of all programs."""

    def __init__(self, name: str, timeout: float, row: Program, settings: ProgramSettings) -> None:
        self.name = name
        self.timeout = timeout
        program = settings.program or row.command[0]
        self.row = replace(
            row,
            command=(program, *(settings.arguments or row.command[1:])),
            signatures=settings.signatures or row.signatures,
        )

    def scan(self, sample: Sample, deadline: float) -> list[Hit]:
        with sample_files(sample) as files:
            command = list(_arguments(self.row.command, files))
            code, output = run(command, files.directory, deadline, open_input=self.row.open_input)
            return judge_answer(self.row, code, output, files)

    def version(self, deadline: float) -> str:
        if not self.row.version:
            return self.row.command[0] if os.access(self.row.command[0], os.X_OK) else self._missing()
        _, output = run([self.row.command[0], *self.row.version], Path("/"), deadline)
        return printable("; ".join(filter(None, map(str.strip, output.splitlines()[:4]))), 200)

    def _missing(self) -> str:
        raise EngineError(f"cannot run {self.row.command[0]}", "install it, or take the engine out of the inventory")

    def signature_date(self, deadline: float) -> float | None:
        del deadline
        return newest([Path(pattern) for pattern in self.row.signatures])

    @property
    def needs(self) -> Needs:
        return Needs(programs=(Path(self.row.command[0]),), signatures=directories(self.row.signatures))


def _arguments(command: Sequence[str], files: SampleFiles) -> list[str]:
    words: list[str] = []
    for word in command:
        if word == "{files}":
            words += [str(files.directory / name) for name in files.paths]
        else:
            words.append(word.replace("{directory}", str(files.directory)))
    return words


def judge_answer(row: Program, code: int, output: str, files: SampleFiles) -> list[Hit]:
    """What a program's exit code and output say together; EngineError unless they are understood."""
    hits = _named(row.found, output, files)
    meaning = row.codes(code) if code >= 0 else None
    if meaning is None and code in row.sealed_codes and any(pattern.search(output) for pattern in row.sealed):
        meaning = Verdict.ENCRYPTED
    if meaning is None or (row.needed and not hits and not any(pattern.search(output) for pattern in row.needed)):
        raise _not_understood(code, output, hits)
    if hits or meaning is Verdict.CLEAN:
        return hits
    if meaning is Verdict.INFECTED:
        return [Hit(f"unnamed (exit code {code})")]
    return [Hit(f"not all of it could be looked at (exit code {code})", "", meaning, f"engine-{meaning.value}")]


def _not_understood(code: int, output: str, hits: list[Hit]) -> EngineError:
    cause = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    said = printable(" ".join(output.split())[-200:], 200)
    advice = "run it by hand on a clean file; are its licence and its signatures in order?"
    error = EngineError(f"{cause}, which is neither clean nor infected; it said: {said!r}", advice)
    error.hits = tuple(hits)
    return error


def _named(patterns: Sequence[re.Pattern[str]], output: str, files: SampleFiles) -> list[Hit]:
    found: dict[tuple[str, str], Hit] = {}
    for pattern in patterns:
        for match in pattern.finditer(output):
            # The file stands in the same line, or, with some, in one before it.
            line_end = output.find("\n", match.end())
            part = files.part_in(output[: line_end if line_end >= 0 else None])
            name = printable(match["name"].strip() or "unnamed")
            found.setdefault((name, part), Hit(name, part))
    return list(found.values())


def run(command: Sequence[str], directory: Path, deadline: float, *, open_input: bool = False) -> tuple[int, str]:
    """Run a program until its end; return its exit code (negative: the signal) and all that it printed.

    EngineError if it cannot be started, prints too much, or is not done by the deadline.
    """
    started = time.monotonic()
    prefix = [SET_PRIVILEGES, "--pdeathsig", "KILL", "--"] if Path(SET_PRIVILEGES).exists() else []
    if not os.access(command[0], os.X_OK):
        raise EngineError(f"cannot run {command[0]}", "install it, or take the engine out of the inventory")
    process = subprocess.Popen(
        [*prefix, *command],
        stdin=subprocess.PIPE if open_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env=_environment(directory),
        start_new_session=True,
    )
    try:
        with process:
            try:
                output = _read(process, deadline)
                return process.wait(remaining(deadline)), _ESCAPES.sub("", output.decode("utf-8", "replace"))
            finally:
                _kill(process)
    except (EngineError, subprocess.TimeoutExpired) as error:
        if isinstance(error, EngineError) and time.monotonic() < deadline:
            raise
        seconds = time.monotonic() - started
        advice = "run it by hand: does it hang? else raise its timeout"
        raise EngineError(f"not done after {seconds:.0f} seconds, and killed", advice) from None


def _environment(directory: Path) -> dict[str, str]:
    # Messages in English, as the table knows them.
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"LANG": "C", "LC_ALL": "C", "PATH": path, "HOME": str(directory), "TMPDIR": str(directory)}


def _read(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """All that a program prints until it ends, even if a child of its own keeps the output open."""
    assert process.stdout is not None
    output = bytearray()
    ended = os.pidfd_open(process.pid)
    os.set_blocking(process.stdout.fileno(), False)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(remaining(deadline))}
                if process.stdout.fileno() in ready:
                    chunk = process.stdout.read(1 << 16)
                    if chunk == b"":
                        return bytes(output)
                    output += chunk or b""
                    if len(output) > OUTPUT_BOUND:
                        raise EngineError(f"printed more than {OUTPUT_BOUND} bytes", "run it by hand on a clean file")
                elif ended in ready:
                    return bytes(output)
    finally:
        os.close(ended)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the program and what it has started: they are a process group of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
