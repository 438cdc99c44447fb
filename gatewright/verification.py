"""What verify.yml found, as rows: what was looked at, what was expected, what was found, and whether it is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from gatewright.chapters.firewall.ruleset import exempt_rules

Facts = Mapping[str, Any]


class Row(TypedDict):
    """One line of the table."""

    check: str
    expected: str
    found: str
    ok: bool


def verification(found: Facts, gateways: Sequence[Facts]) -> list[Row]:
    """All rows of one host.

    found: `state`, `sockets`, `rules`, `probe` and `fate` as the modules gateway_state, declared_sockets, tcp_rules,
    gateway_probe and message_fate return them, `open` (ports that must answer) and `clients` (how many relay clients).
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
        _relay(found["probe"]["relay"], found["state"]["controller"]),
        *_message(found["probe"]["message"], found.get("fate") or {}),
    ]


def verification_table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines in columns."""
    cells = [("", "CHECK", "EXPECTED", "FOUND")]
    cells += [("ok" if row["ok"] else "WRONG", row["check"], row["expected"], row["found"]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return [
        "  ".join((*(cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)), line[3]))
        for line in cells
    ]


def _row(check: str, expected: str, found: str, ok: bool | None = None) -> Row:
    return {"check": check, "expected": expected, "found": found, "ok": expected == found if ok is None else ok}


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
    missing = [rule for rule in exempt_rules(leave["networks"]) if rule not in lines]
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


def _message(reply: Facts, fate: Facts) -> Iterator[Row]:
    if not reply:
        yield _row("test message", "none was asked for", "none was asked for")
        return
    words = f"{reply['code']} {reply['text']}" if reply["code"] else f"no reply: {reply['text']}"
    yield _row("test message", "250", words, reply["code"] == 250)
    if fate and reply["code"] == 250:
        said = f"{fate['fate']} {fate['words'].replace('_', ' ')}".strip()
        yield _row("its fate", "delivered", said, fate["fate"] == "delivered")
