"""Sandboxes of services and mount options: what they refuse, as far as a container lets systemd set them up.

Hosts of `python3 -m lab up --sandboxes` let it do all; scenario engines runs on these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token


def status(gateway: Gateway, pid: str) -> dict[str, str]:
    """The fields of /proc/PID/status."""
    return dict(
        line.split(":\t", 1) for line in gateway.run("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line
    )


def test_svscan_leaves_qmail_queue_its_right(gateway: Gateway, outside: Peer, office: Peer) -> None:
    pid = gateway.run("pidof", "svscan").strip()
    assert status(gateway, pid)["NoNewPrivs"].strip() == "0", "set-uid qmail-queue would gain nothing"
    mark = token()
    assert outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
    office.arrived(mark)


def shares_mounts(gateway: Gateway) -> bool:
    """Whether svscan has the host's mounts, as this container's systemd may make it none of its own."""
    pid = gateway.run("pidof", "svscan").strip()
    return gateway.run("readlink", f"/proc/{pid}/ns/mnt") == gateway.run("readlink", "/proc/1/ns/mnt")


@pytest.fixture
def cramped(gateway: Gateway) -> Iterator[None]:
    """svscan in a sandbox that costs mail, and afterwards in its own again."""
    if shares_mounts(gateway):
        pytest.skip("scenario engines shows it: there svscan has a sandbox, and ends at once when it is told to")
    folder = "/run/systemd/system/svscan.service.d"
    restart = "systemctl daemon-reload && systemctl restart svscan.service"

    def answers() -> bool:
        return all(gateway.is_up(service) for service in ("qmail-smtpd", "gatescan"))

    gateway.sh(f"mkdir -p {folder}; printf '[Service]\nNoNewPrivileges=yes\n' > {folder}/zz-test.conf; {restart}")
    try:
        eventually(answers, 90, "services under the cramped svscan")
        yield
    finally:
        gateway.sh(f"rm -r {folder}; {restart}")
        eventually(answers, 90, "services under svscan as it was")


def test_a_sandbox_that_costs_mail_is_named(gateway: Gateway, outside: Peer, cramped: None) -> None:
    assert "BROKEN   sandbox: svscan's services have NoNewPrivileges" in gateway.run("gatescan", "doctor", check=False)
    if not gateway.has_standin:  # whose qmail-queue is not set-uid
        reply = outside.send(gateway.ipv4, "user@corp.test", mark=token())
        if gateway.host.is_virtual:  # AppArmor cannot let qmail-smtpd into its own profile either
            assert reply.code in (0, 451), reply
        else:
            assert (reply.stage, reply.code) == ("data", 451), reply


def test_services_have_the_few_capabilities_that_they_need(gateway: Gateway) -> None:
    pids = eventually(
        lambda: gateway.sh("pidof tcpserver || true").split(),
        what="tcpserver, of which supervise may just see to a new one",
    )
    bounding = int(status(gateway, pids[0])["CapBnd"], 16)
    names = {
        0: "CHOWN",
        1: "DAC_OVERRIDE",
        5: "KILL",
        6: "SETGID",
        7: "SETUID",
        10: "NET_BIND_SERVICE",
        18: "SYS_CHROOT",
    }
    held = {names.get(bit, str(bit)) for bit in range(64) if bounding >> bit & 1}
    assert held == {"KILL", "SETGID", "SETUID", "NET_BIND_SERVICE", "SYS_CHROOT"}


@pytest.mark.parametrize(
    "order",
    [
        "touch /usr/bin/gw-probe",
        "touch /etc/gw-probe",
        "cat /etc/ssh/sshd_config",
        "ls /root/.ssh",
        "setuidgid qmaild cat /proc/1/status",
    ],
)
def test_services_cannot_reach_the_host(gateway: Gateway, order: str) -> None:
    if shares_mounts(gateway):
        pytest.skip("this container's systemd may not make mount namespaces, so svscan shares the host's")
    pid = gateway.run("pidof", "svscan").strip()
    assert (
        gateway.sh(f"nsenter --target {pid} --mount sh -c '{order}' >/dev/null 2>&1 && echo reached || echo refused")
        == "refused\n"
    )


def test_no_unit_of_ours_is_left_unconfined(gateway: Gateway) -> None:
    """By systemd's own measure, from 0 to 10, which is a unit that may do everything."""
    pid = gateway.run("pidof", "svscan").strip()
    inner, outer = (int(status(gateway, process)["Seccomp_filters"]) for process in (pid, "1"))
    # Without filters, where systemd may set none for what must start set-uid qmail-queue, 6.3 is what is left.
    bound = 3.0 if inner > outer else 6.5
    told = gateway.sh(
        "cd /etc/systemd/system; for unit in $(grep -ls 'Managed by Gatewright' *.service); do "
        "systemd-analyze security --no-pager $unit; done"
    )
    found = {unit: float(value) for unit, value in re.findall(r"level for (\S+)\.service: ([\d.]+)", told)}
    ours = {"svscan", "gatescan-engines", "gatescan-expire", "gatewright-certificate", "gatewright-reboot"}
    assert ours <= set(found)
    assert {unit: value for unit, value in found.items() if value > bound} == {}


