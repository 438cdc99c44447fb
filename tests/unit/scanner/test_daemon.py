"""The daemon as its clients and its supervisor see it: real processes, a judge that does as the message says."""

from __future__ import annotations

import array
import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rig
from gatescan.config import load
from gatescan.service import protocol, waiting
from gatescan.service.daemon import Channels, wait_until_loaded
from gatescan.service.slots import Deaths, Slots
from gatescan.service.worker import Shared, Worker
from rig import ENVELOPE, Gateway, saw, wait_until
from stub_daemon import handler_of

pytestmark = pytest.mark.slow  # a process or more for each test

BODY = b"\n\nbody\n"


def fifo(directory: Path) -> Path:
    """A fifo that a message can make its worker wait for."""
    path = Path(tempfile.mkdtemp(dir=directory / "gates")) / "fifo"
    os.mkfifo(path)
    return path


def occupied(gateway: Gateway, gate: Path, **env: Any) -> rig.Call:
    """A message that keeps a worker until somebody writes to `gate`; returns once the worker has begun."""
    call = gateway.call(**env)
    call.write(b"wait %s" % os.fsencode(gate) + BODY, ENVELOPE)
    wait_until(Path(f"{gate}.begun").exists, "a worker has begun")
    return call


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_message_is_judged_and_passed_on(gateway: Gateway) -> None:
    with gateway.daemon():
        sent = gateway.send(b"pass" + BODY, rig.wire(b"", b"x@example.net"), TCPREMOTEIP="192.0.2.1")
        message, envelope = gateway.records.of(sent.pid)
        seen = saw(gateway, sent)
    assert sent.status == 0
    assert message.endswith(b"}\npass" + BODY)
    assert envelope == rig.wire(b"", b"x@example.net")
    assert seen["pid"] == sent.pid  # the `qp` of qmail-send's log
    assert (seen["sender"], seen["recipients"], seen["uid"]) == ("", 1, os.getuid())
    assert seen["env"] == {"TCPREMOTEIP": "192.0.2.1"}


