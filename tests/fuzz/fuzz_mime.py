"""Fuzz the MIME layer: nothing escapes, the budget holds, and no input takes long; see driver.py for its options."""

from __future__ import annotations

import sys
import time

from gatescan.judging.budget import Budget, LimitReached, Limits
from gatescan.mime import members, parse
from gatescan.model import Finding, Verdict
from gatescan.text import printable

from tests.fuzz import driver

TOKENS = (
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b'"',
    b"(",
    b")",
    b";",
    b"\\",
    b"=",
    b"--",
    b"--=_b1",
    b"--b1--\n",
    b"Content-Type: ",
    b"Content-Transfer-Encoding: base64\n",
    b"multipart/mixed; boundary=b1",
    b"boundary=",
    b"; name=",
    b"filename*0*=",
    b"utf-8''",
    b"=?utf-8?b?",
    b"?=",
    b"begin 644 a\n",
    b"=ybegin name=a\n",
    b"<script",
    b"data:;base64,",
    b"message/rfc822",
    b"application/pkcs7-mime",
    b"\x24\x80",
    b"\xa0\x80",
    b"\x04\x81\xff",
    b"\x90\xff",
    b"+ADw-",
    b"&#97;",
)
SLOW = 5.0
"""Seconds of CPU for at most some 50 KB, far beyond anything that is linear."""


def one_input(data: bytes) -> None:
    """Open `data` wholly within a small budget."""
    budget = Budget(Limits(bytes_floor=3_000_000, bytes_ratio=1, parts=300), len(data))
    start = time.process_time()
    parsed = parse(data, budget)
    waiting = list(parsed.parts)
    try:
        while waiting:
            part = waiting.pop()
            budget.check_depth(part.depth)
            waiting += members(part, budget)
            parsed.findings += part.findings
    except LimitReached as limit:
        parsed.findings.append(Finding(Verdict.LIMIT, f"limit-{limit.code}", limit.detail))
    assert time.process_time() - start < SLOW, "too slow"
    limited = any(finding.verdict is Verdict.LIMIT for finding in parsed.findings)
    assert limited or (budget.bytes_out <= budget.bytes_bound and budget.parts <= 300)
    assert all(printable(f.detail, 10**6) == f.detail for f in parsed.findings), parsed.findings


def samples() -> list[bytes]:
    """Cases of the corpus that are small."""
    from tests.corpus import encodings, harmless, naming, structure

    return [c.message for m in (structure, encodings, naming, harmless) for c in m.cases() if len(c.message) < 8000]


if __name__ == "__main__":
    sys.exit(driver.main(one_input, samples(), TOKENS))
