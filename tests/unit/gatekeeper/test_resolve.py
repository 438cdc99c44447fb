"""What the name server said is kept for its time, and no longer: least of all that there is nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import dns.resolver
import pytest
from gatekeeper.auth.judge import judge
from gatekeeper.auth.mail import of_bytes
from gatekeeper.auth.names import AskedNames
from gatekeeper.config import parse
from gatekeeper.resolve import LONGEST, LONGEST_NO, Resolver, TryLater
from gatekeeper_rig import NameServer, wait_for
from gatepost.config import parse as parse_gatepost
from gatepost.resolve import NoSuchName
from gatepost.resolve import Resolver as GatepostsResolver
from test_dkim_verified import BODY, HEADER, record, signed
from test_dmarc import ORIGIN, SITE, sealed

FOR_EVER = 1e9


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    """A name server without SOA records, as dnscache, and a dnspython that takes such answers for everlasting."""
    made = dns.resolver.Answer.__init__

    def everlasting(answer: dns.resolver.Answer, *arguments: Any, **more: Any) -> None:
        made(answer, *arguments, **more)
        answer.expiration = time.time() + FOR_EVER

    monkeypatch.setattr(dns.resolver.Answer, "__init__", everlasting)
    return NameServer()


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the clock go on."""
    now = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: now)


