"""Replies of an SMTP server: bytes in, replies out; no input or output of its own."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 65536
"""Bytes of a reply; a server that says more is not listened to any longer."""


class BadReply(Exception):
    """What the server said is no reply, or has no end."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its code, and its lines without carriage returns."""

    code: int
    text: bytes

    def offers(self, word: str) -> bool:
        """Whether the reply to EHLO has a line that begins with this word."""
        return any(line[4:].upper().split(b" ")[0] == word.encode() for line in self.text.split(b"\n")[1:])


class Replies:
    """Takes what a server sends, and gives whole replies."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lines: list[bytes] = []
        self._length = 0

    @property
    def has_more(self) -> bool:
        """Whether anything came behind the last reply."""
        return bool(self._data or self._lines)

    def feed(self, data: bytes) -> None:
        """Take bytes. More than a reply may have is not kept."""
        self._data += data[: 2 * LIMIT - len(self._data)] if len(self._data) < 2 * LIMIT else b""

    def take(self) -> Reply | None:
        """The next whole reply, None if it is not whole yet; raise BadReply."""
        while True:
            end = self._data.find(b"\n")
            if self._length + (end if end >= 0 else len(self._data)) >= LIMIT:
                raise BadReply("a reply without end")
            if end < 0:
                return None
            line = bytes(self._data[: end + 1]).replace(b"\r", b"")
            del self._data[: end + 1]
            self._lines.append(line)
            self._length += len(line)
            if len(line) < 5 or line[3:4] != b"-":
                return self._whole()

    def _whole(self) -> Reply:
        text = b"".join(self._lines)
        self._lines.clear()
        self._length = 0
        if not text[:3].isdigit() or not b"200" <= text[:3] <= b"599":
            raise BadReply("no reply")
        return Reply(int(text[:3]), text)
