"""The whole corpus: `python3 -m tests.corpus.generate DIR` writes it to files, `cases()` gives it to tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.corpus import archives, contents, encodings, harmless, markup, naming, readings, structure
from tests.corpus.case import Case

SOURCES = (structure, encodings, markup, naming, readings, archives, contents, harmless)


def cases() -> Iterator[Case]:
    """Every case, always the same and in the same order."""
    for source in SOURCES:
        yield from source.cases()


def write(folder: Path) -> int:
    """Write each case to `folder`/<hostile or harmless>/<name>.eml; return how many there were."""
    count = 0
    for case in cases():
        kind = "harmless" if case.harmless else "hostile"
        path = folder / kind / f"{case.name}.eml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.message)
        count += 1
    return count


def main() -> int:
    """Write the corpus to the folder that the command line names."""
    if len(sys.argv) != 2:
        print("usage: python3 -m tests.corpus.generate DIR", file=sys.stderr)
        return 2
    print(f"{write(Path(sys.argv[1]))} messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
