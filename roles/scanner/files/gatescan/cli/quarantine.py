"""`gatescan quarantine`: look at what is held, give it to its recipients, or remove it."""

from __future__ import annotations

import argparse
import fnmatch
import getpass
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from email.utils import parseaddr

from gatescan.cli import EXIT_FOUND, EXIT_OK, EXIT_USAGE
from gatescan.cli.common import (
    add_config,
    add_json,
    become_owner,
    config_or_defaults,
    human_size,
    parser,
    print_json,
    say,
    table,
)
from gatescan.config import Config
from gatescan.outcome.journal import Journal
from gatescan.outcome.quarantine import Entry, Quarantine, QuarantineError
from gatescan.text import printable

DESCRIPTION = """\
Held messages lie in a Maildir, byte for byte as they came. A release gives one to the recipients that it
was sent to, past the scanner, once; it is written to the journal. An ID may be shortened to its beginning
or its end. A filter fits a whole field in any case; * stands for any text, as in --from '*@example.net'."""

EPILOG = """\
examples:
  gatescan quarantine list --since 2d --to ann@example.org
  gatescan quarantine show 3f9a1c77              who, when, why;  --message prints the message itself
  gatescan quarantine release 3f9a1c77
  gatescan quarantine list --rule quarantine-attachments.txt:67 --reason '*.rdp*'
  gatescan quarantine release --reason '*Python script*' --since 1d --all
  gatescan quarantine delete --verdict infected --before 7d

exit status: 0 done, 1 at least one message was not found or not released, 2 usage, or filters that fit several
messages without --all, 75 could not look"""

_SPAN = re.compile(r"(\d{1,9})([mhdw])", re.ASCII)
_TEXT_FILTERS = {
    "from": "sender's address, of the envelope or of From:",
    "to": "a recipient's address",
    "subject": "subject",
    "rule": "code, or place of the rule or name of the engine, as `show` has them",
    "reason": "reason",
}
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def run(words: list[str]) -> int:
    """Carry out one verb."""
    made = parser("quarantine", DESCRIPTION, EPILOG)
    verbs = made.add_subparsers(dest="verb", required=True, metavar="list|show|release|delete|expire")
    _listing(verbs.add_parser("list", help="list held messages, the oldest first"))
    show = verbs.add_parser("show", help="tell all that is known of messages")
    add_json(show)
    show.add_argument("--message", action="store_true", help="print the message itself, as it came")
    show.add_argument("ids", nargs="+", metavar="ID")
    release = verbs.add_parser("release", help="give messages to their recipients")
    release.add_argument("--again", action="store_true", help="one more copy of what was released before")
    delete = verbs.add_parser("delete", help="remove messages for good")
    for verb in (release, delete):
        _filters(verb)
        verb.add_argument("--all", action="store_true", help="all that the filters fit, without a question")
        verb.add_argument("ids", nargs="*", metavar="ID")
    verbs.add_parser("expire", help="remove what is older than the configured days (run by a timer)")
    for verb in verbs.choices.values():
        add_config(verb)
    options = made.parse_args(words)
    config = config_or_defaults(options.config)
    user = _user()
    become_owner(config.quarantine.directory)
    work = Work(config, Quarantine(config.quarantine), options, user)
    return _VERBS[options.verb](work)


def _listing(verb: argparse.ArgumentParser) -> None:
    add_json(verb)
    _filters(verb)


