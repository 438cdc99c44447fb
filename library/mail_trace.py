#!/usr/bin/python
"""What became of messages on one gateway, out of its own logs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mail_trace
short_description: Read a gateway's logs, and tell what became of messages
description:
  - Reads the scanner's messages.jsonl, the logs of qmail-send and qmail-smtpd, gatepost's deliveries.jsonl and
    gatekeeper's log, rotated and compressed files too, and joins their lines to one record a message.
  - Messages are joined by the process that queued them (qp), time, and qmail's number. Changes nothing.
  - Logs are read as streams; a line that is cut, or is no line of its log, is passed over.
options:
  request:
    description: The filters (C(Request) in the module) as JSON in base64, so that nothing is taken for a template.
    type: str
    required: true
  root:
    description: Folder that stands for C(/), such as a copy of a gateway's logs.
    type: path
    default: /
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: What became of mail to ann
  mail_trace:
    request: "{{ {'to': 'ann@example.org', 'since': 1764201600} | to_json | b64encode }}"
"""

RETURN = r"""
answer:
  description: >-
    JSON, compressed by zlib, in base64: C(records), newest last, C(is_cut) (whether there were more than C(most)) and
    C(remarks) (files that could not be read).
  type: str
  returned: always
"""

import base64
import bz2
import contextlib
import fnmatch
import functools
import gzip
import ipaddress
import json
import lzma
import os
import re
import zlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from ansible.module_utils.basic import AnsibleModule

BLOCK = 1 << 18
"""Bytes that are read at once."""
LONGEST = 1 << 20
"""Bytes of a line; a longer one is passed over."""
TAI = 4_611_686_018_427_387_914
"""What a TAI64 label says at the beginning of 1970, as multilog counts."""
MARGIN = 600.0
"""Seconds within which a message that passed the scanner is in qmail's log."""
ROOM = 16_384
"""Bytes that a message may grow by on its way into the queue: trace lines and tags."""
FEW = 32
"""Texts that a block is searched for one by one; with more, each of its lines is looked at."""
OPENERS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
}
PASSED = ("accept", "tag")
"""The scanner's actions with which a message goes on."""


# --- what is asked ---


@dataclass(frozen=True, slots=True)
class Request:
    """The filters, all of which must fit; texts fit a whole field in any case, `*` is any text.

    since, before: seconds since 1970 (UTC), of the message's arrival. id: of a held message, qmail's number, or a qp;
    qps: further processes, besides. most: records that are given back, the newest.
    """

    since: float = 0.0
    before: float = 1e12
    to: str = ""
    sender: str | None = None
    subject: str = ""
    message_id: str = ""
    ip: str = ""
    id: str = ""
    most: int = 1000
    qps: tuple[int, ...] = ()

    @property
    def needs_scanner(self) -> bool:
        """Whether it asks for what no other log knows."""
        return bool(self.subject or self.message_id)

    def is_within(self, time: float) -> bool:
        """Whether a time is one that is asked for."""
        return self.since <= time < self.before

    def fits_to(self, recipients: Collection[str]) -> bool:
        """Whether one of the recipients is asked for."""
        return not self.to or any(fits(self.to, address) for address in recipients)

    def fits_sender(self, sender: str) -> bool:
        """Whether the sender is asked for; an empty one asks for bounces."""
        return self.sender is None or fits(self.sender, sender)

    def fits_ip(self, address: str) -> bool:
        """Whether an address is the one, or in the network, that is asked for."""
        return not self.ip or is_in(address, self.ip)


def fits(pattern: str, value: str) -> bool:
    """Whether a text is the pattern, whole and in any case; `@example.org` stands for everybody there."""
    return matcher(pattern)(value.lower()) is not None


@functools.lru_cache
def matcher(pattern: str) -> Callable[[str], Any]:
    """What a text in small letters is matched with."""
    wanted = f"*{pattern}" if pattern.startswith("@") else pattern
    return re.compile(fnmatch.translate(wanted.lower().replace("[", "[[]").replace("?", "[?]"))).match


def is_in(address: str, network: str) -> bool:
    """Whether an address is in a network, or is it; IPv4 in IPv6's form is IPv4."""
    try:
        found = ipaddress.ip_address(address)
        asked = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return address == network
    mapped = getattr(found, "ipv4_mapped", None) or found
    return mapped in asked or found in asked


