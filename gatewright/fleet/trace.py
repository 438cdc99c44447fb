"""`gw trace`: what became of messages, over all gateways."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from gatescan.text import printable

from gatewright.fleet import EXIT_NONE, EXIT_OK, EXIT_TEXT
from gatewright.fleet.ask import add_fleet, ask, fleet_of
from gatewright.fleet.filters import as_logged, client, count
from gatewright.fleet.show import as_json, harmless, moment, people, when

DESCRIPTION = """\
Tell what became of mail, one line a message, the oldest first: when and from where it came, what the scanner made of
it, and each delivery with the other server's words. What was refused before there was a message (an unknown
recipient, a limit, a DNS list, TLS that failed) has its line, too.

A filter fits a whole field in any case; * stands for any text, and @example.org for everybody there. All of them must
fit."""

EPILOG = f"""\
examples:
  gw trace --to ann@example.org                  a caller misses a mail
  gw trace --to ann@example.org --from @partner.example --since 2d -v
  gw trace --from '<>' --to ann@example.org      bounces that she got
  gw trace --subject '*invoice*' --since 2026-11-27T08:00 --before 2026-11-27T12:00
  gw trace --ip 192.0.2.0/24                     did that server reach us at all?
  gw trace --message-id 'x1@partner.example' --json
  gw trace --id 1310742                          a number of qmail's log, a qp, or the id of a held message

