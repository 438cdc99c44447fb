"""The firewall and sshd: who may go out, how many may come in, who may log in, and that nobody is locked out."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually

from lab.topology import KEY, PROJECT

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("open")
except ConnectionRefusedError:
    print("refused")
except OSError as error:
    print(type(error).__name__)
"""

CROWD = """
import socket, sys
held = []
for _ in range(int(sys.argv[3])):
    caller = socket.socket()
    caller.setblocking(False)
    caller.connect_ex((sys.argv[1], int(sys.argv[2])))
    held.append(caller)
import select, time
limit, up = int(sys.argv[4]), set()
patience, quiet = time.monotonic() + 60, None
while time.monotonic() < patience and (quiet is None or time.monotonic() < quiet):
    ready = select.select([], [caller for caller in held if caller not in up], [], 0.5)[1]
    up |= {caller for caller in ready if not caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)}
    if len(up) >= limit and quiet is None:
        quiet = time.monotonic() + 4  # a caller that was dropped tries again after 1 and 3 seconds
print(len(up))
"""


def connect(gateway: Gateway, user: str, address: str, port: int) -> str:
    """What happens when a user's program on the gateway calls out."""
    command = ["python3", "-", address, str(port)]
    return gateway.run(*(command if user == "root" else ["setuidgid", user, *command]), stdin=CONNECT).strip()


@pytest.mark.parametrize("family", [4, 6])
def test_qmails_remote_user_alone_may_reach_other_mail_servers(gateway: Gateway, outside: Peer, family: int) -> None:
    address = outside.ipv4 if family == 4 else outside.ipv6
    assert connect(gateway, "qmailr", address, 25) == "open"
    assert {connect(gateway, user, address, 25) for user in ("root", "qmaild", "gatescan")} <= {
        "TimeoutError",
        "PermissionError",
        "OSError",
    }


def test_qmails_remote_user_reaches_no_other_port(gateway: Gateway, outside: Peer) -> None:
    assert connect(gateway, "root", outside.ipv4, 22) not in ("open", "refused")
    assert connect(gateway, "qmailr", outside.ipv4, 22) not in ("open", "refused")


def counter(gateway: Gateway, name: str) -> int:
    """Packets that one of the firewall's counters has seen."""
    found = re.search(r"packets (\d+)", gateway.run("nft", "list", "counter", "inet", "gatewright", name))
    assert found
    return int(found[1])


def test_what_is_dropped_is_counted(gateway: Gateway, outside: Peer) -> None:
    sent, received = counter(gateway, "dropped_out"), counter(gateway, "dropped_in")
    connect(gateway, "root", outside.ipv4, 25)
    assert counter(gateway, "dropped_out") > sent
    outside.run("python3", "-", gateway.ipv4, "80", stdin=CONNECT)
    assert counter(gateway, "dropped_in") > received


def test_one_source_holds_no_more_connections_than_allowed(gateway: Gateway, outside: Peer, office: Peer) -> None:
    limit = 40  # firewall_rates of the lab's inventory
    before = counter(gateway, "smtp_over_count")
    crowd = outside.run("python3", "-", gateway.ipv4, "25", str(limit + 8), str(limit), stdin=CROWD)
    assert int(crowd) == limit
    assert counter(gateway, "smtp_over_count") > before
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test").code == 250, what="the door opens again")


def test_sshd_takes_keys_and_no_passwords(gateway: Gateway) -> None:
    options = [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
        "-i",
        str(KEY),
    ]

    def login(*more: str) -> subprocess.CompletedProcess[str]:
        command = [
            "ssh",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            *options,
            *more,
            f"root@{gateway.ipv4}",
            "true",
        ]
        return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)

    assert login().returncode == 0
    refused = login("-o", "PubkeyAuthentication=no")
    assert refused.returncode == 255
    assert re.search(r"Permission denied \(publickey\)", refused.stderr), refused.stderr
    effective = gateway.run("sshd", "-T").splitlines()
    for line in ("passwordauthentication no", "kbdinteractiveauthentication no", "permitemptypasswords no"):
        assert line in effective


def test_old_algorithms_are_refused(gateway: Gateway) -> None:
    command = [
        "ssh",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-i",
        str(KEY),
    ]
    old = ["-o", "KexAlgorithms=diffie-hellman-group14-sha256"]
    done = subprocess.run([*command, *old, f"root@{gateway.ipv4}", "true"], capture_output=True, text=True)
    assert done.returncode == 255 and "no matching key exchange method" in done.stderr


