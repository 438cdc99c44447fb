"""Actions of the project, as tests have them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ACTIONS = Path(__file__).parents[1] / "action_plugins"


def load(name: str) -> ModuleType:
    """An action by its name. Its module has the same name and is found first, so no `import` can name the action."""
    spec = importlib.util.spec_from_file_location(f"gatewright_action_{name}", ACTIONS / f"{name}.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
