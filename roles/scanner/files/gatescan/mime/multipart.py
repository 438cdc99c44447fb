"""A multipart body cut at its boundary lines."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gatescan.judging.budget import LimitReached
from gatescan.mime.header import Octets

Span = tuple[int, int]

_TAIL = re.compile(rb"(--)?[ \t]*+\r*+(?:\n|\Z)")
_GUESS = re.compile(rb"^--([^\s-][^\n]{0,200})\n(?=content-)", re.MULTILINE | re.IGNORECASE)
_NEXT_BYTES = re.compile(rb"[^\r\n]{0,200}")
_MAX_ODD = 2000


@dataclass(slots=True)
class Split:
    """Where things are in a multipart body, as offsets into the buffer.

    outside: the text before, between and behind the parts, in order; the first is the preamble.
    late: parts after the closing boundary line, which only some clients show.
    longer: what follows the boundary on lines that only begin with it: another boundary, or a trick.
    closed: there is a closing boundary line.
    """

    outside: list[Span] = field(default_factory=list)
    parts: list[Span] = field(default_factory=list)
    late: list[Span] = field(default_factory=list)
    longer: list[bytes] = field(default_factory=list)
    closed: bool = False

    @property
    def found(self) -> bool:
        """Whether there was any boundary line at all."""
        return bool(self.parts or self.late)


def split(data: Octets, start: int, end: int, boundary: bytes, max_parts: int, prefix: bool = False) -> Split:
    """data[start:end] cut at the lines `--boundary`, and `--boundary--` for the end; linear.

    With `prefix`, any line that begins so is taken for a boundary line, as some clients do.
    Raises LimitReached past `max_parts` parts.
    """
    delimiter = b"\n--" + boundary
    size = len(delimiter)
    result = Split()
    opened, gap = -1, start
    # The line end before the first boundary line may be the one that ended the header.
    position = data.find(delimiter, max(start - 1, 0), end)
    if start == 0 and data[: size - 1] == delimiter[1:]:
        position = -1 if size - 1 > end else 0
        after = size - 1
    else:
        after = position + size
    while position >= 0:
        tail = _TAIL.match(data, after, end)
        if tail is None and not prefix:
            _note_longer(result, data, after, end)
        else:
            stop = _line_end(data, start, position)
            if opened >= 0:
                (result.late if result.closed else result.parts).append((opened, max(opened, stop)))
                if len(result.parts) + len(result.late) > max_parts:
                    raise LimitReached("parts", f"more than {max_parts} parts")
            else:
                result.outside.append((gap, max(gap, stop)))
            opened, closing = _after_line(data, after, end, tail)
            if closing:
                result.closed, gap, opened = True, opened, -1
        position = data.find(delimiter, max(after - 1, position + 1) if tail is None else tail.end() - 1, end)
        after = position + size
    if opened >= 0:
        (result.late if result.closed else result.parts).append((min(opened, end), end))
    else:
        result.outside.append((min(gap, end), end))
    return result


def guess(data: Octets, start: int, end: int) -> bytes | None:
    """The boundary that a client makes up when none is given: the first line `--...` before a field."""
    match = _GUESS.search(data, start, end)
    return match[1].strip() if match else None


def declared(data: Octets, boundary: bytes) -> bool:
    """Whether `boundary` stands anywhere in `data` as the value of a boundary parameter."""
    return re.search(rb"boundary\s{0,9}=\s{0,9}\"?" + re.escape(boundary), data, re.IGNORECASE) is not None


def _line_end(data: Octets, start: int, position: int) -> int:
    """Where the part before a boundary line ends: its last line end belongs to the boundary."""
    while position > start and data[position - 1 : position] == b"\r":
        position -= 1
    return position


def _after_line(data: Octets, after: int, end: int, tail: re.Match[bytes] | None) -> tuple[int, bool]:
    """(where the next part starts, whether the boundary line closes the multipart)."""
    if tail is not None:
        return tail.end(), tail[1] is not None
    line_end = data.find(b"\n", after, end)
    return (line_end + 1 if line_end >= 0 else end), data[after : after + 2] == b"--"


def _note_longer(result: Split, data: Octets, after: int, end: int) -> None:
    if len(result.longer) >= _MAX_ODD:
        raise LimitReached("parts", f"more than {_MAX_ODD} lines that begin with a boundary")
    rest = _NEXT_BYTES.match(data, after, end)
    result.longer.append(rest[0] if rest else b"")
