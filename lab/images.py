"""The lab's images: plain Debian made by mmdebstrap, kept by the digest of what went in."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.machine import LabError, environment, run
from lab.topology import KEY, Host

IMAGES = Path(__file__).parent / "images"


def packages(image: str) -> list[str]:
    """The packages of an image, one a line in images/NAME/packages."""
    lines = (IMAGES / image / "packages").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def digest(image: str, suite: str) -> str:
    """A short digest of everything an image is made from, so that a change makes a new one."""
    state = hashlib.sha256(suite.encode() + KEY.with_suffix(".pub").read_bytes())
    for path in sorted((IMAGES / image).rglob("*")):
        if path.is_file():
            state.update(str(path.relative_to(IMAGES)).encode() + path.read_bytes())
    return state.hexdigest()[:12]


def reference(host: Host) -> str:
    """The name under which podman knows a host's image."""
    return f"localhost/gatewright-{host.image}-{host.suite}:{digest(host.image, host.suite)}"


def ensure_all(hosts: Sequence[Host]) -> None:
    """Make the images of hosts that are missing, two at once: while one waits for packages, another unpacks its own."""
    wanted = list({reference(host): host for host in hosts}.values())
    with ThreadPoolExecutor(2) as pool:
        for host, is_new in zip(wanted, pool.map(ensure, wanted), strict=True):
            if is_new:
                print(f"image of {host.name}: {reference(host)}", flush=True)


def ensure(host: Host) -> bool:
    """Make a host's image unless it is there; return whether it was made."""
    name = reference(host)
    if name in run("podman", "images", "--format", "{{.Repository}}:{{.Tag}}").split():
        return False
    with tempfile.TemporaryDirectory(prefix="gatewright-image-") as directory:
        overlay = Path(directory) / "overlay"
        shutil.copytree(IMAGES / host.image / "files", overlay, symlinks=True)
        ssh = overlay / "root" / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        shutil.copy(KEY.with_suffix(".pub"), ssh / "authorized_keys")
        archive = Path(directory) / "image.tar"
        build(host.suite, packages(host.image), IMAGES / host.image / "setup.sh", overlay, archive)
        run("podman", "import", "--change", 'CMD ["/sbin/init"]', str(archive), name)
    return True


def build(suite: str, include: list[str], setup: Path, overlay: Path, archive: Path, *options: str) -> None:
    """Run mmdebstrap into an archive; the overlay's files go in last, then the script `setup` runs inside."""
    command = [
        "mmdebstrap",
        "--variant=minbase",
        "--include=" + ",".join(include),
        *options,
        f"--customize-hook=copy-in {overlay}/. /",
        f"--customize-hook=copy-in {setup} /tmp",
        f'--customize-hook=chroot "$1" sh -e /tmp/{setup.name}',
        '--customize-hook=chroot "$1" apt-get update -qq',
        f"--customize-hook=rm $1/tmp/{setup.name}",
        suite,
        str(archive),
    ]
    # copy-in keeps owners by number: the overlay is root's, as this program is
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode:
        raise LabError(f"mmdebstrap {suite} failed ({done.returncode}):\n{done.stderr[-3000:]}")
