"""The patch series: each applies to its release without fuzz, and what it is for can be seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PATCHES = Path(__file__).parents[3] / "roles/qmail/files/patches"
RELEASES = ["qmail-1.03", "netqmail-1.06"]
CC = ["gcc", "-O1", "-w", "-std=gnu89", "-include", "errno.h"]

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
    archive = Path(os.environ.get("GATEWRIGHT_ARTIFACTS", "/nonexistent"), f"{request.param}.tar.gz")
    if not archive.is_file():
        pytest.skip(f"no {archive.name} in GATEWRIGHT_ARTIFACTS")
    if not shutil.which("gcc") or not shutil.which("patch"):
        pytest.skip("gcc and patch are needed to try the patches")
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    return tmp_path / request.param


def apply_series(source: Path) -> None:
    """Apply the release's patches as the build does."""
    for patch in sorted((PATCHES / source.name).glob("*.patch")):
        with patch.open() as text:
            subprocess.run(["patch", "-p1", "--fuzz=0", "--forward"], cwd=source, stdin=text, check=True)


def harness_status(source: Path) -> int:
    """Compile the release's own string and buffer functions with the harness, and run it. A crash is negative."""
    (source / "harness.c").write_text(HARNESS)
    names = "alloc alloc_re stralloc_eady stralloc_opyb stralloc_opys stralloc_catb substdo substdio"
    files = [f"{name}.c" for name in f"{names} byte_copy byte_cr str_len error".split()]
    subprocess.run([*CC, "harness.c", *files, "-o", "harness"], cwd=source, check=True)
    return subprocess.run(["./harness"], cwd=source, check=False, timeout=60).returncode


def test_lengths_cannot_wrap_once_patched(source: Path) -> None:
    assert harness_status(source) != 0, "the release as it came should show the flaw, or this test shows nothing"
    apply_series(source)
    assert harness_status(source) == 0


def test_series_applies_and_leaves_no_rejects(source: Path) -> None:
    apply_series(source)
    assert not list(source.glob("*.rej")) + list(source.glob("*.orig"))
    assert "QMAILQUEUE" in (source / "qmail.c").read_text()


@pytest.mark.slow
def test_no_pointer_goes_through_an_int(source: Path) -> None:
    """A function that is not declared returns an int: a pointer cut to that crashes a program at high addresses."""
    apply_series(source)
    (source / "conf-cc").write_text("gcc -O1 -std=gnu89 -include errno.h -Wint-to-pointer-cast\n")
    # -k: qmail's users are not on every machine, and only what holds their numbers needs them
    done = subprocess.run(["make", "-s", "-k", "it"], cwd=source, capture_output=True, text=True, check=False)
    assert (source / "spawn.o").is_file() and (source / "qmail-smtpd.o").is_file()
    assert not [line for line in done.stderr.splitlines() if "int-to-pointer-cast" in line]
