"""live_sysctl: the running kernel's parameters, where it has them and lets them be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.modules import run_module


class Kernel:
    """A folder in the place of /proc/sys."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, path: str, text: str) -> Path:
        """Give it a parameter; return its file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def set(self, settings: dict[str, Any], check: bool = False) -> Any:
        """Run the module; return what it says."""
        return run_module("live_sysctl", {"settings": settings, "root": str(self.root)}, check, diff=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_only_what_differs_is_set(kernel: Kernel) -> None:
    same = kernel.has("net/ipv4/ip_forward", "0\n")
    other = kernel.has("net/ipv4/tcp_syncookies", "0\n")
    before = same.stat().st_mtime_ns
    told = kernel.set({"net.ipv4.ip_forward": 0, "net.ipv4.tcp_syncookies": 1})
    assert (told["changed"], told["set"]) == (True, ["net.ipv4.tcp_syncookies"])
    assert told["diff"] == {"before": "net.ipv4.tcp_syncookies = 0\n", "after": "net.ipv4.tcp_syncookies = 1\n"}
    assert other.read_text() == "1\n"
    assert same.stat().st_mtime_ns == before


def test_a_second_run_finds_nothing_to_do_whatever_the_blanks(kernel: Kernel) -> None:
    kernel.has("net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
    assert kernel.set({"net.ipv4.tcp_rmem": "4096  131072 6291456"})["changed"] is False


def test_a_check_sets_nothing(kernel: Kernel) -> None:
    file = kernel.has("kernel/sysrq", "438\n")
    told = kernel.set({"kernel.sysrq": 0}, check=True)
    assert (told["changed"], told["set"]) == (True, ["kernel.sysrq"])
    assert file.read_text() == "438\n"


def test_a_slash_stands_for_a_dot_inside_a_name(kernel: Kernel) -> None:
    file = kernel.has("net/ipv4/conf/eth0.7/rp_filter", "0\n")
    kernel.set({"net.ipv4.conf.eth0/7.rp_filter": 1})
    assert file.read_text() == "1\n"


def test_what_the_kernel_has_not_is_named_and_is_no_change(kernel: Kernel) -> None:
    told = kernel.set({"net.ipv6.conf.all.accept_ra": 0})
    assert (told["changed"], told["absent"], told["refused"]) == (False, ["net.ipv6.conf.all.accept_ra"], [])


def test_a_value_that_does_not_take_is_named_and_is_no_change(kernel: Kernel) -> None:
    (kernel.root / "kernel").mkdir()
    (kernel.root / "kernel" / "dmesg_restrict").symlink_to("/dev/null")  # takes every write, and keeps none
    told = kernel.set({"kernel.dmesg_restrict": 1})
    assert (told["changed"], told["set"], told["refused"]) == (False, [], ["kernel.dmesg_restrict"])
