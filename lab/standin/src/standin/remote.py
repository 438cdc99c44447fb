"""qmail-remote: delivers the message on descriptor 0 by SMTP (IPv4, as qmail does); reports on descriptor 1."""

from __future__ import annotations

import os
import re
import socket
import sys

from standin import auto, control, dns, tcpto

IS_MINE = (
    "Sorry. Although I'm listed as a best-preference MX or A for that host,\n"
    "it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)"
)
PLAIN = re.compile(rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*")


class Report(Exception):
    """The delivery has ended: a letter (K, Z, D) and a text."""


def quote(address: bytes) -> bytes:
    """An address as SMTP wants it."""
    local, at, domain = address.rpartition(b"@")
    if not at or PLAIN.fullmatch(local):
        return address
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", local) + b'"@' + domain


def route(host: bytes) -> tuple[bytes, int]:
    """The relay and port that smtproutes has for a host; no relay means by MX."""
    routes = control.read_map("smtproutes")
    for name in (*control.suffixes(host), b""):
        if name in routes:
            relay, _, port = routes[name].partition(b":")
            return relay, int(port) if port.isdigit() else 25
    return b"", 25


def is_here(address: str) -> bool:
    """Whether an address is this host's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def targets(host: bytes, relay: bytes) -> list[str]:
    """The addresses to try, best first."""
    try:
        found = [(0, address) for address in dns.addresses(relay)] if relay else dns.exchangers(host)
    except dns.TemporaryError as error:
        raise Report("Z", "CNAME lookup failed temporarily. (#4.4.3)") from error
    if not found:
        raise Report("D", f"Sorry, I couldn't find any host named {(relay or host).decode('latin-1')}. (#5.1.2)")
    if relay:
        return [address for _, address in found]
    own = [preference for preference, address in found if is_here(address)]
    better = [address for preference, address in found if not own or preference < min(own)]
    if not better:
        raise Report("D", IS_MINE)
    return better


def connect(addresses: list[str], port: int) -> socket.socket:
    """A connection to the first that answers."""
    timeout = control.read_number("timeoutconnect", 60)
    for address in addresses:
        if tcpto.is_away(address):
            continue
        try:
            talk = socket.create_connection((address, port), timeout)
        except OSError as error:
            tcpto.note(address, timed_out=isinstance(error, TimeoutError))
            continue
        tcpto.note(address, timed_out=False)
        return talk
    raise Report("Z", "Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)")


class Talk:
    """An SMTP session as a client."""

    def __init__(self, connection: socket.socket, timeout: int) -> None:
        connection.settimeout(timeout)
        self.connection = connection
        self.peer = str(connection.getpeername()[0])
        self.stream = connection.makefile("rb")
        self.reply = ""
        self.sent_all = False

    def send(self, data: bytes) -> None:
        """Send; a dead connection is a report."""
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise self.died() from error

    def code(self) -> int:
        """Read a reply; returns its code."""
        lines = []
        while True:
            try:
                line = self.stream.readline(4096)
            except OSError as error:
                raise self.died() from error
            if not line.endswith(b"\n"):
                raise self.died()
            lines.append(line.decode("latin-1").rstrip())
            if line[3:4] != b"-":
                break
        self.reply = f"Remote host said: {chr(10).join(lines)}"
        return int(lines[-1][:3]) if lines[-1][:3].isdigit() else 0

    def ask(self, command: bytes) -> int:
        """Send a command; returns the reply's code."""
        self.send(command + b"\r\n")
        return self.code()

    def died(self) -> Report:
        """The connection is dead."""
        maybe = " Possible duplicate!" if self.sent_all else ""
        return Report("Z", f"Connected to {self.peer} but connection died.{maybe} (#4.4.2)")

    def quit(self, letter: str, text: str) -> Report:
        """The delivery has ended with the reply that was read last."""
        try:
            self.connection.sendall(b"QUIT\r\n")
            self.stream.readline(4096)
        except OSError:
            pass
        return Report(letter, f"{text}.\n{self.reply}")


def send_body(talk: Talk) -> None:
    """Send the message with CRLF, dots doubled, and the lone dot."""
    batch = bytearray()
    with open(0, "rb", closefd=False) as file:
        for line in file:
            batch += (b"." if line.startswith(b".") else b"") + line.removesuffix(b"\n") + b"\r\n"
            if len(batch) > 65536:
                talk.send(bytes(batch))
                batch.clear()
    talk.sent_all = True
    talk.send(bytes(batch) + b".\r\n")


def smtp(talk: Talk, sender: bytes, recipients: list[bytes]) -> Report:
    """One message over a connection; writes the recipients' reports, returns the whole's."""
    if talk.code() != 220:
        return talk.quit("Z", f"Connected to {talk.peer} but greeting failed")
    if talk.ask(b"HELO " + control.read_line("helohost", "me")) != 250:
        return talk.quit("Z", f"Connected to {talk.peer} but my name was rejected")
    code = talk.ask(b"MAIL FROM:<" + quote(sender) + b">")
    if code >= 400:
        return talk.quit("D" if code >= 500 else "Z", f"Connected to {talk.peer} but sender was rejected")
    accepted = 0
    for recipient in recipients:
        code = talk.ask(b"RCPT TO:<" + quote(recipient) + b">")
        accepted += code < 400
        letter = "h" if code >= 500 else "s" if code >= 400 else "r"
        put(letter, f"{talk.peer} does not like recipient.\n{talk.reply}" if code >= 400 else "")
    if not accepted:
        talk.reply = ""
        return talk.quit("D", f"Giving up on {talk.peer}")
    code = talk.ask(b"DATA")
    if code >= 400:
        return talk.quit("D" if code >= 500 else "Z", f"{talk.peer} failed on DATA command")
    send_body(talk)
    code = talk.code()
    if code >= 400:
        return talk.quit("D" if code >= 500 else "Z", f"{talk.peer} failed after I sent the message")
    return talk.quit("K", f"{talk.peer} accepted message")


def put(letter: str, text: str) -> None:
    """Write one report."""
    line = f"{letter}{text}\n" if text else letter
    sys.stdout.buffer.write(line.encode("latin-1", "replace") + b"\0")
    sys.stdout.buffer.flush()


def main() -> int:
    """Run qmail-remote host sender recipient...; returns 0: the reports say how it went."""
    if len(sys.argv) < 4:
        put("D", "I (qmail-remote) was invoked improperly. (#5.3.5)")
        return 0
    host, sender, *recipients = (os.fsencode(argument) for argument in sys.argv[1:])
    try:
        os.chdir(auto.HOME)
        relay, port = route(host)
        with connect(targets(host, relay), port) as connection:
            report = smtp(Talk(connection, control.read_number("timeoutremote", 1200)), sender, recipients)
    except Report as ended:
        report = ended
    except OSError as error:
        report = Report("Z", f"Unable to read control files: {error.strerror}. (#4.3.0)")
    put(*report.args)
    return 0
