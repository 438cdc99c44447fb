"""Release by mail: who replies to a notice gets the message, once; nobody else gets anything by it."""

from __future__ import annotations

import email
import email.policy
import fcntl
import io
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.message import EmailMessage
from pathlib import Path
from typing import IO, Any, NoReturn

import desk
import pytest
import rig
from gatescan import config
from gatescan.context import Context
from gatescan.outcome import answers, asked, digest, handle, journal, nextqueue, notify, quarantine, tokens

KEY = b"0123456789abcdef0123456789abcdef"
BOB, CAROL = "bob@example.org", "carol@example.org"
OFFICE: dict[str, Any] = {"remote_ip": "192.0.2.70", "relayclient": True}
STRANGER: dict[str, Any] = {"remote_ip": "203.0.113.9", "relayclient": False}
DMARC = "- spf=pass smtp.mailfrom=example.org; dmarc=pass header.from=example.org policy.dmarc=reject"
NO_DMARC = "- spf=pass smtp.mailfrom=example.org; dmarc=none header.from=example.org"


@dataclass
class Gateway:
    """A gateway at which recipients may release by mail."""

    host: desk.Desk
    name: str

    def hold(self, message: bytes = desk.EXE, recipients: tuple[str, ...] = (BOB,)) -> quarantine.Entry:
        """A message is held; who is to hear of it, hears."""
        self.take(message, Context("ann@example.net", recipients, "203.0.113.1", env={"GATEKEEPER_AUTH": NO_DMARC}))
        notify.run(self.host.config, key=KEY)
        return self.host.quarantine().entries()[-1]

    def take(self, message: bytes, context: Context) -> handle.Outcome:
        """A message comes in."""
        services = self.host.services()
        outcome = handle.handle(services, message, context, desk.Ids())
        services.close()
        return outcome

    def notices(self) -> dict[str, EmailMessage]:
        """The notices that left, by their recipient."""
        mails = [message for message, envelope in self.host.queued() if envelope.startswith(b"F\0")]
        parsed = [email.message_from_bytes(mail, policy=email.policy.default) for mail in mails]
        return {str(mail["To"]): mail for mail in parsed}

    def reply_to(self, recipient: str = BOB) -> str:
        """Where a reply to the notice of a recipient goes."""
        return str(self.notices()[recipient]["Reply-To"].addresses[0].addr_spec)

    def reply(
        self,
        to: str,
        author: str = BOB,
        more: str = "",
        sender: str | None = None,
        text: str = "yes",
        **connection: Any,
    ) -> handle.Outcome:
        """Somebody writes to an address; what was asked for is answered."""
        message = f"From: {author}\nTo: {to}\nSubject: Re: held\n{more}\n{text}\n".encode()
        told = {"env": {"GATEKEEPER_AUTH": NO_DMARC}, **OFFICE, **connection}
        outcome = self.take(message, Context(author if sender is None else sender, (to,), **told))
        self.answer()
        return outcome

    def answer(self, key: bytes = KEY) -> int:
        """Answer what waits."""
        return answers.Answers(self.host.config, key).run(_never)

    def copies(self) -> list[tuple[bytes, bytes]]:
        """Each message that was released, and its envelope."""
        return [(message, envelope) for message, envelope in self.host.queued() if envelope[1:2] != b"\0"]

    def released(self) -> list[bytes]:
        """The recipients of each message that was released."""
        return [envelope.split(b"\0T", 1)[1][:-2] for _, envelope in self.copies()]


def _never(seconds: float) -> None:
    pytest.fail(f"it waits {seconds} seconds for the queue")


def gateway(root: Path, name: str, other: str, **release: Any) -> Gateway:
    made = desk.make(root)
    allowed = {"enabled": True, "gateways": [name, other], **release}
    made.change(hostname=name, authentication=True, release=allowed, notices={"digest_minutes": 0})
    return Gateway(made, name)


