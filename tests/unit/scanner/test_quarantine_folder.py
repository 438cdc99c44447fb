"""Held messages: stored whole or not at all, found again, released once, bounded, expired."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import desk
import pytest
import rig
from gatescan.outcome import nextqueue, quarantine
from gatescan.outcome.quarantine import Entry, Quarantine, QuarantineError, QuarantineFull

MESSAGE = b"Subject: x\n\nbody with \0 and \xff\r\n.\nFrom here\n"

numbers = itertools.count()


@pytest.fixture
def gate(tmp_path: Path) -> desk.Desk:
    return desk.make(tmp_path)


def entry(sender: str = "", recipients: tuple[str, ...] = ("bob@example.org",), **more: Any) -> Entry:
    """An entry like no other, unless the sender is given."""
    now = time.time()
    sender = sender or f"ann{next(numbers)}@example.net"
    fields = {"id": quarantine.new_id(now), "time": now, "sender": sender, "recipients": recipients, **more}
    return Entry(**fields)


def held_files(gate: desk.Desk) -> list[str]:
    return sorted(p.name for place in ("tmp", "new", "cur") for p in (gate.root / "quarantine" / place).iterdir())


def contents(held: Quarantine, wanted: Entry) -> bytes:
    with held.open(held.find(wanted.id)) as file:
        return file.read()


def test_a_message_comes_back_as_it_came(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry("x\udcff@y", ("bob@example.org", "ö@example.org"), subject="tab\tline", verdict="policy")
    held.store(one, memoryview(MESSAGE))
    assert held.entries() == [one]
    assert contents(held, one) == MESSAGE
    mode = (gate.root / "quarantine" / "new" / one.id).stat().st_mode
    assert mode & 0o077 == 0


def test_messages_are_found_by_part_of_their_id(gate: desk.Desk) -> None:
    held = gate.quarantine()
    first, second = entry(), entry()
    for one in (first, second):
        held.store(one, MESSAGE)
    assert held.find(first.id[-8:]) == first
    with pytest.raises(QuarantineError, match="fits 2"):
        held.find(first.id[:8])
    for nothing in ("", "../new", "nothing"):
        with pytest.raises(QuarantineError):
            held.find(nothing)


def _counting_failure(at: int, real: Callable[..., object]) -> Callable[..., object]:
    calls = iter(range(1000))

    def fail(*arguments: object) -> object:
        if next(calls) == at:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    return fail


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
@pytest.mark.parametrize("at", [0, 1])
def test_what_cannot_be_stored_leaves_nothing(
    gate: desk.Desk, monkeypatch: pytest.MonkeyPatch, call: str, at: int
) -> None:
    held = gate.quarantine()
    held.totals()
    monkeypatch.setattr(os, call, _counting_failure(at, getattr(os, call)))
    try:
        held.store(entry(), MESSAGE)
        stored = True
    except OSError:
        stored = False
    monkeypatch.undo()
    assert len(held_files(gate)) == len(held.entries()) == int(stored)
    if (call, at) != ("rename", 1):
        assert not stored, "the failure was not seen"


_STORE_FOR_EVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from gatescan import config
from gatescan.outcome import quarantine
held = quarantine.Quarantine(config.load(__import__("pathlib").Path(sys.argv[2])).quarantine)
while True:
    now = time.time()
    id_ = quarantine.new_id(now)
    entry = quarantine.Entry(id_, now, id_, ("c@d",))
    held.store(entry, b"x" * 50_000)
    print(entry.id, flush=True)
"""


def test_a_kill_at_any_point_loses_nothing_that_was_acknowledged(gate: desk.Desk) -> None:
    acknowledged: set[str] = set()
    chance = random.Random(3)
    for _ in range(6):
        command = [sys.executable, "-c", _STORE_FOR_EVER, str(rig.SCANNER_FILES), str(gate.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 12)):
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            # A line that was cut off, or written after the last one read, counts if it is whole.
            acknowledged.update(line for line in process.stdout.read().split("\n")[:-1])
    held = gate.quarantine()
    found = {one.id for one in held.entries()}
    assert acknowledged and acknowledged <= found
    for one in held.entries():
        assert contents(held, one) == b"x" * 50_000


