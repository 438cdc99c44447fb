"""docs/where.md, the tree's index, and docs/glossary.md lead to what is there; the index misses no role."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import generate

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "docs" / "where.md").read_text()
TOPS = {path.name for path in PROJECT.iterdir()}
# What stands in backquotes and begins with a file or folder of the project's own; the rest are programs and names.
GLOSSARY = (PROJECT / "docs" / "glossary.md").read_text()
PATHS = sorted({word for word in re.findall(r"`([^`\s]+)`", TEXT + GLOSSARY) if word.partition("/")[0] in TOPS})
ROLES = sorted(path.name for path in (PROJECT / "roles").iterdir() if path.is_dir())


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_index_is_there(path: str) -> None:
    assert any(PROJECT.glob(path))


@pytest.mark.parametrize("role", ROLES)
def test_every_role_and_its_chapter_are_in_the_index(role: str) -> None:
    assert f"`roles/{role}`" in TEXT
    assert re.search(rf"`(gatewright/chapters/{role}(\.py)?|roles/{role}/chapter\.py)`", TEXT)


@pytest.mark.parametrize("role", ROLES)
def test_the_sandboxes_that_a_role_sets_are_in_the_index(role: str) -> None:
    defaults = (PROJECT / "roles" / role / "defaults" / "main.yml").read_text()
    if f"\n{role}__sandboxes:" not in defaults:
        return
    (names,) = re.findall(rf"\n\| \.\.\. of [^|]+\| `roles/{role}/vars/main\.yml` \(([^)]+)\) \|", TEXT)
    variables = (PROJECT / "roles" / role / "vars" / "main.yml").read_text()
    assert [name for name in re.findall(r"`(\w+)`", names) if f"\n{name}:" not in variables] == []


def test_a_role_that_the_index_lacks_gets_a_row_from_make_docs(tmp_path: Path) -> None:
    role = generate.Role("bell", "Greets", (), (), ())
    row = "| Greets | `roles/bell` | `gatewright/chapters/bell.py` | its variables: `roles/bell/README.md` |"
    found = generate.index([role], TEXT, tmp_path)
    assert f"{row}\n\n## Things" in found
    assert found.replace(f"\n{row}", "") == TEXT
    assert generate.index([role], found, tmp_path) == found
    (tmp_path / "roles" / "bell").mkdir(parents=True)
    (tmp_path / "roles" / "bell" / "chapter.py").touch()
    assert "`roles/bell/chapter.py`" in generate.index([role], TEXT, tmp_path)


def test_the_index_is_no_empty_page() -> None:
    assert len(PATHS) > 50
    assert GLOSSARY.count("\n| ") > 12
