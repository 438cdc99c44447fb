"""What became of messages, read out of a gateway's logs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from gateway_logs import OUTSIDE, Gateway
from on_gateway.trace.asked import Request
from on_gateway.trace.figures import COUNTED, Tally
from on_gateway.trace.logs import BLOCK, LONGEST, skip_older, whole_lines
from on_gateway.trace.search import Places, carry_out, trace

ANN, BEN = "ann@corp.test", "ben@corp.test"
SAID = "198.51.100.9_accepted_message./By_TLSv1.3/Remote_host_said:_250_2.0.0_ok/"
LATER = "Sorry,_I_wasn't_able_to_establish_an_SMTP_connection._(#4.4.1)/"
NEVER = "198.51.100.9_does_not_like_recipient./Remote_host_said:_550_5.1.1_no_such_user/"


def delivered(gateway: Gateway, at: float, to: str = ANN, **more: Any) -> int:
    """A message that arrives at once."""
    qp = gateway.judged(at, [to], **more)
    number: int = gateway.queued(at + 0.1, qp, more.get("from", "bob@example.net"))
    gateway.tried(at + 0.2, number, to, "success", SAID, qp=qp)
    gateway.done(at + 1, number)
    return number


def of(root: Path, **filters: Any) -> list[dict[str, Any]]:
    """What a gateway tells of the messages that fit."""
    found: list[dict[str, Any]] = trace(Request(**filters), Places(root))["records"]
    return found


def one(root: Path, **filters: Any) -> dict[str, Any]:
    """The only one that fits."""
    (record,) = of(root, **filters)
    return record


@pytest.fixture
def gateway() -> Gateway:
    """Logs of the last hour."""
    return Gateway()


@pytest.mark.parametrize(
    ("address", "logged"),
    [
        ("jürgen@corp.test", "j__rgen@corp.test"),
        ("j\\xfcrgen@corp.test", "j_rgen@corp.test"),
        ("a%b c@corp.test", "a_b_c@corp.test"),
    ],
)
def test_a_message_is_one_whatever_letters_its_addresses_have(tmp_path: Path, address: str, logged: str) -> None:
    gateway = Gateway()
    qp = gateway.judged(0, [address], **{"from": address})
    number = gateway.queued(0.1, qp, logged)
    gateway.tried(0.2, number, logged, "success", SAID, qp=qp)
    gateway.done(1, number)
    root = gateway.write(tmp_path)
    (found,) = of(root)
    assert found["fate"] == "delivered" and found["from"] == address
    assert of(root, to=address) == of(root, sender=address) == [found]


@pytest.fixture(params=[False, True], ids=["in one file", "rotated and compressed"])
def is_rotated(request: pytest.FixtureRequest) -> bool:
    """Whether the logs were turned over in between."""
    return bool(request.param)


def test_a_delivered_message_tells_whence_it_came_and_where_it_went(
    gateway: Gateway, tmp_path: Path, is_rotated: bool
) -> None:
    delivered(gateway, 0, BEN)
    delivered(gateway, 60, subject="Rechnung für Ann")
    found = one(gateway.write(tmp_path, is_rotated), to="ANN@corp.test")
    assert (found["fate"], found["ip"], found["verdict"]) == ("delivered", OUTSIDE, "clean")
    assert (found["from"], found["to"], found["subject"]) == ("bob@example.net", [ANN], "Rechnung für Ann")
    assert found["tls"].startswith("TLSv1.3")
    (delivery,) = found["deliveries"]
    assert (delivery["host"], delivery["tls"], delivery["verified"]) == ("mail.corp.test", "TLSv1.3", "certificate")
    assert delivery["text"].endswith("250 2.0.0 ok")


def test_a_deferral_stands_beside_the_delivery_that_came_later(
    gateway: Gateway, tmp_path: Path, is_rotated: bool
) -> None:
    qp = gateway.judged(0, [ANN])
    number: int = gateway.queued(0.1, qp)
    gateway.tried(1, number, ANN, "deferral", LATER, is_told=False)
    assert one(gateway.write(tmp_path / "before", is_rotated), to=ANN)["fate"] == "deferred"
    gateway.tried(401, number, ANN, "success", SAID, qp=qp)
    gateway.done(402, number)
    found = one(gateway.write(tmp_path / "after", is_rotated), to=ANN)
    assert found["fate"] == "delivered"
    assert [delivery["result"] for delivery in found["deliveries"]] == ["deferral", "success"]


def test_a_bounce_is_told_with_what_became_of_it(gateway: Gateway, tmp_path: Path, is_rotated: bool) -> None:
    number: int = gateway.queued(0.1, gateway.judged(0, [ANN]))
    gateway.tried(1, number, ANN, "failure", NEVER)
    bounce = gateway.queued(2.1, gateway.bounced(2, number), sender="")
    gateway.done(2.2, number)
    gateway.tried(3, bounce, "bob@example.net", "success", SAID)
    gateway.done(4, bounce)
    root = gateway.write(tmp_path, is_rotated)
    found = one(root, to=ANN)
    assert (found["fate"], found["bounce"]["fate"], found["bounce"]["to"]) == (
        "bounced",
        "delivered",
        ["bob@example.net"],
    )
    assert "no such user" in found["deliveries"][0]["text"]
    assert one(root, to="bob@example.net")["from"] == "", "who gets the bounce can be asked for as well"


def test_some_recipients_may_have_it_and_others_not(gateway: Gateway, tmp_path: Path) -> None:
    number: int = gateway.queued(0.1, gateway.judged(0, [ANN, BEN]))
    gateway.tried(1, number, ANN, "failure", NEVER)
    gateway.tried(1.1, number, BEN, "success", SAID)
    gateway.bounced(2, number)
    gateway.done(2.2, number)
    assert one(gateway.write(tmp_path), to=BEN)["fate"] == "partly bounced"


@pytest.mark.parametrize("knows_qp", [True, False])
def test_a_held_message_tells_who_released_it_and_that_it_arrived(
    gateway: Gateway, tmp_path: Path, knows_qp: bool, is_rotated: bool
) -> None:
    gateway.judged(0, [ANN], "quarantine", held="1764.abc")
    gateway.judged(1, [ANN], "quarantine", held="1764.def", subject="other")
    gateway.event(90, "delete", held="1764.def", by="carl@office")
    qp = next(gateway.pids)
    number: int = gateway.queued(100, qp)
    gateway.event(100.2, "release", held="1764.abc", by="carl@office", **({"qp": qp} if knows_qp else {}))
    gateway.tried(100.5, number, ANN, "success", SAID, qp=qp)
    gateway.done(101, number)
    released, deleted = of(gateway.write(tmp_path, is_rotated), to=ANN)
    assert (released["fate"], released["delivery"], deleted["fate"]) == ("released", "delivered", "deleted")
    assert released["events"][0]["by"] == "carl@office"


@pytest.mark.parametrize(
    ("action", "fate"),
    [("quarantine", "held"), ("reject", "rejected"), ("quarantine+reject", "rejected"), ("tempfail", "put off")],
)
def test_what_the_scanner_stopped_is_told(gateway: Gateway, tmp_path: Path, action: str, fate: str) -> None:
    gateway.judged(0, [ANN], action, findings=[{"verdict": "policy", "code": "executable"}])
    found = one(gateway.write(tmp_path), to=ANN)
    assert (found["fate"], found["findings"][0]["code"]) == (fate, "executable")


def test_what_was_refused_before_there_was_a_message_is_told(
    gateway: Gateway, tmp_path: Path, is_rotated: bool
) -> None:
    gateway.refused(0, f"refused unknown client={OUTSIDE} recipient=nobody@corp.test sender=bob@example.net")
    gateway.refused(9, f"refused unknown client={OUTSIDE} recipient=nobody@corp.test sender=bob@example.net")
    gateway.refused(2, "refused listed client=192.0.2.66 lists=zen.test")
    gateway.refused(
        3, "put off limit client=10.0.0.9 recipient=x@y.test sender=app@corp.test too many messages in a day"
    )
    gateway.refused(3.5, "refused sender client=10.0.0.8 sender=boss@corp.test")
    gateway.session(4, "192.0.2.8", "starttls: PID no handshake: no shared cipher")
    gateway.session(5, "192.0.2.9", "slots: PID IP: the source has its share")
    gateway._smtpd(6, "tcpserver: deny 4904 gw1.corp.test:::ffff:192.0.2.1:25 :::ffff:192.0.2.10::34414")
    gateway._smtpd(7, "tcpserver: deny 4905 gw1.corp.test:2001:db8::1:25 :2001:db8::11::34414")
    root = gateway.write(tmp_path, is_rotated)
    unknown = one(root, to="nobody@corp.test")
    assert (unknown["fate"], unknown["what"], unknown["count"]) == ("refused", "unknown recipient", 2)
    assert one(root, sender="app@corp.test")["what"] == "over a limit"
    (denied,) = of(root, ip="2001:db8::11")[:1]
    assert (denied["what"], denied["ip"]) == ("address may not connect", "2001:db8::11")
    assert {record["what"]: record["ip"] for record in of(root) if record["ip"] != "2001:db8::11"} == {
        "address may not connect": "192.0.2.10",
        "unknown recipient": OUTSIDE,
        "address is on a DNS list": "192.0.2.66",
        "over a limit": "10.0.0.9",
        "client may not use this sender": "10.0.0.8",
        "TLS failed": "192.0.2.8",
        "connection turned away": "192.0.2.9",
    }


def test_an_address_is_told_with_its_connections(gateway: Gateway, tmp_path: Path) -> None:
    gateway.session(0, OUTSIDE, "starttls: PID TLSv1.3: TLS_AES_256_GCM_SHA384")
    gateway.session(10, OUTSIDE)
    gateway.session(20, "192.0.2.70")
    root = gateway.write(tmp_path)
    sessions = one(root, ip=OUTSIDE)
    assert (sessions["fate"], sessions["count"], sessions["tls"]) == ("connected", 2, {"TLSv1.3": 1})
    assert sum(record["count"] for record in of(root, ip="192.0.2.0/24")) == 3


@pytest.mark.parametrize(
    "filters",
    [
        {"sender": "eve@example.net"},
        {"sender": "@EXAMPLE.net", "subject": "*special*"},
        {"subject": "A Special off?r*"},
        {"message_id": "one@example.net"},
        {"message_id": "<one@example.net>"},
        {"ip": "2001:DB8::0:7"},
        {"ip": "2001:db8::/32"},
    ],
)
def test_every_filter_finds_its_message_alone(gateway: Gateway, tmp_path: Path, filters: dict[str, str]) -> None:
    delivered(gateway, 0)
    number: int = gateway.queued(
        10,
        gateway.judged(
            9,
            [BEN],
            subject="a special off?r [1]",
            ip="2001:db8::7",
            message_id="<one@example.net>",
            **{"from": "eve@example.net"},
        ),
        "eve@example.net",
    )
    delivered(gateway, 20)
    assert one(gateway.write(tmp_path), **filters)["msg"] == number


def test_a_message_is_found_by_qmails_number_with_what_the_scanner_knows(gateway: Gateway, tmp_path: Path) -> None:
    delivered(gateway, 0)
    number = delivered(gateway, 10, subject="the second")
    assert one(gateway.write(tmp_path), id=str(number))["subject"] == "the second"


def test_a_number_that_qmail_uses_again_is_another_message(gateway: Gateway, tmp_path: Path) -> None:
    for at, to in ((0, ANN), (50, BEN), (100, ANN)):
        gateway.numbers = iter([99])
        delivered(gateway, at, to)
    first, second = of(gateway.write(tmp_path), to=ANN)
    assert len(first["deliveries"]) == len(second["deliveries"]) == 1
    assert second["queued"] - first["queued"] == pytest.approx(100, abs=0.01)


def test_a_process_number_that_comes_again_joins_neither_message_with_the_others_fate(
    gateway: Gateway, tmp_path: Path
) -> None:
    gateway.pids = iter([7])
    gateway.judged(0, [ANN], "reject")
    gateway.pids = iter([7])
    delivered(gateway, 30, ANN, subject="the second")
    refused, second = of(gateway.write(tmp_path), to=ANN)
    assert (refused["fate"], refused["deliveries"]) == ("rejected", [])
    assert (second["fate"], second["subject"]) == ("delivered", "the second")


def test_a_delivery_number_of_a_qmail_that_was_killed_ends_nobody_elses_delivery(
    gateway: Gateway, tmp_path: Path
) -> None:
    number: int = gateway.queued(0.1, gateway.judged(0, [ANN]))
    gateway._send(1, f"starting delivery 1: msg {number} to remote {ANN}")
    other = gateway.queued(5.1, gateway.judged(5, [BEN]))
    gateway.tried(6, other, BEN, "failure", NEVER)
    (delivery,) = one(gateway.write(tmp_path), to=ANN)["deliveries"]
    assert delivery["result"] == "under way"


def test_messages_before_and_after_the_time_that_is_asked_for_are_left_out(gateway: Gateway, tmp_path: Path) -> None:
    for at in (0, 1000, 2000):
        delivered(gateway, at)
    root = gateway.write(tmp_path, is_rotated=True)
    found = one(root, to=ANN, since=gateway.begin + 900, before=gateway.begin + 1100)
    assert found["time"] == pytest.approx(gateway.begin + 1000, abs=0.01)


def test_the_newest_are_told_when_there_are_too_many(gateway: Gateway, tmp_path: Path) -> None:
    for at in range(20):
        delivered(gateway, at)
    answer = trace(Request(to=ANN, most=5), Places(gateway.write(tmp_path)))
    assert answer["is_cut"]
    assert [round(record["time"] - gateway.begin) for record in answer["records"]] == [15, 16, 17, 18, 19]
    assert all(record["fate"] == "delivered" for record in answer["records"])


def test_logs_that_are_cut_anywhere_are_read_as_far_as_they_go(gateway: Gateway, tmp_path: Path) -> None:
    for at in range(30):
        delivered(gateway, at)
    root = gateway.write(tmp_path, is_rotated=True)
    dice = random.Random(7)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            path.write_bytes(data[: dice.randrange(len(data) + 1)])
    answer = trace(Request(to=ANN), Places(root))
    assert any("messages.jsonl.2.gz" in remark for remark in answer["remarks"]), "what could not be read is named"
    assert all(record["fate"] in ("delivered", "queued", "unknown", "deferred") for record in answer["records"])


def test_lines_that_are_no_lines_of_the_log_disturb_nobody(gateway: Gateway, tmp_path: Path) -> None:
    delivered(gateway, 0)
    root = gateway.write(tmp_path)
    junk = b'\0\xff\n{\n[1]\n{"time":"x","to":5,"qp":[]}\n' + b'{"event":{}}\n' + b"[" * 5000 + b"\n"
    junk += b"@40000000692855 info msg\n@" + b"4" * 24 + b" info msg x: bytes y from <> qp z uid 0\n"
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(junk + path.read_bytes() + junk)
    assert one(root, to=ANN)["fate"] == "delivered"
    assert [record["fate"] for record in of(root) if record.get("qp")][-1:] == ["delivered"]


def test_nul_bytes_of_a_power_cut_and_numbers_that_nothing_has_lose_no_other_message(
    gateway: Gateway, tmp_path: Path
) -> None:
    delivered(gateway, 0, to=BEN)
    delivered(gateway, 10)
    root = gateway.write(tmp_path)
    for path in root.rglob("*"):
        if path.is_file():
            lines = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(b"\0" * 300 + line for line in lines))
    odd = b'{"time":%s,"action":"accept","to":["ann@corp.test"],"qp":%s,"recipients":1}\n'
    journal = root / "var/log/gatescan/messages.jsonl"
    journal.write_bytes(
        journal.read_bytes() + odd % (b"1e999", b"NaN") + odd % (b"%d" % (gateway.begin + 20), b"9" * 400)
    )
    assert [record["fate"] for record in of(root, to=ANN)][:1] == ["delivered"]
    assert one(root, to=BEN)["deliveries"][0]["host"] == "mail.corp.test"


def test_a_line_without_an_end_is_passed_over_and_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\n" + b"x" * (LONGEST + 3 * BLOCK) + b"\nsecond\nthird without end")
    with path.open("rb") as file:
        blocks = list(whole_lines(file))
    assert b"".join(blocks) == b"first\nsecond\n"


def test_a_gateway_without_logs_tells_nothing(tmp_path: Path) -> None:
    assert trace(Request(to=ANN), Places(tmp_path)) == {"records": [], "is_cut": False, "remarks": []}


def test_a_message_that_was_dropped_from_the_queue_tells_by_whom(gateway: Gateway, tmp_path: Path) -> None:
    number: int = gateway.queued(0.1, gateway.judged(0, [ANN]))
    gateway.tried(1, number, ANN, "deferral", LATER, is_told=False)
    gateway.event(50, "queue-drop", msg=number, by="carl@office", to=[ANN])
    gateway.done(51, number)
    found = one(gateway.write(tmp_path), to=ANN)
    assert (found["fate"], found["events"][0]["by"]) == ("dropped", "carl@office")


def test_the_newest_are_the_same_however_little_of_the_logs_is_read(gateway: Gateway, tmp_path: Path) -> None:
    gateway.begin -= 5 * 86_400
    for number in range(60):
        delivered(gateway, number * 7000.0, subject="a" if number % 9 == 0 else "b")
    root = gateway.write(tmp_path)
    for filters in ({}, {"to": ANN}, {"subject": "a"}, {"before": gateway.begin + 200_000}):
        everything = of(root, **filters)
        assert of(root, **filters, most=3) == everything[-3:]
        assert of(root, **filters, most=len(everything)) == everything


@pytest.mark.parametrize("since", [0, 999, 1000, 3000.5, 7999, 9000])
def test_of_a_large_file_only_what_is_too_old_is_left_out(since: float, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f'{{"time":{second}.0,"text":"{"x" * 300}"}}\n' for second in range(1000, 8000)))
    with path.open("rb") as file:
        is_older_left_out = skip_older(file, since)
        rest = [int(line[8:12]) for line in file]
    assert not rest or rest == list(range(rest[0], 8000))
    assert all(second in rest for second in range(max(1000, int(since + 1)), 8000))
    assert len(rest) * 320 < 2 * BLOCK + 320 * max(0, 8000 - since)
    assert is_older_left_out == (len(rest) < 7000)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("everybody", ["*", "**", "?"])
def test_a_recipient_of_whom_nothing_is_known_does_not_keep_the_gateway_busy_for_ever(
    gateway: Gateway, tmp_path: Path, everybody: str
) -> None:
    delivered(gateway, 0)
    assert len(of(gateway.write(tmp_path), to=everybody)) == (1 if "*" in everybody else 0)


def test_figures_count_what_was_judged_and_delivered_by_time_and_name(
    gateway: Gateway, tmp_path: Path, is_rotated: bool
) -> None:
    gateway.begin -= 4 * 3600
    for hour in (0, 1, 1):
        delivered(gateway, hour * 3600 + 10, BEN)
    found = {"code": "rule-extension", "detail": "a.b.EXE: Program", "source": "rules:7", "verdict": "policy"}
    gateway.judged(7300, [ANN, BEN], "quarantine", findings=[found, found], **{"from": "eve@far.test"})
    gateway.scanner.append(
        (gateway.begin + 7301, '{"time":%f,"verdict":7,"to":3,"findings":[1]}' % (gateway.begin + 7301))
    )
    gateway.event(7302, "release", held="1.x", verdict="policy", by="root")
    since = gateway.begin
    root = gateway.write(tmp_path, is_rotated)
    told = carry_out(Request(since=since, before=since + 3 * 3600, spans=3), root)["figures"]
    assert told["verdicts"] == {"clean": [1, 2, 0], "policy": [0, 0, 1]}
    assert told["deliveries"] == {"success": [1, 2, 0]} and dict(told["tls"]) == {"TLSv1.3 verified": 3}
    assert told["rules"] == [("Program (rules:7)", 1)] and told["extensions"] == [(".exe", 1)]
    assert dict(told["senders"]) == {"bob@example.net": 3, "eve@far.test": 1}
    assert dict(told["recipients"]) == {BEN: 4, ANN: 1} and dict(told["actions"]) == {"accept": 3, "quarantine": 1}
    later = carry_out(Request(since=since + 7200, before=since + 10_000, spans=1), root)["figures"]
    assert later["verdicts"] == {"policy": [1]} and later["deliveries"] == {}


def test_names_that_strangers_choose_take_no_more_memory_than_the_frequent_ones() -> None:
    tally = Tally()
    for number in range(3 * COUNTED):
        tally.add(f"{number}@example.net")
        tally.add(ANN)
    assert len(tally.counts) <= COUNTED + 1 and tally.top()[0] == (ANN, 3 * COUNTED)
