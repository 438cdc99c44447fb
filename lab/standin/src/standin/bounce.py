"""What goes back when a message cannot be delivered: to its sender, or to the postmaster when that fails too."""

from __future__ import annotations

import os
import time

from standin import control
from standin.queue import Submission, date, split_path

DOUBLE = b"#@[]"
"""The sender of a double bounce; a bounce of that is dropped."""


def add(number: int, recipient: bytes, report: bytes) -> None:
    """Note a failed recipient, on disk."""
    with open(f"queue/bounce/{number}", "ab") as file:
        text = b"\n".join(line for line in report.strip().split(b"\n") if line)
        file.write(b"<" + recipient.replace(b"\n", b"_") + b">:\n" + text + b"\n\n")
        file.flush()
        os.fsync(file.fileno())


def setting(name: str, default: bytes) -> bytes:
    """A control file's first line, or the default."""
    return control.read_line(name) or default


def inject(number: int, sender: bytes) -> tuple[bool, bytes]:
    """Send the bounce of a message, if it has one: whether all is done, and a line for the log."""
    path = f"queue/bounce/{number}"
    if not os.path.exists(path):
        return True, b""
    if sender == DOUBLE:
        os.unlink(path)
        return True, b"triple bounce: discarding bounce/%d" % number
    host = setting("bouncehost", control.read_line("me"))
    recipient = sender or setting("doublebounceto", b"postmaster") + b"@" + setting("doublebouncehost", host)
    failure, pid = submit(number, sender, recipient, host)
    if failure:
        return False, b"warning: trouble injecting bounce message, will try later"
    os.unlink(path)
    return True, b"bounce msg %d qp %d" % (number, pid)


def copy_file(path: str, submission: Submission) -> None:
    """Put a whole file into a message."""
    with open(path, "rb") as file:
        while piece := file.read(65536):
            submission.put(piece)


def submit(number: int, sender: bytes, recipient: bytes, host: bytes) -> tuple[bytes, int]:
    """Queue the bounce; returns the failure's text, or nothing, and the queue program's process id."""
    user = setting("bouncefrom", b"MAILER-DAEMON")
    try:
        submission = Submission()
    except OSError:
        return b"Zno process", 0
    put = submission.put
    put(b"Date: " + date(time.time()).encode() + b"\nFrom: " + user + b"@" + host + b"\nTo: " + recipient + b"\n")
    put(b"Subject: failure notice\n\nHi. This is the qmail-send program at " + host + b".\n")
    if sender:
        put(b"Your message was not delivered to these addresses. It will not be tried again.\n\n")
    else:
        put(b"A notice of failure was not delivered to its own sender. It follows.\n\n")
    copy_file(f"queue/bounce/{number}", submission)
    put(b"--- Below this line is " + (b"a copy of the message" if sender else b"the original bounce") + b".\n\n")
    put(b"Return-Path: <" + sender + b">\n")
    copy_file(f"queue/{split_path('mess', number)}", submission)
    return submission.close(b"" if sender else DOUBLE, [recipient]), submission.pid
