"""Action: morercpthosts, sent where the survey found something changed (gatewright/noted.py)."""

from __future__ import annotations

import sys
from pathlib import Path

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import NotedAction


class ActionModule(NotedAction):
    """Not sent where nothing has changed. See the module's documentation."""
