"""The ruleset as a reader of /etc/nftables.conf sees it, and the mistakes that are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2 import Template

from gatewright.chapters.firewall import ruleset as firewall
from gatewright.problems import InventoryError

HOST: dict[str, Any] = {"users": {"root": 0, "_apt": 42}}
SSH = {"port": 22, "proto": "tcp", "admin": True, "comment": "SSH"}
SMTP = {"port": 25, "proto": "tcp", "rate": "smtp"}
RATES = {"smtp": {"new_per_minute": 60, "burst": 30, "concurrent": 10}}


TEMPLATE = Path(__file__).parents[3] / "roles" / "firewall" / "templates" / "etc" / "nftables.conf.j2"


def ruleset(wanted: dict[str, Any], survey: dict[str, Any]) -> str:
    """/etc/nftables.conf, laid out as Ansible's template does it."""
    template = Template(TEMPLATE.read_text(), trim_blocks=True, keep_trailing_newline=True)
    return str(template.render(_firewall_rules=firewall.firewall_rules(wanted, survey)))


def policy(**parts: Any) -> dict[str, Any]:
    """A policy with the two doors, and what a test adds."""
    return {"inbound": [SSH, SMTP], "rates": RATES, **parts}


def chain(name: str, **parts: Any) -> list[str]:
    """The lines of one chain of the ruleset."""
    text = ruleset(policy(**parts), HOST)
    body = text.split(f"\tchain {name} {{\n", 1)[1].split("\n\t}", 1)[0]
    return [line.strip() for line in body.splitlines()]


@pytest.mark.parametrize("name", ["input", "forward", "output"])
def test_every_chain_drops_by_default(name: str) -> None:
    assert chain(name)[0] == f"type filter hook {name} priority filter; policy drop;"


def test_only_our_own_table_is_replaced_in_one_transaction() -> None:
    text = ruleset(policy(), HOST)
    assert "flush ruleset" not in text
    statements = [line.rstrip(" {") for line in text.splitlines() if "table inet gatewright" in line]
    assert statements == ["table inet gatewright", "delete table inet gatewright", "table inet gatewright"]
    assert text.count("{") == text.count("}")


def test_ssh_is_open_to_all_without_admin_networks_and_to_them_alone_with_them() -> None:
    assert 'tcp dport 22 accept comment "SSH"' in chain("input")
    lines = [line for line in chain("input", admin_networks=["192.0.2.0/24", "2001:db8::/32"]) if "dport 22" in line]
    assert lines == [
        'ip saddr 192.0.2.0/24 tcp dport 22 accept comment "SSH"',
        'ip6 saddr 2001:db8::/32 tcp dport 22 accept comment "SSH"',
    ]


def test_smtp_is_limited_for_each_source_but_not_for_exempt_networks() -> None:
    assert "tcp dport 25 goto limit_smtp" in chain("input")
    lines = chain("limit_smtp")
    assert lines[:2] == ["ip saddr @exempt4 accept", "ip6 saddr @exempt6 accept"]
    assert lines[-1] == "accept"
    limits = "\n".join(lines[2:-1])
    assert "@smtp_count4 { ip saddr ct count over 10 }" in limits
    assert "@smtp_rate6 { ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over 60/minute burst 30 packets }" in limits


def test_sources_that_no_limit_holds_up_are_elements_of_a_set_for_each_family() -> None:
    assert firewall.exempt_elements([]) == []
    assert firewall.exempt_elements(["10.0.0.0/9", "10.128.0.0/9", "2001:db8::1"]) == [
        "add element inet gatewright exempt4 { 10.0.0.0/8 }",
        "add element inet gatewright exempt6 { 2001:db8::1/128 }",
    ]


def test_a_way_out_belongs_to_its_owner_also_before_the_user_exists() -> None:
    lines = chain(
        "output",
        outbound=[
            {"user": "qmailr", "ports": [25, 2525], "networks": ["192.0.2.9/32"]},
            {"user": ["root", "_apt"], "ports": ["80", "443"], "comment": "packages"},
        ],
        user_ids={"qmailr": 64015},
    )
    assert 'meta skuid 64015 ip daddr 192.0.2.9/32 tcp dport { 25, 2525 } accept comment "qmailr"' in lines
    assert 'meta skuid { 0, 42 } tcp dport { 80, 443 } accept comment "packages"' in lines
    assert lines[-1] == "reject with icmpx admin-prohibited"


def test_an_optional_user_that_is_missing_opens_nothing() -> None:
    out = [{"user": "_chrony", "port": 123, "proto": "udp", "optional": True}]
    assert not [line for line in chain("output", outbound=out) if "123" in line]


def test_icmp_that_must_pass_passes_in_both_families() -> None:
    text = "\n".join(chain("input"))
    for word in ("nd-neighbor-solicit", "packet-too-big", "mld-listener-query", "destination-unreachable"):
        assert word in text


def test_dhcp_passes_only_if_a_client_is_there() -> None:
    with_lease = {**HOST, "dhcp": True}
    assert "dport 68" in ruleset(policy(), with_lease)
    assert "dport 68" not in ruleset(policy(), HOST)
    assert "dport 68" not in ruleset(policy(dhcp_client="never"), with_lease)
    assert "dport 68" in ruleset(policy(dhcp_client="always"), HOST)


