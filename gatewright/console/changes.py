"""What pages change. A change that is not to be taken back, or that stops mail, is shown first and done on a yes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gatewright.console.pages import check_names, desk, shown
from gatewright.fleet import measures
from gatewright.fleet.ask import Answers, Fleet, UsageError, ask, ask_each, who
from gatewright.fleet.filters import as_logged
from gatewright.fleet.queue import DONE

LEFT = "not tried, as there was no time: do it again"
DROPPED = "A copy is kept on the gateway for a day. Nobody gets a bounce."
MOST_RESULTS = 50
"""Results of changes that can be looked at again."""
Form = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A change: what it is, what it would do in lines, and what does it. asks: whether a yes is needed first."""

    title: str
    lines: Sequence[str]
    do: Callable[[Fleet], Answers]
    tell: Callable[[Mapping[str, Any]], list[tuple[bool, str]]]
    back: str
    asks: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a change: lines of (gateway, whether it was done, words)."""

    title: str
    lines: Sequence[tuple[str, bool, str]]
    silent: Mapping[str, str]
    back: str


@dataclass(slots=True)
class Results:
    """The latest results, so that to reload a page does nothing again."""

    kept: dict[str, Result] = field(default_factory=dict)

    def keep(self, result: Result) -> str:
        """The name under which it is found."""
        name = secrets.token_urlsafe(9)
        self.kept[name] = result
        for old in list(self.kept)[:-MOST_RESULTS]:
            self.kept.pop(old, None)
        return name


def change(request: Request) -> Response:
    """A form was sent: show what it would do, or do it."""
    form: Form = request.state.form
    make = PLANS.get(request.path_params["what"])
    if make is None:
        raise UsageError("there is no such change")
    plan = make(form)
    if plan.asks and dict(form).get("sure") != "yes":
        fields = [(name, value) for name, value in form if name not in ("csrf", "sure")]
        return shown(request, "confirm.html", {}, plan=plan, fields=fields)
    answers = desk(request).act(plan.do)
    lines = [(host, *line) for host, answer in sorted(answers.said.items()) for line in plan.tell(answer)]
    name = request.app.state.results.keep(Result(plan.title, lines, answers.silent, plan.back))
    return RedirectResponse(f"{request.state.base}/done?result={name}", 303)


def done(request: Request) -> Response:
    """What came of a change."""
    result = request.app.state.results.kept.get(request.query_params.get("result", ""))
    if result is None:
        raise UsageError("this result is not kept any more")
    return shown(request, "done.html", result.silent, result=result)


# held messages and the queue


def chosen(form: Form, kind: Callable[[str], Any] = str) -> dict[str, list[Any]]:
    """The messages that were ticked, by gateway; UsageError if there are none."""
    found: dict[str, list[Any]] = {}
    for name, value in form:
        if name == "message":
            host, _, one = value.partition(" ")
            check_names(host, one)
            found.setdefault(host, []).append(kind(one))
    if not found:
        raise UsageError("no message was chosen")
    return found


def counted(number: int) -> str:
    """So many messages."""
    return f"{number} message{'' if number == 1 else 's'}"


def named(messages: Mapping[str, list[Any]]) -> list[str]:
    """Which ones, a line a gateway."""
    more = {host: f" and {len(some) - 20} more" if len(some) > 20 else "" for host, some in messages.items()}
    return [f"{host}: {', '.join(map(str, some[:20]))}{more[host]}" for host, some in messages.items()]


def held(form: Form) -> Plan:
    """Release or delete held messages; one that is released alone needs no yes."""
    verb = verb_of(form, ("release", "delete"))
    messages = chosen(form)
    number = sum(map(len, messages.values()))

    def do(fleet: Fleet) -> Answers:
        common = {"verb": verb, "by": who(), "again": False, "seconds": fleet.working_seconds}
        return ask_each(fleet, "held_mail", {host: common | {"ids": some} for host, some in messages.items()})

    def tell(answer: Mapping[str, Any]) -> list[tuple[bool, str]]:
        return left(answer) + [(said["done"], said["text"]) for said in answer["said"].values()]

    return Plan(
        f"{verb.capitalize()} {counted(number)}",
        named(messages),
        do,
        tell,
        "/quarantine",
        asks=verb == "delete" or number > 1,
    )


def queue(form: Form) -> Plan:
    """Try, hold, resume or drop what waits; only to drop needs a yes."""
    verb = verb_of(form, ("flush", "hold", "resume", "drop"))
    messages = chosen(form, number_of)
    common = {"verb": verb, "to": as_logged(dict(form).get("to", "")), "wait": 60.0, "by": who()}
    number = sum(map(len, messages.values()))
    whom = f" for {common['to']} alone" if common["to"] else ""
    return Plan(
        f"{verb.capitalize()} {counted(number)}{whom}",
        [*named(messages), *([DROPPED] if verb == "drop" else [])],
        lambda fleet: ask_each(fleet, "mail_queue", {host: common | {"ids": some} for host, some in messages.items()}),
        lambda answer: [*left(answer), (bool(answer["count"]), f"{counted(answer['count'])}: {DONE[verb]}")],
        "/queue",
        asks=verb == "drop",
    )


def left(answer: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """How many messages there was no time for."""
    return [(False, f"{counted(answer['left'])} {LEFT}")] if answer.get("left") else []


def flush(form: Form) -> Plan:
    """Try everything that waits."""
    del form
    request = {"verb": "flush", "by": who()}
    return Plan(
        "Try everything that waits",
        [],
        lambda fleet: ask(fleet, "mail_queue", request),
        lambda answer: [(True, f"{counted(answer['count'])}: {DONE['flush']}")],
        "/queue",
        asks=False,
    )


def number_of(text: str) -> int:
    """qmail's number of a message."""
    if not text.isascii() or not text.isdigit():
        raise UsageError("this is no number of qmail's")
    return int(text)


