"""The documentation that roles write themselves: roles/NAME/README.md, docs/inventory.md, and rows of docs/where.md.

`python -m docs.generate` writes it, of each role's meta/argument_specs.yml and defaults/main.yml. With `--check` it
writes nothing and fails when a file is stale, or when specs and defaults of a role disagree.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from gatewright.inventory import GATHERS
from gatewright.roles import roles_of

PROJECT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- written by `make docs` of meta/argument_specs.yml and defaults/main.yml -->"
END = "<!-- end of what `make docs` writes -->"
SHOWN_CHARACTERS = 100
"""A longer default is not shown, but pointed to."""


class Kind(StrEnum):
    """Whose a variable is, as the heading that it stands under."""

    OPTION = "Variables"
    GATHERED = "Gathered from what all roles publish"
    PUBLISHED = "Published to other roles"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a role. default: as YAML in one line, empty if there is none; options: keys of its mappings."""

    name: str
    type: str
    default: str
    required: bool
    choices: tuple[str, ...]
    meaning: str
    options: tuple[Variable, ...]
    kind: Kind = Kind.OPTION


@dataclass(frozen=True, slots=True)
class Role:
    """A role as its specs and defaults describe it. problems: where these two disagree."""

    name: str
    title: str
    description: tuple[str, ...]
    variables: tuple[Variable, ...]
    problems: tuple[str, ...]


def load(path: Path) -> dict[str, Any]:
    """A YAML file's mapping, an empty one if the file is missing or empty."""
    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}


def words(text: str | Iterable[str]) -> tuple[str, ...]:
    """A description's paragraphs, with Ansible's C(...) as code."""
    paragraphs = [text] if isinstance(text, str) else text
    return tuple(re.sub(r"\b[BCIV]\(([^)]*)\)", r"`\1`", " ".join(item.split())) for item in paragraphs)


def one_line(value: object) -> str:
    """A value as YAML in one line; a string as it is."""
    if isinstance(value, str) and value:
        return value
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def variable(name: str, spec: dict[str, Any], defaults: dict[str, Any]) -> Variable:
    """One option of the specs, with the default that the role really has."""
    type_ = spec.get("type", "str")
    default = defaults.get(name, spec.get("default"))
    return Variable(
        name=name,
        type=f"list of {spec['elements']}" if "elements" in spec else type_,
        default=one_line(default) if name in defaults or "default" in spec else "",
        required=spec.get("required", False),
        choices=tuple(map(str, spec.get("choices", ()))),
        meaning=" ".join(words(spec.get("description", ""))),
        options=tuple(variable(key, value, {}) for key, value in spec.get("options", {}).items()),
        kind=Kind.PUBLISHED if "__" in name else Kind.GATHERED if GATHERS in str(default) else Kind.OPTION,
    )


