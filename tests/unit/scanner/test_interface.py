"""Cases 67 to 80 of what scanners were broken by, through the real client, socket, daemon and judge.

Each message goes the whole way: a caller with pipes as qmail-smtpd has them, the compiled client, the daemon with
the shipped rules, and a next queue program that keeps what it gets.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rig
from rig import Gateway, Sent, wire

pytestmark = pytest.mark.slow  # a process or more for each test

SHIPPED_RULES = rig.SCANNER_FILES / "gatescan/share/quarantine-attachments.txt"
HARMLESS = b"From: alice@example.org\nTo: bob@example.net\nSubject: lunch\n\nAt noon?\n"


def attachment(name: str, data: str = "x", headers: str = "") -> bytes:
    """A message with a file."""
    return (
        f"From: alice@example.org\nTo: bob@example.net\nSubject: a file\n{headers}MIME-Version: 1.0\n"
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\nsee the file\n'
        f'--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename="{name}"\n\n'
        f"{data}\n--b--\n"
    ).encode()


class Scanner:
    """A gateway with the whole scanner behind it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        root = gateway.root
        maildir = ("quarantine", "quarantine/tmp", "quarantine/new", "quarantine/cur")
        for name in (*maildir, "spool/notices", "log", "lib", "lib/counters"):  # as the role makes them
            (root / name).mkdir(mode=0o700)
        gateway.config |= {
            "hostname": "gw.example.net",
            "local_domains": ["example.net"],
            "next_queue": [str(gateway.records.program)],
            "quarantine": {"directory": str(root / "quarantine"), "min_free_bytes": 0},
            "rules": {"source": str(root / "rules.txt"), "compiled": str(root / "lib/rules.json")},
            "journal": {
                "quarantine_log": str(root / "log/quarantine.log"),
                "json_log": str(root / "log/messages.jsonl"),
                "metrics": str(root / "lib/gatescan.prom"),
                "counters": str(root / "lib/counters"),
            },
        }
        self.rules = root / "rules.txt"
        self.rules.write_bytes(SHIPPED_RULES.read_bytes())
        self.compiled = root / "lib/rules.json"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a gatescan command."""
        env = os.environ | {
            "PYTHONPATH": str(rig.SCANNER_FILES),
            "GATESCAN_CONFIG": str(self.gateway.write_config()),
        }
        command = [sys.executable, "-m", "gatescan", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def build_rules(self) -> None:
        """Compile the rules as the administrator does."""
        done = self.run("rules", "build")
        assert done.returncode == 0, done.stderr

    def daemon(self) -> Any:
        """The real daemon."""
        return self.gateway.daemon(["-m", "gatescan", "daemon"])

    @property
    def journal(self) -> list[dict[str, Any]]:
        """What was written down of each message."""
        path = self.gateway.root / "log/messages.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def held(self) -> list[bytes]:
        """The messages in quarantine."""
        maildir = self.gateway.root / "quarantine"
        return [path.read_bytes() for name in ("new", "cur") for path in (maildir / name).glob("*")]

    @property
    def notices(self) -> list[str]:
        """The notices that wait to be sent."""
        return [path.read_text() for path in (self.gateway.root / "spool/notices").rglob("*") if path.is_file()]


@pytest.fixture
def scanner(gateway: Gateway) -> Scanner:
    """A configured scanner with compiled rules, its daemon not yet started."""
    made = Scanner(gateway)
    made.build_rules()
    return made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, client: Path) -> Iterator[Scanner]:
    """One scanner with a daemon, for the cases that leave it as it was."""
    made = Scanner(Gateway(tmp_path_factory.mktemp("running"), client))
    made.build_rules()
    with made.daemon():
        yield made


class Trace:
    """What one message changed."""

    def __init__(self, scanner: Scanner, message: bytes, envelope: bytes = rig.ENVELOPE, **env: str) -> None:
        env = {"TCPREMOTEIP": "192.0.2.1", **env}
        before = scanner.held, scanner.notices, scanner.journal, scanner.gateway.records.all
        self.sent: Sent = scanner.gateway.send(message, envelope, env=env)
        self.held = [message for message in scanner.held if message not in before[0]]
        self.notices = [text for text in scanner.notices if text not in before[1]]
        self.journal = scanner.journal[len(before[2]) :]
        self.queued = [record for record in scanner.gateway.records.all if record not in before[3]]


@pytest.mark.parametrize(
    ("envelope", "status"),
    [
        (b"", 91),
        (b"Fa@example.org\0Tb@example.net\0", 91),
        (b"Fa@example.org\0Tb@example.net", 91),
        (b"Fa@example.org\0Fa@example.org\0Tb@example.net\0\0", 91),
        (b"Tb@example.net\0Fa@example.org\0\0", 91),
        (wire(b"a" * 1003, b"b@example.net"), 11),
        (wire(b"a@example.org", b"b" * 1004), 11),
    ],
    ids=["67-none", "67-no-final-nul", "67-cut", "68-F-twice", "68-T-first", "68-long-sender", "68-long-recipient"],
)
def test_67_68_an_envelope_that_is_none(running: Scanner, envelope: bytes, status: int) -> None:
    """Nothing queued, held, told or counted, though the message itself would be blocked."""
    trace = Trace(running, attachment("a.exe"), envelope)
    assert trace.sent.status == status
    assert (trace.queued, trace.held, trace.notices, trace.journal) == ([], [], [], [])


@pytest.mark.parametrize(
    "envelope",
    [
        wire(b"a@example.org"),
        wire(b"", b"b@example.net"),
        wire(b"a@example.org", b'"new\nline"@example.net'),
        wire(b"a@example.org", b'"quo\\"te d"@example.net', b"\xe9t\xe9@example.net"),
        wire(b"a" * 1002, b"b" * 1002),
        wire(b"a@example.org", *(b"member-%d@example.net" % n for n in range(5000))),
    ],
    ids=["68-no-recipient", "68-no-sender", "68-newline", "68-quote-8-bit", "68-longest", "69-5000-recipients"],
)
def test_68_69_an_odd_envelope_arrives_byte_by_byte(running: Scanner, envelope: bytes) -> None:
    sent = running.gateway.send(HARMLESS, envelope, TCPREMOTEIP="192.0.2.1")
    assert sent.status == 0
    assert running.gateway.records.of(sent.pid)[1] == envelope


def test_69_every_recipient_counts(scanner: Scanner) -> None:
    """A recipient domain's own action holds for the last of 5000, too."""
    strict = {"domains": {"last.example": {"policy": "reject"}}}
    scanner.gateway.config["actions"] = strict
    many = [b"member-%d@example.net" % n for n in range(4999)]
    with scanner.daemon():
        without = scanner.gateway.send(attachment("a.exe"), wire(b"a@example.org", *many), TCPREMOTEIP="192.0.2.1")
        last = wire(b"a@example.org", *many, b"x@last.example")
        assert scanner.gateway.send(attachment("a.exe"), last, TCPREMOTEIP="192.0.2.1").status == 31
    assert without.status == 0
    assert scanner.gateway.records.all == []