def verb_of(form: Form, verbs: Sequence[str]) -> str:
    """What is to be done."""
    verb = dict(form).get("verb", "")
    if verb not in verbs:
        raise UsageError(f"nothing was chosen to be done; it is one of {', '.join(verbs)}")
    return verb


# an outbreak, and mail that is cut off

KINDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "extension": lambda value: {"extension": value},
    "name": lambda value: {"name": value},
    "subject": lambda value: {"header": "Subject", "pattern": f".*{re.escape(value)}.*"},
    "sender": lambda value: {"header": "MAILFROM", "pattern": re.escape(value)},
}
"""What can be blocked, as the inventory's rules say it."""


def block(form: Form) -> Plan:
    """Block a pattern."""
    given = dict(form)
    kind, value = given.get("kind", ""), given.get("value", "").strip()
    if kind not in KINDS or not value:
        raise UsageError("say what is to be blocked")
    said = {name: given[name] for name in ("description", "direction") if given.get(name, "").strip()}
    rule = measures.rule_of(KINDS[kind](value) | said)
    return Plan("Block this on all gateways", [rule], lambda fleet: measures.block(fleet, rule), in_force, "/outbreak")


def lift(form: Form) -> Plan:
    """Take blocks back."""
    rules = [value for name, value in form if name == "rule"]
    if not rules:
        raise UsageError("no block was chosen")
    return Plan(
        f"Lift {len(rules)} block{'' if len(rules) == 1 else 's'}",
        rules,
        lambda fleet: measures.lift(fleet, rules),
        in_force,
        "/outbreak",
        asks=False,
    )


def in_force(answer: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """How many blocks a gateway has now."""
    number = len(answer.get("rules", []))
    return [(True, f"{number} block{'' if number == 1 else 's'} in force")]


CUT = {
    "inbound": "Whoever connects is told to come back later.",
    "outbound": "What is in the queue stays there.",
    "both": "Whoever connects is told to come back later, and what is in the queue stays there.",
}


def cutoff(form: Form) -> Plan:
    """Cut mail off, or give it back."""
    verb, way = verb_of(form, ("cut", "open")), dict(form).get("way", "")
    if way not in measures.WAYS:
        raise UsageError("say which mail: inbound, outbound or both")
    what = "all mail" if way == "both" else f"{way} mail"
    return Plan(
        f"Cut off {what} on all gateways" if verb == "cut" else f"Give back {what} on all gateways",
        [CUT[way] + " This lasts, also over reboots, until it is given back."] if verb == "cut" else [],
        lambda fleet: measures.cutoff(fleet, verb, way),
        lambda answer: [(True, line) for line in answer.get("stdout", "").splitlines() if "changed" not in line],
        "/cutoff",
        asks=verb == "cut",
    )


PLANS: dict[str, Callable[[Form], Plan]] = {
    "held": held,
    "queue": queue,
    "flush": flush,
    "block": block,
    "lift": lift,
    "cutoff": cutoff,
}