def test_rules_that_would_lock_the_administrator_out_are_taken_back_by_the_host_itself(
    gateway: Gateway, outside: Peer
) -> None:
    told = playbook("tests/guard/lockout.yml", gateway.name)
    assert "See that the host came back by itself" in told.output
    assert outside.send(gateway.ipv4, "user@corp.test").code == 250


def test_sshd_moves_to_another_port_and_back_and_the_old_one_closes(
    gateway: Gateway, outside: Peer, tmp_path: Path
) -> None:
    tags = ("--tags", "survey,firewall,sshd")
    site = "playbooks/site.yml"
    try:
        playbook(site, gateway.name, *tags, variables={"sshd_port": 2222})
        assert ":2222 " in gateway.run("ss", "-Hlnt") and ":22 " not in gateway.run("ss", "-Hlnt")
        assert outside.run("python3", "-", gateway.ipv4, "22", stdin=CONNECT).strip() not in ("open", "refused")
        # the inventory says nothing of the new port yet
        assert playbook(site, gateway.name, *tags, variables={"sshd_port": 2222}).changed(gateway.name) == 0
    finally:
        here = tmp_path / "hosts.yml"
        here.write_text(f"gateways: {{hosts: {{{gateway.name}: {{ansible_port: 2222, sshd_port: 22}}}}}}\n")
        playbook(site, gateway.name, "-i", f"{PROJECT}/inventory/lab", "-i", str(here), *tags)
    assert ":22 " in gateway.run("ss", "-Hlnt") and ":2222 " not in gateway.run("ss", "-Hlnt")
    assert playbook(site, gateway.name, *tags).changed(gateway.name) == 0


def log_in(gateway: Gateway, outside: Peer, user: str) -> str:
    """What ssh says when a user with the lab's key runs `id -un` from outside."""
    order = (
        f"ssh -i key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        f" -o LogLevel=ERROR {user}@{gateway.ipv4}"
    )
    gateway.run("fail2ban-client", "unban", "--all")  # each refusal counts as a guess
    script = f"umask 077; cd $(mktemp -d) && cat > key && {order} id -un 2>&1; rm key"
    return outside.run("sh", "-c", script, stdin=KEY.read_text(), check=False).strip().splitlines()[-1]


def give_key(gateway: Gateway, user: str, home: str) -> None:
    """Let the lab's key in as a user."""
    keys = f"{home}/.ssh"
    write = f"umask 077; mkdir -p {keys} && cat > {keys}/authorized_keys && chown -R {user}: {keys}"
    gateway.run("sh", "-c", write, stdin=KEY.with_suffix(".pub").read_text())


def test_users_of_services_may_not_log_in_whatever_keys_they_have(gateway: Gateway, outside: Peer) -> None:
    give_key(gateway, "alias", "/var/qmail/alias")
    try:
        told = log_in(gateway, outside, "alias")
    finally:
        gateway.run("rm", "-r", "/var/qmail/alias/.ssh")
    assert "Permission denied (publickey)" in told, told


@pytest.fixture
def administrator(gateway: Gateway) -> Iterator[str]:
    """Somebody who may become root by sudo, and comes with the lab's key."""
    name = "gwadmin"
    rule = f"/etc/sudoers.d/{name}"
    gateway.sh(f"useradd -m -s /bin/bash -G sudo {name}; echo '{name} ALL=(ALL) NOPASSWD: ALL' > {rule}")
    give_key(gateway, name, f"/home/{name}")
    yield name
    gateway.run("fail2ban-client", "unban", "--all")
    gateway.sh(f"rm {rule}; pkill -u {name}; userdel -rf {name} 2>/dev/null", check=False)


def test_only_those_who_may_become_root_may_log_in(gateway: Gateway, outside: Peer, administrator: str) -> None:
    assert log_in(gateway, outside, administrator) == administrator
    gateway.run("gpasswd", "--delete", administrator, "sudo")
    assert "Permission denied (publickey)" in log_in(gateway, outside, administrator)


def test_root_may_not_log_in_where_the_playbook_comes_as_somebody_else(
    gateway: Gateway, outside: Peer, administrator: str
) -> None:
    come = {"ansible_user": administrator, "ansible_become": True}
    assert log_in(gateway, outside, "root") == "root"
    try:
        assert playbook("playbooks/site.yml", gateway.name, "--tags=sshd", variables=come).changed(gateway.name) == 1
        assert "Permission denied (publickey)" in log_in(gateway, outside, "root")
    finally:
        back = come | {"sshd_permit_root_login": "prohibit-password"}
        playbook("playbooks/site.yml", gateway.name, "--tags=sshd", variables=back)
        playbook("playbooks/site.yml", gateway.name, "--tags=sshd")
    assert log_in(gateway, outside, "root") == "root"
