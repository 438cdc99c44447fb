"""rspamd of Debian as an engine: what it says becomes of mail, and what becomes of mail while it is away."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from controller import playbook
from lab_hosts import Gateway, Peer, eventually, token

pytestmark = pytest.mark.skipif(
    not os.environ.get("GATEWRIGHT_NIGHTLY"), reason="GATEWRIGHT_NIGHTLY is not set: it installs a package"
)

TAGS = "--tags=foundation,hardening_sandbox,scanner_config,rspamd,service_trimming_sockets"
TEST_MAIL = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


@pytest.fixture(scope="module", autouse=True)
def asked(gateway: Gateway) -> Iterator[None]:
    """A gateway that asks rspamd; a second run changes nothing, and at the end it is not asked any more."""
    settings: dict[str, object] = {"rspamd_enabled": True}
    playbook("playbooks/site.yml", gateway.name, TAGS, variables=settings)
    assert playbook("playbooks/site.yml", gateway.name, TAGS, variables=settings).changed(gateway.name) == 0
    yield
    playbook("playbooks/site.yml", gateway.name, TAGS)
    assert not gateway.shell.file("/etc/systemd/system/rspamd.service").exists
    assert "rspamd" not in gateway.run("gatescan", "engines", check=False)


def test_the_test_mail_of_spam_filters_is_held_and_other_mail_arrives(
    gateway: Gateway, outside: Peer, office: Peer
) -> None:
    mark, spam = token(), token()
    head = "From: someone@world.test\r\nTo: user@corp.test\r\nSubject: {}\r\n\r\n"
    assert outside.send(gateway.ipv4, "user@corp.test", head.format(spam) + TEST_MAIL + "\r\n").code == 250
    assert outside.send(gateway.ipv4, "user@corp.test", mark=mark).code == 250
    office.arrived(mark)
    assert spam in gateway.run("gatescan", "quarantine", "list", "--json")
    assert not office.find(spam)


def test_only_the_scanner_reaches_its_socket(gateway: Gateway) -> None:
    folder = gateway.shell.file("/run/rspamd/scanner")
    assert (folder.user, folder.group, folder.mode) == ("_rspamd", "gatescan", 0o750)
    assert "rspamd" not in gateway.run("ss", "-Htulnp"), "no port of Debian's configuration is open"


def test_mail_waits_while_it_is_away(gateway: Gateway, outside: Peer) -> None:
    gateway.run("systemctl", "stop", "rspamd")
    try:
        assert outside.send(gateway.ipv4, "user@corp.test", mark=token()).code == 451
    finally:
        gateway.run("systemctl", "start", "rspamd")
    eventually(lambda: outside.send(gateway.ipv4, "user@corp.test", mark=token()).code == 250, what="it is well again")
