"""On honest mail our leaves are those of the standard library's `email`, an independent reading."""

from __future__ import annotations

import email
from email.message import Message

import pytest
from mime_tools import take_apart

from tests.corpus import harmless
from tests.corpus.case import Case

# Shapes where we see more, or less, than its tree: files in text or HTML, signed wrappings, delivery status
# (a tree of header blocks to `email`), enclosed messages that `email` leaves encoded, several readings of a
# careless header, lines that `email` takes for the end of the header, a footer after base64.
_MORE_THAN_THE_TREE = (
    "bounce-dsn",
    "bounce-headers",
    "bounce-qmail",
    "boundary/comment",
    "raw-equals",
    "blank-fold",
    "from-line",
    "signed-opaque",
    "data-",
    "inline-data",
    "eml-file",
    "encoded-",
    "careless",
    "two-same",
    "list-footer",
)
CASES = [
    case
    for case in harmless.cases()
    if case.message.isascii() and not any(word in case.name for word in _MORE_THAN_THE_TREE)
]


def leaves_by_email(message: Message) -> list[tuple[str, bytes]]:
    """(type, content without line ends) of each leaf that holds anything."""
    found = []
    for part in message.walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((part.get_content_type(), squeezed(payload)))
    return sorted(leaf for leaf in found if leaf[1])


def squeezed(data: bytes) -> bytes:
    """`data` without line ends and the blanks around it."""
    return data.translate(None, b"\r\n").strip()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_leaves_are_those_of_email(case: Case) -> None:
    ours = sorted(
        (part.content_type, squeezed(bytes(part.data)))
        for part in take_apart(case.message).parts
        if squeezed(bytes(part.data)) and not part.path.endswith(("preamble", "epilogue"))
    )
    assert ours == leaves_by_email(email.message_from_bytes(case.message))
