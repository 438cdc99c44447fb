#!/usr/bin/python3
"""Build a source archive in a root directory that exists only for the build."""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: throwaway_build
short_description: Build a source archive in a throwaway root
description:
  - Downloads a compiler with the host's own apt (nothing is installed), unpacks it into a directory, builds the
    archive in there by chroot(2), packs what the build left in C(/out), and removes the directory whatever happens.
  - The host keeps no compiler, no header and no make. No mount and no capability beyond root's usual ones is
    needed, so it works in a default container, too.
  - The action plugin of the same name runs this module only when the controller has no result yet, brings the
    archive to the host and fetches the result. For it C(archive) and C(result) are paths on the controller.
options:
  archive:
    description: The proved tar archive.
    type: path
    required: true
  result:
    description: File to make, C(.deb) or C(.tar.gz) by its suffix.
    type: path
    required: true
  directory:
    description: Source directory inside the archive. By default its single top folder.
    type: str
    default: ""
  patches:
    description: Patches to apply in order with C(-p1) and no fuzz, mappings of C(name) and C(content).
    type: list
    elements: dict
    default: []
  prepare:
    description: Shell commands to run in the source directory before the patches, unprivileged.
    type: str
    default: ""
  compile:
    description: Shell commands to run in the source directory after the patches, unprivileged.
    type: str
    default: ""
  install:
    description: Shell commands that put the result below C($DESTDIR) (C(/out)), as the throwaway root's root user.
    type: str
    default: ""
  packages:
    description: Debian packages the build needs besides compiler, make and the usual tools.
    type: list
    elements: str
    default: []
  groups:
    description: Groups the root knows, mappings of C(name) and C(gid).
    type: list
    elements: dict
    default: []
  users:
    description: Users the root knows, mappings of C(name), C(uid), C(gid) and C(home).
    type: list
    elements: dict
    default: []
  package:
    description: For a C(.deb), its C(control) fields (mapping) and C(scripts) (mapping of maintainer script to text).
    type: dict
    default: {}
  companions:
    description: >-
      More to build in the same root, after this and each from its own source: mappings of C(archive), C(result),
      C(directory), C(patches), C(prepare), C(compile), C(install), C(packages), C(groups), C(users) and C(package).
    type: list
    elements: dict
    default: []
  work_dir:
    description: Where the throwaway root is made. It must allow execution and be reachable for apt's user.
    type: path
    default: /var/lib/gatewright
  timeout:
    description: Seconds after which one step of the build is given up.
    type: int
    default: 1800
author: Gatewright
"""

EXAMPLES = r"""
- name: Build ucspi-tcp
  throwaway_build:
    archive: "{{ archive.path }}"
    result: "{{ source_build_cache_dir }}/ucspi-tcp-{{ key }}.tar.gz"
    compile: |
      echo gcc -O2 -std=gnu89 -include errno.h > conf-cc
      echo /out/usr/local > conf-home
      make
    install: make setup check
"""

RETURN = r"""
path:
  description: The result.
  type: str
  returned: success
has_fetched_lists:
  description: Whether apt's lists had to be fetched.
  type: bool
  returned: when it was built
sha256:
  description: SHA-256 of each result, in hex, by its path.
  type: dict
  returned: when it was built
"""

TOOLS = [
    *("coreutils", "dash", "diffutils", "findutils", "gcc", "grep", "gzip", "libc-bin"),
    *("libc6-dev", "make", "mawk", "patch", "sed", "tar"),
]
"""What a build with make expects to find."""

NEVER_USED = ("libasan*", "libhwasan*", "liblsan*", "libtsan*", "libubsan*")
"""What the compiler depends on for programs with -fsanitize, a tenth of all to unpack: only for who names it."""

NOT_UNPACKED = ("./usr/share/doc", "./usr/share/man", "./usr/share/info", "./usr/share/locale", "./usr/bin/*lto-dump*")
"""What no build reads."""

BUILDER = 65534
"""uid and gid of the unprivileged steps: nobody's, who owns nothing."""

LOG_LINES = 60
LOCK = Path("/run/gatewright-build.lock")


class BuildError(Exception):
    """A step that failed; the message says which and ends with the last lines it printed."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs the steps of a build, each bounded in time (seconds) and ended with its children."""

    timeout: int

    def run(self, what: str, command: Sequence[str], root: Path | None = None, **settings: object) -> str:
        """Run a command, inside `root` if given, and return what it printed. Raises BuildError."""
        cwd = str(settings.get("cwd", "/"))
        user = settings.get("user")
        script = str(settings.get("script", ""))

        def enter() -> None:
            if root is not None:
                os.chroot(root)
            os.chdir(cwd)
            if isinstance(user, int):
                os.setgroups([user])  # qmail's Makefile wants to see one.
                os.setgid(user)
                os.setuid(user)

        process = subprocess.Popen(
            command,
            preexec_fn=enter,
            start_new_session=True,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            printed, _ = process.communicate(script, timeout=self.timeout)
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{what}: not done after {self.timeout} s") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode != 0:
            tail = "\n".join(printed.splitlines()[-LOG_LINES:])
            raise BuildError(f"{what}: exit status {process.returncode}\n{tail}")
        return printed


def environment() -> dict[str, str]:
    """The environment of every step, the same on every host."""
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "HOME": "/",
        "DEBIAN_FRONTEND": "noninteractive",
        "DESTDIR": "/out",
        "SOURCE_DATE_EPOCH": "1000000000",
    }


