"""smtp-slots: places for strangers, places for relay clients, and so many of one source."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "roles/qmail/files/slots"
FLAGS = "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
PATIENCE = 20.0
STAYS = 'echo "220 $RBLSMTPD-${TCPREMOTEHOST-none}"; read line; exit 0'

Connect = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """smtp-slots, built by the role's Makefile."""
    if not shutil.which("gcc"):
        pytest.skip("no C compiler on this machine: the lab's gateways show the same")
    place = tmp_path_factory.mktemp("slots")
    settings = [f"OUT={place}", f"CFLAGS={FLAGS}", "WARNINGS=-Wall -Wextra -Werror", "HARDENING="]
    subprocess.run(["make", "-s", "-C", str(SOURCES), *settings], check=True)
    return place / "smtp-slots"


@pytest.fixture
def connect(program: Path, tmp_path: Path) -> Iterator[Connect]:
    """Start a session of an address, which stays until its end is closed; limits: of strangers and relay clients."""
    sessions: list[subprocess.Popen[str]] = []
    file = tmp_path / "slots"
    file.touch()

    def begin(
        address: str,
        *,
        relay: bool = False,
        limits: str = "6 3 3 2",
        opened: bool = True,
        name: str | None = "peer.test",
        wait: int = 0,
    ) -> subprocess.Popen[str]:
        known = {"TCPREMOTEIP": address} | ({"RELAYCLIENT": ""} if relay else {})
        known |= {"TCPREMOTEHOST": name} if name else {}
        known |= {"GREETWAIT": str(wait)} if wait else {}
        command = f"exec {program} {limits} sh -c '{STAYS}' {f'8<> {file}' if opened else '8<&-'}"
        pipe = subprocess.PIPE
        session = subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, env=known, text=True)
        sessions.append(session)
        return session

    yield begin
    for session in sessions:
        _, errors = session.communicate(timeout=PATIENCE)
        assert "Sanitizer" not in errors and "runtime error" not in errors, errors


def greeting(session: subprocess.Popen[str]) -> str:
    """The first line that a client hears."""
    assert session.stdout is not None
    return session.stdout.readline().strip()


def codes(connect: Connect, *addresses: str, relay: bool = False) -> list[str]:
    """The codes of the greetings of sessions from these addresses, all of which stay."""
    return [greeting(connect(address, relay=relay))[:3] for address in addresses]


def test_a_source_has_no_more_places_than_its_limit(connect: Connect) -> None:
    assert codes(connect, *["192.0.2.1"] * 5) == ["220"] * 3 + ["421"] * 2
    assert codes(connect, "192.0.2.2", "::1") == ["220", "220"]


def test_an_ipv6_source_is_its_64_and_its_48_has_twice_as_many(connect: Connect) -> None:
    same = [f"2001:db8:1:1::{host}" for host in range(1, 5)]
    assert codes(connect, *same) == ["220"] * 3 + ["421"]
    assert codes(connect, *[f"2001:db8:1:{net}::1" for net in range(2, 6)]) == ["220"] * 3 + ["421"]


def test_many_sources_of_a_network_leave_places_to_others(connect: Connect) -> None:
    def code(address: str, relay: bool = False) -> str:
        return greeting(connect(address, relay=relay, limits="8 2 8 2"))[:3]

    assert [code(f"192.0.2.{host}") for host in range(1, 9)] == ["220"] * 6 + ["421"] * 2
    assert [code(f"192.0.3.{host}") for host in range(1, 4)] == ["220"] * 2 + ["421"], "all places are taken now"
    assert [code(f"198.51.100.{host}", relay=True) for host in range(1, 10)] == ["220"] * 8 + ["421"]


def test_strangers_leave_the_places_of_relay_clients(connect: Connect) -> None:
    assert codes(connect, *[f"192.0.2.{host}" for host in range(1, 9)]) == ["220"] * 6 + ["421"] * 2
    assert codes(connect, *["198.51.100.1"] * 3, "198.51.100.2", "198.51.100.3", relay=True) == [
        "220",
        "220",
        "421",
        "220",
        "421",
    ]


