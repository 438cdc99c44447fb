"""Fuzz the names: any name is read, soon, into few variants; see driver.py for the options."""

from __future__ import annotations

import sys
import time

from gatescan.judging import names
from gatescan.mime import parameters
from gatescan.text import printable

from tests.fuzz import driver

SAMPLES = (
    b'attachment; filename="a.exe"',
    b"attachment; filename*0*=utf-8'en'a%2E; filename*1=exe",
    b"a.txt.{3050F4D8-98B5-11CF-BB82-00AA00BDCE0B}",
    b'text/plain; name="=?utf-8?q?a=2Eexe?= =?utf-8?b?LmV4ZQ==?="',
    b"../../a.exe::$DATA",
    b"aaa@bbb.com; ccc.zip",
    b"a&#46;exe%2e",
    "\u202egpj.exe\uff0e\uff45".encode(),
    b'text/plain; (a(b)c) boundary((c))="x\\"y"; x:y=1',
)
TOKENS = (
    b"%2e",
    b"%",
    b"&#",
    b"&period;",
    b"=?",
    b"?=",
    b"=?utf-7?q?",
    b"=?utf-8?b?",
    b"'",
    b"''",
    b";",
    b":",
    b"/",
    b"\\",
    b'"',
    b"(",
    b")",
    b"=",
    b"*",
    b"*0*=",
    b"; name*1=",
    b"\0",
    b".",
    b" ",
    b"\n ",
    b"\t",
    b"{",
    b"}",
    b"a",
    b"\xe2\x80\xae",
    b"\xff",
    b"exe",
)
SLOW = 2.0


def one_input(data: bytes) -> None:
    """Read `data` as a structured field and as a name."""
    start = time.process_time()
    field = parameters.parse(data)
    found = parameters.decoded_readings(field.all(b"name", b"filename"))
    for name in (*found[:20], data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        variants = names.variants([name])
        assert len(variants) < 300
        names.extensions(name)
        assert all(printable(f.detail, 10**6) == f.detail for f in names.anomalies(name))
    assert time.process_time() - start < SLOW, "too slow"


if __name__ == "__main__":
    sys.exit(driver.main(one_input, SAMPLES, TOKENS))
