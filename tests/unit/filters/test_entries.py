"""The small filters that make entries of file_set, and the file of fixed users."""

from __future__ import annotations

from typing import Any

import pytest

from gatewright.chapters import daemontools, dnscache, foundation
from gatewright.problems import InventoryError

GROUPS = [{"name": "qmail", "gid": 7791}, {"name": "nofiles", "gid": 7790}]
ALIAS = {"name": "alias", "uid": 7790, "gid": 7790, "home": "/var/qmail/alias"}


def test_links_lead_each_name_to_its_target() -> None:
    assert daemontools.as_links(["svc", "svok"], "/command", "/usr/bin") == {
        "/command/svc": {"state": "link", "target": "/usr/bin/svc"},
        "/command/svok": {"state": "link", "target": "/usr/bin/svok"},
    }


def test_each_zone_has_a_file_with_an_address_a_line() -> None:
    zones = {"corp.test": ["10.0.0.1", "10.0.0.2"], "example.org": ["192.0.2.1"]}
    assert dnscache.zone_server_files(zones) == {
        "root/servers/corp.test": "10.0.0.1\n10.0.0.2\n",
        "root/servers/example.org": "192.0.2.1\n",
    }


def test_users_and_groups_get_their_fixed_numbers() -> None:
    lines = foundation.sysusers([ALIAS], GROUPS).splitlines()
    assert lines[1:] == ["g qmail 7791", "g nofiles 7790", 'u alias 7790:7790 "Gatewright" /var/qmail/alias']


def test_a_user_and_a_group_may_have_one_number() -> None:
    assert "u alias 7790:7790" in foundation.sysusers([ALIAS], [{"name": "nofiles", "gid": 7790}])


@pytest.mark.parametrize(
    ("users", "groups", "words"),
    [
        ([ALIAS, ALIAS | {"name": "other"}], GROUPS, "user other: uid 7790 is alias's already"),
        ([], [*GROUPS, {"name": "third", "gid": "7791"}], "group third: gid 7791 is qmail's already"),
    ],
)
def test_a_number_given_twice_is_refused_and_both_names_are_said(
    users: list[dict[str, Any]], groups: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(InventoryError, match=words):
        foundation.sysusers(users, groups)
