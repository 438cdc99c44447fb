"""gatepost's fence: hostile code in a worker gets nowhere, and mail goes as without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gatepost.config import Config
from gatepost.control import Control
from gatepost.fence import needs_of, rules
from gatepost.gatefence import landlock
from gatepost_rig import Gatepost, NameServer
from server_rig import Server

from tests.landlocked import ACTS, LETTERS, REFUSED, as_root, check_done, listening, since, without_landlock

HOSTILE = Path(__file__).with_name("taken_over.py")

OWN_ACTS = [
    since(0, "own program", "{log}"),
    since(0, "listen"),
    since(2, "read", "{place}/keys/corp.test/one.pem"),
    since(2, "read", "{place}/config.json"),
    since(2, "read", "{log}/deliveries"),
    since(2, "remove", "{log}/deliveries"),
    since(3, "truncate", "{log}/deliveries"),
    since(4, "bind"),
    since(6, "abstract", "{name}"),
]


class Yard:
    """A daemon that was taken over, and what an attacker may want of its host."""

    def __init__(self, place: Path, *, is_confined: bool) -> None:
        self.daemon = Gatepost(place, NameServer())
        self.daemon.code = [str(HOSTILE)]
        self.is_confined = is_confined
        self.port = 0

    def furnish(self) -> None:
        """Lay out what is to be had."""
        place = self.daemon.place
        for folder in ("outside", "keys/corp.test", "log"):
            (place / folder).mkdir(parents=True, exist_ok=True)
        for name in (*(f"outside/{letter}" for letter in LETTERS), "keys/corp.test/one.pem", "log/deliveries"):
            (place / name).write_text("private")

    @contextmanager
    def serving(self) -> Iterator[Yard]:
        """The daemon, a TCP port and an abstract socket that somebody else listens on."""
        self.daemon.furnish()
        self.daemon.control(smtproutes="")
        with listening(self.name) as self.port:
            self.daemon.start(journal=str(self.daemon.place / "log/deliveries"), confined=self.is_confined)
            yield self
            self.daemon.stop()

    @property
    def name(self) -> str:
        """Of the abstract socket."""
        return f"gatepost-test-{os.getpid()}-{self.is_confined}"

    def tried(self, act: tuple[str, ...]) -> int:
        """Have the worker do it; its errno."""
        self.furnish()
        place, process = self.daemon.place, self.daemon.process
        assert process is not None
        names = {"place": place, "outside": place / "outside", "log": place / "log", "home": self.daemon.home}
        words = (w.format(**names, master=process.pid, port=self.port, name=self.name) for w in act)
        return int(self.daemon.run(domain="|".join(words)).strip(b"K\0"))


@pytest.fixture(scope="module")
def taken_over(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("fenced"), is_confined=True).serving() as yard:
        yield yard


@pytest.fixture(scope="module")
def unfenced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("unfenced"), is_confined=False).serving() as yard:
        yield yard


@pytest.mark.parametrize("act", [*ACTS, *OWN_ACTS])
def test_hostile_code_in_a_worker_is_refused(taken_over: Yard, act: tuple[str, ...]) -> None:
    assert taken_over.tried(act) in REFUSED


@as_root
@pytest.mark.parametrize("act", [*ACTS, *OWN_ACTS])
def test_the_same_succeeds_without_the_fence(unfenced: Yard, act: tuple[str, ...]) -> None:
    check_done(act, unfenced.tried(act))


# Mail


@pytest.fixture
def begin(tmp_path: Path, name_server: NameServer) -> Iterator[Callable[[], Gatepost]]:
    """Start a daemon in its fence."""
    daemon = Gatepost(tmp_path, name_server)
    daemon.furnish()

    def start() -> Gatepost:
        daemon.start()
        return daemon

    yield start
    assert "Traceback" not in daemon.stop()


def test_a_route_to_another_port_has_another_worker_take_over(
    begin: Callable[[], Gatepost], server: Server, authority: Path
) -> None:
    daemon = begin()
    daemon.route(server, "required")
    assert b"accepted message" in daemon.run()
    other = Server(authority)
    daemon.route(other, "required")
    assert b"accepted message" in daemon.run()
    other.close()
    assert len(server.messages) == len(other.messages) == 1


def test_a_worker_that_dies_is_replaced(begin: Callable[[], Gatepost], server: Server) -> None:
    daemon = begin()
    daemon.route(server, "required")
    daemon.run()
    assert daemon.process is not None
    path = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    (worker,) = path.read_text().split()
    os.kill(int(worker), 9)
    assert b"accepted message" in daemon.run()
    (successor,) = path.read_text().split()
    assert successor != worker


def test_mail_goes_where_the_fence_is_not_allowed(tmp_path: Path, name_server: NameServer, server: Server) -> None:
    daemon = Gatepost(tmp_path, name_server)
    daemon.code = ["-c", without_landlock("gatepost")]
    daemon.furnish()
    daemon.route(server, "required")
    daemon.configure()
    daemon.spawn()
    told = daemon.wait_for_log(b"fence: part")
    assert "WARNING" in told and "no Landlock (system call 444: Operation not permitted)" in told
    assert b"accepted message" in daemon.run()
    daemon.stop()


def test_a_worker_may_execute_nothing_and_write_only_where_its_lines_go(tmp_path: Path) -> None:
    config = Config(home=tmp_path, journal="/var/log/gatepost/deliveries.jsonl", timeouts_descriptor=9)
    found = list(rules(config, needs_of(config, Control(tmp_path))))
    assert not any(rule.rights & landlock.EXECUTE for rule in found)
    assert [rule.path for rule in found if rule.rights & landlock.MAKE_REG] == [Path("/var/log/gatepost")]
