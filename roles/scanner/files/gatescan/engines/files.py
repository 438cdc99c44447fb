"""A message and its parts as files, for engines that want to be given paths."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatescan.engines.base import EngineError, Sample

GENERATED = re.compile(r"message\.eml|part-\d{4,}\.bin")
"""The only names that an engine ever sees: never one that a stranger chose."""


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Where they are. paths: the path of the part that each file's name stands for."""

    directory: Path
    paths: dict[str, str]

    def part_in(self, text: str) -> str:
        """The part whose file is named last in `text`; empty, the message, if none is."""
        return self.paths.get((GENERATED.findall(text) or [""])[-1], "")


@contextlib.contextmanager
def sample_files(sample: Sample) -> Iterator[SampleFiles]:
    """Write a message and its parts into a private directory, and remove it afterwards.

    It lies in the daemon's own temporary directory, which only the scanner's user can enter.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="engine-") as name:
            yield _write(sample, Path(name))
    except OSError as error:
        advice = "is the spool's disk full? engines that read files need room for a message's parts"
        raise EngineError(f"cannot write the message's parts: {error}", advice) from error


def _write(sample: Sample, directory: Path) -> SampleFiles:
    paths: dict[str, str] = {}
    for number, (path, data) in enumerate(sample.pieces()):
        name = f"part-{number:04}.bin" if number else "message.eml"
        (directory / name).write_bytes(data)
        paths[name] = path
    return SampleFiles(directory, paths)
