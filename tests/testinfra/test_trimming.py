"""What a mail gateway does not need is gone and stays gone, without harm to what depends on a mail server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token

OTHER_SERVERS = r"^(exim4-daemon-.*|postfix|sendmail(-bin)?|nullmailer|msmtp-mta|opensmtpd|dma)$"
PAPER = ("atd", "nfs-common", "gpm", "rpcbind", "sendmail", "lpd", "xfs", "xinetd")
PORT = 4444


@pytest.fixture
def rogue(gateway: Gateway) -> Iterator[int]:
    """A listener that nobody declared."""
    script = f"import socket, time; s = socket.create_server(('', {PORT})); time.sleep(300)"
    gateway.sh(f'setsid sh -c \'echo $$ > /run/rogue.pid; exec python3 -c "$0"\' "{script}" > /dev/null 2>&1 &')
    eventually(lambda: gateway.run("ss", "-Hltn", f"sport = :{PORT}").strip(), what="the rogue listens")
    yield PORT
    gateway.sh("kill -KILL $(cat /run/rogue.pid); rm /run/rogue.pid")
    eventually(lambda: not gateway.run("ss", "-Hltn", f"sport = :{PORT}").strip(), what="the rogue is gone")


def test_other_mail_servers_are_gone(gateway: Gateway) -> None:
    installed = gateway.sh("dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | sed -n 's/^installed //p'")
    found = gateway.shell.run(f"printf '%s' '{installed}' | grep -E '{OTHER_SERVERS}'")
    assert found.stdout == ""
    assert gateway.run("readlink", "-f", "/usr/sbin/sendmail").strip() == "/var/qmail/bin/sendmail"
    assert gateway.sh("pgrep -x exim4 || pgrep -x master || true") == ""


def test_what_depends_on_a_mail_server_is_still_there_and_works(gateway: Gateway, office: Peer) -> None:
    assert gateway.shell.package("bsd-mailx").is_installed
    gateway.run("apt-get", "-q", "check")
    mark = token()
    gateway.run("mail", "-s", mark, "root", stdin=f"{mark}\n")
    assert office.arrived(mark)["Subject"] == mark


def test_trimmed_units_are_masked_and_cannot_be_started(gateway: Gateway) -> None:
    units = [f"{name}.service" for name in PAPER]
    assert gateway.run("systemctl", "is-enabled", *units, check=False).split() == ["masked"] * len(units)
    assert gateway.run("systemctl", "is-active", *units, check=False).split() == ["inactive"] * len(units)
    started = gateway.shell.run(f"systemctl start {units[0]}")
    assert started.rc != 0 and "masked" in started.stderr


def test_a_trimmed_services_socket_is_masked_too(gateway: Gateway) -> None:
    assert gateway.run("systemctl", "is-enabled", "rpcbind.socket", check=False).strip() in ("masked", "not-found")
    assert not gateway.run("ss", "-Hlntu", "sport = :111").strip()


def test_a_socket_that_nobody_declared_is_named(gateway: Gateway, rogue: int) -> None:
    told = playbook("playbooks/site.yml", gateway.name, "--tags", "service_trimming_sockets", succeeds=False)
    assert "not declared: tcp" in told.output
    assert f" {rogue} " in told.output and "python3" in told.output
    allowed: dict[str, object] = {
        "service_trimming_allowed_sockets": [{"proto": "tcp", "port": rogue, "owner": "python3"}]
    }
    playbook("playbooks/site.yml", gateway.name, "--tags", "service_trimming_sockets", variables=allowed)
