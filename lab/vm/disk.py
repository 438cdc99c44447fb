"""The disk of a virtual gateway: the plain Debian of the lab's containers, with a kernel. No loop device, no mount."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import images
from lab.machine import run
from lab.topology import CACHE, HOSTS, KEY, NET4, NET6, Host

FOLDER = CACHE / "vm"
SIZE = "6G"
"""Of the file system; the file is sparse."""
KERNEL_OPTIONS = "net.ifnames=0 console=ttyS0"
"""As an administrator would have set them for a machine with a serial console."""
OWN = ("gateway", "machine")
INTERFACES = """\
auto lo eth0
iface lo inet loopback
iface eth0 inet static
  address {host.ipv4}/24
  gateway {net4}.1
iface eth0 inet6 static
  address {host.ipv6}/64
  gateway {net6}:1
  accept_ra 0
  dad-attempts 0
"""


@dataclass(frozen=True)
class Disk:
    """A disk that boots: the image, and what a boot loader would have read off it."""

    image: Path
    kernel: Path
    initrd: Path

    def remove(self) -> None:
        """Give its space back."""
        for path in (self.image, self.kernel, self.initrd):
            path.unlink(missing_ok=True)


def archive(suite: str) -> Path:
    """Return the archive of the root file system, made by mmdebstrap unless it is there."""
    digest = hashlib.sha256("".join(images.digest(name, suite) for name in OWN).encode()).hexdigest()[:12]
    path = FOLDER / f"{suite}-{digest}.tar"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in FOLDER.glob(f"{suite}-*.tar"):
            old.unlink()
        made = path.with_suffix(".new.tar")
        images.build(
            suite,
            [package for name in OWN for package in images.packages(name)],
            images.IMAGES / "gateway" / "setup.sh",
            images.IMAGES / "gateway" / "files",
            made,
            f"--essential-hook=copy-in {images.IMAGES}/machine/files/. /",
            "--skip=cleanup/apt/lists",  # to fetch and read them takes an emulated machine minutes
        )
        made.replace(path)
    return path


def configure(root: Path, host: Host) -> None:
    """Write what an installer asks for: name, address, resolver, file systems, and who may come in."""
    dns = next(item for item in HOSTS if item.name == "dns")
    texts = {
        "etc/hostname": f"{host.fqdn}\n",
        "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n",
        "etc/resolv.conf": f"nameserver {dns.ipv4}\n",
        "etc/default/grub": f'GRUB_CMDLINE_LINUX="{KERNEL_OPTIONS}"\n',
        "etc/network/interfaces": INTERFACES.format(host=host, net4=NET4, net6=NET6),
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    keys = root / "root" / ".ssh"
    keys.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(KEY.with_suffix(".pub"), keys / "authorized_keys")


def make(host: Host) -> Disk:
    """Make a host's disk anew."""
    base = archive(host.suite)
    disk = Disk(*(FOLDER / f"{host.name}.{part}" for part in ("ext4", "kernel", "initrd")))
    disk.remove()
    with tempfile.TemporaryDirectory(prefix="disk-", dir=FOLDER) as directory:
        root = Path(directory)
        run("tar", "--extract", "--numeric-owner", f"--file={base}", f"--directory={root}")
        configure(root, host)
        (kernel,) = (root / "boot").glob("vmlinuz-*")
        shutil.copy(kernel, disk.kernel)
        shutil.copy(kernel.with_name(kernel.name.replace("vmlinuz", "initrd.img")), disk.initrd)
        run("mke2fs", "-q", "-t", "ext4", "-d", str(root), str(disk.image), SIZE)
    return disk