@pytest.mark.parametrize("message", [b"", b"\n", b"\nno header at all\n", b"X: no body"])
def test_70_hardly_a_message(running: Scanner, message: bytes) -> None:
    sent = running.gateway.send(message, TCPREMOTEIP="192.0.2.1")
    assert sent.status == 0
    queued, _ = running.gateway.records.of(sent.pid)
    assert queued.startswith(b"Received: ")
    assert queued.endswith(message)


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({"RECORDER_SIGNAL": "KILL"}, -signal.SIGKILL),
        ({"RECORDER_SIGNAL": "SEGV"}, -signal.SIGSEGV),
        ({"RECORDER_EXIT": "53"}, 53),
        ({"RECORDER_EXIT": "31"}, 31),
        ({"RECORDER_EXIT": "111"}, 111),
    ],
)
def test_71_the_next_queue_fails(running: Scanner, env: dict[str, str], status: int) -> None:
    """The caller sees what became of the queue itself, a signal as a signal: never success."""
    assert running.gateway.send(HARMLESS, TCPREMOTEIP="192.0.2.1", env=env).status == status


def test_72_no_room_for_the_copy(gateway: Gateway) -> None:
    """The copy stops half-way: a temporary failure, and nothing of the message goes on."""

    call = gateway.call()
    resource.prlimit(call.process.pid, resource.RLIMIT_FSIZE, (65536, 65536))
    call.write(b"x" * 1_000_000, rig.ENVELOPE)
    assert call.finish().status in (53, -signal.SIGXFSZ)
    assert gateway.records.all == []


