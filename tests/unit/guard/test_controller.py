"""guarded_files on the controller: a change is confirmed over a connection that is new, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from tests import actions

action = actions.load("guarded_files")


class Host:
    """A host with its rollback, and the network that leads to it. Time passes only when something waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.port: int | None = 40000  # the source port of the connection; None: not by ssh
        self.reset_works = True
        self.cut_after_apply = False
        self.called = 22  # the port that connections go to
        self.moves_to, self.move_is_cut = 0, False
        self.offers_too_many_keys = False
        self.attempts = 0
        self.apply_code = 0
        self.applied_at: float | None = None
        self.window = 60
        self.state = "idle"  # idle, armed, confirmed, restored
        self.steps: list[str] = []
        self.connected_at = 0.0
        self.confirmed_over: float | None = None
        self.was_under_way = False  # a question of the controller's, when the change came into force
        self.ansible_name = "ssh"

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def get_option(self, name: str) -> object:
        if name == "port":
            return self.called
        raise KeyError(name)

    def set_option(self, name: str, value: object) -> None:
        assert name == "port"
        self.called = int(str(value))

    def listens(self) -> int:
        """The port at which its sshd answers now."""
        is_changed = (
            self.state in ("armed", "confirmed") and self.applied_at is not None and self.now >= self.applied_at
        )
        return self.moves_to if self.moves_to and is_changed and not self.move_is_cut else 22

    def reset(self) -> None:
        if self.reset_works and self.port is not None:
            self.port += 1
            self.connected_at = self.now

    def reach(self) -> None:
        """Fail as a connection does through a ruleset that drops it."""
        armed_until = (self.applied_at or 0) + self.window
        if self.state == "armed" and self.now >= armed_until:
            self.state = "restored"
        in_force = self.applied_at is not None and self.now >= self.applied_at
        if self.cut_after_apply and self.state == "armed" and in_force:
            self.now += 10
            raise AnsibleConnectionFailure("Connection timed out")
        if self.offers_too_many_keys and self.state == "armed" and in_force:
            self.attempts += 1
            raise AnsibleConnectionFailure("Received disconnect: Too many authentication failures")
        if self.called != self.listens():
            raise AnsibleConnectionFailure("Connection refused")

    def run(self, step: str) -> dict[str, Any]:
        self.reach()
        asked, self.now = self.now, self.now + 0.3
        self.was_under_way |= self.applied_at is not None and asked < self.applied_at <= self.now
        self.steps.append(step)
        if step == "compare":
            return {"changed": True, "changed_paths": ["/etc/x"]}
        if step == "apply":
            self.state, self.applied_at = "armed", self.now + 1
            return {"changed": True, "token": "t"}
        if step == "confirm":
            self.state, self.confirmed_over = "confirmed", self.connected_at
            return {"confirmed": True}
        if step == "restore" and self.state == "armed":
            self.state = "restored"
        done = self.applied_at is not None and self.now >= self.applied_at
        return {
            "armed": self.state == "armed",
            "applied": self.apply_code if done else None,
            "output": "no such table" if self.apply_code else "",
            "restored": "2026-01-01T00:00:00Z" if self.state == "restored" else "",
        }


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The host behind the action plugin."""
    made = Host()
    clock = SimpleNamespace(monotonic=lambda: made.now, sleep=made.sleep)
    monkeypatch.setattr(action, "time", clock)
    monkeypatch.setattr("gatewright.noted.ActionBase.run", lambda *_: {})
    monkeypatch.setattr(action.ActionModule, "note_of", lambda *_: {})
    yield made


def run(host: Host, check: bool = False, **more: Any) -> dict[str, Any]:
    """Run the action plugin against the host."""
    plugin = object.__new__(action.ActionModule)
    plugin._task = SimpleNamespace(args={"name": "firewall", "window": host.window, **more}, check_mode=check)
    plugin._connection = host
    plugin._execute_module = lambda _name, arguments, task_vars: host.run(arguments["step"])

    def origin(_command: str, sudoable: bool) -> dict[str, str]:
        host.reach()
        return {"stdout": "" if host.port is None else f"192.0.2.1 {host.port} 192.0.2.2 22"}

    plugin._low_level_execute_command = origin
    result: dict[str, Any] = plugin.run(None, {})
    return result


def test_a_good_change_is_confirmed_over_a_connection_made_after_it_came_into_force(host: Host) -> None:
    result = run(host)
    assert not result.get("failed")
    assert result["proof"] == "a new connection from 192.0.2.1 works"
    assert host.state == "confirmed"
    assert host.confirmed_over is not None and host.applied_at is not None
    assert host.confirmed_over >= host.applied_at


def test_no_question_is_under_way_when_the_change_comes_into_force(host: Host) -> None:
    run(host)
    assert not host.was_under_way


def test_a_change_that_cuts_new_connections_fails_and_says_that_the_host_is_back(host: Host) -> None:
    host.cut_after_apply = True
    result = run(host)
    assert result["failed"] is True and result["rolled_back"] is True
    assert "new connection failed" in result["msg"] and "answers again" in result["msg"]
    assert host.state == "restored"
    assert "confirm" not in host.steps


def test_a_connection_that_stays_open_proves_nothing(host: Host) -> None:
    host.reset_works = False
    result = run(host)
    assert result["failed"] is True and "kept the old connection" in result["msg"]
    assert host.state == "restored"


def test_a_change_that_cannot_be_brought_into_force_is_rolled_back_at_once(host: Host) -> None:
    host.apply_code = 1
    result = run(host)
    assert result["failed"] is True and "no such table" in result["msg"]
    assert host.state == "restored" and host.now < host.window


def test_a_connection_that_is_not_ssh_skips_the_proof_and_names_the_reason(host: Host) -> None:
    host.port, host.ansible_name = None, "podman"
    result = run(host)
    assert result["proof"] == "skipped: connection plugin podman does not come in over ssh"
    assert host.state == "confirmed"


def test_a_gateway_that_changes_itself_skips_the_proof_in_whoevers_shell_it_was_started(host: Host) -> None:
    host.ansible_name, host.reset_works = "local", False  # SSH_CONNECTION is the shell's, and no reset changes it
    result = run(host)
    assert result["proof"] == "skipped: connection plugin local does not come in over ssh"
    assert host.state == "confirmed"


def test_a_host_that_never_answers_again_ends_the_task_within_bounds(host: Host) -> None:
    host.cut_after_apply, host.window = True, 10**9
    host_limit = 30
    plugin_window = {"name": "firewall", "window": host_limit}
    plugin = object.__new__(action.ActionModule)
    plugin._task = SimpleNamespace(args=plugin_window, check_mode=False)
    plugin._connection = host
    plugin._execute_module = lambda _name, arguments, task_vars: host.run(arguments["step"])
    plugin._low_level_execute_command = lambda *_args, **_more: {"stdout": f"192.0.2.1 {host.port} 192.0.2.2 22"}
    result = plugin.run(None, {})
    assert result["failed"] is True and result["rolled_back"] is False
    assert "console" in result["msg"]
    assert host.now < 2 * host_limit + action.GRACE + 30


def test_a_change_of_the_port_is_confirmed_over_the_new_one(host: Host) -> None:
    host.moves_to = 2222
    result = run(host, port=2222)
    assert not result.get("failed"), result
    assert host.state == "confirmed" and host.called == 2222


def test_a_port_that_does_not_answer_is_given_up_and_the_old_one_found_again(host: Host) -> None:
    host.moves_to, host.move_is_cut = 2222, True
    result = run(host, port=2222)
    assert result["failed"] is True and result["rolled_back"] is True
    assert host.state == "restored" and host.called == 22


def test_an_agent_with_too_many_keys_is_named_and_not_tried_again_until_the_host_is_back(host: Host) -> None:
    host.offers_too_many_keys = True
    result = run(host)
    assert result["failed"] is True and result["rolled_back"] is True
    assert "more keys than sshd_max_auth_tries" in result["msg"] and "IdentitiesOnly" in result["msg"]
    assert host.attempts == 1, "each further one looks like an attack to fail2ban"


def test_check_mode_asks_once_and_changes_nothing(host: Host) -> None:
    assert run(host, check=True)["changed"] is True
    assert host.steps == ["compare"]
