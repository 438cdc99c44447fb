"""Virtual gateways, without one: how they are reached, what their disk says, and what they ask of this machine."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

from lab import hosts, reach, topology
from lab.machine import LabError
from lab.topology import select
from lab.vm import __main__ as trial
from lab.vm import disk, qemu

GW1, OFFICE = select(["gw1", "office"])
ODD = ("sh", "-c", "echo 'two  words' \"$HOME\"")


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """gw1 is a virtual machine."""
    monkeypatch.setattr(topology, "VIRTUAL", ("gw1",))


@pytest.mark.usefixtures("virtual")
def test_a_machine_is_reached_by_ssh_and_its_shell_reads_the_command_as_it_was_given() -> None:
    line = reach.inside(GW1, *ODD)
    assert line[0] == "ssh" and line[-2] == f"root@{GW1.ipv4}"
    assert tuple(shlex.split(line[-1])) == ODD


@pytest.mark.usefixtures("virtual")
def test_a_container_beside_it_is_reached_by_podman() -> None:
    assert reach.inside(OFFICE, *ODD) == ["podman", "exec", OFFICE.container, *ODD]


@pytest.mark.usefixtures("virtual")
def test_standard_input_goes_in_only_where_it_is_meant_to() -> None:
    assert "-n" in reach.inside(GW1, "cat")
    assert "-n" not in reach.inside(GW1, "cat", is_interactive=True)
    assert "--interactive" in reach.inside(OFFICE, "cat", is_interactive=True)


def test_the_disk_knows_its_name_addresses_and_who_may_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "key"
    key.with_suffix(".pub").write_text("ssh-ed25519 AAAA lab\n")
    monkeypatch.setattr(disk, "KEY", key)
    for folder in ("etc/default", "etc/network", "root"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    disk.configure(tmp_path / "root", GW1)
    read = {path.name: path.read_text() for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert read["hostname"] == f"{GW1.fqdn}\n"
    assert f"address {GW1.ipv4}/24\n" in read["interfaces"] and f"address {GW1.ipv6}/64\n" in read["interfaces"]
    assert read["authorized_keys"] == "ssh-ed25519 AAAA lab\n"


@pytest.mark.parametrize(
    ("flags", "accelerator"), [("fpu sse", "tcg,thread=multi"), ("fpu svm", "kvm"), ("vmx", "kvm")]
)
def test_hardware_virtualization_is_used_where_the_processor_has_it(
    flags: str, accelerator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = tmp_path / "cpuinfo"
    information.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(qemu, "CPU_INFORMATION", information)
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert qemu.accelerator()[1] == accelerator


def test_what_is_missing_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(LabError, match=r"apt-get install .*qemu-system-x86"):
        trial.check_machine()


def test_a_lab_that_stands_is_not_pulled_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "state", lambda host: "running" if host.name == "office" else "")
    with pytest.raises(LabError, match=r"stands \(office\)"):
        trial.check_place()