def test_72_the_quarantine_cannot_be_written(scanner: Scanner) -> None:
    """What cannot be held is not accepted: 4xx, and nothing is delivered."""
    scanner.gateway.config["quarantine"]["min_free_bytes"] = 1 << 60
    with scanner.daemon():
        trace = Trace(scanner, attachment("a.exe"))
        assert trace.sent.status == 71
        assert (trace.queued, trace.held) == ([], [])
        assert scanner.gateway.send(HARMLESS, TCPREMOTEIP="192.0.2.1").status == 0


@pytest.mark.parametrize("content", [None, b"", b'{"half', b"null"], ids=["absent", "empty", "half-written", "null"])
def test_75_no_compiled_rules(scanner: Scanner, content: bytes | None) -> None:
    """Every message gets 4xx, until the rules are built; then the running daemon takes them."""
    scanner.compiled.unlink()
    if content is not None:
        scanner.compiled.write_bytes(content)
    with scanner.daemon():
        trace = Trace(scanner, HARMLESS)
        assert trace.sent.status == 71
        assert trace.queued == []
        scanner.build_rules()
        assert Trace(scanner, HARMLESS).sent.status == 0


def test_75_a_bad_edit_leaves_the_old_rules_in_force(scanner: Scanner) -> None:
    with scanner.daemon() as daemon:
        workers = daemon.children()
        scanner.rules.write_text(scanner.rules.read_text() + ".xyz 0 spaces instead of tabs\n")
        assert scanner.run("rules", "build").returncode != 0
        assert Trace(scanner, attachment("a.exe")).queued == []
        assert len(Trace(scanner, attachment("a.xyz")).queued) == 1
        scanner.compiled.write_bytes(b"{")
        assert Trace(scanner, attachment("b.exe")).queued == []
        assert daemon.children() == workers


def test_75_new_rules_are_picked_up_and_no_message_is_dropped(scanner: Scanner) -> None:
    with scanner.daemon() as daemon:
        workers = daemon.children()
        assert len(Trace(scanner, attachment("a.xyz")).queued) == 1
        scanner.rules.write_text(scanner.rules.read_text() + ".xyz\t0\tno xyz files\n")
        assert len(Trace(scanner, attachment("b.xyz")).queued) == 1  # not before they are built
        scanner.build_rules()
        for name in ("c.xyz", "d.xyz", "e.xyz", "f.xyz"):  # whichever worker gets it
            trace = Trace(scanner, attachment(name))
            assert (trace.sent.status, trace.queued, len(trace.held)) == (0, [], 1)
        assert daemon.children() == workers


NO_NOTICE_TO = {
    "empty sender": (b"", ""),
    "list": (b"owner@example.org", "List-Id: <list.example.org>\n"),
    "bulk": (b"a@example.org", "Precedence: bulk\n"),
    "robot": (b"a@example.org", "Auto-Submitted: auto-generated\n"),
}


@pytest.mark.parametrize("case", NO_NOTICE_TO)
def test_77_no_notice_about_machines(running: Scanner, case: str) -> None:
    sender, headers = NO_NOTICE_TO[case]
    trace = Trace(running, attachment("a.exe", headers=headers), wire(sender, b"bob@example.net"))
    assert trace.sent.status == 0
    assert len(trace.held) == 1
    assert trace.notices == []


def test_77_a_notice_about_people(running: Scanner) -> None:
    """The recipient hears of it, the sender does not."""
    trace = Trace(running, attachment("report.exe"), wire(b"mallory@example.org", b"bob@example.net"))
    assert len(trace.notices) == 1
    assert "bob@example.net" in json.loads(trace.notices[0])["recipients"]
    assert "mallory@example.org" not in json.dumps(json.loads(trace.notices[0]).get("recipients"))


