"""The controller's side of gateway_proof: call port 25, have the host prove the rest, and say what does not work."""

from __future__ import annotations

import socket
import threading
from typing import Any

from ansible.plugins.action import ActionBase

SECONDS = 5.0  # that port 25 gets to greet; a host that has just been set up is busy
SMTP = 25
OWN_OPTIONS = ("inside", "controller", "note")
"""Those that the host does not read."""


def greeting(host: str, port: int = SMTP, seconds: float = SECONDS) -> tuple[str, str]:
    """The first line of a mail server, and what went wrong if there is none."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as link, link.makefile("rb") as stream:
            line = stream.readline(1000).decode(errors="replace").strip()
            return line, "" if line else "closed the connection without a word"
    except OSError as error:
        return "", str(error) or type(error).__name__


def judge_greeting(line: str, error: str, me: str, seen: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with port 25 as the controller sees it, and what is to be remarked.

    seen: what the host saw meanwhile (arrived, denied, cut).
    """
    if line.startswith("220") and me in line:
        return "", ""
    if line.startswith("421") and seen.get("cut"):
        return "", "inbound mail is cut off (gatewright-cutoff), so port 25 says 421"
    if seen.get("denied"):
        return "", "tcp_smtp_deny turns the controller away, so port 25 was not proved from it"
    if line:
        return f"port 25 greets with {line!r}, not with {me}'s own 220", ""
    if seen.get("arrived") is False:
        text = f"port 25 does not answer the controller ({error}), but nothing of its calls reaches the host"
        return "", f"{text}: the network between lets none through"
    return (
        f"port 25 does not answer the controller ({error}), although its calls reach the host: look at"
        " `nft list ruleset` and `svstat /service/qmail-smtpd`",
        "",
    )


def judge_message(proved: dict[str, Any], fate: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with the message to the postmaster, and what is to be remarked."""
    if not proved.get("sender"):
        return "", ""
    if proved.get("code") != 250:
        return f"a message to the postmaster was not taken: {proved.get('code')} {proved.get('reply')}", ""
    words = fate.get("words", "").replace("_", " ")
    match fate.get("fate"):
        case "delivered":
            return "", ""
        case "failed":
            return f"a message to the postmaster came back: {words}", ""
        case "deferred":
            return "", f"a message to the postmaster waits in the queue: {words}"
        case "queued":
            return "", "a message to the postmaster is in the queue, and its delivery has not ended yet"
        case _:
            return (
                "a message to the postmaster was taken, but the queue does not know it (did the scanner hold it?)",
                "",
            )


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible ships no types
    """Proves, and fails with a list."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with all that does not work; what the network keeps from being proved is a warning."""
        answer: dict[str, Any] = super().run(tmp, task_vars)
        if self._task.check_mode:
            return answer | {"changed": False, "skipped": True}
        self._vars = task_vars or {}
        me = str(self._task.args["me"])
        proved = {"resolves": True} if self._task.args.get("inside") else self._inside()
        if proved.get("failed"):
            return answer | proved
        fate: dict[str, Any] = {}
        if proved.get("sender") and proved.get("code") == 250:
            seconds = int(self._task.args.get("seconds", 20))
            fate = self._module("message_fate", {"sender": proved["sender"], "seconds": seconds})
        found = [self._port(me), judge_message(proved, fate)]
        if not proved.get("resolves"):
            found.append(
                (f"the resolver does not find a name: {proved.get('error')}; see svstat /service/dnscache", "")
            )
        problems, remarks = ([item for item in items if item] for items in zip(*found, strict=True))
        answer |= {"changed": False, "problems": problems, "remarks": remarks, "warnings": remarks}
        if problems:
            listed = "\n".join(f"  - {item}" for item in problems)
            return answer | {"failed": True, "msg": f"The host is set up, but mail does not flow:\n{listed}"}
        if note := self._task.args.get("note"):
            noted = self._module("ansible.legacy.file", {"path": note, "state": "touch", "mode": "0644"})
            if noted.get("failed"):
                return answer | noted
        sent = "a message to the postmaster was delivered" if fate.get("fate") == "delivered" else ""
        return answer | {"msg": "; ".join(filter(None, ["names resolve", "port 25 is as it must be", sent]))}

    def _module(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(name, dict(arguments), task_vars=self._vars)
        return answer

    def _inside(self) -> dict[str, Any]:
        """What the host proves itself."""
        return self._module(
            "gateway_proof", {name: value for name, value in self._task.args.items() if name not in OWN_OPTIONS}
        )

    def _caller(self) -> str:
        """The controller's address as the host sees it; empty if the connection is none of SSH's."""
        if known := self._task.args.get("controller"):
            return str(known)
        origin = self._low_level_execute_command('printf %s "$SSH_CONNECTION"', sudoable=False)
        words = str(origin.get("stdout", "")).split()
        return words[0].removeprefix("::ffff:") if len(words) == 4 else ""

    def _port(self, me: str) -> tuple[str, str]:
        """Call port 25; if it does not greet as it must, call again while the host watches whether the call arrives."""
        caller_address = self._caller()
        if not caller_address:
            return "", "this connection is none of SSH's, so port 25 was not proved from the controller"
        host = str(self._templar.template(self._vars.get("ansible_host") or self._vars["inventory_hostname"]))
        seconds = SECONDS + int(self._task.args.get("greeting_wait", 0))
        line, error = greeting(host, seconds=seconds)
        if line.startswith("220") and me in line:
            return "", ""
        caller = threading.Thread(target=lambda: [greeting(host) for _ in range(3)], daemon=True)
        timer = threading.Timer(1.0, caller.start)
        timer.start()
        seen = self._module("gateway_proof", {"me": me, "watch": caller_address})
        timer.cancel()
        line, error = greeting(host, seconds=seconds)
        return judge_greeting(line, error, me, seen)
