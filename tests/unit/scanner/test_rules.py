"""quarantine-attachments.txt: what it may say, what is wrong in it, and how it comes into force."""

from __future__ import annotations

import json
import os
from pathlib import Path

import desk
import pytest
from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import rules
from gatescan.judging.judge import judge
from gatescan.model import Verdict
from hypothesis import given, settings
from hypothesis import strategies as st

APPENDIX_E = (
    "exe com vbs vba shs scr bat btm reg msi msc chm inf cpl wsf vbe js jse css wsh sct hta lnk cmd pif "
    "ade mdb adp mde bas msp mst pcd crt hlp url ins isp vb wsc shb"
)
OF_TODAY = (
    "ps1 rdp jnlp settingcontent-ms appref-ms application msix library-ms search-ms scf wsb website "
    "searchConnector-ms psm1 ps1xml xll iqy theme desktop mobileconfig pyw "
    "mad ex webloc inetloc fileloc tool action vsto ppkg "
    "accda accde accdr oxt vsix xpi crx ahk msrcIncident "
    "osdx afploc ftploc vncloc rb rbw au3 a3x scptd prefPane saver"
)
ANY = Context()


def parse(text: str) -> rules.RuleSet:
    return rules.RuleSet("rules.txt", rules.parse(text, "rules.txt"))


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(rules.RulesError) as caught:
        rules.parse(text, "rules.txt")
    return caught.value.problems


@pytest.mark.parametrize("size", ["0", "-1", "SIZE=-1", "size=-1", "4711"])
def test_the_size_of_an_extension_rule_does_not_matter(size: str) -> None:
    found = parse(f".VBS\t{size}\tscript\n").match_extension("vbs", ANY)
    assert found is not None and found.description == "script"


def test_a_name_rule_wants_the_name_in_any_case_and_the_exact_size() -> None:
    known = parse("EICAR.COM\t69\tEICAR test virus\nzip.zip\tSIZE=-1\tany size\n")
    assert known.match_name("eicar.com", 69, ANY)
    assert not known.match_name("eicar.com", 70, ANY)
    assert known.match_name("zip.zip", 12345, ANY)
    assert not known.match_name("my-eicar.com", 69, ANY)


def test_a_header_rule_is_anchored_and_case_sensitive() -> None:
    known = parse("Pickles.*Breakfast\tVirus-Subject:\tworm\n")
    assert [r.verdict for r in known.match_header("subject", "Pickles for Breakfast", ANY)] == [Verdict.INFECTED]
    for text in ("pickles for breakfast", "Re: Pickles for Breakfast", "Pickles for Breakfast!"):
        assert not list(known.match_header("subject", text, ANY))


def test_policy_headers_are_not_called_a_virus() -> None:
    (rule,) = parse(".*spam.*\tPolicy-X-Mailer:\tno\n").rules
    assert (rule.verdict, rule.header) == (Verdict.POLICY, "x-mailer")


def test_a_regex_sees_only_the_ends_of_a_huge_header() -> None:
    known = parse(f"{'a' * 10}[ab]*\tVirus-Subject:\tworm\n")
    text = "a" * rules.HEADER_BOUND + "c" + "b" * rules.HEADER_BOUND
    assert list(known.match_header("subject", text, ANY))
    assert not list(known.match_header("subject", "c" + text[: rules.HEADER_BOUND - 1], ANY))


def test_several_tabs_separate_like_one_and_carriage_returns_are_ignored() -> None:
    known = parse(".exe\t\t\t0\t\tprogram\t\r\n# comment\r\n\r\n")
    assert known.match_extension("exe", ANY)


def test_the_fourth_column_narrows_a_rule() -> None:
    known = parse(".doc\t0\tno\toutbound\n.xls\t0\tno\tinbound, @example.org @.example.net\n")
    inbound = Context(recipients=("a@example.org",), remote_ip="192.0.2.1")
    outbound = Context(recipients=("a@example.org",), remote_ip="192.0.2.1", relayclient=True)
    assert not known.match_extension("doc", inbound)
    assert known.match_extension("doc", outbound)
    assert known.match_extension("xls", inbound)
    assert not known.match_extension("xls", outbound)
    assert known.match_extension("xls", Context(recipients=("x@other.example", "b@sub.example.net")))
    assert not known.match_extension("xls", Context(recipients=("b@example.com",)))


