"""What runs on a gateway is what the inventory chose, packaged or from source, and nothing to build with is left."""

from __future__ import annotations

import contextlib
import os
import re

import pytest
from lab_hosts import Gateway

from lab.machine import run

# GATEWRIGHT_INSTALLED_FROM: where the scenario has the paper's programs from, `package` or `source`.
FROM_SOURCE = os.environ.get("GATEWRIGHT_INSTALLED_FROM", "package") == "source"
# Program that must be running -> package that must own its file: Debian's, or the one that Gatewright built.
PROGRAMS = {
    "svscan": ("daemontools", "gatewright-daemontools"),
    "supervise": ("daemontools", "gatewright-daemontools"),
    "multilog": ("daemontools", "gatewright-daemontools"),
    "tcpserver": ("ucspi-tcp-ipv6", "gatewright-ucspi-tcp"),
    "dnscache": ("dnscache", "gatewright-djbdns"),
}
TOOLS = ("gcc", "cc", "c99", "clang", "tcc", "cpp", "g++", "as", "ld", "make", "dpkg-buildpackage")
BUILD_PACKAGE = re.compile(r".*-dev|(gcc|g\+\+|cpp|clang|tcc)(-\d+)?|binutils.*|make|build-essential")


def running(gateway: Gateway) -> list[tuple[str, str]]:
    """Program and file of each process. A gateway's own root may not look at other users' files; this machine's may."""
    lines = run("podman", "top", gateway.host.container, "hpid", "comm").splitlines()[1:]
    found = []
    for pid, name in (line.split(None, 1) for line in lines):
        with contextlib.suppress(FileNotFoundError):  # it has ended since
            found.append((name, os.readlink(f"/proc/{pid}/exe")))
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_chosen_program_runs(gateway: Gateway, program: str) -> None:
    files = {file for name, file in running(gateway) if name == program}
    assert files, f"{program} does not run"
    owners = {gateway.run("dpkg", "-S", file).split(":")[0] for file in files}
    assert owners == {PROGRAMS[program][FROM_SOURCE]}


def test_nothing_still_runs_from_a_file_that_was_replaced(gateway: Gateway) -> None:
    assert not [path for _, path in running(gateway) if path.endswith(" (deleted)")]


def test_qmail_is_the_one_that_gatewright_built(gateway: Gateway) -> None:
    state = gateway.run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev}${Version}", "gatewright-qmail")
    assert state.startswith("ii ") and "+gw" in state
    assert gateway.run("dpkg", "-S", "/var/qmail/bin/qmail-send").startswith("gatewright-qmail:")
    assert gateway.run("dpkg", "--verify", "gatewright-qmail") == ""


def test_no_compiler_headers_or_make_are_left(gateway: Gateway) -> None:
    found = gateway.sh("for tool in " + " ".join(TOOLS) + "; do command -v $tool; done || true").split()
    assert not found
    packages = gateway.run("dpkg-query", "--show", "--showformat=${Package}\n").split()
    assert not [name for name in packages if BUILD_PACKAGE.fullmatch(name)]
    # perl and iproute2 bring a few headers of their own; what a compiler needs is the C library's
    assert not gateway.run("find", "/", "-xdev", "(", "-name", "stdio.h", "-o", "-name", "crt1.o", ")").split()
    places = "/usr/local /package /var/qmail /var/lib/gatewright /root /tmp"
    assert not gateway.sh(f"find {places} -name '*.[cho]' 2>/dev/null || true").split()


def test_no_place_of_a_build_is_left(gateway: Gateway) -> None:
    assert gateway.run("find", "/var/lib/gatewright", "-maxdepth", "1", "-name", "throwaway*") == ""
