"""The key of a build: what it is filed under in the controller's cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def build_key(recipe: Mapping[str, Any], pin: Mapping[str, Any], suite: str, architecture: str) -> str:
    """Digest of everything that goes into a build, 16 hex digits.

    Equal keys mean equal archive, patches, commands, accounts, Debian release and architecture. Where an archive is
    found does not count, nor does the version of the package, which is made from this key.
    """
    content = {name: value for name, value in pin.items() if name in ("sha256", "content")}
    package = dict(recipe.get("package", {}))
    package["control"] = {k: v for k, v in package.get("control", {}).items() if k != "Version"}
    parts = [{**recipe, "package": package}, content, suite, architecture]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def tree(directory: str, *folders: str) -> dict[str, str]:
    """Return relative path -> text of every file in folders of a directory; caches of tools left out."""
    top = Path(directory)
    found = (path for folder in folders for path in (top / folder).rglob("*") if path.is_file())
    names = sorted(path.relative_to(top) for path in found)
    kept = [name for name in names if not any(part == "__pycache__" or part.startswith(".") for part in name.parts)]
    return {name.as_posix(): (top / name).read_text(encoding="utf-8") for name in kept}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"build_key": build_key, "tree": tree}
