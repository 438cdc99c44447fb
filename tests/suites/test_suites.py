"""Public suites: nothing is delivered from which another reader takes a payload, and real mail is not held.

`make test-suites` runs this on the folder that GATEWRIGHT_SUITES names; nothing is fetched. What is missing there, and
which readers were asked, is printed. docs/scanner.md has the suites' commits and the results.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging import judge, rules
from gatescan.model import Buffer, Finding, Verdict

from tests.suites import public, readers

HELD_AT_MOST = 0.001
CONFIG, CONTEXT = Config(), Context("ann@example.net", ("bob@example.org",), "192.0.2.7")
SHIPPED = SHIPPED_RULES.read_text()


class Eicar:
    """An engine that knows the one thing that every engine knows."""

    name = "eicar"

    def scan(self, message: Buffer, report: judge.MessageReport, context: Context) -> list[Finding]:
        """A finding for each part that has the test string in its bytes."""
        found = [part for part in report.parts if public.EICAR in bytes(part.data)]
        return [Finding(Verdict.INFECTED, "eicar", "EICAR", part.path) for part in found]


def judged(message: bytes, listed: str = "") -> judge.MessageReport:
    """The message judged by the rules that are shipped and those that are `listed` besides."""
    known = rules.RuleSet("rules", rules.parse(SHIPPED + listed, "rules"))
    return judge.judge(message, CONTEXT, known, CONFIG, [Eicar()])


def as_attachment(name: str, content: bytes) -> bytes:
    """A plain message with one file, to ask what the scanner says of that file by itself."""
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"], message["To"] = "ann@example.net", "bob@example.org"
    message.add_attachment(content, "application", "octet-stream", filename=printable_name(name))
    return message.as_bytes()


def printable_name(name: str) -> str:
    """`name` without what Python's email refuses to write in a header."""
    return "".join(c for c in name if c.isprintable() and not 0xD800 <= ord(c) < 0xE000) or "file"


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the suites."""
    return public.folder()


@pytest.fixture(scope="session")
def asked(root: Path) -> dict[str, readers.Reader]:
    """The readers that are here."""
    found = readers.available(root)
    missing = [name for name in readers.ALL if name not in found]
    print(f"\nreaders: {'; '.join(found)}; not installed: {'; '.join(missing) or 'none'}")
    return found


def samples_of(source: public.Source, root: Path, name: str) -> list[public.Sample]:
    """The messages of a suite, or a skip that says that it is not there."""
    try:
        found = list(source(root))
    except FileNotFoundError as error:
        pytest.skip(f"{name}: not found: {error.filename}")
    if not found:
        pytest.skip(f"{name}: nothing found below {root}")
    return found


@pytest.mark.parametrize("suite", public.HOSTILE)
def test_no_reader_takes_a_payload_from_what_is_delivered(
    suite: str, root: Path, asked: dict[str, readers.Reader], capsys: pytest.CaptureFixture[str]
) -> None:
    listed = "\n.zip\tSIZE=-1\tno archives\n" if suite.endswith("names") else ""
    samples = samples_of(public.HOSTILE[suite], root, suite)
    verdicts = Counter(report.verdict for s in samples if (report := judged(s.message, listed)))
    clean = [s for s in samples if judged(s.message, listed).verdict is Verdict.CLEAN]
    missed = taken_out_of(clean, listed, asked)
    with capsys.disabled():
        shown = ", ".join(f"{verdict} {count}" for verdict, count in sorted(verdicts.items()))
        print(f"\n{suite}: {len(samples)} messages: {shown}; missed {len(missed)}")
        for name, by in missed.items():
            print(f"  {name}: {', '.join(sorted(by))}")
    assert not missed


def taken_out_of(clean: Sequence[public.Sample], listed: str, asked: dict[str, readers.Reader]) -> dict[str, set[str]]:
    """The readers, by the name of the message, that take something out of it that by itself would be stopped."""
    missed: dict[str, set[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for ends in (b"\n", b"\r\n"):
            paths = []
            for number, sample in enumerate(clean):
                paths.append(Path(folder) / f"{number}.eml")
                paths[-1].write_bytes(sample.message.replace(b"\n", ends))
            for reader, ask in asked.items():
                for sample, files in zip(clean, ask(paths), strict=True):
                    if any(is_stopped(name, content, listed) for name, content in files):
                        missed.setdefault(sample.name, set()).add(reader)
    return missed


def is_stopped(name: str, content: bytes, listed: str) -> bool:
    """Whether the scanner would stop this file for what it is; one that is only broken is no payload."""
    report = judged(as_attachment(name, content), listed)
    found = {f.code for f in report.findings if f.verdict in (Verdict.POLICY, Verdict.INFECTED)}
    return bool(found - {"cannot-open", "unopenable"})


@pytest.mark.parametrize("suite", public.BENIGN)
def test_real_mail_is_not_held(suite: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = samples_of(public.BENIGN[suite], root, suite)
    held = []
    for sample in samples:
        report = judged(sample.message)
        if report.verdict not in (Verdict.CLEAN, Verdict.ENCRYPTED):
            held.append((sample.name, report.verdict, sorted({f.code for f in report.reasons})))
    with capsys.disabled():
        print(f"\n{suite}: {len(samples)} messages, {len(held)} held")
        for name, verdict, codes in held:
            print(f"  {name}: {verdict}: {', '.join(codes)}")
    assert len(held) <= max(1, HELD_AT_MOST * len(samples))
