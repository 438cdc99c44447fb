"""Lookup: in which batches gateways are changed. It is what a play asks first, however the run was called."""

from __future__ import annotations

DOCUMENTATION = """
name: batches
short_description: How many gateways a play changes at once
version_added: "1.0"
author: Gatewright
description:
  - The inventory's C(gatewright_serial), of which a play knows nothing by itself; the preflight has seen that all
    gateways say the same. All at once where nothing is said.
  - A run that passes over the preflight, by C(--start-at-task) or C(--skip-tags always), ends here.
options:
  _terms:
    description:
      - What the inventory says of batches, one value. Ansible asks anew for every task, and to read a host's variables
        here would cost 0.15 s each time.
    required: true
"""
EXAMPLES = """
- hosts: gateways
  serial: "{{ query('batches', hostvars[groups['gateways'] | first].gatewright_serial | default('100%')) }}"
"""
RETURN = """
_list:
  description: Numbers of gateways, or shares of them, as C(serial) takes them.
  type: list
"""

from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase


def passes_over(arguments: Mapping[str, Any]) -> str:
    """The option of ansible-playbook by which the checks of the inventory and of the host do not run."""
    if arguments.get("start_at_task"):
        return "--start-at-task"
    return "--skip-tags always" if "always" in arguments.get("skip_tags", ()) else ""


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible ships no types
    """Ansible's entry point."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **_options: Any) -> list[Any]:
        """The batches, as a list."""
        option = passes_over(context.CLIARGS)
        if option:
            raise AnsibleLookupError(
                f"{option} passes over the checks of the inventory and of the host, and nothing was done. "
                "Run the whole playbook, or one job by its tag (docs/operations.md)."
            )
        (said,) = terms
        return list(said) if isinstance(said, list | tuple) else [said]
