"""The fence around the daemon: hostile code in a worker gets nowhere, mail and engines work as without it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rig
from gatescan import fence
from gatescan.config import Config, ConfigError, parse
from gatescan.engines.build import needs_of
from gatescan.engines.needs import Needs
from gatescan.gatefence import landlock, seccomp
from rig import Gateway, saw, wait_until
from test_interface import HARMLESS, Scanner

from tests.landlocked import LETTERS, REFUSED, as_root, check_done, landlock_version, listening, needs_landlock

pytestmark = pytest.mark.slow  # a process or more for each test

PROGRAM_OF_32_BITS = 50


def act(gateway: Gateway, name: str, *words: object) -> int:
    """Have a worker do one of hostile.ACTS; its errno."""
    sent = gateway.send(f"try {'|'.join((name, *map(str, words)))}\n\nbody\n".encode())
    assert sent.status == 0
    return int(saw(gateway, sent)["errno"])


class Yard:
    """What an attacker may want: files outside, a sibling, sockets that listen."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.outside = gateway.root / "home"
        self.outside.mkdir()
        self.port = 0
        for name in LETTERS:
            (self.outside / name).write_text("private")

    def words(self, case: tuple[str, ...]) -> list[str]:
        """An act's words, with what {outside}, {port} and the like stand for."""
        root = self.gateway.root
        names: dict[str, object] = {
            "outside": self.outside,
            "root": root,
            "spool": root / "spool/tmp",
            "log": root / "log",
        }
        names |= {"port": self.port, "name": f"gatescan-test-{os.getpid()}"}
        return [word.format(**names) for word in case]

    def tried(self, case: tuple[str, ...]) -> int:
        """Have a worker do it; its errno."""
        return act(self.gateway, case[0], *self.words(case[1:]))

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """A TCP port and an abstract socket that somebody listens on."""
        with listening(f"gatescan-test-{os.getpid()}") as self.port:
            yield


@pytest.fixture
def yard(gateway: Gateway) -> Yard:
    (gateway.root / "log").mkdir()
    (gateway.root / "lib").mkdir()
    gateway.config["journal"] = {
        "quarantine_log": str(gateway.root / "log/quarantine.log"),
        "json_log": str(gateway.root / "log/messages.jsonl"),
        "metrics": str(gateway.root / "lib/gatescan.prom"),
        "counters": str(gateway.root / "lib"),
    }
    gateway.config["rules"] = {"source": str(gateway.root / "etc/r.txt"), "compiled": str(gateway.root / "etc/r.json")}
    (gateway.root / "log/messages.jsonl").write_text("what was written of others\n")
    (gateway.root / "log/daemon").mkdir()
    (gateway.root / "log/daemon/current").write_text("the daemon's own\n")
    return Yard(gateway)


BY_FILTER = [
    ("shell",),
    ("shell in memory",),
    ("own program", "{spool}"),
    ("subprocess",),
    ("ptrace", "sibling"),
    ("ptrace", "master"),
    ("kill", "sibling"),
    ("kill", "master"),
    ("limits", "sibling"),
    ("tcp",),
    ("tcp6",),
    ("udp",),
    ("netlink",),
    ("packet",),
    ("connect", "{port}"),
    ("bind",),
    ("mount", "{outside}"),
    ("unshare",),
    ("chroot", "{outside}"),
    ("setuid",),
    ("keyctl",),
    ("io_uring",),
]
BY_LANDLOCK = [
    (2, "memory", "sibling"),
    (2, "memory", "master"),
    (2, "read", "{outside}/letter"),
    (2, "list", "{outside}"),
    (2, "write", "{outside}/new"),
    (2, "append", "{outside}/other"),
    (2, "remove", "{outside}/third"),
    (2, "rename", "{outside}/other"),
    (2, "write", "{root}/new"),
    (2, "rename", "{root}/s"),
    (2, "read", "{log}/messages.jsonl"),
    (2, "remove", "{log}/messages.jsonl"),
    (2, "remove", "{log}/daemon/current"),
    (3, "truncate", "{log}/messages.jsonl"),
    (6, "abstract", "{name}"),
]
NAMES = ["-".join(case).replace("{", "").replace("}", "") for case in BY_FILTER]
NAMES += ["-".join(map(str, case[1:])).replace("{", "").replace("}", "") for case in BY_LANDLOCK]


@pytest.fixture
def ready(yard: Yard) -> Iterator[rig.Daemon]:
    with yard.gateway.daemon() as daemon, yard.listening():
        yield daemon


@pytest.mark.parametrize("case", BY_FILTER, ids=NAMES[: len(BY_FILTER)])
def test_a_system_call_is_refused(yard: Yard, ready: rig.Daemon, case: tuple[str, ...]) -> None:
    assert yard.tried(case) in REFUSED


