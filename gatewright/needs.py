"""What roles need of each other: each publishes `ROLE__KIND`, and whoever provides a kind gathers it from all.

    dnscache__packages: [dnscache]                 # in dnscache's defaults
    foundation_packages: "{{ lookup('needs', 'packages') }}"   # in foundation's defaults

So no playbook lists what which role needs: a role that comes into a play is known by what it publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

from gatewright.problems import InventoryError, kind_of

Published = tuple[str, Any]
"""The name of a variable and its value."""


class Shape(Enum):
    """How the values of a kind are put together."""

    LIST = "a list"
    """One list of all their entries."""
    EACH = "a mapping"
    """A list with a mapping of each role, which names its variable as `origin`."""
    JOINED = "a mapping of names to values"
    """One mapping; two roles must not give one name two values."""
    ONE = "a single value"
    """At most one role has it."""


KINDS: Mapping[str, Shape] = {
    # accounts, packages, units
    "packages": Shape.LIST,
    "groups": Shape.LIST,
    "users": Shape.LIST,
    # which variables hold the numbers of users and groups, so that a host that has one can keep its own
    "numbers": Shape.LIST,
    # users that Debian's packages bring, too, and that stay with those packages when Gatewright leaves
    "package_users": Shape.LIST,
    "trimmed_units": Shape.LIST,
    # units whose place a role's own service takes: the role masks them itself, once that service runs
    "replaced_units": Shape.LIST,
    # units, without suffix, that must run: the preflight has no site trim them, nor their instances
    "units": Shape.LIST,
    # what a role asks of a host before anything changes: a name, and a shell command that prints the answer
    "questions": Shape.JOINED,
    # programs that bring what runs in line with its files (action settle): a name, and the command that prints what the
    # program would do, which ends in `look`
    "settles": Shape.JOINED,
    # tags of jobs that what the survey finds holds up, as the whole host hangs on them (those that bring accounts are
    # held up anyway), and of those for which nobody need look at the host
    "host_jobs": Shape.LIST,
    "quick_jobs": Shape.LIST,
    # the host: what is open, what listens, what services below svscan write to and need of its sandbox
    "firewall": Shape.EACH,
    "relay_networks": Shape.LIST,
    # networks of relay clients to the senders for whom each may send; for whoever looks at senders
    "relay_senders": Shape.JOINED,
    "sockets": Shape.LIST,
    # programs of a role's services, which may listen anywhere before the role has set them up: as Debian's package
    # starts them, or with an earlier configuration
    "listeners": Shape.LIST,
    "writable": Shape.LIST,
    "svscan": Shape.JOINED,
    "sandboxes": Shape.JOINED,
    "profiles": Shape.LIST,
    "logs": Shape.LIST,
    # leaving: what goes whole from a host that is no gateway any more, and what of it stays unless the site says no
    "trees": Shape.LIST,
    "kept": Shape.LIST,
    # what a gateway alone has, for its archive: mappings of path, form, services and settle
    "state": Shape.LIST,
    # what it keeps otherwise than release 1.0.0: a name, and what an older release loses of it (empty: nothing)
    "migrations": Shape.JOINED,
    # mail: qmail's control files and aliases, the environment and programs of its services, what is built along with it
    "control": Shape.EACH,
    "aliases": Shape.JOINED,
    "smtpd_environment": Shape.JOINED,
    "smtpd_front": Shape.ONE,
    "smtpd_opens": Shape.JOINED,
    "queue_program": Shape.ONE,
    "queue_programs": Shape.LIST,
    "remote_front": Shape.ONE,
    "recipe": Shape.EACH,
    "authorities": Shape.ONE,
    "certificate": Shape.ONE,
    "engines": Shape.LIST,
}
_remembered: dict[tuple[str, Any], Any] | None = None
"""What was gathered while `remembering`, by kind and default."""
_MARKED = ("firewall",)
"""Kinds whose mappings get their origin; the mappings of others go to programs that know no such key."""


def publishers(kind: str, names: Iterable[str]) -> list[str]:
    """The variables among `names` by which roles publish a kind, in their order. Raises InventoryError."""
    if kind not in KINDS:
        raise InventoryError([f"needs: there is no kind {kind!r}; known are {', '.join(KINDS)}"])
    return [name for name in names if name.endswith(f"__{kind}") and not name.startswith("_")]


@contextmanager
def remembering() -> Iterator[None]:
    """While variables stay as they are, gather each kind once. For this process, which must look at one host alone."""
    global _remembered
    _remembered = {}
    try:
        yield
    finally:
        _remembered = None


def forget() -> None:
    """A variable has changed: gather anew what is asked from now on."""
    if _remembered is not None:
        _remembered.clear()


def recall(kind: str, default: Any, make: Callable[[], Any]) -> Any:
    """What was gathered of a kind, or what `make` gathers now."""
    if _remembered is None:
        return make()
    if (kind, default) not in _remembered:
        found = make()  # asks for other kinds, too
        _remembered[kind, default] = found
    return _remembered[kind, default]


def gather(kind: str, published: Iterable[Published], default: Any = "") -> Any:
    """The values of a kind from all roles as one. default: for a kind of one value that no role has.

    Raises InventoryError when a value has the wrong shape, or two roles publish what cannot be put together.
    """
    shape = KINDS[kind]
    if shape is Shape.LIST:
        return [item for name, value in published for item in _right(name, value, list)]
    present = [(name, value) for name, value in published if value or value is False]
    if shape is Shape.EACH:
        mark = kind in _MARKED
        return [{**_right(name, value, dict), **({"origin": name} if mark else {})} for name, value in present]
    return _joined(present) if shape is Shape.JOINED else _one(present, default)


def _right(name: str, value: Any, wanted: type) -> Any:
    if not isinstance(value, wanted) and not (wanted is list and isinstance(value, tuple)):
        raise InventoryError([f"{name}: must be {'a list' if wanted is list else 'a mapping'}, not {kind_of(value)}"])
    return value


def _joined(published: Iterable[Published]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    holders: dict[str, str] = {}
    for name, value in published:
        for key, item in _right(name, value, dict).items():
            if found.setdefault(key, item) != item:
                raise InventoryError([f"{name}.{key}: {holders[key]} gives it another value"])
            holders.setdefault(key, name)
    return found


def _one(published: list[Published], default: Any) -> Any:
    if len(published) > 1:
        raise InventoryError([f"{published[1][0]}: {published[0][0]} is published already, and there can be one only"])
    return published[0][1] if published else default
