"""Slips that sites make and that only other variables, or other gateways, show: refused, remarked on, or no slip."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.preflight.site_of import problems_of, problems_of_two, remarks_about

ROUTES = [{"domain": "corp.test", "host": "10.0.0.2"}]
KNOWN = {"smtproutes_routes": ROUTES, "gatekeeper_enabled": True}
MIRROR = {"clamav_enabled": True, "clamav_updates": "mirror"}
UVSCAN = {"uvscan_enabled": True, "uvscan_sha256": "0A" * 32, "uvscan_archive": "https://corp.test/uvscan.tar"}
CODES = {"codes": ["127.0.0.2"]}
SHIPPED = {"log_shipping_enabled": True, "log_shipping_server": "logs.corp.test"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        # what YAML makes of a word
        (
            {"sshd_permit_root_login": False},
            "sshd_permit_root_login: must be a string, not a boolean; write it in quot",
        ),
        ({"scanner_notice_languages": {"corp.test": False}}, "scanner_notice_languages.corp.test: must be"),
        (
            {"qmail_control": {"queuelifetime": 604800}},
            "qmail_control.queuelifetime: must be text, not a number; write",
        ),
        ({"gatepost_domains": {"corp.test": False}}, "gatepost_domains.corp.test: False is none of never, optional"),
        ({"hardening_sysctl_extra": {"net.ipv6.x": True}}, "hardening_sysctl_extra.net.ipv6.x: must be a number or"),
        ({"hardening_drain_seconds": "10m"}, "hardening_drain_seconds: must be a whole number of seconds, not '10m'"),
        ({"firewall-admin-networks": []}, "firewall-admin-networks: is no variable of any role; did you mean"),
        *(
            (
                {"tcp_smtp_networks": [{"address": "10.0.0.0/8", "env": {name: 70_000}}]},
                f"tcp_smtp_networks[0] (10.0.0.0/8): env: {name} is nothing that qmail-smtpd reads; did you mean",
            )
            for name in ("databytes", "DATABYTE", "MAXRCPTS")
        ),
        (
            {"tcp_smtp_default_env": {"X": 1.5}},
            "tcp_smtp_default_env: env: X must be a string or a whole number, not 1.5",
        ),
        *(
            ({name: "/etc/ssl/certs/"}, f"{name}: must be the path of a file, not of a folder")
            for name in ("smtproutes_tls_ca", "hardening_log_authorities", "starttls_certificate", "sshd_banner")
        ),
        # one key in two spellings
        (
            {**KNOWN, "gatekeeper_recipients": {"corp.test": {"list": ["ann"]}, "Corp.test": "any"}},
            "gatekeeper_recipients.Corp.test: is gatekeeper_recipients.corp.test in another spelling",
        ),
        (
            {"gatepost_domains": {".bücher.example": "never", ".xn--bcher-kva.example": "verified"}},
            "gatepost_domains..xn--bcher-kva.example: is gatepost_domains..bücher.example in another spelling",
        ),
        ({"gatekeeper_dns_lists": {"l.test": CODES, "L.test": CODES}}, "gatekeeper_dns_lists.L.test: is"),
        ({"dnscache_zone_servers": {"a.test": ["10.0.0.1"], "A.test": ["10.0.0.2"]}}, "dnscache_zone_servers.A.test"),
        ({"scanner_notice_languages": {"a.test": "de", "A.test": "fr"}}, "scanner_notice_languages.A.test: is"),
        *(
            (
                {"scanner_actions": {"domains": {"corp.test": {}, name: {"policy": "tag"}}}},
                f"scanner_actions.domains.{name}",
            )
            for name in ("CORP.test", "@corp.test", "bücher.example")
        ),
        # what the firewall does not let through
        (
            {**MIRROR, "clamav_mirror": "http://10.0.0.5:8080/clamav"},
            "clamav_mirror: the firewall lets nobody reach 10.0.0.5, port 8080: clamav_update_ports and",
        ),
        (
            {**MIRROR, "clamav_mirror": "http://10.0.0.5/", "clamav_update_networks": ["10.1.0.0/16"]},
            "clamav_mirror: the firewall lets nobody reach 10.0.0.5, port 80",
        ),
        (
            {"clamav_enabled": True, "clamav_custom_signatures": ["https://corp.test:8443/x.ndb"]},
            "clamav_custom_signatures[0] (https://corp.test:8443/x.ndb): the firewall lets",
        ),
        ({**UVSCAN, "uvscan_updates": "http://corp.test:81/"}, "uvscan_updates: the firewall lets nobody reach corp.t"),
        (
            {"hardening_time_servers": ["10.0.0.1"], "firewall_time_networks": ["10.1.0.0/16"]},
            "hardening_time_servers[0] (10.0.0.1): the firewall lets nobody reach 10.0.0.1, port 123",
        ),
        # nobody could come in any more
        (
            {"firewall_admin_networks": ["127.0.0.0/8", "::1"]},
            "firewall_admin_networks: has no network of another host",
        ),
        (
            {"ansible_host": "2001:db8::25", "firewall_admin_networks": ["10.0.0.0/8"]},
            "firewall_admin_networks: has no IPv6 network, but the gateway is reached by IPv6",
        ),
        *(
            (
                {"ansible_user": "deploy", "sshd_extra_options": {name: users}},
                f"sshd_extra_options.{name}: keeps out deploy",
            )
            for name, users in (("AllowUsers", ["ann bob"]), ("DenyUsers", "d*"), ("AllowUsers", "ann@10.0.0.*"))
        ),
        (
            {"sshd_authorized_keys_files": ["~/.ssh/authorized_keys"]},
            "sshd_authorized_keys_files[0] (~/.ssh/authorized_k",
        ),
        ({"firewall_admin_networks": ["10.0.0.0/255.0.0.0"]}, "firewall_admin_networks[0] (10.0.0.0/255.0.0.0): '10.0"),
        (
            {"hardening_ban_exempt": ["10.0.0.0/0.255.255.255"]},
            "hardening_ban_exempt[0] (10.0.0.0/0.255.255.255): '10.0",
        ),
        (
            {
                "monitoring_enabled": True,
                "monitoring_exporter": True,
                "firewall_admin_networks": ["0.0.0.0/1", "128.0.0.0/1"],
            },
            "monitoring_exporter: needs firewall_admin_networks that are not everybody",
        ),
        # mail that would not come, or go round
        (
            {"dnscache_forward_only": True},
            "dnscache_root_servers[0] (198.41.0.4): is a server of the root, and no resolv",
        ),
        (
            {
                "gatepost_own_addresses": ["203.0.113.9"],
                "smtproutes_routes": [{"domain": "a.test", "host": "203.0.113.9"}],
            },
            "smtproutes_routes[0] (a.test): host '203.0.113.9' is this gateway itself",
        ),
        (
            {"smtproutes_routes": ROUTES, "qmail_control": {"locals": "Corp.test\n"}},
            "qmail_control.locals: has corp.test, whose mail would stay here",
        ),
        (
            {"qmail_me": "gw1.corp.test", "qmail_control": {"locals": "other.test\n"}},
            "qmail_control.locals: lacks gw1.corp.test (qmail_me)",
        ),
        ({"qmail_me": "gw1"}, "qmail_me: 'gw1' has no domain"),
        *(
            ({"qmail_smtpd_address": address}, f"qmail_smtpd_address: {address} is no address that a server can")
            for address in ("224.0.0.1", "ff02::1", "fe80::1", "255.255.255.255")
        ),
        (
            {"service_trimming_allowed_sockets": [{"proto": "tcp", "owner": "containerd"}]},
            "service_trimming_allowed_sockets[0] ",
        ),
        (
            {"service_trimming_allowed_sockets": [{"proto": "tcp", "owner": "x", "address": "10.0.0.1"}]},
            "service_trimming_allowed_sockets[0] ",
        ),
        (
            {"log_shipping_enabled": True, "log_shipping_name": "logs.corp.test"},
            "log_shipping_enabled: needs log_shipping_s",
        ),
    ],
)
def test_a_slip_is_refused_by_the_entry_that_is_to_be_corrected(values: dict[str, Any], words: str) -> None:
    assert [problem for problem in problems_of(**values) if problem.startswith(words)], problems_of(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"service_trimming_allowed_sockets": [{"proto": "tcp", "owner": "containerd", "address": "127.0.0.1"}]},
        {"clamav_memory_max": 3_000_000_000, "hardening_journal_size": 500_000_000},
        SHIPPED,
        {**SHIPPED, "log_shipping_name": "other.corp.test"},
        {"log_shipping_enabled": True, "hardening_log_server": "logs.corp.test"},
        {"dnscache_forward_only": True, "dnscache_root_servers": ["10.0.0.53"]},
        {**MIRROR, "clamav_mirror": "http://10.0.0.5:8080/clamav", "clamav_update_ports": ["8000-8090"]},
        {
            **MIRROR,
            "clamav_mirror": "http://10.0.0.5:8080/",
            "firewall_outbound": [{"user": ["clamav"], "port": 8080, "networks": ["10.0.0.0/8"]}],
        },
        {**MIRROR, "clamav_mirror": "http://[2001:db8::5]/", "clamav_update_networks": ["10.0.0.0/8", "2001:db8::/32"]},
        {**MIRROR, "clamav_mirror": "http://mirror.corp.test/", "clamav_update_networks": ["10.0.0.0/8"]},
        {"clamav_enabled": True, "clamav_custom_signatures": ["file:///srv/signatures/x.ndb"]},
        {"clamav_updates": "mirror", "clamav_mirror": "http://corp.test:8080/"},
        {**UVSCAN, "uvscan_updates": "http://corp.test:3142/", "firewall_package_ports": [80, 3142]},
        {
            "hardening_time_servers": ["10.0.0.1", "ntp.corp.test", "127.0.0.1"],
            "firewall_time_networks": ["10.0.0.0/8"],
        },
        {"ansible_host": "2001:db8::25", "firewall_admin_networks": ["10.0.0.0/8", "2001:db8::/32"]},
        {"ansible_host": "gw1.corp.test", "firewall_admin_networks": ["10.0.0.0/8", "127.0.0.1"]},
        *(
            {"ansible_user": "deploy", "sshd_extra_options": options}
            for options in (
                {"AllowUsers": ["ann deploy@10.0.0.*"]},
                {"DenyUsers": "deploy@192.0.2.*"},
                {"AllowUsers": "!ann *"},
                {"Match": "Address 192.0.2.0/24", "AllowUsers": "ann"},
            )
        ),
        {"qmail_me": "gw1.corp.test", "qmail_control": {"locals": "gw1.corp.test\nold.test\n", "badrcptto": "x\n"}},
        {"qmail_me": "gw1", "survey_accept": ["name"]},
        {"qmail_smtpd_address": "::"},
        {"tcp_smtp_default_env": {"MAXRCPT": 200, "SPFBEHAVIOR": 3, "RBLSMTPD": "", "GREETDELAY": 5, "MAXLOAD": 400}},
        {"hardening_svscan_writable": [{"path": "/srv/x/"}]},
        {"gatepost_domains": {"corp.test": "never", ".corp.test": "verified"}},
    ],
)
def test_what_only_looks_like_a_slip_is_accepted(values: dict[str, Any]) -> None:
    assert problems_of(**values) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"firewall_exempt_networks": ["0.0.0.0/1", "128.0.0.0/1"]}, "firewall_exempt_networks: is everybody"),
        (
            {"smtproutes_routes": ROUTES, "gatepost_domains": {"corp.test": "verified"}},
            "gatepost_domains.corp.test: has",
        ),
        (
            {"smtproutes_default_route": {"host": "10.0.0.2"}, "gatepost_domains": {"a.test": "verified"}},
            "gatepost_domains.a.test: has no effect: its mail goes by smtproutes_default_route, whose tls (opt",
        ),
        (
            {
                "smtproutes_routes": ROUTES,
                "smtproutes_badmailfrom": ["@Corp.test"],
                "tcp_smtp_relay_clients": ["10.0.0.2"],
            },
            "smtproutes_badmailfrom: @corp.test is a domain of yours",
        ),
        (
            {"clamav_enabled": True, "clamav_mirror": "http://corp.test/"},
            "clamav_mirror: nobody asks it, as clamav_updat",
        ),
        ({"qmail_smtpd_address": "127.0.0.1"}, "qmail_smtpd_address: 127.0.0.1 is loopback"),
    ],
)
def test_what_may_be_meant_is_remarked_on(values: dict[str, Any], words: str) -> None:
    assert problems_of(**values) == []
    (remark,) = remarks_about(**values)
    assert remark.startswith(words)


def test_what_is_meant_is_not_remarked_on() -> None:
    routes = [{"domain": "corp.test", "host": "10.0.0.2", "tls": "verified"}]
    values: dict[str, Any] = {
        "smtproutes_routes": routes,
        "gatepost_domains": {"corp.test": "verified", "other.test": "required"},
        "smtproutes_badmailfrom": ["@spam.test", "ann@corp.test"],
        "tcp_smtp_relay_clients": ["10.0.0.2"],
        "firewall_exempt_networks": ["10.0.0.0/8"],
    }
    assert problems_of(**values) == remarks_about(**values) == []


SIGNED = {"gatepost_dkim_domains": ["corp.test"]}


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        (
            {**SIGNED, "qmail_me": "mx.berlin.corp.test"},
            {**SIGNED, "qmail_me": "mx.paris.corp.test"},
            "gatepost_dkim_selector: mx is gw2's too, so that corp.test would have two keys",
        ),
        (
            {**SIGNED, "gatepost_dkim_selector": "mail"},
            {"gatepost_dkim_domains": ["a.test", "Corp.Test"], "gatepost_dkim_selector": "mail"},
            "gatepost_dkim_selector: mail is gw2's too",
        ),
        (
            {"qmail_me": "gw1.corp.test", "qmail_postmaster": "root@gw2.corp.test"},
            {"qmail_me": "gw2.corp.test", "qmail_postmaster": "root@gw1.corp.test"},
            "qmail_postmaster: leads round for ever: gw1 -> gw2 -> gw1",
        ),
        *(
            ({"ansible_host": one, **port}, {"ansible_host": other}, f"ansible_host: {one} is gw2's address already")
            for one, other, port in (
                ("MX1.corp.test", "mx1.corp.test", {}),
                ("2001:db8::1", "2001:DB8:0::1", {}),
                ("192.0.2.1", "192.0.2.1", {"ansible_port": "22"}),
            )
        ),
        (
            {"gatepost_own_addresses": ["203.0.113.1"], "smtproutes_default_route": {"host": "203.0.113.2"}},
            {"gatepost_own_addresses": ["203.0.113.2"], "smtproutes_default_route": {"host": "203.0.113.1"}},
            "smtproutes_default_route: mail would go round for ever: gw1 -> gw2 -> gw1",
        ),
        ({**SIGNED, "qmail_me": "mx1.corp.test"}, {**SIGNED, "qmail_me": "mx2.corp.test"}, ""),
        ({**SIGNED, "gatepost_dkim_selector": "mail"}, {"gatepost_dkim_selector": "mail"}, ""),
        (
            {"qmail_me": "gw1.corp.test", "qmail_postmaster": "root@gw2.corp.test"},
            {"qmail_me": "gw2.corp.test", "qmail_postmaster": "ann@corp.test"},
            "",
        ),
        ({"ansible_host": "192.0.2.1"}, {"ansible_host": "192.0.2.1", "ansible_port": 2222}, ""),
        ({"gatepost_own_addresses": ["203.0.113.1"]}, {"gatepost_own_addresses": ["203.0.113.1"]}, ""),
    ],
)
def test_what_two_gateways_say_fits_together(here: dict[str, Any], there: dict[str, Any], words: str) -> None:
    told = problems_of_two(here, there)
    assert [problem for problem in told if problem.startswith(words)] if words else told == [], told
