"""A qmail of our own to measure: the real qmail-smtpd and qmail-queue, in a place and with users of their own.

Mail is accepted into the queue and goes no further (no qmail-send runs), so that what is counted is the accept
side alone. Built from the archive in $GATEWRIGHT_ARTIFACTS; removed at the end, users and all.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.scanner.accounting import Group
from bench.scanner.site import Site
from bench.scanner.waiting import listens, wait_until

HOME = Path("/var/qmail-bench")
PATCHES = Path(__file__).parents[2] / "roles/qmail/files/patches/notqmail-1.09"
ARCHIVE = "notqmail-1.09.tar.gz"
CFLAGS = ("-O2", "-Wall", "-fno-pie", "-static")
SPLIT = 23
ALIAS, DAEMON, QUEUE, SEND, SCANNER = (f"gwbench{letter}" for letter in "adqsc")
GROUP = "gwbench"


class Qmail:
    """The installed programs, the switchboard of what is measured with them, and the world around them. Use it in a
    `with`."""

    def __enter__(self) -> Qmail:
        if HOME.exists():
            raise SystemExit(f"bench: {HOME} is there already; another run? else remove it")
        self.site = Site().__enter__()
        try:
            _add_users()
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.site.__exit__()
        shutil.rmtree(HOME, ignore_errors=True)
        for user in (ALIAS, DAEMON, QUEUE, SEND, SCANNER):
            subprocess.run(["userdel", user], check=False, capture_output=True)
        subprocess.run(["groupdel", GROUP], check=False, capture_output=True)

    def _build(self) -> None:
        source = HOME / "src"
        source.mkdir(parents=True)
        HOME.chmod(0o755)
        archive = Path(os.environ.get("GATEWRIGHT_ARTIFACTS", "/var/cache/gatewright")) / ARCHIVE
        if not archive.exists():
            raise SystemExit(f"bench: {archive} is missing; set GATEWRIGHT_ARTIFACTS to the directory that has it")
        subprocess.run(["tar", "-xzf", str(archive), "--no-same-owner", "-C", str(source)], check=True)
        (tree,) = source.iterdir()
        (tree / "conf-qmail").write_text(f"{HOME}\n")
        (tree / "conf-users").write_text(f"{ALIAS}\n{DAEMON}\n{DAEMON}\nroot\n{DAEMON}\n{QUEUE}\n{DAEMON}\n{SEND}\n")
        (tree / "conf-groups").write_text(f"{GROUP}\n{GROUP}\n")
        for patch in sorted(PATCHES.glob("*.patch")):
            subprocess.run(["patch", "-s", "-p1", "--fuzz=0", "-i", str(patch)], cwd=tree, check=True)
        subprocess.run(["make", "qmail-smtpd", "qmail-queue"], cwd=tree, check=True, capture_output=True)
        self._install(tree)

    def _install(self, tree: Path) -> None:
        queue_user = pwd.getpwnam(QUEUE)
        bin_, control, queue = HOME / "bin", HOME / "control", HOME / "queue"
        for directory in (bin_, control):
            directory.mkdir()
        shutil.copy(tree / "qmail-smtpd", bin_)
        shutil.copy(tree / "qmail-queue", bin_)
        for program in bin_.iterdir():
            os.chown(program, queue_user.pw_uid if program.name == "qmail-queue" else 0, queue_user.pw_gid)
            program.chmod(0o4711 if program.name == "qmail-queue" else 0o755)
        (control / "me").write_text("bench.example\n")
        (control / "rcpthosts").write_text("bench.example\n")
        names = ["pid", "intd", "todo", "bounce", "lock", "mess", *(f"mess/{n}" for n in range(SPLIT))]
        for directory in (queue, *(queue / name for name in names)):
            directory.mkdir(mode=0o750)
            os.chown(directory, queue_user.pw_uid, queue_user.pw_gid)
        os.mkfifo(queue / "lock/trigger")
        os.chmod(queue / "lock/trigger", 0o622)

    @property
    def queued(self) -> int:
        """Messages in the queue."""
        return len(os.listdir(HOME / "queue/todo"))

    def empty_queue(self) -> None:
        """Forget what was accepted; nobody may be sending.

        qmail-queue names a message's three files after the inode of one of them: if that one alone goes while it works,
        the next message with this inode finds the others in its way, and is put off.
        """
        for name in ("pid", "intd", "todo", "mess"):
            for path in (HOME / "queue" / name).rglob("*"):
                if stat.S_ISREG(path.lstat().st_mode):
                    path.unlink()

    def compile(self, source: Path, **defines: str) -> Path:
        """Compile a queue program into our place."""
        target = HOME / "bin" / source.stem
        flags = [f"-D{name}={value}" for name, value in defines.items()]
        subprocess.run(["cc", *CFLAGS, *flags, "-o", str(target), str(source)], check=True)
        return target

    def make(self, folder: Path, program: str, **settings: str) -> Path:
        """Make a program of ours by its own Makefile, into our place."""
        words = [f"OUT={HOME}/bin", *(f"{name}={value}" for name, value in settings.items())]
        subprocess.run(["make", "-s", "-C", str(folder), *words], check=True)
        return HOME / "bin" / program

    def serve(self, port: int, group: Group, env: Mapping[str, str]) -> None:
        """Accept mail on a port of the loopback address, counted in `group`, until the group is ended."""
        user = pwd.getpwnam(DAEMON)
        command = ["tcpserver", "-RHl0", "-c", "200", "-b", "200", "-u", str(user.pw_uid), "-g", str(user.pw_gid)]
        subprocess.Popen(
            [*command, "127.0.0.1", str(port), str(HOME / "bin/qmail-smtpd")],
            env={"PATH": "/usr/bin:/bin", **env},
            preexec_fn=group.enter,
        )
        wait_until(lambda: listens(port), f"qmail-smtpd on port {port}")


def _add_users() -> None:
    subprocess.run(["groupadd", "--system", GROUP], check=True)
    for user in (ALIAS, DAEMON, QUEUE, SEND, SCANNER):
        command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent"]
        subprocess.run([*command, "--shell", "/usr/sbin/nologin", "-g", GROUP, user], check=True)