def test_the_profiles_of_services_are_sound(gateway: Gateway) -> None:
    # The kernel takes them on a machine of its own only: tests/vm.
    files = gateway.sh("ls /etc/apparmor.d/gatewright-*").split()
    assert {"dnscache", "scanner", "starttls"} <= {path.rpartition("-")[2] for path in files}
    gateway.run("apparmor_parser", "--skip-kernel-load", "--skip-cache", *files)


# Mount options

PROGRAM = "/home/gw-probe"
LINE = "tmpfs\t/home\ttmpfs\tdefaults,size=8m{}\t0 0 # people"


@pytest.fixture
def partition(gateway: Gateway) -> Iterator[None]:
    """/home is a partition of its own, by a line of /etc/fstab, with a set-id program in it; afterwards none again."""
    if not gateway.sh("mount -t tmpfs tmpfs /home 2>/dev/null && echo mounted || true"):
        pytest.skip("this container may mount nothing; hosts of `python3 -m lab up --sandboxes` may")
    table = gateway.run("cat", "/etc/fstab")
    try:
        gateway.run("tee", "-a", "/etc/fstab", stdin=LINE.format("") + "\n")
        gateway.sh(f"cp /usr/bin/id {PROGRAM} && chmod 4755 {PROGRAM}")
        yield
    finally:
        gateway.run("tee", "/etc/fstab", stdin=table)
        gateway.sh("umount /home; systemctl daemon-reload")


@pytest.mark.usefixtures("partition")
def test_a_partition_is_mounted_without_what_does_not_belong_there(gateway: Gateway) -> None:
    stranger = f"setpriv --reuid=65534 --regid=65534 --clear-groups {PROGRAM} -u 2>/dev/null || echo refused"
    tags = ("--tags", "hardening_mounts")

    def changes(*options: str, **variables: object) -> int:
        return playbook("playbooks/site.yml", gateway.name, *tags, *options, variables=variables).changed(gateway.name)

    assert changes(hardening_mount_enforce=False) == 0
    assert changes("--check") == 1
    assert gateway.sh(stranger) == "0\n", "nothing was changed yet"
    assert changes(hardening_mount_options={"/home": ["nosuid"]}) == 1
    assert gateway.sh(stranger) == "65534\n", "it runs, with no other's rights"
    assert changes() == 1
    assert gateway.sh(stranger) == "refused\n"
    assert LINE.format(",nosuid,nodev,noexec") in gateway.run("cat", "/etc/fstab").splitlines()
    assert changes() == 0
    gateway.sh(f"umount /home && mount /home && cp /usr/bin/id {PROGRAM}")
    assert gateway.sh(stranger) == "refused\n", "and so it is after the next boot"


def test_what_systemd_mounts_runs_no_programs(gateway: Gateway) -> None:
    for path in ("/dev/shm", "/tmp"):
        if "noexec" in gateway.sh(f"findmnt -no OPTIONS {path} || true"):
            probe = f"cp /bin/true {path}/gw-probe && {path}/gw-probe && echo ran || echo refused; rm {path}/gw-probe"
            assert gateway.sh(f"({probe}) 2>/dev/null") == "refused\n"
            continue
        report = playbook("playbooks/site.yml", gateway.name, "--tags", "hardening_mounts").output
        assert re.search(rf'"{path} is (no partition of its own|mounted without .*may not be mounted anew)', report)