def test_78_bcc_stays_secret(running: Scanner) -> None:
    """A recipient that no header names is in no header and in nobody else's notice."""
    envelope = wire(b"alice@example.org", b"bob@example.net", b"secret@example.com")
    delivered = Trace(running, HARMLESS, envelope)
    message, _ = running.gateway.records.of(delivered.sent.pid)
    assert b"secret" not in message
    blocked = Trace(running, attachment("b.exe"), envelope)
    assert len(blocked.held) == 1
    assert "secret" not in "".join(blocked.notices)
    # The quarantine must know all recipients; what it releases to them does not tell.
    about, _, _ = blocked.held[0].partition(b"\n")
    entry = json.loads(about.partition(b": ")[2])
    known = running.gateway.records.all
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECORDS", str(running.gateway.records.directory))
        assert running.run("quarantine", "release", entry["id"]).returncode == 0
    (released,) = [record for record in running.gateway.records.all if record not in known]
    assert b"secret" not in released[0]
    assert b"Tsecret@example.com\0" in released[1]


def test_79_what_smuggling_leaves_is_kept_as_it_is(running: Scanner) -> None:
    message = HARMLESS + b"\n.\nMAIL FROM:<x@example.org>\n.\r\n\r.\n..\nend"
    sent = running.gateway.send(message, TCPREMOTEIP="192.0.2.1")
    assert sent.status == 0
    assert running.gateway.records.of(sent.pid)[0].endswith(b"\n" + message)


EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.mark.parametrize("padding", ["", "\n", " " * 60])
def test_80_eicar_as_a_program_is_blocked_whatever_its_size(running: Scanner, padding: str) -> None:
    """By its name's extension; by its content under another name is the engines' business (issue 4)."""
    trace = Trace(running, attachment("EICAR.COM", EICAR + padding))
    assert (trace.sent.status, trace.queued, len(trace.held)) == (0, [], 1)


def test_the_headers_of_a_delivered_message(running: Scanner) -> None:
    sent = running.gateway.send(HARMLESS, TCPREMOTEIP="192.0.2.1", TCPREMOTEHOST="bad\nX-Injected: yes")
    message, _ = running.gateway.records.of(sent.pid)
    added, _, rest = message.partition(HARMLESS)
    lines = added.decode().splitlines()
    assert rest == b""
    assert lines[0].startswith("Received: from 192.0.2.1 by gw.example.net with gatescan")
    assert lines[1].startswith("X-Qmail-Scanner: ")
    assert b"X-Injected" not in message
    assert running.journal[-1]["qp"] == sent.pid


@pytest.mark.parametrize("env", [{}, {"RELAYCLIENT": ""}, {"TCPREMOTEIP": "2001:db8::1"}])
def test_under_every_caller(running: Scanner, env: dict[str, str]) -> None:
    """qmail-inject and qmail-local set no TCPREMOTEIP: harmless mail passes, blocked mail is held."""
    assert running.gateway.send(HARMLESS, env=env).status == 0
    before = len(running.gateway.records.all)
    assert running.gateway.send(attachment("a.exe"), env=env).status == 0
    assert len(running.gateway.records.all) == before


def test_a_worker_gives_back_what_a_large_message_took(scanner: Scanner) -> None:
    scanner.gateway.config["daemon"] |= {"workers": 1, "spare_workers": 0}
    body = (b"y" * 75 + b"\n") * (25_000_000 // 76)
    with scanner.daemon() as daemon:
        worker = daemon.children().pop()
        scanner.gateway.send(HARMLESS, TCPREMOTEIP="192.0.2.1")
        before = private_bytes(worker)
        for part in (body, body[: len(body) // 2]):  # malloc likes to keep a block smaller than the last
            sent = scanner.gateway.send(HARMLESS + part, TCPREMOTEIP="192.0.2.1")
            assert sent.status == 0
        assert daemon.children() == {worker}
        rig.wait_until(lambda: private_bytes(worker) - before < 2_000_000, "the worker's memory is given back")
    assert scanner.gateway.records.of(sent.pid)[0].endswith(body[: len(body) // 2])


def private_bytes(pid: int) -> int:
    """Bytes of private writable memory that a process has now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
