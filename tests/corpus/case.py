"""What a corpus case is, and the plain mail that most of them are a variation of."""

from __future__ import annotations

import binascii
import os
from dataclasses import dataclass
from pathlib import Path

from gatescan.model import Verdict

HARMLESS = Verdict.CLEAN
"""The expected verdict of a message that must be delivered untouched."""

PROGRAM_VARIABLE = "GATEWRIGHT_CORPUS_PROGRAM"
"""Names a file whose bytes are hidden in every case in place of the program, to ask others what they find of them."""

_PROGRAM = b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00" + bytes(range(256)) + b"\x00" * 128
EXE = Path(os.environ[PROGRAM_VARIABLE]).read_bytes() if PROGRAM_VARIABLE in os.environ else _PROGRAM
"""Starts as a DOS/Windows program does; runs nowhere."""


@dataclass(frozen=True, slots=True)
class Case:
    """One message of the corpus.

    name: unique, stable, readable: `<area>/<what>/<variant>`.
    cls: the number of the class that it belongs to (1 to 67), 0 for plain harmless mail.
    message: as qmail-queue reads it from fd 0, so bare LF unless the case is about line ends.
    expected: the verdict it must get under the default rules; HARMLESS if it must pass.
    """

    name: str
    cls: int
    message: bytes
    expected: Verdict

    @property
    def harmless(self) -> bool:
        """Whether the message must be delivered untouched."""
        return self.expected is HARMLESS


def base64_lines(data: bytes, width: int = 76) -> bytes:
    """`data` in base64, `width` characters a line, each ended by LF."""
    text = binascii.b2a_base64(data, newline=False)
    return b"".join(text[i : i + width] + b"\n" for i in range(0, len(text), width))


HEADER = (
    b"Received: from client.example.net (192.0.2.7)\n"
    b"  by mx.example.org with SMTP; 22 Nov 2026 10:00:00 -0000\n"
    b"From: Ann Example <ann@example.net>\n"
    b"To: bob@example.org\n"
    b"Subject: the papers\n"
    b"Date: Sun, 22 Nov 2026 10:00:00 +0000\n"
    b"Message-ID: <1.ann@example.net>\n"
)
"""The header of an ordinary message, without any MIME field."""


def single(fields: bytes, body: bytes) -> bytes:
    """A message of one part: `fields` are its MIME header lines, each ended by LF."""
    return HEADER + b"MIME-Version: 1.0\n" + fields + b"\n" + body


def multipart(*parts: bytes, boundary: bytes = b"=_b1", subtype: bytes = b"mixed") -> bytes:
    """A message of several parts; each is a whole entity: header lines, empty line, body."""
    body = b"".join(b"--" + boundary + b"\n" + part + b"\n" for part in parts)
    field = b"Content-Type: multipart/" + subtype + b'; boundary="' + boundary + b'"\n'
    return single(field, b"This is a multi-part message.\n" + body + b"--" + boundary + b"--\n")


TEXT = b"Content-Type: text/plain; charset=us-ascii\n\nGood morning,\nplease see the papers.\n"
"""An entity: a short text."""


def file_entity(name: bytes, data: bytes, content_type: bytes = b"application/octet-stream") -> bytes:
    """An entity: `data` as a base64 attachment of that name, both in Content-Type and -Disposition."""
    return (
        b"Content-Type: " + content_type + b'; name="' + name + b'"\n'
        b"Content-Transfer-Encoding: base64\n"
        b'Content-Disposition: attachment; filename="' + name + b'"\n\n' + base64_lines(data)
    )


def attached(name: bytes, data: bytes, content_type: bytes = b"application/octet-stream") -> bytes:
    """An ordinary message with a short text and one attachment."""
    return multipart(TEXT, file_entity(name, data, content_type))