@pytest.fixture
def one(tmp_path: Path) -> Gateway:
    return gateway(tmp_path / "one", "gw1.example.org", "gw2.example.org")


@pytest.fixture
def two(tmp_path: Path) -> Gateway:
    return gateway(tmp_path / "two", "gw2.example.org", "gw1.example.org")


def test_a_reply_releases_the_message_to_who_wrote_it_once(one: Gateway) -> None:
    held = one.hold()
    address = one.reply_to()
    assert len(address.partition("@")[0]) <= 64
    for _ in range(3):
        outcome = one.reply(address)
        assert (outcome.code, outcome.headers_to_add) == (0, b""), "the reply itself goes to nobody"
    assert one.released() == [BOB.encode()]
    assert one.copies()[0][0].endswith(desk.EXE)
    assert one.host.quarantine().find(held.id).state == "released"
    line = one.host.journal()[-1 - 2]
    assert (line["event"], line["held"], line["by"], line["to"]) == ("release", held.id, f"{BOB} by mail", [BOB])


def test_servers_on_the_way_may_change_the_case(one: Gateway) -> None:
    one.hold()
    one.reply(one.reply_to().upper(), author="Bob@Example.ORG")
    assert one.released() == [BOB.encode()]


def test_a_reply_from_outside_counts_if_it_passed_dmarc(one: Gateway) -> None:
    one.hold()
    one.reply(one.reply_to(), author=f"Bob <{BOB}>", **STRANGER, env={"GATEKEEPER_AUTH": DMARC})
    assert one.released() == [BOB.encode()]


@pytest.mark.parametrize(
    ("author", "told"),
    [
        pytest.param(BOB, NO_DMARC, id="no DMARC"),
        pytest.param(BOB, "reject spf=fail smtp.mailfrom=example.org; dmarc=fail header.from=example.org", id="fails"),
        pytest.param(BOB, DMARC.replace("header.from=example.org", "header.from=evil.test"), id="of another domain"),
        pytest.param(BOB, "", id="nobody was asked"),
        pytest.param(f'"{BOB}" <eve@example.org>', DMARC, id="only the name is his"),
        pytest.param(f"{BOB}, eve@example.org", DMARC, id="two authors"),
        pytest.param("=?utf-8?q?bob=40example.org?= <eve@example.org>", DMARC, id="an encoded name"),
    ],
)
def test_a_forged_author_gets_nothing(one: Gateway, author: str, told: str) -> None:
    one.hold()
    forged = "Authentication-Results: gw1.example.org; dmarc=pass header.from=example.org\n"
    one.reply(one.reply_to(), author, forged, sender=BOB, **STRANGER, env={"GATEKEEPER_AUTH": told})
    assert one.released() == []


def test_two_fields_from_are_nobodys(one: Gateway) -> None:
    one.hold()
    one.reply(one.reply_to(), more="From: eve@example.org\n")
    assert one.released() == []


def test_another_recipient_gets_nothing_by_it(one: Gateway) -> None:
    one.hold(recipients=(BOB, CAROL))
    one.reply(one.reply_to(BOB), author=CAROL)
    assert one.released() == []
    one.reply(one.reply_to(CAROL), author=CAROL)
    assert one.released() == [CAROL.encode()]
    one.reply(one.reply_to(BOB))
    assert one.released() == [CAROL.encode(), BOB.encode()]


ROBOTS = (
    "Auto-Submitted: auto-replied\n",
    "Auto-Submitted: auto-generated\n",
    "Auto-Submitted:\n auto-notified; owner-email=x@example.org\n",
    "Auto-Submitted: no\nAuto-Submitted: auto-replied\n",
    "Precedence: bulk\n",
    "Precedence: list\n",
    "Precedence: first-class\nPrecedence: junk\n",
    "List-Id: <all.example.org>\n",
    "List-Unsubscribe: <https://example.org>\n",
    "X-Autoreply: yes\n",
    "X-Auto-Response-Suppress: All\n",
    "X-Gatescan-Notice: 1\n",
    "Return-Path: <>\n",
)


