"""What verify.yml found, as rows: what was looked at, what was expected, what was found, and whether it is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from gatepost.dkim import txt_data

from gatewright.chapters.firewall.ruleset import exempt_elements

Facts = Mapping[str, Any]


class Row(TypedDict):
    """One line of the table."""

    check: str
    expected: str
    found: str
    ok: bool
    note: bool
    """Something to think of, which is no fault of the gateway."""


def verification(found: Facts, gateways: Sequence[Facts]) -> list[Row]:
    """All rows of one host.

    found: `state`, `sockets`, `rules`, `probe` and `fate` as the modules gateway_state, declared_sockets, tcp_rules,
    gateway_probe and message_fate return them, `open` (ports that must answer), `clients` (how many relay clients) and
    `unsent` (whether a test message was asked for and, in a check, not sent).
    gateways: for each gateway of the inventory its `names` and `addresses`.
    """
    return [
        *_ports(found["probe"], {str(port) for port in found["open"]}),
        *_services(found["state"]),
        _sockets(found["sockets"]),
        _rules(found["rules"], found["clients"]),
        *_leave(found.get("leave") or {}),
        *_doctor("scanner", "gatescan", found["state"]["doctor"]),
        *_door(found["state"].get("door")),
        *_mx(found["state"]["mx"], gateways),
        *mail_rows(found["state"].get("records"), found["state"].get("me", "")),
        _relay(found["probe"]["relay"], found["state"]["controller"]),
        *_message(found["probe"]["message"], found.get("fate") or {}, found.get("unsent", False)),
    ]


def gateway_names(gateways: Sequence[str], hostvars: Mapping[str, Facts]) -> list[dict[str, list[str]]]:
    """Return by which names and addresses an MX record may mean each gateway; one without a state has not answered."""
    found = []
    for name in gateways:
        host = hostvars[name]
        state = host.get("_verify_state") or {}
        names = [name, host.get("qmail_me", name), state.get("me", name)]
        found.append({"names": names, "addresses": [host.get("ansible_host", name), *state.get("addresses", ())]})
    return found


def verification_table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines in columns."""
    cells = [("", "CHECK", "EXPECTED", "FOUND")]
    cells += [(_word(row), row["check"], row["expected"], row["found"]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return [
        "  ".join((*(cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)), line[3]))
        for line in cells
    ]


def _word(row: Row) -> str:
    return "WRONG" if not row["ok"] else "note" if row["note"] else "ok"


def _row(check: str, expected: str, found: str, ok: bool | None = None) -> Row:
    is_right = expected == found if ok is None else ok
    return {"check": check, "expected": expected, "found": found, "ok": is_right, "note": False}


def _ports(probe: Facts, wanted: set[str]) -> Iterator[Row]:
    for address, states in probe["ports"].items():
        for port in sorted(wanted, key=int):
            yield _row(f"port {port} of {address}", "open", states[port])
        others = {port: state for port, state in states.items() if port not in wanted}
        answering = [port for port, state in others.items() if state == "open"]
        said = f"open: {', '.join(answering)}" if answering else "none answers"
        yield _row(f"{len(others)} other ports of {address}", "none answers", said)


def _services(state: Facts) -> Iterator[Row]:
    for name, words in state["services"].items():
        yield _row(f"service {name}", "up", words, words.startswith("up ") and "paused" not in words)
    cut = " and ".join(state["cutoff"])
    yield _row("cutoff", "nothing is cut off", f"{cut} mail is cut off" if cut else "nothing is cut off")


def _sockets(sockets: Facts) -> Row:
    wrong = [f"not declared: {item}" for item in sockets["undeclared"]]
    wrong += [f"missing: {item}" for item in sockets["missing"]]
    return _row("listening sockets", "the declared ones", "; ".join(wrong) or "the declared ones")


def _rules(rules: Facts, clients: int) -> Row:
    check = f"rules of {clients} relay {'client' if clients == 1 else 'clients'}"
    if rules.get("failed"):
        return _row(check, "as the inventory says", str(rules.get("msg")), False)
    stale = "differ from the inventory: run site.yml --tags tcp_smtp"
    diff = rules["diff"]
    same = diff["before"] == diff["after"] and diff["before_header"] == diff["after_header"]
    return _row(check, "as the inventory says", "as the inventory says" if same else stale)


def _leave(leave: Facts) -> Iterator[Row]:
    """What the firewall and AppArmor do for relay clients, as far as their files tell.

    leave: `text` of both files, `networks` that the limits of sources are to let pass, `programs` that networks name as
    their QMAILQUEUE.
    """
    if not leave:
        return
    lines = {line.strip() for line in leave["text"].splitlines()}
    missing = [line for line in exempt_elements(leave["networks"]) if line not in lines]
    stale = "differs from the inventory: run site.yml --tags tcp_smtp"
    right = "as the inventory says"
    yield _row("relay clients that limits do not hold up", right, stale if missing else right)
    if "profile " in leave["text"]:
        barred = [program for program in leave["programs"] if program not in leave["text"]]
        yield _row("queue programs that AppArmor lets run", right, stale if barred else right)


def _door(checks: Sequence[Facts] | None) -> Iterator[Row]:
    """Nothing where gatekeeper is off."""
    if checks is not None:
        yield from _doctor("door", "gatekeeper", checks)


def _doctor(what: str, program: str, checks: Sequence[Facts]) -> Iterator[Row]:
    if not checks:
        yield _row(what, "nothing broken", f"{program} doctor says nothing", False)
        return
    told = [item for item in checks if item["state"] != "ok"]
    broken = any(item["state"] == "broken" for item in told)
    words = "; ".join(f"{item['state']}: {item['what']}" for item in told) or "nothing broken"
    yield _row(what, "nothing broken", words, not broken)


def _mx(records: Facts, gateways: Sequence[Facts]) -> Iterator[Row]:
    names = {str(name).lower() for gateway in gateways for name in gateway["names"]}
    addresses = {address for gateway in gateways for address in gateway["addresses"]}
    for domain, answer in records.items():
        strangers = [
            host["host"]
            for host in answer["hosts"]
            if host["host"] not in names and not addresses.intersection(host["addresses"])
        ]
        shown = ", ".join(f"{host['preference']} {host['host']}" for host in answer["hosts"]) or "no MX record"
        words = answer["error"] or (f"no gateway: {', '.join(strangers)}" if strangers else shown)
        yield _row(f"MX of {domain}", "gateways only", words, bool(answer["hosts"]) and not strangers)


def _relay(reply: Facts, controller: Facts) -> Row:
    words = f"{reply['code']} {reply['text']}" if reply["code"] else f"no reply: {reply['text']}"
    if controller["denied"]:
        return _row("SMTP from here, which is denied", "no reply", words, reply["code"] == 0)
    if controller["may_relay"]:
        return _row("relay from here, a listed client", "250", words, reply["code"] == 250)
    return _row("relay from here, no listed client", "refused", words, 550 <= reply["code"] < 560)


def _message(reply: Facts, fate: Facts, unsent: bool) -> Iterator[Row]:
    if not reply:
        words = "not sent (check mode)" if unsent else "none was asked for"
        yield _row("test message", words, words)
        return
    words = f"{reply['code']} {reply['text']}" if reply["code"] else f"no reply: {reply['text']}"
    yield _row("test message", "250", words, reply["code"] == 250)
    if fate and reply["code"] == 250:
        said = f"{fate['fate']} {fate['words'].replace('_', ' ')}".strip()
        yield _row("its fate", "delivered", said, fate["fate"] == "delivered")


def mail_rows(records: Facts | None, me: str) -> Iterator[Row]:
    """What others look for in DNS before they take mail of ours, and what to publish where it is not there.

    Notes, not faults: the zones are often somebody else's, and a test network has none of it.
    """
    if not records:
        return
    texts = records["texts"]
    for address, names in records["addresses"].items():
        words = ", ".join(names) or f"none that leads back: have its network set it to {me}"
        yield _note(f"PTR of {address}", me, words, names == [me])
    for domain in records["domains"]:
        reports = f"v=DMARC1; p=none; rua=mailto:postmaster@{domain}"
        yield _text(f"SPF of {domain}", domain, texts, "v=spf1 mx -all")
        yield _text(f"DMARC of {domain}", _dmarc_name(domain, texts), texts, reports)
        yield _text(f"MTA-STS of {domain}", f"_mta-sts.{domain}", texts, "v=STSv1; id=1")
    for name, wanted in records["dkim"].items():
        yield _dkim(name, wanted, texts[name])
    if records["tlsa"]["fitting"]:
        yield _tlsa(records["tlsa"])


def _note(check: str, expected: str, found: str, is_right: bool) -> Row:
    return {"check": check, "expected": expected, "found": found, "ok": True, "note": not is_right}


def _text(check: str, name: str, texts: Facts, example: str) -> Row:
    """The one TXT record of a kind, which the example's first word tells; two are as bad as none."""
    kind, answer = _first_word(example), texts[name]
    found = [text for text in answer["found"] if _first_word(text) == kind]
    many = f"{len(found)} records, of which none counts: " if len(found) > 1 else ""
    words = answer["error"] or many + " and ".join(found) or f'none; publish {name}. IN TXT "{example}"'
    return _note(check, "one record", words, len(found) == 1)


def _first_word(text: str) -> str:
    return text.replace(";", " ").partition(" ")[0]


def _dmarc_name(domain: str, texts: Facts) -> str:
    """Where a domain's DMARC record is: its own, or else that of the nearest parent that has one (RFC 7489, 6.6.3)."""
    labels = domain.split(".")
    names = [f"_dmarc.{'.'.join(labels[at:])}" for at in range(max(1, len(labels) - 1))]
    has = (name for name in names if any(_first_word(text) == "v=DMARC1" for text in texts[name]["found"]))
    return next(has, names[0])


def _dkim(name: str, wanted: str, answer: Facts) -> Row:
    check, right = f"DKIM {name}", "the key that signs"
    keys = [_key(text) for text in answer["found"]]
    if keys == [_key(wanted)]:
        return _note(check, right, right, True)
    words = f"{'another key' if keys else 'none'}; publish {name}. IN TXT {txt_data(wanted)}"
    return _note(check, right, answer["error"] or words, False)


def _key(record: str) -> str:
    """The key in a DKIM record."""
    found = dict(part.strip().partition("=")[::2] for part in record.split(";"))
    return "".join(found.get("p", "").split())


def _tlsa(server: Facts) -> Row:
    """Records that name another key are worse than none: whoever looks at DANE sends nothing any more."""
    check, right = f"TLSA of {server['name']}", "the key on port 25"
    if not set(server["fitting"]).isdisjoint(server["found"]):
        return _note(check, right, right, True)
    record = f"{server['name']}. IN TLSA {server['fitting'][0]}"
    if server["found"]:
        return _note(check, right, f"another key, so senders with DANE keep their mail; publish {record}", False)
    return _note(check, right, server["error"] or f"none; if DNSSEC signs the zone, publish {record}", False)
