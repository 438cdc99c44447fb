"""What is wrong with roles themselves: their specifications, and what they publish to others.

Whoever adds a role hears of it before a host is changed. Only what stands there as it is can be looked at: an entry
with a template in it is checked by whoever gathers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from gatewright import kinds
from gatewright.chapters.firewall.ruleset import inbound_rule, openings, way_out
from gatewright.chapters.hardening import WRITABLE
from gatewright.chapters.service_trimming import OWNER, SOCKET
from gatewright.inventory import Role
from gatewright.kinds import Kind
from gatewright.needs import KINDS, Shape
from gatewright.problems import InventoryError, Problems, kind_of, suggest

TYPES = frozenset(
    {"bits", "bool", "bytes", "dict", "float", "int", "json", "jsonarg", "list", "path", "raw", "sid", "str"}
)
"""That Ansible knows in argument specifications."""
# Similarity above which what a role publishes is a misspelt kind; what else it hands over has a name of its own.
_SLIP = 0.8


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's where it is there
    """Refuses a mapping that has a key twice, of which YAML's own reading takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _value in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name} is there twice", key.start_mark)
            seen.add(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def specs_of(role: Path) -> Any:
    """What the argument_specs.yml of the role in a folder holds; nothing without one. Raises InventoryError.

    By libyaml alone: Ansible's own reading, which marks every value with its origin, takes three times as long.
    """
    path = role / "meta" / "argument_specs.yml"
    try:
        return yaml.load(path.read_text(), Loader=_Loader) or {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise InventoryError([f"roles/{role.name}/meta/argument_specs.yml: cannot be read: {told}"]) from error


def options_of(role: str, specs: Any) -> dict[str, dict[str, Any]]:
    """The options of all entry points of a role's argument_specs.yml, those of `main` before others of their name.

    Raises InventoryError.
    """
    where = f"roles/{role}/meta/argument_specs.yml"
    points = _mapping(where, "argument_specs", _mapping(where, "the file", specs).get("argument_specs"))
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(points, key=lambda point: point != "main"):
        options = _mapping(where, f"{name}: options", _mapping(where, name, points[name]).get("options"))
        for option, content in options.items():
            found.setdefault(str(option), _option(where, option, content))
    return found


def _mapping(where: str, what: str, value: Any) -> Mapping[str, Any]:
    """A mapping, or nothing for one that is empty."""
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise InventoryError([f"{where}: {what}: must be a mapping, not {kind_of(value)}"])


def _option(where: str, name: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise InventoryError([f"{where}: {name}: must be a mapping with type and description, not {kind_of(content)}"])
    if content.get("type", "str") not in TYPES:
        raise InventoryError([f"{where}: {name}: {content['type']!r} is no type; known are {', '.join(sorted(TYPES))}"])
    return dict(content)


def check_published(role: Role, problems: Problems) -> None:
    """What a role publishes has the shape of its kind, and entries that whoever gathers it can use."""
    for name, value in role.defaults.items():
        kind = name.removeprefix(f"{role.name}__")
        if kind == name:
            continue
        if kind in KINDS:
            _check_need(problems, name, kind, value)
            if kind == "numbers" and isinstance(value, list):
                _check_numbers(problems, name, value, role)
        elif slip := suggest(kind, KINDS, _SLIP):
            problems.add(name, f"there is no kind {kind}{slip}")


def check_together(roles: Iterable[Role], problems: Problems) -> None:
    """No two roles give one name two values, where one role's is to be taken. Two templates may come to the same."""
    holders: dict[tuple[str, str], tuple[str, Any]] = {}
    for role in roles:
        for kind, shape in KINDS.items():
            variable = f"{role.name}__{kind}"
            value = role.defaults.get(variable)
            for key, item in value.items() if shape is Shape.JOINED and isinstance(value, Mapping) else ():
                holder, other = holders.setdefault((kind, str(key)), (variable, item))
                is_known = kind in ("questions", "settles") or "{{" not in f"{item}{other}"
                if holder != variable and item != other and is_known:
                    problems.add(f"{variable}.{key}", f"{holder} gives it another value")


def _check_need(problems: Problems, name: str, kind: str, value: Any) -> None:
    shape = KINDS[kind]
    if (isinstance(value, str) and "{{" in value) or shape is Shape.ONE:
        return
    if shape is Shape.LIST and isinstance(value, list):
        for index, item in enumerate(value):
            if kind in ENTRIES and "{{" not in str(item):
                ENTRIES[kind](problems, f"{name}[{index}]", item)
    elif shape is not Shape.LIST and isinstance(value, Mapping):
        if kind == "firewall":
            _check_firewall(problems, name, value)
        elif kind in _MAPPINGS:
            _MAPPINGS[kind](problems, name, value)
    else:
        problems.add(name, f"must be {'a list' if shape is Shape.LIST else 'a mapping'}, not {kind_of(value)}")


def _check_numbers(problems: Problems, name: str, entries: list[Any], role: Role) -> None:
    """A number is in a variable of the role itself; a mapping has one for each of its names."""
    for index, entry in enumerate(entries):
        variable = entry.get("variable") if isinstance(entry, Mapping) else None
        if not isinstance(variable, str):
            continue
        if variable not in role.public:
            problems.add(f"{name}[{index}]", f"{variable} is no variable of role {role.name}")
        elif isinstance(role.defaults.get(variable), Mapping) is ("name" in entry):
            wrong = "is a mapping, which has the names" if "name" in entry else "is one number: needs the name of whose"
            problems.add(f"{name}[{index}]", f"{variable} {wrong}")


def _check_firewall(problems: Problems, name: str, value: Mapping[str, Any]) -> None:
    for direction, entries in value.items():
        if direction not in ("inbound", "outbound", "loopback"):
            problems.add(name, f"unknown key {direction!r} (known: inbound, outbound, loopback)")
        elif direction in _OPENINGS and not isinstance(entries, str):
            for entry in openings(f"{name}.{direction}", entries):
                if "{{" not in str(entry.value):
                    problems.collect(partial(_OPENINGS[direction], entry.where, entry.value))


def _inbound(where: str, value: Any) -> list[str]:
    """An opening, whose rate is one of the site's."""
    return inbound_rule(where, value, (), [str(value.get("rate"))] if isinstance(value, Mapping) else [])


def _instructions(problems: Problems, where: str, value: Any) -> None:
    """The text of a dot-qmail file: an empty one has qmail deliver to a mailbox that nobody reads."""
    kinds.text(problems, where, value)
    if isinstance(value, str) and not value.strip():
        problems.add(where, "is empty: qmail would deliver to a mailbox that nobody reads")


def _command(problems: Problems, where: str, value: Any) -> None:
    """A shell command, of several lines too."""
    kinds.text(problems, where, value)
    if isinstance(value, str) and not value.strip():
        problems.add(where, "is empty: the survey would ask nothing")


_NAME = kinds.matching(r"[A-Za-z0-9_-]+", "a name of letters, digits, - and _")
_MAPPINGS: Mapping[str, Kind] = {
    "aliases": kinds.mapped(kinds.file_name, _instructions),
    "questions": kinds.mapped(_NAME, _command),
    "settles": kinds.mapped(_NAME, kinds.matching(r"[^\n]* look", "a command that ends in `look`")),
}
"""What the entries of a kind must be, for those that are mappings of simple things."""
_OPENINGS = {"inbound": _inbound, "outbound": way_out}

_TAG = kinds.matching(r"[a-z][a-z0-9_]*", "a tag of the role's")

ENTRIES: Mapping[str, Kind] = {
    "packages": kinds.package,
    "groups": kinds.record({"name": kinds.account, "gid": kinds.account_id}, needed=["name", "gid"]),
    "users": kinds.record(
        {"name": kinds.account, "uid": kinds.account_id, "gid": kinds.account_id, "home": kinds.path()},
        needed=["name", "uid", "gid", "home"],
    ),
    "numbers": kinds.record(
        {"variable": kinds.line(), "of": kinds.choice("users", "groups"), "name": kinds.account},
        needed=["variable", "of"],
    ),
    "package_users": kinds.account,
    "trimmed_units": kinds.unit,
    "replaced_units": kinds.unit,
    "units": kinds.unit,
    "host_jobs": _TAG,
    "quick_jobs": _TAG,
    "sockets": SOCKET,
    "listeners": OWNER,
    "writable": WRITABLE,
    "profiles": kinds.file_name,
    "logs": kinds.record({"name": kinds.file_name, "path": kinds.path()}, needed=["name", "path"]),
    "trees": kinds.path(folder=True),
    "kept": kinds.path(folder=True),
}
"""What an entry of a kind must be, for those that are lists of simple things."""
