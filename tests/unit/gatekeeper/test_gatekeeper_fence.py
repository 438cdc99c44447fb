"""gatekeeper's fence: hostile code in its worker gets nowhere, and questions are answered as without it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import jinja2
import pytest
from gatekeeper.auth.suffixes import LIST
from gatekeeper.config import Config, Rule
from gatekeeper.fence import needs_of, rules
from gatekeeper.gatefence import landlock
from gatekeeper_rig import PROJECT, Gatekeeper, MailServer, put, wait_for

from tests.landlocked import (
    ACTS,
    LETTERS,
    REFUSED,
    as_root,
    check_done,
    listening,
    needs_landlock,
    since,
    without_landlock,
)

HOSTILE = Path(__file__).with_name("taken_over_keeper.py")

OWN_ACTS = [
    since(0, "own program", "{state}"),
    since(0, "unix", "{run}/policy.sock"),
    since(0, "abstract", "{name}"),
    since(0, "pair"),
    since(0, "bind"),
    since(2, "write", "{etc}/config.json"),
    since(2, "remove", "{lists}/corp.test"),
    since(2, "link", "{state}/passwd"),
    since(3, "truncate", "{outside}/letter"),
]


class Yard:
    """A daemon that was taken over, and what an attacker may want of its host."""

    def __init__(self, place: Path, *, is_confined: bool) -> None:
        self.place = place
        self.folders = {name: place / name for name in ("home", "etc", "lists", "state", "run", "outside")}
        for folder in self.folders.values():
            folder.mkdir()
        self.keeper = Gatekeeper(self.folders["home"])
        self.keeper.code = [str(HOSTILE)]
        self.keeper.config = place / "etc/config.json"
        self.keeper.socket = place / "run/policy.sock"
        self.keeper.state = place / "state/state.sqlite"
        self.settings = {
            "metrics": str(place / "run/figures"),
            "recipients": {"corp.test": {"file": str(place / "lists/corp.test")}},
            "confined": is_confined,
        }
        self.name = f"gatekeeper-test-{os.getpid()}-{is_confined}"
        self.port = 0

    def furnish(self) -> None:
        """Lay out what is to be had."""
        for name in (*(f"outside/{letter}" for letter in LETTERS), "lists/corp.test", "home/control/me"):
            (self.place / name).write_text("private\n")
        self.keeper.configure(**self.settings)
        (self.place / "state/passwd").unlink(missing_ok=True)

    @contextmanager
    def serving(self) -> Iterator[Yard]:
        """The daemon, a TCP port and an abstract socket that somebody else listens on."""
        self.furnish()
        with listening(self.name) as self.port:
            self.keeper.start(**self.settings)
            yield self
            self.keeper.close()

    def tried(self, act: tuple[str, ...]) -> int:
        """Have the worker do it; its errno."""
        self.furnish()
        assert self.keeper.process
        names = {**self.folders, "master": self.keeper.process.pid, "port": self.port, "name": self.name}
        return int(self.keeper.ask("|".join(word.format(**names) for word in act)))


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


# What mail needs. All other tests of the daemon run in its fence, too.


def in_files(*paths: Path) -> dict[str, object]:
    """The configuration by which files have the recipients of domains named as they are."""
    return {"recipients": {path.name: {"file": str(path)} for path in paths}, "guesses": 0}


def listing(place: Path, domain: str) -> Path:
    """A file of recipients in a folder of its own."""
    folder = place / f"of-{domain}"
    folder.mkdir(exist_ok=True)
    put(folder / domain, "ann\n")
    return folder / domain


def test_files_that_a_reload_names_elsewhere_are_read(keeper: Gatekeeper, tmp_path: Path) -> None:
    folder = tmp_path.with_name(f"{tmp_path.name}-lists")  # the daemon's own is open to it
    folder.mkdir()
    keeper.start()
    worker = keeper.worker
    keeper.reload(**in_files(listing(folder, "corp.test")))
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask("bob@corp.test").startswith("550 ")
    assert keeper.worker != worker
    assert "cannot be used" not in keeper.log


def test_a_reload_that_needs_no_more_keeps_the_worker(keeper: Gatekeeper, tmp_path: Path) -> None:
    path = listing(tmp_path, "corp.test")
    keeper.start(**in_files(path))
    worker = keeper.worker
    keeper.reload(recipients={"corp.test": {"list": ["bob"]}})
    assert keeper.ask("bob@corp.test") == "DUNNO" and keeper.worker == worker


@pytest.mark.parametrize("way", ["the folder comes later", "the folder is another one", "a link leads elsewhere"])
def test_a_folder_that_was_not_there_is_let_through_when_it_is(
    keeper: Gatekeeper, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, way: str
) -> None:
    exports = tmp_path_factory.mktemp("exports")
    old, new = exports / "old", exports / "new"
    path = exports / "current/corp.test"
    for folder, name in ((old, "ann"), (new, "bob")):
        folder.mkdir()
        put(folder / "corp.test", f"{name}\n")
    if way == "the folder is another one":
        old.rename(path.parent)
    if way == "a link leads elsewhere":
        path.parent.symlink_to(old)
    keeper.start(**in_files(path))
    if way == "the folder is another one":
        path.parent.rename(old)
    if way == "a link leads elsewhere":
        path.parent.unlink()
        path.parent.symlink_to(new)
    else:
        new.rename(path.parent)
    wait_for(lambda: keeper.ask("bob@corp.test") == "DUNNO", "the new list")


def test_a_route_to_another_port_is_asked_without_a_reload(keeper: Gatekeeper) -> None:
    servers = [MailServer(lambda address: "250 ok") for _ in range(2)]
    routes = keeper.place / "control/smtproutes"
    routes.write_text(f"corp.test:127.0.0.1:{servers[0].port}\n")
    keeper.start(recipients={"corp.test": {"callout": True}})
    assert keeper.ask("ann@corp.test") == "DUNNO"
    put(routes, f"corp.test:127.0.0.1:{servers[1].port}\n")
    wait_for(lambda: keeper.ask("bob@corp.test") == "DUNNO", "the other server's answer")
    assert servers[0].asked == ["ann@corp.test"] and servers[1].asked == ["bob@corp.test"]


@pytest.mark.skipif(not LIST.exists(), reason="Debian's package publicsuffix is not here")
def test_the_desk_opens_and_shuts_with_a_worker_of_its_own(keeper: Gatekeeper) -> None:
    keeper.start()
    for is_wanted in (True, False, True):
        keeper.reload(authentication=is_wanted)
        assert keeper.ask() == "DUNNO"
        assert keeper.authentication.exists() is is_wanted


# Workers


def ask_as_a_mail_server(keeper: Gatekeeper, until: Callable[[], bool]) -> list[str]:
    """Answers to question after question; as qmail-smtpd, begin a session anew that was in use and has ended."""
    answers = []
    session = keeper.session()
    is_fresh = True
    while not until():
        try:
            answer = session.ask()
        except OSError:
            answer = ""
        if answer or is_fresh:
            answers.append(answer)
        is_fresh = not answer
        if is_fresh:
            session.__exit__()
            session = keeper.session()
    session.__exit__()
    return answers


def test_nobody_is_put_off_while_ten_workers_take_over(keeper: Gatekeeper, tmp_path: Path) -> None:
    keeper.start()
    with ThreadPoolExecutor(4) as pool:
        is_done: list[bool] = []
        asked = [pool.submit(ask_as_a_mail_server, keeper, lambda: bool(is_done)) for _ in range(4)]
        try:
            for number in range(10):
                keeper.reload(**in_files(listing(tmp_path, f"d{number}.test"), listing(tmp_path, "corp.test")))
        finally:
            is_done.append(True)
        answers = [answer for one in asked for answer in one.result()]
    assert keeper.log.count("another worker takes over") == 10
    assert set(answers) == {"DUNNO"}


def test_counters_outlive_a_worker_that_makes_way(keeper: Gatekeeper, tmp_path: Path) -> None:
    limits = {"limits": {"client": {"messages": {"day": 3}}}}
    keeper.start(**limits)
    for _ in range(3):
        assert keeper.ask(protocol_state="DATA", relay_client="yes") == "DUNNO"
    keeper.reload(**limits, **in_files(listing(tmp_path, "other.test")))
    assert keeper.ask(protocol_state="DATA", relay_client="yes").startswith("451 4.7.1 too many messages in a day")


def test_a_worker_that_dies_is_replaced_and_who_asks_meanwhile_waits(keeper: Gatekeeper) -> None:
    keeper.start()
    for _ in range(3):
        worker = keeper.worker
        os.kill(worker, signal.SIGKILL)
        assert keeper.ask() == "DUNNO"
        assert keeper.worker not in (0, worker)
    assert keeper.log.count("the worker ended with -9; another one takes over") == 3


def test_no_worker_outlives_its_master(keeper: Gatekeeper) -> None:
    keeper.start()
    worker = keeper.worker
    keeper.stop(signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{worker}").exists(), "the worker's end")


def test_the_end_ends_both_even_when_the_worker_dies_at_once(keeper: Gatekeeper) -> None:
    keeper.start()
    os.kill(keeper.worker, signal.SIGKILL)
    assert keeper.stop() == 0


def test_a_configuration_that_cannot_be_used_is_not_taken_when_a_worker_makes_way(keeper: Gatekeeper) -> None:
    keeper.start(recipients={"corp.test": {"list": ["ann"]}})
    keeper.config.write_text("nonsense")
    os.kill(keeper.worker, signal.SIGKILL)
    keeper.wait_for_log("reload failed, the old configuration stays in force")
    assert keeper.ask("ann@corp.test") == "DUNNO" and keeper.ask("bob@corp.test").startswith("550 ")


# Where it cannot be built


def test_questions_are_answered_where_the_fence_is_not_allowed(keeper: Gatekeeper) -> None:
    keeper.code = ["-c", without_landlock("gatekeeper")]
    keeper.start()
    assert keeper.ask() == "DUNNO"
    missing = "no Landlock (system call 444: Operation not permitted); system calls filtered"
    assert f"WARNING fence: part {missing}" in keeper.log
    assert f"WARNING  fence: {missing}" in keeper.run("doctor").stdout


@needs_landlock(2)
def test_the_doctor_says_whether_the_fence_stands(keeper: Gatekeeper) -> None:
    keeper.start()
    assert "ok       fence: files" in keeper.run("doctor").stdout
    keeper.reload(confined=False)
    assert keeper.ask() == "DUNNO"
    assert "WARNING  fence: switched off by confined" in keeper.run("doctor").stdout


# The rules


def test_a_worker_may_execute_nothing_and_write_only_its_state_and_its_figures(tmp_path: Path) -> None:
    found = list(rules(needs_of(Path("/etc/gatekeeper/config.json"), Config(home=tmp_path))))
    assert not any(rule.rights & landlock.EXECUTE for rule in found)
    written = [rule.path for rule in found if rule.rights & landlock.MAKE_REG]
    assert written == [Path("/run/gatekeeper"), Path("/var/lib/gatekeeper")]
    assert not any(rule.rights & (landlock.MAKE_SOCK | landlock.MAKE_SYM) for rule in found)


def test_the_profile_lets_a_worker_do_what_its_fence_does() -> None:
    template = PROJECT / "roles/gatekeeper/templates/etc/apparmor.d/gatewright-gatekeeper.j2"
    known = {"corp.test": {"file": "/srv/lists/corp.test"}}
    text = jinja2.Template(template.read_text()).render(_gatekeeper_known=known, gatekeeper_authentication=True)
    config = Config(recipients={"corp.test": Rule("file", file=known["corp.test"]["file"])})
    lines = (re.fullmatch(r"  (/\S+) (\w+),", line) for line in text.splitlines())
    allowed = [(found[1].replace("**", "*"), found[2]) for found in lines if found]
    needs = needs_of(Path("/etc/gatekeeper/config.json"), config)
    wanted = {(str(folder / ("corp.test" if "lists" in folder.name else "x")), "r") for folder, _, _ in needs.read}
    wanted |= {(str(folder / "x"), "rw") for folder, _, _ in needs.written}
    assert len(wanted) == 5
    for path, rights in wanted:
        assert any(fnmatchcase(path, glob) and set(rights) <= set(given) for glob, given in allowed), path


def test_counts_of_reports_are_written_wherever_they_are(tmp_path: Path) -> None:
    needs = needs_of(tmp_path / "config.json", Config(home=tmp_path, dmarc_counts=str(tmp_path / "counts")))
    assert tmp_path / "counts" in {rule.path for rule in rules(needs) if rule.rights & landlock.MAKE_REG}


def test_ports_of_routes_are_let_through_only_where_servers_are_asked(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/smtproutes").write_text("a.test:mx.test:2525\n:[192.0.2.7]\nb.test:\n")
    config = tmp_path / "config.json"
    assert needs_of(config, Config(home=tmp_path)).ports == {53}
    asking = Config(home=tmp_path, recipients={"a.test": Rule("callout")})
    assert needs_of(config, asking).ports == {53, 25, 2525}
