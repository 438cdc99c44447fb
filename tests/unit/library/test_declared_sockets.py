"""declared_sockets: a listener that nobody declared is named, and so is a declared one that is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from on_gateway.listeners import covers

from tests.modules import run_module

SSHD = {"proto": "tcp", "port": 22, "owner": "sshd"}
DNSCACHE = {"proto": "udp", "port": 53, "owner": "dnscache", "address": "127.0.0.1"}
LISTENING = """\
udp   UNCONN 0 0      127.0.0.1:53    0.0.0.0:*    users:(("dnscache",pid=312,fd=3))
tcp   LISTEN 0 128      0.0.0.0:22    0.0.0.0:*    users:(("sshd",pid=201,fd=3))
tcp   LISTEN 0 128         [::]:22       [::]:*    users:(("sshd",pid=201,fd=4))
"""


def run(
    tmp_path: Path,
    declared: list[dict[str, Any]],
    listening: str = LISTENING,
    check: bool = False,
    seconds: int = 0,
    program: str = "",
) -> Any:
    """Run the module on a host whose ss prints `listening`."""
    ss = tmp_path / "ss"
    ss.write_text(program or f"#!/bin/sh\ncat <<'END'\n{listening}END\n")
    ss.chmod(0o755)
    return run_module("declared_sockets", {"declared": declared, "seconds": seconds}, check, programs=tmp_path)


def test_every_socket_is_listed_with_its_owner_and_nothing_is_amiss(tmp_path: Path) -> None:
    result = run(tmp_path, [SSHD, DNSCACHE])
    assert not result.get("failed")
    assert result["changed"] is False
    assert result["sockets"] == ["tcp 0.0.0.0 22 sshd", "tcp :: 22 sshd", "udp 127.0.0.1 53 dnscache"]


def test_a_listener_that_nobody_declared_is_named(tmp_path: Path) -> None:
    rogue = 'tcp LISTEN 0 5 127.0.0.1%lo:8000 0.0.0.0:* users:(("python3",pid=999,fd=3),("sh",pid=998,fd=3))\n'
    result = run(tmp_path, [SSHD, DNSCACHE], LISTENING + rogue)
    assert result["failed"]
    assert result["undeclared"] == ["tcp 127.0.0.1 8000 python3"]
    assert "not declared: tcp 127.0.0.1 8000 python3" in result["msg"]


def test_a_declared_socket_that_is_missing_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, [SSHD, DNSCACHE, {"proto": "tcp", "port": 25, "owner": "tcpserver"}])
    assert result["failed"]
    assert result["missing"] == ["tcp * 25 tcpserver"]
    assert "declared, but not there: tcp * 25 tcpserver" in result["msg"]


def test_a_service_that_is_just_starting_gets_its_time(tmp_path: Path) -> None:
    """Its supervise has started it again; it binds a moment later."""
    late = tmp_path / "late"
    late.mkdir()
    program = f"""#!/bin/sh
[ -e {late}/asked ] && cat <<'END'
{LISTENING}END
: > {late}/asked
"""
    assert not run(tmp_path, [SSHD, DNSCACHE], program=program, seconds=30).get("failed")


def test_a_dhcp_client_needs_no_declaration(tmp_path: Path) -> None:
    client = 'udp UNCONN 0 0 192.0.2.5%eth0:68 0.0.0.0:* users:(("systemd-network",pid=99,fd=3))\n'
    assert not run(tmp_path, [SSHD, DNSCACHE], LISTENING + client).get("failed")
    assert run(tmp_path, [SSHD, DNSCACHE], LISTENING + client.replace(":68", ":69"))["undeclared"]


def test_a_program_on_loopback_may_be_declared_whatever_its_port(tmp_path: Path) -> None:
    random = 'tcp LISTEN 0 5 127.0.0.1:39711 0.0.0.0:* users:(("containerd",pid=999,fd=3))\n'
    containerd = {"proto": "tcp", "owner": "containerd", "address": "127.0.0.1"}
    assert not run(tmp_path, [SSHD, DNSCACHE, containerd], LISTENING + random).get("failed")
    assert not run(tmp_path, [SSHD, DNSCACHE, containerd]).get("failed"), "it need not be there"
    outside = random.replace("127.0.0.1", "0.0.0.0")
    assert run(tmp_path, [SSHD, DNSCACHE, containerd], LISTENING + outside)["undeclared"]


def test_no_program_may_be_declared_on_any_port_towards_others(tmp_path: Path) -> None:
    result = run(tmp_path, [SSHD, DNSCACHE, {"proto": "tcp", "owner": "containerd"}])
    assert result["failed"] and "containerd" in result["msg"] and "loopback" in result["msg"]


def test_check_mode_reports_and_does_not_fail(tmp_path: Path) -> None:
    result = run(tmp_path, [SSHD], check=True)
    assert not result.get("failed")
    assert result["undeclared"] == ["udp 127.0.0.1 53 dnscache"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"port": 23}, "port"),
        ({"proto": "udp"}, "protocol"),
        ({"owner": "dropbear"}, "owner"),
        ({"address": "127.0.0.1"}, "address"),
    ],
)
def test_a_declaration_covers_only_what_it_says(changed: dict[str, Any], what: str) -> None:
    socket = ("tcp", "0.0.0.0", 22, "sshd")
    assert covers(SSHD, socket, set())
    assert not covers(SSHD | changed, socket, set()), what


def test_a_hidden_owner_counts_only_if_such_a_program_runs_out_of_sight() -> None:
    socket = ("tcp", "0.0.0.0", 22, "hidden")
    assert covers(SSHD, socket, {"sshd", "tcpserver"})
    assert not covers(SSHD, socket, {"tcpserver"})
