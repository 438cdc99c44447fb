"""Public suites of archives and documents, each file as an attachment: nothing ends a worker, and nothing that people
send is held for what it does not do.

Runs where GATEWRIGHT_SUITES names the folder; see test_suites.py. The files are only read, never run: some are malware.
"""

from __future__ import annotations

import binascii
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatescan.judging.judge import MessageReport
from gatescan.model import Verdict

from tests.suites.public import path_of
from tests.suites.test_suites import as_attachment, judged

SUITES = ("libarchive", "oletools", "poi", "sheetjs", "zugferd", "pdfjs", "corkami-pocs")
SIZE_MAX = 12_000_000
"""Bytes of a file that a mail of the usual limit can carry."""
MEMORY_MAX = 3 << 30
SECONDS_MAX = 10.0
"""Generous: the slowest of them takes a quarter of a second."""
NEVER = frozenset(("scanner-failed", "engine-failed"))
DOCUMENTS = frozenset(("poi", "sheetjs", "zugferd"))
HARMLESS_REASONS = frozenset(("zip-two-directories", "name-nul", "polyglot", "lone-volume"))
"""What charts, keys, attached documents and numbered files were held for."""


DAMAGED = ("clusterfuzz-", "54880_chinese.ppt")
"""Files broken on purpose, and one that ends like a zip whose names are cut by other data."""


def content(path: Path) -> tuple[str, bytes]:
    """A file's name and bytes; libarchive's are uuencoded, with lines that binascii finds too long."""
    if path.suffix != ".uu":
        return path.name, path.read_bytes()
    lines = [line for line in path.read_bytes().splitlines() if not line.startswith((b"begin ", b"end"))]
    return path.stem, b"".join(map(_line, lines))


def _line(line: bytes) -> bytes:
    size = ((line[0] - 32 & 63) * 4 + 5) // 3 + 1 if line else 0
    try:
        return binascii.a2b_uu(line[:size])
    except binascii.Error:
        return b""


def files(suite: str) -> Iterator[Path]:
    for path in sorted(path_of(suite).rglob("*")):
        if path.is_file() and not path.name.startswith(".git") and path.stat().st_size <= SIZE_MAX:
            yield path


def look(path: Path) -> tuple[MessageReport, float]:
    """What is said of a file, and how many seconds that took."""
    name, data = content(path)
    start = time.process_time()
    return judged(as_attachment(name, data)), time.process_time() - start


def tell(suite: str) -> None:
    """Judge a suite's files in this process and print a line for each; the test starts one such process a suite."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    for path in files(suite):
        report, seconds = look(path)
        codes = ",".join(sorted({finding.code for finding in report.findings}))
        name = path.name.encode("ascii", "backslashreplace").decode()
        print(report.verdict.value, f"{seconds:.2f}", codes or "-", name, sep="\t", flush=True)


@pytest.mark.parametrize("suite", SUITES)
def test_files_that_nobody_here_made(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    path_of(suite)
    started = [sys.executable, "-c", f"from tests.suites import test_files; test_files.tell({suite!r})"]
    done = subprocess.run(started, capture_output=True, text=True, check=False)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    verdicts = Counter(row[0] for row in rows)
    with capsys.disabled():
        print(f"\n{suite}: {len(rows)} files: {', '.join(f'{v} {n}' for v, n in verdicts.most_common())}")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(rows) == sum(1 for _ in files(suite))
    assert not [row for row in rows if float(row[1]) > SECONDS_MAX]
    assert not [row for row in rows if NEVER & set(row[2].split(","))]
    assert Verdict.ENGINE_ERROR.value not in verdicts
    if suite in DOCUMENTS:
        held = [
            row
            for row in rows
            if row[0] != "clean" and set(row[2].split(",")) <= HARMLESS_REASONS and not row[3].startswith(DAMAGED)
        ]
        assert not held, held
