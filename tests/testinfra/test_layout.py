"""The places, users and rights of the paper's system: what an administrator who knows it looks for."""

from __future__ import annotations

import pytest
from lab_hosts import Gateway

USERS = {
    "alias": "nofiles", "qmaild": "nofiles", "qmaill": "nofiles", "qmailp": "nofiles",
    "qmailq": "qmail", "qmailr": "qmail", "qmails": "qmail",
}  # users of a group share a line # fmt: skip
SERVICES = {
    "dnscache": "/etc/dnscache",
    "qmail-send": "/var/qmail/supervise/qmail-send",
    "qmail-smtpd": "/var/qmail/supervise/qmail-smtpd",
}
RUNS_AS = {
    "tcpserver": "qmaild",
    "dnscache": "dnscache",
    "qmail-rspawn": "qmailr",
    "qmail-clean": "qmailq",
    "qmail-send": "qmails",
    "qmail-lspawn": "root",
}
SETUID = {
    "/usr/bin/chfn", "/usr/bin/chsh", "/usr/bin/gpasswd", "/usr/bin/mount", "/usr/bin/newgrp", "/usr/bin/passwd",
    "/usr/bin/su", "/usr/bin/umount", "/usr/lib/dbus-1.0/dbus-daemon-launch-helper", "/usr/lib/openssh/ssh-keysign",
    "/usr/bin/sudo",
}  # names, many a line # fmt: skip
"""What Debian itself brings. Gatewright may take some of it away, and brings only qmail's own."""


def test_qmails_users_are_in_their_groups_and_cannot_log_in(gateway: Gateway) -> None:
    accounts = [line.split(":") for line in gateway.run("getent", "passwd", *USERS).splitlines()]
    groups = {line.split(":")[2]: line.split(":")[0] for line in gateway.run("getent", "group").splitlines()}
    assert {fields[0]: groups[fields[3]] for fields in accounts} == USERS
    assert {fields[6] for fields in accounts} <= {"/usr/sbin/nologin", "/bin/false"}
    passwords = [line.split(":")[1] for line in gateway.run("getent", "shadow", *USERS).splitlines()]
    assert len(passwords) == len(USERS) and all(word[:1] in ("!", "*") for word in passwords)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_and_its_log_are_supervised(gateway: Gateway, service: str) -> None:
    link = gateway.shell.file(f"/service/{service}")
    assert link.is_symlink and link.linked_to == SERVICES[service]
    shown = gateway.run("/command/svstat", f"/service/{service}", f"/service/{service}/log").splitlines()
    assert all(": up (pid " in line for line in shown), shown


def test_tools_are_in_path(gateway: Gateway) -> None:
    tools = "svstat svc tcprules qmailctl qmail-scanner-queue gatescan"
    missing = gateway.sh(f"for tool in {tools}; do command -v $tool >/dev/null || echo $tool; done")
    assert missing.split() == []


@pytest.mark.parametrize("path", ["/var/log/qmail", "/var/log/qmail/smtpd"])
def test_logs_are_qmaills(gateway: Gateway, path: str) -> None:
    assert gateway.shell.file(path).user == "qmaill"
    assert gateway.shell.file(f"{path}/current").user == "qmaill"
    assert gateway.shell.file(path).mode & 0o007 == 0


def test_each_program_runs_as_its_own_user(gateway: Gateway) -> None:
    lines = gateway.run("ps", "-eo", "user:32=,args=").splitlines()
    running = {line.split()[1].rsplit("/")[-1]: line.split()[0] for line in lines if len(line.split()) > 1}
    if gateway.has_standin:
        pytest.skip("the stand-in has fewer processes than qmail")
    assert {name: running.get(name) for name in RUNS_AS} == RUNS_AS


def test_the_scanner_stands_before_the_queue(gateway: Gateway) -> None:
    program = gateway.run("cat", "/var/qmail/supervise/qmail-smtpd/env/QMAILQUEUE").strip()
    assert program == "/usr/lib/gatescan/gatescan-queue"
    assert gateway.shell.file(program).mode & 0o7111 == 0o111, "it runs for all, and is set-uid for none"


def test_nothing_is_set_uid_but_debians_own_and_qmail_queue(gateway: Gateway) -> None:
    found = set(gateway.run("find", "/", "-xdev", "-type", "f", "-perm", "-4000").split())
    ours = set() if gateway.has_standin else {"/var/qmail/bin/qmail-queue"}
    assert found - SETUID == ours
    if ours:
        queue = gateway.shell.file("/var/qmail/bin/qmail-queue")
        assert (queue.user, queue.group, queue.mode) == ("qmailq", "qmail", 0o4711)


def test_no_compiler_is_left(gateway: Gateway) -> None:
    names = "gcc cc c99 clang tcc make as ld g++"
    assert gateway.sh(f"for name in {names}; do command -v $name; done; true") == ""
    assert gateway.sh("ls /usr/include/stdio.h 2>/dev/null; true") == ""


@pytest.mark.parametrize("name", ["/usr/sbin/sendmail", "/usr/lib/sendmail"])
def test_sendmail_is_qmails(gateway: Gateway, name: str) -> None:
    assert gateway.run("readlink", "-f", name).strip() == "/var/qmail/bin/sendmail"


def test_concurrency_and_limits_are_in_force(gateway: Gateway) -> None:
    command = gateway.sh("tr '\\0' ' ' < /proc/$(pidof -s tcpserver)/cmdline")
    limit = gateway.run("cat", "/var/qmail/control/concurrencyincoming").strip()
    for words in ("-v", "-R", "-l ", "-x /etc/tcp.smtp.cdb", f"-c {limit}", "/usr/lib/gatewright/smtp-slots "):
        assert words in command
    status = gateway.sh("cat /proc/$(pidof -s tcpserver)/limits")
    soft = next(line.split()[3] for line in status.splitlines() if line.startswith("Max address space"))
    assert soft.isdecimal()


def test_the_queue_is_closed_to_others(gateway: Gateway) -> None:
    if gateway.has_standin:
        pytest.skip("the stand-in's qmail-queue is interpreted and cannot be set-uid: everybody may put a file in")
    queue = gateway.shell.file("/var/qmail/queue")
    assert (queue.user, queue.group, queue.mode & 0o007) == ("qmailq", "qmail", 0)


def test_no_service_user_can_write_in_its_home(gateway: Gateway) -> None:
    """A file such as .qmail in a home is an instruction to another program; a worker that is taken over leaves none."""
    users = gateway.sh("awk '$1 == \"u\" { print $2 }' /etc/sysusers.d/gatewright.conf").split()
    assert "gatescan" in users
    for user in users:
        home = gateway.sh(f"getent passwd {user} | cut -d: -f6").strip()
        owner = gateway.sh(f"[ ! -e {home} ] || stat -c %U {home}").strip()
        assert owner in ("", "root"), (user, home)
        assert gateway.sh(f"setuidgid {user} test -w {home} && echo yes || true").strip() == "", (user, home)
