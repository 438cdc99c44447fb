"""qmail-smtpd: SMTP on descriptors 0 and 1, under tcpserver; what it accepts goes to $QMAILQUEUE."""

from __future__ import annotations

import errno
import os
import select
import sys
import time

from standin import auto, cdb, control
from standin.policy import SECONDS, Policy
from standin.queue import Submission, date, write_all

MAX_HOPS = 100
ADDRESS_LIMIT = 900
HEADER_LIMIT = 1 << 20
LINE_LIMIT = 4096
ODD = frozenset(b'%!@\\"()<>,;:[]')
BROKEN = frozenset(b' <>()"\\,;')
TOO_LATE = b"421 this session has lasted too long (#4.4.2)\r\n"
BARE_LF = b"451 See https://cr.yp.to/docs/smtplf.html.\r\n"


class Hangup(Exception):
    """The session is over; the argument is a last reply, or nothing."""


class Client:
    """The other side of the session."""

    def __init__(self, timeout: int, session: int) -> None:
        """timeout: seconds for the client's next word; session: seconds for all of it, 0: no limit."""
        self.timeout = timeout
        self.deadline = time.monotonic() + session if session else 0.0
        self.unread = b""
        self.replies = b""

    def say(self, text: bytes) -> None:
        """Add a reply; it is sent before the next wait."""
        self.replies += text + b"\r\n"

    def patience(self, seconds: float) -> float:
        """Seconds to wait for the client, or for anybody whom it makes wait."""
        if not self.deadline:
            return seconds
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Hangup(TOO_LATE)
        return min(left, seconds)

    def flush(self) -> None:
        """Send the replies."""
        replies, self.replies = self.replies, b""
        if not write_all(1, replies):
            raise Hangup(b"")

    def fill(self) -> None:
        """Wait for more input."""
        self.flush()
        if not select.select([0], [], [], self.patience(self.timeout))[0]:
            self.patience(0)
            raise Hangup(b"451 timeout (#4.4.2)\r\n")
        piece = os.read(0, 65536)
        if not piece:
            raise Hangup(b"")
        self.unread += piece

    def line(self) -> bytes:
        """The next command, without its line end."""
        is_bad = False
        while b"\n" not in self.unread:
            if len(self.unread) > LINE_LIMIT:
                self.unread, is_bad = b"", True
            self.fill()
        line, _, self.unread = self.unread.partition(b"\n")
        return b"" if is_bad or b"\0" in line or len(line) > LINE_LIMIT else line.removesuffix(b"\r")


class Message:
    """The body of one message: counted, looked at for loops, and passed on with bare LF."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.header: bytes | None = b""
        self.hops = 0
        self.has_nul = False
        self.submission = Submission()

    def add(self, data: bytes) -> None:
        """Take a piece; what is over the limit is not passed on."""
        self.size += len(data)
        self.has_nul = self.has_nul or b"\0" in data
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


def parse_address(argument: bytes) -> tuple[bytes | None, bytes]:
    """The address of a MAIL or RCPT argument, None when it is too long; and what stands behind it."""
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
    address = address.rstrip(b" ")  # some devices put a blank before the >
    return bytes(address) if len(address) <= ADDRESS_LIMIT else None, rest[at:]


def is_odd(address: bytes) -> bool:
    """Whether a recipient might be a way around: what RFC 5321 has in quotes only, and old routing."""
    local, at, domain = address.rpartition(b"@")
    if not at:
        local, domain = address, b""
    letters = ODD.intersection(local) | ODD.difference(b"[]:").intersection(domain)
    return not local or local[:1] in b"|/" or bool(letters) or any(byte <= 32 or byte == 127 for byte in address)


def is_broken(address: bytes) -> bool:
    """Whether SMTP has no form for an address: on the next server's line it would end early."""
    domain = address.rpartition(b"@")[2] if b"@" in address else b""
    return any(byte < 32 or byte == 127 for byte in address) or bool(BROKEN.intersection(domain))


def said_size(rest: bytes) -> int | None:
    """What the client says of the message's size, behind the address; 0 if nothing, None if that is no number."""
    said = 0
    for word in rest.split(b" ")[1:]:
        if word[:5].lower() == b"size=":
            if not word[5:].isdigit():
                return None
            said = int(word[5:])
    return said


