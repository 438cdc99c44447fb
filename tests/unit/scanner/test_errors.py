"""The package's exceptions: whoever calls a part of it needs to know one family."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import gatescan

PACKAGE = Path(gatescan.__file__).parent
BEYOND = {"OutOfTime"}
"""It has to pass by those who catch every Exception."""


def classes() -> list[ast.ClassDef]:
    trees = [ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def test_every_exception_is_of_one_family_and_none_has_a_namesake() -> None:
    above = {node.name: {base.id for base in node.bases if isinstance(base, ast.Name)} for node in classes()}
    outside = {name for name, bases in above.items() if bases & {"Exception", "OSError", "ValueError", "RuntimeError"}}
    assert outside == {"GatescanError"}
    assert {name for name, bases in above.items() if "BaseException" in bases} == BEYOND
    errors = {"GatescanError"}
    while more := {name for name, bases in above.items() if bases & errors} - errors:
        errors |= more
    assert len(errors) > 15
    names = Counter(node.name for node in classes())
    assert not {name for name in errors if names[name] > 1}