@pytest.mark.parametrize(("more", "sender"), [*((fields, None) for fields in ROBOTS), ("", "")])
def test_robots_get_nothing(one: Gateway, more: str, sender: str | None) -> None:
    one.hold()
    address = one.reply_to()
    one.reply(address, more=more, sender=sender)
    assert one.released() == []
    one.reply(address)
    assert one.released() == [BOB.encode()], "the token is still good for a person"


@pytest.mark.parametrize(
    "more", [*ROBOTS, pytest.param("Auto-Submitted: No ; x=y\nPrecedence: normal\n", id="a person")]
)
def test_a_robot_is_known_even_if_the_scanner_could_not_look_at_its_mail(one: Gateway, more: str) -> None:
    one.hold()
    message = f"From: {BOB}\n{more}\nyes\n".encode()
    handler = handle.Handler(one.host.config)
    handler.doomed(message, Context(BOB, (one.reply_to(),), **OFFICE), desk.Ids(), "it killed two workers")
    one.answer()
    assert one.released() == ([] if more in ROBOTS else [BOB.encode()])


def test_a_token_that_was_tampered_with_is_none(one: Gateway) -> None:
    one.hold()
    address = one.reply_to()
    place = address.index("@") - 2
    other = "a" if address[place] != "a" else "b"
    for wrong in (address[:place] + other + address[place + 1 :], address[: place + 1] + address[place + 2 :]):
        one.reply(wrong)
    assert one.answer(b"another key, which is long enough") == 0
    assert one.released() == []


def test_a_token_is_for_one_message(one: Gateway) -> None:
    first = tokens.read((one.hold(), one.reply_to())[1])
    second = one.hold(desk.attached("other.exe", b"other"))
    assert first is not None and second.id != first.held
    one.reply(replace(first, held=second.id).address)
    assert one.released() == []


def test_a_late_reply_gets_nothing(one: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    one.hold()
    address, now = one.reply_to(), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7 * 86_400 + 1)
    one.reply(address)
    assert one.released() == []
    monkeypatch.setattr(time, "time", lambda: now + 7 * 86_400 - 60)
    one.reply(address)
    assert one.released() == [BOB.encode()]


def test_a_virus_is_never_released_by_mail(one: Gateway) -> None:
    with pytest.raises(config.ConfigError, match=r"release\.verdicts: infected"):
        one.host.change(release={"verdicts": ["policy", "infected"]})
    one.host.change(release={"verdicts": ["policy"]})
    held = one.hold(desk.plain("Pickles for Breakfast"))
    assert held.verdict == "infected"
    one.reply(tokens.mint(KEY, "recipient", one.name, held.id, BOB).address)
    assert one.released() == []


def test_only_the_verdicts_of_the_inventory_are_released(one: Gateway) -> None:
    one.hold()
    address = one.reply_to()
    one.host.change(release={"verdicts": ["encrypted"]})
    one.reply(address)
    assert one.released() == []
    one.hold(desk.attached("other.exe", b"other"))
    assert all("Release:" not in mail.get_content() for mail in list(one.notices().values())[-1:])


def test_the_administrator_and_those_elsewhere_get_no_token(one: Gateway) -> None:
    one.hold(recipients=(BOB, "ann@elsewhere.example"))
    assert set(one.notices()) == {"admin@example.org", BOB}
    assert "held-mail-" not in one.notices()["admin@example.org"].as_string()


