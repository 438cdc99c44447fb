"""`gw quarantine`: what is held, over all gateways."""

from __future__ import annotations

import argparse
import base64
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gatescan.text import printable

from gatewright.fleet import EXIT_NONE, EXIT_OK, EXIT_TEXT, EXIT_USAGE, LEFT
from gatewright.fleet.ask import Answers, Fleet, add_fleet, ask, ask_each, fleet_of, is_sure, who
from gatewright.fleet.filters import as_logged
from gatewright.fleet.show import as_json, harmless, moment, people, table, when

DESCRIPTION = """\
Look at what the scanners of all gateways hold, give it to its recipients, or remove it. A release passes the scanner,
once. Who did it is written into that gateway's journal, by your name on this machine.

An ID may be shortened to its beginning or its end. A filter fits a whole field in any case; * stands for any text, and
@example.org for everybody there."""

EPILOG = f"""\
examples:
  gw quarantine list --to ann@example.org --since 2d
  gw quarantine show 3f9a1c77                    who, when, why;  --message prints the message itself
  gw quarantine release 3f9a1c77
  gw quarantine release --reason '*Python script*' --since 1d --all
  gw quarantine delete --verdict infected --before 7d

{EXIT_TEXT}"""

TEXTS = {
    "from": "sender's address, of the envelope or of From:",
    "to": "a recipient's address",
    "subject": "the subject",
    "rule": "code, place of the rule or name of the engine",
    "reason": "why it is held",
    "verdict": "such as infected or policy",
    "state": "held, releasing or released",
    "direction": "inbound or outbound",
}
CHOICES = {"state": ("held", "releasing", "released"), "direction": ("inbound", "outbound")}
WHOLE = "gatescan quarantine show --message"
Held = list[tuple[str, dict[str, Any]]]
"""Entries, each with its gateway."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "gw quarantine", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="list|show|release|delete")
    listing = verbs.add_parser("list", help="held messages, the oldest first")
    show = verbs.add_parser("show", help="all that is known of messages")
    show.add_argument("--message", action="store_true", help="the message itself, as it came")
    show.add_argument("ids", nargs="+", metavar="ID")
    release = verbs.add_parser("release", help="give messages to their recipients")
    release.add_argument("--again", action="store_true", help="one more copy of what was released before")
    delete = verbs.add_parser("delete", help="remove messages for good")
    for verb in (release, delete):
        verb.add_argument("--all", action="store_true", help="all that the filters fit, without a question")
        verb.add_argument("ids", nargs="*", metavar="ID")
    for verb in (listing, release, delete):
        filters = verb.add_argument_group("filters, all of which must fit")
        for name, what in TEXTS.items():
            choices = CHOICES.get(name)
            filters.add_argument(f"--{name}", dest=f"f_{name}", metavar="TEXT", choices=choices, help=what)
        filters.add_argument("--since", type=moment, metavar="WHEN", help="2h, 3d, 1w or 2026-11-22T14:30")
        filters.add_argument("--before", type=moment, metavar="WHEN", help="older than that")
    for verb in verbs.choices.values():
        verb.add_argument("--json", action="store_true", help="a JSON object a line, for programs")
        add_fleet(verb)
    return made


def main(words: list[str], further: list[str]) -> int:
    """Carry out one verb; returns the exit status."""
    options = parser().parse_args(words)
    fleet = fleet_of(options, further)
    if options.verb in ("release", "delete"):
        return change(fleet, options)
    if options.verb == "show" and options.message:
        return message(fleet, options)
    answers = look(fleet, options)
    held = entries(answers)
    for one in (one for one in getattr(options, "ids", ()) if not fitting(held, one)):
        print(f"gw quarantine: no message {printable(one)} in quarantine", file=sys.stderr)
    if options.json:
        for host, entry in held:
            print(as_json(host, entry))
    elif options.verb == "show":
        print("\n\n".join(shown(host, entry) for host, entry in held), end="\n" if held else "")
    else:
        print_table(held)
    return answers.status(EXIT_OK if held or options.verb == "list" else EXIT_NONE)


def filters_of(options: argparse.Namespace) -> dict[str, str]:
    """The filters as `gatescan quarantine` takes them; times as how long ago, for the gateway's zone is its own."""
    given = {name: getattr(options, f"f_{name}") for name in TEXTS}
    filters = plain_filters({name: value for name, value in given.items() if value is not None})
    for name in ("since", "before"):
        if getattr(options, name) is not None:
            filters[name] = f"{max(round((time.time() - getattr(options, name)) / 60), 0)}m"
    return filters


def plain_filters(given: Mapping[str, str]) -> dict[str, str]:
    """The filters with addresses as `gatescan` has them; `@example.org` is everybody there, as in `gw trace`."""
    filters = dict(given)
    for name in {"to", "from"} & filters.keys():
        filters[name] = as_logged("*" * filters[name].startswith("@") + filters[name])
    return filters


def look(fleet: Fleet, options: argparse.Namespace) -> Answers:
    """The entries that are named, or that fit."""
    if getattr(options, "ids", None):
        return ask(fleet, "held_mail", {"verb": "show", "ids": options.ids})
    return ask(fleet, "held_mail", {"verb": "list", "filters": filters_of(options)})