@pytest.mark.parametrize(
    "case",
    [pytest.param(case[1:], marks=needs_landlock(case[0])) for case in BY_LANDLOCK],
    ids=NAMES[len(BY_FILTER) :],
)
def test_a_file_or_a_socket_is_out_of_reach(yard: Yard, ready: rig.Daemon, case: tuple[str, ...]) -> None:
    assert yard.tried(case) in REFUSED


@as_root
@pytest.mark.parametrize("case", [*BY_FILTER, *(case[1:] for case in BY_LANDLOCK)], ids=NAMES)
def test_the_same_succeeds_without_the_fence(gateway: Gateway, yard: Yard, case: tuple[str, ...]) -> None:
    """So the tests above show what keeps the attacker out."""
    gateway.config["daemon"] |= {"confined": False}
    with gateway.daemon() as daemon, yard.listening():
        daemon.wait_for("workers' fence: off")
        done = yard.tried(case)
    check_done(case, done)


def test_clone3_is_said_not_to_exist_so_that_threads_start(gateway: Gateway, yard: Yard, ready: rig.Daemon) -> None:
    assert act(gateway, "clone3") == errno.ENOSYS


def test_the_kernel_shows_the_fence(gateway: Gateway) -> None:
    with gateway.daemon() as daemon:
        assert gateway.send(b"pass\n").status == 0
        filters = filters_of(os.getpid())
        assert filters_of(daemon.process.pid) == filters + 1
        for worker in daemon.children():
            wait_until(lambda pid=worker: filters_of(pid) == filters + 2, "a worker's own filter")
        daemon.wait_for("workers' fence: full" if landlock_version() >= 2 else "workers' fence: part")


def filters_of(pid: int) -> int:
    """How many filters of system calls a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Seccomp_filters:")))


def test_reloads_add_no_filter(gateway: Gateway) -> None:
    with gateway.daemon() as daemon:
        before = filters_of(daemon.process.pid)
        for count in (2, 3, 4):
            daemon.signal(signal.SIGHUP)
            daemon.wait_for("2 workers serve", count)
            assert filters_of(daemon.process.pid) == before
        assert gateway.send(b"pass\n").status == 0


# Engines


def spamd(port: int = 0) -> socket.socket:
    """A double that finds everything to be spam: one connection after another, until it is closed."""
    listener = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    while connection.recv(65_536):
                        pass
                    connection.sendall(b"SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; 99 / 5.0\r\n\r\nGTUBE")

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.fixture
def scanner(gateway: Gateway) -> Scanner:
    made = Scanner(gateway)
    made.build_rules()
    return made


def test_ordinary_mail_is_judged_and_written_down_over_a_rotation(scanner: Scanner) -> None:
    log = scanner.gateway.root / "log/messages.jsonl"
    with scanner.daemon() as daemon:
        daemon.wait_for("workers' fence: full" if landlock_version() >= 2 else "workers' fence: part")
        assert scanner.gateway.send(HARMLESS).status == 0
        assert scanner.journal[-1]["action"] == "accept"
        log.rename(log.with_suffix(".1"))
        wait_until(lambda: scanner.gateway.send(HARMLESS).status == 0 and log.exists(), "a new journal")


def test_an_engine_by_tcp_counts_and_only_its_port_is_open(scanner: Scanner) -> None:
    with spamd() as listener:
        scanner.gateway.config["engines"] = [{"type": "spamd", "socket": f"127.0.0.1:{listener.getsockname()[1]}"}]
        with scanner.daemon():
            assert scanner.gateway.send(HARMLESS).status == 0
        assert [line["findings"][0]["code"] for line in scanner.journal] == ["spam"]
        assert len(scanner.held) == 1


@needs_landlock(4)
def test_only_an_engines_port_is_reached(gateway: Gateway, yard: Yard) -> None:
    with yard.listening(), spamd() as listener:
        port = listener.getsockname()[1]
        gateway.config["engines"] = [{"type": "spamd", "socket": f"127.0.0.1:{port}"}]
        with gateway.daemon():
            assert act(gateway, "connect", port) == 0
            assert act(gateway, "connect", yard.port) in REFUSED
            assert act(gateway, "bind") in REFUSED
            assert act(gateway, "netlink") in REFUSED
            assert act(gateway, "shell") in REFUSED


def test_a_reload_may_add_engines_of_both_kinds_and_take_them_away(gateway: Gateway, yard: Yard) -> None:
    def reload(engines: list[dict[str, object]]) -> None:
        serving = sum("workers serve" in line for line in daemon.said)
        gateway.config["engines"] = engines
        gateway.write_config()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("2 workers serve", serving + 1)
        wait_until(lambda: len(daemon.children()) == 2, "the old workers end")

    with spamd() as listener:
        port = listener.getsockname()[1]
        with gateway.daemon() as daemon:
            assert act(gateway, "connect", port) in REFUSED
            reload([{"type": "spamd", "socket": f"127.0.0.1:{port}"}])
            assert act(gateway, "connect", port) == 0
            assert act(gateway, "shell") in REFUSED
            reload([{"type": "csav", "program": "/bin/true"}])
            assert act(gateway, "shell") == 0
            assert act(gateway, "connect", port) in REFUSED
            reload([])
            assert act(gateway, "shell") in REFUSED


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory in a home: all that may be scratch, as /tmp, is open to programs."""
    path = Path(tempfile.mkdtemp(dir=Path.home(), prefix=".gatescan-test-"))
    yield path
    shutil.rmtree(path)


