"""make test-vm: builds a gateway on a machine with a kernel of its own, and tests what a container cannot show.

    python -m lab.vm [gw1|gw2]

The machine stands in the lab in the place of the container of that name, so that real mail goes through it between the
same peers. Everything that was made is removed at the end, and the whole ends within LIMIT_MINUTES.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from types import FrameType

from lab import artifacts, hosts
from lab.__main__ import bring_up, prepare
from lab.machine import LabError, environment
from lab.topology import HOSTS, NUMBER, PROJECT, VIRTUAL, Host, select
from lab.vm import disk
from lab.vm.qemu import VirtualMachine, accelerator

LIMIT_MINUTES = 150
"""Under emulation, on two processors that others use too, it takes about half of that."""
NEEDED = {"qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs", "setpriv": "util-linux"}
SEEN_INSIDE = "tests/vm"
SEEN_OUTSIDE = ("tests/testinfra/test_doors.py", "tests/testinfra/test_mail.py")
PROFILES = ("standard", "anssi_bp28_minimal", "cis_level1_server")
"""Of OpenSCAP, beside Lynis: those that an aim was set for."""
# Passwords are the same in a container, and an emulated processor takes a quarter of a minute to hash one.
SEEN_ONCE = (
    "tests/testinfra/test_hardening.py",
    "tests/testinfra/test_sandboxes.py",
    "tests/testinfra/test_supervision.py",
    "-k",
    "not password",
)


def check_machine() -> None:
    """Raise LabError that names what is missing for virtual machines."""
    missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
    if missing:
        raise LabError(
            f"missing: {', '.join(missing)}. On Debian: apt-get install --no-install-recommends "
            f"{' '.join(missing)} (requirements/apt-vm.txt)"
        )
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise LabError("missing: /dev/net/tun, by which a virtual machine joins the lab's network (modprobe tun)")


def check_place() -> None:
    """Raise LabError when the lab's number is taken: this run would remove what stands there."""
    standing = [item.name for item in HOSTS if hosts.state(item)]
    if standing:
        raise LabError(f"lab {NUMBER} stands ({', '.join(standing)}): `make lab-down`, or set GATEWRIGHT_LAB_NUMBER")


class Trial:
    """The steps, each timed and told."""

    def __init__(self, host: Host) -> None:
        """Remember which gateway it is."""
        self.host = host
        self.failed: list[str] = []
        self.environment = {**environment(), "GATEWRIGHT_GATEWAYS": host.name}

    def step(self, what: str, *command: str) -> str:
        """Run a program and show what it says; a failure is remembered, and the next step comes all the same."""
        print(f"\n== {what}", flush=True)
        started = time.monotonic()
        process = subprocess.Popen(
            command, cwd=PROJECT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = []
        assert process.stdout
        try:
            for line in process.stdout:
                said.append(line)
                print(line, end="", flush=True)
            if process.wait():
                self.failed.append(what)
        finally:
            process.kill()
        print(f"== {what}: exit {process.returncode}, {time.monotonic() - started:.0f} s", flush=True)
        return "".join(said)

    def play(self, what: str) -> str:
        """Run the site's playbook against the machine."""
        return self.step(what, "ansible-playbook", "playbooks/site.yml", "--limit", self.host.name)

    def tests(self, what: str, *paths: str) -> None:
        """Run tests against the machine and its peers."""
        self.step(what, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", *paths)

    def run(self, machine: VirtualMachine) -> None:
        """Build it, test it, reboot it, and test it again."""
        self.play("playbooks/site.yml makes a gateway of it")
        if not re.search(r"changed=0 +unreachable=0 +failed=0", self.play("a second run changes nothing")):
            self.failed.append("the second run changed something")
        self.tests("tests", SEEN_INSIDE, *SEEN_OUTSIDE, *SEEN_ONCE)
        started = time.monotonic()
        print("\n== reboot", flush=True)
        options = machine.reboot()
        print(f"== reboot: {time.monotonic() - started:.0f} s, kernel options: {options}", flush=True)
        self.tests("tests after the reboot", SEEN_INSIDE, *SEEN_OUTSIDE)
        measure = ("-m", "bench.hardening", "--rules", "--profiles", ",".join(PROFILES), "--machine", self.host.name)
        self.step("score", sys.executable, *measure)


def furnish(host: Host, stack: ExitStack) -> VirtualMachine:
    """Start the peers and the machine; what was made is put on the stack, to be removed."""
    peers = [item.name for item in HOSTS if item.image == "peer"]
    stack.callback(hosts.down)
    bring_up(peers, internal=False)
    started = time.monotonic()
    made = disk.make(host)
    stack.callback(made.remove)
    print(f"disk of {host.name} ({host.suite}): {time.monotonic() - started:.0f} s", flush=True)
    machine = VirtualMachine(host, made)
    stack.callback(machine.stop)
    started = time.monotonic()
    machine.start()
    (dns,) = select(["dns"])
    hosts.serve_dns(dns, hosts.dns_data([host]))
    # as an installer leaves it: this cannot be written where the disk is made, for want of a device
    hosts.execute(host, "sh", "-c", "mkdir -p /boot/grub && update-grub 2>&1")
    kernel = hosts.execute(host, "uname", "-srv").strip()
    print(f"{host.name} booted in {time.monotonic() - started:.0f} s ({accelerator()[1]}): {kernel}", flush=True)
    return machine


def give_up(number: int, frame: FrameType | None) -> None:
    """End the run where it is; what it made is removed on the way out."""
    raise LabError(f"not done within {LIMIT_MINUTES} minutes" if number == signal.SIGALRM else "interrupted")


def main() -> int:
    """Run the trial; exit status 0 when all went well."""
    parser = argparse.ArgumentParser(prog="lab.vm", description=__doc__)
    parser.add_argument("gateway", nargs="?", default="gw1", choices=[h.name for h in HOSTS if h.image == "gateway"])
    name = parser.parse_args().gateway
    if (name,) != VIRTUAL:
        os.environ["GATEWRIGHT_LAB_VIRTUAL"] = name
        os.execv(sys.executable, [sys.executable, "-m", "lab.vm", name])
    (host,) = select([name])
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, give_up)
    signal.alarm(LIMIT_MINUTES * 60)
    trial = Trial(host)
    try:
        check_machine()
        prepare()
        check_place()
        with ExitStack() as stack:
            trial.run(furnish(host, stack))
            signal.alarm(0)
    except LabError as error:
        print(f"test-vm: {error}", file=sys.stderr)
        return 1
    artifacts.warn()
    print("\ntest-vm: " + ("all as it must be" if not trial.failed else f"NOT: {'; '.join(trial.failed)}"), flush=True)
    return 1 if trial.failed else 0


if __name__ == "__main__":
    sys.exit(main())
