"""What a gateway with a kernel of its own must hold, and a container cannot show."""

from __future__ import annotations

import re

import pytest
from lab_hosts import Gateway, Peer, eventually, token

WATCHED = "/etc/sudoers.d/gw-probe"


@pytest.fixture(autouse=True)
def machine(gateway: Gateway) -> None:
    """Nothing of this is a container's."""
    if not gateway.host.is_virtual:
        pytest.skip("a container has the machine's kernel: `make test-vm` runs these")


def field(gateway: Gateway, pid: str, name: str) -> str:
    """A field of /proc/PID/status."""
    found = re.search(rf"^{name}:\s*(.*)$", gateway.run("cat", f"/proc/{pid}/status"), re.M)
    assert found, name
    return found[1]


# Kernel


def test_every_kernel_parameter_is_in_force(gateway: Gateway) -> None:
    file = gateway.run("cat", "/etc/sysctl.d/zz-gatewright.conf")
    wanted = dict(re.findall(r"^([\w.-]+) = (\S+)$", file, re.M))
    assert {"kernel.kptr_restrict", "vm.mmap_min_addr", "fs.suid_dumpable"} <= set(wanted)
    live = dict(re.findall(r"^(\S+) = (\S*)$", gateway.run("sysctl", *wanted), re.M))
    assert live == wanted


def test_an_interface_that_comes_late_gets_the_parameters_too(gateway: Gateway) -> None:
    name = "net.ipv4.conf.all.log_martians"
    gateway.run("sysctl", "-w", f"{name}=0")
    gateway.run("systemctl", "restart", "sysctl-reapply-network")
    assert gateway.run("sysctl", "-n", name).strip() == "1"


def test_a_user_sees_neither_the_kernels_log_nor_its_addresses(gateway: Gateway) -> None:
    person = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    assert "not permitted" in gateway.sh(f"{person} dmesg 2>&1 || true")
    assert set(gateway.sh(f"{person} awk '{{print $1}}' /proc/kallsyms | sort -u | head -n 2").split()) == {"0" * 16}


@pytest.mark.parametrize("module", ["usb-storage", "sctp", "udf"])
def test_a_switched_off_module_cannot_be_loaded(gateway: Gateway, module: str) -> None:
    assert gateway.run("modinfo", "-n", module).strip(), "this kernel has it"
    assert gateway.sh(f"modprobe {module} 2>/dev/null && echo loaded || echo refused") == "refused\n"
    assert module.replace("-", "_") not in gateway.run("lsmod")


def test_programs_do_not_run_from_shared_memory(gateway: Gateway) -> None:
    script = "cp /bin/true /dev/shm/gw-probe && /dev/shm/gw-probe && echo ran || echo refused; rm -f /dev/shm/gw-probe"
    assert gateway.sh(f"({script}) 2>/dev/null") == "refused\n"
    assert {"nosuid", "nodev", "noexec"} <= set(gateway.run("findmnt", "-no", "OPTIONS", "/dev/shm").strip().split(","))


# Audit and mandatory access control


def test_what_happens_to_sudos_rules_is_recorded(gateway: Gateway) -> None:
    gateway.sh(f"touch {WATCHED} && rm {WATCHED}")
    eventually(
        lambda: WATCHED in gateway.sh("ausearch --input-logs -i -k scope 2>/dev/null || true"),
        what="a record of it in the audit trail",
    )


def test_audit_rules_are_loaded_and_locked(gateway: Gateway) -> None:
    state = gateway.run("auditctl", "-s")
    assert re.search(r"^enabled 2$", state, re.M), state
    assert re.search(r"^lost 0$", state, re.M), state
    wanted = set(re.findall(r"-k (\S+)", gateway.run("cat", "/etc/audit/rules.d/gatewright.rules")))
    loaded = set(re.findall(r"(?:-k |key=)(\S+)", gateway.run("auditctl", "-l")))
    assert wanted == loaded
    assert gateway.sh("auditctl -D >/dev/null 2>&1 && echo emptied || echo refused") == "refused\n"


CONFINED = {
    "dnscache": "gatewright-dnscache",
    "qmail-send": "gatewright-qmail-send",
    "qmail-clean": "gatewright-qmail-clean",
    "qmail-rspawn": "gatewright-qmail-rspawn",
    "gatescan daemon": "gatewright-gatescan",
    "gatescan notify": "gatewright-gatescan",
}


def test_apparmor_is_on(gateway: Gateway) -> None:
    assert gateway.run("cat", "/sys/module/apparmor/parameters/enabled").strip() == "Y"
    assert gateway.sh("aa-status --enabled && echo on").endswith("on\n")
    assert int(gateway.run("aa-status", "--profiled")) > 0


@pytest.mark.parametrize("program", CONFINED)
def test_a_running_service_is_held_to_its_profile(gateway: Gateway, program: str) -> None:
    pids = gateway.run("pgrep", "-f", program if " " in program else f"(^|/){program}( |$)").split()
    held = {gateway.run("cat", f"/proc/{pid}/attr/current").strip() for pid in pids}
    assert held == {f"{CONFINED[program]} (enforce)"}