def test_two_roles_that_open_the_same_get_one_rule() -> None:
    assert chain("input", inbound=[SSH, SSH, SMTP]).count('tcp dport 22 accept comment "SSH"') == 1


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"inbound": []}, "firewall_inbound: is empty"),
        ({"inbound": [SSH, {"port": 70000}]}, r"firewall_inbound\[1\] \(70000\): port '70000'"),
        ({"inbound": [{"port": True}]}, r"firewall_inbound\[0\] \(True\): port 'True'"),
        ({"inbound": [{"proto": "tcp"}]}, r"firewall_inbound\[0\] \(.*\): names no port"),
        ({"inbound": [{"ports": ["90-80"]}]}, r"'90-80' runs backwards"),
        ({"inbound": [{"port": 25, "proto": "icmp"}]}, "'icmp' is neither tcp nor udp"),
        ({"inbound": [{"port": 25, "rate": "none"}]}, "'none' is not one of firewall_rates"),
        ({"inbound": [{"port": 25, "source": "x"}]}, "unknown key 'source'"),
        ({"inbound": [{"port": 25, "networks": ["10.0.0.1/8"]}]}, r"\[0\] \(25\): network '10.0.0.1/8'.*host bits"),
        ({"inbound": [{"port": 25, "comment": 'a" accept; "'}]}, "comment"),
        ({"admin_networks": ["example.org"]}, "firewall_admin_networks: network 'example.org'"),
        (
            {"outbound": [{"user": "dnscache", "port": 53}]},
            r"firewall_outbound\[0\] \(53\): user dnscache does not exist.*give its number as uid in this entry",
        ),
        ({"outbound": [{"port": 53}]}, r"firewall_outbound\[0\] \(53\): names no user"),
        (
            {"outbound": [{"user": "root", "uid": 5, "port": 53}]},
            "user root is 5 in the inventory, but 0 on the host",
        ),
        ({"rates": {"smtp": {"burst": 3, "concurrent": 1}}}, "firewall_rates.smtp: new_per_minute None"),
        ({"dhcp_client": "maybe"}, "firewall_dhcp_client: 'maybe'"),
        ({"log_per_minute": 0}, "firewall_log_per_minute"),
        ({"inbond": []}, "unknown key 'inbond'"),
    ],
)
def test_a_mistake_is_refused_by_name(parts: dict[str, Any], named: str) -> None:
    with pytest.raises(InventoryError, match=named):
        firewall.firewall_rules(policy(**parts), HOST)


def test_an_entry_is_named_by_the_list_that_it_stands_in_whatever_roles_put_before_it() -> None:
    published = [{"origin": "dnscache__firewall", "outbound": [{"user": "root", "port": 53}] * 3}]
    with pytest.raises(
        InventoryError, match=r"^firewall_outbound\[0\] \(monitoring\): user monitor does not exist"
    ) as told:
        firewall.firewall_rules(
            policy(from_roles=published, outbound=[{"user": "monitor", "port": 443, "comment": "monitoring"}]), HOST
        )
    assert "firewall_user_ids" not in str(told.value)


def test_a_role_that_publishes_a_wrong_entry_is_named() -> None:
    with pytest.raises(InventoryError, match=r"later__firewall\.inbound\[0\] \(0\): port '0'"):
        firewall.firewall_rules(policy(from_roles=[{"origin": "later__firewall", "inbound": [{"port": 0}]}]), HOST)


def test_the_survey_tells_users_firewalls_resolvers_and_leases() -> None:
    printed = (
        "user:root:0\nuser:_apt:42\ninstalled:nftables\ninstalled:ufw\nnot-installed:ferm\nlegacy:ip\n"
        "resolver:192.0.2.53\nresolver:127.0.0.1\nresolver:fe80::1%eth0\nresolver:2001:db8::53\nresolver:192.0.2.53\n"
        "dhcp:/run/systemd/netif/leases/2\n"
    )
    survey = firewall.firewall_survey(printed)
    assert survey == {
        "users": {"root": 0, "_apt": 42},
        "packages": ["nftables", "ufw"],
        "legacy": ["ip"],
        "resolvers": ["192.0.2.53", "2001:db8::53"],
        "dhcp": True,
    }


def test_the_old_resolvers_are_allowed_for_a_time_only() -> None:
    assert firewall.bootstrap_elements(["192.0.2.53", "2001:db8::53"], 60) == (
        "add element inet gatewright bootstrap_resolvers4 { 192.0.2.53 timeout 60m }\n"
        "add element inet gatewright bootstrap_resolvers6 { 2001:db8::53 timeout 60m }\n"
    )
    assert "192.0.2.53" not in ruleset(policy(), {**HOST, "resolvers": ["192.0.2.53"]})


def test_what_a_role_keeps_for_some_users_on_loopback_is_refused_to_all_others_before_loopback_is_open() -> None:
    dns = {"user": ["root", "qmailr"], "proto": "udp", "port": 5335, "comment": "DNSSEC"}
    lines = chain("output", from_roles=[{"origin": "gatepost__firewall", "loopback": [dns]}], user_ids={"qmailr": 912})
    closed = 'oif "lo" meta skuid != { 0, 912 } udp dport 5335 reject with icmpx admin-prohibited comment "DNSSEC"'
    assert lines.index(closed) < lines.index('oif "lo" accept')


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"user": "root", "port": 0}, "port '0'"),
        ({"port": 5335}, "names no user"),
        ({"user": "nobody-yet", "port": 5335}, "nobody-yet does not exist"),
        ({"user": "root", "port": 5335, "networks": ["10.0.0.0/8"]}, "networks"),
    ],
)
def test_a_wrong_entry_of_loopback_is_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(InventoryError, match=words) as error:
        firewall.firewall_rules(policy(from_roles=[{"origin": "x__firewall", "loopback": [entry]}]), HOST)
    assert "x__firewall.loopback[0]" in str(error.value)
