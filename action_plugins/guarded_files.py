"""The controller's side of guarded_files: prove that a new connection works, then confirm the change."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

PAUSE = 0.5  # seconds between two attempts
GRACE = 60  # seconds that a restored host gets to answer again
# Without these a session that a ruleset cuts in the middle would hang for as long as TCP is patient.
KEEPALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=2"


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Compare, apply under the host's rollback, connect anew, confirm."""

    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the comparison alone if nothing differs or in check mode."""
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._window = int(self._task.args.get("window", 60))
        self._name = str(self._task.args.get("name", ""))
        result = self._step("compare")
        if result.get("failed") or not result.get("changed") or self._task.check_mode:
            return result
        origin = self._origin()
        started = self._step("apply")
        if started.get("failed"):
            return {**result, **started}
        deadline = time.monotonic() + self._window
        result["window"] = self._window
        return {**result, **self._prove(started["token"], origin, deadline)}

    def _step(self, step: str, token: str = "") -> dict[str, Any]:
        """Run one step of the module on the host."""
        arguments = {**self._task.args, "step": step, "token": token}
        answer: dict[str, Any] = self._execute_module("guarded_files", arguments, task_vars=self._vars)
        answer.pop("invocation", None)
        return answer

    def _origin(self) -> str:
        """Return address and port this connection comes from, as sshd saw it; nothing if it is not ssh.

        It differs between any two connections, so it tells a new one from one that was kept open.
        """
        answer = self._low_level_execute_command('printf %s "$SSH_CONNECTION"', sudoable=False)
        return str(answer.get("stdout", "")).strip()

    def _connect_anew(self) -> None:
        """Close the connection, a persistent ssh master included."""
        try:
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
                    self._connect_anew()
                    now = self._origin()
                    if now == origin:
                        reason = "the connection plugin kept the old connection open, so nothing is proved"
                        break
                # Only a connection that was made after the change had come into force counts.
                status = self._step("confirm" if in_force else "status", token)
            except AnsibleConnectionFailure as error:
                cut = f"a new connection failed: {str(error.message).strip()}"
                display.vv(f"guarded_files {self._name}: {cut}")
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

    def _failure(self, token: str, reason: str) -> dict[str, Any]:
        """Have the host roll back at once if it can be reached, else wait (bounded) until it has done so."""
        display.warning(
            f"{self._name}: {reason}. The host restores its old state by itself, {self._window} seconds"
            " after the change at the latest. Waiting for it."
        )
        deadline = time.monotonic() + self._window + GRACE
        outcome = f"it has not answered within {self._window + GRACE} seconds: look at its console"
        while time.monotonic() < deadline:
            try:
                self._connect_anew()
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
