"""DKIM signatures (RFC 6376, RFC 8463) over a message as it leaves, and whose mail is signed.

Of our own making and not dkimpy's, for two reasons: the body is hashed as it is read, so that a large message costs no
memory, and the private key stays in another process (signer.py), which is given a digest and returns a signature. Tests
put the result to independent verifiers.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.utils import getaddresses

HEADER_LIMIT = 1 << 20
"""Bytes of a header; a message with a larger one is not signed."""
OVERSIGNED = ("from", "reply-to", "to", "cc", "subject", "date", "message-id", "mime-version", "content-type")
"""Fields that are signed once more than they stand there, so that nobody can add another one."""
SIGNED = (
    *OVERSIGNED,
    *("sender", "in-reply-to", "references", "content-transfer-encoding"),
    *("list-id", "list-unsubscribe", "list-unsubscribe-post"),
)
LINE = 76
"""Characters of a line of the signature field."""
_RUN_OF_BLANKS = re.compile(rb"  +")
_QUEUED = re.compile(rb"Received: \(qmail \d+ invoked (from network|for bounce|by alias|by uid \d+)\); ")
_SCANNED = re.compile(rb"Received: from \S+ by \S+ with (ESMTPS \([^)\n]*\), )?gatescan")
_RELAYED = re.compile(rb"X-Qmail-Scanner: [^\n]*:RC:1\(")


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a private key outside of the signer: the signing domain, the selector, the algorithm."""

    domain: str
    selector: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class Signable:
    """A message made ready: its header fields (with their folding, ended by CRLF) and the digest of its body."""

    fields: tuple[bytes, ...]
    body_hash: bytes


def is_ours(header: bytes) -> bool:
    """Whether a message comes from a relay client or from this host, by the lines that qmail-queue and the scanner put
    in front of all that a sender wrote: a stranger's message has others there."""
    queued, _, rest = header.partition(b"\n")
    found = _QUEUED.match(queued)
    if found is None:
        return False
    if found[1] != b"from network":
        forwarded = rest
        while forwarded.startswith(b"Delivered-To: "):
            forwarded = forwarded.partition(b"\n")[2]
        return forwarded is rest or is_ours(forwarded)  # forwarded mail is whose it was before
    scanned, _, rest = rest.partition(b"\n")
    return bool(_SCANNED.match(scanned) and _RELAYED.match(rest.partition(b"\n")[0]))


def author_domain(fields: Iterable[bytes]) -> str:
    """The domain of the one author, in lower case; empty if there is none, or there are several."""
    found = [value for name, _, value in (field.partition(b":") for field in fields) if name.strip().lower() == b"from"]
    if len(found) != 1:
        return ""
    text = re.sub(rb"\r\n(?=[ \t])", b"", found[0]).decode("ascii", "replace").strip()
    addresses = [address for _, address in getaddresses([text]) if "@" in address]
    return addresses[0].rpartition("@")[2].strip().lower() if len(addresses) == 1 else ""


def split_fields(header: bytes) -> tuple[bytes, ...]:
    """A header's fields, each with its continuation lines, in SMTP's form. header: with LF, without the empty line."""
    lines = header.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    fields: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] += line + b"\r\n"
        else:
            fields.append(line + b"\r\n")
    return tuple(fields)


def canonical_field(field: bytes) -> bytes:
    """A field in the relaxed form, ended by CRLF."""
    name, _, value = field.partition(b":")
    value = single_blanks(value.replace(b"\r\n", b"")).strip(b" ")
    return name.strip(b" \t").lower() + b":" + value + b"\r\n"


def single_blanks(text: bytes) -> bytes:
    """Text with one blank for each run of blanks and tabs. Blanks that stand alone, most of all, are not touched."""
    return _RUN_OF_BLANKS.sub(b" ", text.replace(b"\t", b" "))


