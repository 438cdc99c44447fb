"""qmail-smtpd: SMTP on descriptors 0 and 1, under tcpserver; what it accepts goes to $QMAILQUEUE."""

from __future__ import annotations

import os
import select
import sys
import time

from standin import auto, cdb, control
from standin.queue import Submission, date, write_all

MAX_HOPS = 100
ADDRESS_LIMIT = 900
HEADER_LIMIT = 1 << 20
BARE_LF = b"451 See https://cr.yp.to/docs/smtplf.html.\r\n"


class Hangup(Exception):
    """The session is over; the argument is a last reply, or nothing."""


class Client:
    """The other side of the session."""

    def __init__(self, timeout: int) -> None:
        self.timeout = timeout
        self.unread = b""
        self.replies = b""

    def say(self, text: bytes) -> None:
        """Add a reply; it is sent before the next wait."""
        self.replies += text + b"\r\n"

    def flush(self) -> None:
        """Send the replies."""
        replies, self.replies = self.replies, b""
        if not write_all(1, replies):
            raise Hangup(b"")

    def fill(self) -> None:
        """Wait for more input."""
        self.flush()
        if not select.select([0], [], [], self.timeout)[0]:
            raise Hangup(b"451 timeout (#4.4.2)\r\n")
        piece = os.read(0, 65536)
        if not piece:
            raise Hangup(b"")
        self.unread += piece

    def line(self) -> bytes:
        """The next command, without its line end."""
        while b"\n" not in self.unread:
            self.fill()
        line, _, self.unread = self.unread.partition(b"\n")
        return line.removesuffix(b"\r")