# What somebody would do who has taken a program over: run another one, or reach for files of others.
REACH = """
import os, subprocess, sys
try:
    if sys.argv[1] == "run":
        subprocess.run([sys.argv[2]], check=True)
    elif sys.argv[1] == "read":
        open(sys.argv[2]).read(1)
    else:
        open(sys.argv[2], "w")
    print("reached")
except PermissionError:
    print("refused")
"""


@pytest.mark.parametrize(
    ("profile", "deed", "target"),
    [
        ("gatewright-qmail-smtpd", "run", "/bin/true"),
        ("gatewright-qmail-smtpd", "read", "/etc/passwd"),
        ("gatewright-starttls-smtpd", "run", "/bin/true"),
        ("gatewright-qmail-remote", "run", "/bin/true"),
        ("gatewright-qmail-remote", "write", "/var/qmail/control/gw-probe"),
        ("gatewright-dnscache", "run", "/bin/true"),
        ("gatewright-dnscache", "read", "/etc/passwd"),
        ("gatewright-qmail-queue", "run", "/bin/true"),
        ("gatewright-gatescan", "write", "/etc/gatescan/gw-probe"),
        ("gatewright-gatescan", "read", "/etc/gatewright/starttls.pem"),
        ("gatewright-gatescan", "read", "/root/.ssh/authorized_keys"),
        ("gatewright-gatescan", "write", "/var/qmail/queue/gw-probe"),
    ],
)
def test_a_profile_refuses_what_its_program_never_does(gateway: Gateway, profile: str, deed: str, target: str) -> None:
    # As root, whom file modes would not stop; what it says goes by a pipe, which no profile looks at.
    adopt = f"import subprocess\nopen('/proc/self/attr/current', 'w').write('changeprofile {profile}')\n"
    order = ("sh", "-c", 'python3 - "$@" | cat', "sh", deed, target)
    assert gateway.run(*order, stdin=adopt + REACH) == "refused\n"
    assert gateway.run(*order, stdin=REACH) == "reached\n", "without the profile it can be done"
    if deed == "write":
        gateway.run("rm", "-f", target)


# USB


def test_a_usb_stick_that_comes_later_is_not_let_in(gateway: Gateway) -> None:
    devices = gateway.sh("usbguard list-devices 2>/dev/null || true").splitlines()
    if not any("QEMU" in line and "08:06:50" in line for line in devices):
        pytest.skip("nobody has plugged a stick in yet: that comes with the reboot")
    words = {line.split()[1] for line in devices if "08:06:50" in line}
    assert words == {"block"}, devices
    assert {line.split()[1] for line in devices if "with-interface 03:" in line} == {"allow"}, "a pointer may"


# Services


def test_no_unit_has_failed_and_the_clock_is_kept(gateway: Gateway) -> None:
    assert gateway.run("systemctl", "--failed", "--plain", "--no-legend") == ""
    assert gateway.run("systemctl", "is-active", "chrony", "auditd", "apparmor", "nftables").split() == ["active"] * 4


def test_svscan_is_filtered_and_mail_goes_through_it(gateway: Gateway, outside: Peer, office: Peer) -> None:
    for program in ("svscan", "tcpserver"):
        pid = gateway.run("pidof", program).split()[0]
        assert field(gateway, pid, "Seccomp") == "2", f"{program} has no system call filter"
        assert field(gateway, pid, "NoNewPrivs") == "0", "set-uid qmail-queue would gain nothing"
        assert gateway.run("readlink", f"/proc/{pid}/ns/mnt") != gateway.run("readlink", "/proc/1/ns/mnt")
    mark = token()
    assert outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
    office.arrived(mark)


def test_the_scanner_confines_itself_below_svscans_filter(gateway: Gateway) -> None:
    told = gateway.run("gatescan", "doctor", check=False)
    assert re.search(r"^ok +fence: files.* by Landlock \d; system calls filtered.* in \d+ workers$", told, re.M), told


def test_svscans_exposure_is_what_the_documentation_says(gateway: Gateway) -> None:
    listed = dict(re.findall(r"^(\S+)\.service\s+([\d.]+)", gateway.run("systemd-analyze", "security"), re.M))
    assert float(listed["svscan"]) <= 2.6


def test_svscan_comes_back_alone(gateway: Gateway, outside: Peer, office: Peer) -> None:
    assert gateway.run("stat", "-fc", "%T", "/sys/fs/cgroup").strip() == "cgroup2fs"
    children = set(gateway.run("pgrep", "-x", "supervise|tcpserver").split())
    old = gateway.run("pidof", "svscan").strip()
    gateway.run("kill", "-KILL", old)
    eventually(lambda: (now := gateway.sh("pidof svscan || true").strip()) and now != old, what="a new svscan")
    eventually(lambda: gateway.is_up("qmail-smtpd"), what="qmail-smtpd stays up")
    now = set(gateway.run("pgrep", "-x", "supervise|tcpserver").split())
    assert not children & now, "its control group went with it"
    mark = token()
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250, what="a 250 again")
    office.arrived(mark)


def test_the_boot_loader_is_told(gateway: Gateway) -> None:
    config = gateway.run("cat", "/boot/grub/grub.cfg")
    kernels = re.findall(r"^\s*linux\s.*$", config, re.M)
    assert kernels and all("audit=1" in line and "apparmor=1" in line for line in kernels)
