"""Who waives a check says why: on the line, or on the line above where YAML's linters take no more on theirs."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import pytest

from gatewright.cli import PROJECT, tracked

WAIVER = re.compile(
    r"""
    \#\ noqa:[ a-z\[\]-]+$                                           # ansible-lint's rules, to the end of the line
    |\#\ (?:ruff:\ )?noqa(?::\ *[A-Z]+[0-9]+(?:,\ *[A-Z]+[0-9]+)*)?  # ruff's
    |\#\ fmt:\ (?:skip|off) |\#\ type:\ ?ignore(?:\[[^\]]*\])? |\#\ pragma:\ no\ cover |\#\ mypy:.* |\#\ nosec
    |(?:\#|//|/\*)\ *clang-format\ off |NOLINT\w*(?:\([^)]*\))? |cppcheck-suppress\ *[\[\]\w]+
    |\#\ shellcheck\ disable=[\w,]+ |\#\ yamllint\ disable\S*(?:\ rule:\S+)*
    |\b(?:failed_when:\ false|ignore_unreachable:\ true|ignore_errors:\ ("[^"]*"|\w+))
    """,
    re.VERBOSE,
)
REASON = re.compile(r"(?:#|//|/\*|\0)[ -]*\w")
"""Words of a comment, or behind the waiver, which is NUL here."""
SKIPS = {"pytest.skip", "pytest.xfail", "pytest.importorskip"}


def comments(text: str) -> Iterator[tuple[int, str]]:
    """The comments of a Python file, by their lines."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def unexplained_lines(text: str, suffix: str) -> list[int]:
    """The lines of a file with a waiver and no reason."""
    lines = text.splitlines()
    found = []
    for number, line in comments(text) if suffix == ".py" else enumerate(lines, 1):
        if not WAIVER.search(line) or REASON.search(WAIVER.sub("\0", line)):
            continue
        if suffix != ".yml" or not lines[number - 2].lstrip().startswith("#"):
            found.append(number)
    return found


def unexplained_skips(text: str) -> list[int]:
    """The lines of a Python file where a test is left out and no text says why."""
    nodes = list(ast.walk(ast.parse(text)))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    marks = {id(call.func) for call in calls}
    bare = [node for node in nodes if isinstance(node, ast.Attribute) and is_mark(node) and id(node) not in marks]
    mute = [call for call in calls if (is_mark(call.func) or ast.unparse(call.func) in SKIPS) and not reason(call)]
    return [node.lineno for node in (*bare, *mute)]


def is_mark(node: ast.expr) -> bool:
    """Whether it marks a test as one that is left out or fails."""
    return ast.unparse(node) in {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}


def reason(call: ast.Call) -> bool:
    """Whether a call has a text, by `reason` or as the one that comes first."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
    if ast.unparse(call.func) in {"pytest.skip", "pytest.xfail"}:
        given += call.args[:1]
    return any(not isinstance(text, ast.Constant) or text.value for text in given)


def test_every_waiver_has_its_reason() -> None:
    found = []
    for name in tracked():
        path = PROJECT / name
        if not path.is_file() or path.suffix in {".md", ".txt", ".patch", ".png", ".svg"}:
            continue
        text = path.read_text(errors="replace")
        lines = unexplained_lines(text, path.suffix)
        lines += unexplained_skips(text) if path.suffix == ".py" else []
        found += [f"{name}:{line}" for line in lines]
    assert found == []


@pytest.mark.parametrize(
    ("suffix", "waiver", "told"),
    [
        (".py", "import os  # noqa: F401", "import os  # noqa: F401  # loaded for its side effect"),
        (".py", "# ruff: noqa: E501", "# ruff: noqa: E501 - a case is easier to read"),
        (".py", "x = {}  # fmt: skip", "x = {}  # a case a line # fmt: skip"),
        (".py", "x = y  # type: ignore[misc, index]", "x = y  # type: ignore[misc, index]  # no types there"),
        (".py", "x = y  # nosec", "x = y  # nosec  # a test's own password"),
        (".yml", "- name: Stop it  # noqa: no-handler", "- name: Stop it  # just below  # noqa: no-handler"),
        (".yml", "- name: Stop it  # noqa: a-rule no-handler", "# Just below.\n- name: Stop it  # noqa: no-handler"),
        (".yml", "  failed_when: false", "  failed_when: false # an answer, too"),
        (".yml", '  ignore_errors: "{{ a_check }}"', '  # no units yet\n  ignore_errors: "{{ a_check }}"'),
        (".yml", "  ignore_unreachable: true", "  ignore_unreachable: true # it is named in the report"),
        (".yml", "a: b # yamllint disable-line rule:quotes", "# As is.\na: b # yamllint disable-line rule:quotes"),
        ("", "# shellcheck disable=SC2046,SC3013", "# shellcheck disable=SC2046  # a list of packages"),
        (".c", "f(); // NOLINT(bugprone-x)", "f(); // NOLINT(bugprone-x) it is bounded above"),
        (".c", "// cppcheck-suppress nullPointer", "// cppcheck-suppress nullPointer // looked at above"),
    ],
)
def test_a_waiver_without_a_reason_is_found(suffix: str, waiver: str, told: str) -> None:
    above = "\n" if suffix == ".yml" else "# A comment that is about something else.\n"
    assert unexplained_lines(above + waiver + "\n", suffix) == [2]
    assert unexplained_lines("\n" + told + "\n", suffix) == []


@pytest.mark.parametrize(
    ("waiver", "told"),
    [
        ("pytest.skip()", "pytest.skip(f'no {tool} here')"),
        ("pytest.skip('')", "pytest.xfail('known')"),
        ("mark = pytest.mark.skip", "mark = pytest.mark.skip(reason='later')"),
        ("mark = pytest.mark.skipif(a < b)", "mark = pytest.mark.skipif(a < b, reason='too old')"),
        ("mark = pytest.mark.xfail(strict=True)", "mark = pytest.mark.xfail(strict=True, reason='issue')"),
        ("x = pytest.importorskip('x')", "x = pytest.importorskip('x', reason='needs x')"),
    ],
)
def test_a_test_that_is_left_out_without_a_reason_is_found(waiver: str, told: str) -> None:
    assert unexplained_skips(waiver) == [1]
    assert unexplained_skips(told) == []