def test_a_ping_is_answered_by_a_worker_and_leaves_no_word(gateway: Gateway) -> None:
    path = Path(gateway.config["daemon"]["socket"])
    with gateway.daemon() as daemon:
        began = protocol.ping(path, 10).loaded
        assert began <= time.time()
        for child in daemon.children():
            os.kill(child, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            protocol.ping(path, 0.2)
        for child in daemon.children():
            os.kill(child, signal.SIGCONT)
        assert gateway.send(b"pass" + BODY).status == 0
        assert not [line for line in daemon.said if "process" in line]
    with pytest.raises(OSError):
        protocol.ping(path, 10)


def test_held_refused_and_failed(gateway: Gateway) -> None:
    with gateway.daemon() as daemon:
        assert gateway.send(b"hold").status == 0
        assert gateway.send(b"code 31").status == 31
        refused = gateway.send(b"code 31 Dno", GATESCAN_TEXT_FD="6")
        assert (refused.status, refused.text) == (82, b"Dno")
        assert gateway.send(b"raise").status == 71
        daemon.wait_for("RuntimeError")
        assert gateway.records.all == []


def test_a_message_that_kills_its_worker(gateway: Gateway) -> None:
    """Its client is told to try again; the message beside it is served, and so is the next one."""
    gate = fifo(gateway.root)
    with gateway.daemon() as daemon:
        beside = occupied(gateway, gate, TCPREMOTEIP="192.0.2.1")
        assert gateway.send(b"kill 9" + BODY).status == 71
        assert gateway.send(b"kill 11" + BODY).status == 71
        daemon.wait_for("ended by signal 11")
        assert gateway.send(b"pass" + BODY).status == 0
        gate.write_text("go")
        assert beside.finish().status == 0
        wait_until(lambda: len(daemon.children()) == 2, "two workers again")


def test_a_message_that_takes_too_long(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"deadline": 0.5}
    with gateway.daemon() as daemon:
        assert gateway.send(b"stuck" + BODY).status == 71
        daemon.wait_for("past its deadline")
        assert gateway.send(b"pass" + BODY).status == 0


def test_a_stopped_worker_does_not_hold_its_message_for_ever(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"deadline": 0.5, "workers": 1}
    with gateway.daemon() as daemon:
        assert gateway.send(b"kill %d" % signal.SIGSTOP + BODY).status == 71
        daemon.wait_for("ended by signal 9")
        assert gateway.send(b"pass" + BODY).status == 0


def test_a_message_that_wants_too_much_memory(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"memory_bytes": 400_000_000}
    with gateway.daemon() as daemon:
        assert gateway.send(b"grow 1000000000" + BODY).status == 71
        daemon.wait_for("MemoryError")
        assert gateway.send(b"pass" + BODY).status == 0


def test_full(gateway: Gateway) -> None:
    """All workers busy and as many waiting as may: the next client is refused at once, none of the others."""
    gateway.config["daemon"] |= {"workers": 1, "backlog": 1}
    gate = fifo(gateway.root)
    with gateway.daemon():
        busy = occupied(gateway, gate)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        for connection in waiting:
            connection.connect(str(gateway.socket))
        assert gateway.send(b"pass" + BODY).status == 71
        for connection in waiting:
            connection.close()
        gate.write_text("go")
        assert busy.finish().status == 0
        wait_until(lambda: gateway.send(b"pass" + BODY).status == 0, "room again")


def test_workers_are_replaced_after_their_share(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"workers": 1, "recycle_messages": 3}
    with gateway.daemon():
        workers = [saw(gateway, gateway.send(b"pass" + BODY))["worker"] for _ in range(7)]
    assert len(set(workers[:3])) == len(set(workers[3:6])) == 1
    assert len(set(workers)) == 3


def test_what_a_costly_message_took_is_given_back(gateway: Gateway) -> None:
    """A worker lives for thousands of messages: what one of them took must not stay with it."""
    heap = 80_000_000
    gateway.config["daemon"] |= {"workers": 1}
    with gateway.daemon():
        worker = saw(gateway, gateway.send(b"pass" + BODY))["worker"]
        before = resident(worker)
        assert saw(gateway, gateway.send(b"heap %d" % heap + BODY))["worker"] == worker
        wait_until(lambda: resident(worker) < before + heap / 3, "its memory is given back")


def test_sigterm_finishes_what_was_begun(gateway: Gateway) -> None:
    gate = fifo(gateway.root)
    gateway.config["daemon"] |= {"workers": 1}
    with gateway.daemon() as daemon:
        present = occupied(gateway, gate)
        waiting = gateway.call()
        waiting.write(b"pass" + BODY, ENVELOPE)
        daemon.signal(signal.SIGTERM)
        assert waiting.finish().status == 71  # at once, not when the worker is free
        assert gateway.send(b"pass" + BODY).status == 71
        gate.write_text("go")
        assert present.finish().status == 0
        assert daemon.end() == 0


def test_the_master_is_killed(gateway: Gateway) -> None:
    """A begun message is finished, who waits is told to try again, and the workers end by themselves."""
    gate = fifo(gateway.root)
    gateway.config["daemon"] |= {"workers": 2}
    with gateway.daemon() as daemon:
        present = occupied(gateway, gate)
        workers = daemon.children()
        daemon.signal(signal.SIGKILL)
        wait_until(lambda: sum(alive(pid) for pid in workers) == 1, "the idle worker ends")
        assert gateway.send(b"pass" + BODY).status == 71
        with gateway.daemon():  # the supervisor starts the next one while the old worker is still busy
            assert gateway.send(b"pass" + BODY).status == 0
            gate.write_text("go")
            assert present.finish().status == 0
            wait_until(lambda: not any(alive(pid) for pid in workers), "the last worker ends")
            assert gateway.send(b"pass" + BODY).status == 0


def alive(pid: int) -> bool:
    """Is there such a process, other than as a zombie?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_socket_is_never_absent(gateway: Gateway) -> None:
    """Stopped, and while the next one starts: clients find a socket, if one that refuses."""
    with gateway.daemon():
        first = gateway.socket.stat().st_ino
        assert stat.S_IMODE(gateway.socket.stat().st_mode) == 0o660
    assert gateway.socket.is_socket()
    with gateway.daemon():
        assert gateway.socket.stat().st_ino != first
        assert sorted(path.name for path in gateway.root.glob("s*")) == ["s", "spool"]


def test_reload_takes_the_new_configuration_and_refuses_nobody(gateway: Gateway) -> None:
    gate = fifo(gateway.root)
    gateway.config["hostname"] = "old.example.org"
    with gateway.daemon() as daemon:
        master = daemon.process.pid
        old = occupied(gateway, gate)
        inode = gateway.socket.stat().st_ino
        gateway.config |= {"hostname": "new.example.org"}
        gateway.config["daemon"] |= {"workers": 3}
        path = gateway.write_config()
        daemon.signal(signal.SIGHUP)
        seen = []
        while "new.example.org" not in seen:
            sent = gateway.send(b"pass" + BODY)
            assert sent.status == 0
            seen.append(saw(gateway, sent)["hostname"])
        daemon.wait_for("3 workers serve")
        assert gateway.socket.stat().st_ino == inode
        gate.write_text("go")
        finished = old.finish()
        assert finished.status == 0
        assert saw(gateway, finished)["hostname"] == "old.example.org"
        wait_until(lambda: len(daemon.children()) == 3, "the old workers end")
        assert daemon.process.pid == master
        since = time.time()
        assert not wait_until_loaded(path, since, 0.3), "not before it is told"
        daemon.signal(signal.SIGHUP)
        assert wait_until_loaded(path, since, 30)
        daemon.wait_for("3 workers serve", 2)
        assert gateway.send(b"pass" + BODY).status == 0
        assert daemon.end() == 0


def test_the_release_before_finds_socket_and_workers_after_a_reload(gateway: Gateway) -> None:
    with gateway.daemon() as daemon:
        old = daemon.children()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("workers serve", 2)
        words = Path(f"/proc/{daemon.process.pid}/environ").read_bytes().split(b"\0")
        (told,) = [word for word in words if word.startswith(b"GATESCAN_INHERITED=")]
        # release 1.0.0 reads four words and, of any other number, none: it then kept nobody's socket
        pid, listener, lifeline, workers = told.partition(b"=")[2].split(b":")
        assert int(pid) == daemon.process.pid and listener.isdigit() and lifeline.isdigit()
        assert {int(word) for word in workers.split(b",")} == old


def test_who_comes_in_the_moment_of_a_reload_is_served_by_a_new_worker(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"recycle_messages": 1}
    config = load(gateway.write_config())
    dismissed, word = os.pipe()
    os.write(word, b"\n")
    lifeline, its_end = os.pipe()
    channels = Channels.new()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client,
    ):
        listener.setblocking(False)
        listener.bind(str(gateway.socket))
        listener.listen()
        client.settimeout(1)
        client.connect(str(gateway.socket))
        client.send(protocol.PING)
        shared = Shared(listener, channels.handover[0], channels.returned[1], dismissed, Slots(1), Deaths())
        Worker(0, shared, handler_of(config), config, 17.0, "").run()
        (passed_on,) = iter(lambda: waiting.receive(channels.handover[1]), None)  # nobody else was woken by him
        with passed_on:
            waiting.give(passed_on, channels.returned[0])
        shared = replace(shared, lifeline=lifeline)
        Worker(0, shared, handler_of(config), config, 18.0, "").run()
        assert b"18.0" in client.recv(100)
    for fd in (dismissed, word, lifeline, its_end, *channels.fds()):
        os.close(fd)


def test_once_a_new_worker_has_answered_no_old_one_takes_a_message(gateway: Gateway) -> None:
    gateway.config["hostname"] = "old.example.org"
    with gateway.daemon() as daemon:
        old = daemon.children()
        for pid in old:
            os.kill(pid, signal.SIGSTOP)
        gateway.config["hostname"] = "new.example.org"
        since, path = time.time(), gateway.write_config()
        daemon.signal(signal.SIGHUP)
        assert wait_until_loaded(path, since, 30)
        new = daemon.children() - old
        for pid in new:
            os.kill(pid, signal.SIGSTOP)
        call = gateway.call()
        call.write(b"pass" + BODY, ENVELOPE)
        for pid in old:
            os.kill(pid, signal.SIGCONT)  # as on a busy machine, where they hear of the reload late
        wait_until(lambda: not daemon.children() & old, "the old workers end")
        for pid in new:
            os.kill(pid, signal.SIGCONT)
        sent = call.finish()
        assert sent.status == 0
        assert saw(gateway, sent)["hostname"] == "new.example.org"


def test_reload_of_a_bad_configuration_changes_nothing(gateway: Gateway) -> None:
    gateway.config["hostname"] = "old.example.org"
    with gateway.daemon() as daemon:
        workers = daemon.children()
        gateway.config |= {"hostname": "new.example.org", "quarantien": {}}
        gateway.write_config()
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("quarantien: no such key")
        daemon.wait_for("old configuration stays in force")
        assert saw(gateway, gateway.send(b"pass" + BODY))["hostname"] == "old.example.org"
        assert daemon.children() == workers


def test_confinement(gateway: Gateway) -> None:
    with gateway.daemon() as daemon:
        for pid in (daemon.process.pid, *daemon.children()):
            status = Path(f"/proc/{pid}/status").read_text()
            assert "NoNewPrivs:\t1" in status
            assert re.search(r"Max core file size +0 +0", Path(f"/proc/{pid}/limits").read_text())
        worker = daemon.children().pop()
        score = Path(f"/proc/{worker}/oom_score_adj")
        wait_until(lambda: score.read_text() == "500\n", "the worker confines itself to the end")
        limits = Path(f"/proc/{worker}/limits").read_text()
        assert re.search(r"Max address space +1500000000 +1500000000", limits)
        assert re.search(r"Max open files +256 +256", limits)
        assert stat.S_IMODE((gateway.root / "spool/tmp").stat().st_mode) == 0o700


@pytest.mark.parametrize("trap", ["link", "open", "file"])
def test_a_work_directory_that_somebody_else_prepared(gateway: Gateway, trap: str) -> None:
    tmp = gateway.root / "spool/tmp"
    if trap == "link":
        (gateway.root / "elsewhere").mkdir(mode=0o700)
        (gateway.root / "elsewhere/kept").touch()
        tmp.symlink_to(gateway.root / "elsewhere")
    elif trap == "open":
        tmp.mkdir()
        tmp.chmod(0o777)
    else:
        tmp.touch()
    daemon = rig.Daemon([sys.executable, rig.STUB_DAEMON, "--config", gateway.write_config(), "--allow-root"])
    assert daemon.process.wait(rig.PATIENCE) == 1
    daemon.wait_for("spool/tmp")
    if trap == "link":
        assert (gateway.root / "elsewhere/kept").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can see that root is refused")
def test_root_is_refused(gateway: Gateway) -> None:
    command = [sys.executable, str(rig.STUB_DAEMON), "--config", str(gateway.write_config())]
    env = os.environ | {"PYTHONPATH": str(rig.SCANNER_FILES)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "refusing to run as root" in done.stderr


def strange(gateway: Gateway, text: bytes, files: list[int]) -> bytes:
    """Send one packet that no client of ours would; returns the reply."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(gateway.socket))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        connection.sendmsg([text], rights)
        return connection.recv(4096)


def memory_file(data: bytes, seals: int = protocol._SEALS) -> int:
    """A sealed memory file."""
    import fcntl

    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


ROOM = b"\0" * protocol.HEADER_ROOM


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("nothing", 71),
        ("one file", 71),
        ("three files", 71),
        ("version", 71),
        ("not memory", 71),
        ("not sealed", 71),
        ("no room", 71),
        ("envelope", 91),
        ("long address", 11),
        ("huge", 71),
        ("good", 0),
    ],
)
def test_strange_requests(gateway: Gateway, case: str, code: int) -> None:
    """Whoever may connect may send anything: he gets a code, and the worker serves on."""
    message, envelope = memory_file(ROOM + b"pass" + BODY), memory_file(ENVELOPE)
    text, files = b"\1", [message, envelope]
    if case == "nothing":
        files = []
    elif case == "one file":
        files = [message]
    elif case == "three files":
        files = [message, envelope, envelope]
    elif case == "version":
        text = b"\2"
    elif case == "not memory":
        files = [os.open("/dev/zero", os.O_RDWR), envelope]
    elif case == "not sealed":
        files = [memory_file(ROOM + b"pass", 0), envelope]
    elif case == "no room":
        files = [memory_file(b"pass"), envelope]
    elif case == "envelope":
        files = [message, memory_file(b"Fa\0Tb\0")]
    elif case == "long address":
        files = [message, memory_file(rig.wire(b"x" * 2000))]
    elif case == "huge":
        huge = os.memfd_create("test", os.MFD_ALLOW_SEALING)
        os.ftruncate(huge, 1 << 50)
        os.lseek(huge, 0, os.SEEK_END)
        files = [message, huge]
    with gateway.daemon() as daemon:
        workers = daemon.children()
        assert strange(gateway, text, files)[1] == code
        assert gateway.send(b"pass" + BODY).status == 0
        assert daemon.children() == workers


