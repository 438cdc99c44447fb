"""What a program is told: one JSON file, made of the inventory, each key of which is known and of its kind.

The programs of several roles use it: each has this folder as a package of its own, by a link here and by a copy where
it is installed. A data class says what there is to be told; its annotations are the kinds. A key that is unknown or of
another kind is an error and no warning: a misspelt `quarantine` must not silently mean the default.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path

T = typing.TypeVar("T")
Parser = Callable[[str, object], object]
"""Makes of a key's value what it stands for; its first argument names the key, for ConfigError."""


class ConfigError(Exception):
    """A configuration that cannot be used.

    key: the entry, such as `quarantine.max_bytes`; empty: all of it. problem: what is wrong, and what it takes.
    file: where it stands; None for what was not read from a file.
    """

    def __init__(self, key: str, problem: str, file: Path | None = None) -> None:
        super().__init__(": ".join(str(part) for part in (file, key, problem) if part))
        self.key = key
        self.problem = problem
        self.file = file


def read(path: Path, parse: Callable[[object], T]) -> T:
    """What a file says; raise ConfigError, which names the file also where `parse` cannot know it."""
    try:
        return parse(_decoded(path))
    except ConfigError as error:
        raise ConfigError(error.key, error.problem, path) from error


def _decoded(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("", f"cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ConfigError("", f"is no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except ValueError as error:
        raise ConfigError("", f"is no JSON: {error}") from error


def build(cls: type[T], data: object, where: str = "", own: Mapping[str, Parser] | None = None) -> T:
    """Make a `cls`, a data class, of decoded JSON; raise ConfigError naming the key below `where`.

    own: parsers of keys, by their names at any depth, whose annotation does not say all.
    """
    given = mapping(where, data)
    hints = _hints(typing.cast(typing.Hashable, cls))
    for key in given:
        if key not in hints:
            raise ConfigError(join(where, key), f"no such key; one of {', '.join(hints)}")
    if missing := [name for name in _needed(cls) if name not in given]:
        raise ConfigError(where, f"needs {', '.join(missing)}")
    own = own or {}
    return cls(
        **{
            key: own[key](join(where, key), value) if key in own else _convert(hints[key], value, join(where, key), own)
            for key, value in given.items()
        }
    )


@functools.cache
def _hints(cls: typing.Hashable) -> dict[str, typing.Any]:
    return typing.get_type_hints(cls)


def _needed(cls: typing.Any) -> list[str]:
    """Keys that have no default."""
    none = dataclasses.MISSING
    return [item.name for item in dataclasses.fields(cls) if item.default is none and item.default_factory is none]


def _convert(hint: typing.Any, value: object, where: str, own: Mapping[str, Parser]) -> object:
    """`value` as the kind that a data class declares; the few shapes that configurations use."""
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where, own)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        entries = enumerate(listing(where, value))
        return tuple(_convert(arguments[0], entry, f"{where}[{index}]", own) for index, entry in entries)
    if origin in (dict, collections.abc.Mapping):
        items = mapping(where, value).items()
        return {key: _convert(arguments[1], entry, join(where, key), own) for key, entry in items}
    return value if hint is typing.Any else _scalar(hint, value, where)


def _scalar(hint: type, value: object, where: str) -> object:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(where, f"a {_NAMES[hint]} is needed here, not {_kind(value)}")
    if isinstance(value, int | float) and not value >= 0:
        raise ConfigError(where, "must not be negative")
    return value


def mapping(where: str, value: object) -> dict[str, typing.Any]:
    """A JSON object; raise ConfigError."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(where, f"an object is needed here, not {_kind(value)}")
    return value


def listing(where: str, value: object) -> list[typing.Any]:
    """A list; raise ConfigError."""
    if not isinstance(value, list):
        raise ConfigError(where, f"a list is needed here, not {_kind(value)}")
    return value


def number(where: str, value: object) -> int:
    """A whole number, 0 or more; raise ConfigError."""
    return typing.cast(int, _scalar(int, value, where))


def join(where: str, key: str) -> str:
    """The name of a key below another."""
    return f"{where}.{key}" if where else key


_NAMES: Mapping[type, str] = {
    str: "string", Path: "string", int: "whole number", float: "number", bool: "truth value (true or false)",
    dict: "object", list: "list", type(None): "null",
}  # short pairs, many a line # fmt: skip


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
