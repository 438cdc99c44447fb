"""The judge: rules on every name, built-in policies, engines; and nothing unforeseen is ever clean."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

import desk
import pytest
from gatescan import unpack
from gatescan.config import Config, parse
from gatescan.context import Context
from gatescan.errors import Unavailable
from gatescan.judging import judge, rules
from gatescan.judging.budget import Budget, LimitReached
from gatescan.model import Buffer, Finding, Part, Verdict

CONFIG = Config()


def known(text: str = desk.RULES) -> rules.RuleSet:
    return rules.RuleSet("rules.txt", rules.parse(text, "rules.txt"))


def judged(message: bytes, text: str = desk.RULES, context: Context = desk.INBOUND) -> judge.MessageReport:
    return judge.judge(message, context, known(text), CONFIG)


def codes(report: judge.MessageReport) -> set[str]:
    return {finding.code for finding in report.findings}


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


def test_a_harmless_message_is_clean() -> None:
    report = judged(desk.attached("report.txt", b"nothing"))
    assert report.verdict is Verdict.CLEAN and not report.findings
    assert (report.subject, report.message_id) == ("hello", "<1@example.net>")
    assert [part.names for part in report.parts] == [(), ("report.txt",)]
    assert report.sizes[1] == 7


@pytest.mark.parametrize("message", [b"", b"\n", b"no header at all", b"\0" * 100])
def test_what_is_hardly_a_message_is_judged(message: bytes) -> None:
    assert judged(message).verdict is Verdict.CLEAN


def test_name_and_size() -> None:
    report = judged(desk.EICAR_SIZED)
    (finding,) = report.findings
    assert (finding.verdict, finding.code, finding.source) == (Verdict.POLICY, "rule-name", "rules.txt:3")
    assert judged(desk.attached("Eicar.com", bytes(69) + b"\n")).verdict is Verdict.CLEAN


def test_a_name_inside_an_archive() -> None:
    (finding,) = judged(desk.attached("a.zip", zipped(run__exe=b"just text"))).findings
    assert finding.code == "rule-extension" and finding.part.endswith("run.exe")


def test_a_message_inside_an_archive_is_opened() -> None:
    inner = desk.attached("evil.exe", b"just text")
    report = judged(desk.attached("a.zip", zipped(mail__eml=inner)))
    assert "rule-extension" in codes(report)
    assert any(f.part.count("/") >= 2 for f in report.findings)


def test_an_executable_is_known_by_its_bytes() -> None:
    program = b"MZ\x90\x00\x03" + bytes(55) + b"\x40\0\0\0" + b"PE\0\0" + bytes(200)
    assert "executable" in codes(judged(desk.attached("holiday.txt", program)))


def test_header_rules_see_encoded_words() -> None:
    for subject in ("Pickles for Breakfast", "=?utf-8?q?Pickles_for_Breakfast?=", "Pickles for\n Breakfast"):
        report = judged(desk.plain(subject))
        assert report.verdict is Verdict.INFECTED, subject


def test_header_rules_see_every_header_of_that_name() -> None:
    assert judged(desk.plain("innocent", extra="Subject: Pickles for Breakfast\n")).verdict is Verdict.INFECTED
    twice = desk.plain("Pickles for Breakfast", extra="Subject: Pickles before Breakfast\n")
    assert sum(finding.code == "rule-header" for finding in judged(twice).findings) == 1


@pytest.mark.parametrize(
    ("header", "regex", "message"),
    [
        ("MAILFROM", r"ann@example\.net", desk.plain()),
        ("RCPTTO", r"secret@.*", desk.plain()),
        ("REMOTEIPADDR", r"192\.0\.2\..*", desk.plain()),
        ("TCPREMOTEIP", r"192\.0\.2\.1", desk.plain()),
        ("FILELENGTHTOOLONG", "1", desk.attached("x" * 300 + ".txt", b"x")),
        ("FILEDOUBLEBARRELED", ".*", desk.attached("letter.txt.pif", b"x")),
        ("FILECLSID", "1", desk.attached("a.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}", b"x")),
        ("ISSENSITIVEANDNOCRYPTO", "1", desk.plain(extra="Sensitivity: Company-Confidential\n")),
    ],
)
def test_virtual_headers(header: str, regex: str, message: bytes) -> None:
    context = Context("ann@example.net", ("bob@example.org", "secret@example.org"), "192.0.2.1")
    report = judged(message, f"{regex}\tPolicy-{header}:\tfound\n", context)
    assert any(f.code == "rule-header" and f.source == "rules.txt:1" for f in report.findings)
    other = judged(desk.plain(), f"{regex}\tPolicy-{header}:\tfound\n", Context("x@y.example", (), "198.51.100.1"))
    assert not other.findings


def test_encrypted_archive_as_virtual_header() -> None:
    sealed = bytearray(zipped(letter__txt=b"secret text"))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        sealed[sealed.index(mark) + offset] |= 1
    message = desk.attached("sealed.zip", bytes(sealed))
    assert judged(message, "").verdict is Verdict.ENCRYPTED
    hits = judged(message, "1\tPolicy-ZIPPASSWORDPROTECTED:\tno\n.*\tPolicy-CRYPTODETAILS:\tno\n")
    assert [f.source for f in hits.reasons] == ["rules.txt:1", "rules.txt:2"]


def test_a_rule_is_reported_once_for_a_part() -> None:
    assert len(judged(desk.attached("=?utf-8?q?a=2Eexe?=", b"x")).findings) == 1


def test_scope_of_rules_is_respected() -> None:
    text = ".txt\t0\tno text goes out\toutbound\n"
    message = desk.attached("report.txt", b"nothing")
    assert judged(message, text).verdict is Verdict.CLEAN
    assert judged(message, text, Context("b@example.org", ("a@b.example",), "192.0.2.9", True)).findings


@pytest.mark.parametrize("failing", ["mime.parse", "unpack.members", "filetype.kind", "names.variants"])
def test_a_failure_is_never_clean(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    def fail(*_: object) -> None:
        raise ValueError("unforeseen")

    module, name = failing.split(".")
    monkeypatch.setattr(getattr(judge, module), name, fail)
    report = judged(desk.attached("report.txt", b"nothing"))
    assert report.verdict is Verdict.ENGINE_ERROR


def test_a_missing_library_is_never_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(part: Part, budget: Budget) -> Iterator[Part]:
        raise Unavailable("libarchive is missing")
        yield part

    monkeypatch.setattr(unpack, "members", fail)
    report = judged(desk.attached("report.txt", b"nothing"))
    assert report.verdict is Verdict.ENGINE_ERROR and "libarchive is missing" in report.reasons[0].detail


def test_a_failure_in_one_part_does_not_hide_another(monkeypatch: pytest.MonkeyPatch) -> None:
    real = unpack.members

    def fail(part: Part, budget: Budget) -> Iterator[Part]:
        if not part.names:
            raise ValueError("unforeseen")
        return real(part, budget)

    monkeypatch.setattr(unpack, "members", fail)
    assert judged(desk.EXE).verdict is Verdict.POLICY


@pytest.mark.parametrize("code", ["bytes", "parts", "depth", "time"])
def test_a_limit_is_a_verdict_and_the_other_names_are_still_tested(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def reach(part: Part, budget: Budget) -> Iterator[Part]:
        if not part.names:
            raise LimitReached(code, "enough")
        return iter(())

    monkeypatch.setattr(unpack, "members", reach)
    clean, bad = judged(desk.attached("report.txt", b"nothing")), judged(desk.EXE)
    assert clean.verdict is Verdict.LIMIT and f"limit-{code}" in codes(clean)
    assert bad.verdict is Verdict.POLICY


def test_nesting_ends_at_the_depth_limit() -> None:
    data = b"core"
    for _ in range(6):
        data = zipped(inner__zip=data)
    shallow = parse({"limits": {"depth": 3}})
    message = desk.attached("a.zip", data)
    assert judge.judge(message, desk.INBOUND, known(), shallow).verdict is Verdict.LIMIT
    assert judge.judge(message, desk.INBOUND, known(), CONFIG).verdict is Verdict.CLEAN


def test_what_is_nested_too_deep_does_not_hide_its_neighbour() -> None:
    data = b"core"
    for _ in range(6):
        data = zipped(inner__zip=data)
    archive = zipped(deep__zip=data, next__zip=zipped(run__exe=b"just text"))
    report = judge.judge(desk.attached("a.zip", archive), desk.INBOUND, known(), parse({"limits": {"depth": 3}}))
    assert {"limit-depth", "rule-extension"} <= codes(report)


@pytest.mark.parametrize("parts", range(1, 7))
def test_a_part_that_is_written_out_in_a_text_beyond_the_bound_is_no_clean_message(parts: int) -> None:
    quoted = "Content-Type: text/plain; name=a.txt\n\nx\n\n"
    few = judge.judge(desk.plain(body=quoted * 5), desk.INBOUND, known(), parse({"limits": {"parts": parts}}))
    assert codes(few) == ({"limit-parts"} if parts < 6 else set())


class FakeEngine:
    name = "fake"

    def __init__(self, answer: list[Finding] | Exception) -> None:
        self.answer = answer
        self.saw: list[bytes] = []

    def scan(self, message: Buffer, report: judge.MessageReport, context: Context) -> list[Finding]:
        self.saw = [bytes(part.data) for part in report.parts]
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_engines_see_the_parts_and_their_findings_count() -> None:
    engine = FakeEngine([Finding(Verdict.INFECTED, "virus", "EICAR", source="fake")])
    message = desk.attached("a.zip", zipped(letter__txt=b"hidden text"))
    report = judge.judge(message, desk.INBOUND, known(), CONFIG, (engine,))
    assert report.verdict is Verdict.INFECTED and b"hidden text" in engine.saw


def test_an_engine_that_fails_is_an_engine_error() -> None:
    engines = (FakeEngine(TimeoutError("hung")), FakeEngine([]))
    report = judge.judge(desk.plain(), desk.INBOUND, known(), CONFIG, engines)
    assert report.verdict is Verdict.ENGINE_ERROR and report.reasons[0].source == "fake"


def test_without_engines_unpacked_bytes_are_let_go() -> None:
    report = judged(desk.attached("a.zip", zipped(letter__txt=b"hidden text")))
    (member,) = (part for part in report.parts if part.depth)
    assert (bytes(member.data), report.sizes[report.parts.index(member)]) == (b"", 11)
