"""Action: a gateway's archive, and the way between it and a folder of this machine.

Nothing that is not encrypted is written to this machine's disk: a gateway encrypts to the recipients' public keys, and
the file is fetched as it is. On the way back this one opens it with the administrator's key and encrypts it anew, in
one pipe, to a key that the gateway has made for this one transport. So no gateway sees the administrator's key, which
opens all archives.

Options: step (pack, unpack), directory (of archives on this machine), keep (archives of a gateway that stay), archive
(the file to bring back; the gateway's newest in the directory), identity (file with the key that opens it, also under
ansible-vault), and those of the module (state, recipients, queue, over).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).resolve().parents[1]
RELEASE = (PROJECT / "VERSION").read_text().strip()
SUFFIX = ".tar.gz.age"
PART_SECONDS = 86_400
"""Age from which a file that is half fetched is nobody's any more."""
LOCKED = ("age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----")
MODULE = ("state", "recipients", "queue", "over", "root")
"""Options that go to the module."""


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Runs the module's steps, and moves the file."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take an archive, or bring one back."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars["inventory_hostname"])
        self._folder = Path(str(self._task.args["directory"])).expanduser()
        if shutil.which("age") is None:
            raise AnsibleActionFail("age is not on this machine: apt-get install age")
        steps = {"pack": self._pack, "unpack": self._unpack}
        return result | steps[str(self._task.args["step"])]()

    def _module(self, step: str, **more: Any) -> dict[str, Any]:
        """Run one step on the gateway; raises with its words if it fails."""
        given = {name: self._task.args[name] for name in MODULE if name in self._task.args}
        arguments = {**given, **more, "step": step, "release": RELEASE}
        answer: dict[str, Any] = self._execute_module("gateway_archive", arguments, task_vars=self._vars)
        if answer.get("failed"):
            raise AnsibleActionFail(str(answer.get("msg") or answer), result=answer)
        answer.pop("invocation", None)
        return answer

    def _pack(self) -> dict[str, Any]:
        if self._task.check_mode:
            return {"changed": False, "skipped": True}
        remote = self._connection._shell.join_path(self._make_tmp_path(), "archive")
        try:
            said = self._module("pack", file=remote)
            target = self._folder / f"{self._host}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{SUFFIX}"
            self._fetch(remote, target, said["sha256"])
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return said | {"archive": str(target), "removed": self._thin_out(target)}

    def _fetch(self, remote: str, target: Path, sha256: str) -> None:
        """Bring the file here, wholly or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        part.touch(mode=0o600)
        try:
            self._connection.fetch_file(remote, str(part))
            with part.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise AnsibleActionFail(
                        f"{target}: the file that arrived is another than the gateway wrote. Where a start file of the"
                        " login's shell prints text, it gets into files that are fetched: end that"
                    )
                os.fsync(file.fileno())
            part.rename(target)
            sync_folder(self._folder)  # before older ones are removed
        finally:
            part.unlink(missing_ok=True)

    def _archives(self, suffix: str = SUFFIX) -> list[Path]:
        """Those of this gateway, the oldest first; the form of the time keeps gw1 apart from gw1-old."""
        return sorted(self._folder.glob(f"{self._host}-{'[0-9]' * 8}T{'[0-9]' * 6}Z{suffix}"))

    def _thin_out(self, fresh: Path) -> list[str]:
        """Remove all but the newest archives of this gateway (keep 0: none), and what runs that were killed left.

        The fresh one stays, whatever its name says of the time: this machine's clock may have been set back.
        """
        keep = int(self._task.args.get("keep", 0))
        others = [path for path in self._archives() if path != fresh]
        old = others[: max(len(others) - keep + 1, 0)] if keep > 0 else []
        old += [path for path in self._archives(f"{SUFFIX}.part") if path.stat().st_mtime < time.time() - PART_SECONDS]
        for path in old:
            path.unlink(missing_ok=True)
        return [str(path) for path in old]

    def _unpack(self) -> dict[str, Any]:
        archive, identity = self._archive(), self._identity()
        folder = self._make_tmp_path()
        remote, key = (self._connection._shell.join_path(folder, name) for name in ("archive", "key"))
        try:
            recipient = self._module("key", identity=key)["recipient"]
            with tempfile.TemporaryDirectory(prefix="gatewright-") as here:
                sealed = Path(here) / "archive"
                seal_anew(archive, identity, recipient, sealed)
                self._transfer_file(str(sealed), remote)
            return self._module("unpack", file=remote, identity=key) | {"archive": str(archive)}
        finally:
            self._remove_tmp_path(folder)

    def _archive(self) -> Path:
        """The file to bring back."""
        given = str(self._task.args.get("archive") or "")
        if given:
            path = Path(given).expanduser()
            if not path.is_file():
                raise AnsibleActionFail(f"{path}: there is no such archive")
            return path
        found = self._archives()
        if not found:
            raise AnsibleActionFail(f"{self._folder} has no archive of {self._host}; -e restore_archive=FILE names one")
        return found[-1]

    def _identity(self) -> bytes:
        """The key that opens archives, as text."""
        given = str(self._task.args.get("identity") or "")
        if not given:
            raise AnsibleActionFail("-e restore_identity=FILE must name the key that opens archives")
        try:
            text: str = self._loader.get_text_file_contents(str(Path(given).expanduser().absolute()))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{given}: {error}") from error
        if text.startswith(LOCKED):
            raise AnsibleActionFail(
                f"{given} is locked by a passphrase, which a play cannot ask for: keep it under ansible-vault, or open"
                " it into memory, age --decrypt --output /dev/shm/key, and name that"
            )
        return text.encode()


def sync_folder(folder: Path) -> None:
    """When this returns, the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal_anew(archive: Path, identity: bytes, recipient: str, target: Path) -> None:
    """Open an archive with one key and encrypt it to another, in one pipe; raises if it is damaged or another key's."""
    opening = ["age", "--decrypt", "--identity", "-", str(archive)]
    sealing = ["age", "--recipient", recipient, "--output", str(target)]
    pipes: Mapping[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(opening, **pipes) as opened:
        assert opened.stdin and opened.stdout and opened.stderr
        opened.stdin.write(identity)
        opened.stdin.close()
        sealed = subprocess.run(sealing, stdin=opened.stdout, capture_output=True, check=False)
        opened.stdout.close()
        said = opened.stderr.read().decode("utf-8", "replace")
    for status, words in ((opened.returncode, said), (sealed.returncode, sealed.stderr.decode("utf-8", "replace"))):
        if status:
            raise AnsibleActionFail(f"{archive}: {' '.join(words.split()) or status}")
