"""Action: declared_sockets, for the end of a run (gatewright/noted.py)."""

from __future__ import annotations

import sys
from pathlib import Path

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import NotedAction


class ActionModule(NotedAction):
    """Sent in every run that comes so far. See the module's documentation."""

    COMES_LAST = True
