"""mount_options: /etc/fstab keeps all but the options that are added, and what is mounted follows where it may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mount_options
import pytest
from on_gateway import mounts

from tests.modules import run_module

ALL = ["nodev", "noexec", "nosuid"]

FSTAB = """\
# what the installer wrote
UUID=0a1b / ext4 errors=remount-ro 0 1
UUID=2c3d\t/home\text4\tdefaults,discard\t0\t2 # people
#UUID=old /var/log ext4 defaults 0 2
/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0
"""

# Writes down how it was called, and refuses what lies below a folder of that name.
MOUNT = """\
#!/bin/sh
echo "$@" >> "${0%/*}/calls"
case $4 in */refused*) exit 32 ;; esac
"""


class Host:
    """A table of file systems, what the kernel shows as mounted, and a mount(8) that takes notes."""

    def __init__(self, folder: Path) -> None:
        self.fstab = folder / "fstab"
        self.fstab.write_text(FSTAB)
        self.mounts = folder / "mountinfo"
        self.mounts.write_text("")
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.programs / "mount").write_text(MOUNT)
        (self.programs / "mount").chmod(0o755)

    def mount(self, path: str, options: str, kind: str = "ext4") -> None:
        """Let the kernel show one more mount."""
        with self.mounts.open("a") as handle:
            handle.write(f"36 25 0:30 / {path} {options} shared:1 - {kind} /dev/vda {options.split(',')[0]},errors=x\n")

    def run(self, wanted: dict[str, Any], check: bool = False, fails: bool = False, **options: Any) -> Any:
        """Run the module; return what it says."""
        arguments = {"wanted": wanted, "fstab": str(self.fstab), "mounts": str(self.mounts), **options}
        answer = run_module("mount_options", arguments, check, programs=self.programs)
        assert answer.get("failed", False) is fails, answer
        return answer

    @property
    def calls(self) -> list[str]:
        """How mount(8) was called."""
        notes = self.programs / "calls"
        return notes.read_text().splitlines() if notes.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_line_gets_what_it_lacks_and_keeps_the_rest(host: Host) -> None:
    host.fstab.chmod(0o640)
    told = host.run({"/home": ALL, "/var/log": ALL})
    assert host.fstab.read_text() == FSTAB.replace("defaults,discard", "defaults,discard,nodev,noexec,nosuid")
    assert (told["changed"], told["apart"], host.calls) == (True, ["/home"], [])
    assert told["report"] == ["/var/log is no partition of its own"]
    assert host.fstab.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in host.fstab.parent.iterdir() if path.name.startswith(".mount_options")] == []
    assert host.run({"/home": ALL, "/var/log": ALL})["changed"] is False


@pytest.mark.parametrize(
    ("line", "after"),
    [
        pytest.param("a /p ext4 nosuid,noexec,nodev 0 0\n", None, id="all there"),
        pytest.param(
            "a /p ext4 noexec,exec 0 0\n", "a /p ext4 noexec,exec,nodev,noexec,nosuid 0 0\n", id="last counts"
        ),
        pytest.param("a /p ext4 user 0 0\n", None, id="user implies all"),
        pytest.param(
            "a /p ext4 users,exec 0 0\n", "a /p ext4 users,exec,noexec 0 0\n", id="but for what is given back"
        ),
        pytest.param("a /p ext4\n", "a /p ext4 defaults,nodev,noexec,nosuid\n", id="no options"),
        pytest.param("a /p/ ext4 ro 0 0", "a /p/ ext4 ro,nodev,noexec,nosuid 0 0", id="slash, no end of line"),
        pytest.param("# a /p ext4 ro 0 0\n", None, id="comment"),
        pytest.param("a /p2 ext4 ro 0 0\n", None, id="another path"),
        pytest.param("\n", None, id="empty"),
    ],
)
def test_how_a_line_is_amended(line: str, after: str | None) -> None:
    assert mount_options.amended(line, {"/p": ALL}) == (line if after is None else after)


def test_blanks_in_a_path_are_read_as_they_are_written() -> None:
    assert mount_options.listed("a /my\\040disk ext4 ro 0 0\n") == {"/my disk": ["ro"]}
    assert list(mounts.mounted("1 2 0:3 / /my\\040disk rw - ext4 a rw\n")) == ["/my disk"]


def test_what_is_mounted_without_them_is_mounted_anew(host: Host) -> None:
    host.mount("/home", "ro,nosuid,relatime")
    told = host.run({"/home": ALL})
    assert host.calls == ["-o remount,bind,ro,nosuid,nodev,noexec none /home"]
    assert told["changed"] is True


def test_of_two_mounts_at_one_path_the_one_above_counts(host: Host) -> None:
    host.mount("/home", "rw")
    host.mount("/home", "rw,nodev,noexec,nosuid")
    host.run({"/home": ALL})
    assert host.calls == []


def test_what_may_not_be_mounted_anew_is_named_and_no_failure(host: Host) -> None:
    host.fstab.write_text("a /refused ext4 nosuid 0 0\n")
    host.mount("/refused", "rw,nodev")
    told = host.run({"/refused": ["nosuid"]})
    assert (told["changed"], told["apart"]) == (False, ["/refused"])
    assert told["report"] == ["/refused is mounted without nosuid, and may not be mounted anew here"]


def test_what_others_mount_is_named_and_left(host: Host) -> None:
    host.mount("/var/log", "rw,nosuid")
    told = host.run({"/var/log": ALL})
    assert (told["changed"], host.calls, host.fstab.read_text()) == (False, [], FSTAB)
    assert told["report"] == ["/var/log is mounted without nodev, noexec, and not by a line of /etc/fstab"]


def test_what_systemd_mounts_gets_a_line(host: Host) -> None:
    host.fstab.write_text("no end of line")
    host.mount("/tmp", "rw,nosuid", "tmpfs")
    host.mount("/dev/shm", "rw,nodev,noexec,nosuid", "tmpfs")
    wanted = {"/dev/shm": ALL, "/tmp": ALL}
    host.run(wanted, own={"/dev/shm": "", "/tmp": "size=50%"})
    assert host.fstab.read_text() == (
        "no end of line\n"
        "tmpfs /dev/shm tmpfs nodev,noexec,nosuid 0 0\n"
        "tmpfs /tmp tmpfs size=50%,nodev,noexec,nosuid 0 0\n"
    )
    assert host.calls == ["-o remount,bind,nosuid,nodev,noexec none /tmp"]


def test_a_disk_at_a_path_of_systemds_gets_no_tmpfs_over_it(host: Host) -> None:
    host.mount("/tmp", "rw,nodev,noexec,nosuid", "ext4")
    assert host.run({"/tmp": ALL}, own={"/tmp": "size=50%"})["changed"] is False
    assert host.fstab.read_text() == FSTAB


def test_without_enforcement_all_is_named_and_nothing_changed(host: Host) -> None:
    host.mount("/home", "rw,nodev")
    told = host.run({"/home": ["nodev", "noexec"], "/srv": ALL}, enforce=False)
    assert (told["changed"], host.calls, host.fstab.read_text()) == (False, [], FSTAB)
    assert told["report"] == [
        "/srv is no partition of its own",
        "/home lacks nodev, noexec in /etc/fstab",
        "/home lacks noexec as it is mounted",
    ]


def test_a_check_changes_nothing_and_shows_what_it_would(host: Host) -> None:
    host.mount("/home", "rw,nodev,noexec")
    told = host.run({"/home": ALL}, check=True)
    assert (told["changed"], host.calls, host.fstab.read_text()) == (True, [], FSTAB)
    assert "defaults,discard,nodev,noexec,nosuid" in told["diff"][0]["after"]
    assert (told["diff"][1]["after"] == "/home rw,nodev,noexec,nosuid\n") is mounts.may_mount()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"/home": ALL, "home": ["nodev"]}, "'home' is not the absolute path"),
        ({"/home": ALL, "/a b": ["nodev"]}, "'/a b' is not the absolute path"),
        ({"/home": ALL, "/tmp/": ["nodev"]}, "'/tmp/' is not the absolute path"),
        ({"/home": ALL, "/tmp": ["nodev,x"]}, "/tmp: ['nodev,x'] is not a list of"),
        ({"/home": ALL, "/tmp": "nodev"}, "/tmp: 'nodev' is not a list of"),
    ],
)
def test_a_wrong_entry_is_named_before_anything_changes(host: Host, wanted: dict[str, Any], words: str) -> None:
    assert words in host.run(wanted, fails=True)["msg"]
    assert host.fstab.read_text() == FSTAB


def test_a_missing_table_is_made(host: Host) -> None:
    host.fstab.unlink()
    host.mount("/dev/shm", "rw,nodev,noexec,nosuid", "tmpfs")
    host.run({"/dev/shm": ALL}, own={"/dev/shm": ""})
    assert host.fstab.read_text() == "tmpfs /dev/shm tmpfs nodev,noexec,nosuid 0 0\n"
    assert host.fstab.stat().st_mode & 0o777 == 0o644
