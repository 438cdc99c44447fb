"""Files named by a number, which may be volumes of a set: `papers.001`, `papers.002`.

Instruments and old programs number their files, too. So a set is one only if it begins as an archive or a program does;
a set that was cut within the first bytes is put together again to see that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gatescan.judging import filetype
from gatescan.model import Finding, Part, Verdict
from gatescan.text import printable

_NAME = re.compile(r"(?:.*[/\\])?([^/\\]+)\.(\d{3})\s*\Z", re.DOTALL)
_HEAD = filetype.HEAD
_KNOWN = filetype.ARCHIVES | filetype.EXECUTABLES | filetype.UNOPENABLE
_SETS_MAX = 500


@dataclass(slots=True)
class Volumes:
    """The numbered files of one message, by what stands in front of the number."""

    sets: dict[str, dict[int, tuple[bytes, str]]] = field(default_factory=dict)

    def see(self, part: Part) -> None:
        """Keep the beginning of a part that is named so."""
        for name in part.names:
            if (found := _NAME.match(name)) and (len(self.sets) < _SETS_MAX or found[1].lower() in self.sets):
                files = self.sets.setdefault(found[1].lower(), {})
                files.setdefault(int(found[2]), (bytes(part.data[:_HEAD]), part.path))

    def findings(self) -> list[Finding]:
        """One for each file that follows a first volume. What a first volume holds by itself is its reader's matter."""
        return [finding for stem, files in self.sets.items() if len(files) > 1 for finding in _judge(stem, files)]


def _judge(stem: str, files: dict[int, tuple[bytes, str]]) -> list[Finding]:
    numbers = sorted(files)
    head = b""
    for number in numbers:
        head += files[number][0]
        if len(head) >= _HEAD:
            break
    if numbers[0] > 1 or filetype.kind(head[:_HEAD]) not in _KNOWN:
        return []
    detail = f"a volume of the set {printable(stem)}"
    return [Finding(Verdict.POLICY, "lone-volume", detail, files[number][1]) for number in numbers[1:]]
