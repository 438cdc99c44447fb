"""What roles publish, as far as an inventory says it by itself: for checks before a host is connected to.

Only roles' own variables and the inventory are looked at. What is made of a host's facts or by a filter of Ansible's is
not known here, and is left out; of a sum of lists those terms that are not known.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, nodes
from jinja2.environment import Template
from jinja2.meta import find_undeclared_variables
from jinja2.nativetypes import NativeEnvironment

from gatewright.inventory import Site, owner_of, plain
from gatewright.problems import Problems

_UNKNOWN = Undefined()
# strict: a choice by what is not known is not made
_ENVIRONMENT = NativeEnvironment(undefined=StrictUndefined)


def published(site: Site, kind: str) -> Iterator[tuple[str, Any]]:
    """The entries of a kind that is a list, each with the role that publishes it."""
    for role in site.roles.values():
        found = _rendered(role.defaults.get(f"{role.name}__{kind}"), site, frozenset())
        yield from ((role.name, plain(entry)) for entry in found or () if isinstance(found, list))


def check_port(site: Site, problems: Problems, variable: str) -> None:
    """A port that a program of this role listens on, by TCP, is none of another role's."""
    port = site.value(variable)
    if isinstance(port, bool) or not isinstance(port, int):
        return
    own = owner_of(variable, site.roles)
    for role, entry in published(site, "sockets"):
        is_there = isinstance(entry, Mapping) and entry.get("proto") == "tcp" and str(entry.get("port")) == str(port)
        if is_there and own and role != own.name:
            problems.add(variable, f"{port} is taken: {entry.get('owner')} of role {role} listens on it")
            return


def _rendered(value: Any, site: Site, within: frozenset[str]) -> Any:
    """A value with what its templates say; entries of lists and mappings that are not known are left out.

    within: the variables that are being looked up, none of which can be made of itself.
    """
    if isinstance(value, Mapping):
        items = ((key, _rendered(item, site, within)) for key, item in value.items())
        return {key: item for key, item in items if not isinstance(item, Undefined)}
    if isinstance(value, list | tuple):
        entries = (_rendered(item, site, within) for item in value)
        return [item for item in entries if not isinstance(item, Undefined)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    whole, terms = _parts(str(value))
    made = _made(whole, site, within) if whole else _UNKNOWN
    if isinstance(made, Undefined):
        lists = [item for item in (_made(term, site, within) for term in terms) if isinstance(item, list)]
        made = list(chain.from_iterable(lists)) if lists else made
    return _rendered(made, site, within) if isinstance(made, list | Mapping) else made


def _made(part: _Part, site: Site, within: frozenset[str]) -> Any:
    """What a template makes of the variables that are known."""
    values = {name: _value(name, site, within) for name in part.names}
    try:
        return part.template.render({name: item for name, item in values.items() if not isinstance(item, Undefined)})
    except Exception:  # whatever a template raises without what it is made of, its value is not known
        return _UNKNOWN


def _value(name: str, site: Site, within: frozenset[str]) -> Any:
    """A variable of the inventory or of a role, its private ones and those that are templates too."""
    value = site.host.values.get(name)
    if name not in site.host.values and name not in within and (role := owner_of(name, site.roles)):
        value = _rendered(role.inner.get(name, role.defaults.get(name)), site, within | {name})
    return _UNKNOWN if value is None else value


@dataclass(frozen=True, slots=True)
class _Part:
    """A template and its variables."""

    template: Template
    names: frozenset[str]


@functools.cache
def _parts(text: str) -> tuple[_Part | None, list[_Part]]:
    """A template, none if only Ansible can read it, and the terms of one that is a sum, each by itself.

    Kept, as each host of a site needs it.
    """
    try:
        tree = _ENVIRONMENT.parse(text)
    except TemplateError:
        return None, []
    terms = [nodes.Template([nodes.Output([term])], lineno=1) for term in _terms(tree)]
    return _part(tree), [part for part in map(_part, terms) if part]


def _part(tree: nodes.Template) -> _Part | None:
    tree.set_environment(_ENVIRONMENT)
    try:
        return _Part(_ENVIRONMENT.from_string(tree), frozenset(find_undeclared_variables(tree)))
    except TemplateError:  # a filter of Ansible's
        return None


def _terms(tree: nodes.Template) -> list[nodes.Expr]:
    """The terms of a template that is one sum and nothing else."""
    match tree.body:
        case [nodes.Output(nodes=[nodes.Add() as total])]:
            return _addends(total)
    return []


def _addends(node: nodes.Expr) -> list[nodes.Expr]:
    return [*_addends(node.left), *_addends(node.right)] if isinstance(node, nodes.Add) else [node]
