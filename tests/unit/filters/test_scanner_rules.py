"""scanner_rules: what the filter writes, the scanner's own parser reads as it was meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gatescan.judging.rules import ANY_SIZE, parse
from gatescan.model import Verdict

from gatewright.chapters.scanner.rules import SHIPPED, scanner_domains, scanner_rules, shipped_rules
from gatewright.problems import InventoryError


def test_the_scanner_reads_every_form() -> None:
    text = scanner_rules(
        [
            "exe",
            {
                "extension": ".GZ",
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
        ("extension", "gz", ANY_SIZE, "", Verdict.POLICY, "inbound", ("a.example", ".b.example")),
        ("name", "eicar.com", 69, "", Verdict.POLICY, "", ()),
        ("name", "invoice 2026.zip", ANY_SIZE, "", Verdict.POLICY, "", ()),
        ("header", "Pickles.*Breakfast", ANY_SIZE, "subject", Verdict.INFECTED, "", ()),
        ("header", r".*\.ru", ANY_SIZE, "mailfrom", Verdict.POLICY, "", ()),
    ]
    assert ".exe\tSIZE=-1\tExecutable program\n" in text


def test_no_rules_is_a_file_with_none() -> None:
    assert parse(scanner_rules([]), "rules") == ()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("e xe", "not an extension"),
        ("tar.gz", "not an extension"),
        ("*.exe", "not an extension"),
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


def test_the_rules_that_the_role_begins_with_are_those_of_the_package_word_for_word() -> None:
    rendered = parse(scanner_rules(shipped_rules()), "rules")
    shipped = parse(SHIPPED.read_text(), "rules")
    assert [replace(rule, line=0) for rule in rendered] == [replace(rule, line=0) for rule in shipped]


def test_without_todays_list_the_papers_41_extensions_are_left() -> None:
    extensions = [rule["extension"] for rule in shipped_rules(todays=False) if "extension" in rule]
    assert len(extensions) == 41 and extensions[0] == "exe" and extensions[-1] == "shb"
    assert "ps1" in [rule.get("extension") for rule in shipped_rules()]


def test_a_sites_own_rule_may_stand_for_a_shipped_one() -> None:
    text = scanner_rules(shipped_rules(), extra=["ps1", {"extension": "rdp", "direction": "inbound"}])
    assert text.count("\n.ps1\tSIZE=-1\tPowerShell script\n") == 1
    assert text.count("\n.rdp\tSIZE=-1\tRemote desktop") == 2


def test_the_domains_of_routes_are_ascii_and_include_those_below() -> None:
    routes = [
        {"domain": "Müller.example", "host": "10.0.0.1"},
        {"domain": "example.org", "host": "10.0.0.1", "subdomains": True},
        {"domain": "no domain", "host": "10.0.0.1"},
        ".lab.example.net",
    ]
    expected = ["xn--mller-kva.example", "example.org", ".example.org", ".lab.example.net"]
    assert scanner_domains(routes) == expected
    assert scanner_domains(expected) == expected
