"""qmail-inject and sendmail: complete the header of a message on standard input, and queue it."""

from __future__ import annotations

import os
import sys
import time
from email.utils import getaddresses

from standin import auto, control
from standin.queue import Submission, date

TEMPORARY, PERMANENT = 111, 100
RECIPIENT_FIELDS = (b"to", b"cc", b"bcc", b"apparently-to")
HIDDEN_FIELDS = (b"bcc", b"return-path", b"content-length")
USERS = ("QMAILSUSER", "QMAILUSER", "MAILUSER", "USER", "LOGNAME")
HOSTS = ("QMAILSHOST", "QMAILHOST", "MAILHOST")


def qualify(address: str) -> str:
    """An address with a full host name: defaulthost, defaultdomain."""
    local, at, host = address.rpartition("@")
    if not at:
        local, host = address, control.read_line("defaulthost", "me").decode()
    if "." not in host and not host.startswith("["):
        host += "." + control.read_line("defaultdomain", "me").decode()
    return f"{local}@{host}"


def split_message(message: bytes) -> tuple[list[bytes], bytes]:
    """The header's fields, each with its further lines, and the body."""
    fields: list[bytes] = []
    rest = message
    while rest:
        line, end, following = rest.partition(b"\n")
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += b"\n" + line
        elif line and b":" in line and b" " not in line.partition(b":")[0].rstrip():
            fields.append(line)
        else:
            return fields, following if not line and end else rest
        rest = following
    return fields, b""


def name_of(field: bytes) -> bytes:
    """A field's name in lower case."""
    return field.partition(b":")[0].strip().lower()


def header_recipients(fields: list[bytes]) -> list[str]:
    """The addresses in the fields for recipients."""
    values = [field.partition(b":")[2].decode("latin-1") for field in fields if name_of(field) in RECIPIENT_FIELDS]
    return [address for _, address in getaddresses(values) if address]


def complete(fields: list[bytes], sender: str) -> list[bytes]:
    """The fields that go out, with Date, Message-ID, From and a recipient field where there was none."""
    names = {name_of(field) for field in fields}
    now, added = time.time(), []
    if b"date" not in names:
        added.append(f"Date: {date(now)}")
    if b"message-id" not in names:
        host = (control.read_line("idhost") or control.read_line("me")).decode()
        added.append(f"Message-ID: <{time.strftime('%Y%m%d%H%M%S', time.gmtime(now))}.{os.getpid()}.qmail@{host}>")
    if b"from" not in names:
        added.append(f"From: {sender}")
    if not names & {b"to", b"cc"}:
        added.append("Cc: recipient list not shown: ;")
    return [line.encode() for line in added] + [field for field in fields if name_of(field) not in HIDDEN_FIELDS]


def inject(sender: str | None, arguments: list[str], use_header: bool, dry: bool) -> int:
    """Queue the message on standard input; returns the exit code."""
    os.chdir(auto.HOME)
    fields, body = split_message(sys.stdin.buffer.read())
    own = next((os.environ[name] for name in USERS if os.environ.get(name)), "anonymous")
    host = next(("@" + os.environ[name] for name in HOSTS if os.environ.get(name)), "")
    own = qualify(own + host)
    envelope_sender = own if sender is None else qualify(sender) if sender else ""
    recipients = arguments + (header_recipients(fields) if use_header else [])
    message = b"".join(field + b"\n" for field in complete(fields, own)) + b"\n" + body
    if dry:
        sys.stdout.buffer.write(message)
        return 0
    if not recipients:
        sys.stderr.write("qmail-inject: fatal: no recipients\n")
        return PERMANENT
    submission = Submission()
    submission.put(message)
    wanted = [os.fsencode(qualify(recipient)) for recipient in dict.fromkeys(recipients)]
    failure = submission.close(os.fsencode(envelope_sender), wanted)
    if failure:
        sys.stderr.write(f"qmail-inject: fatal: {failure[1:].decode('latin-1')}\n")
        return PERMANENT if failure.startswith(b"D") else TEMPORARY
    return 0


def parse(arguments: list[str], valued: str) -> tuple[dict[str, str], list[str]]:
    """Options of one letter (`valued` have a value) and the rest."""
    options: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        word = rest.pop(0)
        if word == "--":
            break
        for at, letter in enumerate(word[1:], 2):
            if letter in valued:
                options[letter] = word[at:] or (rest.pop(0) if rest else "")
                break
            options[letter] = ""
    return options, rest


def main() -> int:
    """Run qmail-inject [-nahAH] [-f sender] [recipient ...]."""
    options, recipients = parse(sys.argv[1:], "fF")
    use_header = "h" in options or "H" in options or ("a" not in options and not recipients)
    return inject(options.get("f"), [] if "h" in options else recipients, use_header, "n" in options)


def main_sendmail() -> int:
    """Run sendmail [-t] [-i] [-f sender] [-bp] [recipient ...], or mailq or newaliases by that name."""
    name = os.path.basename(sys.argv[0])
    options, recipients = parse(sys.argv[1:], "fFrobBCdhLMNOpRVX")
    mode = {"mailq": "p", "newaliases": "i"}.get(name, options.get("b", "m"))
    if mode == "p":
        os.execv(f"{auto.HOME}/bin/qmail-qread", ["qmail-qread"])
    if mode == "i":
        return 0
    if mode == "s":
        os.execv(f"{auto.HOME}/bin/qmail-smtpd", ["qmail-smtpd"])
    if mode != "m":
        sys.stderr.write(f"sendmail: fatal: unable to do -b{mode}\n")
        return PERMANENT
    return inject(options.get("f", options.get("r")), recipients, "t" in options, dry=False)
