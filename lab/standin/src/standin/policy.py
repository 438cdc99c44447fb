"""What a policy daemon says of a recipient or a message, by Postfix's policy delegation protocol."""

from __future__ import annotations

import socket
import time

SECONDS = 30
ANSWER_LIMIT = 4096
TEXT_LIMIT = 400
LEAVE = {b"ok", b"dunno", b"permit", b"defer_if_reject", b"prepend", b"warn", b"info"}
TROUBLE = b"451 4.3.5 the policy of this server cannot be asked now, please try again later"


class Policy:
    """The daemon at a unix socket, over one connection for a session."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.wire: socket.socket | None = None

    def ask(self, attributes: dict[bytes, bytes], seconds: float) -> bytes:
        """Nothing: go on; else the reply that the client is to hear."""
        lines = [name + b"=" + value.replace(b"\n", b"?").replace(b"\r", b"?") for name, value in attributes.items()]
        answer = self._exchange(b"\n".join(lines) + b"\n\n", time.monotonic() + seconds)
        for line in answer.split(b"\n"):
            if line.startswith(b"action="):
                return obey(line.removeprefix(b"action="))
        self._disconnect()
        return TROUBLE

    def _exchange(self, question: bytes, end: float) -> bytes:
        """An answer, or nothing. A connection that had ended while it was idle is made anew, once."""
        for _ in range(2):
            is_new = self.wire is None
            answer = b""
            try:
                if self.wire is None:
                    self.wire = socket.socket(socket.AF_UNIX)
                    self.wire.connect(self.path)
                self.wire.settimeout(max(0.001, end - time.monotonic()))
                self.wire.sendall(question)
                while not answer.endswith(b"\n\n"):
                    self.wire.settimeout(max(0.001, end - time.monotonic()))
                    block = self.wire.recv(ANSWER_LIMIT)
                    answer += block
                    if not block or len(answer) > ANSWER_LIMIT or b"\0" in answer or b"\n\n" in answer[:-2]:
                        raise OSError("no answer")
                return answer
            except OSError:
                self._disconnect()
                if is_new or answer:
                    break
        return b""

    def _disconnect(self) -> None:
        if self.wire is not None:
            self.wire.close()
        self.wire = None


def obey(action: bytes) -> bytes:
    """What an action of Postfix's access(5) means; one that cannot be carried out here is no leave to go on."""
    word, _, text = action.replace(b"\t", b" ").partition(b" ")
    name = word.lower()
    if name in LEAVE:
        return b""
    if name == b"reject":
        return say(b"554", b"5.7.1", text)
    if name in (b"defer", b"defer_if_permit"):
        return say(b"450", b"4.7.1", text)
    if len(name) == 3 and name.isdigit() and name[:1] in b"45":
        return say(name, b"5.7.1" if name[:1] == b"5" else b"4.7.1", text)
    return TROUBLE


def say(code: bytes, status: bytes, text: bytes) -> bytes:
    """A reply of printable text, with an enhanced status code."""
    text = bytes(byte if 32 <= byte < 127 else ord("?") for byte in text.lstrip(b" ")[:TEXT_LIMIT])
    if text[:1] == code[:1] and text[1:2] == b"." and text[2:3].isdigit():
        return code + b" " + text
    usual = b"refused by policy" if code[:1] == b"5" else b"put off by policy, please try again later"
    return code + b" " + status + b" " + (text or usual)
