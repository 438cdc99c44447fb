"""verification: each thing that can be wrong on a gateway is a row that says so."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gatewright.verification import gateway_names, verification, verification_table

GATEWAYS = [
    {"names": ["gw1.example.org"], "addresses": ["192.0.2.1"]},
    {"names": ["gw2.example.org"], "addresses": ["192.0.2.2", "2001:db8::2"]},
]
MX = [
    {"host": "gw1.example.org", "preference": 10, "addresses": ["203.0.113.1"]},
    {"host": "mx.example.org", "preference": 20, "addresses": ["2001:db8::2"]},
]
GOOD: dict[str, Any] = {
    "open": [22, 25],
    "clients": 2,
    "state": {
        "services": {"qmail-send": "up (pid 7) 100 seconds"},
        "cutoff": [],
        "doctor": [{"state": "ok", "what": "rules"}, {"state": "warning", "what": "signatures are old"}],
        "door": [{"state": "ok", "what": "daemon: answers"}, {"state": "warning", "what": "DNS list x: left out"}],
        "controller": {"address": "192.0.2.9", "denied": False, "may_relay": False},
        "mx": {"example.org": {"error": "", "hosts": MX}},
    },
    "sockets": {"undeclared": [], "missing": []},
    "rules": {"diff": {"before": "a", "after": "a", "before_header": "f", "after_header": "f"}},
    "probe": {
        "ports": {"192.0.2.1": {"22": "open", "25": "open", "80": "silent", "111": "refused"}},
        "relay": {"code": 553, "text": "sorry"},
        "message": {"code": 250, "text": "ok"},
    },
    "fate": {"fate": "delivered", "words": "ok"},
}
STRANGER = {"host": "old.example.org", "preference": 30, "addresses": ["192.0.2.77"]}


def wrong(found: dict[str, Any]) -> list[str]:
    """The checks that are not as they must be."""
    return [row["check"] for row in verification(found, GATEWAYS) if not row["ok"]]


def test_a_good_gateway_has_nothing_wrong() -> None:
    assert wrong(GOOD) == []


@pytest.mark.parametrize(("unsent", "words"), [(True, "not sent (check mode)"), (False, "none was asked for")])
def test_a_message_that_was_not_sent_says_why(unsent: bool, words: str) -> None:
    found = GOOD | {"probe": GOOD["probe"] | {"message": {}}, "fate": {}, "unsent": unsent}
    assert [row["found"] for row in verification(found, GATEWAYS) if row["check"] == "test message"] == [words]
    assert wrong(found) == []


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        ("probe.ports.192.0.2.1.25", "silent", "port 25 of 192.0.2.1"),
        ("probe.ports.192.0.2.1.80", "open", "2 other ports of 192.0.2.1"),
        ("state.services.qmail-send", "down (exitcode 0) 3 seconds", "service qmail-send"),
        ("state.services.qmail-send", "up (pid 7) 100 seconds, paused", "service qmail-send"),
        ("state.cutoff", ["inbound"], "cutoff"),
        ("sockets.undeclared", ["tcp 0.0.0.0 4444 nc"], "listening sockets"),
        ("sockets.missing", ["tcp * 25 tcpserver"], "listening sockets"),
        ("rules.diff.before", "b", "rules of 2 relay clients"),
        ("rules.diff.after_header", "f and f.cdb", "rules of 2 relay clients"),
        ("rules", {"failed": True, "msg": "10.0.0.7 must be denied"}, "rules of 2 relay clients"),
        ("state.doctor", [{"state": "broken", "what": "daemon"}], "scanner"),
        ("state.doctor", [], "scanner"),
        ("state.door", [{"state": "broken", "what": "recipients: the file is empty"}], "door"),
        ("state.door", [], "door"),
        ("state.mx", {"example.org": {"error": "", "hosts": [*MX, STRANGER]}}, "MX of example.org"),
        ("state.mx", {"example.org": {"error": "", "hosts": []}}, "MX of example.org"),
        ("state.mx", {"example.org": {"error": "no such domain", "hosts": []}}, "MX of example.org"),
        ("probe.relay", {"code": 250, "text": "ok"}, "relay from here, no listed client"),
        ("probe.relay", {"code": 421, "text": "later"}, "relay from here, no listed client"),
        ("state.controller.may_relay", True, "relay from here, a listed client"),
        ("state.controller.denied", True, "SMTP from here, which is denied"),
        ("probe.message", {"code": 0, "text": "no route"}, "test message"),
        ("fate", {"fate": "deferred", "words": "not_now"}, "its fate"),
    ],
)
def test_each_thing_that_is_wrong_is_named(path: str, value: Any, check: str) -> None:
    found = copy.deepcopy(GOOD)
    keys = path.replace("192.0.2.1", "ADDRESS").split(".")
    place = found
    for key in keys[:-1]:
        place = place["192.0.2.1" if key == "ADDRESS" else key]
    place[keys[-1]] = value
    assert wrong(found) == [check]


def test_a_door_that_is_off_has_no_row() -> None:
    found = {**GOOD, "state": {**GOOD["state"], "door": None}}
    assert wrong(found) == [] and "door" not in [row["check"] for row in verification(found, GATEWAYS)]


def test_the_table_has_its_columns_below_each_other() -> None:
    lines = verification_table(verification(GOOD, GATEWAYS))
    column = lines[0].index("EXPECTED")
    assert lines[1].startswith("ok  port 22") and all(line[column - 1] == " " != line[column] for line in lines)


@pytest.mark.parametrize(
    ("networks", "programs", "words"),
    [
        (["192.0.2.0/24"], ["/usr/bin/scan"], []),
        (["192.0.2.0/24", "198.51.100.7"], [], ["relay clients that limits do not hold up"]),
        (["192.0.2.0/24"], ["/opt/other"], ["queue programs that AppArmor lets run"]),
    ],
)
def test_what_the_firewall_and_apparmor_owe_to_relay_clients_is_looked_at(
    networks: list[str], programs: list[str], words: list[str]
) -> None:
    text = "add element inet gatewright exempt4 { 192.0.2.0/24 }\nprofile gatewright-qmail {\n  /usr/bin/scan Ux,\n}\n"
    leave = {"text": text, "networks": networks, "programs": programs}
    assert wrong({**GOOD, "leave": leave}) == words


def record(*found: str, error: str = "") -> dict[str, Any]:
    return {"error": error, "found": list(found)}


RECORDS: dict[str, Any] = {
    "domains": ["mail.example.org"],
    "addresses": {"203.0.113.1": ["gw1.example.org"]},
    "texts": {
        "mail.example.org": record("v=spf1 mx -all", "some-service=17"),
        "_dmarc.mail.example.org": record(),
        "_dmarc.example.org": record("v=DMARC1; p=reject"),
        "_mta-sts.mail.example.org": record("v=STSv1;id=7"),
        "gw1._domainkey.mail.example.org": record("v=DKIM1; k=rsa; p=AB CD"),
    },
    "dkim": {"gw1._domainkey.mail.example.org": "v=DKIM1; p=ABCD"},
    "tlsa": {
        "name": "_25._tcp.gw1.example.org",
        "fitting": ["3 1 1 aa", "2 1 1 cc"],
        **record("3 1 1 aa", "3 1 1 bb"),
    },
}


def notes(records: dict[str, Any]) -> dict[str, str]:
    """The notes of a gateway that is right, with these records: check -> what was found."""
    found = copy.deepcopy(GOOD)
    found["state"] |= {"me": "gw1.example.org", "records": records}
    assert wrong(found) == [], "what DNS lacks is no fault of the gateway"
    return {row["check"]: row["found"] for row in verification(found, GATEWAYS) if row["note"]}


def test_records_that_others_look_for_need_no_word_where_they_are_there() -> None:
    assert notes(RECORDS) == {}


@pytest.mark.parametrize(
    ("place", "value", "check", "words"),
    [
        (("addresses", "203.0.113.1"), [], "PTR of 203.0.113.1", "have its network set it to gw1.example.org"),
        (("addresses", "203.0.113.1"), ["x.example.net"], "PTR of 203.0.113.1", "x.example.net"),
        (
            ("texts", "mail.example.org"),
            record(),
            "SPF of mail.example.org",
            'IN TXT "v=spf1 mx -all"',
        ),
        (("texts", "mail.example.org"), record("v=spf1 -all", "v=spf1 mx"), "SPF of mail.example.org", "2 records, of"),
        (("texts", "mail.example.org"), record(error="no answer"), "SPF of mail.example.org", "no answer"),
        (("texts", "_dmarc.example.org"), record(), "DMARC of mail.example.org", "_dmarc.mail.example.org. IN TXT"),
        (("texts", "_mta-sts.mail.example.org"), record("v=spf1"), "MTA-STS of mail.example.org", "v=STSv1; id="),
        (
            ("texts", "gw1._domainkey.mail.example.org"),
            record("v=DKIM1; p=ABCE"),
            "DKIM gw1._domainkey.mail.example.org",
            'another key; publish gw1._domainkey.mail.example.org. IN TXT "v=DKIM1; p=ABCD"',
        ),
        (("tlsa", "found"), [], "TLSA of _25._tcp.gw1.example.org", "if DNSSEC signs the zone, publish"),
        (("tlsa", "found"), ["3 1 1 bb"], "TLSA of _25._tcp.gw1.example.org", "another key, so senders with DANE"),
    ],
)
def test_a_record_that_is_missing_or_wrong_is_a_note_with_what_to_publish(
    place: tuple[str, str], value: Any, check: str, words: str
) -> None:
    records = copy.deepcopy(RECORDS)
    records[place[0]][place[1]] = value
    found = notes(records)
    assert list(found) == [check]
    assert words in found[check]


def test_a_key_that_is_too_long_for_one_string_is_to_be_published_in_several() -> None:
    records = copy.deepcopy(RECORDS)
    records["dkim"] = {"gw1._domainkey.mail.example.org": f"v=DKIM1; k=rsa; p={'A' * 736}"}
    found = notes(records)["DKIM gw1._domainkey.mail.example.org"]
    assert [len(part) for part in found.split('"')[1::2]] == [255, 255, 244]


def test_a_record_of_the_servers_authority_is_as_good_as_one_of_its_key() -> None:
    records = copy.deepcopy(RECORDS)
    records["tlsa"]["found"] = ["2 1 1 cc"]
    assert notes(records) == {}


def test_the_table_tells_a_note_from_what_is_wrong() -> None:
    found = copy.deepcopy(GOOD)
    found["state"] |= {"me": "gw1.example.org", "records": RECORDS | {"addresses": {"203.0.113.1": []}}}
    lines = verification_table(verification(found, GATEWAYS))
    assert [line.split()[0] for line in lines if "PTR of" in line] == ["note"]


def test_gateways_have_the_names_and_addresses_of_inventory_and_host() -> None:
    state = {"me": "mx1.example.org", "addresses": ["192.0.2.1", "2001:db8::1"]}
    hosts: dict[str, dict[str, Any]] = {
        "gw1": {"ansible_host": "10.0.0.1", "qmail_me": "gw1.example.org", "_verify_state": state},
        "gw2": {"_verify_state": None},
    }
    assert gateway_names(list(hosts), hosts) == [
        {"names": ["gw1", "gw1.example.org", "mx1.example.org"], "addresses": ["10.0.0.1", "192.0.2.1", "2001:db8::1"]},
        {"names": ["gw2", "gw2", "gw2"], "addresses": ["gw2"]},
    ]
