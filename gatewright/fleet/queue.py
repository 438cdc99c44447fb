"""`gw queue`: what waits in qmail's queues, over all gateways."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gatescan.text import printable

from gatewright.fleet import EXIT_NONE, EXIT_OK, EXIT_TEXT, EXIT_USAGE, LEFT
from gatewright.fleet.ask import Answers, Fleet, add_fleet, ask, ask_each, fleet_of, is_sure, who
from gatewright.fleet.filters import as_logged, patience
from gatewright.fleet.show import as_json, harmless, moment, people, span, table

DESCRIPTION = """\
Look at what waits in the queues of all gateways, and decide about it.

  list     what waits, the oldest first
  flush    try it now; what is held stays held
  hold     leave it in the queue until it is resumed; a recipient's other messages go on
  resume   try what was held now
  drop     take recipients off it, for good, without a bounce; asks before. A copy stays for a day in
           /var/lib/gatewright/dropped of that gateway, readable for root alone

Without a filter, flush is told to a running qmail-send. All else but list waits for the deliveries that are under way
(--wait seconds), changes qmail's files while no qmail-send runs, and starts it again: mail comes in meanwhile."""

EPILOG = f"""\
examples:
  gw queue list --to @partner.example
  gw queue flush --to @partner.example           their server is back
  gw queue hold --from app@corp.example          something sends too much: look first
  gw queue drop --from app@corp.example --older 2h
  gw queue drop --to ann@example.org 1310742     one recipient of one message

{EXIT_TEXT}"""

VERBS = ("list", "flush", "hold", "resume", "drop")
MARGIN = 60
"""Seconds that a gateway has to answer after it has waited for its deliveries."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "gw queue", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("verb", choices=VERBS, metavar="list|flush|hold|resume|drop")
    made.add_argument("ids", nargs="*", type=int, metavar="NUMBER", help="qmail's numbers of messages")
    filters = made.add_argument_group("which messages: all filters must fit")
    filters.add_argument(
        "--to",
        type=as_logged,
        default="",
        metavar="ADDRESS",
        help="who is still to get it; @example.org: anybody there",
    )
    filters.add_argument(
        "--from", dest="sender", type=as_logged, metavar="ADDRESS", help="the envelope's sender; '<>' for bounces"
    )
    filters.add_argument("--older", type=moment, metavar="SPAN", help="longer in the queue than that, such as 2h or 3d")
    made.add_argument("--wait", type=patience, default=60.0, metavar="SECONDS", help="for deliveries under way (60)")
    made.add_argument("--yes", action="store_true", help="drop without a question")
    made.add_argument("--json", action="store_true", help="a JSON object a line, for programs")
    add_fleet(made)
    return made


def main(words: list[str], further: list[str]) -> int:
    """Carry out one verb; returns the exit status."""
    options = parser().parse_intermixed_args(words)
    fleet = fleet_of(options, further)
    # a module that is ended in the middle cannot say what it did
    fleet = replace(fleet, seconds=max(fleet.seconds, round(options.wait) + MARGIN))
    request = request_of(options) | {"seconds": fleet.working_seconds - options.wait}
    if options.verb in ("hold", "drop") and not has_filter(options):
        print(f"gw queue {options.verb}: name the messages, or give at least one filter", file=sys.stderr)
        return EXIT_USAGE
    if options.verb == "drop":
        return drop(fleet, options, request)
    answers = ask(fleet, "mail_queue", request)
    return tell(answers, options)


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the module is asked."""
    sender = "" if options.sender == "<>" else options.sender
    older = max(time.time() - options.older, 0.0) if options.older is not None else 0.0
    request = {"verb": options.verb, "to": options.to, "sender": sender, "older": older, "ids": options.ids}
    return request | {"wait": options.wait, "by": who()}


def has_filter(options: argparse.Namespace) -> bool:
    """Whether anything narrows what is meant."""
    return bool(options.to or options.sender is not None or options.older is not None or options.ids)


def drop(fleet: Fleet, options: argparse.Namespace, request: dict[str, Any]) -> int:
    """Show what would go, ask, and have exactly that dropped."""
    found = ask(fleet, "mail_queue", request | {"verb": "list"})
    numbers = {host: [one["msg"] for one in answer["messages"]] for host, answer in found.said.items()}
    numbers = {host: some for host, some in numbers.items() if some}
    if not numbers:
        print("gw queue: no message that fits", file=sys.stderr)
        return found.status(EXIT_NONE)
    count = sum(map(len, numbers.values()))
    if not options.yes:
        print_table(found)
        if not is_sure(f"drop {count} message{'' if count == 1 else 's'}, for these recipients?"):
            print("gw queue: nothing was done; --yes does it without a question", file=sys.stderr)
            return EXIT_USAGE
    done = ask_each(fleet, "mail_queue", {host: request | {"ids": some} for host, some in numbers.items()})
    return found.status(tell(done, options))


def tell(answers: Answers, options: argparse.Namespace) -> int:
    """Print what there is, or what was done; returns the exit status."""
    count = sum(answer["count"] for answer in answers.said.values())
    if options.json:
        for host, answer in answers.said.items():
            for one in answer["messages"]:
                print(as_json(host, one))
    elif options.verb == "list":
        print_table(answers)
    else:
        for host, answer in sorted(answers.said.items()):
            print(f"{host}: {answer['count']} message{'' if answer['count'] == 1 else 's'}: {DONE[options.verb]}")
    for host, answer in sorted(answers.said.items()):
        if answer["unsorted"]:
            print(f"gw queue: {host}: {answer['unsorted']} more that qmail-send has not looked at yet", file=sys.stderr)
        if answer.get("left"):
            print(f"gw queue: {host}: {answer['left']} more {LEFT}", file=sys.stderr)
    is_done = (count or options.verb == "list") and not any(answer.get("left") for answer in answers.said.values())
    return answers.status(EXIT_OK if is_done else EXIT_NONE)


DONE = {"flush": "tried now", "hold": "held", "resume": "tried now", "drop": "dropped"}


def print_table(answers: Answers) -> None:
    """One line a message, the oldest first."""
    found = [(host, one) for host, answer in answers.said.items() for one in answer["messages"]]
    found.sort(key=lambda pair: (pair[1]["time"], pair[0]))
    rows = [row(host, one) for host, one in found]
    if rows:
        print(table(rows, ("AGE", "GATEWAY", "NUMBER", "STATE", "SIZE", "FROM", "TO", "SUBJECT")))
    counts = ", ".join(f"{host} {answer['count']}" for host, answer in sorted(answers.said.items()))
    print(f"{counts or 'nobody answered'}", file=sys.stderr)


def row(host: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    """A message in the table."""
    one = harmless(one)
    sender = printable(str(one["from"]), 60) or "<>"
    age, size = span(time.time() - one["time"]), f"{one['size'] / 1000:.0f} kB"
    return (
        age,
        host,
        str(one["msg"]),
        one["state"],
        size,
        sender,
        people(one["to"]),
        printable(str(one["subject"]), 60),
    )
