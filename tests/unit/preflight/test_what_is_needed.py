"""What the gateway needs, no inventory can take away; and what two roles cannot share is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

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
