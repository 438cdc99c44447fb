"""How wrong inventory data is reported: all problems at once, each naming its entry."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
UNQUOTED = (
    """write it without quotation marks; on the command line that is JSON: -e '{"NAME": VALUE}', """
    "in an inventory of the INI form True and False"
)
"""What to do with a number or a truth value that came as text."""
QUOTED = "write it in quotation marks, as YAML makes numbers and truth values (yes, no, on, off) of some words"
"""What to do with text that came as a number or a truth value."""


class InventoryError(ValueError):
    """Inventory data that cannot become a file. `problems` holds one sentence for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class Problems:
    """Collects problems, so that a user sees them all in one run."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Note that the entry `where` is wrong because of `what`."""
        self.found.append(f"{where}: {what}")

    def collect(self, build: Callable[[], T]) -> T | None:
        """What `build` returns; the problems that it raises are noted, and there is nothing."""
        try:
            return build()
        except InventoryError as error:
            self.found += error.problems
            return None

    def raise_if_any(self) -> None:
        """Raise InventoryError when anything was noted."""
        if self.found:
            raise InventoryError(self.found)


def entry_name(variable: str, index: int, value: object) -> str:
    """How messages name item `index` (from 0) of a list variable, with enough of its value to find it."""
    text = str(value)
    return f"{variable}[{index}] ({text if len(text) <= 60 else text[:57] + '...'})"


def kind_of(value: object) -> str:
    """The YAML name of a value's type, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    for types, name in (((int,), "a number"), ((float,), "a number"), ((str,), "a string"), ((dict,), "a mapping")):
        if isinstance(value, types):
            return name
    return "a list" if isinstance(value, list | tuple) else type(value).__name__


def suggest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` for the nearest known name, or nothing."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def as_list(problems: Problems, variable: str, value: object) -> list[object]:
    """The list under `variable`; anything else is noted and read as empty."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    problems.add(variable, f"must be a list, not {kind_of(value)}")
    return []


def check_keys(problems: Problems, where: str, value: dict[str, object], known: Iterable[str]) -> bool:
    """Note every key of a mapping that is not known; True when all are."""
    names = sorted(known)
    unknown = [str(key) for key in value if key not in names]
    for key in unknown:
        problems.add(where, f"unknown key {key!r} (known: {', '.join(names)}){suggest(key, names)}")
    return not unknown
