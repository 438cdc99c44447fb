"""Lookup: the tasks by which the roles of site.yml leave a host, the role that came last first."""

from __future__ import annotations

DOCUMENTATION = """
name: leaving
short_description: Task files by which the roles of site.yml leave a host
version_added: "1.0"
author: Gatewright
description:
  - A role that has more to take back than files brings C(tasks/remove.yml), which runs before the files of all roles
    go, or C(tasks/removed.yml), which runs after that. The role that came last leaves first.
options:
  _terms:
    description: C(remove) or C(removed).
    required: true
"""

EXAMPLES = """
- name: Let each role take back what it did
  ansible.builtin.include_tasks: "{{ item }}"
  loop: "{{ query('leaving', 'remove') }}"
"""

RETURN = """
_list:
  description: Paths of task files.
  type: list
  elements: str
"""

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

PROJECT = Path(__file__).resolve().parents[1]
# Ansible loads a lookup by the path of its file: the project's package must be made known.
sys.path.append(str(PROJECT))

from gatewright.roles import roles_of


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible ships no types
    """Ansible's entry point."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **_options: Any) -> list[str]:
        """The files that are there."""
        roles = roles_of(self._loader.load_from_file(str(PROJECT / "playbooks" / "site.yml"), cache="all"))
        paths = [PROJECT / "roles" / role / "tasks" / f"{term}.yml" for term in terms for role in reversed(roles)]
        return [str(path) for path in paths if path.is_file()]