def test_a_notice_of_several_messages_names_an_address_for_each(one: Gateway) -> None:
    services = one.host.services()
    for number in range(3):
        message = desk.attached(f"{number}.exe", str(number).encode())
        handle.handle(services, message, Context("ann@example.net", (BOB,), **OFFICE), desk.Ids())
    services.close()
    notify.run(one.host.config, key=KEY)
    notice = one.notices()[BOB]
    addresses = [line.split()[1] for line in notice.get_content().splitlines() if line.strip().startswith("Release:")]
    assert notice["Reply-To"] is None and len(set(addresses)) == 3
    one.reply(addresses[1])
    assert [b"1.exe" in mail for mail, _ in one.copies()] == [True]


def test_a_reply_through_another_gateway_reaches_the_one_that_holds_the_message(one: Gateway, two: Gateway) -> None:
    one.hold()
    for _ in range(2):
        assert two.reply(one.reply_to()).headers_to_add == b""
        assert two.released() == []
    words = [(message, envelope) for message, envelope in two.host.queued() if b"held-mail-" in envelope]
    assert len(words) == 2
    for message, envelope in words:  # it comes as a stranger's mail, and may fail DMARC
        to = envelope.split(b"\0")[1][1:].decode()
        told = {"GATEKEEPER_AUTH": "spoofed spf=fail smtp.mailfrom=example.org; dmarc=fail header.from=example.org"}
        assert one.take(message, Context("", (to,), **STRANGER, env=told)).code == 0
        one.answer()
    assert one.released() == [BOB.encode()]
    assert two.host.quarantine().entries() == [] and len(one.host.quarantine().entries()) == 1


def test_the_other_gateway_believes_no_stranger_either(one: Gateway, two: Gateway) -> None:
    one.hold()
    two.reply(one.reply_to(), **STRANGER)
    two.reply(one.reply_to(), author=CAROL)
    assert [envelope for _, envelope in two.host.queued() if b"held-mail-" in envelope] == []


def test_nobody_else_can_vouch(one: Gateway) -> None:
    one.hold()
    one.reply(one.reply_to(), "eve@evil.test", f"X-Gatescan-Release-To: {BOB}\n", **STRANGER)
    assert one.released() == []


def test_a_reply_with_a_copy_to_a_colleague_is_delivered_to_him(one: Gateway) -> None:
    one.hold()
    address = one.reply_to()
    message = f"From: {BOB}\nTo: {address}\nCc: {CAROL}\n\nyes\n".encode()
    assert b"gatescan" in one.take(message, Context(BOB, (address, CAROL), **OFFICE)).headers_to_add
    one.answer()
    assert one.released() == [BOB.encode()]


def test_one_recipient_does_not_empty_the_quarantine_in_an_hour(one: Gateway) -> None:
    one.host.change(release={"hourly": 2})
    held = [one.hold(desk.attached(f"{number}.exe", str(number).encode())) for number in range(3)]
    for entry in held:
        one.reply(tokens.mint(KEY, "recipient", one.name, entry.id, BOB).address)
    assert one.released() == [BOB.encode()] * 2
    year = time.time() + 365 * 86_400
    for path in (one.host.root / "quarantine/given").iterdir():
        os.utime(path, (year, year))  # the clock is set back: these are of no hour that was
    entry = one.hold(desk.attached("later.exe", b"later"))
    one.reply(tokens.mint(KEY, "recipient", one.name, entry.id, BOB).address)
    assert one.released() == [BOB.encode()] * 3


@pytest.mark.parametrize("disk_fails", [False, True])
def test_what_cannot_be_released_now_is_tried_again(one: Gateway, disk_fails: bool) -> None:
    held = one.hold()
    address = one.reply_to()
    given = one.host.root / "quarantine/given"
    if disk_fails:
        given.write_text("no directory")
    else:
        one.host.queue_says(53)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert one.host.quarantine().find(held.id).state == "held"
        if disk_fails:
            given.unlink()
        one.host.queue_says(0)

    one.take(f"From: {BOB}\n\n".encode(), Context(BOB, (address,), **OFFICE))
    assert answers.Answers(one.host.config, KEY).run(sleep) == 1
    assert slept and one.released() == [BOB.encode()]


