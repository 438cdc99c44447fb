"""A message of 25 MB is held whole at most once, beside the memory file that it came in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 25_000_000
PROBE = """
import json, mmap, os, sys, tracemalloc
from pathlib import Path
from gatescan.judging import rules
from gatescan.cli.common import SHIPPED_RULES
from gatescan.config import Config
from gatescan.context import Context
from gatescan.judging.judge import judge
head, line, size = sys.argv[1].encode(), sys.argv[2].encode(), int(sys.argv[3])
file = os.memfd_create("message")
os.write(file, b"From: a@world.test\\nSubject: large\\nMIME-Version: 1.0\\n" + head)
for _ in range(size // (len(line) * 1000)):
    os.write(file, line * 1000)
message = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
known, config, context = rules.read(SHIPPED_RULES), Config(), Context()
judge(message[:10_000], context, known, config)
tracemalloc.start(1)
report = judge(message, context, known, config)
peak = tracemalloc.get_traced_memory()[1]
print(json.dumps({"size": len(message), "peak": peak, "verdict": report.verdict, "sizes": report.sizes}))
"""
WORDS = "All work and no play makes Jack a dull boy, said the man at the gate.\n"
BASE64 = "QWxsIHdvcmsgYW5kIG5vIHBsYXkgbWFrZXMgSmFjayBhIGR1bGwgYm95LCBzYWlkIHRoZSBt\n"
ATTACHED = 'Content-Type: application/octet-stream; name="a.dat"\nContent-Transfer-Encoding: '


def judged(head: str, line: str) -> dict[str, object]:
    """What a process of its own says of a large message whose body is one line again and again."""
    source = Path(__file__).parents[3] / "roles" / "scanner" / "files"
    done = subprocess.run(
        [sys.executable, "-c", PROBE, head, line, str(SIZE)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(source)},
        check=True,
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("head", "line"),
    [
        pytest.param("Content-Type: text/plain\n\n", WORDS, id="text"),
        pytest.param("Content-Type: text/plain\n\n", WORDS.replace("\n", "\r\n"), id="text with CRLF"),
        pytest.param("Content-Type: text/html\n\n<html>\n", "<p>" + WORDS, id="HTML"),
        pytest.param("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n\n", WORDS, id="text in a multipart"),
        pytest.param(ATTACHED + "8bit\n\n", WORDS, id="attachment as it is"),
    ],
)
def test_what_is_not_encoded_is_not_copied(head: str, line: str) -> None:
    found = judged(head, line)
    assert found["verdict"] == "clean"
    assert int(str(found["peak"])) < SIZE // 4


@pytest.mark.parametrize(
    ("head", "line", "share"),
    [
        pytest.param(ATTACHED + "base64\n\n", BASE64, 0.74, id="base64"),
        pytest.param(ATTACHED + "quoted-printable\n\n", WORDS.replace(",", "=2C"), 0.97, id="quoted-printable"),
        pytest.param("\nbegin 644 a.dat\n", "M" + "A" * 60 + "\n", 0.72, id="uuencode"),
    ],
)
def test_what_is_encoded_is_held_once_decoded(head: str, line: str, share: float) -> None:
    found = judged(head, line)
    sizes = found["sizes"]
    assert isinstance(sizes, list)
    assert share - 0.02 < sizes[-1] / SIZE < share + 0.02, "all of it was decoded"
    assert int(str(found["peak"])) < SIZE * 1.25


def test_a_large_text_with_bare_cr_is_read_both_ways_with_one_copy() -> None:
    found = judged("Content-Type: text/plain\n\n", WORDS + "odd\rend\n")
    assert int(str(found["peak"])) < SIZE * 1.25