def connected(gateway: Gateway) -> socket.socket:
    """A client that has connected and says nothing."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(rig.PATIENCE)
    client.connect(str(gateway.socket))
    return client


def test_clients_that_say_nothing_cost_no_worker(gateway: Gateway) -> None:
    """Each kept a worker for two seconds; the one that speaks late is served, and the master keeps a bound."""
    gateway.config["daemon"] |= {"workers": 1, "backlog": 10}
    with gateway.daemon() as daemon:
        silent = []
        for _ in range(5):
            silent += [connected(gateway) for _ in range(4)]
            begun = time.monotonic()
            assert gateway.send(b"pass" + BODY).status == 0
            assert time.monotonic() - begun < 2
        late = silent.pop()
        late.sendmsg([b"\1"], [rights(memory_file(ROOM + b"pass" + BODY), memory_file(ENVELOPE))])
        assert late.recv(4096)[1] == 0
        for client in (*silent, late):
            client.close()
        assert len(daemon.said) < 10, "no line for each of them"


def test_bad_clients_cannot_fill_the_log(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"workers": 1}
    with gateway.daemon() as daemon:
        for _ in range(50):
            strange(gateway, b"\2", [memory_file(b""), memory_file(b"")])
        assert gateway.send(b"pass" + BODY).status == 0
        assert sum("version 2" in line for line in daemon.said) < 10


def test_a_file_that_is_larger_than_what_it_holds(gateway: Gateway) -> None:
    """A sparse memory file of 1.2 GB costs its maker nothing; it would cost the quarantine its room."""
    import fcntl

    sparse = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(sparse, 100 << 20)
    fcntl.fcntl(sparse, fcntl.F_ADD_SEALS, protocol._SEALS)
    with gateway.daemon() as daemon:
        assert strange(gateway, b"\1", [sparse, memory_file(ENVELOPE)])[1] == 71
        daemon.wait_for("that holds")


def rights(*files: int) -> tuple[int, int, array.array[int]]:
    """Descriptors to send along."""
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files)


def test_workers_are_replaced_after_any_number_of_reloads(gateway: Gateway) -> None:
    """After the first reload no worker was ever replaced, and mail stopped when the last had done its share."""
    gateway.config["daemon"] |= {"workers": 2, "recycle_messages": 3}
    seen: set[int] = set()
    with gateway.daemon() as daemon:
        first = descriptors_of(daemon.process.pid)
        for reload in range(4):
            for number in range(8):
                sent = gateway.send(b"pass" + BODY)
                assert sent.status == 0, (reload, number)
                seen.add(saw(gateway, sent)["worker"])
            os.kill(daemon.children().pop(), signal.SIGKILL)
            since = time.time()
            daemon.signal(signal.SIGHUP)
            assert wait_until_loaded(gateway.root / "config.json", since, rig.PATIENCE)
            wait_until(lambda: len(daemon.children()) == 2, "two workers")
        assert gateway.send(b"pass" + BODY).status == 0
        assert descriptors_of(daemon.process.pid) == first
        assert not [line for line in daemon.said if "failed" in line]
    assert len(seen) > 8


def descriptors_of(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_master_without_workers_ends_and_says_so(gateway: Gateway) -> None:
    """Whatever keeps workers from serving: supervise starts the daemon anew."""
    gateway.config["daemon"] |= {"workers": 2, "watchdog": 0.3}
    with gateway.daemon() as daemon:

        def ended() -> bool:
            with contextlib.suppress(OSError):
                for worker in daemon.children():
                    os.kill(worker, signal.SIGKILL)
            return daemon.process.poll() is not None

        wait_until(ended, "the master ends")
        assert daemon.process.returncode == 1
        daemon.wait_for("no worker has served for")


LATE = """
import runpy, sys, time
from gatescan.service.slots import Slots
ready = Slots.ready
def late(*arguments):
    time.sleep(1.5)
    ready(*arguments)