@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        (".exe    0    program", "2:5", "no TAB"),
        (".exe\t0    program", "2:7", "third column"),
        (".exe\t0", "2:7", "third column"),
        ("a.exe\tbig\tprogram", "2:7", "not a size"),
        ("worm.*\tVirus-Subject\tdescription", "2:8", "Virus-Name:"),
        ("worm(.*\tVirus-Subject:\tdescription", "2:5", "bad regular expression"),
        (".exe\t0\tprogram\tinbound sideways", "2:24", "sideways"),
        ("\t0\tprogram", "2:1", "empty"),
        (".exe\t0\tprogram\tinbound\tmore", "2:24", "four columns"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_column(line: str, where: str, what: str) -> None:
    (problem,) = problems(f"# first\n{line}\n.ok\t0\tok\n")
    assert problem.startswith(f"rules.txt:{where}: ")
    assert what in problem


def test_all_mistakes_are_named_at_once() -> None:
    assert [p.split(":")[1] for p in problems("a b\n.exe\t0\tok\nc d\n")] == ["1", "3"]


def test_a_mistake_keeps_the_old_rules_in_force(tmp_path: Path) -> None:
    source, compiled = tmp_path / "rules.txt", tmp_path / "rules.json"
    source.write_text(".exe\t0\tprogram\n")
    rules.build(source, compiled)
    before = compiled.read_bytes()
    source.write_text(".exe 0 program\n")
    with pytest.raises(rules.RulesError):
        rules.build(source, compiled)
    assert compiled.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rules.json", "rules.txt"]


def test_what_was_built_is_what_is_loaded(tmp_path: Path) -> None:
    source, compiled = tmp_path / "rules.txt", tmp_path / "rules.json"
    source.write_text("a.b\t5\tx\tinbound @example.org\n.c\tSIZE=-1\ty\nr.*\tPolicy-Subject:\tz\n")
    built = rules.build(source, compiled)
    assert rules.load(compiled).rules == built.rules


@pytest.mark.parametrize("text", ["", "{", "{}", '{"format": 99}', '{"format": 1, "rules": 3}', "[]", "null"])
def test_a_damaged_compiled_file_is_an_error_and_not_no_rules(tmp_path: Path, text: str) -> None:
    compiled = tmp_path / "rules.json"
    compiled.write_text(text)
    with pytest.raises(rules.RulesError, match="rules build"):
        rules.load(compiled)


def test_a_half_written_compiled_file_is_an_error(tmp_path: Path) -> None:
    source, compiled = tmp_path / "rules.txt", tmp_path / "rules.json"
    source.write_text(".exe\t0\tprogram\n")
    rules.build(source, compiled)
    whole = compiled.read_bytes()
    for length in range(len(whole) - 2):
        compiled.write_bytes(whole[:length])
        with pytest.raises(rules.RulesError):
            rules.load(compiled)


def test_an_edit_without_a_build_is_noticed(tmp_path: Path) -> None:
    source, compiled = tmp_path / "rules.txt", tmp_path / "rules.json"
    source.write_text(".exe\t0\tprogram\n")
    rules.build(source, compiled)
    assert not rules.is_stale(rules.load(compiled))
    os.utime(source, (1, 1))
    assert not rules.is_stale(rules.load(compiled)), "the same text with another date is the same"
    source.write_text(".exe\t0\tprogram.\n")
    assert rules.is_stale(rules.load(compiled))
    source.unlink()
    assert rules.is_stale(rules.load(compiled))


def test_text_that_is_not_utf8_is_placed(tmp_path: Path) -> None:
    source = tmp_path / "rules.txt"
    source.write_bytes(b".exe\t0\tok\n.com\t0\tcaf\xe9\n")
    with pytest.raises(rules.RulesError, match=r"rules\.txt:2:11: not UTF-8"):
        rules.read(source)


def test_an_outbreaks_rules_are_read_too_and_named_by_their_file(tmp_path: Path) -> None:
    source, outbreak, compiled = tmp_path / "rules.txt", tmp_path / rules.OUTBREAK, tmp_path / "rules.json"
    source.write_text(".exe\tSIZE=-1\tprogram\n")
    rules.build(source, compiled)
    outbreak.write_text("# 22 November\n.iso\tSIZE=-1\toutbreak\n")
    assert rules.is_stale(rules.load(compiled)), "a new outbreak's file is an edit"
    rules.build(source, compiled)
    known = rules.load(compiled)
    assert not rules.is_stale(known)
    assert [known.where(rule) for rule in known.rules] == ["rules.txt:1", "outbreak.txt:2"]
    assert known.match_extension("iso", ANY)
    outbreak.unlink()
    assert rules.is_stale(known), "an outbreak's file that is gone is an edit"
    assert not rules.read(source).match_extension("iso", ANY)


def test_a_mistake_in_an_outbreaks_rules_keeps_the_old_ones_in_force(tmp_path: Path) -> None:
    source, compiled = tmp_path / "rules.txt", tmp_path / "rules.json"
    source.write_text(".exe\tSIZE=-1\tprogram\n")
    rules.build(source, compiled)
    (tmp_path / rules.OUTBREAK).write_text("no tabs here\n")
    with pytest.raises(rules.RulesError, match=r"outbreak\.txt:1:"):
        rules.build(source, compiled)
    assert [rule.pattern for rule in rules.load(compiled).rules] == ["exe"]


def test_the_shipped_rules_have_appendix_e_in_its_order() -> None:
    shipped = rules.read(SHIPPED_RULES)
    assert list(shipped.extensions)[:41] == APPENDIX_E.split()
    assert shipped.match_name("eicar.com", 69, ANY)
    assert list(shipped.match_header("content-type", "message/partial; id=1", ANY))


@pytest.mark.parametrize("extension", OF_TODAY.split())
def test_what_outlook_and_gmail_refuse_today_is_held_and_the_reason_says_what_it_is(extension: str) -> None:
    shipped = rules.read(SHIPPED_RULES)
    message = desk.attached(f"Quick Start.{extension}", b"harmless text\n")
    report = judge(message, ANY, shipped, Config())
    described = shipped.extensions[extension.lower()][0].description
    assert [f.code for f in report.findings] == ["rule-extension"]
    assert report.findings[0].detail == f"quick start.{extension.lower()}: {described}"
    assert len(described) > 5 and "policy" not in described


@pytest.mark.parametrize("extension", ["docx", "xlsx", "zip", "pdf", "cer", "iso", "eml", "xml", "html", "mat", "csv"])
def test_what_offices_send_daily_is_on_no_list(extension: str) -> None:
    assert extension not in rules.read(SHIPPED_RULES).extensions


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("\t\n\r .:*()[]\\aV-=0169@,#é") | st.characters(), max_size=60))
def test_any_text_is_rules_or_a_placed_mistake(text: str) -> None:
    try:
        found = rules.parse(text, "rules.txt")
    except rules.RulesError as error:
        assert error.problems and all(p.split(":")[1].isdigit() for p in error.problems)
        return
    known = rules.RuleSet("rules.txt", found)
    assert rules._from_json(json.loads(json.dumps(rules._to_json(known)))).rules == found


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["Virus", "Policy"]), st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_regex_compiles_or_is_a_placed_mistake(kind: str, regex: str) -> None:
    line = regex.replace("\n", "").replace("\t", "").replace("\r", "")
    try:
        known = parse(f"x{line}\t{kind}-Subject:\tdescription\n")
    except rules.RulesError:
        return
    list(known.match_header("subject", "some text", ANY))


def test_the_daemon_can_read_what_root_built_with_a_narrow_umask(tmp_path: Path) -> None:
    source, compiled = tmp_path / "rules.txt", tmp_path / "rules.json"
    source.write_text(".exe\t0\tprogram\n")
    before = os.umask(0o077)
    try:
        rules.build(source, compiled)
    finally:
        os.umask(before)
    assert compiled.stat().st_mode & 0o777 == 0o644