@pytest.mark.parametrize("damage", ["lost", "garbage", "emptied", "stale"])
def test_the_index_is_made_anew_from_the_maildir(gate: desk.Desk, damage: str) -> None:
    held = gate.quarantine()
    stored = [entry(subject=f"number {n}") for n in range(3)]
    for one in stored:
        held.store(one, MESSAGE)
    held.close()
    index = gate.root / "quarantine" / "index.sqlite"
    if damage == "stale":
        (gate.root / "quarantine" / "new" / stored.pop().id).unlink()
    else:
        for suffix in ("-wal", "-shm"):
            Path(f"{index}{suffix}").unlink(missing_ok=True)
        index.unlink()
        if damage != "lost":
            index.write_bytes(b"no database " * 500 if damage == "garbage" else b"")
    again = gate.quarantine()
    assert again.entries() == stored
    assert again.totals()[0] == len(stored)


def test_storing_needs_no_index(gate: desk.Desk) -> None:
    (gate.root / "quarantine" / "index.sqlite").write_bytes(b"no database " * 500)
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    assert gate.quarantine().entries() == [one]


def test_a_file_that_someone_put_there_is_listed(gate: desk.Desk) -> None:
    (gate.root / "quarantine" / "new" / "stranger").write_bytes(MESSAGE)
    held = gate.quarantine()
    (one,) = held.entries()
    assert one.id == "stranger" and contents(held, one) == MESSAGE


@pytest.mark.parametrize(
    "bound", [{"max_messages": 2}, {"max_bytes": 3 * 2000}, {"min_free_bytes": 10**18}], ids=lambda b: next(iter(b))
)
def test_the_bounds_hold(gate: desk.Desk, bound: dict[str, int]) -> None:
    gate.change(quarantine=bound)
    held = gate.quarantine()
    stored = 0
    with pytest.raises(QuarantineFull):
        for _ in range(5):
            held.store(entry(), bytes(1500))
            stored += 1
    assert stored == len(held_files(gate)) == (0 if "min_free_bytes" in bound else stored) < 4


