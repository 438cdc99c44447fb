"""How much relay clients may send, what outlives the process, and DNS lists."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import sqlite3
import time
from collections import Counter
from typing import Any

import pytest
import yaml
from gatekeeper_rig import PROJECT, Gatekeeper, Session, wait_for

RELAY = {"relay_client": "yes"}


def send(session: Session, count: int = 1, **given: str | int) -> str:
    """A message of a relay client with so many recipients; the answer at DATA, or the one before that was no."""
    said = session.ask("x@elsewhere.test", **{**RELAY, **given})
    if said != "DUNNO":
        return said
    return session.ask("", **{**RELAY, "protocol_state": "DATA", "recipient_count": count, **given})


def passed(keeper: Gatekeeper, tries: int, **given: Any) -> int:
    """How many of some messages pass."""
    with keeper.session() as session:
        return sum(send(session, **given) == "DUNNO" for _ in range(tries))


# Limits


def test_messages_of_a_client_are_limited_by_the_day(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"messages": {"day": 7}}})
    assert passed(keeper, 20) == 7
    with keeper.session() as session:
        said = send(session, sender="other@corp.test")
        assert said.startswith("451 4.7.1 too many messages in a day from this client")
        assert send(session, client_address="192.0.2.8") == "DUNNO"
    assert keeper.log.count("ALERT limit client=192.0.2.7: more than 7 messages in a day") == 1
    assert (
        "put off limit client=192.0.2.7 recipient=" in keeper.log and " sender=other@corp.test 451 4.7.1 " in keeper.log
    )


def test_by_the_minute_there_is_room_for_a_burst(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"messages": {"minute": 2}}}, burst_minutes=5)
    assert 10 <= passed(keeper, 200) < 100  # and two more for each minute that the test may take
    assert "ALERT limit client=192.0.2.7: more than 2 messages in a minute" in keeper.log


def test_a_sender_is_limited_wherever_it_comes_from(keeper: Gatekeeper) -> None:
    keeper.start(limits={"sender": {"messages": {"day": 3}}})
    assert passed(keeper, 3, sender="Ann@Corp.test") == 3
    assert passed(keeper, 3, sender="ann@corp.test", client_address="192.0.2.9") == 0
    assert passed(keeper, 9, sender="") == 9


def test_recipients_are_counted_and_a_message_passes_whole(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"recipients": {"day": 10}}})
    with keeper.session() as session:
        assert send(session, count=9) == "DUNNO"
        assert send(session, count=50) == "DUNNO"
        assert send(session, count=1).startswith("451 4.7.1 too many recipients in a day")


def test_recipients_that_come_to_no_message_are_not_counted(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"recipients": {"day": 2}, "messages": {"day": 2}}})
    with keeper.session() as session:
        assert {session.ask(**RELAY) for _ in range(20)} == {"DUNNO"}


def test_a_relay_client_that_was_taken_over_passes_no_more_than_its_limit(keeper: Gatekeeper) -> None:
    """10,000 messages, each with another sender, by the role's defaults: ten minutes' worth, and so many a minute."""
    defaults = yaml.safe_load((PROJECT / "roles/gatekeeper/defaults/main.yml").read_text())["gatekeeper_limits"]
    keeper.start(limits=defaults)
    tries, start = 10_000, time.monotonic()
    with keeper.session() as taken_over, keeper.session() as other:
        codes = Counter(send(taken_over, sender=f"x{number}@client.test")[:3] for number in range(tries))
        assert send(other, client_address="192.0.2.8", sender="bob@client.test") == "DUNNO"
    minutes = (time.monotonic() - start) / 60
    most = defaults["client"]["messages"]["minute"]
    assert 10 * most <= codes["DUN"] <= (10 + minutes) * most + 1
    assert codes["451"] == tries - codes["DUN"]
    assert len(list((keeper.place / "alerts").glob("*.alert"))) == 1 == keeper.log.count("ALERT limit")


def test_strangers_have_no_limits_of_relay_clients(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"messages": {"day": 1}}, "sender": {"messages": {"day": 1}}})
    assert passed(keeper, 5, relay_client="no") == 5


def test_a_network_of_ipv6_is_one_client(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"messages": {"day": 2}}})
    with keeper.session() as session:
        heard = [send(session, client_address=f"2001:db8::{number}")[:3] for number in range(4)]
    assert heard == ["DUN", "DUN", "451", "451"]


def test_counters_survive_a_reload_and_a_restart(keeper: Gatekeeper) -> None:
    limits = {"client": {"messages": {"day": 5, "minute": 5}}, "sender": {"recipients": {"day": 1000}}}
    keeper.start(limits=limits)
    assert passed(keeper, 3) == 3
    keeper.reload(limits=limits)
    assert passed(keeper, 1) == 1
    assert keeper.stop() == 0
    keeper.start(limits=limits)
    assert passed(keeper, 5) == 1


def test_counters_survive_being_killed(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"messages": {"day": 3}}})
    assert passed(keeper, 3) == 3
    wait_for(lambda: kept(keeper) == 1, "the counter in the database")
    keeper.stop(signal.SIGKILL)
    keeper.start(limits={"client": {"messages": {"day": 3}}})
    assert passed(keeper, 3) == 0


def kept(keeper: Gatekeeper) -> int:
    """Counters in the database that say three."""
    with sqlite3.connect(keeper.state, timeout=10) as database:
        rows = database.execute("SELECT value FROM kept WHERE kind = 'limits'").fetchall()
    database.close()
    return sum(", 3.0, " in value for (value,) in rows)


# The database


def test_a_locked_database_delays_nothing_and_is_written_later(keeper: Gatekeeper) -> None:
    limits = {"client": {"messages": {"day": 3}}}
    keeper.start(limits=limits)
    database = sqlite3.connect(keeper.state, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    assert passed(keeper, 5) == 3
    keeper.wait_for_log("state.sqlite cannot be used, counters and caches are kept in memory alone: database is locked")
    database.execute("ROLLBACK")
    database.close()
    keeper.wait_for_log("state.sqlite is written again")
    assert keeper.stop() == 0
    keeper.start(limits=limits)
    assert passed(keeper, 1) == 0


@pytest.mark.parametrize("is_running", [False, True])
def test_a_corrupt_database_is_put_aside_and_made_anew(keeper: Gatekeeper, is_running: bool) -> None:
    limits = {"client": {"messages": {"day": 3}}}
    if is_running:
        keeper.start(limits=limits)
        assert passed(keeper, 1) == 1
        wait_for(keeper.state.exists, "the database")
        assert keeper.stop() == 0
    keeper.state.write_bytes(b"no database, but long enough to be read as one" * 200)
    keeper.start(limits=limits)
    assert passed(keeper, 5) == 3
    keeper.wait_for_log("state.sqlite was corrupt")
    assert (keeper.place / "state.sqlite.corrupt").exists()
    assert keeper.stop() == 0
    keeper.start(limits=limits)
    assert passed(keeper, 1) == 0


def test_a_state_that_cannot_be_written_is_named_and_costs_no_mail(keeper: Gatekeeper) -> None:
    keeper.start(limits={"client": {"messages": {"day": 3}}}, state="/nonexistent/state.sqlite")
    assert passed(keeper, 5) == 3
    assert "/nonexistent/state.sqlite cannot be used" in keeper.log


def test_a_database_without_room_is_named_and_written_when_there_is_some(
    keeper: Gatekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatekeeper import store as kept_in

    monkeypatch.setattr(kept_in, "PAGES", 6)
    store = kept_in.Store(keeper.state, lambda: 1000.0)
    shelf = store.shelf("limits", 1000)
    for number in range(1000):
        shelf.put(f"key{number}", [float(number)], 10)
    asyncio.run(store.flush())
    assert store.trouble == "database or disk is full" and shelf.get("key999") == [999.0]
    monkeypatch.setattr(kept_in, "PAGES", 1000)
    asyncio.run(store.flush())
    store.close()
    assert store.trouble == ""
    assert not keeper.state.with_name("state.sqlite.corrupt").exists()
    again = kept_in.Store(keeper.state, lambda: 1000.0)
    shelf = again.shelf("limits", 1000)
    again.load()
    again.close()
    assert len(shelf) == 1000


def test_strangers_who_come_and_go_for_ever_leave_a_database_of_one_size(keeper: Gatekeeper) -> None:
    """Entries expire and make room for others; the file's pages are used again, and its log begins anew."""
    from gatekeeper.store import Store

    now = 0.0
    store = Store(keeper.state, lambda: now)
    shelf = store.shelf("guesses", 200, 3)

    async def live() -> list[int]:
        nonlocal now
        sizes = []
        for round_ in range(600):
            now = round_ * 600.0
            store.expire()
            for number in range(300):
                shelf.put(f"2001:db8:{round_:x}:{number:x}::/64", [1.0, now, 0.0], 1500)
            await store.flush()
            sizes.append(sum(path.stat().st_size for path in keeper.place.glob("state.sqlite*")))
        return sizes

    sizes = asyncio.run(live())
    store.close()
    assert len(shelf) == 200
    assert max(sizes[300:]) <= max(sizes[:300]) < 6_000_000
    assert keeper.state.stat().st_size < 200_000


