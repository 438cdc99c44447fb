"""What all unit tests need."""

from __future__ import annotations

import ansible.module_utils

from gatewright import PROJECT

# Ansible packs a project's module_utils into its own package; tests that import a module find them there, too.
ansible.module_utils.__path__.append(str(PROJECT / "module_utils"))
