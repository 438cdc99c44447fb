"""remove.yml: a gateway becomes a plain Debian host again. It runs only when it is named, as no gateway is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from controller import Run, playbook
from lab_hosts import Gateway, Peer, eventually, token

REMOVE = "playbooks/remove.yml"
OURS = ("/service", "/var/qmail", "/etc/gatescan", "/var/lib/gatewright", "/usr/local/lib/gatewright", "/etc/tcp.smtp")
QUARANTINE = "/var/spool/gatescan/quarantine"


def remove(gateway: Gateway, succeeds: bool = True, **variables: object) -> Run:
    """Take Gatewright off a gateway."""
    named = {"gatewright_remove": gateway.name}
    return playbook(REMOVE, gateway.name, variables={**named, **variables}, succeeds=succeeds)


@pytest.fixture(scope="module")
def waiting(gateway: Gateway, outside: Peer, office: Peer) -> Iterator[str]:
    """A message that waits in the queue, as office's mail server is down; it is up again afterwards."""
    office.run("systemctl", "stop", "postfix")
    try:
        mark = token()
        assert outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
        eventually(lambda: "user@corp.test" in gateway.queue(), what="the message in the queue")
        yield mark
    finally:
        office.run("systemctl", "start", "postfix")


@pytest.fixture(scope="module")
def before(gateway: Gateway) -> dict[str, str]:
    """What the host has before its gateway goes."""
    trimmed = {"service_trimming_extra_units": ["left-the-inventory"]}
    playbook("playbooks/site.yml", gateway.name, "--tags", "service_trimming_units", variables=trimmed)
    gateway.run("systemctl", "mask", "administrators.service")
    gateway.sh(f"echo held > {QUARANTINE}/cur/of-the-test; echo 'a site of its own' > /etc/gatewright-neighbour")
    return {"masked": gateway.sh("systemctl list-unit-files --state=masked --no-legend | cut -d' ' -f1")}


@pytest.fixture(scope="module")
def removed(gateway: Gateway, waiting: str, before: dict[str, str]) -> Run:
    """The run that takes Gatewright off, with a queue that does not drain."""
    return remove(gateway, remove_queue="keep", remove_seconds=1)


def test_nothing_is_removed_by_mistake(gateway: Gateway) -> None:
    for variables in ({}, {"gatewright_remove": ""}, {"gatewright_remove": "gw"}):
        run = playbook(REMOVE, gateway.name, variables=dict(variables), succeeds=False)
        assert "must name the gateway from which Gatewright is removed" in run.output
    assert gateway.is_up("qmail-smtpd")


def test_a_check_changes_nothing_and_does_not_say_none_of_what_it_did_not_look_at(gateway: Gateway) -> None:
    named = {"gatewright_remove": gateway.name}
    told = playbook(REMOVE, gateway.name, "--check", variables=named).output
    for line in ("Packages removed, those that needed a mail server among them", "Unmasked, and still disabled"):
        assert f"{line}: not looked at (check mode)" in told
    assert gateway.is_up("qmail-smtpd")


def test_a_queue_that_does_not_drain_leaves_the_gateway_as_it_was(
    gateway: Gateway, outside: Peer, waiting: str
) -> None:
    run = remove(gateway, succeeds=False, remove_seconds=2)
    assert "messages are still in its queue" in run.output
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test", mark=token()).code == 250, what="mail again")


def test_what_was_in_the_queue_is_kept_where_the_run_says(gateway: Gateway, removed: Run, waiting: str) -> None:
    (tar,) = gateway.sh("ls /var/backups/gatewright-queue-*.tar").split()
    assert tar in removed.output
    assert gateway.sh(f"stat -c %a {tar}").strip() == "600"
    assert waiting in gateway.sh(f"tar --extract --to-stdout --file {tar} --wildcards 'queue/mess/*/*'")


