"""For whom the gateway takes mail, and what a session may cost: real sessions from other hosts."""

from __future__ import annotations

import pytest
from lab_hosts import Gateway, Peer, eventually, token

ODD = [
    "victim%world.test@corp.test", "victim@world.test@corp.test", '"victim@world.test"@corp.test',
    '"victim%world.test"@corp.test', "world.test!victim@corp.test", "victim@world.test\t@corp.test",
    "victim\\@world.test@corp.test", "victim@world.test\\@corp.test",
]  # short cases, many a line # fmt: skip
KEYGRAB = """
import ctypes, os, socket, threading, time
libc = ctypes.CDLL(None, use_errno=True)
end, seen, got = time.time() + 10, set(), 0
def poke():
    while time.time() < end:
        try:
            with socket.create_connection(("127.0.0.1", 25), 3) as wire:
                wire.recv(50)
                wire.sendall(b"QUIT\\r\\n")
        except OSError:
            time.sleep(0.05)
for _ in range(3):
    threading.Thread(target=poke, daemon=True).start()
while time.time() < end and not got:
    for name in os.listdir("/proc"):
        try:
            if not name.isdigit() or name in seen or open(f"/proc/{name}/comm").read().strip() != "starttls-smtpd":
                continue
        except OSError:
            continue
        seen.add(name)
        pid = libc.syscall(434, int(name), 0)
        if pid >= 0:
            got += libc.syscall(438, pid, 9, 0) >= 0
            os.close(pid)
print(len(seen), got)
"""


def talk(peer: Peer, server: str, *lines: str) -> list[str]:
    """The replies to these lines, said at once."""
    script = (
        "import socket, sys\n"
        "wire = socket.create_connection((sys.argv[1], 25), 20)\n"
        "wire.sendall(sys.stdin.buffer.read())\n"
        "wire.shutdown(socket.SHUT_WR)\n"
        "print(wire.makefile('rb').read().decode('latin-1'))\n"
    )
    said = "".join(f"{line}\r\n" for line in lines)
    return peer.run("python3", "-c", script, server, stdin=said).splitlines()


def rcpt(peer: Peer, gateway: Gateway, *recipients: str) -> list[str]:
    """The replies to these recipients in one session."""
    lines = [f"RCPT TO:<{recipient}>" for recipient in recipients]
    replies = talk(peer, gateway.ipv4, "EHLO x", "MAIL FROM:<someone@world.test>", *lines)
    return [reply for reply in replies if reply][-len(lines) :]


def test_recipients_that_an_office_might_send_on_are_refused(gateway: Gateway, outside: Peer) -> None:
    assert [reply[:3] for reply in rcpt(outside, gateway, *ODD)] == ["553"] * len(ODD)
    assert rcpt(outside, gateway, "user@corp.test") == ["250 ok"]


def test_a_message_has_so_many_recipients_and_no_more(gateway: Gateway, outside: Peer) -> None:
    replies = rcpt(outside, gateway, *[f"u{number}@corp.test" for number in range(300)])
    assert [reply[:3] for reply in replies] == ["250"] * 100 + ["452"] * 200


def test_the_largest_message_is_announced(gateway: Gateway, outside: Peer) -> None:
    limit = gateway.run("cat", "/var/qmail/control/databytes").strip()
    assert f"250-SIZE {limit}" in talk(outside, gateway.ipv4, "EHLO x")
    said = talk(outside, gateway.ipv4, "EHLO x", f"MAIL FROM:<a@world.test> SIZE={int(limit) + 1}")
    assert any(line.startswith("552 ") for line in said)


