"""The whole corpus before the judge with the shipped rules: all that is hostile is stopped, all else passes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import rules
from gatescan.judging.judge import MessageReport, judge
from gatescan.model import Verdict
from gatescan.outcome.policy import Decision, decide

from tests.corpus import generate
from tests.corpus.case import Case

CLASSES = range(1, 68)
CONTEXT = Context("ann@example.net", ("bob@example.org",), "192.0.2.1")


@dataclass(frozen=True, slots=True)
class Judged:
    case: Case
    report: MessageReport
    decision: Decision

    def __str__(self) -> str:
        found = "; ".join(f"{f.verdict.value} {f.code}: {f.detail}" for f in self.report.findings[:4])
        return f"{self.case.name}: expected {self.case.expected.value}, got {self.report.verdict.value} ({found})"


@pytest.fixture(scope="module")
def judged() -> Mapping[int, list[Judged]]:
    """Every case of the corpus, by its class."""
    known, config = rules.read(SHIPPED_RULES), Config()
    found: dict[int, list[Judged]] = defaultdict(list)
    for case in generate.cases():
        report = judge(case.message, CONTEXT, known, config)
        found[case.cls].append(Judged(case, report, decide(report, CONTEXT, config)))
    return found


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    cases = list(generate.cases())
    assert sum(not case.harmless for case in cases) >= 500
    assert sum(case.harmless for case in cases) >= 500
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_hostile_message_of_a_class_is_stopped_with_the_right_verdict(
    judged: Mapping[int, list[Judged]], cls: int
) -> None:
    hostile = [one for one in judged[cls] if not one.case.harmless]
    wrong = [str(one) for one in hostile if one.report.verdict is not one.case.expected]
    assert not wrong, "\n".join(wrong)
    delivered = [str(one) for one in hostile if one.decision.delivered and one.case.expected is not Verdict.ENCRYPTED]
    assert not delivered, "\n".join(delivered)


def test_every_class_has_hostile_messages(judged: Mapping[int, list[Judged]]) -> None:
    # Class 48 is a name that must not be stopped, see `aaa@bbb.com; ccc.zip`.
    missing = [cls for cls in CLASSES if cls != 48 and all(one.case.harmless for one in judged[cls])]
    assert not missing


def test_encrypted_mail_is_delivered_only_if_it_is_end_to_end(judged: Mapping[int, list[Judged]]) -> None:
    sealed = [one for group in judged.values() for one in group if one.case.expected is Verdict.ENCRYPTED]
    tags = {tag for one in sealed if one.decision.delivered for tag in one.decision.tags}
    assert tags <= {"encrypted-mail (smime-encrypted)", "encrypted-mail (pgp-encrypted)"}
    assert any(one.decision.quarantine for one in sealed)


def test_no_harmless_message_is_touched(judged: Mapping[int, list[Judged]]) -> None:
    harmless = [one for group in judged.values() for one in group if one.case.harmless]
    wrong = [str(one) for one in harmless if one.report.findings or one.decision.action != "accept"]
    assert not wrong, "\n".join(wrong)
