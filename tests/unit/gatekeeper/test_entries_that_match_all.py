"""Entries that would match everybody or nobody are refused by gatekeeper's own parsers."""

from __future__ import annotations

from typing import Any

import pytest
from gatekeeper.config import ConfigError, parse
from gatekeeper.directory import directory

WHO: dict[str, Any] = {"servers": ["ldaps://dc.corp.test"], "base": "dc=corp,dc=test"}


@pytest.mark.parametrize(
    "entry",
    [
        {"protected_names": ["..."]},
        {"protected_names": ["\u2014 \u2014"]},
        {"protected_names": ["\U0001f600 \U0001f600"]},
        {"protected_names": ["A. M."]},
        {"may_spoof": ["0.0.0.0/0"]},
        {"may_spoof": ["::/0"]},
        {"recipients": {"corp.test": {"list": ["*"]}}},
        {"recipients": {"corp.test": {"list": ["*@corp.test"]}}},
        {"recipients": {"corp.test": {"list": ["ann@other.test"]}}},
        {"recipients": {"corp.test": {"list": ["ann", "#sales"]}}},
        {"recipients": {".corp.test": {"list": ["ann@corp.test"]}}},
        {"recipients": {"corp.test": {"file": "/etc/lists/"}}},
        {"relay_senders": {"192.0.2.0/24": ["*@corp.test"]}},
        {"relay_senders": {"192.0.2.0/24": ["@"]}},
        {"limits": {"client": {}}},
        {"limits": {"client": {"messages": {}}}},
        {"dns_lists": {"": {"codes": ["127.0.0.2"]}}},
        {"dns_lists": {"list.test": {"codes": ["127.0.0.2"], "weight": 0}}},
    ],
    ids=repr,
)
def test_what_matches_everybody_or_nobody_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse(entry)


@pytest.mark.parametrize(
    "entry",
    [
        {"protected_names": ["\u674e \u660e", "Ann Miller", "J. Miller"]},
        {"may_spoof": ["192.0.2.0/24", "2001:db8::/32"]},
        {
            "recipients": {
                "corp.test": {"list": ["a*b@corp.test", "ann@other.test"]},
                ".x.test": {"list": ["a@b.x.test"]},
            }
        },
        {"relay_senders": {"192.0.2.0/24": [], "192.0.2.7": ["corp.test", ".corp.test", "ann@other.test"]}},
        {"limits": {}},
        {"dns_lists": {"List.test.": {"codes": ["127.0.0.2"]}}},
    ],
    ids=repr,
)
def test_what_can_be_right_is_taken(entry: dict[str, Any]) -> None:
    parse(entry)


@pytest.mark.parametrize(
    "text",
    [
        "mail=*",
        "(&(mail=*)",
        "(a=b)(c=d)",
        "(a=b))((c=d)",
        "()",
        "(&)",
        "(mail=)",
        "(!(a=b)(c=d))",
        "(!" * 2000 + ")" * 2000,
    ],
)
def test_a_filter_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must be a filter"):
        directory("ldap", WHO | {"filter": text})


@pytest.mark.parametrize(
    "text",
    [
        "(mail=*)",
        "(&(mail=*)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))",
        "(& (|(a=b)(c>=d)) (cn=\\28x\\29) )",
        "(memberOf=CN=Mail Users,OU=x\\,y,DC=corp)",
    ],
)
def test_a_filter_that_is_one_is_taken(text: str) -> None:
    assert directory("ldap", WHO | {"filter": text}).filter == text


@pytest.mark.parametrize(
    "text", ["", "corp.test", "dc=corp,,dc=test", "dc=corp,test", "dc=", "dc=corp;dc=test", ",dc=corp"]
)
def test_a_base_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="distinguished name"):
        directory("ldap", WHO | {"base": text})


@pytest.mark.parametrize(
    "text", ["dc=corp,dc=test", "OU=\u00dcr\u00fcn\\, x , DC=corp", "o=Example Ltd", "cn=a+sn=b,dc=corp"]
)
def test_a_base_that_is_one_is_taken(text: str) -> None:
    assert directory("ldap", WHO | {"base": text}).base == text
