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


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Brings the archive to the host, runs the module there and fetches the result. See the module's documentation."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        try:
            _archive, result = self._task.args["archive"], Path(self._task.args["result"]).expanduser()
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
            plans = [self._task.args, *self._task.args.pop("companions", [])]
            missing = [dict(plan) for plan in plans if not Path(plan["result"]).expanduser().is_file()]
            return answer | self._build(missing, task_vars or {})

    def _build(self, plans: list[dict[str, Any]], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Build all on the host, in one root, and fetch the results."""
        there = self._make_tmp_path()
        try:
            results = [self._send(plan, there) for plan in plans]
            main, *companions = plans
            built: dict[str, Any] = self._execute_module(
                module_args={**main, "companions": companions}, task_vars=task_vars
            )
            if built.get("failed"):
                return built
            for plan, result in zip(plans, results, strict=True):
                self._fetch(plan["result"], result, built["sha256"][plan["result"]])
        finally:
            self._remove_tmp_path(there)
        return {"changed": True, "path": str(results[0]), "has_fetched_lists": built["has_fetched_lists"]}

    def _send(self, plan: dict[str, Any], folder: str) -> Path:
        """Bring a plan's sources to the host and turn its paths into those there. Returns where its result goes."""
        result = Path(plan["result"]).expanduser()
        join = self._connection._shell.join_path
        files = plan.pop("files", None)
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(plan["archive"])
            if files is not None:
                archive = pack(files, Path(scratch) / f"{plan['archive']}.tar")
            plan["archive"], plan["result"] = join(folder, archive.name), join(folder, result.name)
            self._transfer_file(str(archive), plan["archive"])
        self._fixup_perms2((folder, plan["archive"]))
        return result

    def _fetch(self, there: str, result: Path, sha256: str) -> None:
        """Fetch a result under a temporary name until it is proved whole."""
        fresh = result.with_name(result.name + ".fresh")
        self._connection.fetch_file(there, str(fresh))
        got = hashlib.sha256(fresh.read_bytes()).hexdigest()
        if got != sha256:
            raise AnsibleActionFail(
                f"{result.name}: fetched with SHA-256 {got}, the host has {sha256}. Where a start file of the login's"
                " shell prints text, it gets into files that are fetched: end that"
            )
        os.replace(fresh, result)