def script(directory: Path, text: str) -> Path:
    directory.mkdir(exist_ok=True)
    program = directory / "csav"
    program.write_text(f"#!/bin/sh\n{text}")
    program.chmod(0o755)
    return program


def test_a_program_is_an_engine_whose_verdict_counts(scanner: Scanner) -> None:
    root = scanner.gateway.root
    text = 'for word; do :; done\necho x > "$TMPDIR/x" && [ -c /dev/null ] || exit 9\n'
    text += 'grep -q MARK "$word/message.eml" && echo "$word/message.eml  Infection: Marked" && exit 51\nexit 50\n'
    scanner.gateway.config["engines"] = [{"type": "csav", "program": str(script(root / "bin", text))}]
    with scanner.daemon() as daemon:
        daemon.wait_for("engines may be programs")
        assert scanner.gateway.send(HARMLESS).status == 0
        assert scanner.gateway.send(HARMLESS + b"MARK\n").status == 0
    assert [line["verdict"] for line in scanner.journal] == ["clean", "infected"]
    assert b"MARK" in scanner.held[0]


@needs_landlock(2)
@pytest.mark.parametrize("key", ["", "readable", "writable"])
def test_a_program_reads_and_writes_elsewhere_only_if_the_configuration_says_so(
    scanner: Scanner, home: Path, key: str
) -> None:
    if Path("/tmp") in home.parents:
        pytest.skip("the home of this user is below /tmp, which is open to programs")
    (home / "letter").write_text("private")
    text = f'read=no write=no\ncat "{home}/letter" > /dev/null && read=yes\n(echo x > "{home}/new") && write=yes\n'
    text += 'echo "Infection: $read/$write"\nexit 51\n'
    scanner.gateway.config["engines"] = [{"type": "csav", "program": str(script(scanner.gateway.root / "bin", text))}]
    if key:
        scanner.gateway.config["daemon"][key] = [str(home)]
    with scanner.daemon():
        assert scanner.gateway.send(HARMLESS).status == 0
    found = scanner.journal[0]["findings"][0]["detail"]
    assert found == {"": "no/no", "readable": "yes/no", "writable": "yes/yes"}[key]


def program_of_32_bits(path: Path) -> Path:
    """The smallest: exit code 50 if it gets a unix socket in the old way, by socketcall, else 51."""
    code = bytes.fromhex(
        "6a00 6a01 6a01 89e1 bb01000000 b866000000 cd80"  # socketcall(SYS_SOCKET, {AF_UNIX, SOCK_STREAM, 0})
        "bb32000000 85c0 7905 bb33000000 b801000000 cd80"  # exit(result < 0 ? 51 : 50)
    )
    start, head = 0x08048000, 52 + 32
    elf = (
        b"\x7fELF\1\1\1" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, start + head, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    )
    segment = struct.pack("<IIIIIIII", 1, 0, start, start, head + len(code), head + len(code), 5, 0x1000)
    path.write_bytes(elf + segment + code)
    path.chmod(0o755)
    return path


def test_a_program_of_32_bits_runs(scanner: Scanner) -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"the program is i386's, this is {platform.machine()}")
    program = program_of_32_bits(scanner.gateway.root / "csav")
    try:
        assert subprocess.run([program], check=False).returncode == PROGRAM_OF_32_BITS
    except OSError as error:
        pytest.skip(f"this kernel runs no programs of 32 bits: {error}")
    scanner.gateway.config["engines"] = [{"type": "csav", "program": str(program)}]
    assert needs_of(parse(scanner.gateway.config)).foreign
    with scanner.daemon():
        assert scanner.gateway.send(HARMLESS).status == 0
    assert [line["verdict"] for line in scanner.journal] == ["clean"]


