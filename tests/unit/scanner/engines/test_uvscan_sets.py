"""The role uvscan's updater, with an archive whose program is a double: only a set that does its work is used."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import rig

TOOL = rig.REPOSITORY / "roles/uvscan/files/usr/local/lib/gatewright/uvscan-sets"
# It finds what its signatures name, and says nothing useful without any.
PROGRAM = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
[ "$1" = --version ] && { echo "McAfee VirusScan v4.24.0"; exit 0; }
[ -s "$here/scan.dat" ] || exit 6
grep -q -F -f "$here/scan.dat" "$2" && exit 13
exit 0
"""
GOOD = "EICAR-STANDARD\n"


class Host:
    """A root directory, a place with updates, and the tool."""

    def __init__(self, root: Path) -> None:
        self.root, self.updates = root, root / "updates"
        self.used = root / "usr/local/uvscan"
        (root / "etc").mkdir()
        (root / "usr/local").mkdir(parents=True)
        self.updates.mkdir()
        (root / "etc/uvscan.conf").write_text(f"UPDATES='{self.updates}'\nLIST='SHA256SUMS'\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "UVSCAN_ROOT": str(self.root)}
        return subprocess.run([TOOL, *words], capture_output=True, text=True, env=environment, check=False, timeout=120)

    def install(self, signatures: str = GOOD, program: str = PROGRAM) -> subprocess.CompletedProcess[str]:
        archive = self.root / "uvscan.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for name, text in (("uvscan", program), ("scan.dat", signatures), ("uvscan.1", "")):
                member = tarfile.TarInfo(f"vlnx424/{name}")
                member.size, member.mode, member.uid = len(text), 0o4777, 4711
                tar.addfile(member, io.BytesIO(text.encode()))
        return self.run("install", str(archive), hashlib.sha256(archive.read_bytes()).hexdigest())

    def publish(self, name: str, signatures: str, *, lie: bool = False) -> None:
        with zipfile.ZipFile(self.updates / name, "w") as archive:
            archive.writestr("scan.dat", signatures)
        found = hashlib.sha256((self.updates / name).read_bytes()).hexdigest()
        (self.updates / "SHA256SUMS").write_text(f"{'0' * 64 if lie else found}  {name}\n")

    @property
    def signatures(self) -> str:
        return (self.used / "scan.dat").read_text()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_licensed_archive_is_installed(host: Host) -> None:
    done = host.install()
    assert done.returncode == 0, done.stderr
    assert host.used.is_symlink() and host.run("check").returncode == 0
    state = (host.used / "uvscan").stat()
    assert state.st_mode & 0o7777 == 0o755 and state.st_uid == os.geteuid()


@pytest.mark.parametrize(
    ("signatures", "program", "why"),
    [
        ("nothing of EICAR\n", PROGRAM, "EICAR gives exit code 0"),
        ("", PROGRAM, "clean file gives exit code 6"),
        ("harmless\n", PROGRAM, "clean file gives exit code 13"),
        (GOOD, "#!/bin/sh\nexit 127\n", "does not run"),
    ],
)
def test_a_program_that_does_not_do_its_work_is_never_used(host: Host, signatures: str, program: str, why: str) -> None:
    done = host.install(signatures, program)
    assert done.returncode == 1 and why in done.stderr
    assert not host.used.exists()


def test_an_archive_that_is_not_the_pinned_one(host: Host) -> None:
    (host.root / "a.tar").write_bytes(b"something else")
    done = host.run("install", str(host.root / "a.tar"), "0" * 64)
    assert done.returncode == 1 and "nothing was changed" in done.stderr and not host.used.exists()


def test_new_signatures_are_used_and_the_old_set_is_kept(host: Host) -> None:
    host.install()
    host.publish("dat-1.zip", GOOD + "first\n")
    assert host.run("update").returncode == 0 and "first" in host.signatures
    again = host.run("update")
    assert again.returncode == 0 and "already in use" in again.stdout
    host.publish("dat-2.zip", GOOD + "second\n")
    assert host.run("update").returncode == 0 and "second" in host.signatures
    sets = list((host.root / "usr/local/uvscan-sets").glob("set-*"))
    assert len(sets) == 2


@pytest.mark.parametrize("bad", ["", "nothing of EICAR\n", GOOD + "harmless\n"])
def test_a_broken_set_is_not_used(host: Host, bad: str) -> None:
    host.install()
    host.publish("dat-1.zip", bad)
    done = host.run("update")
    assert done.returncode == 1 and "the one in use stays" in done.stderr
    assert host.signatures == GOOD and host.run("check").returncode == 0


def test_an_update_that_does_not_verify(host: Host) -> None:
    host.install()
    host.publish("dat-1.zip", GOOD + "first\n", lie=True)
    done = host.run("update")
    assert done.returncode == 1 and "nothing was changed" in done.stderr and host.signatures == GOOD


@pytest.mark.parametrize("text", ["", "hello\n", f"{'0' * 64}  ../../etc/passwd\n"])
def test_a_list_that_is_none(host: Host, text: str) -> None:
    host.install()
    (host.updates / "SHA256SUMS").write_text(text)
    assert host.run("update").returncode == 1 and host.signatures == GOOD


def test_a_set_that_was_rolled_back_does_not_come_again(host: Host) -> None:
    host.install()
    host.publish("dat-1.zip", GOOD + "first\n")
    host.run("update")
    done = host.run("rollback")
    assert done.returncode == 0 and host.signatures == GOOD
    assert done.stdout == f"in use: {host.used.readlink()}\n", "the set that is used now, not the one that was left"
    done = host.run("update")
    assert "rolled back" in done.stdout and host.signatures == GOOD
    host.publish("dat-2.zip", GOOD + "second\n")
    assert host.run("update").returncode == 0 and "second" in host.signatures
