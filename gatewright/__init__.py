"""The project's own package: what an inventory means, chapter by chapter, as pure functions.

Every function takes plain data as Ansible hands it over and either returns plain data or raises `InventoryError` with
all problems it found, each naming the variable, the entry and what is wrong. Filters, actions, lookups and tests share
it; it stands outside filter_plugins, for Ansible takes every file in there, and in folders of it, for a filter.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
MANAGED = "Managed by Gatewright: change the inventory, not this file."
"""The first line of configuration files on a host, as a comment."""
# The scanner, gatepost and gatekeeper read their own settings; their packages stand with the roles that install them.
for _role in ("scanner", "gatepost", "gatekeeper"):
    _files = str(PROJECT / "roles" / _role / "files")
    if _files not in sys.path:
        sys.path.append(_files)
