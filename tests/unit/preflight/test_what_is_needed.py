"""What the gateway needs, no inventory can take away; and what two roles cannot share is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gatewright.chapters import foundation, service_trimming
from gatewright.inventory import Host, Role, Site
from gatewright.problems import Problems
from gatewright.published import published
from tests.unit.preflight.site_of import PROJECT, problems_of, roles

EXTRA = "service_trimming_extra_units"
SUFFIXES = (".service", ".timer", ".path", ".socket")


def static(role: str, kind: str) -> set[str]:
    """What a role publishes, with all that is in its templates."""
    return set(yaml.safe_load(str(roles()[role].defaults.get(f"{role}__{kind}")).replace("{{", "").split(" if ")[0]))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("ssh", "sshd"),
        ("sshd", "sshd"),
        ("ssh@1", "sshd"),
        ("nftables", "firewall"),
        ("svscan", "daemontools"),
        ("networking", "foundation"),
        ("ifup@eth0", "foundation"),
        ("systemd-journald", "foundation"),
        ("dbus", "foundation"),
        *((name, "hardening") for name in ("cron", "chrony", "rsyslog", "fail2ban", "unattended-upgrades")),
        ("gatescan-expire", "scanner"),
    ],
)
def test_a_unit_that_a_role_needs_cannot_be_trimmed(name: str, role: str) -> None:
    (problem,) = problems_of(**{EXTRA: ["atd", name]})
    assert problem == f"{EXTRA}[1] ({name}): role {role} needs this unit running: it cannot be trimmed"


def test_nor_can_another_role_trim_it() -> None:
    host, problems = Host("gw1", {}), Problems()
    greeter = Role("greeter", {}, {"greeter__trimmed_units": ["atd", "ssh"]})
    service_trimming.check(Site(host, {}, {**roles(), "greeter": greeter}), problems)
    assert problems.found == ["greeter__trimmed_units (ssh): role sshd needs this unit running: it cannot be trimmed"]


def test_what_is_switched_off_may_be_trimmed() -> None:
    assert problems_of(service_trimming_extra_units=["spamd", "php8.2-fpm", "getty@tty2", "nfs-blkmap"]) == []
    (problem,) = problems_of(service_trimming_extra_units=["spamd"], spamassassin_enabled=True)
    assert problem.startswith(f"{EXTRA}[0] (spamd): role spamassassin needs")


def test_a_template_without_an_instance_is_no_unit() -> None:
    (problem,) = problems_of(service_trimming_extra_units=["getty@"])
    assert problem == f"{EXTRA}[0] (getty@): is a template of units, of which one is getty@NAME"


@pytest.mark.parametrize("role", roles())
def test_a_role_needs_the_units_that_it_brings(role: str) -> None:
    names = [path.name.removesuffix(".j2") for path in (PROJECT / "roles" / role).glob("*/etc/systemd/system/*.*")]
    brought = {Path(name).stem for name in names if name.endswith(SUFFIXES)}
    if brought:
        assert brought <= static(role, "units")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"dnscache_uid": 64011}, "dnscache_uid: 64011 is qmail_users.qmaild's already (qmaild)"),
        ({"dnscache_gid": 64010}, "dnscache_gid: 64010 is qmail_groups.qmail's already (qmail)"),
        ({"dnscache_gid": 957, "clamav_enabled": True}, "dnscache_gid: 957 is clamav_uid's already (clamav)"),
        ({"hardening_su_gid": 955}, "hardening_su_gid: 955 is scanner_uid's already (gatescan)"),
        (
            {"qmail_groups": {"qmail": 953, "nofiles": 64011}},
            "qmail_groups.qmail: 953 is dnscache_gid's already (dnscache)",
        ),
    ],
)
def test_two_accounts_of_a_kind_with_one_number_are_told_by_both_variables(values: dict[str, Any], told: str) -> None:
    assert problems_of(**values) == [told]


def test_a_user_and_a_group_may_have_one_number_and_one_variable_serves_both() -> None:
    assert problems_of(dnscache_uid=64030, dnscache_gid=954, clamav_uid=64031, clamav_enabled=True) == []


@pytest.mark.parametrize(
    "defaults",
    [
        {"greeter__users": [{"name": "greeter", "uid": 955, "gid": 1, "home": "/nonexistent"}]},
        {"greeter_number": 955, "greeter__users": [{"name": "greeter", "uid": "{{ greeter_number }}"}]},
        {"greeter_uid": 955, "greeter__numbers": [{"variable": "greeter_uid", "of": "users", "name": "greeter"}]},
        {"greeter_uid": 955},
    ],
)
def test_an_account_of_a_role_that_is_added_is_looked_at_however_it_is_published(defaults: dict[str, Any]) -> None:
    host, problems = Host("gw1", {"scanner_uid": 955}), Problems()
    greeter = Role("greeter", {name: {} for name in defaults if "__" not in name}, defaults)
    foundation.check(Site(host, {}, {**roles(), "greeter": greeter}), problems)
    (problem,) = problems.found
    assert problem.startswith("scanner_uid: 955 is greeter_")


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("nftables", "firewall"),
        ("openssh-server", "sshd"),
        ("daemontools", "daemontools"),
        *((name, "hardening") for name in ("aide", "cron", "sudo")),
    ],
)
def test_a_package_that_a_role_needs_cannot_be_purged(name: str, role: str) -> None:
    (problem,) = problems_of(service_trimming_purged_packages=["telnet", name])
    place = f"service_trimming_purged_packages[1] ({name})"
    assert problem == f"{place}: role {role} needs this package: it cannot be purged"


def test_a_package_that_is_needed_by_another_choice_alone_may_be_purged() -> None:
    values = {"daemontools_install_method": "source", "service_trimming_purged_packages": ["daemontools", "rspamd"]}
    assert problems_of(**values) == []


def test_what_a_role_needs_by_its_private_variables_is_known() -> None:
    values = {"pull_enabled": True, "hardening_log_server": "log.example.org", "hardening_log_tls": True}
    names = ["git", "rsyslog-openssl"]
    told = [words for words in problems_of(service_trimming_purged_packages=names, **values) if "needs this" in words]
    assert told == [
        f"service_trimming_purged_packages[{index}] ({name}): role {role} needs this package: it cannot be purged"
        for index, (name, role) in enumerate(zip(names, ("pull", "hardening"), strict=True))
    ]
    assert problems_of(service_trimming_purged_packages=names) == []


@pytest.mark.parametrize(
    ("published_as", "known"),
    [
        ("{{ _greeter_own + (['b'] if ansible_facts['x'] == 'y' else ['c']) + ['d'] }}", ["a", "d"]),
        ("{{ ['b'] if _greeter_unknown else ['c'] }}", []),
        ("{{ _greeter_own if greeter_enabled else [] }}", ["a"]),
        ("{{ _greeter_own | ansibles_filter + ['d'] }}", ["d"]),
        ("{{ _greeter_circle + ['d'] }}", ["e", "d"]),
        (["d", "{{ _greeter_name }}", "{{ _greeter_unknown }}"], ["d", "ab"]),
    ],
)
def test_of_what_a_role_publishes_all_is_taken_that_is_known(published_as: Any, known: list[str]) -> None:
    inner = {
        "_greeter_own": ["a"],
        "_greeter_unknown": "{{ ansible_facts['x'] }}",
        "_greeter_circle": "{{ _greeter_circle + ['e'] }}",
        "_greeter_name": "{{ _greeter_own | first }}b",
    }
    defaults = {"greeter_enabled": True, "greeter__packages": published_as}
    site = Site(Host("gw1", {}), {}, {"greeter": Role("greeter", {}, defaults, inner=inner)})
    assert [entry for _role, entry in published(site, "packages")] == known


def test_what_a_site_wants_and_purges_is_told_by_both() -> None:
    (problem,) = problems_of(foundation_extra_packages=["nano", "telnet"], service_trimming_purged_packages=["telnet"])
    assert problem.startswith("service_trimming_purged_packages[0] (telnet): would be installed and purged by each run")
    assert "foundation_extra_packages[1] (telnet)" in problem


@pytest.mark.parametrize("name", ["exim4-daemon-light", "postfix", "sendmail-bin", "msmtp-mta", "default-mta"])
def test_another_mail_server_is_none_of_the_sites_packages(name: str) -> None:
    (problem,) = problems_of(foundation_extra_packages=["bsd-mailx", name])
    assert problem.startswith(f"foundation_extra_packages[1] ({name}): is another mail server")