class Message:
    """The body of one message: counted, looked at for loops, and passed on with bare LF."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.header: bytes | None = b""
        self.hops = 0
        self.submission = Submission()

    def add(self, data: bytes) -> None:
        """Take a piece; what is over the limit is not passed on."""
        self.size += len(data)
        if self.header is not None:
            self.header += data
            if b"\n\n" in b"\n" + self.header or len(self.header) > HEADER_LIMIT:
                self.end_header()
        if not self.is_too_big():
            self.submission.put(data)

    def end_header(self) -> None:
        """Count the hops, once."""
        header = (b"\n" + (self.header or b"")).partition(b"\n\n")[0].lower()
        self.hops += header.count(b"\nreceived:") + header.count(b"\ndelivered-to:")
        self.header = None

    def is_too_big(self) -> bool:
        """Whether the message is over databytes."""
        return 0 < self.limit < self.size


def receive_body(client: Client, message: Message) -> None:
    """Read to the lone dot. A bare LF ends the session: two hosts might take it for different things."""
    data, first = b"\r\n" + client.unread, True
    while True:
        end = data.find(b"\r\n.\r\n")
        text = data if end < 0 else data[: end + 2]
        if text.count(b"\n") != text.count(b"\r\n"):
            raise Hangup(BARE_LF)
        cut = end + 2 if end >= 0 else len(data) - 4
        while end < 0 < cut and data[cut - 1] in b"\r\n":
            cut -= 1
        if cut > 0:
            ready = data[:cut].replace(b"\r\n.", b"\r\n").replace(b"\r\n", b"\n")
            message.add(ready[1:] if first else ready)
            data, first = data[cut:], False
        if end >= 0:
            client.unread = data[3:]
            return
        client.unread = b""
        client.fill()
        data += client.unread


def parse_address(argument: bytes) -> bytes | None:
    """The address of a MAIL or RCPT argument; None when it is too long."""
    _, angle, rest = argument.partition(b"<")
    end = b">"
    if not angle:
        rest, end = argument.partition(b":")[2].lstrip(b" "), b" "
    if rest.startswith(b"@"):
        rest = rest.partition(b":")[2]
    address, quoted, at = bytearray(), False, 0
    while at < len(rest):
        letter = rest[at : at + 1]
        if letter == b"\\" and at + 1 < len(rest):
            at += 1
            letter = rest[at : at + 1]
        elif letter == b'"':
            quoted = not quoted
            letter = b""
        elif letter == end and not quoted:
            break
        address += letter
        at += 1
    return bytes(address) if len(address) <= ADDRESS_LIMIT else None


class Session:
    """One SMTP session."""

    def __init__(self, environment: dict[bytes, bytes]) -> None:
        """Read the controls; raise OSError when one cannot be read."""
        self.environment = environment
        self.client = Client(control.read_number("timeoutsmtpd", 1200))
        self.greeting = control.read_line("smtpgreeting", "me")
        self.rcpthosts = control.read_set("rcpthosts")
        self.badmailfrom = control.read_set("badmailfrom") or set()
        limit = environment.get(b"DATABYTES", b"")
        self.limit = int(limit) if limit.isdigit() else control.read_number("databytes", 0)
        self.relay = environment.get(b"RELAYCLIENT")
        self.helo = b""
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []

    def run(self) -> int:
        """Talk until the client goes; returns the exit status."""
        try:
            self.client.say(b"220 " + self.greeting + b" ESMTP")
            while self.obey(self.client.line()):
                pass
            self.client.flush()
        except Hangup as hangup:
            write_all(1, self.client.replies + hangup.args[0])
            return 1
        return 0

    def obey(self, line: bytes) -> bool:
        """Carry out one command; False after QUIT."""
        verb, _, argument = line.partition(b" ")
        name = verb.lower().decode("latin-1")
        say = self.client.say
        if name in ("helo", "ehlo"):
            self.hello(name, argument.strip())
        elif name == "mail":
            self.mail(argument)
        elif name == "rcpt":
            self.rcpt(argument)
        elif name == "data":
            self.data()
        elif name == "rset":
            self.sender, self.recipients = None, []
            say(b"250 flushed")
        elif name == "noop":
            say(b"250 ok")
        elif name == "vrfy":
            say(b"252 send some mail, i'll try my best")
        elif name == "help":
            say(b"214 the lab's stand-in for qmail, not a mail server")
        elif name == "quit":
            say(b"221 " + self.greeting)
        else:
            say(b"502 unimplemented (#5.5.1)")
        return name != "quit"

    def hello(self, name: str, host: bytes) -> None:
        """HELO and EHLO."""
        self.helo = host
        self.sender, self.recipients = None, []
        if name == "helo":
            self.client.say(b"250 " + self.greeting)
        else:
            self.client.say(b"250-" + self.greeting + b"\r\n250-PIPELINING\r\n250 8BITMIME")

    def mail(self, argument: bytes) -> None:
        """MAIL FROM; a bad sender is told at RCPT, as qmail does."""
        address = parse_address(argument)
        if address is None:
            self.client.say(b"555 syntax error (#5.5.4)")
            return
        self.sender, self.recipients = address, []
        self.client.say(b"250 ok")

    def rcpt(self, argument: bytes) -> None:
        """RCPT TO."""
        address = parse_address(argument)
        if self.sender is None:
            self.client.say(b"503 MAIL first (#5.5.1)")
        elif address is None:
            self.client.say(b"555 syntax error (#5.5.4)")
        elif self.is_bad_sender():
            self.client.say(b"553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)")
        elif self.relay is None and not self.is_ours(address):
            self.client.say(b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)")
        else:
            self.recipients.append(address + (self.relay or b""))
            self.client.say(b"250 ok")

    def is_bad_sender(self) -> bool:
        """Whether badmailfrom has the sender, or its domain as @domain."""
        sender = (self.sender or b"").lower()
        _, at, domain = sender.rpartition(b"@")
        return sender in self.badmailfrom or (bool(at) and b"@" + domain in self.badmailfrom)

    def is_ours(self, address: bytes) -> bool:
        """Whether rcpthosts or morercpthosts.cdb has the recipient's domain; without rcpthosts all are ours."""
        _, at, domain = address.rpartition(b"@")
        if not at or self.rcpthosts is None:
            return True
        names = list(control.suffixes(domain))
        return any(name in self.rcpthosts or cdb.contains("control/morercpthosts.cdb", name) for name in names)

    def received(self) -> bytes:
        """The Received line."""

        def safe(name: bytes, default: bytes = b"unknown") -> bytes:
            text = self.environment.get(name, default)
            return bytes(byte if 33 <= byte <= 126 else ord("?") for byte in text)

        host, info = safe(b"TCPREMOTEHOST"), safe(b"TCPREMOTEINFO", b"")
        helo = bytes(byte if 33 <= byte <= 126 else ord("?") for byte in self.helo)
        line = b"Received: from " + host
        if helo.lower() != host.lower():
            line += b" (HELO " + helo + b")"
        line += b" (" + (info + b"@" if info else b"") + safe(b"TCPREMOTEIP") + b")\n  by " + safe(b"TCPLOCALHOST")
        return line + b" with SMTP; " + date(time.time()).encode() + b"\n"

    def data(self) -> None:
        """DATA, to the reply."""
        if self.sender is None:
            self.client.say(b"503 MAIL first (#5.5.1)")
            return
        if not self.recipients:
            self.client.say(b"503 RCPT first (#5.5.1)")
            return
        sender, self.sender = self.sender, None
        try:
            message = Message(self.limit)
        except OSError:
            self.client.say(b"451 qqt failure (#4.3.0)")
            return
        pid = message.submission.pid
        message.submission.put(self.received())
        self.client.say(b"354 go ahead")
        try:
            receive_body(self.client, message)
        except Hangup:
            message.submission.close(b"", [], cancel=True)
            raise
        if message.header is not None:
            message.end_header()
        looping = message.hops >= MAX_HOPS
        failure = message.submission.close(sender, self.recipients, cancel=looping or message.is_too_big())
        self.client.say(reply(failure, pid, looping, message.is_too_big()))


def reply(failure: bytes, pid: int, looping: bool, too_big: bool) -> bytes:
    """The reply to a message."""
    if not failure:
        return b"250 ok %d qp %d" % (time.time(), pid)
    if looping:
        return b"554 too many hops, this message is looping (#5.4.6)"
    if too_big:
        return b"552 sorry, that message size exceeds my databytes limit (#5.3.4)"
    return (b"554 " if failure.startswith(b"D") else b"451 ") + failure[1:]


def main() -> int:
    """Run qmail-smtpd; returns its exit status."""
    os.umask(0o022)
    try:
        os.chdir(auto.HOME)
        session = Session(dict(os.environb))
    except OSError:
        write_all(1, b"421 unable to read controls (#4.3.0)\r\n")
        return 1
    try:
        return session.run()
    except MemoryError:
        sys.stdout.write("421 out of memory (#4.3.0)\r\n")
        return 1