def needle(pattern: str) -> bytes:
    """The longest part of a pattern that stands in each log as it is, in small letters."""
    pieces = re.split(r'[^ !-$&-)+-\[\]-~]|["\\*]', pattern.lower())
    return max(pieces, key=len).encode("ascii")


def safe(text: str) -> str:
    """An address as qmail-send's log has it."""
    return "".join(letter if "!" <= letter <= "~" and letter != "%" else "_" for letter in text)


# --- logs as streams ---


class Logs:
    """The files of one log, open all at once, so that none goes away while another is read. The oldest first."""

    def __init__(self, since: float, remarks: list[str]) -> None:
        self.since = since
        self.remarks = remarks

    def multilog(self, directory: Path) -> Iterator[IO[bytes]]:
        """Files of multilog that were written to after `since`."""
        with contextlib.ExitStack() as stack:
            # the present file first: if it is rotated now, it is found once more by its new name, and known
            current = self._open(stack, directory / "current")
            names = sorted(path.name for path in self._names(directory) if path.name.startswith("@"))
            files = [
                self._open(stack, directory / name) for name in names if label_time(name[:25].encode()) >= self.since
            ]
            yield from once([*files, current])

    def lines_file(self, path: Path) -> Iterator[IO[bytes]]:
        """A file of lines, and what logrotate made of its predecessors."""
        with contextlib.ExitStack() as stack:
            current = self._open(stack, path)
            old = [other for other in self._names(path.parent) if other.name.startswith(f"{path.name}.")]
            files = [file for other in old if (file := self._open(stack, other))]
            files.sort(key=lambda file: os.fstat(file.fileno()).st_mtime)
            yield from once([*files, current])

    def _names(self, directory: Path) -> list[Path]:
        try:
            return list(directory.iterdir())
        except OSError:
            return []

    def _open(self, stack: contextlib.ExitStack, path: Path) -> IO[bytes] | None:
        try:
            file = stack.enter_context(open(path, "rb"))  # noqa: SIM115  # the stack closes it
        except FileNotFoundError:
            return None
        except OSError as error:
            self.remarks.append(f"{path}: {error.strerror}")
            return None
        return file if os.fstat(file.fileno()).st_mtime >= self.since else None

    def blocks(self, files: Iterator[IO[bytes]]) -> Iterator[bytes]:
        """All lines, in blocks of whole ones."""
        for file in files:
            opener = OPENERS.get(Path(str(file.name)).suffix)
            try:
                yield from whole_lines(opener(file) if opener else file)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                self.remarks.append(f"{file.name}: {error}")


def once(files: list[IO[bytes] | None]) -> Iterator[IO[bytes]]:
    """Each file once, the last of those that are the same."""
    numbers = [os.fstat(file.fileno()).st_ino if file else 0 for file in files]
    for place, file in enumerate(files):
        if file and numbers[place] not in numbers[place + 1 :]:
            yield file


def whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Blocks that end with a line's end; what follows the last end, and a line without an end, is left out."""
    rest, is_passing_over = b"", False
    while data := file.read(BLOCK):
        if is_passing_over:
            _, end, data = data.partition(b"\n")
            is_passing_over = not end
        cut = data.rfind(b"\n") + 1
        if cut:
            yield rest + data[:cut]
            rest = data[cut:]
        else:
            rest += data
        if len(rest) > LONGEST:
            rest, is_passing_over = b"", True


def label_time(line: bytes) -> float:
    """The seconds since 1970 of a line's TAI64N label; 0 if it has none."""
    try:
        return int(line[1:17], 16) - TAI + int(line[17:25], 16) / 1e9
    except ValueError:
        return 0.0


