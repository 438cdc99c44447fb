"""A whole host's inventory, checked before anything is done: names, types, kinds, and what must fit together.

What a variable means stands in its role's chapter; here is what holds for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatewright import PROJECT
from gatewright.chapters import Chapter
from gatewright.problems import QUOTED, UNQUOTED, Problems, entry_name, kind_of, suggest

# (options of one specification, value) -> Ansible's own complaints.
Validate = Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]

_STRICT_TYPES: dict[str, tuple[type, ...]] = {"list": (list, tuple), "dict": (dict,), "bool": (bool,)}
# Similarity above which a variable without a role's prefix is reported as a misspelling of one of ours.
_SLIP = 0.92
GATHERS = "lookup('needs'"
"""What the default of an option begins with that is gathered from all roles, and is none of the inventory's."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role's input: options of its specification, its defaults, and its chapter. inner: its private variables."""

    name: str
    options: Mapping[str, Mapping[str, Any]]
    defaults: Mapping[str, Any]
    chapter: Chapter = field(default_factory=Chapter)
    inner: Mapping[str, Any] = field(default_factory=dict)

    @property
    def public(self) -> Iterator[str]:
        """The variables that an inventory may set, and those that are gathered from roles."""
        return (name for name in dict.fromkeys((*self.options, *self.defaults)) if "__" not in name)

    @property
    def gathered(self) -> set[str]:
        """Options that are gathered from what all roles publish."""
        return {name for name in self.options if "__" not in name and GATHERS in str(self.defaults.get(name))}


@dataclass(frozen=True, slots=True)
class Host:
    """What the inventory says of one host. unreadable: variables that could not be templated, and why."""

    name: str
    values: Mapping[str, Any]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The names and addresses that are this host's."""
        found = (self.name, self.values.get("ansible_host"), self.values.get("qmail_me"))
        return {str(name).lower() for name in found if name}

    @property
    def addresses(self) -> set[str]:
        """Further addresses of this host, which it does not know by itself."""
        found = self.values.get("gatepost_own_addresses")
        return {str(address).lower() for address in found if address} if isinstance(found, list | tuple) else set()


@dataclass(frozen=True, slots=True)
class Site:
    """One host's inventory among the others', as the check of a chapter sees it. playbook: the folder of the run's."""

    host: Host
    gateways: Mapping[str, Host]
    roles: Mapping[str, Role]
    playbook: Path = PROJECT / "playbooks"

    def value(self, name: str) -> Any:
        """The value that a role will see: the inventory's, else the role's own if that is no template."""
        if name in self.host.values:
            return self.host.values[name]
        role = owner_of(name, self.roles)
        default = role.inner.get(name, role.defaults.get(name)) if role else None
        return None if "{{" in str(default) else default

    def texts(self, name: str) -> Iterator[tuple[str, str]]:
        """The texts of a list, each with its place; what else stands in it is refused by its kind."""
        value = self.value(name)
        for index, item in enumerate(value if isinstance(value, list | tuple) else ()):
            if isinstance(item, str):
                yield entry_name(name, index, item), item

    def of(self, host: Host) -> Site:
        """The same for another host."""
        return replace(self, host=host)

    def check_pair(self, problems: Problems, *names: str) -> None:
        """Two options of which neither is of use without the other."""
        for name, other in (names, names[::-1]):
            if self.value(other) and not self.value(name):
                problems.add(name, f"is needed with {other}")

    @property
    def others(self) -> list[Host]:
        """The other gateways."""
        return [gateway for name, gateway in self.gateways.items() if name != self.host.name]


def owner_of(name: str, roles: Mapping[str, Role]) -> Role | None:
    """The role whose name begins a variable's, the longest of several; `_role_x` is private to it too."""
    text = name.removeprefix("_")
    fitting = [role for role in roles if text.startswith(f"{role}_")]
    return roles[max(fitting, key=len)] if fitting else None


def check_host(
    host: Host,
    gateways: Mapping[str, Host],
    roles: Mapping[str, Role],
    validate: Validate,
    overridden: Collection[str] = (),
    playbook: Path = PROJECT / "playbooks",
) -> list[str]:
    """All that is wrong in the inventory of one host, a sentence each.

    overridden: variables of the command line, which has the last word even where roles' needs are gathered. playbook:
    the folder of the playbook that runs.
    """
    problems = Problems()
    for name, why in sorted(host.unreadable.items()):
        problems.add(name, f"cannot be read: {why}")
    _check_names(problems, host, roles)
    _check_gathered(problems, host, roles, overridden)
    for role in roles.values():
        _check_types(problems, host, role, validate)
    for role in roles.values():
        try:
            role.chapter.check(Site(host, gateways, roles, playbook), problems)
        except Exception as error:  # a mistake in a chapter is told with its role, beside all else that is wrong
            problems.add(f"role {role.name}", f"the check of its chapter ended in {type(error).__name__}: {error}")
    return list(dict.fromkeys(problems.found))


