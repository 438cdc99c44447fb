"""Hardening as its user would notice it: what is refused, what is closed, and that mail goes on all the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token

PERSON = "gwperson"
GOOD_PASSWORD = "Tr4vel!ing-Qu1etly_n0rth"

# Asks PAM as login does, but for the seconds after a wrong password: service, user, password; the exit status says
# whether it lets in.
ASK_PAM = r"""
import ctypes, sys
pam, libc = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None)
libc.strdup.restype = libc.calloc.restype = ctypes.c_void_p
class Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]
TALK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
@TALK
def talk(count, messages, answers, data):
    block = libc.calloc(count, ctypes.sizeof(Response))
    for response in (Response * count).from_address(block):
        response.text = libc.strdup(sys.argv[3].encode())
    answers[0] = block
    return 0
class Conversation(ctypes.Structure):
    _fields_ = [("talk", TALK), ("data", ctypes.c_void_p)]
handle = ctypes.c_void_p()
pam.pam_start(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(Conversation(talk, None)), ctypes.byref(handle))
go_on = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)(lambda *told: None)
pam.pam_set_item(handle, 10, go_on)  # PAM_FAIL_DELAY
result = pam.pam_authenticate(handle, 0) or pam.pam_acct_mgmt(handle, 0)
sys.exit(1 if result else 0)
"""


@pytest.fixture
def person(gateway: Gateway) -> Iterator[str]:
    """A user with a good password, gone after the test, and forgotten by pam_pwhistory."""
    remove = f"faillock --user {PERSON} --reset; userdel -r {PERSON}; sed -i /^{PERSON}:/d /etc/security/opasswd"
    gateway.sh(f"{remove}; useradd -m -s /bin/bash {PERSON} && chage -m 0 {PERSON}", check=False)
    gateway.run("chpasswd", stdin=f"{PERSON}:{GOOD_PASSWORD}\n")
    yield PERSON
    gateway.sh(remove, check=False)


def lets_in(gateway: Gateway, user: str, password: str) -> bool:
    """Whether PAM takes a password for a login."""
    script = 'python3 - "$@" && echo in || echo out'
    return gateway.run("sh", "-c", script, "sh", "login", user, password, stdin=ASK_PAM).strip() == "in"


def test_no_unit_has_failed(gateway: Gateway) -> None:
    assert gateway.run("systemctl", "--failed", "--plain", "--no-legend") == ""


# Accounts


def test_a_weak_or_a_used_password_is_refused(gateway: Gateway, person: str) -> None:
    for weak in ("short1!A", "alllowercaseletters", GOOD_PASSWORD):
        answer = gateway.run("sh", "-c", "chpasswd 2>&1 && echo taken || echo refused", stdin=f"{person}:{weak}\n")
        assert answer.splitlines()[-1] == "refused", (weak, answer)
    assert lets_in(gateway, person, GOOD_PASSWORD), "the old one still holds"


def test_wrong_passwords_close_an_account(gateway: Gateway, person: str) -> None:
    assert lets_in(gateway, person, GOOD_PASSWORD)
    for _ in range(3):
        assert not lets_in(gateway, person, "wrong")
    assert not lets_in(gateway, person, GOOD_PASSWORD), "closed, even for the right one"
    gateway.run("faillock", "--user", person, "--reset")
    assert lets_in(gateway, person, GOOD_PASSWORD)


def test_an_account_without_a_password_stays_out(gateway: Gateway, person: str) -> None:
    gateway.run("passwd", "-d", person)
    assert not lets_in(gateway, person, "")


def test_sessions_keep_files_to_themselves_but_for_roots(gateway: Gateway, person: str) -> None:
    assert gateway.run("su", "-", person, "-c", "umask").strip() == "0027"
    assert gateway.run("su", "-", "root", "-c", "umask").strip() == "0022", "daemons must read what root writes"
    assert gateway.run("su", "-", person, "-c", "ulimit -H -c").strip() == "0", "no core dumps"


def test_only_root_may_use_su_and_cron(gateway: Gateway, person: str) -> None:
    order = f"setpriv --reuid={person} --regid={person} --clear-groups"
    assert gateway.sh(
        f"echo '{GOOD_PASSWORD}' | {order} su - {person} -c true 2>&1 && echo let || echo refused"
    ).endswith("refused\n")
    assert "not allowed" in gateway.sh(f"{order} crontab -l 2>&1 || true")


def test_set_id_programs_are_the_declared_ones(gateway: Gateway) -> None:
    found = set(gateway.run("find", "/", "-xdev", "-type", "f", "-perm", "/6000").split())
    known = {
        "crontab",
        "passwd",
        "ssh-agent",
        "su",
        "sudo",
        "dbus-daemon-launch-helper",
        "unix_chkpwd",
    }
    ours = set() if gateway.has_standin else {"qmail-queue"}
    assert {path.rpartition("/")[2] for path in found} - known == ours


def test_a_set_id_program_that_nobody_declared_is_named_and_may_stop_a_run(gateway: Gateway) -> None:
    program = "/usr/local/bin/gw-probe"
    gateway.sh(f"cp /usr/bin/id {program} && chmod 4755 {program}")
    run = ("playbooks/site.yml", gateway.name, "--tags", "hardening_setid")
    try:
        told = playbook(*run).output
        refused = playbook(*run, variables={"hardening_setid_unknown": "refuse"}, succeeds=False).output
    finally:
        gateway.run("rm", program)
    assert all(
        f"Set-id programs that nobody declared: {program}" in " ".join(output.split()) for output in (told, refused)
    )


def test_an_upgrade_brings_no_set_id_bit_back(gateway: Gateway) -> None:
    stripped = [line.split() for line in gateway.run("dpkg-statoverride", "--list").splitlines()]
    paths = [path for _, _, mode, path in stripped if mode == "755"]
    assert len(paths) >= 5
    gateway.run("dpkg-query", "--search", *paths)  # fails for a path that dpkg knows by another name


# Logs, time and integrity


def test_the_mail_logs_are_for_the_group_that_reads_logs(gateway: Gateway, person: str) -> None:
    order = f"setpriv --reuid={person} --regid={person}"
    for path in ("/var/log/qmail/current", "/var/log/qmail/smtpd/current", "/var/log/gatescan/daemon/current"):
        assert gateway.sh(f"{order} --groups=adm cat {path} >/dev/null && echo read") == "read\n", path
        assert gateway.sh(f"{order} --clear-groups cat {path} 2>/dev/null || echo refused") == "refused\n", path


def test_the_clock_is_kept_or_in_a_container_watched(gateway: Gateway) -> None:
    assert gateway.run("systemctl", "is-active", "chrony").strip() == "active"
    arguments = gateway.run("ps", "-o", "args=", "-C", "chronyd").splitlines()[0].split()
    assert ("-x" in arguments) == (not gateway.host.is_virtual), "a container's clock is the machine's"


def test_logs_are_kept_and_closed_to_others(gateway: Gateway) -> None:
    mark = token()
    gateway.run("logger", mark)
    eventually(lambda: mark in gateway.run("cat", "/var/log/syslog", check=False), what="the line in /var/log/syslog")
    assert gateway.run("stat", "-c", "%a", "/var/log/syslog").strip() == "640"
    assert mark in gateway.run("journalctl", "--directory=/var/log/journal", "--no-pager", "-n", "500")


def test_a_changed_program_is_noticed(gateway: Gateway) -> None:
    gateway.run("touch", "/usr/local/sbin/gw-stranger")
    try:
        report = gateway.run("aide", "--config", "/etc/aide/aide.conf", "--check", check=False)
    finally:
        gateway.run("rm", "/usr/local/sbin/gw-stranger")
    assert re.search(r"^f\++.*: /usr/local/sbin/gw-stranger$", report, re.M), report[:2000]
    assert gateway.run("systemctl", "is-active", "aidecheck.timer").strip() == "active"


def test_services_that_start_again_are_nothing_that_the_integrity_check_reports(gateway: Gateway) -> None:
    gateway.run("gatewright-integrity", "update")
    gateway.sh("PATH=/command:$PATH; svc -t /service/* /service/*/log; sleep 1; systemctl restart svscan")
    eventually(lambda: gateway.is_up("qmail-send") and gateway.is_up("dnscache"), what="services that are up again")
    report = gateway.run("aide", "--config", "/etc/aide/aide.conf", "--check", check=False)
    assert not re.findall(r"^[fdl].*: /(?:etc|var/qmail)/.*$", report, re.M), report[:3000]


def test_a_run_that_changed_files_renews_the_baseline_and_notes_what_differed(gateway: Gateway) -> None:
    gateway.run("gatewright-integrity", "update")
    assert gateway.run("gatewright-integrity", "settle") == "", "nothing is newer"
    gateway.run("touch", "/usr/local/sbin/gw-wanted")
    try:
        assert "being renewed" in gateway.run("gatewright-integrity", "settle")
        eventually(lambda: gateway.run("pgrep", "-x", "aide", check=False), 120, "it reads")
        gateway.run("touch", "/usr/local/sbin/gw-wanted-meanwhile")
        unit, notes = "aiderenew.service", ("cat", "/var/lib/aide/renewal.log")
        eventually(lambda: "/usr/local/sbin/gw-wanted\n" in gateway.run(*notes, check=False), 120, "it is noted")
        eventually(lambda: gateway.run("systemctl", "is-active", unit, check=False).strip() == "inactive", 120, unit)
        assert "/usr/local/sbin/gw-wanted-meanwhile\n" in gateway.run(*notes), "what changed while it read"
        assert gateway.run("gatewright-integrity", "settle") == ""
    finally:
        gateway.sh("rm -f /usr/local/sbin/gw-wanted*; gatewright-integrity update")


# Upkeep


def test_only_security_updates_come_by_themselves(gateway: Gateway) -> None:
    settings = gateway.run("apt-config", "dump")
    origins = re.findall(r'^Unattended-Upgrade::Origins-Pattern:: "(.*)";', settings, re.M)
    assert origins and all("label=Debian-Security" in origin for origin in origins)
    assert 'APT::Periodic::Unattended-Upgrade "1";' in settings
    assert 'Unattended-Upgrade::Automatic-Reboot "false";' in settings


def test_no_reboot_unless_an_update_asks_for_it(gateway: Gateway) -> None:
    before = gateway.run("cut", "-d ", "-f22", "/proc/1/stat")
    gateway.run("systemctl", "start", "gatewright-reboot.service")
    assert gateway.run("systemctl", "show", "-P", "ConditionResult", "gatewright-reboot.service").strip() == "no"
    assert gateway.run("cut", "-d ", "-f22", "/proc/1/stat") == before
    assert gateway.run("systemctl", "is-active", "gatewright-reboot.timer").strip() == "active"


def test_a_host_that_guesses_may_still_send_mail_only(gateway: Gateway, outside: Peer) -> None:
    guesser = outside.address(31)
    knock = f"import socket; socket.create_connection(('{gateway.ipv4}', %d), 5, ('{guesser}', 0))"
    outside.run("python3", "-c", knock % 22)
    gateway.run("fail2ban-client", "set", "sshd", "banip", guesser)
    try:
        with pytest.raises(AssertionError, match=r"timed out|refused"):
            outside.run("python3", "-c", knock % 22)
        outside.run("python3", "-c", knock % 25)
    finally:
        gateway.run("fail2ban-client", "set", "sshd", "unbanip", guesser)
    outside.run("python3", "-c", knock % 22)


# Kernel


def test_kernel_parameters_are_set_where_they_may_be(gateway: Gateway) -> None:
    wanted = dict(re.findall(r"^(net\.\S+) = (\S+)$", gateway.run("cat", "/etc/sysctl.d/zz-gatewright.conf"), re.M))
    assert wanted["net.ipv4.conf.all.rp_filter"] == "1"
    if gateway.sh("findmnt -no OPTIONS /proc/sys || true").startswith("ro"):
        pytest.skip("/proc/sys is read-only in this container")
    live = {name: gateway.sh(f"cat /proc/sys/{name.replace('.', '/')} 2>/dev/null || true").strip() for name in wanted}
    assert {name: live[name] for name in wanted if live[name]} == {name: wanted[name] for name in wanted if live[name]}


def test_a_switched_off_module_is_not_loaded(gateway: Gateway) -> None:
    if not gateway.shell.exists("modprobe"):
        pytest.skip("a container has no modprobe: modules are the machine's")
    assert "install /bin/false" in gateway.run("modprobe", "--dry-run", "--verbose", "usb-storage")