def test_strangers_who_come_and_go_while_nothing_can_be_written_cost_no_memory(keeper: Gatekeeper) -> None:
    from gatekeeper.store import Store

    store = Store(keeper.place / "nowhere/state.sqlite", lambda: 1000.0)
    shelf = store.shelf("guesses", 200)

    async def live() -> list[int]:
        waiting = []
        for round_ in range(20):
            for number in range(300):
                shelf.put(f"2001:db8:{round_:x}:{number:x}::/64", [1.0], 1500)
            await store.flush()
            waiting.append(len(shelf._changed))
        return waiting

    waiting = asyncio.run(live())
    assert store.trouble and max(waiting) <= 600
    store.path = keeper.state
    asyncio.run(store.flush())
    again = Store(keeper.state, lambda: 1000.0)
    kept = again.shelf("guesses", 1000)
    again.load()
    store.close()
    again.close()
    assert len(kept) == 200 and kept.get("2001:db8:13:12b::/64") == [1.0]


def test_entries_are_bounded_and_expire(keeper: Gatekeeper) -> None:
    from gatekeeper.store import Store

    now = 1000.0
    store = Store(keeper.state, lambda: now)
    shelf = store.shelf("limits", 3)
    for number in range(5):
        shelf.put(f"key{number}", [float(number)], 10)
    assert [shelf.get(f"key{number}") for number in range(5)] == [None, None, [2.0], [3.0], [4.0]]
    now = 1010.0
    assert shelf.get("key4") is None
    store.expire()
    assert len(shelf) == 0


