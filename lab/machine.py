"""What the lab needs of the machine it runs on: looked for first, named with the way to get it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.topology import CACHE

NEEDED = {
    "podman": "podman",
    "mmdebstrap": "mmdebstrap",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
    "iptables": "iptables",
    "ip": "iproute2",
}
CGROUP = Path("/sys/fs/cgroup")
CAP_SYS_RESOURCE = 24


class LabError(Exception):
    """Something the lab cannot work without; the message says what, and how to get it."""


def run(*command: str, input_text: str | None = None, check: bool = True) -> str:
    """Run a program and return its output; raise LabError with its last words when it fails."""
    done = subprocess.run(command, input=input_text, capture_output=True, text=True, env=environment())
    if check and done.returncode:
        raise LabError(
            f"{' '.join(command[:6])} ... failed ({done.returncode}):\n{(done.stderr or done.stdout)[-2000:]}"
        )
    return done.stdout


def check_machine() -> None:
    """Raise LabError that names everything that is missing."""
    missing = [package for program, package in NEEDED.items() if not shutil.which(program)]
    if missing:
        raise LabError(
            f"missing: {', '.join(missing)}. On Debian or Ubuntu: apt-get install --no-install-recommends "
            f"{' '.join(missing)} runc netavark"
        )
    if os.geteuid() != 0:
        raise LabError("the lab makes networks and booted containers: run it as root (sudo ./gw lab up)")


def is_cgroup2() -> bool:
    """Whether the machine has the unified cgroup tree."""
    return run("stat", "-fc", "%T", str(CGROUP)).strip() == "cgroup2fs"


def may_raise_limits() -> bool:
    """Whether CAP_SYS_RESOURCE is in the bounding set (it is missing inside some virtual machines)."""
    status = Path("/proc/self/status").read_text()
    bounding = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return bool(int(bounding, 16) >> CAP_SYS_RESOURCE & 1)


def containers_conf() -> Path:
    """The configuration file that podman is pointed to, so that no global file is touched."""
    return CACHE / "containers.conf"


def environment() -> dict[str, str]:
    """The environment of every program that the lab runs. What they print is read, so it has no colour."""
    plain = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "LC_ALL": "C.UTF-8"}
    storage = {"CONTAINERS_STORAGE_CONF": str(storage_conf())} if storage_conf().exists() else {}
    return {**os.environ, **plain, **storage, "CONTAINERS_CONF": str(containers_conf())}


@contextmanager
def alone() -> Iterator[None]:
    """Wait for other labs of this checkout: keys, images and archives are made once, by whoever comes first."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep(path: Path, content: bytes) -> None:
    """Write a file unless it has this content; another lab that reads it sees the old file or the new one, whole."""
    if path.is_file() and path.read_bytes() == content:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


def write_containers_conf() -> None:
    """Write podman's configuration by what the machine can do."""
    lines = ["[containers]"]
    if not may_raise_limits():
        lines.append('default_ulimits = ["nofile=1024:4096", "nproc=4096:8192"]')
    lines.append("[engine]")
    if not containers_conf().exists():
        containers_conf().write_text("[containers]\n")
    if not is_cgroup2():
        lines.append('runtime = "runc"')
    keep(containers_conf(), ("\n".join(lines) + "\n").encode())


def storage_conf() -> Path:
    """Where podman's storage is configured, if the machine's own configuration does not work."""
    return CACHE / "storage.conf"


def storage_text(driver: str) -> str:
    """podman's storage.conf: images and containers in the lab's cache, by a driver that asks less of the kernel."""
    lines = ["[storage]", f'driver = "{driver}"', f'graphroot = "{CACHE}/storage"', 'runroot = "/run/gatewright-lab"']
    if driver == "overlay":
        lines += ["[storage.options.overlay]", 'mount_program = "/usr/bin/fuse-overlayfs"']
    return "\n".join(lines) + "\n"


def ask_storage() -> None:
    """Have podman open its storage; raise LabError when it cannot. Twice: the first may leave what breaks the next."""
    for _ in range(2):
        run("podman", "images", "--quiet")


def choose_storage() -> None:
    """See that podman can keep images; inside a container its overlay may not stand on another one. Raises LabError."""
    try:
        ask_storage()
        return
    except LabError as error:
        why = str(error)
    drivers = ["overlay"] if shutil.which("fuse-overlayfs") and Path("/dev/fuse").exists() else []
    for driver in (*drivers, "vfs"):
        storage_conf().write_text(storage_text(driver))
        try:
            ask_storage()
        except LabError:
            storage_conf().unlink()
            continue
        name = "fuse-overlayfs" if driver == "overlay" else f"{driver}, which copies each image"
        print(f"lab: podman's own storage does not work here; it uses {name}", flush=True)
        return
    raise LabError(f"podman cannot keep images here, nor by vfs:\n{why}")


def ensure_key(path: Path) -> None:
    """Make the key pair by which the controller reaches the lab's hosts."""
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gatewright-lab", "-f", str(path))
