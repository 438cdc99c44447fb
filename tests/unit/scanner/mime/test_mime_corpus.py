"""The corpus of classes 1 to 50 against the MIME layer alone: what it shows a judge."""

from __future__ import annotations

import pytest
from gatescan.model import Verdict
from mime_tools import extensions, take_apart, verdicts

from tests.corpus import encodings, harmless, naming, structure
from tests.corpus.case import EXE, Case

LISTED = {"exe", "vbs", "scr", "bat"}
HOSTILE = [case for source in (structure, encodings, naming) for case in source.cases()]
HARMLESS = list(harmless.cases())


@pytest.mark.parametrize("case", [c for c in HOSTILE if c.expected is Verdict.POLICY], ids=lambda c: c.name)
def test_what_is_refused_is_shown_in_some_reading(case: Case) -> None:
    parsed = take_apart(case.message)
    program = any(bytes(part.data[:2]) == EXE[:2] for part in parsed.parts)
    assert program or extensions(parsed) & LISTED or Verdict.POLICY in verdicts(parsed)


@pytest.mark.parametrize("case", [c for c in HOSTILE if c.expected is not Verdict.POLICY], ids=lambda c: c.name)
def test_other_verdicts_are_given_here(case: Case) -> None:
    parsed = take_apart(case.message)
    assert max(verdicts(parsed), key=lambda v: v.severity) is case.expected
    assert not extensions(parsed) & LISTED


@pytest.mark.parametrize("case", HARMLESS, ids=lambda c: c.name)
def test_honest_mail_has_no_finding_and_no_listed_name(case: Case) -> None:
    parsed = take_apart(case.message)
    assert parsed.findings == []
    assert not extensions(parsed) & LISTED


def test_names_of_cases_are_unique_and_the_corpus_is_large_enough() -> None:
    every = [case.name for case in HOSTILE + HARMLESS]
    assert len(set(every)) == len(every)
    assert len(HOSTILE) >= 300
    assert len(HARMLESS) >= 500
    assert {case.cls for case in HOSTILE} >= set(range(1, 48)) | {49, 50}


def test_the_corpus_is_always_the_same() -> None:
    assert [c.message for c in harmless.cases()] == [c.message for c in HARMLESS]