fates: delivered, deferred (it waits and is tried again), queued, bounced, held, released, deleted, expired (of what was
held), rejected (5xx after the message), put off (4xx), refused (5xx at the door), dropped (by `gw queue drop`),
connected (a session of --ip's); unknown: the log that would tell is gone.

{EXIT_TEXT}"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        "gw trace", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    filters = made.add_argument_group("which messages")
    filters.add_argument("--to", type=as_logged, default="", metavar="ADDRESS", help="a recipient")
    filters.add_argument(
        "--from", dest="sender", type=as_logged, metavar="ADDRESS", help="the envelope's sender; '<>' for bounces"
    )
    filters.add_argument("--subject", default="", metavar="TEXT", help="the subject; '*offer*' if it is in it")
    filters.add_argument(
        "--message-id", default="", metavar="ID", help="the header Message-ID, < and > may be left out"
    )
    filters.add_argument("--ip", type=client, default="", metavar="ADDRESS", help="the client's address, or a network")
    filters.add_argument("--id", default="", metavar="ID", help="qmail's number, its qp, or the id of a held message")
    filters.add_argument("--since", type=moment, metavar="WHEN", help="2h, 3d, 1w or 2026-11-22T14:30 (7d)")
    filters.add_argument("--before", type=moment, default=1e12, metavar="WHEN", help="older than that")
    filters.add_argument("--most", type=count, default=1000, metavar="N", help="of each gateway, the newest (1000)")
    made.add_argument("-v", "--verbose", action="store_true", help="each delivery and finding on a line of its own")
    made.add_argument("--json", action="store_true", help="a JSON object a line, for programs")
    add_fleet(made)
    return made


def main(words: list[str], further: list[str]) -> int:
    """Ask, and print; returns the exit status."""
    options = parser().parse_args(words)
    answers = ask(fleet_of(options, further), "mail_trace", request_of(options))
    found = [(host, record) for host, answer in answers.said.items() for record in answer["records"]]
    found.sort(key=lambda pair: (pair[1]["time"], pair[0]))
    for host, record in found:
        print(as_json(host, record) if options.json else "\n".join(lines(host, record, options.verbose)))
    tell_limits(answers.said, options.most)
    if not found:
        print(f"gw trace: nothing that fits since {when(request_of(options)['since'])}", file=sys.stderr)
    return answers.status(EXIT_OK if found else EXIT_NONE)


def request_of(options: argparse.Namespace) -> dict[str, Any]:
    """The filters, as the module takes them."""
    names = ("to", "sender", "subject", "message_id", "ip", "id", "before", "most")
    request = {name: getattr(options, name) for name in names}
    if request["sender"] == "<>":
        request["sender"] = ""
    return request | {"since": options.since if options.since is not None else time.time() - 7 * 86_400}


def tell_limits(said: Mapping[str, Mapping[str, Any]], most: int) -> None:
    """Say which gateways have more, and what could not be read."""
    for host, answer in sorted(said.items()):
        if answer["is_cut"]:
            print(
                f"gw trace: {host} has more; shown are its newest {most} (--most, or a narrower filter)",
                file=sys.stderr,
            )
        for remark in answer["remarks"]:
            print(f"gw trace: {host}: {printable(remark, 300)}", file=sys.stderr)


def lines(host: str, record: Mapping[str, Any], is_verbose: bool = False) -> Iterator[str]:
    """What is printed of a record."""
    record = harmless(record)
    head = f"{when(record['time'])}  {host}  {record['fate']}"
    if record["kind"] == "message":
        sender = printable(str(record["from"]), 60) or "<>"
        subject = f'  "{printable(str(record["subject"]), 60)}"' if record.get("subject") else ""
        head += f"  {sender} -> {people(record['to'], int(record.get('recipients') or 0))}{subject}"
        head += f"  {outcome(record)}" if outcome(record) else ""
    else:
        head += f"  {refusal(record)}"
    yield head
    if is_verbose:
        yield from (f"    {line}" for line in details(record))


def refusal(record: Mapping[str, Any]) -> str:
    """What was refused, or the sessions of a client."""
    times = f" ({record['count']} times, the last {when(record['last'])})" if record["count"] > 1 else ""
    if record["kind"] == "sessions":
        tls = ", ".join(f"{printable(str(name))}: {count}" for name, count in record["tls"].items()) or "none by TLS"
        return f"{record['ip']}: {record['count']} connections, {tls}{times}"
    sender = printable(str(record["from"]), 60) or "<>" if record["from"] is not None else ""
    way = f"  {sender} -> {people(record['to'])}" if record["to"] else f"  {sender}" if sender else ""
    text = f": {printable(record['text'], 200)}" if record["text"] else ""
    return f"{printable(record['ip'], 60) or '-'}{way}  {record['what']}{text}{times}"


def outcome(record: Mapping[str, Any]) -> str:
    """The end of a message's line: who released it, why it was stopped, or the other server's last words."""
    words = []
    for event in record.get("events", ())[-1:]:
        words.append(
            f"{printable(str(event.get('event')), 30)} by {printable(str(event.get('by', 'nobody known')), 60)}"
        )
    if record["fate"] in ("held", "rejected", "put off"):
        words += [finding(one) for one in record.get("findings", ())[:1]]
        words += [f"id {printable(str(record['held']), 60)}"] if record.get("held") else []
    deferrals = sum(one["result"] == "deferral" for one in record["deliveries"])
    if deferrals and record["fate"] != "deferred":
        words.append(f"after {deferrals} deferral{'s' if deferrals > 1 else ''}")
    words += [delivery(one) for one in record["deliveries"][-1:]]
    if record.get("bounce"):
        words.append(f"bounce to {people(record['bounce']['to'])}: {record['bounce']['fate']}")
    return "; ".join(words)


def act(event: Mapping[str, Any]) -> str:
    """What somebody did with a message."""
    return f"{printable(str(event['event']), 30)} by {printable(str(event.get('by', '-')), 60)}"


def finding(found: Mapping[str, Any]) -> str:
    """A finding of the scanner's."""
    return printable(" ".join(str(found.get(name, "")) for name in ("verdict", "code", "detail")).strip(), 160)


def delivery(one: Mapping[str, Any]) -> str:
    """One delivery, in words."""
    host, address = str(one.get("host") or ""), str(one.get("address") or "")
    place = f"{host}[{address}]" if host and address else host or address
    tls = f"{one['tls']}{' verified' if one.get('verified') else ''}" if one.get("tls") else ""
    where = " ".join(filter(None, (place, tls)))
    return printable(f"{where}{': ' if where else ''}{one['text'] or one['result']}", 300)


def details(record: Mapping[str, Any]) -> Iterator[str]:
    """Everything else that is known of a message."""
    if record["kind"] != "message":
        return
    if record.get("ip"):
        tls = printable(str(record.get("tls") or "no TLS"), 100)
        yield f"came from {printable(str(record['ip']), 60)}, {tls}, {record['size']} bytes"
    if record.get("message_id"):
        yield f"Message-ID {printable(str(record['message_id']), 200)}"
    for name in ("auth", "spf", "dkim", "dmarc"):
        if record.get(name):
            yield f"{name}: {printable(str(record[name]), 200)}"
    if record.get("verdict"):
        yield f"scanner: {record['verdict']}, {record['action']}, {record.get('seconds', 0)} s"
    yield from (f"found: {finding(one)}" for one in record.get("findings", ()))
    for event in record.get("events", ()):
        yield f"{when(event.get('time', 0))} {act(event)}"
    if record["queued"]:
        yield f"{when(record['queued'])} queued as {record['msg']}, qp {record['qp']}"
    for one in record["deliveries"]:
        took = f" in {one['ended'] - one['began']:.1f} s" if one["ended"] else ""
        yield f"{when(one['began'])} to {printable(one['recipient'], 80)}: {one['result']}{took}: {delivery(one)}"
    if record.get("bounce"):
        yield f"{when(record['bounce']['time'])} bounce: {record['bounce']['fate']}; {outcome(record['bounce'])}"
    if record["ended"]:
        yield f"{when(record['ended'])} left the queue"