# DNS lists

ZONE = "list.test"
LISTS = {ZONE: {"codes": ["127.0.0.2", "127.0.0.8/29"]}}
HIT, MISS = "192.0.2.7", "192.0.2.99"


def start_with_lists(keeper: Gatekeeper, lists: dict[str, Any], **settings: object) -> None:
    """Start it, and wait until the lists have been tested."""
    keeper.start(dns_lists=lists, **settings)
    for zone in lists:
        keeper.wait_for_log(f"the DNS list {zone} ")


def test_a_listed_client_is_refused_and_others_are_not(keeper: Gatekeeper) -> None:
    keeper.names.lists(ZONE, "7.2.0.192")
    start_with_lists(keeper, LISTS)
    assert keeper.ask(client_address=HIT) == f"550 5.7.1 your address {HIT} is listed by {ZONE}"
    assert keeper.ask(client_address=MISS) == "DUNNO"
    assert keeper.ask("postmaster@corp.test", client_address=HIT) == "DUNNO"
    assert keeper.ask(client_address=HIT, **RELAY) == "DUNNO"
    assert keeper.ask(client_address=f"::ffff:{HIT}").startswith("550 ")


def test_a_client_is_asked_for_once(keeper: Gatekeeper) -> None:
    keeper.names.lists(ZONE)
    start_with_lists(keeper, LISTS)
    for _ in range(5):
        assert keeper.ask(client_address=MISS) == "DUNNO"
    assert keeper.names.asked.count(f"99.2.0.192.{ZONE}") == 1


def test_ipv6_clients_are_found_by_their_nibbles(keeper: Gatekeeper) -> None:
    nibbles = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    keeper.names.lists(ZONE, nibbles)
    start_with_lists(keeper, LISTS)
    assert keeper.ask(client_address="2001:db8::7").startswith("550 5.7.1 ")
    assert keeper.ask(client_address="2001:db8::8") == "DUNNO"


@pytest.mark.parametrize(("code", "is_refused"), [("127.0.0.2", True), ("127.0.0.10", True), ("127.0.0.3", False)])
def test_only_the_named_codes_count(keeper: Gatekeeper, code: str, is_refused: bool) -> None:
    keeper.names.lists(ZONE, "7.2.0.192", code=code)
    start_with_lists(keeper, LISTS)
    assert keeper.ask(client_address=HIT).startswith("550 ") is is_refused


