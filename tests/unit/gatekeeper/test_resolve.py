"""What the name server said is kept for its time, and no longer: least of all that there is nothing."""

from __future__ import annotations

import asyncio
import time

import dns.resolver
import pytest
from gatekeeper.config import parse
from gatekeeper.resolve import LONGEST, LONGEST_NO, Resolver
from gatekeeper_rig import NameServer
from gatepost.config import parse as parse_gatepost
from gatepost.resolve import NoSuchName
from gatepost.resolve import Resolver as GatepostsResolver

FOR_EVER = 1e9


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    """A name server without SOA records, as dnscache, and a dnspython that takes such answers for everlasting."""
    made = dns.resolver.Answer.__init__

    def everlasting(answer: dns.resolver.Answer, *arguments: object, **more: object) -> None:
        made(answer, *arguments, **more)  # type: ignore[arg-type]
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
        return asyncio.run(resolver.addresses("2.0.0.127.list.test"))

    assert asked() == []
    server.records["2.0.0.127.list.test"] = ["127.0.0.2"]
    assert asked() == [] and len(server.asked) == 1, "remembered"
    later(monkeypatch, LONGEST_NO + 1)
    assert asked() == ["127.0.0.2"]
    server.records["2.0.0.127.list.test"] = ["127.0.0.3"]
    later(monkeypatch, LONGEST + 1)
    assert asked() == ["127.0.0.3"]


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
        assert len(asyncio.run(resolver.addresses("many.test"))) == 400
    assert len(server.asked) == 2
