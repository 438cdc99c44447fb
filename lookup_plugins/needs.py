"""Lookup: what all roles of the play publish of one kind; gatewright/needs.py has what it does."""

from __future__ import annotations

DOCUMENTATION = """
name: needs
short_description: What all roles of the play need, of one kind
version_added: "1.0"
author: Gatewright
description:
  - A role publishes what it needs of others as C(ROLE__KIND) in its defaults. This gathers one kind from all roles of
    the play, in the play's order.
options:
  _terms:
    description: The kind, such as C(packages), C(users), C(firewall) or C(sockets).
    required: true
  default:
    description: The value of a kind that one role at most publishes, when none does.
    default: ""
"""
EXAMPLES = """
- name: Install what all roles need
  ansible.builtin.apt:
    name: "{{ lookup('needs', 'packages') }}"
"""
RETURN = """
_raw:
  description: The values of the kind; lists joined, mappings combined.
  type: raw
"""

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

# Ansible loads a lookup by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.needs import Published, gather, publishers, recall
from gatewright.problems import InventoryError


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible ships no types
    """Ansible's entry point."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[Any]:
        """One value for each kind."""
        self.set_options(var_options=variables, direct=options)
        try:
            return [self._gather(kind, variables or {}) for kind in terms]
        except InventoryError as error:
            raise AnsibleLookupError(str(error)) from error

    def _gather(self, kind: str, variables: dict[str, Any]) -> Any:
        default = self.get_option("default")
        return recall(kind, default, lambda: gather(kind, self._published(kind, variables), default))

    def _published(self, kind: str, variables: dict[str, Any]) -> list[Published]:
        return [(name, self._templar.resolve_variable_expression(name)) for name in publishers(kind, variables)]
