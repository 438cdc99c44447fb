"""Lookup: the roles of the play that publish something of given kinds; gatewright/needs.py has the kinds."""

from __future__ import annotations

DOCUMENTATION = """
name: publishers
short_description: The roles that publish something of given kinds
version_added: "1.0"
author: Gatewright
description:
  - For the tags of tasks that bring about what other roles need, so that one tag, a role's name, does all of a job.
options:
  _terms:
    description: Kinds, as the lookup C(needs) has them.
    required: true
"""
EXAMPLES = """
- name: Load the ruleset
  ansible.builtin.import_tasks: ruleset.yml
  tags: [firewall_ruleset, "{{ query('publishers', 'firewall', 'relay_networks') }}"]
"""
RETURN = """
_list:
  description: Names of roles, each once.
  type: list
  elements: str
"""

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

# Ansible loads a lookup by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.chapters import load_rooms
from gatewright.needs import publishers
from gatewright.problems import InventoryError

# Tags are looked up while a playbook is read: in the process that forks the workers, before the first of them.
load_rooms()


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible ships no types
    """Ansible's entry point."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **_options: Any) -> list[str]:
        """The roles of all kinds."""
        try:
            names = [name for kind in terms for name in publishers(kind, variables or {})]
        except InventoryError as error:
            raise AnsibleLookupError(str(error)) from error
        return list(dict.fromkeys(name.partition("__")[0] for name in names))