def entries(answers: Answers) -> Held:
    """All of them, the oldest first."""
    found = [(host, entry) for host, answer in answers.said.items() for entry in answer["entries"]]
    return sorted(found, key=lambda pair: (pair[1]["time"], pair[0]))


def change(fleet: Fleet, options: argparse.Namespace) -> int:
    """Release or delete, on the gateways that have the messages, exactly those that were looked at."""
    if bool(options.ids) == bool(filters_of(options)):
        print("gw quarantine: name the messages, or give at least one filter, and not both", file=sys.stderr)
        return EXIT_USAGE
    found = look(fleet, options)
    held = entries(found)
    if doubtful := [one for one in options.ids if len(fitting(held, one)) > 1]:
        print(f"gw quarantine: {printable(doubtful[0])} fits several messages; write more of the id", file=sys.stderr)
        return EXIT_USAGE
    if not held:
        print("gw quarantine: no message that fits", file=sys.stderr)
        return found.status(EXIT_NONE)
    if not options.ids and len(held) > 1 and not options.all:
        print_table(held)
        if not is_sure(f"{options.verb} these {len(held)} messages?"):
            print("gw quarantine: nothing was done; --all does it without a question", file=sys.stderr)
            return EXIT_USAGE
    done = found.status(carry_out(fleet, options, held))
    missing = [one for one in options.ids if not fitting(held, one)]
    for one in missing:
        print(f"gw quarantine: no message {printable(one)} in quarantine", file=sys.stderr)
    return done or (EXIT_NONE if missing else EXIT_OK)


def fitting(held: Held, wanted: str) -> Held:
    """The messages that an id, or its beginning or end, names."""
    return [pair for pair in held if pair[1]["id"].startswith(wanted) or pair[1]["id"].endswith(wanted)]


def carry_out(fleet: Fleet, options: argparse.Namespace, held: Held) -> int:
    """Have it done, and say what was; returns the exit status."""
    common = {"verb": options.verb, "by": who(), "again": getattr(options, "again", False)}
    common["seconds"] = fleet.working_seconds
    hosts = dict.fromkeys(host for host, _ in held)
    ids = {host: [entry["id"] for other, entry in held if other == host] for host in hosts}
    answers = ask_each(fleet, "held_mail", {host: common | {"ids": ids[host]} for host in hosts})
    are_done = True
    for host, answer in answers.said.items():
        for one, said in answer["said"].items():
            are_done &= said["done"]
            if options.json:
                print(as_json(host, {"id": one, "done": said["done"], "text": said["text"]}))
            else:
                print(f"{host}: {printable(said['text'], 300)}", file=sys.stdout if said["done"] else sys.stderr)
        if answer.get("left"):
            are_done = False
            print(f"gw quarantine: {host}: {answer['left']} more {LEFT}", file=sys.stderr)
    return answers.status(EXIT_OK if are_done else EXIT_NONE)


def message(fleet: Fleet, options: argparse.Namespace) -> int:
    """Print a message itself: byte for byte into a file or a pipe, harmless on a terminal."""
    if len(options.ids) > 1:
        print("gw quarantine: --message shows one message", file=sys.stderr)
        return EXIT_USAGE
    answers = ask(fleet, "held_mail", {"verb": "message", "ids": options.ids})
    found = [base64.b64decode(answer["message"]) for answer in answers.said.values() if answer["found"]]
    if len(found) > 1:
        print(
            "gw quarantine: several gateways have one that fits; write more of the id, or use --limit", file=sys.stderr
        )
        return EXIT_USAGE
    if not found:
        print(f"gw quarantine: no message {printable(options.ids[0])} in quarantine", file=sys.stderr)
    for data in found:
        if sys.stdout.isatty():
            text = data.decode("utf-8", "surrogateescape")
            print("\n".join(printable(line.rstrip("\r"), len(line) + 1) for line in text.split("\n")))
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    for host, answer in answers.said.items():
        if answer.get("is_cut"):
            print(f"gw quarantine: this is its beginning alone; {host} has the whole: {WHOLE}", file=sys.stderr)
            found = []
    return answers.status(EXIT_OK if found else EXIT_NONE)


def shown(host: str, entry: Mapping[str, Any]) -> str:
    """All that is known of an entry."""
    fields = {"gateway": host, **entry}
    return "\n".join(f"{printable(str(name)) + ':':<12} {plain(value)}" for name, value in fields.items())


def plain(value: object) -> str:
    """A value on one line."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return printable(text, 4000)


def print_table(held: Held) -> None:
    """One line an entry, and how many there are."""
    if held:
        print(table([row(host, entry) for host, entry in held], TITLES))
    count = len({host for host, _ in held})
    print(f"{len(held)} shown, of {count} gateway{'' if count == 1 else 's'}", file=sys.stderr)


TITLES = ("CAME", "GATEWAY", "ID", "STATE", "VERDICT", "FROM", "TO", "SUBJECT", "WHY")


def row(host: str, entry: Mapping[str, Any]) -> Sequence[str]:
    """An entry in the table."""
    entry = harmless(entry)
    texts = (printable(str(entry["subject"]), 50), printable(str(entry["reason"]), 80))
    sender = printable(str(entry["sender"]), 40) or "<>"
    return (
        when(entry["time"]),
        host,
        entry["id"],
        entry["state"],
        entry["verdict"],
        sender,
        people(entry["recipients"]),
        *texts,
    )
