"""Lookup: a variable as the roles of site.yml have it, in a play that runs none of them."""

from __future__ import annotations

DOCUMENTATION = """
name: site
short_description: The value of a variable as the roles of site.yml have it
version_added: "1.0"
author: Gatewright
description:
  - For plays that run no role, such as verify.yml. The defaults and variables of all roles of a playbook stand below
    and above the inventory as if the play ran them; what roles need of each other is gathered from all of them.
  - These plays do not check the whole inventory, so a wrong value ends the lookup, with the variable's name.
options:
  _terms:
    description: Name of a variable, such as C(sshd_port) or C(service_trimming_declared_sockets).
    required: true
  playbook:
    description: The playbook, beside the one that asks.
    default: site.yml
"""
EXAMPLES = """
- name: Look at the sockets that must be there
  declared_sockets:
    declared: "{{ lookup('site', 'service_trimming_declared_sockets') }}"
  check_mode: true
"""
RETURN = """
_raw:
  description: The values.
  type: list
"""

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

PROJECT = Path(__file__).resolve().parents[1]
# Ansible loads a lookup by the path of its file: the project's package must be made known.
sys.path.append(str(PROJECT))

from gatewright.chapters import Chapter, chapter_of
from gatewright.inventory import Role, check_option, plain
from gatewright.role_check import options_of, specs_of
from gatewright.roles import main_files, roles_of


class LookupModule(LookupBase):  # type: ignore[misc]  # ansible ships no types
    """Ansible's entry point."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[Any]:
        """One value for each name."""
        self.set_options(var_options=variables, direct=options)
        defaults: dict[str, Any] = {}
        inner: dict[str, Any] = {}
        roles = list(roles_of(self._read(PROJECT / "playbooks" / self.get_option("playbook"))))
        for role in roles:
            defaults |= self._variables(role, "defaults")
            inner |= self._variables(role, "vars")
        templar = self._templar.copy_with_new_env(available_variables={**defaults, **(variables or {}), **inner})
        found = {name: templar.resolve_variable_expression(name) for name in terms}
        wrong = [problem for name, value in found.items() for problem in problems_of(name, value, roles)]
        if wrong:
            raise AnsibleLookupError("; ".join(wrong))
        return list(found.values())

    def _variables(self, role: str, folder: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in main_files(PROJECT / "roles" / role / folder):
            found |= self._read(path) or {}
        return found

    def _read(self, path: Path) -> Any:
        return self._loader.load_from_file(str(path), cache="all", trusted_as_template=True)


def problems_of(name: str, value: Any, roles: list[str]) -> list[str]:
    """What is wrong with the value of a role's public variable."""
    owner = max((role for role in roles if name.startswith(f"{role}_")), key=len, default="")
    if not owner or "__" in name:
        return []
    path = PROJECT / "roles" / owner
    role = Role(owner, options_of(owner, specs_of(path)), {}, chapter_of(path) or Chapter())
    return check_option(role, name, plain(value))
