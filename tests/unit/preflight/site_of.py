"""The project's roles as the preflight reads them, for tests that check an inventory without Ansible's playbook."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from gatewright.chapters import Chapter, chapter_of
from gatewright.inventory import Host, Role, check_host, remarks_of
from gatewright.roles import main_files

PROJECT = Path(__file__).parents[3]
NEEDED = {"qmail_postmaster": "postmaster@example.org"}
"""What every inventory must say."""


def load(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, an empty one if there is none."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


@functools.cache
def roles() -> dict[str, Role]:
    """Every role with the options of all its entry points."""
    found = {}
    for path in sorted(item for item in (PROJECT / "roles").iterdir() if item.is_dir()):
        specs = load(path / "meta" / "argument_specs.yml").get("argument_specs", {})
        options = {name: option for entry in specs.values() for name, option in entry.get("options", {}).items()}
        chapter = chapter_of(path) or Chapter()
        defaults, inner = (
            {name: value for file in main_files(path / folder) for name, value in load(file).items()}
            for folder in ("defaults", "vars")
        )
        found[path.name] = Role(path.name, options, defaults, chapter, inner)
    return found


def validate(options: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """What Ansible's own validation says."""
    return list(ArgumentSpecValidator(dict(options)).validate(dict(values)).error_messages)


def problems_of(**values: Any) -> list[str]:
    """What is wrong with one gateway that has these variables beside those that every one needs."""
    host = Host("gw1", NEEDED | values)
    return check_host(host, {"gw1": host}, roles(), validate)


def problems_of_two(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """What is wrong with the first of two gateways."""
    hosts = {name: Host(name, NEEDED | dict(values)) for name, values in (("gw1", here), ("gw2", there))}
    return check_host(hosts["gw1"], hosts, roles(), validate)


def remarks_about(**values: Any) -> list[str]:
    """What is worth a warning of such a gateway."""
    host = Host("gw1", NEEDED | values)
    return remarks_of(host, {"gw1": host}, roles())
