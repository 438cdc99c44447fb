"""The public suffix list, of Debian's package publicsuffix: which domains belong to one organisation."""

from __future__ import annotations

from pathlib import Path

from gatekeeper.addresses import in_ascii

LIST = Path("/usr/share/publicsuffix/public_suffix_list.dat")


class Suffixes:
    """Names below which others register theirs: `com`, `co.uk`, `*.ck` with its exception `!www.ck`."""

    def __init__(self, text: str) -> None:
        lines = (line.split()[0] for line in text.splitlines() if line.strip() and not line.startswith("//"))
        self._rules = frozenset(in_ascii(line) for line in lines)

    def organisation(self, domain: str) -> str:
        """The organisation's domain that a domain (in lower case, ASCII) is in; itself if it is a public suffix."""
        labels = domain.split(".")
        for at in range(len(labels)):
            name = ".".join(labels[at:])
            if f"!{name}" in self._rules:
                return name
            if name in self._rules or ".".join(["*", *labels[at + 1 :]]) in self._rules:
                return ".".join(labels[max(0, at - 1) :])
        return ".".join(labels[-2:])


def load(path: Path = LIST) -> Suffixes:
    """The list of a file. Raises OSError, ValueError."""
    return Suffixes(path.read_text(encoding="utf-8"))