def remarks_of(host: Host, gateways: Mapping[str, Host], roles: Mapping[str, Role]) -> list[str]:
    """What a run goes on in spite of, but an administrator should know of one host; a sentence each."""
    remarks = Problems()
    for role in roles.values():
        role.chapter.remark(Site(host, gateways, roles), remarks)
    return remarks.found


def check_option(role: Role, name: str, value: Any) -> list[str]:
    """What is wrong with the value of one public option by itself, a sentence each; nothing is known of other names."""
    problems = Problems()
    if name in role.options and name not in role.chapter.parsed:
        _check_value(problems, role, name, role.options[name], value, lambda _options, _values: [])
    return problems.found


def _check_names(problems: Problems, host: Host, roles: Mapping[str, Role]) -> None:
    public = [name for role in roles.values() for name in role.public]
    for name in sorted({*host.values, *host.unreadable}):
        role = owner_of(name, roles)
        if role is None:
            nearest = suggest(name.replace("-", "_").lower(), public, _SLIP)
            if nearest:
                problems.add(name, f"is no variable of any role{nearest}")
        elif name.startswith("_"):
            problems.add(name, f"is private to role {role.name}, and cannot be set")
        elif name.startswith(f"{role.name}__"):
            problems.add(name, f"is published by role {role.name} for other roles, and cannot be set")
        elif name not in role.options and name not in role.defaults:
            problems.add(name, f"is no variable of role {role.name}{suggest(name, role.public)}")


def _check_gathered(problems: Problems, host: Host, roles: Mapping[str, Role], overridden: Collection[str]) -> None:
    gathered = {name for role in roles.values() for name in role.gathered}.difference(overridden)
    for name in sorted({*host.values, *host.unreadable}.intersection(gathered)):
        problems.add(name, f"is gathered from what all roles need, and must not be set here{_beside(name, roles)}")


def _beside(name: str, roles: Mapping[str, Role]) -> str:
    """Which option of the site's stands beside one that is gathered."""
    own = [name.removesuffix("_from_roles"), name.replace("_packages", "_extra_packages")]
    found = [other for role in roles.values() for other in role.options if other in own and other != name]
    return f"; yours is {found[0]}" if found else ""


def _check_types(problems: Problems, host: Host, role: Role, validate: Validate) -> None:
    for name, option in role.options.items():
        if "__" in name or name in host.unreadable:
            continue
        endless = list(_endless(name, host.values.get(name)))
        for place, value in endless:
            problems.add(place, f"must be a number with an end, not {value!r}")
        if endless:
            continue
        if name not in host.values:
            if option.get("required"):
                problems.add(name, f"is required (role {role.name}): {_sentence(option)}")
        elif name not in role.chapter.parsed or host.values[name] is None:
            _check_value(problems, role, name, option, host.values[name], validate)


def _endless(place: str, value: Any) -> Iterator[tuple[str, float]]:
    """Numbers that are infinite or none (.inf and .nan of YAML), each with its place: no program takes them."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _endless(f"{place}.{key}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _endless(f"{place}[{index}]", item)


def _check_value(
    problems: Problems, role: Role, name: str, option: Mapping[str, Any], value: Any, validate: Validate
) -> None:
    kind = role.chapter.options.get(name)
    wrong = _wrong_type(option, value)
    # the kind names the entry of a list of mappings, and says what is counted; Ansible does not
    if not wrong and not (kind and ("options" in option or option.get("type") == "int")):
        wrong = validate({name: option}, {name: value})
    for complaint in wrong:
        problems.add(name, _plain(complaint))
    if kind and not wrong:
        kind(problems, name, value)


def _wrong_type(option: Mapping[str, Any], value: Any) -> list[str]:
    """What Ansible would let pass or convert: nothing, a string for a list, a truth value for a number."""
    wanted = str(option.get("type", "str"))
    if wanted in _STRICT_TYPES and not isinstance(value, _STRICT_TYPES[wanted]):
        article = {"list": "a list", "dict": "a mapping", "bool": "true or false"}[wanted]
        if wanted == "bool" and str(value).lower() in ("true", "false", "yes", "no"):
            return [f"must be {article}, and {value!r} is text; {UNQUOTED}"]
        return [f"must be {article}, not {kind_of(value)}"]
    if wanted == "int" and (isinstance(value, bool) or (isinstance(value, int) and value < 0)):
        return [f"must be a number from 0 on, not {value!r}"]
    if wanted == "str" and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        return [f"must be a string, not {kind_of(value)}{'; ' + QUOTED if isinstance(value, bool) else ''}"]
    return []


def _sentence(option: Mapping[str, Any]) -> str:
    text = option.get("description", "")
    return str(text[0] if isinstance(text, list) and text else text)


def _plain(complaint: str) -> str:
    """Ansible's complaint without the types of Python."""
    for word, plain in (("<class 'str'>", "string"), ("<class 'int'>", "number"), ("<class 'list'>", "list")):
        complaint = complaint.replace(word, plain)
    return complaint.replace("<class 'dict'>", "mapping")


def plain(value: Any) -> Any:
    """A templated value as plain lists, mappings, texts and numbers, without what Ansible knows of their origin."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    for kind in (str, int, float):
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind(value)
    return value
