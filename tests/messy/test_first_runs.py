"""First runs on messy hosts, each on a fresh container: refused by name with nothing changed, or good to the end.

Nightly, as every case takes minutes: pytest tests/messy. tests/testinfra/test_survey.py has what is cheap.
The lab's dns, office and outside must be up; the gateway is made anew for every case.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import controller
import pytest
from controller import Run
from lab_hosts import Gateway, lab_host

from lab.machine import environment
from lab.topology import PROJECT

SITE = "playbooks/site.yml"
NAME = "gw2"

playbook = functools.partial(controller.playbook, seconds=1200)
"""A first run builds qmail and installs all there is, on a machine that may have other things to do at night."""

pytestmark = pytest.mark.timeout(1800)


@dataclass(frozen=True)
class Mess:
    """A host that is not plain: how it came about, and with which variables the run goes well all the same."""

    make: str
    refused: tuple[str, ...] = ()
    variables: dict[str, object] = field(default_factory=dict)


QMAIL_USERS = (
    "groupadd -g 7790 nofiles; useradd -r -u 7791 -g nofiles -d /var/qmail/alias alias; useradd -r -u 7792 qmaild"
)
MESSES = {
    "root with umask 077": Mess("sed -i '1i umask 077' /root/.bashrc"),
    "no python3-apt": Mess("apt-get -q -y purge python3-apt"),
    "no package lists": Mess("rm -rf /var/lib/apt/lists/*"),
    "a locale of its own": Mess("echo 'LANG=de_DE.UTF-8' > /etc/default/locale"),
    "former qmail users": Mess(QMAIL_USERS, ("user qmaild has the number 7792",), {"foundation_adopt_accounts": True}),
    "a script's firewall": Mess(
        "apt-get -q update; apt-get -q -y install nftables; nft add table ip filter;"
        "nft 'add chain ip filter INPUT { type filter hook input priority 0; policy drop; }';"
        "nft add rule ip filter INPUT tcp dport 22 accept; nft add rule ip filter INPUT ct state established accept",
        ("table ip filter of somebody else's",),
        {"firewall_other_firewalls": "remove"},
    ),
    "a server that nobody declared": Mess(
        "systemd-run --unit=web python3 -m http.server 80",
        ("0.0.0.0 80 python3",),
        {"service_trimming_extra_units": ["web"]},
    ),
    "another qmail": Mess(
        "cd /var; install -D /bin/true qmail/bin/qmail-send; mkdir -p qmail/queue/mess/0; touch qmail/queue/mess/0/1",
        ("qmail's that Gatewright did not install", "in its queue: 1"),
    ),
    # as a mounted disk; a container may not mount one
    "a place for the queue that is root's": Mess("mkdir -p /var/qmail/queue/lost+found"),
    "held packages": Mess("apt-mark hold exim4-base exim4-daemon-light", ("apt-mark unhold",)),
}


@pytest.fixture
def fresh() -> Iterator[Gateway]:
    """A gateway's host as the lab makes it."""
    subprocess.run(["podman", "rm", "-f", "-t", "0", lab_host(NAME).container], env=environment(), check=False)
    subprocess.run([sys.executable, "-m", "lab", "up", NAME], cwd=PROJECT, env=environment(), check=True)
    yield Gateway(lab_host(NAME))


def state(gateway: Gateway) -> str:
    """What a run would change first."""
    return gateway.sh("dpkg-query -W; systemctl list-unit-files --no-pager | sort; md5sum /etc/passwd /etc/resolv.conf")


@pytest.mark.parametrize("name", [name for name, mess in MESSES.items() if mess.refused])
def test_a_host_that_is_not_ready_is_refused_by_name_and_left_as_it_is(fresh: Gateway, name: str) -> None:
    fresh.sh(MESSES[name].make)
    before = state(fresh)
    for options in (["--check"], []):
        said = " ".join(playbook(SITE, NAME, *options, succeeds=False).output.split())
        assert all(words in said for words in MESSES[name].refused), said[-3000:]
    assert state(fresh) == before
    assert fresh.run("systemctl", "is-active", "exim4").strip() == "active", "its mail server goes on"


@pytest.mark.parametrize("name", [name for name, mess in MESSES.items() if mess.variables or not mess.refused])
def test_a_run_on_a_messy_host_is_good_to_its_end_and_the_second_changes_nothing(fresh: Gateway, name: str) -> None:
    mess = MESSES[name]
    fresh.sh(mess.make)
    playbook(SITE, NAME, "--check", variables=mess.variables)
    first: Run = playbook(SITE, NAME, variables=mess.variables)
    assert "fatal:" not in first.output, "no red line where nothing is wrong"
    assert playbook(SITE, NAME, variables=mess.variables).changed(NAME) == 0


def test_a_network_that_lets_nobody_ask_the_root_servers_is_told_what_to_set(fresh: Gateway) -> None:
    resolver = lab_host("dns").ipv4
    fresh.sh(f"echo nameserver {resolver} > /etc/resolv.conf")
    said = playbook(SITE, NAME, variables={"dnscache_root_servers": ["192.0.2.1"]}, succeeds=False).output
    assert "no root server answers" in " ".join(said.split()) and "dnscache_forward_only" in said
    assert resolver in said


def test_a_failing_build_leaves_the_old_mail_server_at_work(fresh: Gateway, tmp_path: Path) -> None:
    nowhere = {"source_build_archive_dir": "", "source_build_cache_dir": str(tmp_path), "source_build_mirrors": []}
    before = state(fresh)
    playbook(SITE, NAME, variables=nowhere, succeeds=False)
    assert state(fresh) == before
    assert fresh.run("systemctl", "is-active", "exim4").strip() == "active"
