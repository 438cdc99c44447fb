"""A room for each role: how its variables are read and checked, and what is made of them.

`CHAPTER` of a room is what the preflight collects. A role of somebody else's, which has no room here, brings its own as
`chapter.py` in its folder.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gatewright.kinds import Kind
from gatewright.problems import Problems

if TYPE_CHECKING:
    from gatewright.inventory import Site

ROOMS = Path(__file__).parent


def nothing(_site: Site, _problems: Problems) -> None:
    """The check of a chapter whose options do not depend on each other."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """What the preflight must know of a role.

    options: the kind of every option of its argument specification that the specification does not say all about.
    check: what must fit together, on one host and among all. remark: what is allowed, but worth a warning. parsed:
    options that `check` reads whole, so that a mistake in them is told once and in the field's words.
    """

    options: Mapping[str, Kind] = field(default_factory=dict)
    check: Callable[[Site, Problems], None] = nothing
    remark: Callable[[Site, Problems], None] = nothing
    parsed: frozenset[str] = frozenset()


def chapter_of(role: Path) -> Chapter | None:
    """The chapter of the role in a folder: of the room with its name here, else of the role's own chapter.py."""
    if (ROOMS / role.name).is_dir() or (ROOMS / f"{role.name}.py").is_file():
        return _of(importlib.import_module(f"{__name__}.{role.name}"))
    own = role / "chapter.py"
    return _of(_load(own, f"gatewright_chapter_{role.name}")) if own.is_file() else None


def load_rooms() -> None:
    """Load all rooms. In the process that forks Ansible's workers, before it does, this saves each of them the work.

    A room that cannot be read is left to the preflight, which tells the mistake.
    """
    for room in pkgutil.iter_modules(__path__):
        with contextlib.suppress(Exception):
            importlib.import_module(f"{__name__}.{room.name}")


def _load(path: Path, name: str) -> ModuleType:
    """The module in a file that is in no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _of(module: ModuleType) -> Chapter:
    chapter = getattr(module, "CHAPTER", None)
    if not isinstance(chapter, Chapter):
        raise TypeError(f"{module.__file__} has no CHAPTER")
    return chapter
