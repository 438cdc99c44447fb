"""A policy daemon of Debian, postgrey, over the socket by which gatekeeper is asked: greylisting by qmail-smtpd itself.

It runs where postgrey is installed, or unpacked by `./gw`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from smtpd_rig import PATIENCE, Smtpd, build

from tests.unpacked import environment, find

POSTGREY = find("usr/sbin/postgrey")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not POSTGREY, reason="postgrey is neither unpacked (./gw pytest) nor installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="postgrey changes its user, which root alone may"),
]
DELAY = 2
"""Seconds for which a stranger is put off."""


@pytest.fixture(scope="module")
def smtpd(tmp_path_factory: pytest.TempPathFactory) -> Smtpd:
    """qmail-smtpd as the role builds it."""
    if not shutil.which("gcc") or not shutil.which("patch"):
        pytest.skip("gcc and patch are needed to build qmail-smtpd")
    return Smtpd(build("notqmail-1.09", tmp_path_factory.mktemp("notqmail")))


@pytest.fixture
def postgrey(tmp_path: Path) -> Iterator[Path]:
    """The socket of a postgrey that knows nobody yet."""
    socket = tmp_path / "socket"
    modules = [f"-I{place}" for place in environment().get("PERL5LIB", "").split(":") if place]  # -T takes none from it
    command = ["perl", "-T", *modules, str(POSTGREY)]
    options = [f"--unix={socket}", f"--dbdir={tmp_path}", f"--delay={DELAY}", "--user=root", "--group=root"]
    known = ["--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null", "--auto-whitelist-clients=0"]
    process = subprocess.Popen(
        [*command, *options, *known], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(socket.is_socket, "postgrey's socket")
    yield socket
    process.kill()
    process.wait(PATIENCE)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


def test_a_stranger_is_put_off_and_let_in_later(smtpd: Smtpd, postgrey: Path) -> None:
    asked: dict[str, Any] = {"SMTPPOLICY": str(postgrey)}
    until(lambda: smtpd.rcpt("ann@corp.test", **asked).startswith("450 4.2.0 Greylisted"), "greylisting")
    assert smtpd.envelope is None
    until(lambda: smtpd.mail("ann@corp.test", **asked).startswith("250 ok "), "the end of it")
    assert smtpd.envelope == b"Fann@client.test\0Tann@corp.test\0\0"
    assert smtpd.rcpt("bob@corp.test", **asked).startswith("450 4.2.0 Greylisted")


def test_when_it_is_down_nobody_comes_in(smtpd: Smtpd, postgrey: Path) -> None:
    postgrey.unlink()
    assert smtpd.rcpt("ann@corp.test", SMTPPOLICY=str(postgrey)).startswith("451 ")
