"""scanner_rules: what the filter writes, the scanner's own parser reads as it was meant."""

from __future__ import annotations

from typing import Any

import pytest
from gatescan.model import Verdict
from gatescan.rules import ANY_SIZE, parse

from gatewright.chapters.scanner.rules import scanner_rules
from gatewright.problems import InventoryError


def test_the_scanner_reads_every_form() -> None:
    text = scanner_rules(
        [
            "exe",
            {
                "extension": ".TAR.gz",
                "description": "Archives",
                "direction": "inbound",
                "domains": ["A.example", ".b.example"],
            },
            {"name": "EICAR.COM", "size": 69, "description": "EICAR test virus"},
            {"name": "invoice 2026.zip"},
            {"header": "Subject", "pattern": "Pickles.*Breakfast", "virus": True, "description": "Pickles"},
            {"header": "MAILFROM", "pattern": r".*\.ru"},
        ]
    )
    found = [(r.kind, r.pattern, r.size, r.header, r.verdict, r.direction, r.domains) for r in parse(text, "rules")]
    assert found == [
        ("extension", "exe", ANY_SIZE, "", Verdict.POLICY, "", ()),
        ("extension", "tar.gz", ANY_SIZE, "", Verdict.POLICY, "inbound", ("a.example", ".b.example")),
        ("name", "eicar.com", 69, "", Verdict.POLICY, "", ()),
        ("name", "invoice 2026.zip", ANY_SIZE, "", Verdict.POLICY, "", ()),
        ("header", "Pickles.*Breakfast", ANY_SIZE, "subject", Verdict.INFECTED, "", ()),
        ("header", r".*\.ru", ANY_SIZE, "mailfrom", Verdict.POLICY, "", ()),
    ]
    assert ".exe\tSIZE=-1\tNot allowed by policy\n" in text


def test_no_rules_is_a_file_with_none() -> None:
    assert parse(scanner_rules([]), "rules") == ()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("e xe", "not an extension"),
        ("", "one line of text"),
        (5, "must be an extension or a mapping, not a number"),
        ({}, "needs exactly one of"),
        ({"extension": "exe", "name": "a"}, "needs exactly one of"),
        ({"name": "a\tb"}, "without a TAB"),
        ({"name": ".hidden"}, "begins with a dot"),
        ({"name": "a", "size": "69"}, "size must be a number"),
        ({"extension": "exe", "size": 69}, "size goes with name only"),
        ({"header": "Subject"}, "needs pattern"),
        ({"header": "Subject", "pattern": "(a"}, "not a regular expression"),
        ({"header": "Subject", "pattern": "a\tb"}, "TAB"),
        ({"header": "Subject:", "pattern": "a"}, "without its colon"),
        ({"extension": "exe", "direction": "in"}, "direction must be inbound or outbound"),
        ({"extension": "exe", "domains": ["a b"]}, "space"),
        ({"extension": "exe", "domains": "a.example"}, "must be a list"),
        ({"extension": "exe", "description": "a\nb"}, "description must be one line"),
        ({"extension": "exe", "descripton": "a"}, "did you mean 'description'?"),
    ],
)
def test_a_wrong_rule_is_refused_by_name(rule: Any, words: str) -> None:
    with pytest.raises(InventoryError) as refused:
        scanner_rules(["com", rule])
    assert "scanner_rules[1]" in str(refused.value) and words in str(refused.value)


def test_a_duplicate_is_refused() -> None:
    with pytest.raises(InventoryError, match=r"\[1\] .* is a duplicate of scanner_rules\[0\]"):
        scanner_rules(["exe", {"extension": ".EXE"}])
    with pytest.raises(InventoryError, match="is a duplicate"):
        scanner_rules([{"name": "A.zip"}, {"name": "a.ZIP"}])