def is_deliverable(local: bytes) -> bool:
    """Whether qmail-local finds instructions for a local part; OSError if that cannot be known."""
    name = local.lower().replace(b".", b":")
    names = [name, *(name[:at] + b"default" for at in range(len(name), -1, -1) if at == 0 or name[at - 1 : at] == b"-")]
    for end in names:
        try:
            os.stat(b"alias/.qmail-" + end)
            return True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
    return False


class Session:
    """One SMTP session."""

    def __init__(self, environment: dict[bytes, bytes]) -> None:
        """Read the controls; raise OSError when one cannot be read."""
        self.environment = environment
        self.relay = environment.get(b"RELAYCLIENT")
        self.client = Client(control.read_number("timeoutsmtpd", 1200), self.limit_of("maxsession"))
        self.greeting = control.read_line("smtpgreeting", "me")
        self.rcpthosts = control.read_set("rcpthosts")
        self.badmailfrom = control.read_set("badmailfrom") or set()
        limit = environment.get(b"DATABYTES", b"")
        self.limit = int(limit) if limit.isdigit() else control.read_number("databytes", 0)
        self.max_recipients = self.limit_of("maxrcpt", "maxrcpt" if self.relay is None else "maxrcptrelay")
        self.max_errors, self.max_commands = self.limit_of("maxerrors"), self.limit_of("maxcommands")
        self.errors = self.idle_commands = self.transaction = self.size = 0
        self.locals = control.read_set("locals") or {control.read_line("me").lower()}
        self.only_aliases = bool(self.limit_of("onlyaliases"))
        self.odd_ok = self.relay is not None or b"ODDRECIPIENTS" in environment
        self.policy = Policy(environment[b"SMTPPOLICY"]) if environment.get(b"SMTPPOLICY") else None
        self.protocol = b"SMTP"
        self.helo = b""
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []

    def limit_of(self, name: str, file: str = "") -> int:
        """A limit of sessions, from the environment or a control file; 0: none."""
        said = self.environment.get(name.upper().encode(), b"")
        return int(said) if said.isdigit() else control.read_number(file or name, 0)

    def refuse(self, text: bytes) -> None:
        """Refuse a command for good; too many of them end the session."""
        self.errors += 1
        if 0 < self.max_errors < self.errors:
            raise Hangup(b"421 too many errors (#4.7.0)\r\n")
        self.client.say(text)

    def count(self) -> None:
        """Count a command that is no part of taking a message; too many of them end the session."""
        self.idle_commands += 1
        if 0 < self.max_commands < self.idle_commands:
            raise Hangup(b"421 too many commands without a message (#4.7.0)\r\n")

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
        if name not in ("rcpt", "data", "quit"):
            self.count()
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
            self.refuse(b"502 unimplemented (#5.5.1)")
        return name != "quit"

    def hello(self, name: str, host: bytes) -> None:
        """HELO and EHLO."""
        self.helo = host
        self.sender, self.recipients = None, []
        if name == "helo":
            self.protocol = b"SMTP"
            self.client.say(b"250 " + self.greeting)
        else:
            self.protocol = b"ESMTP"
            more = b"\r\n250-PIPELINING\r\n250-SIZE %d\r\n250 8BITMIME" % self.limit
            self.client.say(b"250-" + self.greeting + more)

    def mail(self, argument: bytes) -> None:
        """MAIL FROM; a bad sender is told at RCPT, as qmail does."""
        address, rest = parse_address(argument)
        if address is None:
            self.refuse(b"555 syntax error (#5.5.4)")
            return
        if is_broken(address):
            self.refuse(b"553 sorry, that is no address: no control characters, blanks or brackets (#5.1.7)")
            return
        size = said_size(rest)
        if size is None:
            self.refuse(b"501 SIZE must be a number (#5.5.4)")
            return
        if 0 < self.limit < size:
            self.refuse(b"552 sorry, that message size exceeds my databytes limit (#5.3.4)")
            return
        self.sender, self.recipients, self.size = address, [], size
        self.transaction += 1
        self.client.say(b"250 ok")

    def rcpt(self, argument: bytes) -> None:
        """RCPT TO."""
        address, _ = parse_address(argument)
        if self.sender is None:
            self.refuse(b"503 MAIL first (#5.5.1)")
        elif address is None:
            self.refuse(b"555 syntax error (#5.5.4)")
        elif self.is_bad_sender():
            self.refuse(b"553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)")
        elif self.relay is None and not self.is_ours(address):
            self.refuse(b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)")
        else:
            self.known(address + (self.relay or b""))

    def known(self, address: bytes) -> None:
        """RCPT, for an address that is ours to deliver or to relay."""
        if not self.odd_ok and is_odd(address):
            text = b"553 sorry, such a recipient might be a way around: no %, !, quotes and the like (#5.1.3)"
            self.refuse(text)
            return
        if is_broken(address):
            self.refuse(b"553 sorry, that is no address: no control characters, blanks or brackets (#5.1.3)")
            return
        try:
            found = not self.only_aliases or not self.is_local(address) or is_deliverable(local_part(address))
        except OSError:
            self.client.say(b"451 unable to look for the recipient (#4.3.0)")
            return
        if not found:
            self.refuse(b"550 sorry, no mailbox here by that name (#5.1.1)")
        elif 0 < self.max_recipients <= len(self.recipients):
            text = b"452 too many recipients in one message, send it to the others in another (#4.5.3)"
            self.client.say(text)
        elif self.policy_allows(b"RCPT", address, 0):
            self.recipients.append(address)
            self.client.say(b"250 ok")

    def is_local(self, address: bytes) -> bool:
        """Whether an address is at a name of this host's own; one without a name is."""
        _, at, domain = address.rpartition(b"@")
        return not at or domain.lower() in self.locals

    def policy_allows(self, state: bytes, recipient: bytes, count: int) -> bool:
        """Whether the policy daemon lets the client go on; it has heard why if not."""
        if self.policy is None:
            return True

        def told(name: str) -> bytes:
            return self.environment.get(name.encode(), b"")

        host = told("TCPREMOTEHOST") or b"unknown"
        reply = self.policy.ask(
            {
                b"request": b"smtpd_access_policy",
                b"protocol_state": state,
                b"protocol_name": self.protocol,
                b"client_address": told("TCPREMOTEIP") or b"unknown",
                b"client_name": host,
                b"reverse_client_name": host,
                b"client_port": told("TCPREMOTEPORT"),
                b"server_address": told("TCPLOCALIP"),
                b"server_port": told("TCPLOCALPORT"),
                b"helo_name": self.helo or host,
                b"sender": self.sender or b"",
                b"recipient": recipient,
                b"recipient_count": b"%d" % count,
                b"queue_id": b"",
                b"instance": b"%d.%d.%d" % (os.getpid(), time.time(), self.transaction),
                b"size": b"%d" % self.size,
                **dict.fromkeys((b"etrn_domain", b"stress", b"sasl_method", b"sasl_username", b"sasl_sender"), b""),
                **{b"ccert_" + name: b"" for name in (b"subject", b"issuer", b"fingerprint", b"pubkey_fingerprint")},
                b"encryption_protocol": told("SSL_PROTOCOL"),
                b"encryption_cipher": told("SSL_CIPHER"),
                b"encryption_keysize": b"0",
                b"relay_client": b"no" if self.relay is None else b"yes",
            },
            self.client.patience(SECONDS),
        )
        if reply.startswith(b"421"):
            raise Hangup(reply + b"\r\n")
        if reply.startswith(b"5"):
            self.refuse(reply)
        elif reply:
            self.client.say(reply)
        return not reply

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
            self.refuse(b"503 MAIL first (#5.5.1)")
            return
        if not self.recipients:
            self.refuse(b"503 RCPT first (#5.5.1)")
            return
        only = self.recipients[0] if len(self.recipients) == 1 else b""
        is_allowed = self.policy_allows(b"DATA", only, len(self.recipients))
        sender, self.sender = self.sender, None
        if not is_allowed:
            return
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
        is_unfit = looping or message.has_nul or message.is_too_big()
        failure = message.submission.close(sender, self.recipients, cancel=is_unfit)
        if not failure:
            self.idle_commands = 0
        if message.has_nul:
            self.client.say(b"554 sorry, a message may not have a NUL byte in it (#5.6.0)")
        else:
            self.client.say(reply(failure, pid, looping, message.is_too_big()))


def local_part(address: bytes) -> bytes:
    """What stands before the last @, or all of it."""
    local, at, _ = address.rpartition(b"@")
    return local if at else address


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
