"""For whom relay clients may send."""

from __future__ import annotations

import pytest
from gatekeeper_rig import Gatekeeper

CLOUD = {"192.0.2.0/24": ["corp.test", ".corp.test", "Ann@Partner.test"], "2001:db8::/32": ["corp.test"]}

REFUSED = "553 5.7.1 <{}>: your address may not send mail for this sender"


def ask(keeper: Gatekeeper, sender: str, recipient: str = "x@elsewhere.test", **given: str | int) -> str:
    """What a relay client hears at RCPT."""
    return keeper.ask(recipient, sender=sender, relay_client="yes", **given)


@pytest.fixture
def cloud(keeper: Gatekeeper) -> Gatekeeper:
    """A daemon with relay clients that may send for some."""
    (keeper.place / "control/rcpthosts").write_text("corp.test\n.below.test\n")
    (keeper.place / "control/morercpthosts").write_text("more.test\n")
    return keeper


def test_a_relay_client_sends_for_its_own_senders_alone(cloud: Gatekeeper) -> None:
    cloud.start(relay_senders=CLOUD)
    for sender in ("ann@corp.test", "ANN@Corp.TEST", "a+b@x.y.corp.test", "ann@partner.test"):
        assert ask(cloud, sender) == "DUNNO", sender
    for sender in (
        "ann@tenant.test",
        "bob@partner.test",
        "ann@xcorp.test",
        "ann@corp.test.evil.test",
        "corp.test",
        "x",
    ):
        assert ask(cloud, sender) == REFUSED.format(sender)
    assert "refused sender client=192.0.2.7 sender=ann@tenant.test" in cloud.log


@pytest.mark.parametrize("sender", ["", "#@[]"], ids=["null", "double bounce"])
def test_everybody_may_use_the_null_sender(cloud: Gatekeeper, sender: str) -> None:
    cloud.start(relay_senders=CLOUD, limits={"client": {"messages": {"day": 1}}})
    assert ask(cloud, sender) == ask(cloud, sender, protocol_state="DATA") == "DUNNO"
    assert ask(cloud, sender).startswith("451 4.7.1 too many messages")


def test_networks_of_both_families_and_the_narrowest_counts(cloud: Gatekeeper) -> None:
    narrow = {"192.0.2.7/32": [], "192.0.2.8": ["tenant.test"], "2001:db8:5::/48": ["tenant.test"]}
    cloud.start(relay_senders={**CLOUD, **narrow})
    heard = {
        client: ask(cloud, "ann@tenant.test", client_address=client)[:3]
        for client in ("192.0.2.7", "192.0.2.8", "192.0.2.9", "198.51.100.1", "2001:db8::1", "2001:db8:5::1")
    }
    assert list(heard.values()) == ["DUN", "DUN", "553", "DUN", "553", "DUN"], heard
    assert ask(cloud, "ann@tenant.test", client_address="::ffff:192.0.2.9").startswith("553 ")


def test_mail_of_somebody_else_to_our_own_domains_is_a_strangers(cloud: Gatekeeper) -> None:
    cloud.start(relay_senders=CLOUD, recipients={"corp.test": {"list": ["ann"]}}, guesses=2)
    sender = "x@tenant.test"
    for recipient in ("ann@corp.test", "any@a.below.test", "any@more.test", "postmaster"):
        assert ask(cloud, sender, recipient) == "DUNNO", recipient
    assert ask(cloud, sender, "any@below.test").startswith("553 ")
    assert [ask(cloud, sender, "bob@corp.test")[:3] for _ in range(3)] == ["550", "550", "421"]
    assert ask(cloud, "ann@corp.test") == "DUNNO"


@pytest.mark.parametrize(
    "local", ["victim%world.test", "world.test!victim", "victim@world.test", "a b", 'a"b', "a:b", "|cat", "/etc", ""]
)
def test_mail_of_somebody_else_goes_no_way_around(cloud: Gatekeeper, local: str) -> None:
    cloud.start(relay_senders=CLOUD)
    assert ask(cloud, "x@tenant.test", f"{local}@corp.test").startswith("553 5.1.3 ")
    assert ask(cloud, "ann@corp.test", f"{local}@corp.test") == "DUNNO"


def test_recipients_that_are_not_odd_are_let_through(cloud: Gatekeeper) -> None:
    cloud.start(relay_senders=CLOUD)
    for local in ("a+b", "o'brien", "a/b", "a|b", "$x=y", "{a}~b^c`d", "j\u00f6rg"):
        assert ask(cloud, "x@tenant.test", f"{local}@corp.test") == "DUNNO", local


def test_strangers_and_gateways_without_such_clients_know_nothing_of_it(cloud: Gatekeeper) -> None:
    cloud.start(relay_senders=CLOUD)
    assert cloud.ask("any@corp.test", sender="x@tenant.test") == "DUNNO"
    cloud.reload()
    assert ask(cloud, "x@tenant.test") == "DUNNO"


def test_domains_of_ours_that_are_half_written_put_it_off(cloud: Gatekeeper) -> None:
    cloud.start(relay_senders=CLOUD)
    (cloud.place / "control/rcpthosts").write_text("corp.test\n.below.te")
    assert ask(cloud, "x@tenant.test", "any@corp.test").startswith("451 ")
    assert "rcpthosts is half-written" in cloud.log
    (cloud.place / "control/rcpthosts").write_text("other.test\n")
    assert ask(cloud, "x@tenant.test", "any@corp.test").startswith("553 ")