def test_a_place_is_free_again_when_its_session_is_over_however_it_ended(connect: Connect) -> None:
    first, second, third = [connect("192.0.2.1") for _ in range(3)]
    assert [greeting(session)[:3] for session in (first, second, third)] == ["220"] * 3
    first.kill()
    assert second.stdin is not None
    second.stdin.write("over\n")
    second.stdin.flush()
    first.wait()
    second.wait()
    assert codes(connect, *["192.0.2.1"] * 3) == ["220", "220", "421"]


def test_many_at_once_get_as_many_places_as_there_are(connect: Connect) -> None:
    sessions = [connect(f"192.0.2.{number}") for number in range(1, 41)]
    assert sorted(greeting(session)[:3] for session in sessions) == ["220"] * 6 + ["421"] * 34


def test_rblsmtpd_asks_no_list_about_relay_clients(connect: Connect) -> None:
    assert greeting(connect("192.0.2.1", relay=True)) == "220 -peer.test"
    session = connect("192.0.2.1")
    assert greeting(session) == "220 -peer.test"
    environment = Path(f"/proc/{session.pid}/environ")
    assert b"RBLSMTPD" not in environment.read_bytes()


def test_without_the_file_of_places_mail_flows(connect: Connect) -> None:
    assert [greeting(connect("192.0.2.1", opened=False))[:3] for _ in range(5)] == ["220"] * 5


def test_a_client_whose_address_is_unknown_has_a_place_like_others(connect: Connect) -> None:
    assert codes(connect, *["unknown"] * 4) == ["220"] * 3 + ["421"]


@pytest.mark.parametrize("limits", ["1 2 3", "x 1 1 1", "1 1 1 9999999", "-1 1 1 1"])
def test_limits_that_are_none_start_nothing(connect: Connect, limits: str) -> None:
    session = connect("192.0.2.1", limits=limits)
    assert greeting(session) == "" and session.wait(PATIENCE) != 0


# Before the greeting

LONG = 55
"""Seconds that no test waits for: who is answered was not made to wait."""


def say(session: subprocess.Popen[str], text: str = "EHLO early.test\r\n") -> None:
    """Speak first."""
    assert session.stdin is not None
    session.stdin.write(text)
    session.stdin.flush()


def test_a_stranger_who_speaks_before_the_greeting_is_refused_and_named(connect: Connect) -> None:
    session = connect("192.0.2.1", wait=LONG)
    say(session)
    assert greeting(session) == "554 you spoke before this server's greeting (#5.5.1)"
    assert session.wait(PATIENCE) != 0
    assert session.stdout is not None and session.stdout.read() == ""
    assert session.stderr is not None and "192.0.2.1: it spoke before the greeting" in session.stderr.readline()


def test_who_waits_is_greeted_when_the_wait_is_over(connect: Connect) -> None:
    began = time.monotonic()
    assert greeting(connect("192.0.2.1", wait=1)).startswith("220 ")
    assert time.monotonic() - began >= 1


def test_relay_clients_never_wait(connect: Connect) -> None:
    session = connect("192.0.2.1", relay=True, wait=LONG)
    say(session)
    assert greeting(session).startswith("220 ")


def test_without_the_wait_an_early_talker_is_greeted(connect: Connect) -> None:
    session = connect("192.0.2.1")
    say(session)
    assert greeting(session).startswith("220 ")


def test_who_hangs_up_during_the_wait_leaves_its_place(connect: Connect) -> None:
    sessions = [connect("192.0.2.1", wait=LONG) for _ in range(3)]
    for session in sessions:
        assert session.stdin is not None
        session.stdin.close()
        session.stdin = None
        assert session.wait(PATIENCE) == 0
    assert codes(connect, *["192.0.2.1"] * 4) == ["220"] * 3 + ["421"]
