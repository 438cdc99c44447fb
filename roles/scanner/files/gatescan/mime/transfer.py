"""Content-Transfer-Encoding undone, in each way in which clients undo it."""

from __future__ import annotations

import binascii
import io
import re

from gatescan.judging.budget import Budget
from gatescan.mime.armour import binhex_files, uu_files, uu_without_begin, yenc_files
from gatescan.model import Buffer
from gatescan.text.large import BLOCK, blocks, holds
from gatescan.text.words import loose_base64

_WHITE = b" \t\r\n"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_FIRST_JUNK = re.compile(rb"[^A-Za-z0-9+/=\s]")
_NO_BLANK = re.compile(rb"\S")
_GROUP_END = re.compile(rb"=[=\s]*+")

_QP_SOFT_BLANK = re.compile(rb"=[ \t]++(?=\r*(?:\n|\Z))")
_QP_BARE_CR = re.compile(rb"=\r++(?!\n)")
_QP_WRONG = re.compile(rb"=(?![0-9A-Fa-f]{2}|[ \t\r]*+(?:\n|\Z))")


def decode(body: Buffer, encoding: str, is_text: bool, budget: Budget) -> tuple[list[Buffer], bool]:
    """(what readers get out of `body`, the likeliest first; whether they get different things).

    `is_text` says that the part is shown as text: there, a footer after base64, or a stray `=` in
    quoted-printable, is everyday sloppiness. Raises LimitReached.
    """
    budget.spend(len(body))
    if encoding == "identity":
        return [body], False
    if encoding == "base64":
        return _base64(body, is_text, budget)
    if encoding == "quoted-printable":
        return _quoted_printable(body, is_text, budget)
    if encoding == "unknown":
        guess = _strict_base64(body) if len(body) > 16 else None
        return ([body], False) if guess is None else ([body, guess], True)
    unpack = {"uuencode": uu_files, "yenc": yenc_files, "binhex": binhex_files}[encoding]
    files = [content for _, content in unpack(body, budget)]
    if encoding == "uuencode" and not files and (bare := uu_without_begin(body)):
        budget.spend(len(bare))
        files = [bare]
    return ([*files, body] if files else [body]), False


def _strict_base64(body: Buffer) -> bytes | None:
    """`body` decoded if all decoders agree on it, else None. Holds no second copy of a large body."""
    out = io.BytesIO()
    carry, padded = b"", False
    for start in range(0, len(body), BLOCK):
        chunk = carry + bytes(body[start : start + BLOCK]).translate(None, _WHITE)
        whole = len(chunk) if start + BLOCK >= len(body) else len(chunk) // 4 * 4
        groups, carry = chunk[:whole], chunk[whole:]
        if padded and chunk:
            return None
        padded = groups.endswith(b"=")
        try:
            out.write(binascii.a2b_base64(groups, strict_mode=True))
        except binascii.Error:
            return None
    return out.getvalue()


def _base64(body: Buffer, is_text: bool, budget: Budget) -> tuple[list[Buffer], bool]:
    strict = _strict_base64(body)
    if strict is not None:
        return [strict], False
    padding = _GROUP_END.search(body)
    clean_end = padding.end() if padding else len(body)
    junk = _FIRST_JUNK.search(body, 0, clean_end)
    to_padding = loose_base64(body[:clean_end])
    found: dict[bytes, None] = {to_padding: None}
    tail = _NO_BLANK.search(body, clean_end) is not None
    if tail:
        found[b"".join(loose_base64(g) for g in _groups(body))] = None
        found[loose_base64(body)] = None
    if junk:
        found[loose_base64(body[: junk.start()])] = None
        if holds(body, b"-") or holds(body, b"_"):
            found[loose_base64(bytes(body[:clean_end]).translate(_URL_SAFE))] = None
    budget.spend(sum(map(len, found)))
    outputs = [out for out in found if out]
    if not outputs:
        return ([body], False) if _NO_BLANK.search(body) else ([b""], False)
    mangled_text = is_text and (tail or outputs == [to_padding] or not _decodes_to_binary(outputs))
    return list(outputs), len(outputs) > 1 and not mangled_text


def _groups(body: Buffer) -> list[bytes]:
    """The runs between paddings, at most 1000; the last one holds the rest."""
    return _GROUP_END.split(body, maxsplit=1000)


def _decodes_to_binary(outputs: list[bytes]) -> bool:
    return any(b"\0" in out[:1000] for out in outputs)


def _quoted_printable(body: Buffer, is_text: bool, budget: Budget) -> tuple[list[Buffer], bool]:
    if not holds(body, b"="):
        return [body], False
    decoded, is_wrong = _qp_decoded(body)
    budget.spend(len(decoded))
    if not is_wrong:
        return [decoded], False
    # Some readers keep a `=` that means nothing, some drop it, some give up and show all as it is.
    dropped, _ = _qp_decoded(body, drop=True)
    budget.spend(len(dropped))
    outputs: list[Buffer] = [decoded]
    outputs += [other for other in (dropped, body) if other != decoded]
    return outputs, not is_text


def _qp_decoded(body: Buffer, drop: bool = False) -> tuple[bytes, bool]:
    """(`body` decoded, whether a `=` in it means nothing); those are dropped if `drop` says so."""
    out = io.BytesIO()
    is_wrong = False
    for block in blocks(body, b"\n"):
        raw = block
        if (b"= " in raw or b"=\t" in raw) and _QP_SOFT_BLANK.search(raw):
            raw = _QP_SOFT_BLANK.sub(b"=", raw)
        if b"\r" in raw:
            raw = _QP_BARE_CR.sub(b"=\n", raw)
        is_wrong = is_wrong or _QP_WRONG.search(raw) is not None
        out.write(binascii.a2b_qp(_QP_WRONG.sub(b"", raw) if drop else raw))
    return out.getvalue(), is_wrong
