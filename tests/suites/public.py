"""The public suites, from the folder that GATEWRIGHT_SUITES names: one folder a repository."""

from __future__ import annotations

import ast
import binascii
import email
import os
import quopri
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

VARIABLE = "GATEWRIGHT_SUITES"
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The antivirus test string; every engine knows it, and it does nothing."""
PROGRAM = b"MZ\x90\x00" + bytes(56) + b"\x40\0\0\0PE\0\0\x4c\x01" + bytes(range(256)) * 2
"""The beginning of a Windows program; it runs nowhere."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of a suite, with LF line ends as qmail has it."""

    name: str
    message: bytes


Source = Callable[[Path], Iterator[Sample]]


def folder() -> Path:
    """The folder of the suites, or a skip where none is named."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} names no folder with the suites")
    return Path(named)


def path_of(name: str) -> Path:
    """A file or folder of a suite, or a skip that says that it is not there."""
    path = folder() / name
    if not path.exists():
        pytest.skip(f"not found: {path}")
    return path


def text_of(name: str) -> str:
    """What a file of a suite says, or a skip."""
    return path_of(name).read_text(encoding="utf-8", errors="replace")


def _lf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n")


def files(folder: str, pattern: str = "*") -> Source:
    """The messages that lie in files below `folder`, one a file."""

    def read(root: Path) -> Iterator[Sample]:
        for path in sorted((root / folder).rglob(pattern)):
            if path.is_file() and path.suffix not in (".md", ".txt", ".csv") and path.name != "cmds":
                yield Sample(str(path.relative_to(root)), _lf(path.read_bytes()))

    return read


def without_attachments(source: Source) -> Source:
    """The messages of a suite in which Python's email sees no part with a name."""

    def read(root: Path) -> Iterator[Sample]:
        for sample in source(root):
            if not any(part.get_filename() for part in email.message_from_bytes(sample.message).walk()):
                yield sample

    return read


def mimeminer(payload: bytes) -> Source:
    """Each of MIMEminer's structures in base64 and in quoted-printable, with this payload.

    Its test_cases.py is read, not run; nothing else of the repository is looked at.
    """

    def read(root: Path) -> Iterator[Sample]:
        tree = ast.parse((root / "MIMEminer/test_samples/test_cases.py").read_text())
        cases = next(node.value for node in tree.body if isinstance(node, ast.Assign))
        for name, case in ast.literal_eval(cases).items():
            template = case.get("data", b"")
            if b"<specified_payload_here>" not in template:
                continue
            for encoding in ("base64", "quoted-printable"):
                yield Sample(f"MIMEminer/{name}/{encoding}", _lf(_filled(template, encoding, payload)))

    return read


def _filled(template: bytes, encoding: str, payload: bytes) -> bytes:
    other = {"base64": b"quoted-printable", "quoted-printable": b"base64"}[encoding]
    if encoding == "base64":
        text = binascii.b2a_base64(payload, newline=False)
        coded = b"".join(text[i : i + 76] + b"\r\n" for i in range(0, len(text), 76))
    else:
        coded = quopri.encodestring(payload, quotetabs=True).replace(b"\n", b"\r\n") + b"\r\n"
    for place, content in {
        b"<SUBJECT>": b"a test",
        b"<FILENAME>": b"papers",
        b"<TEXT_PART>": b"Hello, please see the papers.",
        b"<valid_CTE_here>": encoding.encode(),
        b"<invalid_CTE_here>": other,
        b"<specified_payload_here>": coded,
    }.items():
        template = template.replace(place, content)
    header = b"From: ann@example.net\r\nTo: bob@example.org\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
    return header + template


HOSTILE: dict[str, Source] = {
    "mime-is-broken, content": files("mime-is-broken/hide-content.d"),
    "mime-is-broken, names": files("mime-is-broken/hide-filename.d"),
    "MIMEminer, EICAR": mimeminer(EICAR),
    "MIMEminer, program": mimeminer(PROGRAM),
}
"""Messages that hide a payload from some reader."""

BENIGN: dict[str, Source] = {
    "SpamAssassin's ham": files("ML_for_Hackers/03-Classification/data", "*ham*/0*"),
    "set-of-emails": files("set-of-emails/maildir/bsd"),
    "phishing_pot, no attachments": without_attachments(files("phishing_pot/email", "*.eml")),
    "spamassassin t/data": files("spamassassin/t/data/nice"),
    "mailparser": files("mailparser/test/fixtures", "*.eml"),
}
"""Real mail without a program in it."""
