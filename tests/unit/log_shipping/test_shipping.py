"""Mail logs at another host: all lines, each once, whatever turns, stops or breaks, and nobody else gets them."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import gatewright_log_shipping as program
import pytest
from gatewright_logs import Mark
from log_rig import NAME, PATIENCE, PROGRAM, Desk, Multilog, Server, eventually
from starttls_rig import make_certificate


def lines_of(server: Server) -> Counter[tuple[str, str]]:
    """What the server has heard, whatever its sequenceId."""
    counts: Counter[tuple[str, str]] = Counter()
    for (name, _, line), count in server.heard().items():
        counts[name, line] += count
    return counts


def await_all(desk: Desk, server: Server) -> None:
    """Wait until nothing is missing."""
    wanted = set(desk.written)
    eventually(lambda: wanted <= lines_of(server).keys(), "the server has all lines")


def test_10000_lines_arrive_once_each_over_turns_restarts_and_an_outage(desk: Desk, server: Server) -> None:
    desk.write(100)
    desk.start()
    await_all(desk, server)
    for _ in range(6):
        desk.write(400)
        desk.turn()
    desk.turn(journals=True)
    desk.write(500)
    await_all(desk, server)

    server.stop()
    for number in (signal.SIGTERM, signal.SIGKILL):
        desk.write(1000)
        desk.turn()
        desk.stop(number)
        desk.write(250)
        desk.start()
    desk.turn(journals=True)
    desk.write(1000)
    server.start()
    await_all(desk, server)

    writing = threading.Thread(target=desk.write, args=(3500,))
    writing.start()
    desk.stop()
    desk.turn()
    desk.start()
    writing.join()
    await_all(desk, server)
    assert len(desk.written) == 10_000
    assert lines_of(server) == Counter(desk.written)
    numbers = [int(number) for name, number, _ in server.heard() if name == "gatescan"]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_a_server_that_dies_in_the_middle_loses_nothing_and_can_tell_what_came_twice(
    desk: Desk, server: Server
) -> None:
    desk.start()
    writing = threading.Thread(target=desk.write, args=(6000,))
    writing.start()
    for _ in range(3):
        before = server.size()
        eventually(functools.partial(server.is_larger_than, before), "lines flow")
        server.stop(signal.SIGKILL)
        server.start()
    writing.join()
    await_all(desk, server)
    numbers: dict[tuple[str, str], str] = {}
    for name, number, line in server.heard():
        assert numbers.setdefault((name, line), number) == number


def test_a_server_of_another_name_gets_nothing(desk: Desk, server: Server) -> None:
    desk.write(4)
    desk.start(name="other.example.test")
    eventually(lambda: "Hostname mismatch" in desk.said(), "it says what is wrong")
    assert not server.heard()
    assert desk.said().count("Hostname mismatch") == 1


def test_a_server_that_another_authority_vouches_for_gets_nothing(desk: Desk, server: Server, tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other.pem", "-addext", f"subjectAltName=DNS:{NAME}")
    desk.write(4)
    desk.start(authorities=str(other))
    eventually(lambda: "self-signed certificate" in desk.said(), "it says what is wrong")
    assert not server.heard()


def test_a_server_that_wants_a_certificate_gets_it(desk: Desk, server: Server, certificate: Path) -> None:
    server.stop()
    server.peer = NAME
    server.start()
    desk.write(4)
    desk.start()
    eventually(lambda: "lines wait" in desk.said(), "it is turned away without one")
    assert not server.heard()
    desk.stop()
    desk.start(certificate=str(certificate), key=str(certificate))
    await_all(desk, server)


def test_lines_that_a_log_drops_before_the_server_is_back_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Multilog("qmail-send", tmp_path / "qmail", kept=2)
    log.write("first")
    one = program.Log("qmail-send", log.path)
    mark = program.next_batch(one, None).places[-1]
    for number in range(4):
        log.write(f"line {number}")
        log.turn()
    assert program.next_batch(one, mark).lines == [b"line 2"]
    assert "what was left is lost" in caplog.text


def test_a_log_that_lags_sends_all_files_that_are_left_when_the_one_it_was_at_is_gone(tmp_path: Path) -> None:
    log = Multilog("qmail-send", tmp_path / "qmail", kept=3)
    one = program.Log("qmail-send", log.path)
    for number in range(3):
        log.write(f"line {number}")
        os.utime(log.path, (1_700_000_000 + number,) * 2)  # long ago, when the server did not answer
        log.turn()
    log.write("line 3")
    oldest = min(log.path.parent.glob("@*"))
    with oldest.open("rb") as file:
        mark = program.read_batch(file).places[-1]
    oldest.unlink()
    sent: list[bytes] = []
    while lines := (batch := program.next_batch(one, mark)).lines:
        sent += lines
        mark = batch.places[-1]
    assert sent == [b"line 1", b"line 2", b"line 3"]


def test_a_line_that_is_not_finished_waits_and_one_that_is_too_long_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_bytes(b"x" * 300_000 + b"\nhalf")
    one = program.Log("gatescan", path)
    batch = program.next_batch(one, None)
    assert batch.lines == [b"x" * program.LONGEST]
    with path.open("ab") as file:
        file.write(b" done\n")
    assert program.next_batch(one, batch.places[-1]).lines == [b"half done"]


def test_a_log_that_is_not_there_yet_is_sent_from_its_beginning(tmp_path: Path) -> None:
    one = program.Log("gatepost", tmp_path / "deliveries.jsonl")
    assert program.next_batch(one, None).lines == []
    one.path.write_bytes(b"{}\n")
    assert program.next_batch(one, None).lines == [b"{}"]


def test_a_file_that_logrotate_has_renamed_is_not_left_while_it_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_bytes(b"1\n")
    one = program.Log("gatescan", path)
    mark = program.next_batch(one, None).places[-1]
    old = path.rename(tmp_path / "messages.jsonl.1")
    path.write_bytes(b"3\n")
    assert program.next_batch(one, mark).lines == []
    with old.open("ab") as file:
        file.write(b"2\n")
    assert program.next_batch(one, mark).lines == [b"2"]


def test_a_file_of_before_the_clock_was_set_back_is_left_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_bytes(b"1\n")
    one = program.Log("gatescan", path)
    mark = program.next_batch(one, None).places[-1]
    old = path.rename(tmp_path / "messages.jsonl.1")
    year = time.time() + 365 * 86_400
    os.utime(old, (year, year))
    path.write_bytes(b"2\n")
    assert program.next_batch(one, mark).lines == [b"2"]


def test_a_file_that_is_written_to_while_it_is_looked_at_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "messages.jsonl.1"
    path.touch()
    os.utime(path, (999, 999))

    def clock() -> float:
        os.utime(path, (1000.5, 1000.5))  # a line comes in just after the time was read
        return 1000.0

    monkeypatch.setattr(program, "time", SimpleNamespace(time=clock))
    with path.open("rb") as file:
        assert not program.is_finished(program.Log("gatescan", tmp_path / "messages.jsonl"), file)


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"marks": {}}', '{"marks": [], "sequences": {}}', "\0" * 9])
def test_a_damaged_state_has_logs_sent_from_the_beginning_of_their_files(
    tmp_path: Path, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_text(damaged)
    state = program.State(path)
    assert (state.marks, state.sequences) == ({}, {}) and "damaged" in caplog.text
    state.advance("gatescan", Mark(1, "x", 2, 3.0), 4)
    assert program.State(path).sequences == {"gatescan": 4}


@pytest.mark.parametrize(
    "answer", [b"1 rsp 99999999999999999999 200 OK\n", b"1 rsp 300000 200 OK\n", b"\n" * 9, b"1 rsp -1 x\n"]
)
def test_an_answer_that_is_no_relp_ends_the_session_and_not_the_program(answer: bytes) -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(answer)
        with pytest.raises(ConnectionError, match="no RELP"):
            program.Relp(here)


def test_numbers_of_lines_begin_again_at_the_end_of_what_rfc_5424_has() -> None:
    assert [program.sequence(number) for number in (0, 1, 2**31 - 1, 2**31)] == [0, 1, 2**31 - 1, 1]


# Children that get SIGTERM at one of the first 80 steps of a pause, each at another; says how many that has not ended.
HIT_AT_EACH_STEP = """
import os, signal, sys
import gatewright_log_shipping as program

def wait_out(step):
    def hit(*_):
        nonlocal step
        step -= 1
        if step == 0:
            os.kill(os.getpid(), signal.SIGTERM)
    program.log.addFilter(lambda record: sys.setprofile(hit) or True)
    signal.alarm(20)  # ends what hangs, otherwise than well
    program.main()
    os._exit(0)

program.IDLE_SECONDS = program.LONGEST_PAUSE = 0.01
children = []
for step in range(1, 81):
    if child := os.fork():
        children.append(child)
    else:
        wait_out(step)
print(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


def test_it_ends_when_told_to_whatever_it_does_at_that_moment(tmp_path: Path, certificate: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        desk = Desk(tmp_path / "gateway", nobody.getsockname()[1], certificate)
        desk.configure()
        done = subprocess.run(
            [sys.executable, "-c", HIT_AT_EACH_STEP, *desk.words],
            cwd=PROGRAM,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
    assert done.stdout == "0\n", done.stderr
