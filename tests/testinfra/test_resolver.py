"""The gateway resolves by its own dnscache, and nothing else gets to say otherwise."""

from __future__ import annotations

import pytest
from lab_hosts import Gateway, lab_host

# Each does with its hook what the real client's script does, and then writes resolv.conf as that would.
CLIENTS = {
    "dhclient": """
        make_resolv_conf() { echo 'nameserver 192.0.2.9' > /etc/resolv.conf; }
        for hook in /etc/dhcp/dhclient-enter-hooks.d/*; do . "$hook"; done
        make_resolv_conf""",
    "dhcpcd": """
        skip_hooks=
        . /etc/dhcpcd.enter-hook
        case " $skip_hooks " in *" resolv.conf "*) ;; *) echo 'nameserver 192.0.2.9' > /etc/resolv.conf ;; esac""",
    "resolvconf": """
        . /etc/resolvconf.conf
        case "$resolvconf" in NO | no) ;; *) echo 'nameserver 192.0.2.9' > /etc/resolv.conf ;; esac""",
}


def name_servers(gateway: Gateway) -> list[str]:
    """The name servers of resolv.conf."""
    return gateway.sh("sed -n 's/^nameserver //p' /etc/resolv.conf").split()


def test_the_host_resolves_by_its_own_resolver(gateway: Gateway) -> None:
    assert name_servers(gateway) == ["127.0.0.1"]
    outside = lab_host("outside")
    assert gateway.run("getent", "ahostsv4", outside.fqdn).split()[0] == outside.ipv4


def test_the_resolver_answers_on_loopback_alone(gateway: Gateway) -> None:
    sockets = gateway.run("ss", "-Hlntu", "sport = :53").splitlines()
    assert sockets and all(line.split()[4] == "127.0.0.1:53" for line in sockets)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_dhcp_client_does_not_change_resolv_conf(gateway: Gateway, client: str) -> None:
    before = gateway.run("cat", "/etc/resolv.conf")
    try:
        gateway.sh(CLIENTS[client])
        assert gateway.run("cat", "/etc/resolv.conf") == before
    finally:
        gateway.run("sh", "-c", "cat > /etc/resolv.conf", stdin=before)


def test_the_old_resolv_conf_is_kept(gateway: Gateway) -> None:
    assert gateway.shell.file("/etc/resolv.conf.old").is_file
    assert not gateway.shell.file("/etc/resolv.conf").is_symlink


def test_nobody_but_the_resolver_asks_other_name_servers(gateway: Gateway) -> None:
    ask = (
        "import socket, sys\n"
        "query = bytes.fromhex('123401000001000000000000') + b'\\x07outside\\x05world\\x04test\\0\\0\\1\\0\\1'\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:\n"
        "    asked.settimeout(2)\n"
        "    try:\n"
        "        asked.sendto(query, (sys.argv[1], 53))\n"
        "        print(len(asked.recv(512)) > 12)\n"
        "    except OSError as error:\n"
        "        print(type(error).__name__)\n"
    )
    server = lab_host("dns").ipv4
    assert gateway.run("setuidgid", "dnscache", "python3", "-", server, stdin=ask).strip() == "True"
    assert gateway.run("setuidgid", "qmailr", "python3", "-", server, stdin=ask).strip() in (
        "TimeoutError",
        "PermissionError",
    )