def _filters(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group("filters, all of which must fit")
    for name, what in _TEXT_FILTERS.items():
        group.add_argument(f"--{name}", dest=f"f_{name}", metavar="TEXT", help=what)
    group.add_argument("--verdict", dest="f_verdict", metavar="VERDICT")
    group.add_argument("--state", dest="f_state", choices=("held", "releasing", "released"))
    group.add_argument("--direction", dest="f_direction", choices=("inbound", "outbound"))
    group.add_argument("--since", type=_moment, metavar="WHEN", help="not older; 2h, 3d, 1w or 2026-11-22")
    group.add_argument("--before", type=_moment, metavar="WHEN", help="older than that")


def _moment(text: str) -> float:
    if span := _SPAN.fullmatch(text):
        return time.time() - int(span[1]) * _UNITS[span[2]]
    for form in ("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return time.mktime(time.strptime(text, form))
        except (ValueError, OverflowError):
            continue
    raise argparse.ArgumentTypeError(f"not a time: {text}; write 2h, 3d, 1w or 2026-11-22")


class Work:
    """One call of the command."""

    def __init__(self, config: Config, quarantine: Quarantine, options: argparse.Namespace, user: str) -> None:
        self.config = config
        self.quarantine = quarantine
        self.options = options
        self.user = user

    def listing(self) -> int:
        """Print the entries that fit the filters."""
        entries = self._fitting()
        if self.options.json:
            for entry in entries:
                print_json(entry_json(entry))
            return EXIT_OK
        rows = [_row(entry) for entry in entries]
        if rows:
            print(table(rows, ("ID", "STATE", "VERDICT", "SIZE", "FROM", "TO", "SUBJECT")))
        count, total = self.quarantine.totals()
        say(f"{len(rows)} shown, {count} in quarantine, {human_size(total)}")
        return EXIT_OK

    def show(self) -> int:
        """Print the entries, or the messages themselves."""
        return self._each(self.options.ids, self._show)

    def _show(self, entry: Entry) -> None:
        if self.options.message:
            with self.quarantine.open(entry) as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif self.options.json:
            print_json(entry_json(entry))
        else:
            fields = entry_json(entry)
            for name, value in fields.items():
                text = ", ".join(value) if isinstance(value, list) else str(value)
                print(f"{name + ':':<12} {printable(text, len(text))}")
            print()

    def release(self) -> int:
        """Release the messages that were named or that the filters fit."""
        return self._chosen(self._release)

    def _release(self, entry: Entry) -> None:
        count = len(self.quarantine.due(entry, self.options.again))
        queued = self.quarantine.release(entry, self.config, again=self.options.again)
        self._record("release", entry, qp=queued)
        print(f"{entry.id} released to {count} recipient(s)", flush=True)

    def delete(self) -> int:
        """Delete them."""
        return self._chosen(self._delete)

    def _delete(self, entry: Entry) -> None:
        self.quarantine.delete(entry)
        self._record("delete", entry)
        print(f"{entry.id} deleted", flush=True)

    def expire(self) -> int:
        """Delete what is too old."""
        old = self.quarantine.expire(time.time())
        for entry in old:
            self._record("expire", entry)
        print(f"{len(old)} expired")
        return EXIT_OK

    def _chosen(self, do: Callable[[Entry], None]) -> int:
        if self.options.ids:
            return self._each(self.options.ids, do)
        if not _has_filter(self.options):
            say("name the messages, or give at least one filter")
            return EXIT_USAGE
        fitting = [entry.id for entry in self._fitting()]
        if len(fitting) > 1 and not self.options.all and not self._is_sure(len(fitting)):
            say(f"{len(fitting)} messages fit, nothing was done; look with `list`, then add --all")
            return EXIT_USAGE
        return self._each(fitting, do)

    def _is_sure(self, count: int) -> bool:
        """Ask the person at the terminal; nobody there is no yes."""
        if not sys.stdin.isatty():
            return False
        print(f"{self.options.verb} {count} messages? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def _each(self, ids: Iterable[str], do: Callable[[Entry], None]) -> int:
        status = EXIT_OK
        for id_ in ids:
            try:
                do(self.quarantine.find(id_))
            except QuarantineError as error:
                say(str(error))
                status = EXIT_FOUND
        return status

    def _fitting(self) -> list[Entry]:
        return [entry for entry in self.quarantine.entries() if fits(entry, self.options)]

    def _record(self, what: str, entry: Entry, **more: object) -> None:
        journal = Journal(self.config.journal)
        journal.event(what, held=entry.id, by=self.user, message_id=entry.message_id, verdict=entry.verdict, **more)
        journal.close()


_VERBS: dict[str, Callable[[Work], int]] = {
    "list": Work.listing,
    "show": Work.show,
    "release": Work.release,
    "delete": Work.delete,
    "expire": Work.expire,
}


def fits(entry: Entry, options: argparse.Namespace) -> bool:
    """Does an entry fit all filters?"""
    texts = (
        (options.f_from, (entry.sender, entry.from_, parseaddr(entry.from_)[1])),
        (options.f_to, entry.recipients),
        (options.f_subject, (entry.subject,)),
        (options.f_rule, (entry.code, entry.rule)),
        (options.f_reason, (entry.reason,)),
    )
    exact = (
        (options.f_verdict, entry.verdict),
        (options.f_state, entry.state),
        (options.f_direction, entry.direction),
    )
    return (
        all(wanted is None or _is_one_of(wanted, values) for wanted, values in texts)
        and all(wanted is None or wanted == value for wanted, value in exact)
        and (options.since is None or entry.time >= options.since)
        and (options.before is None or entry.time < options.before)
    )


def _is_one_of(wanted: str, values: Iterable[str]) -> bool:
    """Whether a value is the wanted text, whole and in any case, where `*` is any text; no other sign is special."""
    pattern = wanted.lower().replace("[", "[[]").replace("?", "[?]")
    return any(fnmatch.fnmatchcase(value.lower(), pattern) for value in values)


def _has_filter(options: argparse.Namespace) -> bool:
    names = (*(f"f_{name}" for name in _TEXT_FILTERS), "f_verdict", "f_state", "f_direction", "since", "before")
    return any(getattr(options, name) is not None for name in names)


def entry_json(entry: Entry) -> dict[str, object]:
    """An entry as --json prints it; the time in ISO 8601 beside the seconds."""
    fields: dict[str, object] = asdict(entry)
    fields["from"] = fields.pop("from_")
    fields["sender"] = printable(entry.sender, 1003)
    fields["recipients"] = [printable(address, 1003) for address in entry.recipients]
    fields["date"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.time))
    return fields


def _row(entry: Entry) -> tuple[str, ...]:
    recipients = printable(entry.recipients[0], 40) if entry.recipients else "-"
    if len(entry.recipients) > 1:
        recipients += f" +{len(entry.recipients) - 1}"
    return (
        entry.id,
        entry.state,
        entry.verdict,
        human_size(entry.size),
        printable(entry.sender, 40) or "<>",
        recipients,
        printable(entry.subject, 60),
    )


def _user() -> str:
    """Who asks, for the record: under sudo the person and not root. To be asked before `become_owner`."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