def download_packages(runner: Runner, place: Path, packages: Sequence[str]) -> tuple[list[Path], bool]:
    """Download packages with all that they depend on, as if nothing were installed.

    Returns the .deb files, and whether apt's lists had to be fetched.
    """
    archives = place / "archives"
    (archives / "partial").mkdir(parents=True)
    status = place / "status"
    status.touch()
    options = [
        f"Dir::State::Status={status}",
        f"Dir::Cache::Archives={archives}",
        "Debug::NoLocking=1",
        "APT::Install-Recommends=0",
        "Acquire::Retries=3",
    ]
    command = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    download = ("downloading the compiler", [*command, "--yes", "--download-only", "install", *packages])
    has_fetched_lists = False
    try:
        runner.run(*download)
    except BuildError:  # the lists may be old, or not there at all
        runner.run("apt-get update", ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", "update"])
        has_fetched_lists = True
        runner.run(*download)
    return sorted(archives.glob("*.deb")), has_fetched_lists


def is_used(deb: Path, named: Sequence[str]) -> bool:
    """Whether a build may need a package, which it may have named itself."""
    name = deb.name.partition("_")[0]
    return name in named or not any(fnmatch.fnmatch(name, pattern) for pattern in NEVER_USED)


def unpack_packages(runner: Runner, root: Path, debs: Sequence[Path]) -> None:
    """Unpack packages into a merged-/usr root, without what no build reads. No maintainer script runs."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    # Unpacking is decompressing: one process a processor, and first what takes longest. Some packages of Debian 12 ship
    # /bin or /lib: keep our links in their place.
    leave = shlex.join(f"--exclude={pattern}" for pattern in NOT_UNPACKED)
    each = f'dpkg-deb --fsys-tarfile "$1" | tar -x -p --keep-directory-symlink {leave} -C "{root}" && rm "$1"'
    command = ["xargs", "-d", "\\n", "-P", str(os.cpu_count() or 1), "-n", "1", "/bin/sh", "-ec", each, "unpack"]
    largest_first = sorted(debs, key=lambda deb: deb.stat().st_size, reverse=True)
    runner.run("unpacking the compiler", command, script="\n".join(map(str, largest_first)))


def furnish(root: Path, groups: Sequence[dict[str, object]], users: Sequence[dict[str, object]]) -> None:
    """Add what maintainer scripts would have made: accounts, /dev/null, the names cc and awk."""
    for name, mode in (("tmp", 0o1777), ("dev", 0o755), ("etc", 0o755)):
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    null = root / "dev/null"
    try:
        os.mknod(null, 0o020666, os.makedev(1, 3))
        null.open("wb").close()
    except PermissionError:  # No CAP_MKNOD, or mounted with nodev: an ordinary file takes what is written to it.
        null.unlink(missing_ok=True)
        null.touch()
    null.chmod(0o666)
    for name, program in (("cc", "gcc"), ("awk", "mawk")):
        link = root / "usr/bin" / name
        if not link.exists():
            link.symlink_to(program)
    passwd = [f"{user['name']}:x:{user['uid']}:{user['gid']}::{user.get('home', '/')}:/bin/false" for user in users]
    group = [f"{group['name']}:x:{group['gid']}:" for group in groups]
    base = ["root:x:0:0:root:/:/bin/sh", f"nobody:x:{BUILDER}:{BUILDER}::/:/bin/false"]
    (root / "etc/passwd").write_text("\n".join([*base, *passwd, ""]))
    (root / "etc/group").write_text("\n".join(["root:x:0:", f"nogroup:x:{BUILDER}:", *group, ""]))


def unpack_archive(runner: Runner, root: Path, archive: Path, directory: str) -> str:
    """Unpack the source. Returns its directory, as seen inside the root."""
    place = root / "build"
    runner.run("unpacking the archive", ["tar", "-x", "--no-same-owner", "-f", str(archive), "-C", str(place)])
    if not directory:
        tops = list(place.iterdir())
        if len(tops) != 1 or not tops[0].is_dir():
            raise BuildError("the archive has no single top folder: name the directory to build in")
        directory = tops[0].name
    if not (place / directory).is_dir():
        raise BuildError(f"the archive has no directory {directory}")
    runner.run("handing the source over", ["chown", "-R", f"{BUILDER}:{BUILDER}", str(place)])
    return f"/build/{directory}"


def pack(runner: Runner, place: Path, root: Path, result: Path, package: dict[str, dict[str, str]]) -> None:
    """Pack what the build left in /out, owners and modes as they are."""
    out = root / "out"
    if not any(out.iterdir()):
        raise BuildError("the build left nothing in /out")
    if result.suffix != ".deb":
        options = ["--sort=name", "--numeric-owner", "--mtime=@1000000000"]
        runner.run("packing", ["tar", "-c", "-z", *options, "-f", str(result), "-C", str(out), "."])
        return
    control = out / "DEBIAN"
    control.mkdir(mode=0o755)
    fields = "".join(f"{name}: {value}\n" for name, value in package["control"].items())
    (control / "control").write_text(fields)
    for name, text in package.get("scripts", {}).items():
        (control / name).write_text(text)
        (control / name).chmod(0o755)
    # fast, as every host unpacks it once
    runner.run("packing", ["dpkg-deb", "-Zgzip", "-z1", "--build", str(out), str(result)])


def build_all(plans: Sequence[dict[str, Any]], timeout: int, place: Path) -> bool:
    """Make a root with what every plan needs, and build in it one after another. The caller removes `place`.

    Returns whether apt's lists had to be fetched.
    """
    runner = Runner(timeout)
    root = place / "root"
    root.mkdir(mode=0o755)

    def of_all(name: str) -> list[Any]:
        return [item for plan in plans for item in plan[name]]

    named = [*TOOLS, *map(str, of_all("packages"))]
    debs, has_fetched_lists = download_packages(runner, place, named)
    unpack_packages(runner, root, [deb for deb in debs if is_used(deb, named)])
    furnish(root, of_all("groups"), of_all("users"))
    for plan in plans:
        build(runner, root, plan, place)
    return has_fetched_lists


def build(runner: Runner, root: Path, params: dict[str, Any], place: Path) -> None:
    """Build one source in the root and pack the result."""
    for name in ("out", "build"):
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(mode=0o755)
    source = unpack_archive(runner, root, Path(str(params["archive"])), str(params["directory"]))
    shell = ["/bin/sh", "-e"]
    runner.run("prepare", shell, root, cwd=source, user=BUILDER, script=params["prepare"])
    for patch in params["patches"]:
        command = ["patch", "-p1", "--fuzz=0", "--forward", "--no-backup-if-mismatch"]
        runner.run(f"patch {patch['name']}", command, root, cwd=source, user=BUILDER, script=patch["content"])
    runner.run("compile", shell, root, cwd=source, user=BUILDER, script=params["compile"])
    runner.run("install", shell, root, cwd=source, script=params["install"])
    pack(runner, place, root, Path(str(params["result"])), params["package"])


@contextlib.contextmanager
def throwaway_place(work_dir: Path) -> Iterator[Path]:
    """A directory that is removed at the end; one that a killed build left goes first. One at a time."""
    place = work_dir / "throwaway"
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.is_dir():
            shutil.rmtree(place)
        place.mkdir(parents=True, mode=0o755)
        try:
            yield place
        finally:
            shutil.rmtree(place)


def release(result: Path) -> str:
    """Let others read a result; return its SHA-256 in hex."""
    result.chmod(0o644)
    with result.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def leave(number: int, _frame: object) -> None:
    """Turn a signal into an exception, so that the root is removed before the module ends."""
    raise SystemExit(128 + number)


_DICTS = {"type": "list", "elements": "dict", "default": []}
_TEXT = {"type": "str", "default": ""}
PLAN: dict[str, dict[str, Any]] = {
    "archive": {"type": "path", "required": True},
    "result": {"type": "path", "required": True},
    "directory": _TEXT,
    "patches": _DICTS,
    "prepare": _TEXT,
    "compile": _TEXT,
    "install": _TEXT,
    "packages": {"type": "list", "elements": "str", "default": []},
    "groups": _DICTS,
    "users": _DICTS,
    "package": {"type": "dict", "default": {}},
}
"""What may be said of one build."""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **PLAN,
            "companions": {**_DICTS, "options": PLAN},
            "work_dir": {"type": "path", "default": "/var/lib/gatewright"},
            "timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # what is built is for everybody to run, whatever root's umask is
    plans = [module.params, *module.params["companions"]]
    if module.check_mode:
        module.exit_json(changed=True, path=module.params["result"])
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    try:
        with throwaway_place(Path(module.params["work_dir"])) as place:
            has_fetched_lists = build_all(plans, module.params["timeout"], place)
    except (BuildError, OSError, KeyError) as error:
        module.fail_json(msg=f"{Path(module.params['archive']).name}: {error}")
    module.exit_json(
        changed=True,
        path=module.params["result"],
        has_fetched_lists=has_fetched_lists,
        sha256={plan["result"]: release(Path(plan["result"])) for plan in plans},
    )


if __name__ == "__main__":
    main()
