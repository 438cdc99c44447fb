"""The drop-ins that confine units: what systemd may set on the host, and what roles add."""

from __future__ import annotations

from typing import Any

from gatewright.chapters.hardening import sandbox_files

OWN: dict[str, dict[str, Any]] = {
    "svscan": {
        "plain": {"UMask": "0022"},
        "filtered": {"LockPersonality": "yes", "SystemCallFilter": ["@system-service", "~@debug"]},
        "further": {"LockPersonality": "no", "TasksMax": "9"},
    },
    "fail2ban": {"plain": {"NoNewPrivileges": "yes"}, "filtered": {}},
}
PLACE = "/etc/systemd/system/{}.service.d/gatewright-sandbox.conf"


def lines(unit: str, *, seccomp: bool = True) -> list[str]:
    """The directives of a unit's drop-in."""
    role = {"gatescan-expire": {"plain": {"KeyringMode": "private"}, "filtered": {"PrivateDevices": "yes"}}}
    files = sandbox_files(OWN, {"ProtectClock": "yes", "PrivateDevices": "no"}, role, seccomp=seccomp)
    return files[PLACE.format(unit)].split("[Service]\n")[1].splitlines()


def test_a_list_is_a_line_for_each_and_what_is_further_has_the_last_word() -> None:
    assert lines("svscan") == [
        "UMask=0022",
        "LockPersonality=no",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@debug",
        "TasksMax=9",
    ]


def test_where_systemd_may_set_no_filters_they_are_left_out() -> None:
    assert lines("svscan", seccomp=False) == ["UMask=0022", "TasksMax=9"]
    assert lines("fail2ban", seccomp=False) == ["NoNewPrivileges=yes"]


def test_a_roles_unit_has_the_usual_filters_and_its_own() -> None:
    assert lines("gatescan-expire") == ["KeyringMode=private", "ProtectClock=yes", "PrivateDevices=yes"]
    assert lines("gatescan-expire", seccomp=False) == ["KeyringMode=private"]
