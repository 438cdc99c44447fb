"""A virtual machine on the lab's network, in the place of a gateway's container."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab.hosts import execute
from lab.machine import LabError, environment, run
from lab.reach import ssh
from lab.topology import NETWORK, NUMBER, Host
from lab.vm.disk import FOLDER, KERNEL_OPTIONS, Disk

MEMORY = 1536
"""Of the machine, in MiB."""
VISITORS = [
    *("-device", "qemu-xhci"),
    *("-device", "usb-tablet"),
    *("-device", "usb-storage,drive=stick"),
    *("-drive", "if=none,id=stick,file.driver=null-co,file.size=1M,format=raw"),
]
"""USB devices that somebody plugs in between two boots: a pointer and a stick."""
BOOT_SECONDS = 900
STOP_SECONDS = 900
"""Mail is drained first, for 600 seconds at most."""
CPU_INFORMATION = Path("/proc/cpuinfo")
ATTACH = Path(__file__).parent / "attach"
BOOT_OPTIONS = r"sed -n 's,^\s*linux\s\S*\s,,p' /boot/grub/grub.cfg | head -n 1"
"""Says with what options the machine's own boot loader would start its kernel."""


def accelerator() -> list[str]:
    """qemu's options for hardware virtualization where the processor has it, else for emulation.

    /dev/kvm alone says nothing: there are clouds in which it serves only kernels that were made for it.
    """
    flags = CPU_INFORMATION.read_text().split()
    if ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


class VirtualMachine:
    """A gateway under qemu. It ends with the program that started it, and its network device with it."""

    def __init__(self, host: Host, disk: Disk) -> None:
        """Bind a lab host to its disk."""
        self.host, self.disk = host, disk
        self.console = FOLDER / f"{host.name}.console"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, options: str, devices: Sequence[str] = ()) -> list[str]:
        """qemu's command line; options go to the kernel, devices are added to the machine."""
        bridge = json.loads(run("podman", "network", "inspect", NETWORK))[0]["network_interface"]
        return [
            "nice", "-n", "19", "setpriv", "--pdeathsig", "KILL", "env", f"GATEWRIGHT_BRIDGE={bridge}",
            "qemu-system-x86_64", "-M", "q35", *accelerator(), "-smp", "2", "-m", str(MEMORY),
            "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{self.console}",
            "-kernel", str(self.disk.kernel), "-initrd", str(self.disk.initrd), "-append", options,
            "-drive", f"if=none,id=disk,file={self.disk.image},format=raw,cache=unsafe",
            "-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci",
            "-netdev", f"tap,id=net,ifname=gw{NUMBER}-{self.host.octet},script={ATTACH},downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac={self.host.mac},romfile=",
            *devices,
        ]  # an option beside its value # fmt: skip

    def start(self, options: str = f"root=/dev/vda ro {KERNEL_OPTIONS}", devices: Sequence[str] = ()) -> None:
        """Switch it on; returns once it has booted."""
        self.console.write_text("")
        self.process = subprocess.Popen(
            self.command(options, devices), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self.wait_until_booted()

    def wait_until_booted(self) -> None:
        """Wait until ssh answers and systemd has started all; raise LabError with the console's end otherwise."""
        assert self.process
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            state = execute(self.host, "systemctl", "is-system-running", "--wait", check=False).strip()
            if state in ("running", "degraded"):
                return
            time.sleep(1)
        said = self.console.read_text(errors="replace")[-3000:]
        if self.process.poll() is not None and self.process.stderr:
            said += self.process.stderr.read().decode(errors="replace")
        raise LabError(f"{self.host.name} did not boot within {BOOT_SECONDS} s:\n{said}")

    def hang_up(self) -> None:
        """Close the shared connection, which would wait for an answer for a while after the machine has gone."""
        subprocess.run(ssh(self.host, "-O", "exit"), capture_output=True, env=environment())

    def reboot(self) -> str:
        """Have it reboot as an update would; return the kernel options that its boot loader would have read.

        On the way USB devices are plugged in that were not there when it was built.
        """
        assert self.process
        options = execute(self.host, "sh", "-c", BOOT_OPTIONS).strip()
        execute(self.host, "sh", "-c", "touch /run/reboot-required && systemctl start --no-block gatewright-reboot")
        self.hang_up()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.host.name} did not go down within {STOP_SECONDS} s") from None
        self.start(options, VISITORS)
        return options

    def stop(self) -> None:
        """Pull the plug."""
        if self.process:
            self.hang_up()
            self.process.kill()
            self.process.wait()
