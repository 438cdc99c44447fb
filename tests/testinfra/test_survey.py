"""Hosts as they are: what stands in a run's way is told by name, all at once, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from controller import Run, playbook
from lab_hosts import Gateway

SITE = "playbooks/site.yml"
FOREIGN = """table ip filter {
  chain INPUT {
    type filter hook input priority 0; policy drop;
    iif lo accept
    ct state established,related accept
    tcp dport 22 accept
  }
}"""
"""As many scripts have it. Without its answers a host waits long for each name, and so does the run."""
LISTENER = "python3 -m http.server --bind 127.0.0.1 39711 >/dev/null 2>&1"
PROXY = "/etc/apt/apt.conf.d/99test-proxy"


@contextmanager
def mess(gateway: Gateway, make: str, undo: str) -> Iterator[None]:
    """A host with something that a plain one has not."""
    gateway.sh(make)
    try:
        yield
    finally:
        gateway.sh(undo)


def survey(gateway: Gateway, *options: str, succeeds: bool = False, **variables: object) -> str:
    """What the look at the host says."""
    run: Run = playbook(SITE, gateway.name, "--tags", "survey", *options, variables=variables, succeeds=succeeds)
    assert run.changed(gateway.name) == 0
    return " ".join(run.output.split())


def test_a_gateway_as_the_playbook_leaves_it_is_ready(gateway: Gateway) -> None:
    assert "not ready" not in survey(gateway, succeeds=True)


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_rules_of_a_script_that_drop_mail_are_refused_by_name(gateway: Gateway, options: tuple[str, ...]) -> None:
    with mess(gateway, f"nft '{FOREIGN}'", "nft delete table ip filter"):
        said = survey(gateway, *options)
        assert "table ip filter of somebody else's" in said and "INPUT (hook input, policy drop)" in said
        survey(gateway, succeeds=True, firewall_accepted_tables=["ip filter"])


def test_rules_of_others_go_where_the_inventory_says_so(gateway: Gateway) -> None:
    with mess(gateway, f"nft '{FOREIGN}'", "nft delete table ip filter 2>/dev/null || true"):
        tags = ("--tags", "survey,firewall")
        playbook(SITE, gateway.name, *tags, variables={"firewall_other_firewalls": "remove"})
        assert "table ip filter" not in gateway.run("nft", "list", "tables")
        assert "table inet gatewright" in gateway.run("nft", "list", "tables")


def test_everything_is_told_in_one_list(gateway: Gateway) -> None:
    # set-id: so that the socket's owner is seen also where root may not look into others' processes
    make = f"groupmod -g 7790 sugroup; nft '{FOREIGN}'; ({LISTENER} & echo $! > /run/test-listener)"
    undo = "groupmod -g 960 sugroup; nft delete table ip filter; kill $(cat /run/test-listener)"
    with mess(gateway, make, undo):
        said = survey(gateway)
        for words in ("group sugroup has the number 7790", "table ip filter", "127.0.0.1 39711 python3"):
            assert words in said, words
        assert "{proto: tcp, owner: python3, address: 127.0.0.1}" in said


def test_a_port_of_an_apt_proxy_joins_the_firewalls_data(gateway: Gateway) -> None:
    proxy = f"echo 'Acquire::http::Proxy \"http://{gateway.ipv4}:3142\";' > {PROXY}"
    with mess(gateway, proxy, f"rm {PROXY}"):
        assert "apt uses port 3142" in survey(gateway, succeeds=True)
        run = playbook(SITE, gateway.name, "--tags", "survey,firewall", "--check", "--diff")
        assert "3142" in run.output.partition("nftables.conf")[2], run.output


def test_a_controller_outside_the_admin_networks_is_told_the_variable(gateway: Gateway) -> None:
    assert "firewall_admin_networks (192.0.2.0/24)" in survey(gateway, firewall_admin_networks=["192.0.2.0/24"])


def test_a_name_without_a_domain_is_refused(gateway: Gateway) -> None:
    said = survey(gateway, qmail_me="{{ inventory_hostname }}")
    assert f"qmail_me: '{gateway.name}' has no domain" in said and "nothing was changed" in said


def test_held_and_half_configured_packages_are_refused(gateway: Gateway) -> None:
    broken = "sed -i '/^Package: cracklib-runtime$/,/^$/s/^Status: .*/Status: install ok half-configured/'"
    make = f"cp -a /var/lib/dpkg/status /run/test-status; {broken} /var/lib/dpkg/status"
    with mess(gateway, make, "cp -a /run/test-status /var/lib/dpkg/status"):
        assert "cracklib-runtime (half configured). Run dpkg --configure -a" in survey(gateway)
