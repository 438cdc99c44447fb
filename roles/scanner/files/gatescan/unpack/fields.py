"""Field codes of Word: those that ask another program for data (DDE, DDEAUTO), however they are put together.

Readers of docx, RTF and XML documents hand over a document's field codes as one text, in which a field stands between
BEGIN and END, and its result behind SEPARATE.
"""

from __future__ import annotations

import re

BEGIN, SEPARATE, END = "\x11", "\x12", "\x13"

_INNERMOST = re.compile(rf"{BEGIN}([^{BEGIN}{SEPARATE}{END}]*)(?:{SEPARATE}[^{BEGIN}{END}]*)?{END}")
_QUOTE = re.compile(r"\s*QUOTE\b(.*)\Z", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"0x[0-9a-f]{1,4}|\d{1,5}", re.IGNORECASE)
_DDE = re.compile(r"\s*\"?DDE(?:AUTO)?(?![a-z0-9_])", re.IGNORECASE)
_ROUNDS = 5
"""Fields in fields that are put together: an honest document nests no instruction in an instruction's first word."""


def asks_program(text: str) -> bool:
    """Whether a field's instruction is DDE or DDEAUTO, be it put together by QUOTE with the numbers of its letters."""
    for _ in range(_ROUNDS):
        if any(_DDE.match(code) for code in text.split(BEGIN)[1:]):
            return True
        if BEGIN not in text:
            return False
        text = _INNERMOST.sub(_result, text)
    return False


def _result(found: re.Match[str]) -> str:
    """What a field leaves behind: of QUOTE its text, of others nothing."""
    quote = _QUOTE.match(found.group(1))
    if quote is None:
        return ""
    text = quote.group(1).strip()
    numbers = text.split()
    if numbers and all(_NUMBER.fullmatch(number) for number in numbers):
        codes = (int(n, 16) if n[:2].lower() == "0x" else int(n) for n in numbers)
        return "".join(chr(code) if code < 0xD800 else "" for code in codes)
    return text.strip('"')