Slots.ready = late
del sys.argv[0]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Workers that begin late, as on a busy machine."""


def test_workers_that_are_about_to_serve_are_not_told_as_missing(gateway: Gateway) -> None:
    """After each start and reload the doctor found a broken daemon, for 15 seconds."""
    figures = gateway.root / "gatescan-daemon.prom"
    gateway.config["journal"] = {"metrics": str(gateway.root / "metrics")}
    with gateway.daemon(("-c", LATE, rig.STUB_DAEMON)) as daemon:
        wait_until(figures.exists, "the master's figures")
        assert "\ngatescan_workers 0\n" not in figures.read_text()
        assert daemon.process.poll() is None


def test_one_greedy_source_leaves_room_for_others(gateway: Gateway) -> None:
    """All workers were one sender's, and the next one waited until they were done."""
    gateway.config["daemon"] |= {"workers": 2, "spare_workers": 2}
    greedy = {"TCPREMOTEIP": "2001:db8::1"}
    gates = [fifo(gateway.root) for _ in range(8)]
    with gateway.daemon() as daemon:
        calls = [gateway.call(TCPREMOTEIP=f"2001:db8::{number}") for number, _ in enumerate(gates, 1)]
        for call, gate in zip(calls, gates, strict=True):
            call.write(b"wait %s" % os.fsencode(gate) + BODY, ENVELOPE)
        wait_until(lambda: sum(Path(f"{gate}.begun").exists() for gate in gates) >= 2, "it has its workers")
        begun = time.monotonic()
        for number in range(5):
            assert gateway.send(b"pass" + BODY, TCPREMOTEIP=f"192.0.2.{number}").status == 0
        assert time.monotonic() - begun < 5
        assert sum(Path(f"{gate}.begun").exists() for gate in gates) < 4
        # Those that wait get their turn, also when the daemon is loaded anew meanwhile.
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("workers serve", 2)
        closed = list(gates)
        while closed:
            wait_until(lambda: any(Path(f"{gate}.begun").exists() for gate in closed), "its turn")
            for gate in [gate for gate in closed if Path(f"{gate}.begun").exists()]:
                gate.write_text("go")
                closed.remove(gate)
        assert [call.finish().status for call in calls] == [0] * len(calls)
        assert gateway.send(b"pass" + BODY, env=greedy).status == 0
        wait_until(lambda: len(daemon.children()) == 2, "the spare workers end")


