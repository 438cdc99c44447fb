"""qmail-send's log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator

from ..matching import fits, needle, safe, safe_pattern
from .asked import Request
from .logs import MARGIN, label_time, lines_with
from .mail import Attempt, Mail, number

STARTING = b"starting delivery "
ROOM = 16_384
"""Bytes that a message may grow by on its way into the queue: trace lines and tags."""
FEW = 32
"""Texts that a block is searched for one by one; with more, each of its lines is looked at."""


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
        # nothing to look for is left of a pattern such as `*`
        known = needle(safe_pattern(self.request.to).replace("_", "*"))
        texts = [known, STARTING] if known else [STARTING]
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
            kind = line[26:30]
            # while no message is followed, only the beginning of one is looked at
            take = find(kind) if kind == b"info" or self._alive or self._open else None
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
        if self.request.is_number:
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
        if not (self._may_be_other(name) or self._released or qp in self._waiting or qp in self._bounces):
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

    def _may_be_other(self, name: bytes) -> bool:
        """Whether a number may be that of a message that never saw the scanner and is asked for."""
        return self._takes_others and (not self.request.to or name in self._seeds)

    def _other(self, name: bytes, time: float, sender: str) -> Mail | None:
        """A message that never saw the scanner: a notice, or one of the host's own."""
        request = self.request
        is_asked_for = (
            self._may_be_other(name)
            and request.is_within(time)
            and (request.sender is None or fits(safe_pattern(request.sender), sender))
            and (not request.id or request.id.encode("utf-8", "replace") == name)
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


_TAKES: dict[bytes, Callable[[Queue, bytes], None]] = {
    b"new ": Queue._new,
    b"info": Queue._info,
    b"star": Queue._starting,
    b"deli": Queue._delivery,
    b"boun": Queue._bounce,
    b"end ": Queue._end,
}