class FullOnClosing(io.FileIO):
    """A file on a disk that is full, which is noticed when what is buffered is written."""

    def write(self, data: Any) -> int:
        raise OSError(28, "No space left on device")


def _no_room(*_: object) -> NoReturn:
    raise OSError(28, "No space left on device")


def _full_file() -> IO[bytes]:
    return io.BufferedRandom(FullOnClosing(os.memfd_create("full"), "r+"))


@pytest.mark.parametrize("temporary_file", [_no_room, _full_file])
def test_a_full_temporary_directory_costs_nobody_his_copy(
    one: Gateway, temporary_file: Callable[[], IO[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = one.hold()
    address = one.reply_to()
    with monkeypatch.context() as full:
        full.setattr(tempfile, "TemporaryFile", temporary_file)
        with pytest.raises(nextqueue.QueueError, match="No space left"):
            one.host.quarantine().give(held, BOB, one.host.config)
        with pytest.raises(quarantine.QuarantineError, match=r"still held.*No space left"):
            one.host.quarantine().release(held, one.host.config)
    assert one.host.quarantine().find(held.id).state == "held"
    one.reply(address)
    assert one.released() == [BOB.encode()]


@pytest.mark.parametrize("at", [0, 1, 2], ids=["the record", "its directory", "the quarantine"])
def test_a_record_that_may_not_be_on_the_disk_is_taken_back(
    one: Gateway, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = one.hold()
    address = one.reply_to()
    calls = itertools.count()

    def fails(_: int) -> None:
        if next(calls) == at:
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="Input/output"):
            one.host.quarantine().give(held, BOB, one.host.config)
    one.reply(address)
    assert one.released() == [BOB.encode()]


@pytest.mark.parametrize(
    ("where", "name"),
    [
        pytest.param(Path, "read_bytes", id="before it reads the request"),
        pytest.param(answers.Answers, "_is_done", id="before it answers"),
        pytest.param(quarantine.Quarantine, "find", id="before it gives the message"),
        pytest.param(journal.Journal, "event", id="after it gave it"),
    ],
)
def test_two_that_answer_at_once_give_one_copy_and_both_end_well(
    one: Gateway, where: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.hold()
    one.take(f"From: {BOB}\n\n".encode(), Context(BOB, (one.reply_to(),), **OFFICE))
    real = getattr(where, name)
    counts: list[int] = []

    def second_comes_between(*arguments: Any, **named: Any) -> Any:
        monkeypatch.setattr(where, name, real)
        counts.append(one.answer())
        return real(*arguments, **named)

    monkeypatch.setattr(where, name, second_comes_between)
    counts.append(one.answer())
    assert sum(counts) == 1 and one.released() == [BOB.encode()]
    assert list((one.host.root / "spool/asked").iterdir()) == []


def test_a_reply_that_comes_while_a_release_fails_is_not_lost(one: Gateway) -> None:
    held = one.hold()
    one.take(f"From: {BOB}\n\n".encode(), Context(BOB, (one.reply_to(),), **OFFICE))
    with one.host.quarantine().open(held) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        slept: list[float] = []

        def gives_up(seconds: float) -> None:
            slept.append(seconds)
            fcntl.flock(file, fcntl.LOCK_UN)

        assert answers.Answers(one.host.config, KEY).run(gives_up) == 1
    assert slept and one.released() == [BOB.encode()]


def _killed(one: Gateway, where: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer in a process that ends at once where it calls a function."""
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(where, name, lambda *_, **__: os._exit(9))
        answers.Answers(one.host.config, KEY).run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


@pytest.mark.parametrize(
    ("where", "name", "copies"),
    [
        pytest.param(quarantine.Quarantine, "_record", 1, id="before it is written down"),
        pytest.param(nextqueue, "submit", 0, id="before the queue has it"),
        pytest.param(journal.Journal, "event", 1, id="after the queue has it"),
    ],
)
def test_killed_at_any_moment_it_gives_nobody_two(
    one: Gateway, where: Any, name: str, copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = one.hold()
    address = one.reply_to()
    one.take(f"From: {BOB}\n\n".encode(), Context(BOB, (address,), **OFFICE))
    _killed(one, where, name, monkeypatch)
    one.answer()
    one.reply(address)
    assert one.released() == [BOB.encode()] * copies
    state = one.host.quarantine().find(held.id).state
    assert state == ("released" if copies else "held"), "what nobody got, the administrator can still release"


def test_killed_by_the_queue_program_itself_it_gives_one(one: Gateway) -> None:
    one.hold()
    address = one.reply_to()
    one.take(f"From: {BOB}\n\n".encode(), Context(BOB, (address,), **OFFICE))
    pid = os.fork()
    if pid == 0:
        one.host.queue_says("kill parent")
        answers.Answers(one.host.config, KEY).run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    one.host.queue_says(0)
    one.answer()
    one.reply(address)
    assert one.released() == [BOB.encode()]


def test_a_release_by_the_administrator_goes_to_the_others_and_leaves_nothing_to_ask_for(one: Gateway) -> None:
    held = one.hold(recipients=(BOB, CAROL))
    one.reply(one.reply_to(BOB))
    one.host.quarantine().release(one.host.quarantine().find(held.id), one.host.config)
    one.reply(one.reply_to(CAROL), author=CAROL)
    assert one.released() == [BOB.encode(), CAROL.encode()]


def test_what_is_deleted_leaves_no_record(one: Gateway) -> None:
    held = one.hold(recipients=(BOB, CAROL))
    one.reply(one.reply_to(BOB))
    assert len(list((one.host.root / "quarantine/given").iterdir())) == 1
    one.host.quarantine().delete(one.host.quarantine().find(held.id))
    assert list((one.host.root / "quarantine/given").iterdir()) == []


def _like(address: str, number: int) -> str:
    """An address that looks like a token."""
    return address[: len("held-mail-")] + f"20261122160512{number:08x}" + address[address.rindex("-") :]


def test_a_mail_that_asks_for_a_hundred_makes_few_requests_and_goes_to_nobody(
    one: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.hold()
    address, synced = one.reply_to(), itertools.count()
    listed = [address, *(_like(address, number) for number in range(99))]
    with monkeypatch.context() as counted:
        counted.setattr(os, "fsync", lambda _: next(synced))
        outcome = one.take(f"From: {BOB}\n\n".encode(), Context(BOB, tuple(listed), **OFFICE))
    assert (outcome.code, outcome.headers_to_add) == (0, b"")
    assert len(list((one.host.root / "spool/asked").glob("*.json"))) == 20 and next(synced) < 25
    assert one.answer() == 1 and one.released() == [BOB.encode()]


def test_an_address_that_stands_there_often_is_asked_for_once(one: Gateway) -> None:
    one.hold()
    address = one.reply_to()
    outcome = one.take(f"From: {BOB}\n\n".encode(), Context(BOB, (address, address.upper(), address), **OFFICE))
    assert (outcome.code, outcome.headers_to_add) == (0, b""), "the reply itself goes to nobody"
    assert len(list((one.host.root / "spool/asked").glob("*.json"))) == 1
    assert one.answer() == 1


def test_a_colleague_has_the_reply_that_asks_for_many(one: Gateway) -> None:
    one.hold()
    address = one.reply_to()
    listed = (address, address.upper(), *(_like(address, number) for number in range(30)), CAROL)
    assert b"gatescan" in one.take(f"From: {BOB}\n\n".encode(), Context(BOB, listed, **OFFICE)).headers_to_add
    assert one.answer() == 1 and one.released() == [BOB.encode()]


def test_a_reply_is_kept_wholly_or_not_at_all(one: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    one.hold()
    address = one.reply_to()
    monkeypatch.setattr(asked, "WAITING", 2)
    listed = (address, _like(address, 1), _like(address, 2))
    assert one.take(f"From: {BOB}\n\n".encode(), Context(BOB, listed, **OFFICE)).code == 71
    assert list((one.host.root / "spool/asked").iterdir()) == []


def test_a_full_desk_makes_the_sender_try_again(one: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    one.hold()
    monkeypatch.setattr(asked, "WAITING", 0)
    assert one.reply(one.reply_to()).code == 71


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_request_that_cannot_be_written_leaves_nothing_and_the_next_one_has_room(
    one: Gateway, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.hold()
    address = one.reply_to()
    monkeypatch.setattr(asked, "WAITING", 1)
    with monkeypatch.context() as broken:
        broken.setattr(os, call, _no_room)
        assert one.reply(address).code == 71
    assert list((one.host.root / "spool/asked").iterdir()) == []
    one.reply(address)
    assert one.released() == [BOB.encode()]


def test_what_a_killed_worker_left_takes_no_room_and_is_removed(one: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    one.hold()
    address, place = one.reply_to(), one.host.root / "spool/asked"
    old, young = place / "1.0-1-aaaa.new", place / f"{time.time():.6f}-1-bbbb.new"
    for half in (old, young):
        half.write_text("{")
    os.utime(old, (time.time() - asked.HALF_WRITTEN - 1,) * 2)
    monkeypatch.setattr(asked, "WAITING", 1)
    assert one.reply(address).code == 0
    assert one.released() == [BOB.encode()]
    assert list(place.iterdir()) == [young]


def test_switched_off_it_is_mail_like_any_other(one: Gateway) -> None:
    one.hold()
    address = one.reply_to()
    one.host.change(release={"enabled": False})
    assert one.reply(address).headers_to_add != b""
    assert one.released() == []


def test_a_short_key_is_refused() -> None:
    with pytest.raises(tokens.KeyProblem, match="31 bytes; 32 are needed"):
        tokens.key_of(b"x" * 31 + b"\n")


@pytest.mark.parametrize(
    "address", ["held-mail-20269922160512abcdef01-" + "a" * 26 + "@gw1.example.org", "held-mail-@x"]
)
def test_what_only_looks_like_a_token_is_none(address: str) -> None:
    assert tokens.read(address) is None


# The digest


def test_a_digest_lists_what_is_still_held_once_a_day(one: Gateway) -> None:
    first = one.hold(recipients=(BOB, CAROL))
    one.hold(desk.attached("other.exe", b"other"))
    one.reply(one.reply_to(CAROL), author=CAROL)
    before, now = len(one.host.queued()), time.time()
    assert digest.run(one.host.config, now, KEY) == 1
    assert digest.run(one.host.config, now + 60, KEY) == 0
    mail, envelope = one.host.queued()[before:][0]
    assert envelope == b"F\0Tbob@example.org\0\0"
    text = email.message_from_bytes(mail, policy=email.policy.default).get_content()
    assert "2 messages" in text and first.id in text
    listed = [line.split()[1] for line in text.splitlines() if line.strip().startswith("Release:")]
    assert listed[0] == tokens.mint(KEY, "recipient", one.name, first.id, BOB).address
    one.reply(listed[0])
    assert one.released() == [CAROL.encode(), BOB.encode()]


def test_the_next_digest_has_what_came_since(one: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    one.hold()
    now = time.time() + digest.STORING
    assert digest.run(one.host.config, now) == 1
    assert digest.run(one.host.config, now + 86_400) == 0, "nothing new"
    monkeypatch.setattr(time, "time", lambda: now + 90_000)
    one.hold(desk.attached("other.exe", b"other"))
    assert digest.run(one.host.config, now + 2 * 86_400) == 1
    text = next(mail for mail in reversed(list(one.notices().values())) if mail["To"] == BOB).get_content()
    assert "1 message " in text and "Release:" not in text


@pytest.mark.parametrize(
    ("message", "context"),
    [
        pytest.param(desk.plain("Pickles for Breakfast"), Context("ann@example.net", (BOB,)), id="a virus"),
        pytest.param(desk.EXE, Context("", (BOB,)), id="a bounce"),
        pytest.param(desk.EXE, Context("ann@example.net", ("ann@elsewhere.example",)), id="nobody of ours"),
    ],
)
def test_nobody_has_a_digest_of_what_he_gets_no_notice_of(one: Gateway, message: bytes, context: Context) -> None:
    one.take(message, context)
    assert len(one.host.quarantine().entries()) == 1
    assert digest.run(one.host.config, time.time(), KEY) == 0


def test_a_digest_that_the_queue_refuses_is_sent_later(one: Gateway) -> None:
    one.hold()
    one.host.queue_says(53)
    with pytest.raises(nextqueue.QueueError):
        digest.run(one.host.config, time.time())
    one.host.queue_says(0)
    assert digest.run(one.host.config, time.time()) == 1


def _digest(one: Gateway, now: float) -> str:
    """The text of the one digest that leaves now."""
    before = one.host.queued()
    assert digest.run(one.host.config, now, KEY) == 1
    ((mail, _),) = [item for item in one.host.queued() if item not in before]
    return str(email.message_from_bytes(mail, policy=email.policy.default).get_content())


@pytest.mark.parametrize("days", [1.01, 3, 29])
def test_a_first_digest_has_all_that_is_still_held(one: Gateway, days: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with monkeypatch.context() as then:
        then.setattr(time, "time", lambda: now - days * 86_400)
        held = one.hold()
    text = _digest(one, now)
    assert held.id in text
    assert ("Release:" in text) == (days < 7), "a reply would come too late"


def test_a_message_that_was_being_stored_while_a_digest_left_is_in_the_next(
    one: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    one.hold()
    assert digest.run(one.host.config, now + 10) == 1
    late = one.hold(desk.attached("other.exe", b"other"))  # its time is before the digest's
    assert late.time < now + 10
    assert late.id in _digest(one, now + 86_400)


@pytest.mark.parametrize("expire_days", [30, 90])
def test_nothing_is_listed_again_when_its_digest_is_long_ago(one: Gateway, expire_days: int) -> None:
    one.host.change(quarantine={"expire_days": expire_days})
    one.hold()
    now = time.time() + digest.STORING
    assert digest.run(one.host.config, now) == 1
    assert digest.run(one.host.config, now + (expire_days - 1) * 86_400) == 0


# The commands


def _gatescan(one: Gateway, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "gatescan", *words, "--config", str(one.host.path)]
    environment = os.environ | {"PYTHONPATH": str(rig.SCANNER_FILES)}
    return subprocess.run(command, input=stdin, env=environment, capture_output=True, check=False)


def test_the_commands_take_the_key_from_descriptor_0(one: Gateway) -> None:
    one.take(desk.EXE, Context("ann@example.net", (BOB,), "203.0.113.1", env={"GATEKEEPER_AUTH": NO_DMARC}))
    assert _gatescan(one, "notify", "--key", "-", stdin=KEY + b"\n").returncode == 0
    one.take(f"From: {BOB}\n\n".encode(), Context(BOB, (one.reply_to(),), **OFFICE))
    short = _gatescan(one, "answers", "--key", "-", stdin=b"short\n")
    assert (short.returncode, one.released()) == (75, []) and b"32 are needed" in short.stderr
    assert _gatescan(one, "answers").returncode == 2
    done = _gatescan(one, "answers", "--key", "-", stdin=KEY + b"\n")
    assert (done.returncode, one.released()) == (0, [BOB.encode()]), done.stderr
    assert b"1 replies were answered" in done.stderr and f"released to {BOB}".encode() in done.stderr
    assert _gatescan(one, "digest", "--key", "-", stdin=KEY).returncode == 0