def lines_with(block: bytes, texts: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of a block that have all of the texts (in small letters, the rarest first), in any case."""
    small, first = block.lower(), texts[0]
    place = small.find(first)
    while place >= 0:
        start, end = small.rfind(b"\n", 0, place) + 1, small.find(b"\n", place)
        if all(text in small[start:end] for text in texts):
            yield block[start:end]
        place = small.find(first, end)


def parsed(line: bytes) -> dict[str, Any]:
    """A line's JSON object; empty if it has none."""
    try:
        found = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


# --- what is found ---


@dataclass(slots=True)
class Attempt:
    """One delivery: of qmail-send's log, and what gatepost says of it."""

    recipient: str
    channel: str
    began: float
    ended: float = 0.0
    result: str = ""
    text: str = ""
    link: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As it is told."""
        told = {"recipient": self.recipient, "channel": self.channel, "began": self.began, "ended": self.ended}
        return told | {"result": self.result or "under way", "text": self.text} | self.link


@dataclass(slots=True)
class Mail:
    """A message: what the scanner wrote of it, and its life in qmail's queue."""

    time: float
    sender: str
    scan: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    qp: int = 0
    queued: float = 0.0
    ended: float = 0.0
    size: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    bounce: Mail | None = None

    @property
    def recipients(self) -> list[str]:
        """All that are known, by the scanner or by deliveries."""
        listed = self.scan.get("to")
        known = [str(address) for address in listed] if isinstance(listed, list) else []
        return known or list(dict.fromkeys(attempt.recipient for attempt in self.attempts))

    @property
    def has_passed(self) -> bool:
        """Whether it went on to the queue."""
        return not self.scan or self.scan.get("action") in PASSED

    @property
    def last(self) -> dict[str, Attempt]:
        """Each recipient's last delivery."""
        return {attempt.recipient: attempt for attempt in self.attempts}

    def fate(self) -> str:
        """What became of it, in a word."""
        acted = [FATES_BY_EVENT[event["event"]] for event in self.events if event["event"] in FATES_BY_EVENT]
        if acted:
            return acted[-1]
        if not self.has_passed:
            return FATES_BY_ACTION.get(str(self.scan.get("action")), "unknown")
        return self._delivery()

    def _delivery(self) -> str:
        results = {attempt.result for attempt in self.last.values()}
        if "failure" in results or self.bounce:
            return "partly bounced" if "success" in results else "bounced"
        if "deferral" in results:
            return "deferred" if not self.ended else "partly dropped" if "success" in results else "dropped"
        if results == {"success"}:
            return "delivered" if self.ended or len(self.last) >= self.expected else "queued"
        if self.queued and not self.ended:
            return "queued"
        return "dropped" if any(event["event"] == DROP for event in self.events) else "unknown"

    @property
    def expected(self) -> int:
        """How many recipients it has, as far as is known."""
        return int(self.scan.get("recipients") or 1)

    def record(self) -> dict[str, Any]:
        """As it is told."""
        told = {"kind": "message", "fate": self.fate(), **self.scan, "time": self.time, "from": self.sender}
        told |= {"to": self.recipients, "qp": self.qp, "msg": self.number, "queued": self.queued, "ended": self.ended}
        told["size"] = self.scan.get("size") or self.size
        told["deliveries"] = [attempt.record() for attempt in self.attempts]
        if self.events:
            told |= {"events": self.events, "delivery": self._delivery() if self.attempts else ""}
        if self.bounce:
            told["bounce"] = self.bounce.record()
        return told


FATES_BY_EVENT = {"release": "released", "delete": "deleted", "expire": "expired"}
DROP = "queue-drop"
"""The event that `gw queue drop` writes into the journal."""
FATES_BY_ACTION = {
    "quarantine": "held",
    "quarantine+reject": "rejected",
    "reject": "rejected",
    "tempfail": "put off",
}


def number(value: Any) -> float:
    """A number of a log, or 0."""
    return float(value) if isinstance(value, int | float) else 0.0


# --- the scanner's log ---


class Scanner:
    """Messages that the scanner wrote down and that fit, the newest `most` of them, with what was done to held ones."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.mails: deque[Mail] = deque(maxlen=request.most)
        self.count = 0
        self.drops: list[dict[str, Any]] = []
        self._by_held: dict[str, Mail] = {}
        texts = [request.to, request.sender or "", request.subject, request.message_id.strip("<>")]
        texts.append("" if request.qps else request.id)
        texts.append(request.ip if "." in request.ip and "/" not in request.ip else "")
        self._needles = sorted((found for text in texts if (found := needle(text))), key=len, reverse=True)

    def read(self, blocks: Iterator[bytes]) -> None:
        """Read the log. A message's line stands before those of what was done with it."""
        for block in blocks:
            for line in lines_with(block, self._needles) if self._needles else block.split(b"\n"):
                if self._is_in_time(line) and b'"event":' not in line:
                    self._message(parsed(line))
            for line in lines_with(block, [b'"event":']):
                self._event(parsed(line))

    def _is_in_time(self, line: bytes) -> bool:
        """A look at a line that costs less than reading its JSON."""
        try:
            return float(line[8:20].partition(b",")[0]) >= self.request.since - MARGIN
        except ValueError:
            return True

    def _message(self, line: dict[str, Any]) -> None:
        if not (line and self._fits(line)):
            return
        self.count += self.request.is_within(number(line.get("time")))
        if len(self.mails) == self.mails.maxlen:
            self._by_held.pop(str(self.mails[0].scan.get("held", "")), None)
        mail = Mail(number(line.get("time")), str(line.get("from", "")), line, qp=int(number(line.get("qp"))))
        self.mails.append(mail)
        if line.get("held"):
            self._by_held[str(line["held"])] = mail

    def _event(self, line: dict[str, Any]) -> None:
        if line.get("event") == DROP:
            self.drops.append(line)
        elif isinstance(line.get("event"), str) and (mail := self._by_held.get(str(line.get("held", "")))):
            mail.events.append(line)

    def _fits(self, line: dict[str, Any]) -> bool:
        """Whether a message is asked for; whoever stands behind the recipients that are named may be."""
        request = self.request
        named = line.get("to") if isinstance(line.get("to"), list) else []
        return (
            request.since - MARGIN <= number(line.get("time")) < request.before
            and (
                request.fits_to([str(name) for name in named or []])
                or number(line.get("recipients")) > len(named or [])
            )
            and request.fits_sender(str(line.get("from", "")))
            and (not request.subject or fits(request.subject, str(line.get("subject", ""))))
            and (not request.message_id or same_id(request.message_id, str(line.get("message_id", ""))))
            and request.fits_ip(str(line.get("ip", "")))
            and (not request.id or self._fits_id(line))
        )

    def _fits_id(self, line: dict[str, Any]) -> bool:
        held, wanted = str(line.get("held", "")), self.request.id
        return (
            line.get("qp") in self.request.qps
            or str(line.get("qp", "")) == wanted
            or bool(held and (held.startswith(wanted) or held.endswith(wanted)))
        )


def same_id(wanted: str, found: str) -> bool:
    """Whether a Message-ID is the one, with or without its brackets."""
    return fits(wanted.strip("<> "), found.strip("<> "))


# --- qmail-send's log ---


class Queue:
    """The lives in qmail's queue: of messages that passed the scanner and fit, and of those that never saw it."""

    def __init__(self, request: Request, mails: Collection[Mail]) -> None:
        self.request = request
        self.others: deque[Mail] = deque(maxlen=request.most)
        self._seeds: set[bytes] = set()
        self._alive: dict[bytes, Mail] = {}
        self._open: dict[bytes, Attempt] = {}
        self._waiting: dict[int, list[Mail]] = {}
        self._bounces: dict[int, Mail] = {}
        for mail in mails:
            for qp in {mail.qp if mail.has_passed else 0, *(int(number(event.get("qp"))) for event in mail.events)}:
                self._waiting.setdefault(qp, []).append(mail)
        # releases of earlier versions, which did not write the qp down
        self._released = [mail for mail in mails if any(e["event"] == "release" and "qp" not in e for e in mail.events)]
        self._waiting.pop(0, None)
        self._takes_others = not (request.needs_scanner or request.ip)
        self._takes_all = self._takes_others and not (request.to or request.sender or request.id)

    @property
    def is_needed(self) -> bool:
        """Whether the log may hold anything that is asked for."""
        return bool(self._waiting or self._takes_others or self._released)

    def look_for_recipients(self, blocks: Iterator[bytes]) -> None:
        """Find the numbers of messages to those who are asked for: a life begins with the sender alone."""
        texts = [needle(safe_pattern(self.request.to).replace("_", "*")), b"starting delivery "]
        for block in blocks:
            for line in lines_with(block, texts):
                self._seed(line)

    def _seed(self, line: bytes) -> None:
        words = line.split(b" ", 8)
        if (
            len(words) > 8
            and words[1] == b"starting"
            and fits(safe_pattern(self.request.to), words[8].decode("latin-1"))
        ):
            self._seeds.add(words[5])

    def read(self, blocks: Iterator[bytes]) -> None:
        """Read the log."""
        for block in blocks:
            if self._is_needed(block):
                self._lines(block.split(b"\n"))

    def _lines(self, lines: list[bytes]) -> None:
        find = _TAKES.get
        for line in lines:
            take = find(line[26:30])
            if take:
                try:
                    take(self, line)
                except (ValueError, IndexError):  # no line of qmail's
                    continue

    def _is_needed(self, block: bytes) -> bool:
        """Whether a block can hold anything about a message that is looked for."""
        sender = self.request.sender if self._takes_others else None
        if self._open or self._takes_all or sender == "" or self._released:
            return True
        texts = [b"msg " + name for name in {*self._alive, *self._seeds}]
        texts += [b" qp %d uid" % qp for qp in {*self._waiting, *self._bounces}]
        if self.request.id.isdigit():
            texts.append(b"msg " + self.request.id.encode("ascii"))
        return (
            len(texts) > FEW
            or any(text in block for text in texts)
            or (bool(sender) and needle(safe_pattern(sender or "")) in block.lower())
        )

    def _new(self, line: bytes) -> None:
        self._alive.pop(line.split(b" ")[3], None)

    def _info(self, line: bytes) -> None:
        words = line.split(b" ")
        name, qp = words[3][:-1], int(words[9])
        if not (self._takes_others or self._released or qp in self._waiting or qp in self._bounces):
            self._alive.pop(name, None)
            return
        time, sender, size = label_time(line), words[7][1:-1].decode("latin-1"), int(words[5])
        mail = self._passed(qp, time, sender, size) or self._bounced(qp, time, sender)
        mail = mail or self._release(time, sender) or self._other(name, time, sender)
        if mail:
            mail.number, mail.queued, mail.size = int(name), time, size
            mail.qp = mail.qp or qp
            self._alive[name] = mail

    def _passed(self, qp: int, time: float, sender: str, size: int) -> Mail | None:
        """The message of the scanner's that this process queued."""
        for mail in reversed(self._waiting.get(qp, ())):
            events = [number(event.get("time")) for event in mail.events if event.get("qp") == qp]
            judged = events[0] if events else mail.time
            is_soon = -MARGIN / 10 <= time - judged <= MARGIN
            is_later = judged <= time and 0 <= size - number(mail.scan.get("size")) <= ROOM
            if safe(mail.sender) == sender and (is_soon or is_later):
                self._waiting[qp].remove(mail)
                return mail
        return None

    def _bounced(self, qp: int, time: float, sender: str) -> Mail | None:
        parent = self._bounces.pop(qp, None)
        if parent and parent.bounce and time - parent.bounce.time < MARGIN:
            parent.bounce.sender = sender
            if self._takes_others and not self.request.id and self.request.fits_sender(sender):
                self.others.append(parent.bounce)
            return parent.bounce
        return None

    def _release(self, time: float, sender: str) -> Mail | None:
        for mail in self._released:
            said = [number(event.get("time")) for event in mail.events if event["event"] == "release"]
            if safe(mail.sender) == sender and any(abs(time - moment) < MARGIN / 10 for moment in said):
                self._released.remove(mail)
                return mail
        return None

    def _other(self, name: bytes, time: float, sender: str) -> Mail | None:
        """A message that never saw the scanner: a notice, or one of the host's own."""
        request = self.request
        is_asked_for = (
            self._takes_others
            and (not request.to or name in self._seeds)
            and request.is_within(time)
            and (request.sender is None or fits(safe_pattern(request.sender), sender))
            and (not request.id or request.id.encode() == name)
        )
        if not is_asked_for:
            self._alive.pop(name, None)
            return None
        mail = Mail(time, sender)
        self.others.append(mail)
        return mail

    def _starting(self, line: bytes) -> None:
        words = line.split(b" ", 8)
        mail = self._alive.get(words[5])
        self._open.pop(words[3], None)  # one of the same number that a qmail-send before never told the end of
        if mail:
            attempt = Attempt(words[8].decode("latin-1"), words[7].decode("latin-1"), label_time(line))
            mail.attempts.append(attempt)
            self._open[words[3]] = attempt

    def _delivery(self, line: bytes) -> None:
        words = line.split(b" ", 4)
        attempt = self._open.pop(words[2], None)
        if attempt:
            attempt.ended = label_time(line)
            attempt.result = words[3].rstrip(b":").decode("latin-1")
            attempt.text = b" ".join(words[4:]).decode("latin-1").replace("_", " ").strip("/ ")

    def _bounce(self, line: bytes) -> None:
        words = line.split(b" ")
        mail = self._alive.get(words[3])
        if mail:
            mail.bounce = Mail(label_time(line), "", qp=int(words[5]))
            self._bounces[mail.bounce.qp] = mail

    def _end(self, line: bytes) -> None:
        mail = self._alive.pop(line.split(b" ")[3], None)
        if mail:
            mail.ended = label_time(line)


@functools.lru_cache
def safe_pattern(pattern: str) -> str:
    """A filter for an address as qmail-send's log has it."""
    return "".join(letter if letter == "*" else safe(letter) for letter in pattern)


_TAKES: dict[bytes, Callable[[Queue, bytes], None]] = {
    b"new ": Queue._new,
    b"info": Queue._info,
    b"star": Queue._starting,
    b"deli": Queue._delivery,
    b"boun": Queue._bounce,
    b"end ": Queue._end,
}


# --- gatepost's log ---

_TOLD = re.compile(rb'"msg": (\d+), ')
LINK = ("host", "server", "address", "port", "tls", "cipher", "verified", "signed", "reply", "seconds")
"""What is taken of its lines."""


def add_links(mails: Collection[Mail], blocks: Iterator[bytes]) -> None:
    """Tell deliveries by which host, address and TLS they went."""
    attempts: dict[bytes, list[Attempt]] = {}
    for mail in mails:
        for one in (mail, mail.bounce):
            if one and one.attempts:
                attempts.setdefault(b"%d" % one.number, []).extend(one.attempts)
    for block in blocks:
        for told in _TOLD.finditer(block):
            if told[1] in attempts:
                start, end = block.rfind(b"\n", 0, told.start()) + 1, block.find(b"\n", told.end())
                _link(attempts[told[1]], parsed(block[start:end]))


def _link(attempts: list[Attempt], line: dict[str, Any]) -> None:
    time = written_time(str(line.get("time", "")))
    if not any(attempt.began - 2 <= time <= (attempt.ended or 1e12) + 2 for attempt in attempts):
        return
    to = {safe(str(address)).lower() for address in line.get("recipients") or []}
    near = [a for a in attempts if a.recipient.lower() in to and a.began - 2 <= time <= (a.ended or 1e12) + 2]
    if near:
        min(near, key=lambda a: abs(a.ended - time)).link = {name: line[name] for name in LINK if name in line}


def written_time(text: str) -> float:
    """Seconds since 1970 of a time like 2026-11-27T14:03:12Z; 0 if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


# --- what was refused before there was a message ---

_KEEPER = re.compile(
    rb"(?m)^(@[0-9a-f]{24}) gatekeeper\[\d+\]: \w+ (?:"
    rb"(?P<unknown>refused unknown) client=(?P<c1>\S+) recipient=(?P<r1>\S*)(?: sender=(?P<s1>\S*))?"
    rb"|(?P<forged>refused sender) client=(?P<c0>\S+) sender=(?P<s0>\S*)"
    rb"|(?P<listed>refused listed) client=(?P<c2>\S+) lists=(?P<t2>\S*)"
    rb"|(?P<over>put off limit) client=(?P<c3>\S+) recipient=(?P<r3>\S*) sender=(?P<s3>\S*) (?P<t3>[^\n]*)"
    rb"|(?P<alert>ALERT limit) (?:client=(?P<c4>\S+)|sender=(?P<s4>\S+)): (?P<t4>[^\n]*)"
    rb"|(?P<closed>smtp-enum-users) client=(?P<c5>\S+) (?P<t5>[^\n]*)"
    rb"|recipient=(?P<r6>\S*) (?P<later>is put off): (?P<t6>[^\n]*))$"
)
_KEEPER_KINDS = {
    "unknown": ("refused", "unknown recipient"),
    "forged": ("refused", "client may not use this sender"),
    "listed": ("refused", "address is on a DNS list"),
    "over": ("put off", "over a limit"),
    "alert": ("put off", "over a limit"),
    "closed": ("put off", "too many unknown recipients"),
    "later": ("put off", "recipient could not be verified"),
}
_DOOR = re.compile(
    rb"(?m)^(@[0-9a-f]{24}) (?:"
    rb"slots: \d+ (?P<c1>\S+): (?P<slots>[^\n]*)"
    rb"|starttls: (?P<pid>\d+) (?P<tls>no handshake[^\n]*)"
    rb"|tcpserver: (?P<denied>deny) \d+ \S* (?P<c3>\S+)[^\n]*"
    rb"|rblsmtpd: (?P<c4>\S+) pid \d+: (?P<listed>[^\n]*))$"
)
_DOOR_KINDS = {
    "slots": ("put off", "connection turned away"),
    "tls": ("refused", "TLS failed"),
    "denied": ("refused", "address may not connect"),
    "listed": ("put off", "address is on a DNS list"),
}


class Door:
    """What was refused at the door, the same by the same client once with its count, the newest `most`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.found: dict[tuple[str, ...], dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self._pids: dict[bytes, dict[str, Any]] = {}

    def read_keeper(self, blocks: Iterator[bytes]) -> None:
        """Read gatekeeper's log."""
        for block in blocks:
            for match in _KEEPER.finditer(block):
                groups = {name: text.decode("latin-1") for name, text in match.groupdict().items() if text is not None}
                kind = next(name for name in _KEEPER_KINDS if name in groups)
                by_letter = {name[0]: text for name, text in groups.items() if len(name) == 2}
                self._add(match[1], kind, *_KEEPER_KINDS[kind], by_letter)

    def read_door(self, blocks: Iterator[bytes]) -> None:
        """Read the log of tcpserver and of what it runs."""
        before = b""
        for block in blocks:
            for match in _DOOR.finditer(block):
                kind = next(name for name in _DOOR_KINDS if match[name] is not None)
                client = match["c1"] or remote(match["c3"]) or match["c4"]
                client = client or peer(match["pid"], block[: match.start()], before)
                parts = {"c": plain_address(client), "t": match[kind].decode("latin-1") if kind != "denied" else ""}
                self._add(match[1], kind, *_DOOR_KINDS[kind], parts)
            if self.request.ip and not (self.request.to or self.request.sender is not None or self.request.id):
                self._count_sessions(block)
            before = block

    def _add(self, label: bytes, kind: str, fate: str, what: str, parts: dict[str, str]) -> None:
        time, request = label_time(label), self.request
        client, to, sender = parts.get("c", ""), parts.get("r", ""), parts.get("s")
        if not (request.is_within(time) and request.fits_ip(client) and request.fits_to([to] if to else [])):
            return
        if request.sender is not None and (sender is None or not fits(request.sender, sender)):
            return
        record = {"kind": "refusal", "fate": fate, "what": what, "time": time, "last": time, "count": 1, "ip": client}
        record |= {"from": sender, "to": [to] if to else [], "text": parts.get("t", "")}
        known = self.found.pop((kind, client, to, sender or ""), None)
        if known:
            record |= {"time": known["time"], "count": known["count"] + 1}
        elif len(self.found) >= request.most:
            del self.found[next(iter(self.found))]
        self.found[kind, client, to, sender or ""] = record

    def _count_sessions(self, block: bytes) -> None:
        if not self._pids and is_exact(self.request.ip) and self.request.ip.encode() not in block:
            return
        for line in block.split(b"\n"):
            words = line.split(b" ")
            if len(words) > 5 and words[1:3] == [b"tcpserver:", b"pid"]:
                self._session(words[3], label_time(line), plain_address(words[5]))
            elif len(words) > 3 and words[1] == b"starttls:" and words[3].startswith(b"TLS") and words[2] in self._pids:
                version = words[3].rstrip(b":").decode("latin-1")
                kinds = self._pids[words[2]]["tls"]
                kinds[version] = kinds.get(version, 0) + 1
            elif len(words) > 3 and words[1:3] == [b"tcpserver:", b"end"]:
                self._pids.pop(words[3], None)

    def _session(self, pid: bytes, time: float, client: str) -> None:
        self._pids.pop(pid, None)
        if (
            not (self.request.is_within(time) and self.request.fits_ip(client))
            or len(self.sessions) > self.request.most
        ):
            return
        new = {"kind": "sessions", "fate": "connected", "time": time, "count": 0, "ip": client, "tls": {}}
        session = self.sessions.setdefault(client, new)
        session |= {"last": time, "count": session["count"] + 1}
        self._pids[pid] = session


def is_exact(ip: str) -> bool:
    """Whether an address is written in the only way there is for it."""
    return "." in ip and ":" not in ip and "/" not in ip


def peer(pid: bytes, block: bytes, before: bytes) -> bytes:
    """Who is at the other end of a session: the last tcpserver line of its process."""
    for text in (block, before):
        place = text.rfind(b" tcpserver: pid %s from " % pid)
        if place >= 0:
            return text[place:].split(b"\n", 1)[0].rsplit(b" ", 1)[1]
    return b""


def remote(text: bytes | None) -> bytes:
    """The address in tcpserver's NAME:ADDRESS:INFO:PORT of a client; NAME and INFO hold no colon."""
    return text.partition(b":")[2].rsplit(b":", 2)[0] if text else b""


def plain_address(text: bytes) -> str:
    """An address of tcpserver's: `::ffff:192.0.2.7` is IPv4."""
    word = text.decode("latin-1")
    return word.removeprefix("::ffff:") if "." in word else word


# --- all together ---


@dataclass(frozen=True, slots=True)
class Places:
    """Where a gateway's logs are."""

    root: Path = Path("/")

    @property
    def scanner(self) -> Path:
        """The scanner's journal."""
        return self.root / "var/log/gatescan/messages.jsonl"

    @property
    def send(self) -> Path:
        """qmail-send's log."""
        return self.root / "var/log/qmail"

    @property
    def smtpd(self) -> Path:
        """What tcpserver and qmail-smtpd say."""
        return self.root / "var/log/qmail/smtpd"

    @property
    def gatepost(self) -> Path:
        """One line a delivery."""
        return self.root / "var/log/gatepost/deliveries.jsonl"

    @property
    def gatekeeper(self) -> Path:
        """Who was refused at RCPT."""
        return self.root / "var/log/gatekeeper/daemon"


def trace(request: Request, places: Places) -> dict[str, Any]:
    """Read all logs; the answer as the module gives it."""
    remarks: list[str] = []
    logs = Logs(request.since - MARGIN, remarks)
    scanner, queue = read_mail(request, logs, places)
    if request.id.isdigit() and queue.others:  # qmail's number: the scanner knows the process that queued it
        request = replace(request, qps=tuple(mail.qp for mail in queue.others))
        scanner, queue = read_mail(request, logs, places)
    mails = [mail for mail in {id(m): m for m in (*scanner.mails, *queue.others)}.values() if is_asked(request, mail)]
    add_links(mails, logs.blocks(logs.lines_file(places.gatepost)))
    door = Door(request)
    if not (request.needs_scanner or request.id):
        door.read_keeper(logs.blocks(logs.multilog(places.gatekeeper)))
        door.read_door(logs.blocks(logs.multilog(places.smtpd)))
    records = [mail.record() for mail in mails] + [*door.found.values(), *door.sessions.values()]
    records.sort(key=lambda record: record["time"])
    is_cut = len(records) > request.most or scanner.count > request.most or len(queue.others) >= request.most
    return {"records": records[-request.most :], "is_cut": is_cut, "remarks": remarks}


def read_mail(request: Request, logs: Logs, places: Places) -> tuple[Scanner, Queue]:
    """What the scanner has found, and the lives in qmail's queue, also of what the scanner has never seen."""
    scanner = Scanner(request)
    scanner.read(logs.blocks(logs.lines_file(places.scanner)))
    queue = Queue(request, scanner.mails)
    if request.to and not (request.needs_scanner or request.ip):
        queue.look_for_recipients(logs.blocks(logs.multilog(places.send)))
    if queue.is_needed:
        queue.read(logs.blocks(logs.multilog(places.send)))
    for drop in scanner.drops:
        for mail in (*scanner.mails, *queue.others):
            if mail.number == drop.get("msg") and mail.queued <= number(drop.get("time")) <= (mail.ended or 1e12) + 60:
                mail.events.append(drop)
    return scanner, queue


def is_asked(request: Request, mail: Mail) -> bool:
    """Whether a message, with all that is known now, is asked for."""
    known = [*mail.recipients, *(attempt.recipient for attempt in mail.attempts)]
    return request.is_within(mail.time) and (request.fits_to(known) or fits_safe(request.to, mail))


def fits_safe(pattern: str, mail: Mail) -> bool:
    """Whether a recipient, as qmail-send's log has it, is asked for."""
    return any(fits(safe_pattern(pattern), attempt.recipient) for attempt in mail.attempts)


def pack(answer: dict[str, Any]) -> str:
    """An answer as it goes over the wire: nothing in it can be taken for a template or a secret."""
    return base64.b64encode(zlib.compress(json.dumps(answer).encode("ascii"), 1)).decode("ascii")


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "request": {"type": "str", "required": True},
            "root": {"type": "path", "default": "/"},
        },
        supports_check_mode=True,
    )
    try:
        request = Request(**json.loads(base64.b64decode(module.params["request"])))
    except (ValueError, TypeError) as error:
        module.fail_json(msg=f"this is no request: {error}")
    module.exit_json(changed=False, answer=pack(trace(request, Places(Path(module.params["root"])))))


if __name__ == "__main__":
    main()
