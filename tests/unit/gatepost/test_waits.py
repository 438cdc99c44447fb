"""How long a server may take: for each answer as RFC 5321 (4.5.3.2) says, if control/timeoutremote allows that."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from gatepost import wire
from gatepost.config import Config
from gatepost.delivery import Deliverer
from gatepost.dial import dial
from gatepost.hosts import SILENT, Places
from gatepost.model import Account, Address, Failed, Level, Order, Security
from gatepost.session import Session
from gatepost.wire import Wire
from gatepost_rig import MESSAGE, PATIENCE
from server_rig import Server

REMOTE_SECONDS = 1200.0
SHORT = 0.3
LARGE = b"a line of a message that fills all buffers between two programs\n" * 250_000
HERE = Address("127.0.0.1", "ipv4")


def in_time(work: Awaitable[object]) -> object:
    """Do the work, well before anything but the shortened time can be over."""

    async def bounded() -> object:
        async with asyncio.timeout(PATIENCE):
            return await work

    return asyncio.run(bounded())


async def connect(port: int) -> Session:
    """A session that is not open yet."""
    link = await dial(
        [HERE], port, connect_seconds=PATIENCE, head_start=1, seconds=REMOTE_SECONDS, on_failure=lambda *_: None
    )
    assert link is not None
    return Session(link, b"gw.test", Security(Level.NEVER))


async def deliver(port: int, message: Path) -> bytes:
    """Deliver a message; returns the report."""
    session = await connect(port)
    try:
        await session.open(plain=False)
        with message.open("rb") as file:
            order = Order("corp.test", "ann@gw.test", ("bob@corp.test",), file.fileno())
            return await session.send(order, b"", len(MESSAGE), False, Account())
    except Failed as failed:
        return failed.text.encode()
    finally:
        session.wire.hang_up()


def end_time_with(monkeypatch: pytest.MonkeyPatch, reply: bytes, *, messages: int) -> None:
    """Have the time for this reply end in the turn of the loop in which it comes, behind so many messages."""
    hear = Wire.data_received

    def hear_late(link: Wire, data: bytes) -> None:
        hear(link, data)
        if data.startswith(reply) and link.messages == messages:
            link.hang_up()

    monkeypatch.setattr(Wire, "data_received", hear_late)


@pytest.mark.parametrize("step", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "message", "."])
def test_a_server_that_stalls_is_left_when_the_time_of_that_step_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    if step == "message":
        monkeypatch.setattr(wire, "BLOCK", SHORT)
    elif step.encode() in wire.UNUSUAL:
        monkeypatch.setitem(wire.UNUSUAL, step.encode(), SHORT)
    else:
        monkeypatch.setattr(wire, "USUAL", SHORT)
    server = Server(None)
    server.stalls.add(step)
    (tmp_path / "message").write_bytes(LARGE if step == "message" else MESSAGE)
    report = in_time(deliver(server.port, tmp_path / "message"))
    assert isinstance(report, bytes) and b"connection died" in report
    server.close()


@pytest.mark.parametrize("level", ["never", "required"])
def test_a_reply_to_the_dot_that_comes_as_its_time_ends_is_the_messages_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, level: str
) -> None:
    control = tmp_path / "control"
    control.mkdir()
    (control / "me").write_text("gw.test\n")
    (control / "smtproutes").write_text(f"corp.test:[127.0.0.1]:{server.port}\n")
    (control / "tlsroutes").write_text(f"corp.test:{level}\n")
    (tmp_path / "message").write_bytes(MESSAGE)

    async def deliver_two() -> list[bytes]:
        deliverer = Deliverer(Config(home=tmp_path, takes_loopback=True, reuse_seconds=PATIENCE))
        with (tmp_path / "message").open("rb") as file:
            order = Order("corp.test", "ann@gw.test", ("bob@corp.test",), file.fileno())
            return [await deliverer.deliver(order, Account()) for _ in range(2)]

    end_time_with(monkeypatch, b"250 taken", messages=1)
    reports = in_time(deliver_two())
    assert isinstance(reports, list) and all(told.startswith(b"r\0K") for told in reports), reports
    assert all((b"By TLSv1.3" in told) is (level == "required") for told in reports), reports
    assert len(server.messages) == 2


def test_a_reply_to_starttls_that_comes_as_its_time_ends_is_a_failure_of_tls(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    async def open_session() -> None:
        session = await connect(server.port)
        session.security = Security(Level.REQUIRED, names=("mx.test",))
        with pytest.raises(Failed, match="TLS is required for this domain, and the connection died"):
            await session.open(plain=False)

    end_time_with(monkeypatch, b"220 go ahead", messages=0)
    in_time(open_session())


@pytest.mark.parametrize("is_leaving", [False, True])
def test_a_kept_connection_makes_no_server_silent(is_leaving: bool) -> None:
    server = Server(None)

    async def visit() -> None:
        session = await connect(server.port)
        await session.open(plain=False)
        session.wire.asked_at -= 2 * PATIENCE  # its last message was taken after a while, and another while ago
        async with places.place("a"), places.listening("a", session), places.place("a"):
            assert (await session.wire.ask(b"NOOP")).code == 250
        session.wire.hang_up()

    places = Places(Config(listening_per_host=1, patience_per_host=PATIENCE))
    if is_leaving:
        places.leave()
    in_time(visit())
    server.close()


def test_a_server_that_answers_while_gatepost_stands_still_is_not_silent() -> None:
    server = Server(None)

    def stand_still(link: Wire) -> None:
        """Until the answer is there, and the time for it is over, too."""
        select.select([link.transport.get_extra_info("socket")], [], [], PATIENCE)
        time.sleep(2 * SHORT)

    async def visit() -> None:
        session = await connect(server.port)
        await session.open(plain=False)
        async with places.place("a"), places.listening("a", session):
            session.wire.put(b"NOOP\r\n")
            stand_still(session.wire)
            assert (await session.wire.hear()).code == 250
            assert (await session.wire.ask(b"NOOP")).code == 250
        session.wire.hang_up()

    places = Places(Config(listening_per_host=0, patience_per_host=SHORT))
    in_time(visit())
    server.close()


def test_who_is_dismissed_from_a_silent_server_tries_the_next_one_whatever_it_was_doing() -> None:
    server = Server(None)
    server.stalls.add("greeting")

    async def upload(session: Session) -> None:
        while True:
            await session.wire.flush()

    async def listen(act: Callable[[Session], Awaitable[object]]) -> tuple[str, bool]:
        session = await connect(server.port)
        try:
            async with places.place("a"), places.listening("a", session):
                await act(session)
        except Failed as failed:
            return failed.text, failed.is_final
        raise AssertionError("not dismissed")

    async def visit() -> list[tuple[str, bool]]:
        return list(await asyncio.gather(listen(upload), listen(lambda session: session.open(plain=False))))

    places = Places(Config(listening_per_host=0, patience_per_host=SHORT))
    assert in_time(visit()) == [(SILENT, False)] * 2
    server.close()


def test_a_server_that_has_finished_with_somebody_is_silent_no_more() -> None:
    server = Server(None)
    server.stalls.add("greeting")

    async def come() -> bool:
        try:
            async with places.place("a"):
                return True
        except Failed:
            return False

    async def visit() -> None:
        session = await connect(server.port)
        async with places.place("a"), places.listening("a", session):
            while await come():
                await asyncio.sleep(0.01)
            session.wire.asked_at = time.monotonic() + PATIENCE
            places.finished("a")
            assert await come()
        session.wire.hang_up()

    places = Places(Config(listening_per_host=1, patience_per_host=SHORT))
    in_time(visit())
    server.close()