class Body:
    """The digest of a body in the relaxed form, taken block by block. Blocks have LF for every line's end."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._rest: list[bytes] = []
        self._empty_lines = 0

    def feed(self, data: bytes) -> None:
        """Take a block."""
        end = data.rfind(b"\n")
        if end < 0:
            self._rest.append(data)
            return
        whole = b"".join((*self._rest, data[: end + 1]))
        self._rest = [data[end + 1 :]]
        self._lines(whole)

    def _lines(self, text: bytes) -> None:
        text = single_blanks(text).replace(b" \n", b"\n")
        kept = text.rstrip(b"\n")
        if kept:
            leading = len(kept) - len(kept.lstrip(b"\n"))
            self._digest.update(b"\r\n" * (self._empty_lines + leading))
            self._digest.update(kept[leading:].replace(b"\n", b"\r\n") + b"\r\n")
            self._empty_lines = len(text) - len(kept) - 1
        else:
            self._empty_lines += len(text)

    def digest(self) -> bytes:
        """The digest of all that was fed."""
        rest = b"".join(self._rest)
        self._rest = []
        if rest:
            self._lines(rest + b"\n")
        return self._digest.digest()


def prepare(blocks: Iterator[bytes]) -> Signable | None:
    """Read a message's blocks (with LF for every line's end); None if its header is too large, or has no end."""
    header = b""
    for block in blocks:
        header += block
        if header.startswith(b"\n") or b"\n\n" in header or len(header) > HEADER_LIMIT:
            break
    head, found, rest = header.partition(b"\n\n")
    if not found or len(head) > HEADER_LIMIT:
        return None
    body = Body()
    body.feed(rest)
    for block in blocks:
        body.feed(block)
    return Signable(split_fields(head + b"\n"), body.digest())


def unsigned(message: Signable, key: Key, now: int) -> tuple[bytes, bytes]:
    """The signature field up to its empty b=, in one line, and the digest that is to be signed for it."""
    names = [field.partition(b":")[0].strip().lower().decode("latin-1") for field in message.fields]
    signed = [name for name in SIGNED for _ in range(names.count(name))]
    over = [name for name in OVERSIGNED if name != "reply-to" or "reply-to" in names]
    tags = {
        "v": "1", "a": f"{key.algorithm}-sha256", "c": "relaxed/relaxed", "d": key.domain, "s": key.selector,
        "t": str(now), "h": ":".join(sorted(signed + over, key=SIGNED.index)),
        "bh": base64.b64encode(message.body_hash).decode(), "b": "",
    }  # short pairs, many a line # fmt: skip
    field = b"DKIM-Signature: " + "; ".join(f"{name}={value}" for name, value in tags.items()).encode()
    digest = hashlib.sha256()
    for name in sorted(set(signed), key=SIGNED.index):
        wanted = [field for field, own in zip(message.fields, names, strict=True) if own == name]
        for item in reversed(wanted):
            digest.update(canonical_field(item))
    digest.update(canonical_field(field).removesuffix(b"\r\n"))
    return field, digest.digest()


def fold(field: bytes, signature: bytes) -> bytes:
    """The whole signature field in lines of a fitting length, each ended by CRLF.

    Only blanks that stand there become line ends, and in b= white space does not count: the canonical form stays.
    """
    lines = [""]
    for tag in field.decode().split(" "):
        if len(lines[-1]) + 1 + len(tag) > LINE and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {tag}".strip()
    text = base64.b64encode(signature).decode()
    lines += [text[at : at + LINE] for at in range(0, len(text), LINE)]
    return "\r\n\t".join(lines).encode() + b"\r\n"


def txt_data(value: str) -> str:
    """A TXT record's value as zone files want it: strings of at most 255 bytes."""
    return " ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))


def now() -> int:
    """The time of a signature, in seconds since 1970."""
    return int(time.time())


def parents(domain: str) -> Sequence[str]:
    """A domain and its parents, the nearest first."""
    labels = domain.split(".")
    return [".".join(labels[at:]) for at in range(len(labels) - 1)]