def test_what_engines_need_is_known(tmp_path: Path) -> None:
    (tmp_path / "clamscan").symlink_to("/bin/true")
    config = parse(
        {
            "engines": [
                {"type": "clamd", "database": "/var/lib/other"},
                {"type": "spamd", "socket": "127.0.0.1:783"},
                {"type": "fpscand"},
                {"type": "uvscan"},
                {"type": "clamscan", "program": str(tmp_path / "clamscan")},
            ]
        }
    )
    needs = needs_of(config)
    assert needs.ports == {783, 10200}
    assert needs.programs == (Path("/usr/local/uvscan/uvscan"), tmp_path / "clamscan")
    assert {Path("/var/lib/other"), Path("/usr/local/uvscan/dat"), Path("/var/lib/clamav")} <= set(needs.signatures)
    assert needs.foreign, "uvscan is not there: it may be anything"
    assert not Needs(programs=(tmp_path / "clamscan",)).foreign


# Where the fence cannot be built

REFUSING = """
import os, sys
from gatescan.gatefence import seccomp
made = seccomp.Filter(foreign=False)
made.refuse(["landlock_create_ruleset"] if "landlock" in sys.argv[1] else [])
made.refuse(["seccomp"] if "seccomp" in sys.argv[1] else [])
if "prctl" in sys.argv[1]:
    made.refuse(["prctl"], (0, 4, 22, 0))  # PR_SET_SECCOMP
made.load()
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("landlock", ["no Landlock (system call 444: Operation not permitted)", "system calls filtered"]),
        # as a unit's SystemCallFilter=@system-service of Debian 12: the filter is set in the old way
        ("landlock+seccomp", ["no Landlock", "; system calls filtered"]),
        ("seccomp+prctl", ["system calls not filtered (libseccomp's load: "]),
        ("landlock+seccomp+prctl", ["no Landlock", "system calls not filtered"]),
    ],
)
def test_mail_is_served_where_the_fence_is_not_allowed(scanner: Scanner, refused: str, words: list[str]) -> None:
    with scanner.gateway.daemon(["-c", REFUSING, refused, "-m", "gatescan", "daemon"]) as daemon:
        assert scanner.gateway.send(HARMLESS).status == 0
        daemon.wait_for("workers' fence: part")
        told = next(line for line in daemon.said if "WARNING workers' fence" in line)
        assert all(word in told for word in words), told
        if "prctl" in refused:
            daemon.wait_for("the master's system calls are not filtered")
        (check,) = fence_checks(scanner)
    assert check["state"] == "warning"
    assert all(word in check["what"] for word in words)


def fence_checks(scanner: Scanner) -> list[dict[str, Any]]:
    """What the doctor says of the fence."""
    lines = map(json.loads, scanner.run("doctor", "--json").stdout.splitlines())
    return [line for line in lines if line["what"].startswith("fence:")]


def test_the_doctor_tells_what_is_in_force(scanner: Scanner) -> None:
    with scanner.daemon():
        (check,) = fence_checks(scanner)
    if landlock_version() < 2:
        assert check["state"] == "warning"
        return
    assert check["state"] == "ok", check
    assert f"Landlock {landlock_version()}; system calls filtered; NoNewPrivs and Seccomp in 2 workers" in check["what"]


def test_the_doctor_tells_that_it_is_off(scanner: Scanner) -> None:
    scanner.gateway.config["daemon"]["confined"] = False
    with scanner.daemon():
        (check,) = fence_checks(scanner)
    assert (check["state"], check["what"]) == ("warning", "fence: switched off by daemon.confined")


@pytest.mark.parametrize(
    ("key", "value"), [("confined", "off"), ("readable", "/opt"), ("readable", ["opt"]), ("writable", ["/"])]
)
def test_a_wrong_value_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"daemon.{key}"):
        parse({"daemon": {key: value}})


def test_a_worker_without_programs_may_execute_nothing() -> None:
    assert not any(rule.rights & landlock.EXECUTE for rule in fence.rules(Config(), Needs()))
    writable = [rule.path for rule in fence.rules(Config(), Needs()) if rule.rights & landlock.MAKE_REG]
    assert set(map(str, writable)) == {
        *("/var/spool/gatescan", "/var/spool/gatescan/quarantine", "/var/lib/gatescan/metrics", "/var/log/gatescan")
    }


def test_an_unknown_system_call_is_left_out() -> None:
    made = seccomp.Filter(foreign=False)
    made.refuse(["no_such_call_in_any_kernel", "mount"])
    other = seccomp.Filter(foreign=False)
    other.refuse(["mount"])
    assert made.digest() == other.digest()
    assert sys.platform == "linux"