def test_who_waits_too_long_for_its_share_is_told_to_try_again(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"workers": 2, "source_wait": 0.5}
    gates = [fifo(gateway.root) for _ in range(2)]
    with gateway.daemon():
        present = [occupied(gateway, gate, TCPREMOTEIP="192.0.2.1") for gate in gates[:1]]
        wait_until(lambda: gateway.send(b"pass", TCPREMOTEIP="192.0.2.1").status == 71, "its share is used up")
        assert gateway.send(b"pass", TCPREMOTEIP="192.0.2.2").status == 0
        gates[0].write_text("go")
        assert present[0].finish().status == 0
        assert gateway.send(b"pass", TCPREMOTEIP="192.0.2.1").status == 0


def test_a_message_that_kills_its_worker_again_is_held_back_from_the_workers(gateway: Gateway) -> None:
    """The second time it dies in a process of its own: the worker is there to answer."""
    with gateway.daemon() as daemon:
        assert gateway.send(b"kill 9" + BODY).status == 71
        daemon.wait_for("ended by signal 9")
        traced = b"Received: from x by y;\n  28 Nov 2026\n"
        assert gateway.send(b"kill 9" + BODY).status == 71
        daemon.wait_for("died of it again")
        assert sum("ended by signal" in line for line in daemon.said) == 1
        assert gateway.send(traced + b"pass" + BODY).status == 0


def test_descriptors_do_not_pile_up(gateway: Gateway) -> None:
    gateway.config["daemon"] |= {"workers": 1}
    with gateway.daemon():
        kinds = (b"pass", b"hold", b"raise", b"code 31 Dno")
        for kind in kinds:
            gateway.send(kind + BODY)
        # The worker tells it itself: its memory is closed, and with it /proc/PID/fd, to its own user's other processes.
        before = saw(gateway, gateway.send(b"pass" + BODY))["descriptors"]
        for kind in kinds * 3:
            gateway.send(kind + BODY)
            strange(gateway, b"\2", [memory_file(b""), memory_file(b"")])
            strange(gateway, b"\1", [memory_file(b"")])
        assert saw(gateway, gateway.send(b"pass" + BODY))["descriptors"] == before, "every descriptor is closed"
