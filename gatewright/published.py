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
from jinja2.nativetypes import NativeEnvironment

from gatewright.inventory import Site

_UNKNOWN = Undefined()
_ENVIRONMENT = NativeEnvironment()


def published(site: Site, kind: str) -> Iterator[tuple[str, Any]]:
    """The entries of a kind that is a list, each with the role that publishes it."""
    values = _values(site)
    for role in site.roles.values():
        found = _rendered(role.defaults.get(f"{role.name}__{kind}"), values)
        yield from ((role.name, entry) for entry in found or () if isinstance(found, list))


def _values(site: Site) -> dict[str, Any]:
    """All variables whose values are known."""
    defaults = (pair for role in site.roles.values() for pair in role.defaults.items())
    return {name: value for name, value in defaults if "{{" not in str(value)} | dict(site.host.values)


def _rendered(value: Any, values: Mapping[str, Any]) -> Any:
    """A value with what its templates say; entries of lists and mappings that are not known are left out."""
    if isinstance(value, Mapping):
        items = ((key, _rendered(item, values)) for key, item in value.items())
        return {key: item for key, item in items if not isinstance(item, Undefined)}
    if isinstance(value, list | tuple):
        return [item for item in (_rendered(item, values) for item in value) if not isinstance(item, Undefined)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    template = _template(str(value))
    try:
        made = template.render(values) if template else _UNKNOWN
    except Exception:  # whatever a template raises without what it is made of, its value is not known
        return _UNKNOWN
    return _rendered(made, {}) if isinstance(made, list | Mapping) else made


@functools.cache
def _template(text: str) -> Template | None:
    """A template, or nothing for one that only Ansible can read. Kept, as each host of a site needs it."""
    try:
        return _ENVIRONMENT.from_string(text)
    except TemplateError:
        return None
