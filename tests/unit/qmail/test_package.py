"""qmail's package: what its postinst makes of the queue."""

from __future__ import annotations

import stat
import subprocess
import tarfile
from pathlib import Path

from lab.topology import PROJECT

POSTINST = PROJECT / "roles/qmail/files/package/postinst"
FOLDERS = {"qmail": 0o755, "qmail/queue": 0o750, "qmail/queue/mess": 0o750, "qmail/queue/lock": 0o700}


def configure(root: Path) -> None:
    """Run postinst, as dpkg does, in a folder that stands for /."""
    (script := root / "postinst").write_text(
        POSTINST.read_text().replace("/usr/share", f"{root}/share").replace("/var", f"{root}/var")
    )
    subprocess.run(["/bin/sh", script, "configure", ""], check=True)


def share(root: Path) -> None:
    """What the package brings: the empty queue, and how its folders are to be."""
    empty, shared = root / "empty", root / "share/gatewright"
    shared.mkdir(parents=True)
    for name, mode in FOLDERS.items():
        (empty / name).mkdir(parents=True)
        (empty / name).chmod(mode)
    (empty / "qmail/queue/lock/sendmutex").touch()
    with tarfile.open(shared / "qmail-queue.tar", "w") as archive:
        archive.add(empty / "qmail/queue", "queue")
    owner = f"{root.stat().st_uid}:{root.stat().st_gid}"
    lines = [f"{owner} {mode:o} {root}/var/{name}\n" for name, mode in FOLDERS.items()]
    (shared / "qmail-folders").write_text("".join(lines))


def modes(root: Path) -> dict[str, int]:
    """The modes of the queue's folders."""
    return {name: stat.S_IMODE((root / "var" / name).stat().st_mode) for name in FOLDERS}


def test_an_empty_disk_for_the_queue_gets_qmails_folders_and_modes(tmp_path: Path) -> None:
    share(tmp_path)
    (tmp_path / "var/qmail/queue").mkdir(parents=True)
    (tmp_path / "var/qmail/queue").chmod(0o2777)  # chmod 750 alone keeps a folder's set-group-ID bit
    (tmp_path / "var/qmail").chmod(0o700)
    configure(tmp_path)
    assert modes(tmp_path) == FOLDERS
    assert (tmp_path / "var/qmail/queue/lock/sendmutex").is_file()


def test_mail_in_the_queue_outlives_the_package(tmp_path: Path) -> None:
    share(tmp_path)
    message, lock = (tmp_path / "var/qmail/queue" / name for name in ("mess/12", "lock/sendmutex"))
    for file in (message, lock):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("kept")
    message.chmod(0o640)
    configure(tmp_path)
    assert message.read_text() == lock.read_text() == "kept" and stat.S_IMODE(message.stat().st_mode) == 0o640
    assert modes(tmp_path) == FOLDERS
