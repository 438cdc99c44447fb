"""Every program of the table, against a double that answers as its manual says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.manual import MANUALS, Answer
from gatescan import fence
from gatescan.config import parse
from gatescan.engines.base import EngineError, Sample
from gatescan.engines.build import needs_of
from gatescan.engines.commandline import CommandLine, ProgramSettings
from gatescan.engines.table import PROGRAMS
from gatescan.model import Verdict
from samples import MARK, SAMPLE, part, soon

pytestmark = pytest.mark.slow  # a process or more for each test

Double = Callable[..., Path]

CASES = [
    pytest.param(name, answer, id=f"{name}-{answer.code}-{answer.meaning}-{number}")
    for name, manual in MANUALS.items()
    for number, answer in enumerate(manual.answers)
]
APPENDIX_B = {
    *("vscan", "sweep", "antivir", "avplinux", "uvscan", "csav", "fsav", "f-prot", "inocucmd"),
    *("kavscanner", "savscan", "fpscan"),
}


def engine(name: str, program: Path, timeout: float = 30.0) -> CommandLine:
    return CommandLine(name, timeout, PROGRAMS[name], ProgramSettings(str(program)))


def test_every_row_has_a_double_and_appendix_b_is_there() -> None:
    assert set(MANUALS) == set(PROGRAMS)
    assert set(PROGRAMS) >= APPENDIX_B


@pytest.mark.parametrize(("name", "answer"), CASES)
def test_an_answer_of_the_manual(double: Double, name: str, answer: Answer) -> None:
    program = double(name, MANUALS[name].argv, answer.code, answer.output)
    asked = engine(name, program)
    if answer.meaning == "error":
        with pytest.raises(EngineError) as caught:
            asked.scan(SAMPLE, soon())
        assert f"exit code {answer.code}" in caught.value.why and caught.value.advice
        return
    hits = asked.scan(SAMPLE, soon())
    if answer.meaning == "clean":
        assert hits == []
        return
    (hit,) = hits
    assert hit.verdict is Verdict(answer.meaning)
    if answer.name:
        assert hit.name == answer.name
    if "{hit}" in answer.output:
        assert hit.part == "2/a b.exe"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_is_heard_from_behind_the_fence(double: Double, name: str, tmp_path: Path) -> None:
    answer = next(answer for answer in MANUALS[name].answers if answer.meaning == "infected")
    program = double(name, MANUALS[name].argv, answer.code, answer.output)
    config = parse({"spool": str(tmp_path / "spool"), "engines": [{"type": name, "program": str(program)}]})
    (tmp_path / "spool/tmp").mkdir(parents=True)
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        with open(writer, "w") as said:
            try:
                print(fence.enclose_worker(config, needs_of(config)), file=said)
                tempfile.tempdir = str(tmp_path / "spool/tmp")
                print(*engine(name, program).scan(SAMPLE, soon()), sep="\n", file=said)
            except BaseException as error:
                print(repr(error), file=said)
        os._exit(0)
    os.close(writer)
    with open(reader) as saying:
        fenced, *found = saying.read().splitlines()
    os.waitpid(worker, 0)
    assert "system calls filtered, engines may be programs" in fenced
    assert found and all(answer.name in line and "INFECTED" in line for line in found), found


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_code_that_no_manual_has_is_an_error(double: Double, name: str) -> None:
    # 99 is what the doubles say when they are not called as the manual wants it.
    if name in ("vscan", "drweb", "fpscan", "avplinux", "kavscanner"):
        pytest.skip("its code is a number of viruses, a bit vector or two halves: 99 means something")
    program = double(name, MANUALS[name].argv, 99, "what?")
    with pytest.raises(EngineError, match="exit code 99"):
        engine(name, program).scan(SAMPLE, soon())


def test_ended_by_a_signal(double: Double) -> None:
    with pytest.raises(EngineError, match="ended by signal 11"):
        engine("uvscan", double("uvscan", behave="signal")).scan(SAMPLE, soon())


@pytest.mark.parametrize("behave", ["hang", "close"])
def test_past_its_time(double: Double, tmp_path: Path, behave: str) -> None:
    program = double("uvscan", behave=behave, note=str(tmp_path / "note"))
    with pytest.raises(EngineError, match="not done after"):
        engine("uvscan", program).scan(SAMPLE, soon(1.5))


def test_ten_megabytes_of_output(double: Double) -> None:
    with pytest.raises(EngineError, match="printed more than"):
        engine("uvscan", double("uvscan", behave="flood")).scan(SAMPLE, soon())


def test_a_child_that_keeps_the_output_open_is_not_waited_for(double: Double) -> None:
    program = double("uvscan", MANUALS["uvscan"].argv, 13, "{hit}\n  Found the X virus !!!\n", behave="child")
    (hit,) = engine("uvscan", program).scan(SAMPLE, soon())
    assert hit.name == "X"


def test_no_such_program(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot run"):
        engine("uvscan", tmp_path / "nowhere").scan(SAMPLE, soon())


def test_a_virus_beside_a_code_that_is_an_error_counts(double: Double) -> None:
    program = double("fsav", MANUALS["fsav"].argv, 9, "{hit}: Infected: X [AVP]\n")
    with pytest.raises(EngineError) as caught:
        engine("fsav", program).scan(SAMPLE, soon())
    assert [hit.name for hit in caught.value.hits] == ["X"]


def test_what_a_program_finds_in_the_message_itself(double: Double) -> None:
    program = double("csav", MANUALS["csav"].argv, 51, "{hit}  Infection: X\n")
    (hit,) = engine("csav", program).scan(Sample(b"begin " + MARK), soon())
    assert (hit.name, hit.part) == ("X", "")


def test_names_from_a_stranger_never_become_file_names(double: Double, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    spy = tmp_path / "spy"
    spy.write_text(f'#!/bin/sh\nls "$4" > {seen}\nstat -c %a "$4" >> {seen}\nexit 50\n')
    spy.chmod(0o755)
    parts = [part("1/../../etc/passwd", b"a"), part("-rf", b"b"), part("x\n|cmd", b"c"), part("z", b"", sealed=True)]
    assert engine("csav", spy).scan(Sample(b"m", parts), soon()) == []
    names = ["message.eml", "part-0001.bin", "part-0002.bin", "part-0003.bin", "700"]
    assert seen.read_text().split() == names


def test_files_are_gone_afterwards(double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    with pytest.raises(EngineError):
        engine("uvscan", double("uvscan", behave="signal")).scan(SAMPLE, soon())
    assert list(room.iterdir()) == []


def test_no_room_for_the_files(double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(EngineError, match="cannot write"):
        engine("csav", double("csav", MANUALS["csav"].argv, 50)).scan(SAMPLE, soon())


def test_strange_names_of_viruses_are_made_printable(double: Double) -> None:
    program = double("csav", MANUALS["csav"].argv, 51, "{hit}  Infection: \x1b]0;evil\x07 \x9bX\n")
    (hit,) = engine("csav", program).scan(SAMPLE, soon())
    assert hit.name.isprintable()


def test_version_and_age_of_the_signatures(double: Double, tmp_path: Path) -> None:
    signatures = tmp_path / "scan.dat"
    signatures.write_text("")
    os.utime(signatures, (1_000_000_000, 1_000_000_000))
    program = tmp_path / "tell"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "McAfee VirusScan v4.24.0" && echo "Virus data file v4312"\n'
    )
    program.chmod(0o755)
    settings = ProgramSettings(str(program), signatures=(str(tmp_path / "*.dat"),))
    asked = CommandLine("uvscan", 30.0, PROGRAMS["uvscan"], settings)
    assert asked.version(soon()) == "McAfee VirusScan v4.24.0; Virus data file v4312"
    assert asked.signature_date(soon()) == 1_000_000_000
