"""The queue: where its files are, and how a program puts a message into it."""

from __future__ import annotations

import os
import signal
import time

from standin import auto

TEXT_FD = 6
TEXT_LIMIT = 255

TEXTS = {
    11: b"Denvelope address too long for qq (#5.1.3)",
    31: b"Dmail server permanently rejected message (#5.3.0)",
    51: b"Zqq out of memory (#4.3.0)",
    52: b"Zqq timeout (#4.3.0)",
    53: b"Zqq write error or disk full (#4.3.0)",
    54: b"Zqq read error (#4.3.0)",
    55: b"Zqq unable to read configuration (#4.3.0)",
    56: b"Zqq trouble making network connection (#4.3.0)",
    61: b"Zqq trouble in home directory (#4.3.0)",
    71: b"Zmail server temporarily rejected message (#4.3.0)",
    72: b"Zconnection to mail server timed out (#4.4.1)",
    73: b"Zconnection to mail server rejected (#4.4.1)",
    74: b"Zcommunication with mail server failed (#4.4.2)",
    81: b"Zqq internal bug (#4.3.0)",
    91: b"Zqq internal bug (#4.3.0)",
    115: b"Denvelope address too long for qq (#5.1.3)",
    120: b"Zunable to exec qq (#4.3.0)",
}
"""What a caller says for an exit code of qmail-queue; the first letter is D (for good) or Z (for now)."""


def text_of(code: int, custom: bytes) -> bytes:
    """What a caller says for an exit code, 0 for success; negative: ended by a signal."""
    if code < 0:
        return b"Zqq crashed (#4.3.0)"
    if code == 82 and len(custom) > 2:
        return custom.partition(b"\n")[0]
    if 62 <= code <= 66:
        return b"Zqq trouble creating files in queue (#4.3.0)"
    if code in TEXTS:
        return TEXTS[code]
    return b"Dqq permanent problem (#5.3.0)" if 11 <= code <= 40 else b"Zqq temporary problem (#4.3.0)"


def split_path(kind: str, number: int) -> str:
    """The path of a file of one of the divided directories (mess, info, local, remote)."""
    return f"{kind}/{number % auto.SPLIT}/{number}"


def date(moment: float) -> str:
    """A moment as header lines show it."""
    return time.strftime("%d %b %Y %H:%M:%S -0000", time.gmtime(moment)).removeprefix("0")


class Submission:
    """A message on its way into $QMAILQUEUE (qmail-queue without it): put(), then close()."""

    def __init__(self) -> None:
        """Start the queue program; raise OSError when there is no process or pipe left for it."""
        message, self.message = os.pipe()
        envelope, self.envelope = os.pipe()
        self.text, text = os.pipe()
        self.intact = True
        self.pid = os.fork()
        if self.pid == 0:
            run_queue_program(message, envelope, text)
        for descriptor in (message, envelope, text):
            os.close(descriptor)

    def put(self, data: bytes) -> None:
        """Hand over a piece of the message. After a failure the rest is swallowed; close() reports it."""
        self.intact = self.intact and write_all(self.message, data)

    def close(self, sender: bytes, recipients: list[bytes], cancel: bool = False) -> bytes:
        """End the message; return nothing when it is queued, else the text of the failure."""
        os.close(self.message)
        if self.intact and not cancel:
            rest = b"".join(b"T" + recipient + b"\0" for recipient in recipients)
            self.intact = write_all(self.envelope, b"F" + sender + b"\0" + rest + b"\0")
        os.close(self.envelope)
        custom = b""
        while piece := os.read(self.text, 4096):
            custom = (custom + piece)[:TEXT_LIMIT]
        os.close(self.text)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if code == 0:
            return b"" if self.intact and not cancel else TEXTS[54]
        return text_of(code, custom)


def write_all(descriptor: int, data: bytes) -> bool:
    """Write everything; False when the other side is gone."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        return False
    return True


def run_queue_program(message: int, envelope: int, text: int) -> None:
    """In the new process: become the queue program, or exit 120."""
    try:
        os.dup2(message, 0)
        os.dup2(envelope, 1)
        if text == TEXT_FD:
            os.set_inheritable(text, True)
        else:
            os.dup2(text, TEXT_FD)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        program = os.environ.get("QMAILQUEUE") or "bin/qmail-queue"
        os.execv(program, [program])
    finally:
        os._exit(120)
