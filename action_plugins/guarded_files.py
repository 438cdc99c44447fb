"""The controller's side of guarded_files: prove that a new connection works, then confirm the change.

A task whose files are in place and in force is not sent (gatewright/noted.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.utils.display import Display

# Ansible loads an action by the path of its file: the project's package must be made known.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from gatewright.noted import NotedAction, changed
from gatewright.role_files import RoleFiles

display = Display()

PAUSE = 0.5  # seconds between two attempts
SETTLED = 0.7  # seconds from the answer to `apply` until the change is in force, as a rule
GRACE = 60  # seconds that a restored host gets to answer again
APPLY_SECONDS = 3  # after the answer to `apply`, the change is in force at the latest
# Without these a session that a ruleset cuts in the middle would hang for as long as TCP is patient.
KEEPALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=2"
LOCAL = ("local", "ansible.builtin.local")
TOO_MANY_KEYS = "Too many authentication failures"
KEYS_ADVICE = (
    "the ssh agent offers more keys than sshd_max_auth_tries lets it. Set ansible_ssh_private_key_file, and"
    " ansible_ssh_common_args to '-o IdentitiesOnly=yes', or raise sshd_max_auth_tries"
)


class ActionModule(NotedAction):
    """Compare, apply under the host's rollback, connect anew, confirm."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the comparison alone if nothing differs or in check mode."""
        answer = super().run(tmp, task_vars)
        return answer | changed(task_vars) if answer.get("changed") or answer.get("failed") else answer

    def filled(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """The module's arguments, with the contents of all files."""
        own = {name: value for name, value in arguments.items() if name != "port"}  # the controller's matter
        if isinstance(files := own.get("files"), Mapping):
            own["files"] = RoleFiles(self, task_vars).filled(files)
        return own

    def sent(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Do all steps of a change."""
        self._vars = task_vars or {}
        self._window = int(self._task.args.get("window", 60))
        self._name = str(self._task.args.get("name", ""))
        self._port = int(self._task.args.get("port") or 0)
        self._former = self._inventory_port()
        self._arguments = {**arguments, "noted": self.note_of(arguments)}
        result = self._step("compare")
        if result.get("failed") or not result.get("changed") or self._task.check_mode:
            return result
        origin = self._origin()
        started = self._step("apply")
        if started.get("failed"):
            return {**result, **started}
        deadline = time.monotonic() + self._window
        result["window"] = self._window
        if origin:
            # A first ruleset knows no connection that is under way when it is loaded: it drops what the host says there
            # until the controller speaks again, seconds later.
            time.sleep(SETTLED)
        return {**result, **self._prove(started["token"], origin, deadline)}

    def _step(self, step: str, token: str = "") -> dict[str, Any]:
        """Run one step of the module on the host."""
        arguments = {**self._arguments, "step": step, "token": token}
        answer: dict[str, Any] = self._execute_module("guarded_files", arguments, task_vars=self._vars)
        answer.pop("invocation", None)
        return answer

    def _origin(self) -> str:
        """Return address and port this connection comes from, as sshd saw it; nothing if it is not ssh.

        It differs between any two connections, so it tells a new one from one that was kept open. A connection that
        is local may have it of the shell in which somebody sits.
        """
        if self._connection.ansible_name in LOCAL:
            return ""
        answer = self._low_level_execute_command('printf %s "$SSH_CONNECTION"', sudoable=False)
        return str(answer.get("stdout", "")).strip()

    def _connect_anew(self, port: object = None) -> None:
        """Close the connection, a persistent ssh master included; the next one goes to the port, if there is one."""
        try:
            if port:
                self._connection.set_option("port", port)
            extra = self._connection.get_option("ssh_extra_args") or ""
            if KEEPALIVE not in extra:
                self._connection.set_option("ssh_extra_args", f"{extra} {KEEPALIVE}".strip())
        except (KeyError, AnsibleError):
            pass  # not the ssh plugin
        self._connection.reset()

    def _prove(self, token: str, origin: str, deadline: float) -> dict[str, Any]:
        """Connect anew until the change is in force and a connection made after that works; then confirm."""
        in_force, reason, cut = False, "no attempt was possible", ""
        while time.monotonic() < deadline:
            try:
                if origin:
                    self._connect_anew(self._port)
                    now = self._origin()
                    if now == origin:
                        reason = "the connection plugin kept the old connection open, so nothing is proved"
                        break
                # Only a connection that was made after the change had come into force counts.
                status = self._step("confirm" if in_force else "status", token)
            except AnsibleConnectionFailure as error:
                cut = f"a new connection failed: {str(error.message).strip()}"
                display.vv(f"guarded_files {self._name}: {cut}")
                if TOO_MANY_KEYS in cut:  # trying again would only look like an attack
                    return self._failure(token, f"{cut}; {KEYS_ADVICE}", deadline)
                time.sleep(PAUSE)
                continue
            if status.get("confirmed"):
                return {"proof": self._proof(origin and now)}
            if status.get("failed") or not status.get("armed"):
                reason = str(status.get("msg", "the host has already rolled back"))
                break
            if status.get("applied"):
                cut, reason = "", f"the change could not be brought into force: {status.get('output')}"
                break
            in_force = status.get("applied") is not None
            if not in_force:
                time.sleep(PAUSE)
        return self._failure(token, cut or reason)

    def _proof(self, origin: str) -> str:
        """Say what was proved, or why there is nothing to prove here."""
        if origin:
            return f"a new connection from {origin.split()[0]} works"
        return f"skipped: connection plugin {self._connection.ansible_name} does not come in over ssh"

    def _inventory_port(self) -> object:
        """The port of the inventory, by which the host can be reached again when it has rolled back."""
        try:
            return self._connection.get_option("port") or 22
        except (KeyError, AnsibleError):
            return 22  # not the ssh plugin

    def _failure(self, token: str, reason: str, until: float = 0) -> dict[str, Any]:
        """Have the host roll back at once if it can be reached, else wait (bounded) until it has done so.

        until: when the host rolls back by itself; it is not called before.
        """
        display.warning(
            f"{self._name}: {reason}. The host restores its old state by itself, {self._window} seconds"
            " after the change at the latest. Waiting for it."
        )
        deadline = time.monotonic() + self._window + GRACE
        outcome = f"it has not answered within {self._window + GRACE} seconds: look at its console"
        if until:
            time.sleep(max(0, until - time.monotonic()) + APPLY_SECONDS)
        ports = cycle([self._port, self._former] if self._port else [None])
        while time.monotonic() < deadline:
            try:
                self._connect_anew(next(ports))
                status = self._step("restore", token)
            except AnsibleConnectionFailure:
                time.sleep(PAUSE)
                continue
            if status.get("restored"):
                outcome = f"the host restored its old state at {status['restored']} and answers again"
                break
            time.sleep(PAUSE)
        return {
            "failed": True,
            "changed": False,
            "rolled_back": "restored" in outcome,
            "msg": f"{self._name}: not changed. {reason}; {outcome}.",
        }
