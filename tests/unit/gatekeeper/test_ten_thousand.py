"""Ten thousand unknown and a thousand known recipients at qmail-smtpd itself, by each way in which they are known."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatekeeper_rig import Gatekeeper, MailServer, wait_for
from smtpd_rig import HELLO, Smtpd, build
from test_directory import Slapd, fetch
from test_directory import slapd as slapd

NIGHTLY = bool(os.environ.get("GATEWRIGHT_NIGHTLY"))
KNOWN, UNKNOWN = [f"user{number}" for number in range(1000)], [f"x{number}" for number in range(10_000)]
ALL = [name for at, known in enumerate(KNOWN) for name in (known, *UNKNOWN[10 * at : 10 * at + 10])]
SESSION = 550
"""Recipients that are asked for in one session."""

pytestmark = pytest.mark.slow
nightly = pytest.mark.skipif(not NIGHTLY, reason="takes minutes; GATEWRIGHT_NIGHTLY=1 runs it")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc") or not shutil.which("patch"):
        pytest.skip("gcc and patch are needed to build qmail-smtpd")
    return build("notqmail-1.09", tmp_path_factory.mktemp("notqmail"))


@pytest.fixture
def smtpd(home: Path, keeper: Gatekeeper) -> Smtpd:
    return Smtpd(home)


@pytest.fixture
def route(keeper: Gatekeeper) -> Iterator[MailServer]:
    """The server of corp.test's route."""
    server = MailServer(lambda address: "250 ok" if address.startswith("user") else "550 5.1.1 unknown")
    (keeper.place / "control/smtproutes").write_text(f"corp.test:127.0.0.1:{server.port}\n")
    yield server
    if server.server.fileno() >= 0:
        server.close()


def heard(smtpd: Smtpd, keeper: Gatekeeper, names: list[str]) -> Counter[tuple[str, str]]:
    """What sessions hear for recipients, by kind (`user`, `x`) and code; `queued` is who is in an envelope."""
    found: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(names), SESSION):
        part = names[start : start + SESSION]
        lines = [f"RCPT TO:<{name}@corp.test>" for name in part]
        told = smtpd.talk(*HELLO, *lines, "DATA", body=b"Subject: x\r\n\r\nhi\r\n.\r\n", SMTPPOLICY=str(keeper.socket))
        replies = told[told.index("250 ok") + 1 :][: len(part)]
        found.update((name.rstrip("0123456789"), reply[:3]) for name, reply in zip(part, replies, strict=True))
        taken = (smtpd.envelope or b"").split(b"\0T")[1:]
        found.update((name.decode().rstrip("0123456789"), "queued") for name in (to.partition(b"@")[0] for to in taken))
        (smtpd.home / "queued.envelope").unlink(missing_ok=True)
    return found


RIGHT = {("user", "250"): 1000, ("user", "queued"): 1000, ("x", "550"): 10_000}
"""Each known recipient's message is queued; nothing of the others is, so there is nothing to bounce."""
PUT_OFF = {("user", "451"): 1000, ("x", "451"): 10_000}


def test_a_list(keeper: Gatekeeper, smtpd: Smtpd) -> None:
    keeper.start(recipients={"corp.test": {"list": KNOWN}}, guesses=0)
    assert heard(smtpd, keeper, ALL) == RIGHT


@nightly
def test_a_directory_and_then_one_that_is_down(keeper: Gatekeeper, smtpd: Smtpd, slapd: Slapd) -> None:
    path = keeper.place / "corp.test"
    rules = {"recipients": {"corp.test": {"file": str(path)}}, "guesses": 0}
    down = {"servers": ["ldaps://localhost:1"]}
    assert fetch(slapd, keeper.place, **down).returncode == 1
    keeper.start(**rules)
    assert heard(smtpd, keeper, ALL) == PUT_OFF
    assert fetch(slapd, keeper.place).returncode == 0
    wait_for(lambda: keeper.ask("user1@corp.test") == "DUNNO", "the list")
    assert heard(smtpd, keeper, ALL) == RIGHT
    assert fetch(slapd, keeper.place, **down).returncode == 1
    assert heard(smtpd, keeper, KNOWN) == {("user", "250"): 1000, ("user", "queued"): 1000}


@nightly
def test_a_routes_server_and_then_one_that_is_down(keeper: Gatekeeper, smtpd: Smtpd, route: MailServer) -> None:
    keeper.start(recipients={"corp.test": {"callout": True}}, guesses=0, negative_seconds=1)
    assert heard(smtpd, keeper, ALL) == RIGHT
    assert route.most <= 5
    route.close()
    assert heard(smtpd, keeper, ALL) == {("user", "250"): 1000, ("user", "queued"): 1000, ("x", "451"): 10_000}


@nightly
def test_a_routes_server_that_was_never_there(keeper: Gatekeeper, smtpd: Smtpd, route: MailServer) -> None:
    route.close()
    keeper.start(recipients={"corp.test": {"callout": True}}, guesses=0)
    assert heard(smtpd, keeper, ALL) == PUT_OFF
