"""What roles publish, as far as an inventory says it by itself: for checks before a host is connected to.

Only roles' defaults and the inventory are looked at. What is made of a host's facts, of a role's private variables or
by a filter of Ansible's is not known here, and is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import TemplateError, Undefined
from jinja2.environment import Template
from jinja2.meta import find_undeclared_variables
from jinja2.nativetypes import NativeEnvironment

from gatewright.inventory import Site

_UNKNOWN = Undefined()
_ENVIRONMENT = NativeEnvironment()


def published(site: Site, kind: str) -> Iterator[tuple[str, Any]]:
    """The entries of a kind that is a list, each with the role that publishes it."""
    for role in site.roles.values():
        found = _rendered(role.defaults.get(f"{role.name}__{kind}"), site)
        yield from ((role.name, entry) for entry in found or () if isinstance(found, list))


def _rendered(value: Any, site: Site) -> Any:
    """A value with what its templates say; entries of lists and mappings that are not known are left out."""
    if isinstance(value, Mapping):
        items = ((key, _rendered(item, site)) for key, item in value.items())
        return {key: item for key, item in items if not isinstance(item, Undefined)}
    if isinstance(value, list | tuple):
        return [item for item in (_rendered(item, site) for item in value) if not isinstance(item, Undefined)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    template, names = _template(str(value))
    if template is None:
        return _UNKNOWN
    values = {name: site.value(name) for name in names}
    try:
        made = template.render({name: item for name, item in values.items() if item is not None})
    except Exception:  # whatever a template raises without what it is made of, its value is not known
        return _UNKNOWN
    return _rendered(made, site) if isinstance(made, list | Mapping) else made


@functools.cache
def _template(text: str) -> tuple[Template | None, frozenset[str]]:
    """A template, none if only Ansible can read it, and its variables. Kept, as each host of a site needs it."""
    try:
        return _ENVIRONMENT.from_string(text), frozenset(find_undeclared_variables(_ENVIRONMENT.parse(text)))
    except TemplateError:
        return None, frozenset()
