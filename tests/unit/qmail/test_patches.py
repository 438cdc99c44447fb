"""The patch series: each applies to its release without fuzz, and what it is for can be seen."""

from __future__ import annotations

import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from smtpd_rig import CC, OLD, RELEASES, apply_series, unpack

HARNESS = """
#include "stralloc.h"
#include "substdio.h"
#include "alloc.h"
static int calls;
static int sink(fd,buf,len) int fd; char *buf; int len; { calls++; return len; }
static char small[16];
int main() {
  stralloc sa = {0};
  substdio ss;
  char *big;
  if (alloc(0xfffffff8u)) return 1;                 /* rounding up wraps to a few bytes */
  if (!stralloc_copys(&sa,"x")) return 2;
  sa.len = 0x7fffffff; sa.a = 0x7fffffff;           /* what a client that sends 2 GB would bring about */
  if (stralloc_readyplus(&sa,0x80000001u)) return 3; /* the sum wraps to 0 */
  if (stralloc_catb(&sa,"",0xffffffffu)) return 4;   /* n + 1 wraps to 0 */
  if (stralloc_ready(&sa,0xf0000000u)) return 5;     /* n + n/8 wraps */
  substdio_fdbuf(&ss,sink,1,small,sizeof small);
  big = sbrk(0);
  substdio_put(&ss,big,0x80000000u);                /* as an int this is negative: it was copied into the buffer */
  return calls ? 0 : 6;
}
"""


@pytest.fixture(params=RELEASES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unpacked release, not yet patched."""
    if not shutil.which("gcc") or not shutil.which("patch"):
        pytest.skip("gcc and patch are needed to try the patches")
    return unpack(request.param, tmp_path)


def harness_status(source: Path) -> int:
    """Compile the release's own string and buffer functions with the harness, and run it. A crash is negative."""
    (source / "harness.c").write_text(HARNESS)
    names = "alloc alloc_re stralloc_eady stralloc_opyb stralloc_opys stralloc_catb substdo substdio"
    files = [f"{name}.c" for name in f"{names} byte_copy byte_cr str_len error".split()]
    subprocess.run([*CC, "harness.c", *files, "-o", "harness"], cwd=source, check=True)
    return subprocess.run(["./harness"], cwd=source, check=False, timeout=60).returncode


@pytest.mark.parametrize("source", OLD, indirect=True)
def test_lengths_cannot_wrap_once_patched(source: Path) -> None:
    assert harness_status(source) != 0, "the release as it came should show the flaw, or this test shows nothing"
    apply_series(source)
    assert harness_status(source) == 0


def test_series_applies_and_leaves_no_rejects(source: Path) -> None:
    apply_series(source)
    assert not list(source.glob("*.rej")) + list(source.glob("*.orig"))
    assert "QMAILQUEUE" in (source / "qmail.c").read_text()


MESSAGE = b"Subject: x\n\nfirst\r.\r\nMAIL FROM:<smuggled@x>\r\r.\r\r\n..dots\n\r.hidden\rlast\n"


def talk(server: socket.socket) -> bytes:
    """Take one message as a mail server does, whose lines end in CRLF; return all that came after DATA."""
    wire, _ = server.accept()
    with wire:
        wire.settimeout(30)
        wire.sendall(b"220 here\r\n")
        heard = b""
        for _ in range(4):  # HELO, MAIL, RCPT, DATA
            while not heard.endswith(b"\r\n"):
                heard += wire.recv(4096)
            wire.sendall(b"354 go\r\n" if heard.startswith(b"DATA") else b"250 ok\r\n")
            heard = b""
        while b"\r\n.\r\n" not in heard:
            heard += wire.recv(4096)
        wire.sendall(b"250 taken\r\n")
        while block := wire.recv(4096):  # QUIT, and whatever the message went on with
            heard += block
            if heard.endswith(b"QUIT\r\n"):
                break
    return heard


@pytest.mark.slow
def test_a_message_cannot_end_early_and_go_on_as_commands(source: Path, tmp_path: Path) -> None:
    apply_series(source)
    home = tmp_path / "home"
    for folder in ("control", "queue/lock"):
        (home / folder).mkdir(parents=True)
    (source / "conf-qmail").write_text(f"{home}\n")
    if source.name in OLD:
        (source / "conf-cc").write_text(" ".join(CC) + "\n")
    subprocess.run(["make", "-s", "-j2", "qmail-remote"], cwd=source, capture_output=True, check=False)
    if not (source / "qmail-remote").is_file():
        pytest.skip("qmail-remote cannot be built here without qmail's users: the lab shows the same")
    (home / "control/me").write_text("gateway.test\n")
    (home / "queue/lock/tcpto").write_bytes(bytes(1024))
    (tmp_path / "message").write_bytes(MESSAGE)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        (home / "control/smtproutes").write_text(f":127.0.0.1:{server.getsockname()[1]}\n")
        heard = pool.submit(talk, server)
        with (tmp_path / "message").open("rb") as message:
            words: list[str | Path] = [source / "qmail-remote", "corp.test", "a@world.test", "b@corp.test"]
            said = subprocess.run(words, stdin=message, capture_output=True, check=True, timeout=60).stdout
        assert said.startswith(b"r\0K"), said
        data, end, after = heard.result(60).partition(b"\r\n.\r\n")
    assert end and after == b"QUIT\r\n", "the server's first end of the message is the last"
    assert b"smuggled" in data and data.endswith(b"last")


@pytest.mark.slow
@pytest.mark.parametrize("source", OLD, indirect=True)
def test_no_pointer_goes_through_an_int(source: Path) -> None:
    """A function that is not declared returns an int: a pointer cut to that crashes a program at high addresses."""
    apply_series(source)
    (source / "conf-cc").write_text("gcc -O1 -std=gnu89 -include errno.h -Wint-to-pointer-cast\n")
    # -k: qmail's users are not on every machine, and only what holds their numbers needs them
    done = subprocess.run(["make", "-s", "-k", "it"], cwd=source, capture_output=True, text=True, check=False)
    assert (source / "spawn.o").is_file() and (source / "qmail-smtpd.o").is_file()
    assert not [line for line in done.stderr.splitlines() if "int-to-pointer-cast" in line]
