"""Every option of every role is looked at before a run: wrong values of each are refused by name and place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from gatewright.chapters import chapter_of
from tests.unit.preflight.site_of import PROJECT, problems_of, problems_of_two, remarks_about, roles

OPTIONS = {
    name: option
    for role in roles().values()
    for name, option in role.options.items()
    if "__" not in name and name not in role.gathered
}
# Options that are texts of several lines.
TEXTS = {"hardening_banner"}
# What is wrong for every option of a type.
WRONG: dict[str, list[Any]] = {
    "int": [-1, 10**18, "many", "7", True, 1.5, [1], {"a": 1}, None, math.inf, math.nan],
    "str": [["a"], {"a": 1}, "a\nb", "bell \x07", None, True, math.inf],
    "bool": [None, "maybe", "true", [], {}, 17],
    "list": [None, "text", 5, {"a": 1}, [None], [["a"]], [{"nonsense": 1}], ["\x07 bell\n"], [-math.inf]],
    "dict": [None, "text", 5, ["a"], [], False, {"no name\n": {"nonsense": [None]}}, {"": None}, {"a": math.nan}],
}
# Where the first of a list is wrong, its place must be told.
PLACED = ([None], [["a"]], [{"nonsense": 1}], ["\x07 bell\n"])
# Further wrong values of options by what they are.
OF_KIND: dict[str, dict[str, list[Any]]] = {
    "port": {"sshd_port": [0, 99999, 25, 53], "hardening_log_server_port": [0, 70000], "monitoring_port": [0, 70000]},
    "ports": {
        name: [["0"], ["99999"], ["90-80"], ["http"], []]
        for name in ("firewall_package_ports", "clamav_update_ports", "uvscan_update_ports")
    },
    "network": {
        name: [["10.0.0.1/8"], ["office"], ["10.0.0.0/33"], ["10.0.0.1", "10.0.0.1/32"]]
        for name in OPTIONS
        if (name.endswith("_networks") and name != "tcp_smtp_networks") or name == "hardening_ban_exempt"
    },
    "unit": {
        name: [["atd.service"], ["a b"], ["x/y"], [""], ["getty@"], ["ssh"], ["svscan"], ["systemd-journald"]]
        for name in ("service_trimming_units", "service_trimming_mta_units", "service_trimming_extra_units")
    },
    "package": {
        name: [["Has Blank"], [""], ["-x"]]
        for name in ("service_trimming_purged_packages", "foundation_extra_packages")
    },
    "package that every host needs": {
        "service_trimming_purged_packages": [
            [name]
            for name in (
                *(
                    "python3",
                    "python3.11-minimal",
                    "python3-apt",
                    "sudo",
                    "systemd",
                    "systemd-sysv",
                    "udev",
                    "apt",
                    "dpkg",
                ),
                *(
                    "libc6",
                    "bash",
                    "dash",
                    "coreutils",
                    "openssh-server",
                    "linux-image-amd64",
                    "ifupdown",
                    "init",
                    "login",
                ),
                *("passwd", "libpam-modules", "grub-pc", "gatewright-qmail", "gatewright-gatescan"),
            )
        ],
    },
    "path on the gateway": {
        name: ["relative/x", "/a b", "/a/../b", "//x"]
        for name in ("starttls_certificate", "starttls_key", "smtproutes_tls_ca", "sshd_banner", "log_shipping_key")
    },
    "host": {
        "hardening_log_server": [1],
        "log_shipping_server": [3232235777],
        "qmail_smtpd_address": [1],
        "hardening_time_servers": [[1], [True]],
    },
    "TLS of routes": {"smtproutes_tls": [False, ""]},
    "id": {name: [0, 2**32, 65534, 65535] for name in OPTIONS if name.endswith(("_uid", "_gid"))},
    "what must be there": {
        "dnscache_root_servers": [[], ["127.0.0.1"], ["::1"], ["2001:db8::1"], ["0.0.0.0"], ["ns.example.org"]],
        "hardening_time_servers": [[]],
        "qmail_postmaster": ["", ["a@example.org"], "nobody", "a@b@c", "a b@example.org", "root@gw1"],
        "qmail_concurrency_incoming": [0],
        "qmail_concurrency_remote": [0],
        "qmail_smtpd_softlimit": [0, 1000],
        "scanner_workers": [0],
        "daemontools_stop_timeout": [0],
        "source_build_cache_dir": ["", "/etc", "/", "//usr/", "/usr/bin/x", "/var/../etc", __file__],
        "backup_directory": ["", "/", "/etc", "/proc/x", "/var", __file__],
        "sshd_authorized_keys_files": [[], ["a b"], ["../x"], ['.ssh/"keys'], ["a'b"], ["#keys"]],
    },
    "a time that cannot be left alone": {
        name: [""] for name in ("hardening_integrity_schedule", "uvscan_update_schedule", "gatekeeper_ldap_schedule")
    },
    "a name in a place": {
        "qmail_aliases": [["a/b"], ["../x"], ["a b"], ["a.b"], [""]],
        "qmail_control": [{"../me": "x"}, {"a/b": "x"}, {"": "x"}, {"me": ["x"]}],
        "qmail_users": [{}, {"alias": 64010}],
        "qmail_groups": [{}, {"qmail": 64010}],
        "qmail_source": [
            {"archive": "ours-1.0"},
            {"archive": "../x", "version": "1.0"},
            {"archive": "ours-1.0", "version": "one"},
            {"archive": "ours-1.0", "version": "1.0", "patches": "all"},
            {"archive": "ours-1.0", "version": "1.0"},
        ],
        "qmail_rblsmtpd_lists": [["bl example"], [""], ["bl.example.org -b"]],
        "clamav_own_signatures": [{"../x.ndb": "x"}, {"x.txt": "x"}],
        "uvscan_update_list": ["../SHA256SUMS", "a b", "", "SHA'SUMS"],
        "hardening_cron_users": [["Root User"], ["../x"]],
        "hardening_kernel_modules_off": [
            ["a b"],
            ["x;y"],
            *([name] for name in ("-x", "nf_tables", "nf-conntrack", "nft_ct", "ext4", "xfs", "btrfs", "virtio_net")),
            *([name] for name in ("virtio-blk", "af_packet", "dm-mod", "nvme", "sd_mod")),
        ],
        "hardening_mount_options": [
            *(
                {path: ["noexec"]}
                for path in (
                    "/usr/local",
                    "/usr/lib",
                    "/usr/sbin",
                    "/var/qmail/supervise",
                    "/command",
                    "/service",
                    "/usr",
                )
            ),
            *({path: ["nosuid"]} for path in ("/usr/lib", "/usr/sbin", "/")),
        ],
        "sshd_allow_groups": [["a b"]],
    },
    "the scanner's own": {
        "scanner_rules": [[{"nonsense": 1}], ["a b"], [{"header": "Subject", "pattern": "("}]],
        "scanner_extra_rules": [[{"nonsense": 1}], ["a b"], [{"header": "Subject", "pattern": "("}]],
        "scanner_actions": [
            {"inbound": {"polciy": "reject"}},
            {"inbound": {"policy": "rejcet"}},
            {"inbond": {}},
            {"domains": {"example.org": {"engine-error": "accept"}}},
        ],
        "scanner_limits": [
            {"byte_out": 5},
            {"seconds": -1},
            {"depth": "deep"},
            *({name: 0} for name in ("seconds", "parts", "depth", "mime_depth", "bytes_out")),
            {"seconds": 180},
        ],
        "scanner_settings": [{"daemon": {"wrkers": 3}}, {"demon": {}}, {"limits": {}}, {"daemon": {"workers": "x"}}],
        "scanner_engines": [[{"type": "clamav"}], [{"type": "clamd", "tiemout": 5}], [{}]],
        "scanner_admin": ["a b", "@"],
        "scanner_local_domains": [["exa mple.org"], [""]],
        "scanner_notice_language": ["", "Deutsch", "../de"],
        "scanner_notice_languages": [{"a b": "de"}, {"example.org": "Deutsch"}, {"example.org": ["de"]}],
        "scanner_release_key": ["short", "x" * 31, "ä" * 40],
        "scanner_release_verdicts": [[], ["infected"], ["polciy"], ["clean"]],
        "scanner_release_days": [0, 1000],
        "scanner_release_hourly": [0],
        "scanner_daily_digest_schedule": ["at six"],
        "gatekeeper_limits": [
            {"client": {"messages": {"day": 0}}},
            {"client": {"messages": {"minute": -5}}},
            {"client": {"messages": {}}},
            {"client": {}},
            {"office": {}},
            {"client": {"bytes": {"day": 5}}},
        ],
        "gatekeeper_list_loss": [-1, 101],
        "gatekeeper_dns_threshold": [0],
        "gatekeeper_own_domains": [["a b"], ["corp"]],
        "gatekeeper_may_spoof": [["10.0.0.1/8"], ["a b"], ["*"], ["0.0.0.0/0"], ["::/8"]],
        "gatekeeper_forwarders": [["lists"]],
        "gatekeeper_protected_names": [
            ["Ann"],
            ["Ann Miller <ann@corp.test>"],
            ["..."],
            ["\u2014 \u2014"],
            ["\U0001f600 \U0001f600"],
            ["\u200b \u3164"],
            ["A. M."],
            ["Ann\nMiller"],
        ],
        "gatekeeper_settings": [{"patience": 0}, {"home": "/x"}, {"callout_second": 5}],
        "gatekeeper_recipients": [
            {"corp.test": {"list": []}},
            {"corp.test": {"list": ["two words"]}},
            {"corp.test": {"list": ["*"]}},
            {"corp.test": {"list": ["ann", "*@corp.test"]}},
            {"corp.test": {"list": ["@corp.test"]}},
            {"corp.test": {"file": "/etc/lists/"}},
            {"corp.test": {"callout": False}},
            {"corp.test": {"file": "relative"}},
            {"corp.test": {"list": ["a"], "callout": True}},
            {"no domain": "any"},
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"]}}},
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": ""}}},
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": "corp.test"}}},
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": "dc=corp,,dc=test"}}},
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": "dc=corp,test"}}},
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": "dc=corp;dc=test"}}},
            {"corp.test": {"ldap": {"servers": [], "base": "dc=corp"}}},
            {"corp.test": {"ldap": {"servers": ["dc.corp.test"], "base": "dc=corp"}}},
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": "dc=corp", "user": "cn=gw"}}},
            *(
                {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": "dc=corp", "filter": text}}}
                for text in ("mail=*", "(&(mail=*)", "(a=b))(", "(a=b)(c=d)", "()", "(&)", "(!(a=b)(c=d))", "(!" * 2000)
            ),
            {"corp.test": {"ldap": {"servers": ["ldaps://dc.corp.test"], "base": "dc=corp", "tls": False}}},
        ],
        "gatekeeper_dns_lists": [
            {"list.test": {"codes": []}},
            {"list.test": {"codes": ["127.255.255.254"]}},
            {"list.test": {"codes": ["192.0.2.1"]}},
            {"list.test": {"codes": ["127.0.0.2"], "weight": 0}},
            {"list.test": {"codes": ["127.0.0.2"], "wieght": 1}},
        ],
    },
    "what others read": {
        "pull_repository": ["git@git.test:mail.git", "ssh://git.test", "https://a:b@git.test/x", "ssh://git.test/$(x)"],
        "pull_branch": ["-x", "a b", ""],
        "pull_inventory": ["/etc/hosts", "../x", "a/../b", "-x", ""],
        "pull_playbook": ["/x.yml", "../x.yml", ""],
        "pull_signers": [["ann@corp.test"], ["ssh-ed25519 AAAA"]],
        "pull_known_hosts": [["git.test"], ["# git.test ssh-ed25519 AAAA"]],
        "pull_key": ["secret", "ssh-ed25519 AAAA"],
        "hardening_umask": ["27", "rwx", "999", "777", "000", "0000", "020", "127"],
        **{
            name: ["Sunday at four", "17", "*", "Mon 25:00", "daily weekly", "*-13-*", "UTC", "  "]
            for name in OPTIONS
            if name.endswith("_schedule") or name == "hardening_reboot_window"
        },
        "hardening_journal_size": ["0", "much", "5X"],
        "hardening_log_server": ["a b", "log_server!"],
        "clamav_memory_max": ["much", "0", "17", "99M", "101%", "0%", "3Z"],
        "clamav_mirror": ["ftp://x", "mirror", "http://", "http://a b/"],
        "source_build_mirrors": [["mirror"], ["ftp://x"]],
        "uvscan_sha256": ["abc"],
        "uvscan_updates": ["http://example.org/x", "relative", "http://example.org/o'x/", "/srv/o'x"],
        **{
            name: [{"tag": "high"}, {"hold": 5}, {"reject": 0}, {"quarantine": -1}, {"quarantine+reject": 0.0}]
            for name in ("spamassassin_inbound", "spamassassin_outbound")
        },
        "spamassassin_settings": [["a\nb"]],
        "rspamd_scores": [
            {},
            {"add_header": "high"},
            {"add header": 6},
            {"reject": 0},
            {"soft_reject": -3},
            {"greylist": 0},
        ],
        "rspamd_inbound": [{"reject": "accept"}, {"greylist": "tag"}, {"no action": "tag"}],
        "sshd_extra_options": [
            {"bad name": "x"},
            {"Banner": "a\nb"},
            {"UseDSN": "no"},
            {"Protocol": "2"},
            *({name: "yes"} for name in ("PasswordAuthentication", "Port", "AllowGroups", "Permitrootlogin", "Banner")),
            *({"ListenAddress": place} for place in ("192.0.2.1:2222", "[2001:db8::1]:22", "gw1:22")),
            *({"UseDNS": text} for text in ("", " ", "no # why", '"no', [], ["no", ""])),
            {"Subsystem": "sftp /usr/lib/sftp-server"},
        ],
        "sshd_banner": ["/etc/issue'x", '/etc/"issue', "/etc/#issue"],
        "hardening_sysctl_extra": [{"a b": 1}, {"net.x": "a\nb"}],
        "hardening_svscan_extra": [
            {"bad name": "x"},
            *({name: "x"} for name in ("ExecStart", "ExecStartPre", "Type", "User", "DynamicUser", "RootDirectory")),
            *({"NoNewPrivileges": on} for on in (True, "yes", "1", ["no", "yes"], "maybe")),
            {"PrivateNetwork": "on"},
            {"PrivateUsers": True},
            {"ProtectHome": "yes # why"},
            {"ProtectHome": "yes\\"},
        ],
        "hardening_setid_stripped": [
            [path]
            for path in (
                "/var/qmail/bin/qmail-queue",
                "/usr/bin/sudo",
                "/bin/su",
                "/usr/sbin/unix_chkpwd",
                "/sbin/unix_chkpwd",
            )
        ],
        "hardening_svscan_writable": [
            *(
                [{"path": path}]
                for path in (
                    "/",
                    "/etc",
                    "/usr",
                    "/var",
                    "/var/qmail",
                    "/var/lib",
                    "/home",
                    "/srv",
                    "/run",
                    "/proc/sys",
                )
            ),
            *([{"path": path}] for path in ("/usr/lib/x", "/etc/systemd/system", "/var/qmail/bin", "/root/x", "/sbin")),
            *([{"path": path}] for path in ("/srv/%n", "/srv/a'b", '/srv/"x', "/srv/a\\b", "/srv/#x", "/srv/$x")),
            *([{"path": "/srv/x", "mode": mode}] for mode in ("4777", "6750", "000", "0444", "0500", "0007", "8", 755)),
        ],
        "hardening_usb_rules": [["permit all"]],
        "qmail_smtpd_address": ["everywhere"],
        "qmail_me": ["my gateway", "", "a..b"],
        "service_trimming_allowed_sockets": [[{"proto": "tcp", "port": 0, "owner": "x"}], [{"proto": "icmp"}]],
    },
}


RELEASE = {"scanner_release_by_mail": True, "scanner_release_key": "k" * 32, "qmail_me": "gw1.example.org"}
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
PULL = {
    "pull_enabled": True,
    "pull_repository": "ssh://git@git.test:2222/mail.git",
    "ansible_user": "root",
    "pull_key": KEY,
    "pull_known_hosts": ["[git.test]:2222 ssh-ed25519 AAAAC3Nz"],
    "pull_wheel": "wheels/ansible_core-2.19.14-py3-none-any.whl",
    "pull_signers": ['ann@corp.test namespaces="git" ssh-ed25519 AAAAC3Nz Ann'],
}
EXPORTER = {"monitoring_enabled": True, "monitoring_exporter": True, "firewall_admin_networks": ["10.0.0.0/8"]}
UVSCAN = {"uvscan_enabled": True, "uvscan_sha256": "0A" * 32}
SECOND = {**RELEASE, "qmail_me": "gw2.example.org"}


def cases() -> Iterator[Any]:
    """Each option with each of its wrong values."""
    for name, option in OPTIONS.items():
        kind = "choice" if "choices" in option else option.get("type", "str")
        for value in ["nonsense"] if kind == "choice" else WRONG.get(kind, []):
            if not (name in TEXTS and value == "a\nb"):
                yield pytest.param(name, value, id=f"{name}-{value!r}")
    for named in OF_KIND.values():
        for name, values in named.items():
            yield from (pytest.param(name, value, id=f"{name}-{value!r}") for value in values)


@pytest.mark.parametrize(("name", "value"), list(cases()))
def test_a_wrong_value_is_refused_by_its_name_and_place(name: str, value: Any) -> None:
    told = [problem for problem in problems_of(**{name: value}) if problem.startswith(name)]
    assert told, problems_of(**{name: value})
    if value in PLACED and OPTIONS[name].get("type") == "list":
        assert any(problem.startswith(f"{name}[0]") for problem in told) or "lement" in told[0], told


def test_a_sites_own_archive_of_qmail_is_taken_with_its_pin() -> None:
    pin = {"ours-1.0": {"name": "ours-1.0.tar.gz", "sha256": 64 * "0"}}
    source = {"archive": "ours-1.0", "version": "1.0", "patches": True}
    assert problems_of(qmail_source=source, source_build_pins_extra=pin) == []
    assert problems_of(qmail_source=source) != []


def test_the_defaults_are_right_when_a_site_writes_them_down() -> None:
    written = {
        name: value
        for role in roles().values()
        for name, value in role.defaults.items()
        if name in OPTIONS and "{{" not in str(value)
    }
    assert problems_of(**written) == []


@pytest.mark.parametrize("role", roles())
def test_every_role_has_a_chapter_that_knows_every_option(role: str) -> None:
    chapter = chapter_of(PROJECT / "roles" / role)
    assert chapter is not None, f"gatewright/chapters/{role}.py is missing"
    spoken = {
        name
        for name, option in roles()[role].options.items()
        if name in OPTIONS and "choices" not in option and option.get("type") != "bool"
    }
    assert spoken - chapter.options.keys() - chapter.parsed == set()
    assert chapter.options.keys() - OPTIONS.keys() == set(), "no option has this name"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"uvscan_enabled": True}, "uvscan_archive: is needed with uvscan_enabled"),
        ({"uvscan_enabled": True, "uvscan_archive": "x.tar"}, "uvscan_sha256: is needed"),
        ({"service_trimming_extra_units": ["atd.service"]}, "service_trimming_extra_units[0] (atd.service)"),
        (
            {"smtproutes_routes": [{"domain": "a.test", "host": "10.0.0.2", "port": None}]},
            "smtproutes_routes[0] (a.test): port must be a number",
        ),
        ({"smtproutes_extra_rcpthosts": [None]}, "smtproutes_extra_rcpthosts[0] (None): a domain must be"),
        ({"scanner_workers": "4"}, "scanner_workers: must be a number, and '4' is text; write it without quotation"),
        ({"gatekeeper_enabled": "yes"}, "gatekeeper_enabled: must be true or false, and 'yes' is text; write it"),
        ({"scanner_extra_rules": ["ok", {"nonsense": 1}]}, "scanner_extra_rules[1]"),
        ({"scanner_extra_rules": ["iso", ".ISO"]}, "scanner_extra_rules[1] (.ISO): is a duplicate"),
        ({"scanner_actions": {"inbound": {"polciy": "reject"}}}, "scanner_actions.inbound.polciy: no such verdict"),
        ({"scanner_limits": {"byte_out": 5, "depht": 1}}, "scanner_limits.depht: no such key"),
        ({"scanner_settings": {"daemon": {"wrkers": 3}}}, "scanner_settings.daemon.wrkers: no such key"),
        ({"scanner_engines": [{"type": "clamd"}, {"type": "x"}]}, "scanner_engines[1].type: no such engine"),
        *(
            ({f"{engine}_enabled": True, f"{engine}_timeout": 180}, f"{engine}_timeout: must be more than 0 and less")
            for engine in ("clamav", "spamassassin", "rspamd", "uvscan")
        ),
        (
            {"rspamd_enabled": True, "scanner_settings": {"daemon": {"deadline": 0}}},
            "scanner_settings.daemon.deadline: must be more than rspamd_timeout (30)",
        ),
        ({"rspamd_enabled": True, "scanner_engines": [{"type": "rspamd"}]}, "scanner_engines[0]: role rspamd has"),
        ({"scanner_engines": [{"type": "clamd"}, {"type": "clamd"}]}, "scanner_engines[1].name: there is another"),
        *(
            ({f"{engine}_enabled": True, f"{engine}_socket_group": "scaner"}, f"{engine}_socket_group: 'scaner' is no")
            for engine in ("clamav", "spamassassin", "rspamd")
        ),
        ({"clamav_enabled": True, "smtproutes_databytes": 100_000_001}, "clamav_max_bytes: must be 100000001 at least"),
        *(
            (
                {"clamav_enabled": True, name: value},
                f"clamav_max_bytes: must be 200000000 at least, as much as {name}'s",
            )
            for name, value in (
                ("tcp_smtp_default_env", {"DATABYTES": "200000000"}),
                ("tcp_smtp_networks", [{"address": "10.0.0.0/8", "env": {"DATABYTES": 200_000_000}}]),
            )
        ),
        (
            {**UVSCAN, "uvscan_archive": "/srv/uvscan.tar"},
            "uvscan_archive: /srv/uvscan.tar is not there on the controller:",
        ),
        (
            {**UVSCAN, "uvscan_archive": "files/uvscan.tar"},
            f"uvscan_archive: files/uvscan.tar is not there on the controller, neither from {PROJECT / 'playbooks'}",
        ),
        ({**UVSCAN, "uvscan_archive": str(PROJECT)}, f"uvscan_archive: {PROJECT} is a folder, and must be a file"),
        (
            {"clamav_enabled": True, "clamav_signatures_folder": "signatures"},
            "clamav_signatures_folder: signatures is not",
        ),
        (
            {"clamav_enabled": True, "clamav_signatures_folder": __file__},
            f"clamav_signatures_folder: {__file__} is no folder",
        ),
        (
            {"gatepost_dnssec": True, "sshd_port": 5335},
            "sshd_port: 5335 is taken: unbound of role gatepost listens on it",
        ),
        *(
            ({**EXPORTER, "monitoring_port": number}, f"monitoring_port: {number} is taken: {owner}")
            for number, owner in ((22, "sshd of"), (25, "tcpserver"), (53, "dnscache"))
        ),
        ({**EXPORTER, "sshd_port": 9100}, "sshd_port: 9100 is taken: prometheus-node of role monitoring"),
        (
            {"scanner_settings": {"daemon": {"deadline": 30}}},
            "scanner_settings.daemon.deadline: must be more than scanner_limits.seconds (30)",
        ),
        (
            {"scanner_limits": {"seconds": 100}, "scanner_settings": {"daemon": {"deadline": 90}}},
            "scanner_limits.seconds: must be less than scanner_settings.daemon.deadline (90)",
        ),
        ({"scanner_release_by_mail": True}, "scanner_release_key: is needed with scanner_release_by_mail"),
        ({**RELEASE, "scanner_settings": {"notices": {"enabled": False}}}, "scanner_release_by_mail: has no effect"),
        ({**RELEASE, "scanner_local_domains": []}, "scanner_release_by_mail: has no effect"),
        (
            {"scanner_settings": {"daemon": {"deadline": math.inf}}},
            "scanner_settings.daemon.deadline: must be a number with",
        ),
        (
            {**RELEASE, "scanner_settings": {"notices": {"recipient_verdicts": ["encrypted"]}}},
            "scanner_release_verdicts: policy: scanner_settings.notices.recipient_verdicts",
        ),
        ({"scanner_daily_digest": True, "scanner_local_domains": []}, "scanner_daily_digest: has no effect"),
        ({"scanner_settings": {"release": {"enabled": True}}}, "scanner_settings.release: has a variable of its own"),
        ({"firewall_outbound": [{"user": "monitor"}]}, "firewall_outbound[0]"),
        ({"firewall_rates": {}}, "firewall_rates: lacks smtp, by which role qmail limits"),
        ({"firewall_inbound": [{"port": 3128, "networks": None}]}, "firewall_inbound[0] (3128): networks has no value"),
        ({"firewall_inbound": [{"port": 3128, "networks": []}]}, "firewall_inbound[0] (3128): networks is empty"),
        (
            {"firewall_outbound": [{"user": "root", "port": 3128, "networks": []}]},
            "firewall_outbound[0] (3128): networks is empty",
        ),
        (
            {"firewall_outbound": [{"user": "x", "port": 25, "networks": None}]},
            "firewall_outbound[0] (25): networks has",
        ),
        ({"qmail_me": "mx.example.org", "qmail_postmaster": "me@mx.example.org"}, "qmail_postmaster: is at"),
        ({"gatekeeper_authentication": True}, "gatekeeper_authentication: needs gatekeeper_enabled: true"),
        ({"gatekeeper_forwarders": ["lists.test"]}, "gatekeeper_forwarders: nobody looks at it"),
        (
            {"gatekeeper_recipients": {"corp.test": "any"}},
            "gatekeeper_recipients.corp.test: has neither a route nor an entry in smtproutes_extra_rcpthosts",
        ),
        (
            {"smtproutes_extra_rcpthosts": ["corp.test"], "gatekeeper_recipients": {"corp.test": {"callout": True}}},
            "gatekeeper_recipients.corp.test: has no route",
        ),
        (
            {"smtproutes_routes": 5, "gatekeeper_recipients": {"corp.test": "any"}},
            "gatekeeper_recipients.corp.test: has neither",
        ),
        ({"gatekeeper_recipients": {"a.test": {"list": [5]}}}, "gatekeeper_recipients.a.test: list: 5"),
        (
            {
                "smtproutes_extra_rcpthosts": ["corp.test"],
                "gatekeeper_recipients": {"corp.test": {"list": ["ann@other.test"]}},
            },
            "gatekeeper_recipients.corp.test: has no address at corp.test",
        ),
        (
            {"gatekeeper_dns_lists": {"a.test": {"codes": ["127.0.0.2"]}}, "gatekeeper_dns_threshold": 2},
            "gatekeeper_dns_threshold: is more than 1, all weights",
        ),
        (
            {
                "smtproutes_routes": [{"domain": "corp.test", "host": "10.0.0.2"}],
                "gatekeeper_dns_lists": {"corp.test": {"codes": ["127.0.0.2"]}},
            },
            "gatekeeper_dns_lists.corp.test: is a domain of yours",
        ),
        ({"log_shipping_enabled": True}, "log_shipping_enabled: needs log_shipping_server"),
        ({"log_shipping_key": "/etc/ssl/gw.key"}, "log_shipping_certificate: is needed with log_shipping_key"),
        ({"log_shipping_certificate": "/etc/ssl/gw.pem"}, "log_shipping_key: is needed with log_shipping_certificate"),
        ({"hardening_log_key": "/etc/ssl/gw.key"}, "hardening_log_certificate: is needed with hardening_log_key"),
        ({**PULL, "pull_repository": ""}, "pull_repository: is needed with pull_enabled"),
        ({**PULL, "pull_key": ""}, "pull_key: is needed to pull from a repository by ssh://"),
        ({**PULL, "pull_known_hosts": []}, "pull_known_hosts: is needed to pull"),
        (
            {**PULL, "pull_wheel": "ansible_core-2.14.18-py3-none-any.whl"},
            "pull_wheel: must be a wheel of ansible-core",
        ),
        ({**PULL, "ansible_user": ""}, "pull_enabled: needs ansible_user in the inventory"),
        ({"dnscache_cache_size": 50_000_000}, "dnscache_data_limit: must be at least"),
    ],
)
def test_what_is_wrong_is_said_with_the_sites_own_index(values: dict[str, Any], words: str) -> None:
    assert [problem for problem in problems_of(**values) if problem.startswith(words)], problems_of(**values)


def test_all_of_the_private_networks_may_write_in_the_sites_name() -> None:
    on = {"gatekeeper_enabled": True, "gatekeeper_authentication": True}
    assert problems_of(**on, gatekeeper_may_spoof=["10.0.0.0/8", "fc00::/7"]) == []
    assert problems_of(**on, gatekeeper_may_spoof=["2000::/7"]) != []


def test_a_gateway_may_pull_by_ssh_with_a_key_and_by_https_without_one() -> None:
    assert problems_of(**PULL) == []
    assert problems_of(**PULL | {"pull_repository": "https://git.test/mail.git", "pull_key": ""}) == []


def test_a_refusal_never_tells_what_opens_the_repository_or_the_vault() -> None:
    assert "secret" not in str(problems_of(pull_key="secret\a", pull_vault_password="secret\a"))


def test_an_engine_may_take_its_time_if_the_scanner_waits_longer() -> None:
    patient = {"scanner_settings": {"daemon": {"deadline": 300}}}
    assert problems_of(clamav_enabled=True, clamav_timeout=200, **patient) == []
    assert problems_of(clamav_enabled=True, scanner_engines=[{"type": "clamd", "name": "second"}]) == []
    assert problems_of(clamav_timeout=200) == [], "nobody asks it"


def test_a_service_of_the_sites_gets_folders_and_a_sandbox_of_its_own() -> None:
    paths = ("/etc/monitor", "/srv/monitor", "/var/lib/monitor", "/opt/monitor/log", "/usr/local/monitor", "/home/m")
    modes = ("0755", "750", "2770", "1730", "0777")
    writable = [{"path": path} for path in paths] + [{"path": f"/srv/{mode}", "mode": mode} for mode in modes]
    sandbox = {
        "NoNewPrivileges": "no",
        "PrivateNetwork": False,
        "LimitNOFILE": 4096,
        "ExecPaths": "/srv",
        "BindPaths": "/a:/b",
    }
    assert problems_of(hardening_svscan_writable=writable, hardening_svscan_extra=sandbox) == []
    assert problems_of(hardening_setid_stripped=["/usr/bin/mount", "/usr/bin/fusermount3"]) == []


def test_folders_of_accounts_that_no_role_makes_are_remarked_on() -> None:
    of_roles = [{"path": "/srv/x", "owner": "qmaill", "group": "gatescan"}, {"path": "/srv/y", "owner": "www-data"}]
    assert problems_of(hardening_svscan_writable=of_roles) == remarks_about(hardening_svscan_writable=of_roles) == []
    (remark,) = remarks_about(hardening_svscan_writable=[*of_roles, {"path": "/srv/z", "owner": "monitr"}])
    assert (
        remark == "hardening_svscan_writable[2] (/srv/z): owner: no role makes 'monitr': it must be on the host already"
    )


def test_clamav_may_have_a_share_of_the_memory_and_another_group_of_a_roles() -> None:
    for most in ("50%", "100%", "3G", "100M", "1500000000", "infinity"):
        assert problems_of(clamav_memory_max=most) == []
    assert problems_of(clamav_enabled=True, clamav_socket_group="gatescan", clamav_max_bytes=50_000_000) == []
    assert problems_of(clamav_max_bytes=1_000_000, clamav_socket_group="x") == [], "nobody asks it"


def test_a_number_without_an_end_hides_nothing_else() -> None:
    told = problems_of(sshd_port=math.inf, qmail_concurrency_incoming=0, scanner_workers=math.nan)
    assert {problem.split(":")[0] for problem in told} >= {"sshd_port", "qmail_concurrency_incoming", "scanner_workers"}


@pytest.mark.parametrize("verdicts", [None, False, 5, "policy", {"policy": 1}])
def test_verdicts_that_are_no_list_are_one_problem_with_release_by_mail(verdicts: Any) -> None:
    (told,) = problems_of(**RELEASE, scanner_settings={"notices": {"recipient_verdicts": verdicts}})
    assert told.startswith("scanner_settings.notices.recipient_verdicts: a list is needed here")


def test_files_of_the_controller_are_looked_for_where_a_run_does() -> None:
    for archive in (__file__, "site.yml", "../README.md", "https://example.org/uvscan.tar"):
        assert problems_of(**UVSCAN, uvscan_archive=archive) == []
    assert problems_of(**UVSCAN, **PULL, uvscan_archive="/srv/uvscan.tar") == [], "the gateway may have it installed"
    assert problems_of(uvscan_archive="/srv/uvscan.tar") == [], "nobody copies it"
    assert problems_of(clamav_enabled=True, clamav_signatures_folder=str(PROJECT / "docs")) == []
    assert problems_of(source_build_cache_dir="~/.cache/x", backup_directory="/srv/gateways") == []


def test_a_folder_of_archives_that_is_not_there_is_remarked_on() -> None:
    assert problems_of(source_build_archive_dir="/srv/nowhere") == [] == remarks_about(source_build_archive_dir="/")
    (remark,) = remarks_about(source_build_archive_dir="/srv/nowhere")
    assert remark.startswith("source_build_archive_dir: /srv/nowhere is no folder on the controller")


def test_options_of_sshd_that_the_role_does_not_set_are_the_sites() -> None:
    options: dict[str, Any] = {
        "UseDNS": False,
        "AllowUsers": ["ann", "bob"],
        "AcceptEnv": "EDITOR",
        "ListenAddress": ["192.0.2.1", "2001:db8::1", "0.0.0.0"],
        "Subsystem": "backup /usr/local/sbin/backup",
        "ChannelTimeout": "session=5m",
        "Match": 'Group "backup team"',
        "AllowTcpForwarding": "local",
        "ForceCommand": "/usr/local/sbin/backup --to x#1",
    }
    assert problems_of(sshd_extra_options=options) == []
    names = ["sudo", "Mail.Admins", "linux-admins@corp.test"]
    assert problems_of(sshd_allow_groups=names, hardening_cron_users=["root", "ann.miller", "Bob"]) == []


def test_a_port_of_a_program_that_is_off_is_free() -> None:
    assert problems_of(sshd_port=5335) == problems_of(sshd_port=9100) == problems_of(**EXPORTER) == []


def test_what_a_gateway_does_without_may_be_switched_off() -> None:
    assert (
        problems_of(hardening_kernel_modules_off=["usb-storage", "vfat", "ip_tables", "nfs", "loop", "overlay"]) == []
    )
    options = {"/srv": ["noexec", "nosuid"], "/usr": ["nodev"], "/opt/data": ["noexec"], "/usr/local": ["nosuid"]}
    assert problems_of(hardening_mount_options=options) == []
    for mask in ("022", "0027", "077", "002", "026"):
        assert problems_of(hardening_umask=mask) == []


def test_scores_mark_all_mail_and_bounds_may_be_narrow() -> None:
    scores = {"tag": 0, "quarantine": 0.1, "reject": 15}
    assert (
        problems_of(
            spamassassin_enabled=True, spamassassin_inbound=scores, rspamd_scores={"add_header": -1, "reject": 1}
        )
        == []
    )
    limits = {"seconds": 1, "parts": 1, "depth": 1, "bytes_out": 1, "bytes_floor": 0, "bytes_ratio": 0}
    assert problems_of(scanner_limits=limits) == []
    assert problems_of(scanner_limits={"seconds": 200}, scanner_settings={"daemon": {"deadline": 300}}) == []


def test_what_a_host_can_do_without_may_be_purged() -> None:
    names = [
        "telnet",
        "at",
        "cloud-init",
        "libcups2",
        "python3-pip",
        "systemd-timesyncd",
        "isc-dhcp-client",
        "exim4-base",
    ]
    assert problems_of(service_trimming_purged_packages=names) == []


def test_release_by_mail_is_accepted_with_its_key() -> None:
    assert problems_of(**RELEASE, scanner_daily_digest=True) == []


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"qmail_me": "gw2.example.org"}, "scanner_release_by_mail: is off on gw2"),
        (
            {**RELEASE, "qmail_me": "gw2.example.org", "scanner_release_key": "o" * 32},
            "scanner_release_key: is another",
        ),
        ({**RELEASE, "qmail_me": "gw2.example.org"}, ""),
    ],
)
def test_gateways_have_one_key_for_release_by_mail(there: dict[str, Any], words: str) -> None:
    told = problems_of_two(RELEASE, there)
    assert [problem for problem in told if problem.startswith(words)] if words else told == [], told


def test_gateways_that_pass_replies_on_have_their_names_in_the_inventory() -> None:
    here = {name: value for name, value in RELEASE.items() if name != "qmail_me"}
    told = problems_of_two(here, SECOND)
    assert [problem for problem in told if problem.startswith("qmail_me: is needed in the inventory")], told


def test_a_refusal_never_tells_the_key() -> None:
    assert "secret" not in str(problems_of(scanner_release_by_mail=True, scanner_release_key="secret"))


def test_logs_in_plain_text_are_remarked_on_and_no_problem() -> None:
    values: dict[str, Any] = {"hardening_log_server": "logs.example.org"}
    assert problems_of(**values) == [] == remarks_about(**values, hardening_log_tls=True) == remarks_about()
    (remark,) = remarks_about(**values)
    assert remark.startswith("hardening_log_server: gets the logs in plain text")


def test_domains_that_take_mail_for_whoever_are_remarked_on_and_no_problem() -> None:
    routes: list[dict[str, Any]] = [{"domain": name, "host": "10.0.0.2"} for name in ("a.test", "b.test", "sub.c.test")]
    routes += [{"domain": name, "host": "10.0.0.2", "subdomains": True} for name in ("c.test", "d.test")]
    known: dict[str, Any] = {"a.test": "any", "c.test": {"list": ["ann"]}, ".c.test": {"list": ["ann"]}}
    values: dict[str, Any] = {"smtproutes_routes": routes, "gatekeeper_recipients": known}
    assert problems_of(**values, gatekeeper_enabled=True) == []
    (remark,) = remarks_about(**values, gatekeeper_enabled=True)
    assert remark.startswith("gatekeeper_recipients: anybody at .d.test, a.test, b.test, d.test gets mail")
    assert "backscatter" in remark
    whole = {name: {"list": ["ann"]} for name in ("a.test", "b.test", "c.test", ".c.test", "d.test", ".d.test")}
    assert remarks_about(smtproutes_routes=routes, gatekeeper_recipients=whole, gatekeeper_enabled=True) == []
    assert remarks_about(smtproutes_routes=routes) == []


def test_a_door_that_is_set_up_and_switched_off_is_remarked_on() -> None:
    routes = [{"domain": "a.test", "host": "10.0.0.2"}]
    lists = {"list.test": {"codes": ["127.0.0.2"]}}
    values: dict[str, Any] = {"gatekeeper_recipients": {"a.test": {"list": ["ann"]}}, "gatekeeper_dns_lists": lists}
    assert problems_of(smtproutes_routes=routes, **values) == []
    for name, remark in zip(values, remarks_about(smtproutes_routes=routes, **values), strict=True):
        assert remark == f"{name}: nobody looks at it: that needs gatekeeper_enabled: true"


def test_the_sender_of_reports_is_named_once_for_both_kinds() -> None:
    values: dict[str, Any] = {
        "gatepost_tls_reports": True,
        "gatekeeper_dmarc_reports": True,
        "gatekeeper_enabled": True,
        "gatekeeper_authentication": True,
        "gatepost_reports_organization": "Example",
        "gatepost_reports_contact": "reports@mail.example.org",
        "gatepost_dkim_domains": ["example.org"],
    }
    assert problems_of(**values) == []
    other = problems_of(**values, gatekeeper_reports_contact="reports@example.net")
    assert [problem for problem in other if problem.startswith("gatekeeper_reports_contact: example.net is none of")]