def test_weights_are_added_up(keeper: Gatekeeper) -> None:
    keeper.names.lists("one.test", "7.2.0.192", "8.2.0.192")
    keeper.names.lists("two.test", "7.2.0.192")
    lists = {"one.test": {"codes": ["127.0.0.2"], "weight": 2}, "two.test": {"codes": ["127.0.0.2"]}}
    start_with_lists(keeper, lists, dns_threshold=3)
    assert keeper.ask(client_address=HIT).endswith("is listed by one.test, two.test")
    assert keeper.ask(client_address="192.0.2.8") == "DUNNO"


@pytest.mark.parametrize("code", ["127.255.255.254", "127.255.255.255", "203.0.113.9"])
def test_an_error_code_blocks_nobody_and_leaves_the_list_out(keeper: Gatekeeper, code: str) -> None:
    keeper.names.lists(ZONE, "8.2.0.192")
    keeper.names.lists(ZONE, "7.2.0.192", code=code)
    keeper.names.records[f"8.2.0.192.{ZONE}"] = ["127.0.0.2"]
    start_with_lists(keeper, LISTS)
    assert keeper.ask(client_address=HIT) == "DUNNO"
    assert keeper.ask(client_address="192.0.2.8") == "DUNNO"
    keeper.wait_for_log(f"ALERT the DNS list {ZONE} is left out: it answers with")
    assert f"8.2.0.192.{ZONE}" not in keeper.names.asked


def test_a_list_that_lists_everybody_or_nobody_is_left_out_and_named(keeper: Gatekeeper) -> None:
    keeper.names.lists("all.test", "1.0.0.127", "7.2.0.192")
    keeper.names.records["7.2.0.192.dead.test"] = ["127.0.0.2"]
    start_with_lists(keeper, dict.fromkeys(("all.test", "dead.test"), LISTS[ZONE]))
    assert keeper.ask(client_address=HIT) == "DUNNO"
    assert "all.test is left out: it lists 127.0.0.1" in keeper.log
    assert "dead.test is left out: it does not list 127.0.0.2" in keeper.log


def test_a_list_that_lists_everybody_by_ipv6_is_left_out_and_named(keeper: Gatekeeper) -> None:
    """RFC 5782, 5: ::ffff:127.0.0.1 must not be listed."""
    nobody = ".".join("100000f7ffff" + "0" * 20)
    keeper.names.lists(ZONE, "7.2.0.192", nobody)
    start_with_lists(keeper, LISTS)
    assert f"ALERT the DNS list {ZONE} is left out: it lists everybody by IPv6" in keeper.log
    assert keeper.ask(client_address=HIT) == "DUNNO"


@pytest.mark.parametrize("trouble", ["is_mute", "is_soft"])
def test_dns_that_is_dead_is_no_verdict(keeper: Gatekeeper, trouble: str) -> None:
    keeper.names.lists(ZONE, "7.2.0.192")
    start_with_lists(keeper, LISTS)
    setattr(keeper.names, trouble, True)
    assert keeper.ask(client_address=HIT) == "DUNNO"
    setattr(keeper.names, trouble, False)
    assert keeper.ask(client_address=HIT).startswith("550 ")


def test_a_list_that_says_nothing_is_waited_for_once_and_not_by_each_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    from gatekeeper import dnslists
    from gatekeeper.config import parse

    class Mute:
        """A name server that never answers."""

        asked = 0

        async def records(self, *_: str) -> list[str]:
            self.asked += 1
            await asyncio.sleep(60)
            return []

    now, server = 1000.0, Mute()
    monkeypatch.setattr(dnslists, "HASTE", 0.01)
    config = parse({"dns_lists": LISTS, "dns_seconds": 0.5})
    states = {ZONE: dnslists.State(is_in_order=True)}
    lists = dnslists.DnsLists(config, server, lambda: now, states)  # type: ignore[arg-type]  # a resolver that is mute

    async def ask(times: int) -> float:
        began = time.monotonic()
        for _ in range(times):
            assert await lists.refusing(ipaddress.ip_address(MISS)) == ""
        return time.monotonic() - began

    assert asyncio.run(ask(40)) < 10
    assert server.asked == 40, "it is asked all the same, as it may be back"
    now += 60
    assert asyncio.run(ask(1)) > 0.4, "after a while it has all its time again"


def test_a_list_that_could_not_be_tested_is_left_out_and_named(keeper: Gatekeeper) -> None:
    keeper.names.lists(ZONE, "7.2.0.192")
    keeper.names.is_mute = True
    start_with_lists(keeper, LISTS)
    assert f"the DNS list {ZONE} has not been tested yet and is left out" in keeper.log
    keeper.names.is_mute = False
    assert keeper.ask(client_address=HIT) == "DUNNO"
