"""`gw trace` over 1,000 messages of known fates, whose lines stand among each other's in the logs of two gateways."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateway_logs import Gateway
from test_trace import LATER, NEVER, SAID, delivered, of

MESSAGES, SECONDS = 1000, 3000
SEED = 15


@dataclass(frozen=True)
class Message:
    """One of them. number: part of its recipient, sender and address, so that each is known by any of these."""

    number: int
    kind: str
    at: float

    @property
    def to(self) -> str:
        """Its recipient."""
        return f"user{self.number}@corp.test"

    @property
    def sender(self) -> str:
        """Who sends it."""
        return f"sender{self.number}@example.net"

    @property
    def ip(self) -> str:
        """Whence it comes."""
        return f"198.18.{self.number // 250}.{self.number % 250 + 1}"


def arrives(gateway: Gateway, one: Message) -> None:
    """A delivery at the first attempt."""
    delivered(gateway, one.at, one.to, **{"from": one.sender, "ip": one.ip})


def judged(gateway: Gateway, one: Message, action: str = "accept", **more: object) -> int:
    """The scanner's word; its qp."""
    return gateway.judged(one.at, [one.to], action, **{"from": one.sender, "ip": one.ip, **more})


def queued(gateway: Gateway, one: Message) -> int:
    """It comes into the queue; qmail's number."""
    return gateway.queued(one.at + 0.1, judged(gateway, one), one.sender)


def waits(gateway: Gateway, one: Message) -> None:
    """Two deferrals, and it waits."""
    number = queued(gateway, one)
    for after in (1, 400):
        gateway.tried(one.at + after, number, one.to, "deferral", LATER, is_told=False)


def arrives_late(gateway: Gateway, one: Message) -> None:
    """A deferral, and then it is delivered."""
    number = queued(gateway, one)
    gateway.tried(one.at + 1, number, one.to, "deferral", LATER, is_told=False)
    gateway.tried(one.at + 401, number, one.to, "success", SAID)
    gateway.done(one.at + 402, number)


def comes_back(gateway: Gateway, one: Message) -> None:
    """A bounce, which is delivered."""
    number = queued(gateway, one)
    gateway.tried(one.at + 1, number, one.to, "failure", NEVER)
    bounce = gateway.queued(one.at + 2.1, gateway.bounced(one.at + 2, number), sender="")
    gateway.done(one.at + 2.2, number)
    gateway.tried(one.at + 3, bounce, one.sender, "success", SAID)
    gateway.done(one.at + 4, bounce)


def is_held(gateway: Gateway, one: Message) -> None:
    """Quarantine."""
    judged(gateway, one, "quarantine", held=f"1764.{one.number}")


def is_released(gateway: Gateway, one: Message) -> None:
    """Quarantine, and an administrator who thinks otherwise."""
    is_held(gateway, one)
    qp = next(gateway.pids)
    number = gateway.queued(one.at + 100, qp, one.sender)
    gateway.event(one.at + 100.2, "release", held=f"1764.{one.number}", by="carl@office", qp=qp)
    gateway.tried(one.at + 101, number, one.to, "success", SAID, qp=qp)
    gateway.done(one.at + 102, number)


def has_no_engine(gateway: Gateway, one: Message) -> None:
    """451, as an engine is down."""
    judged(gateway, one, "tempfail", verdict="engine-error")


def has_no_recipient(gateway: Gateway, one: Message) -> None:
    """550 at RCPT."""
    gateway.refused(one.at, f"refused unknown client={one.ip} recipient={one.to} sender={one.sender}")


def is_too_much(gateway: Gateway, one: Message) -> None:
    """A client over its limit."""
    said = f"client={one.ip} recipient={one.to} sender={one.sender} too many messages in a day"
    gateway.refused(one.at, f"put off limit {said}")


def has_no_tls(gateway: Gateway, one: Message) -> None:
    """A handshake that fails."""
    gateway.session(one.at, one.ip, "starttls: PID no handshake: no shared cipher")


KINDS: dict[str, tuple[Callable[[Gateway, Message], None], str, str]] = {
    "delivered": (arrives, "delivered", ""),
    "delivered late": (arrives_late, "delivered", ""),
    "deferred": (waits, "deferred", ""),
    "bounced": (comes_back, "bounced", ""),
    "held": (is_held, "held", ""),
    "released": (is_released, "released", ""),
    "4xx by an engine": (has_no_engine, "put off", ""),
    "5xx at RCPT": (has_no_recipient, "refused", "unknown recipient"),
    "over a limit": (is_too_much, "put off", "over a limit"),
    "TLS refused": (has_no_tls, "refused", "TLS failed"),
}
"""How a message's lines are written, and its fate with what was the matter, as they are to be told."""


@dataclass(frozen=True)
class Trial:
    """Both gateways' folders, and which messages went by which."""

    roots: tuple[Path, Path]
    messages: tuple[tuple[Message, ...], tuple[Message, ...]]

    def each(self) -> Iterator[tuple[Path, Message]]:
        """All messages with the folder of their gateway."""
        for root, messages in zip(self.roots, self.messages, strict=True):
            yield from ((root, one) for one in messages)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """The logs, turned over in the middle."""
    chance = random.Random(SEED)
    kinds = list(KINDS)
    messages = [Message(number, kinds[number % len(kinds)], chance.uniform(0, SECONDS)) for number in range(MESSAGES)]
    chance.shuffle(messages)
    halves = (tuple(messages[: MESSAGES // 2]), tuple(messages[MESSAGES // 2 :]))
    roots = tmp_path_factory.mktemp("gw1"), tmp_path_factory.mktemp("gw2")
    for root, half in zip(roots, halves, strict=True):
        gateway = Gateway()
        for one in half:
            KINDS[one.kind][0](gateway, one)
        gateway.write(root, is_rotated=True)
    return Trial(roots, halves)


def test_all_messages_are_told_with_their_fates_and_none_besides(trial: Trial) -> None:
    for root, messages in zip(trial.roots, trial.messages, strict=True):
        records = of(root)
        told = Counter((one["ip"], one["fate"], one.get("what", "")) for one in records if one.get("ip"))
        assert told == Counter((one.ip, *KINDS[one.kind][1:]) for one in messages)
        bounces = Counter((one["from"], one["to"][0], one["fate"]) for one in records if not one.get("ip"))
        assert bounces == Counter(("", one.sender, "delivered") for one in messages if one.kind == "bounced")


def test_each_message_is_found_by_its_recipient_or_address_on_its_gateway_alone(trial: Trial) -> None:
    for root, one in random.Random(SEED).sample(list(trial.each()), 100):
        filters = {"ip": one.ip} if one.kind == "TLS refused" else {"to": one.to}
        found = [(at, record) for at in trial.roots for record in of(at, **filters) if record["kind"] != "sessions"]
        assert [(at, record["fate"], record.get("what", "")) for at, record in found] == [(root, *KINDS[one.kind][1:])]


def test_what_belongs_to_a_message_stands_with_it(trial: Trial) -> None:
    results = {
        "delivered": ["success"],
        "delivered late": ["deferral", "success"],
        "deferred": ["deferral", "deferral"],
        "bounced": ["failure"],
        "released": ["success"],
    }
    told = {record["to"][0]: record for root in trial.roots for record in of(root) if record.get("to")}
    for _, one in trial.each():
        record = told.get(one.to, {})
        assert [delivery["result"] for delivery in record.get("deliveries", ())] == results.get(one.kind, []), one
        assert ("bounce" in record) == (one.kind == "bounced"), one
        if one.kind == "released":
            assert record["events"][0]["by"] == "carl@office"