def test_nothing_of_it_is_left_but_data(gateway: Gateway, removed: Run) -> None:
    assert gateway.sh(f"ls -d {' '.join(OURS)} 2>/dev/null", check=False) == ""
    assert (
        gateway.sh("dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' 'gatewright-*' | grep -v ^un", check=False)
        == ""
    )
    assert gateway.sh("grep -rl 'Managed by Gatewright' /etc /usr/local", check=False) == ""
    assert gateway.sh("getent passwd qmaild qmails dnscache", check=False) == ""
    assert gateway.sh("find /etc/systemd /etc/apparmor.d -name '*gatewright*' -o -xtype l", check=False) == ""
    assert gateway.sh(f"cat {QUARANTINE}/cur/of-the-test").strip() == "held"
    assert gateway.sh("find /var/log/qmail /var/spool/gatescan -nouser -o -nogroup") == ""
    assert gateway.sh("cat /etc/gatewright-neighbour").strip() == "a site of its own"


def test_the_host_is_reachable_and_resolves_names_by_debians_own(gateway: Gateway, removed: Run) -> None:
    assert gateway.sh("cmp /etc/ssh/sshd_config /usr/share/openssh/sshd_config") == ""
    assert "gatewright" not in gateway.sh("nft list ruleset; cat /etc/nftables.conf /etc/resolv.conf")
    mirror = "grep -ohE 'http://[^/ ]+' /etc/apt/sources.list | head -n 1 | cut -d/ -f3"
    assert gateway.sh(f"getent hosts outside.test || getent hosts $({mirror})")
    assert gateway.sh("systemctl --failed --no-legend") == ""


def test_passwords_are_debians_matter_again(gateway: Gateway, removed: Run) -> None:
    """PAM without our profiles still lets people in."""
    texts = gateway.sh("cat /etc/pam.d/common-*")
    assert "pam_unix" in texts and "faillock" not in texts and "pwhistory" not in texts
    gateway.sh("useradd --create-home person && echo person:Tr0ub4dor-and-3 | chpasswd && su person -c true")


def test_what_was_masked_is_named_and_free(gateway: Gateway, removed: Run, before: dict[str, str]) -> None:
    masked = gateway.sh("systemctl list-unit-files --state=masked --no-legend | cut -d' ' -f1").split()
    ours = ("postfix.", "exim4.", "atd.", "rpcbind.", "left-the-inventory.")
    freed = {unit for unit in before["masked"].split() if unit.startswith(ours)}
    assert "left-the-inventory.service" in freed and not freed & set(masked)
    assert "administrators.service" in masked
    for unit in freed:
        assert unit in removed.output


def test_a_second_run_changes_nothing(gateway: Gateway, removed: Run) -> None:
    assert remove(gateway).changed(gateway.name) == 0


def test_another_mail_server_can_be_installed_and_takes_mail(gateway: Gateway, outside: Peer, removed: Run) -> None:
    gateway.sh(
        "echo 'postfix postfix/main_mailer_type select Internet Site' | debconf-set-selections;"
        "echo 'postfix postfix/mailname string plain.test' | debconf-set-selections;"
        "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install postfix >/dev/null;"
        "postconf -e inet_interfaces=all && systemctl restart postfix"
    )
    mark = token()
    eventually(lambda: outside.send(gateway.ipv4, "person@plain.test", mark=mark).code == 250, what="postfix")
    eventually(lambda: mark in gateway.sh("cat /var/mail/person", check=False), what="the message in person's box")


def test_data_go_when_they_are_to(gateway: Gateway, removed: Run) -> None:
    assert remove(gateway, remove_data=True).changed(gateway.name) == 2  # the data, and the accounts that owned them
    assert (
        gateway.sh(f"ls -d {QUARANTINE} /var/log/qmail /var/spool/gatescan /etc/dnscache 2>/dev/null", check=False)
        == ""
    )
    assert "Gatewright" not in gateway.sh("getent passwd")
    assert remove(gateway, remove_data=True).changed(gateway.name) == 0
