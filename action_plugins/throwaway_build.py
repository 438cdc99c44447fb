"""Build once, on the first host that needs it; every other host and run takes the controller's copy."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


def pack(files: Mapping[str, str], path: Path) -> Path:
    """Pack sources of the project's own (name to text) as a release is packed: one top folder, no owners, no dates."""
    with tarfile.open(path, "w") as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(f"{path.stem}/{name}")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return path


class ActionModule(ActionBase):  # type: ignore[misc]
    """Brings the archive to the host, runs the module there and fetches the result. See the module's documentation."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        try:
            archive, result = self._task.args["archive"], Path(self._task.args["result"]).expanduser()
        except KeyError as error:
            raise AnsibleActionFail(f"throwaway_build needs {error}") from error
        if result.is_file():
            return answer | {"changed": False, "path": str(result)}
        if self._task.check_mode:
            return answer | {"changed": True, "path": str(result)}
        result.parent.mkdir(parents=True, exist_ok=True)
        # Hosts of one release meet here: the first builds, the others wait and find its result.
        with result.with_name(result.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if result.is_file():
                return answer | {"changed": False, "path": str(result)}
            files = self._task.args.pop("files", None)
            if files is None:
                return answer | self._build(archive, result, task_vars or {})
            with tempfile.TemporaryDirectory() as folder:
                packed = pack(files, Path(folder) / f"{archive}.tar")
                return answer | self._build(str(packed), result, task_vars or {})

    def _build(self, archive: str, result: Path, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Build on the host and fetch the result under a temporary name until it is proved whole."""
        folder = self._make_tmp_path()
        join = self._connection._shell.join_path
        there, back = join(folder, Path(archive).name), join(folder, result.name)
        try:
            self._transfer_file(archive, there)
            self._fixup_perms2((folder, there))
            arguments = {**self._task.args, "archive": there, "result": back}
            built: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
            if built.get("failed"):
                return built
            fresh = result.with_name(result.name + ".fresh")
            self._connection.fetch_file(back, str(fresh))
        finally:
            self._remove_tmp_path(folder)
        got = hashlib.sha256(fresh.read_bytes()).hexdigest()
        if got != built["sha256"]:
            raise AnsibleActionFail(f"{result.name}: fetched with SHA-256 {got}, the host has {built['sha256']}")
        os.replace(fresh, result)
        return {"changed": True, "path": str(result), "sha256": got}
