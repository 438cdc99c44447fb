"""All mail cut off and given back: senders keep their mail or the queue holds it, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token


@pytest.fixture(autouse=True)
def open_again(gateway: Gateway) -> Iterator[None]:
    """Whatever a test leaves cut off is given back."""
    yield
    before = gateway.process("qmail-smtpd")
    if "changed inbound" in gateway.run("gatewright-cutoff", "open", "both"):
        gateway.wait_for_door(before)
    gateway.wait_for_empty_queue()


def turned_away(gateway: Gateway, peer: Peer) -> bool:
    """Whether who connects is told to come back later."""
    reply = peer.send(gateway.ipv4, "user@corp.test", mark=token())
    return (reply.stage, reply.code) == ("connect", 421)


def taken(gateway: Gateway, peer: Peer, recipient: str, mark: str) -> bool:
    """Whether a message is taken; right after a change the door may be shut for a moment."""
    return peer.send(gateway.ipv4, recipient, mark=mark).code == 250


def test_inbound_senders_are_told_to_come_back_and_mail_flows_again(
    gateway: Gateway, outside: Peer, office: Peer
) -> None:
    gateway.run("gatewright-cutoff", "cut", "inbound")
    eventually(lambda: turned_away(gateway, outside), what="421 for the outside")
    eventually(lambda: turned_away(gateway, office), what="421 for the office too")
    assert "inbound: cut off since" in gateway.run("qmailctl", "stat")
    mark = token()
    gateway.run("sendmail", "-f", "x@corp.test", "friend@world.test", stdin=f"Subject: {mark}\n\n{mark}\n")
    outside.arrived(mark)  # what is here still goes out
    gateway.run("gatewright-cutoff", "open", "inbound")
    after = token()
    eventually(lambda: taken(gateway, outside, "user@corp.test", after), what="250 again")
    office.arrived(after)


def test_outbound_mail_waits_in_the_queue_and_arrives_once_it_is_given_back(
    gateway: Gateway, outside: Peer, office: Peer
) -> None:
    gateway.run("gatewright-cutoff", "cut", "outbound")
    out, inward = token(), token()
    eventually(lambda: taken(gateway, office, "friend@world.test", out), what="a 250 for mail that will wait")
    eventually(lambda: taken(gateway, outside, "user@corp.test", inward), what="a 250 for mail that will wait")
    gateway.run("qmailctl", "flush")
    eventually(lambda: gateway.queue().count("remote") >= 2, what="both messages wait")
    assert not outside.find(out) and not office.find(inward)
    gateway.run("gatewright-cutoff", "open", "outbound")
    outside.arrived(out)
    office.arrived(inward)
    assert len(outside.find(out)) == len(office.find(inward)) == 1, "each arrives once"


def test_a_conversation_that_is_under_way_ends_without_a_250(gateway: Gateway, outside: Peer, office: Peer) -> None:
    mark = token()
    script = f"""
import os, smtplib, time
client = smtplib.SMTP("{gateway.ipv4}", 25, timeout=60)
client.ehlo("probe.test"); client.mail("someone@world.test"); client.rcpt("user@corp.test")
open("/tmp/{mark}", "w").close()
while os.path.exists("/tmp/{mark}"): time.sleep(0.1)
try: print(client.data("Subject: {mark}\\r\\n\\r\\n{mark}\\r\\n")[0])
except (smtplib.SMTPException, OSError) as error: print("ended")
"""
    outside.sh(f"cat > /tmp/{mark}.py <<'EOF'\n{script}\nEOF\nsetsid python3 /tmp/{mark}.py > /tmp/{mark}.out 2>&1 &")
    eventually(lambda: outside.sh(f"ls /tmp/{mark} || true").strip(), what="the sender is inside a conversation")
    gateway.run("gatewright-cutoff", "cut", "inbound")
    outside.run("rm", f"/tmp/{mark}")
    said = eventually(lambda: outside.sh(f"cat /tmp/{mark}.out").strip(), what="the end of the conversation")
    outside.sh(f"rm /tmp/{mark}.*")
    assert said == "ended"
    assert not office.find(mark)


def test_one_command_cuts_all_off_and_a_run_and_a_reboot_do_not_give_it_back(
    gateway: Gateway, outside: Peer, office: Peer
) -> None:
    before = token()
    cut = {"mail": "both"}
    gateway.run("gatewright-cutoff", "cut", "outbound")
    eventually(lambda: taken(gateway, outside, "user@corp.test", before), what="a message to hold")
    assert playbook("playbooks/cutoff.yml", gateway.name, variables=cut).changed(gateway.name) == 1
    assert playbook("playbooks/cutoff.yml", gateway.name, variables=cut).changed(gateway.name) == 0
    eventually(lambda: turned_away(gateway, outside), what="421")

    playbook("playbooks/site.yml", gateway.name, "--tags", "qmail")
    assert turned_away(gateway, outside)
    playbook("molecule/shared/reboot.yml", gateway.name)
    eventually(lambda: turned_away(gateway, outside), 90, what="421 after the reboot")
    assert "remote" in gateway.queue() and not office.find(before)

    told = playbook("playbooks/cutoff.yml", gateway.name, variables={"mail": "both", "state": "open"})
    assert told.changed(gateway.name) == 1
    assert "inbound: open" in told.output and "outbound: open" in told.output
    assert len([office.arrived(before)]) == len(office.find(before)) == 1
    after = token()
    eventually(lambda: taken(gateway, outside, "user@corp.test", after), what="250 again")
    office.arrived(after)


def test_a_wrong_direction_is_refused_and_changes_nothing(gateway: Gateway) -> None:
    told = playbook("playbooks/cutoff.yml", gateway.name, variables={"mail": "sideways"}, succeeds=False)
    assert "inbound, outbound or both" in told.output
    assert gateway.run("gatewright-cutoff", "status").splitlines() == ["inbound: open", "outbound: open"]