def test_a_release_goes_to_the_original_recipients_once(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry("x\udcff@y", ("bob@example.org", "hidden@example.org"))
    held.store(one, MESSAGE)
    held.release(held.find(one.id), gate.config)
    ((message, envelope),) = gate.queued()
    assert message.endswith(MESSAGE) and message.startswith(b"Received: ")
    assert envelope == b"Fx\xff@y\0Tbob@example.org\0Thidden@example.org\0\0"
    assert held.find(one.id).state == "released"
    with pytest.raises(QuarantineError, match="released before"):
        held.release(held.find(one.id), gate.config)
    assert len(gate.queued()) == 1
    held.release(held.find(one.id), gate.config, again=True)
    assert len(gate.queued()) == 2


@pytest.mark.parametrize("code", [31, 53, 111])
def test_what_the_queue_refuses_is_still_held(gate: desk.Desk, code: int) -> None:
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    gate.queue_says(code)
    with pytest.raises(QuarantineError, match=f"still held.*said {code}"):
        held.release(held.find(one.id), gate.config)
    gate.queue_says(0)
    held.release(held.find(one.id), gate.config)
    assert len(gate.queued()) == 1


def test_a_message_that_is_being_released_is_not_deleted_meanwhile(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    with (gate.root / "quarantine/new" / one.id).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(QuarantineError, match="being released"):
            held.delete(held.find(one.id))
    held.delete(held.find(one.id))
    assert held.entries() == []


def test_a_queue_that_is_killed_or_missing_has_not_taken_it(gate: desk.Desk, tmp_path: Path) -> None:
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    for program, why in ((killed, "killed by signal 9"), (tmp_path / "missing", "cannot run")):
        with pytest.raises(QuarantineError, match=f"still held.*{why}"):
            held.release(held.find(one.id), gate.change(next_queue=[str(program)]))
    assert held.find(one.id).state == "held"


def test_a_release_that_is_killed_can_be_repeated_and_is_not_lost(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    gate.queue_says("kill parent")
    command = [sys.executable, "-m", "gatescan", "quarantine", "release", "--config", str(gate.path), one.id]
    environment = {**os.environ, "PYTHONPATH": str(rig.SCANNER_FILES)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert held.find(one.id).state == "releasing"
    assert [e.state for e in held.entries()] == ["releasing"]
    deadline = time.monotonic() + rig.PATIENCE
    while not gate.queued() and time.monotonic() < deadline:  # the orphaned queue program finishes by itself
        time.sleep(0.01)
    gate.queue_says(0)
    held.release(held.find(one.id), gate.config)
    assert len(gate.queued()) == 2
    assert held.find(one.id).state == "released"


def test_two_releases_at_once_send_one_copy(gate: desk.Desk) -> None:
    one = entry()
    gate.quarantine().store(one, MESSAGE)
    found = gate.quarantine().find(one.id)
    failures: list[QuarantineError] = []

    def release() -> None:
        try:
            gate.quarantine().release(found, gate.config)
        except QuarantineError as error:
            failures.append(error)

    threads = [threading.Thread(target=release) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gate.queued()) == 1 and len(failures) == 3
    assert gate.quarantine().find(one.id).state == "released"


def test_a_release_that_goes_on_elsewhere_is_not_repeated(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    folder = gate.root / "quarantine"
    begun = (folder / "new" / one.id).rename(folder / "cur" / f"{one.id}:2,F")
    with open(begun, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(QuarantineError, match="by someone else"):
            held.release(held.find(one.id), gate.config)
    assert not gate.queued()
    held.release(held.find(one.id), gate.config)
    assert len(gate.queued()) == 1


def test_the_scanner_is_not_asked_about_a_release(gate: desk.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    script = gate.root / "shows-environment"
    script.write_text(f'#!/bin/sh\necho "[$QMAILQUEUE]" > {gate.root}/environment\ncat > /dev/null\n')
    script.chmod(0o755)
    monkeypatch.setenv("QMAILQUEUE", "/the/scanner")
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    held.release(held.find(one.id), gate.change(next_queue=[str(script)]))
    assert (gate.root / "environment").read_text() == "[]\n"


def test_a_message_without_recipients_is_not_released(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry(recipients=())
    held.store(one, MESSAGE)
    with pytest.raises(QuarantineError, match="no recipient"):
        held.release(held.find(one.id), gate.config)
    assert held.find(one.id).state == "held"


def test_a_message_that_is_being_released_is_not_said_to_have_expired(gate: desk.Desk) -> None:
    gate.change(quarantine={"expire_days": 30})
    held = gate.quarantine()
    old = entry(time=time.time() - 31 * 86_400)
    held.store(old, MESSAGE)
    with (gate.root / "quarantine/new" / old.id).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert held.expire(time.time()) == []
    assert [one.id for one in held.expire(time.time())] == [old.id]


def test_old_messages_expire_and_young_ones_stay(gate: desk.Desk) -> None:
    gate.change(quarantine={"expire_days": 30, "expire_released_days": 7})
    held = gate.quarantine()
    now = time.time()
    day = 86_400
    old, young, sent = entry(time=now - 31 * day), entry(time=now - 29 * day), entry(time=now - 8 * day)
    for one in (old, young, sent):
        held.store(one, MESSAGE)
    held.release(held.find(sent.id), gate.config)
    rest = gate.root / "quarantine" / "tmp" / "rest"
    rest.write_bytes(b"half")
    os.utime(rest, (now - 2 * day, now - 2 * day))
    assert {one.id for one in held.expire(now)} == {old.id, sent.id}
    assert held_files(gate) == [young.id]
    assert [one.id for one in held.entries()] == [young.id]


def test_a_deleted_message_is_gone(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    held.delete(held.find(one.id))
    assert held.entries() == [] and held_files(gate) == [] and held.totals() == (0, 0)


def test_an_envelope_is_what_qmail_queue_reads() -> None:
    assert nextqueue.envelope("", ["a@b", "c\udce9@d"]) == b"F\0Ta@b\0Tc\xe9@d\0\0"


def test_the_same_message_is_kept_once_and_counted(gate: desk.Desk) -> None:
    """However often it is sent: qmail-smtpd's line with the date in front of it makes no difference."""
    held = gate.quarantine()
    first = entry("ann@example.net")
    assert held.store(first, b"Received: by x; 1 Nov\n" + MESSAGE) == first.id
    for day in range(2, 9):
        assert held.store(entry("ann@example.net"), b"Received: by x; %d Nov\n" % day + MESSAGE) == first.id
    other = entry("ann@example.net", ("carol@example.org",))
    assert held.store(other, MESSAGE) == other.id, "other recipients are to have it, too"
    assert [(one.id, one.copies) for one in held.entries()] == [(first.id, 8), (other.id, 1)]
    assert held.find(first.id).copies == 8
    held.delete(held.find(first.id))
    again = entry("ann@example.net")
    assert held.store(again, MESSAGE) == again.id, "what is gone is not what is held"


def fill(held: Quarantine, most: int, **fields: Any) -> int:
    """Hold different messages until it is refused; how many were held."""
    for number in range(most):
        try:
            held.store(entry(**fields), MESSAGE)
        except QuarantineFull:
            return number
    return most


@pytest.mark.parametrize(
    ("fields", "other"),
    [
        ({"remote_ip": "192.0.2.1", "code": "macro"}, {"remote_ip": "192.0.2.2", "code": "executable"}),
        ({"remote_ip": "2001:db8::1", "rule": "rules.txt:1"}, {"remote_ip": "2001:db8:1::1", "rule": "rules.txt:2"}),
        ({"code": "macro"}, {"remote_ip": "192.0.2.2", "code": "executable"}),
    ],
    ids=["one address", "one network", "local"],
)
def test_one_source_cannot_fill_it_for_others(gate: desk.Desk, fields: dict[str, Any], other: dict[str, Any]) -> None:
    held = Quarantine(gate.change(quarantine={"max_messages": 300}).quarantine)
    assert fill(held, 60, **fields) == 30
    held.store(entry(**other), MESSAGE)
    assert fill(held, 60, **{**fields, "remote_ip": "2001:db8::2"} if "rule" in fields else fields) == 0


def test_one_rule_cannot_fill_it_for_others(gate: desk.Desk) -> None:
    """An outbreak from everywhere leaves room for what is found beside it."""
    held = Quarantine(gate.change(quarantine={"max_messages": 80}).quarantine)
    kept = sum(fill(held, 1, remote_ip=f"192.0.2.{number}", rule="rules.txt:7") for number in range(60))
    assert kept == 40
    held.store(entry(remote_ip="192.0.2.99", rule="rules.txt:8"), MESSAGE)


def test_an_index_of_an_earlier_version_is_made_anew(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry(remote_ip="192.0.2.1")
    held.store(one, MESSAGE)
    held.close()
    index = sqlite3.connect(gate.root / "quarantine/index.sqlite")
    index.executescript(
        "DROP TABLE held; PRAGMA user_version = 0;"
        "CREATE TABLE held (id TEXT PRIMARY KEY, time REAL, state TEXT, bytes INTEGER, entry TEXT);"
    )
    index.close()
    assert gate.quarantine().totals()[0] == 1
    assert gate.quarantine().entries() == [one]


FIRST_RELEASE = {"id", "time", "sender", "recipients", "from_", "subject", "message_id", "verdict", "code", "reason"}
FIRST_RELEASE |= {"rule", "size", "direction", "remote_ip"}
"""What release 1.0.0 reads of a held message; at any other field it knows neither sender nor recipients."""


def test_release_1_0_0_can_read_what_is_held(gate: desk.Desk) -> None:
    held = gate.quarantine()
    held.store(entry(), MESSAGE)
    (path,) = (gate.root / "quarantine/new").iterdir()
    first = path.read_bytes().splitlines()[0].partition(b": ")[2]
    (row,) = sqlite3.connect(gate.root / "quarantine/index.sqlite").execute("SELECT entry FROM held").fetchone()
    assert set(json.loads(first)) == set(json.loads(row)) == FIRST_RELEASE


def test_what_a_later_release_wrote_of_a_held_message_does_not_hide_whose_it_is(gate: desk.Desk) -> None:
    held = gate.quarantine()
    one = entry()
    held.store(one, MESSAGE)
    held.close()
    (path,) = (gate.root / "quarantine/new").iterdir()
    path.write_bytes(path.read_bytes().replace(b'{"id"', b'{"of_later":[1],"id"', 1))
    (gate.root / "quarantine/index.sqlite").unlink()
    assert gate.quarantine().find(one.id) == one
    assert gate.quarantine().entries() == [one]