def test_gatekeeper_asks_again_after_some_minutes_of_a_no(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(parse({"name_server_port": server.port}))

    def asked() -> list[str]:
        return list(asyncio.run(resolver.records("2.0.0.127.list.test", "A")))

    assert asked() == []
    server.records["2.0.0.127.list.test"] = ["127.0.0.2"]
    assert asked() == [] and len(server.asked) == 1, "remembered"
    later(monkeypatch, LONGEST_NO + 1)
    assert asked() == ["127.0.0.2"]
    server.records["2.0.0.127.list.test"] = ["127.0.0.3"]
    later(monkeypatch, LONGEST + 1)
    assert asked() == ["127.0.0.3"]


def test_a_clock_that_is_put_back_keeps_no_answer(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(parse({"name_server_port": server.port}))
    server.records["mx.test"] = ["192.0.2.1"]
    later(monkeypatch, 365 * 86_400.0)
    assert list(asyncio.run(resolver.records("mx.test", "A"))) == ["192.0.2.1"]
    server.records["mx.test"] = ["192.0.2.2"]
    later(monkeypatch, -365 * 86_400.0)
    assert list(asyncio.run(resolver.records("mx.test", "A"))) == ["192.0.2.2"]


def test_gatepost_asks_again_after_some_minutes_of_a_no(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = GatepostsResolver(parse_gatepost({"name_server_port": server.port}))
    for _ in range(2):
        with pytest.raises(NoSuchName):
            asyncio.run(resolver.addresses("mx.new.test", "ipv4"))
    assert len(server.asked) == 1, "remembered"
    server.records["mx.new.test"] = ["192.0.2.1"]
    later(monkeypatch, LONGEST_NO + 1)
    assert asyncio.run(resolver.addresses("mx.new.test", "ipv4")).records == ("192.0.2.1",)


def test_a_large_answer_is_not_kept(server: NameServer) -> None:
    resolver = Resolver(parse({"name_server_port": server.port}))
    server.records["many.test"] = [f"192.0.{number // 256}.{number % 256}" for number in range(400)]
    for _ in range(2):
        assert len(asyncio.run(resolver.records("many.test", "A"))) == 400
    assert len(server.asked) == 2


# Who asks for a name that is being asked for


def patient(names: NameServer) -> Resolver:
    """A resolver that waits for held answers on a busy machine, too."""
    return Resolver(parse({"name_server_port": names.port, "dns_seconds": 30}))


def test_many_who_ask_for_a_name_at_once_cost_one_question() -> None:
    names = NameServer()
    names.records["many.test"] = ["192.0.2.1"]
    resolver = patient(names)

    async def ask() -> list[tuple[str, ...]]:
        return await asyncio.gather(*(resolver.records("Many.test.", "A") for _ in range(20)))

    assert asyncio.run(ask()) == [("192.0.2.1",)] * 20
    assert names.asked == ["many.test"]


def test_who_gives_up_takes_the_answer_from_nobody_else() -> None:
    names = NameServer()
    names.records["slow.test"] = ["192.0.2.1"]
    names.held = {"slow.test"}
    resolver = patient(names)

    async def ask() -> tuple[str, ...]:
        impatient = asyncio.create_task(resolver.records("slow.test", "A"))
        other = asyncio.create_task(resolver.records("slow.test", "A"))
        await asyncio.to_thread(wait_for, lambda: names.asked, "the question")
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        names.release()
        return await other

    assert asyncio.run(ask()) == ("192.0.2.1",)
    assert names.asked == ["slow.test"]


def test_all_of_them_hear_that_there_is_no_answer_and_none_is_kept() -> None:
    names = NameServer()
    names.is_soft = True
    resolver = patient(names)

    async def ask() -> list[object]:
        return await asyncio.gather(*(resolver.records("bad.test", "A") for _ in range(3)), return_exceptions=True)

    assert [type(said) for said in asyncio.run(ask())] == [TryLater] * 3
    names.is_soft = False
    names.records["bad.test"] = ["192.0.2.1"]
    assert asyncio.run(resolver.records("bad.test", "A")) == ("192.0.2.1",)


def test_what_is_kept_is_bounded(server: NameServer) -> None:
    resolver = Resolver(parse({"name_server_port": server.port}), room=3)
    for number in (1, 2, 3, 4, 4, 2, 1):
        asyncio.run(resolver.records(f"n{number}.test", "A"))
    assert server.asked == ["n1.test", "n2.test", "n3.test", "n4.test", "n1.test"]


def test_a_message_waits_for_all_names_at_once() -> None:
    """Each name by itself would cost a slow name server's delay anew."""
    names = NameServer()
    names.texts = {"evil.test": "v=spf1 ip4:192.0.2.7 -all", "_dmarc.corp.test": "v=DMARC1; p=reject"}
    names.texts["one._domainkey.corp.test"] = record()
    names.held = set(names.texts)
    asked = AskedNames(patient(names))

    async def judged() -> str:
        judging = asyncio.create_task(judge(of_bytes(signed(HEADER + BODY)), ORIGIN, asked, SITE))
        await asyncio.to_thread(wait_for, lambda: set(names.asked) == names.held, "all questions")
        names.release()
        return (await judging).dmarc.result

    assert asyncio.run(judged()) == "pass"
    assert len(names.asked) == 3, "and none is asked for twice, though these answers have no term"


def test_names_that_nobody_answers_cost_a_message_one_wait_in_all() -> None:
    """One after the other they would cost it the patience of the queue client: good mail would hear 451."""
    names, seconds = NameServer(), 1.0
    names.is_mute = True
    asked = AskedNames(Resolver(parse({"name_server_port": names.port, "dns_seconds": seconds})))
    field = signed(HEADER + BODY).removesuffix(HEADER + BODY)
    dead = b"".join(field.replace(b"s=one", b"s=s%d" % number) for number in range(8))
    message = of_bytes(dead + sealed(HEADER + BODY, "lists.test"))
    start = time.monotonic()
    report = asyncio.run(judge(message, ORIGIN, asked, SITE))
    waited = time.monotonic() - start
    assert [item.result for item in report.signatures] == ["temperror"] * 8
    assert (report.chain.result, report.dmarc.result) == ("temperror", "temperror")
    assert len(set(names.asked)) == 11 and "one._domainkey.lists.test" in names.asked
    assert waited < 4 * seconds


def test_two_hundred_messages_wait_for_a_slow_name_server_at_once() -> None:
    """None waits for another one: a name server's delay lowers no messages a second."""
    names, count = NameServer(), 200
    authors = [f"a{number}.test" for number in range(count)]
    names.held = {name for domain in authors for name in (domain, f"_dmarc.{domain}")}
    names.texts = {f"_dmarc.{domain}": "v=DMARC1; p=reject" for domain in authors}
    names.texts |= dict.fromkeys(authors, "v=spf1 ip4:192.0.2.7 -all")
    asked = AskedNames(patient(names))

    async def judged(domain: str) -> str:
        sent = replace(ORIGIN, sender=f"ann@{domain}")
        return (await judge(of_bytes(f"From: ann@{domain}\n\nhello\n".encode()), sent, asked, SITE)).dmarc.result

    async def all_judged() -> list[str]:
        judging = [asyncio.create_task(judged(domain)) for domain in authors]
        await asyncio.to_thread(wait_for, lambda: set(names.asked) == names.held, "all questions of all messages")
        names.release()
        return await asyncio.gather(*judging)

    assert asyncio.run(all_judged()) == ["pass"] * count
