"""The pages: each asks gateways, and shows what they said. What changes anything is in changes.py."""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from gatewright.console import overview as figures
from gatewright.console import preview as held_message
from gatewright.console.desk import Desk, Question, Told
from gatewright.console.render import STYLE, page
from gatewright.fleet import measures, trace
from gatewright.fleet.ask import Answers, UsageError
from gatewright.fleet.filters import as_logged, client
from gatewright.fleet.quarantine import entries, plain_filters

SPANS = {"2h": 7_200, "1d": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
"""How far back one may look, in seconds."""
MOST_ROWS = 500
HELD_FILTERS = ("to", "from", "subject", "reason", "verdict", "state")
TRACE_FILTERS = ("to", "sender", "subject", "message_id", "ip", "id")
QUEUE_FILTERS = ("to", "sender")


def desk(request: Request) -> Desk:
    """Whom to ask."""
    found: Desk = request.app.state.desk
    return found


def shown(request: Request, template: str, silent: Mapping[str, str], **values: object) -> HTMLResponse:
    """A page with what every one has: who did not answer, and the token of its forms."""
    common = {"csrf": request.state.csrf, "base": request.state.base, "here": request.url.path}
    common |= {"where": request.app.state.where}
    return HTMLResponse(page(template, silent=silent, **common, **values))


def style(request: Request) -> Response:
    """How pages look."""
    del request
    return FileResponse(STYLE, media_type="text/css")


def icon(request: Request) -> Response:
    """The picture in the browser's tab."""
    del request
    return FileResponse(STYLE.with_name("icon.svg"), media_type="image/svg+xml")


def overview(request: Request) -> Response:
    """How all gateways are."""
    days = {str(days): days for days in figures.SPANS}.get(request.query_params.get("days", ""), 1)
    state, counts = desk(request).look_at_all(*figures.questions(days, time.time()))
    told = figures.overview(days, state.answers, counts.answers, min(state.time, counts.time))
    return shown(request, "overview.html", told.silent, told=told, days=list(figures.SPANS))


# held messages


def quarantine(request: Request) -> Response:
    """What is held."""
    given = given_filters(request, HELD_FILTERS)
    since = request.query_params.get("since", "7d")
    filters = plain_filters(given) | ({"since": f"{SPANS[since] // 60}m"} if since in SPANS else {})
    filters |= {"state": "held"} if "state" not in request.query_params else {}
    answers = desk(request).look(Question("held_mail", {"verb": "list", "filters": filters})).answers
    found = entries(answers)[::-1]
    return shown(
        request,
        "quarantine.html",
        answers.silent,
        found=found[:MOST_ROWS],
        more=max(len(found) - MOST_ROWS, 0),
        filters=dict.fromkeys(HELD_FILTERS, "") | filters | given | {"since": since},
        spans=list(SPANS),
        verdicts=figures.VERDICTS[1:],
    )


def message(request: Request) -> Response:
    """One held message."""
    host, one = request.query_params.get("gateway", ""), request.query_params.get("id", "")
    check_names(host, one)
    told = {name: asked(request, host, name, one) for name in ("show", "message")}
    found = [entry for entry in told["show"].answers.said.get(host, {}).get("entries", []) if entry["id"] == one]
    if not found:
        silent = told["show"].answers.silent
        return shown(request, "gone.html", silent, host=host, one=one)
    findings = findings_of(request, host, found[0])
    data = base64.b64decode(told["message"].answers.said.get(host, {}).get("message", ""))
    return shown(
        request,
        "message.html",
        told["message"].answers.silent,
        host=host,
        entry=found[0],
        why=held_message.why(found[0]),
        preview=held_message.preview(data, findings),
        allowance=held_message.allowance(found[0], findings),
    )


def asked(request: Request, host: str, verb: str, one: str) -> Told:
    """What a gateway says of a held message."""
    return desk(request).look(Question("held_mail", {"verb": verb, "ids": [one]}, host))


def findings_of(request: Request, host: str, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All that the scanner found in it; what the entry says if its log is gone."""
    around = {"id": entry["id"], "since": entry["time"] - 3600, "before": entry["time"] + 3600}
    answers = desk(request).look(Question("mail_trace", around, host)).answers
    records = answers.said.get(host, {}).get("records", [])
    listed = [one for record in records for one in record.get("findings", []) if isinstance(one, dict)]
    return listed or [{"verdict": entry["verdict"], "detail": entry["reason"], "code": entry["code"]}]


# the others


def tracing(request: Request) -> Response:
    """What became of messages."""
    given = given_filters(request, TRACE_FILTERS)
    since = request.query_params.get("since", "1d")
    found, silent, remarks = [], {}, []
    if given:
        wanted = as_asked(given) | {"since": time.time() // 60 * 60 - SPANS.get(since, 86_400), "most": MOST_ROWS}
        answers = desk(request).look(Question("mail_trace", wanted)).answers
        found, silent, remarks = traced(answers), answers.silent, limits(answers)
    return shown(
        request,
        "trace.html",
        silent,
        found=found,
        remarks=remarks,
        filters=dict.fromkeys(TRACE_FILTERS, "") | given | {"since": since},
        spans=list(SPANS),
        is_asked=bool(given),
    )


def traced(answers: Answers) -> list[tuple[str, str, list[str]]]:
    """Fate, line and details of each message, the newest first, in the words of `gw trace`."""
    found = [(host, record) for host, answer in answers.said.items() for record in answer["records"]]
    found.sort(key=lambda pair: (pair[1]["time"], pair[0]), reverse=True)
    told = []
    for host, record in found[:MOST_ROWS]:
        line, *details = trace.lines(host, record, is_verbose=True)
        fate = str(record["fate"])
        told.append((fate, line.replace(f"  {fate}", "", 1), [detail.strip() for detail in details]))
    return told


def limits(answers: Answers) -> list[str]:
    """Which gateways have more, and what they could not read."""
    cut = [f"{host} has more: narrow the search" for host, one in sorted(answers.said.items()) if one["is_cut"]]
    return cut + [f"{host}: {remark}" for host, one in sorted(answers.said.items()) for remark in one["remarks"]]


def queue(request: Request) -> Response:
    """What waits."""
    given = given_filters(request, QUEUE_FILTERS)
    wanted = {"verb": "list", **as_asked(given)}
    answers = desk(request).look(Question("mail_queue", wanted)).answers
    found = [(host, one) for host, answer in answers.said.items() for one in answer["messages"]]
    found.sort(key=lambda pair: (pair[1]["time"], pair[0]))
    more = sum(answer["count"] for answer in answers.said.values()) - len(found[:MOST_ROWS])
    return shown(
        request,
        "queue.html",
        answers.silent,
        found=found[:MOST_ROWS],
        more=more,
        filters=dict.fromkeys(QUEUE_FILTERS, "") | given,
        now=time.time(),
    )


def outbreak(request: Request) -> Response:
    """What is blocked."""
    answers = desk(request).act(measures.blocked, is_change=False)
    rules: dict[str, list[str]] = {}
    for host, answer in sorted(answers.said.items()):
        for rule in answer.get("rules", []):
            rules.setdefault(rule, []).append(host)
    return shown(request, "outbreak.html", answers.silent, rules=rules, hosts=len(answers.said))


def cutoff(request: Request) -> Response:
    """What is cut off."""
    answers = desk(request).look(Question("gateway_status", {})).answers
    ways = {host: one.get("cutoff") for host, one in sorted(answers.said.items())}
    return shown(request, "cutoff.html", answers.silent, ways=ways)


def given_filters(request: Request, names: tuple[str, ...]) -> dict[str, str]:
    """The filters of the address that say something."""
    given = {name: request.query_params.get(name, "").strip() for name in names}
    return {name: value for name, value in given.items() if value}


FORMS: dict[str, Callable[[str], str]] = {
    "to": as_logged,
    "sender": lambda text: "" if text == "<>" else as_logged(text),
    "ip": client,
}
"""How modules want what people write."""


def as_asked(given: Mapping[str, str]) -> dict[str, Any]:
    """The filters as modules take them; UsageError if one cannot be meant."""
    try:
        return {name: FORMS.get(name, str)(value) for name, value in given.items()}
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from error


def check_names(*names: str) -> None:
    """A gateway's name or an id reaches a command line; UsageError if it is none."""
    for name in names:
        if not name or name[0] in "-.@" or not all(letter.isalnum() or letter in "-._:" for letter in name):
            raise UsageError("this names no gateway or no message")