def disagreements(name: str, options: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    """What specs and defaults of a role say differently."""
    for key in options.keys() - defaults.keys():
        if not options[key].get("required"):
            yield f"{name}: {key} is in the specs, but has no default"
    for key in defaults.keys() - options.keys():
        yield f"{name}: {key} has a default, but is not in the specs"
    for key in options.keys() & defaults.keys():
        if options[key].get("required"):
            yield f"{name}: {key} is required by the specs, but has a default"
        if "default" in options[key] and options[key]["default"] != defaults[key]:
            yield f"{name}: {key} is {options[key]['default']!r} in the specs, {defaults[key]!r} in the defaults"


def read_role(directory: Path) -> Role:
    """Read one role's specs and defaults."""
    specs = load(directory / "meta" / "argument_specs.yml").get("argument_specs", {})
    defaults = load(directory / "defaults" / "main.yml")
    main = specs.get("main", {})
    options = {key: value for entry in specs.values() for key, value in entry.get("options", {}).items()}
    return Role(
        name=directory.name,
        title=main.get("short_description", ""),
        description=words(main.get("description", ())),
        variables=tuple(variable(key, spec, defaults) for key, spec in options.items()),
        problems=tuple(sorted(disagreements(directory.name, options, defaults))),
    )


def read_roles(project: Path) -> list[Role]:
    """All roles: those of site.yml in its order, then the others."""
    plays = yaml.safe_load((project / "playbooks" / "site.yml").read_text())
    folders = sorted(path for path in (project / "roles").iterdir() if path.is_dir())
    roles = {path.name: read_role(path) for path in folders}
    order = [name for name in roles_of(plays) if name in roles]
    return [roles[name] for name in [*order, *(name for name in roles if name not in order)]]


def facts(item: Variable, where: str) -> str:
    """What stands in brackets behind a variable's name."""
    found = [item.type]
    if item.choices:
        found.append("one of " + ", ".join(f"`{choice}`" for choice in item.choices))
    if item.required:
        found.append("required")
    elif item.default:
        found.append(f"default `{item.default}`" if len(item.default) <= SHOWN_CHARACTERS else f"default in {where}")
    return ", ".join(found)


def listed(items: Iterable[Variable], where: str, indent: str = "") -> Iterator[str]:
    """Variables as a list, the keys of their mappings below them."""
    for item in items:
        yield f"{indent}- `{item.name}` ({facts(item, where)}): {item.meaning}".rstrip(": ")
        yield from listed(item.options, where, indent + "  ")


def section(role: Role, defaults: str, heading: str) -> Iterator[str]:
    """What a role does, and its variables of each kind. defaults: the path of its defaults for a link."""
    yield from (line for paragraph in role.description for line in (paragraph, ""))
    where = f"[defaults/main.yml]({defaults})"
    for kind in Kind:
        chosen = [item for item in role.variables if item.kind is kind]
        if chosen:
            yield from (f"{heading} {kind}", "", *listed(chosen, where), "")


def readme(role: Role, present: str) -> str:
    """A role's README: its generated part made anew, what people wrote around it kept."""
    generated = "\n".join((BEGIN, "", *section(role, "defaults/main.yml", "##"), END))
    if BEGIN in present and END in present:
        before, rest = present.split(BEGIN, 1)
        return before + generated + rest.split(END, 1)[1]
    opening = present.rstrip() or f"# {role.name}: {role.title}"
    return f"{opening}\n\n{generated}\n"


def inventory(roles: Iterable[Role]) -> str:
    """All variables that an inventory may set, by chapter."""
    lines = ["# What an inventory may set", "", BEGIN, ""]
    for role in roles:
        chosen = [item for item in role.variables if item.kind is Kind.OPTION]
        where = f"[defaults/main.yml](../roles/{role.name}/defaults/main.yml)"
        if chosen:
            title = f"## [{role.name}](../roles/{role.name}/README.md): {role.title}"
            lines += [title, "", *listed(chosen, where), ""]
    return "\n".join([*lines, END, ""])


def index(roles: Iterable[Role], present: str, project: Path) -> str:
    """docs/where.md with a row for each role that has none: where its variables' meaning is, and its README."""
    head, table, rest = present.partition("| chapter | the role |")
    rows, end, further = rest.partition("\n\n")
    for role in roles:
        folder = f"roles/{role.name}"
        if f"`{folder}`" not in rows:
            own = f"{folder}/chapter.py"
            chapter = own if (project / own).exists() else f"gatewright/chapters/{role.name}.py"
            rows += f"\n| {role.title} | `{folder}` | `{chapter}` | its variables: `{folder}/README.md` |"
    return head + table + rows + end + further


def documents(project: Path, roles: Iterable[Role]) -> dict[Path, str]:
    """Every generated file and what it must hold."""
    found = {project / "docs" / "inventory.md": inventory(roles)}
    where = project / "docs" / "where.md"
    if where.exists():
        found[where] = index(roles, where.read_text(), project)
    for role in roles:
        path = project / "roles" / role.name / "README.md"
        found[path] = readme(role, path.read_text() if path.exists() else "")
    return found


def main(arguments: list[str] | None = None, project: Path = PROJECT) -> int:
    """Write the documents, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is stale or disagrees")
    check = parser.parse_args(arguments).check
    roles = read_roles(project)
    problems = [problem for role in roles for problem in role.problems]
    for path, text in documents(project, roles).items():
        stale = not path.exists() or path.read_text() != text
        if stale and check:
            problems.append(f"{path.relative_to(project)} is stale: run `make docs`")
        elif stale:
            path.write_text(text)
            print(f"wrote {path.relative_to(project)}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
