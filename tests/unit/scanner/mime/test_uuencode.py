"""uuencoded files as old programs write them and as relays leave them: blanks for zeros, lost blanks, no `begin`."""

from __future__ import annotations

import binascii

import pytest
from mime_tools import contents, take_apart

SHORT = b"X5O%P!AP[4PZX54(P^)7CC)7}$ a short file, with no zeros in it but\0\0\0\0"
"""Two lines, as a short program has them, with blanks in the first and at the end of the second."""
SIZES = (1, 3, 20, 44, 45, 46, 68, 89, 90, 91, 140, 400)
DECLARED = b"Content-Type: application/octet-stream; name=papers.dat\nContent-Transfer-Encoding: %s\n\n"


def lines(data: bytes, backtick: bool = False) -> list[bytes]:
    """`data` as uuencode's lines, without line ends."""
    return [binascii.b2a_uu(data[i : i + 45], backtick=backtick)[:-1] for i in range(0, len(data), 45)]


def stripped(data: bytes) -> bytes:
    """Its lines with the blanks lost at their ends, as many relays lose them."""
    return b"".join(line.rstrip(b" ") + b"\n" for line in lines(data))


def endings(body: bytes) -> dict[str, bytes]:
    """The body with each of the ends that writers give it."""
    return {
        "blank and end": body + b" \nend\n",
        "lost blank and end": body + b"\nend\n",
        "mark and end": body + b"`\nend\n",
        "end": body + b"end\n",
        "none": body,
        "indented end": body + b" \n  end\n",
        "text": body + b" \nend\n\nKind regards,\nann\n",
    }


def forms(data: bytes) -> dict[str, bytes]:
    """The body in each form in which a relay may leave it."""
    plain = b"".join(line + b"\n" for line in lines(data))
    found = {"blanks": plain, "lost blanks": stripped(data), "marks": b"".join(x + b"\n" for x in lines(data, True))}
    found |= {f"{name}, CR": body.replace(b"\n", b"\r\n") for name, body in found.items()}
    return found | {"quoted": b"".join(b"> " + x + b"\n" for x in lines(data)), "behind an empty line": b"\n" + plain}


@pytest.mark.parametrize("encoding", [b"uuencode", b"x-uuencode", b"X-UUE", b"x-uu"])
@pytest.mark.parametrize("size", SIZES)
def test_a_body_without_begin_is_decoded_however_short_it_is(encoding: bytes, size: int) -> None:
    data = (SHORT * 10)[:size]
    head = DECLARED % encoding
    missed = [
        (form, end)
        for form, coded in forms(data).items()
        for end, body in endings(coded).items()
        if not any(content.startswith(data) for content in contents(take_apart(head + body)))
    ]
    assert missed == []


@pytest.mark.parametrize("begin", [b"begin 644 papers.dat\n", b"begin  papers.dat\n", b"begin papers.dat\n"])
@pytest.mark.parametrize("size", SIZES)
def test_a_file_in_a_text_is_decoded_however_short_it_is(begin: bytes, size: int) -> None:
    data = (SHORT * 10)[:size]
    head = b"Content-Type: text/plain\n\nHello,\n\n" + begin
    bodies = endings(b"".join(line + b"\n" for line in lines(data)))
    missed = [
        end
        for end, body in bodies.items()
        if not any(content.startswith(data) for content in contents(take_apart(head + body)))
    ]
    assert missed == []


@pytest.mark.parametrize(
    "prose",
    [
        b"begin run.exe\nas soon as you can, please, and tell me how it went.\n",
        b"begin run.exe\nAS SOON AS YOU CAN\n",
        b"begin  run.exe\nI AM IN THE OFFICE\nUNTIL FIVE\n",
        b"begin 644 run.exe\nis what the old manual says.\nend\n",
    ],
)
def test_prose_that_begins_like_a_file_is_none(prose: bytes) -> None:
    parsed = take_apart(b"Content-Type: text/plain\n\nHello,\n\n" + prose)
    assert len(parsed.parts) == 1


def test_a_text_that_is_declared_as_uuencoded_is_shown_as_it_is() -> None:
    text = b"Dear Bob,\n\nthe meeting is on Monday.\n\nKind regards,\nAnn\n"
    parsed = take_apart(b"Content-Type: text/plain\nContent-Transfer-Encoding: x-uuencode\n\n" + text)
    assert [bytes(part.data) for part in parsed.parts] == [text]
    assert parsed.findings == []


def test_a_body_of_empty_and_quoted_lines_is_looked_at_as_it_is() -> None:
    for body in (b"", b"\n", b">\n", b"> > \n>\n", b"\r\n\r\n", b" \nend\n"):
        assert body in contents(take_apart(DECLARED % b"x-uuencode" + body))
