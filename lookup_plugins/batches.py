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
    description: None.
"""
EXAMPLES = """
- hosts: gateways
  serial: "{{ query('batches') }}"
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

    def run(self, _terms: list[str], variables: dict[str, Any] | None = None, **_options: Any) -> list[Any]:
        """The batches, as a list."""
        option = passes_over(context.CLIARGS)
        if option:
            raise AnsibleLookupError(
                f"{option} passes over the checks of the inventory and of the host, and nothing was done. "
                "Run the whole playbook, or one job by its tag (docs/operations.md)."
            )
        said = _said(variables or {})
        return list(said) if isinstance(said, list | tuple) else [said]


def _said(variables: Mapping[str, Any]) -> Any:
    """What the first gateway says; a run that only lists knows nothing of hosts."""
    gateways = variables.get("groups", {}).get("gateways")
    if not gateways or "hostvars" not in variables:
        return "100%"
    return variables["hostvars"][gateways[0]].get("gatewright_serial", "100%")