def test_received_names_the_gateway(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    assert outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
    received = office.arrived(mark).get_all("Received", [])
    me = gateway.run("cat", "/var/qmail/control/me").strip()
    assert any(f"by {me} with" in " ".join(str(line).split()) for line in received), received


def test_a_nul_byte_is_refused(gateway: Gateway, outside: Peer) -> None:
    reply = outside.send(gateway.ipv4, "user@corp.test", "Subject: x\r\n\r\nbefore\0after\r\n")
    assert (reply.code, "#5.6.0" in reply.text) == (554, True), reply


def test_junk_ends_a_session(gateway: Gateway, outside: Peer) -> None:
    assert any(line.startswith("421 ") for line in talk(outside, gateway.ipv4, *["JUNK"] * 500))
    assert any(line.startswith("421 ") for line in talk(outside, gateway.ipv4, *["NOOP"] * 500))


def accounts(gateway: Gateway) -> list[str]:
    """Every account of the host."""
    return [line.partition(":")[0] for line in gateway.run("getent", "passwd").splitlines()]


def aliases(gateway: Gateway) -> set[str]:
    """Who has mail at the gateway's own name."""
    return {name.removeprefix(".qmail-") for name in gateway.sh("ls -A /var/qmail/alias").split()}


def test_no_account_of_the_host_has_mail_but_the_inventorys_aliases(gateway: Gateway, outside: Peer) -> None:
    me = gateway.run("cat", "/var/qmail/control/me").strip()
    names, with_mail = [*accounts(gateway), "nosuch", "alias-x", "gatescan-x"], aliases(gateway)
    for start in range(0, len(names), 50):
        some = names[start : start + 50]
        replies = rcpt(outside, gateway, *[f"{name}@{me}" for name in some])
        found = {name: reply[:3] for name, reply in zip(some, replies, strict=True)}
        assert found == {name: "250" if name in with_mail else "550" for name in some}


def test_mail_that_the_host_itself_sends_to_its_accounts_waits_for_nobody(gateway: Gateway) -> None:
    gateway.wait_for_empty_queue()
    me = gateway.run("cat", "/var/qmail/control/me").strip()
    names = sorted(set(accounts(gateway)) - aliases(gateway))
    gateway.run("sendmail", "-f", "", *[f"{name}@{me}" for name in names], stdin=f"Subject: {token()}\n\nx\n")
    gateway.wait_for_empty_queue()


def test_no_dot_qmail_file_in_a_services_home_is_obeyed(gateway: Gateway) -> None:
    me = gateway.run("cat", "/var/qmail/control/me").strip()
    home = gateway.sh("getent passwd gatescan | cut -d: -f6").strip()
    trap = f"{home}/.qmail-x"
    gateway.sh(f"echo '|touch /tmp/escaped' > {trap} && chown gatescan {trap}; rm -f /tmp/escaped")
    try:
        gateway.run("sendmail", "-f", "", f"gatescan-x@{me}", stdin="Subject: x\n\nx\n")
        gateway.wait_for_empty_queue()
        assert gateway.sh("ls /tmp/escaped 2>/dev/null || true") == ""
    finally:
        gateway.sh(f"rm -f {trap} /tmp/escaped")


def test_qmailds_user_cannot_take_the_tls_key(gateway: Gateway) -> None:
    """In a container no Yama stands before ptrace's rules: the kernel's own are all there is."""
    gateway.run("sh", "-c", "cat > /tmp/keygrab.py", stdin=KEYGRAB)
    told = gateway.run("setpriv", "--reuid=qmaild", "--regid=nofiles", "--clear-groups", "python3", "/tmp/keygrab.py")
    gateway.run("rm", "/tmp/keygrab.py")
    tried, got = map(int, told.split())
    assert tried > 0 and got == 0


def test_there_are_two_ways_to_sshd_and_no_third(gateway: Gateway) -> None:
    listening = gateway.sh("ss --no-header --listening --unix")
    assert "ssh-unix-local" not in listening


POLICYD = """
import socket, sys, os
path = "/run/test-policy"
if os.path.exists(path): os.unlink(path)
server = socket.socket(socket.AF_UNIX); server.bind(path); os.chmod(path, 0o666); server.listen(8)
while True:
    wire, _ = server.accept()
    with wire, wire.makefile("rb") as stream:
        question = {}
        for line in stream:
            name, _, value = line.decode().rstrip().partition("=")
            question[name] = value
            if not name:
                bad = question.get("recipient", "").startswith("nobody@")
                wire.sendall(b"action=550 5.1.1 unknown here\\n\\n" if bad else b"action=DUNNO\\n\\n")
                question = {}
"""


@pytest.fixture
def policy(gateway: Gateway) -> object:
    """A policy daemon that qmail-smtpd asks, as the environment directory says."""
    name = "/var/qmail/supervise/qmail-smtpd/env/SMTPPOLICY"
    gateway.run("sh", "-c", "cat > /tmp/policyd.py", stdin=POLICYD)
    gateway.run("systemd-run", "--unit=test-policy", "--collect", "python3", "/tmp/policyd.py")
    gateway.sh(f"echo /run/test-policy > {name}")
    gateway.restart_door()
    yield None
    gateway.sh(f"systemctl stop test-policy; rm -f {name} /tmp/policyd.py /run/test-policy")
    gateway.restart_door()
    eventually(lambda: gateway.is_up("qmail-smtpd"), what="qmail-smtpd is up")


@pytest.mark.usefixtures("policy")
def test_a_policy_daemon_is_asked_and_obeyed(gateway: Gateway, outside: Peer) -> None:
    eventually(lambda: rcpt(outside, gateway, "user@corp.test") == ["250 ok"], what="a daemon that lets users pass")
    assert rcpt(outside, gateway, "nobody@corp.test") == ["550 5.1.1 unknown here"]
    assert outside.send(gateway.ipv4, "user@corp.test", mark=token()).code == 250
    gateway.run("systemctl", "stop", "test-policy")
    assert rcpt(outside, gateway, "user@corp.test")[0].startswith("451 4.3.5")
