"""Fuzz the layers of pages and scripts: nothing escapes but a limit, and no input takes long; driver.py has options."""

from __future__ import annotations

import sys
import time

from gatescan.judging.budget import Budget, LimitReached, Limits
from gatescan.mime import charsets, markup
from gatescan.model import Part

from tests.fuzz import driver

TOKENS = (
    *(b"<script>", b"</script>", b"<svg ", b"<!--", b"-->", b"srcdoc='", b" onload=", b"javascript:", b"data:;base64,"),
    *(b"'", b'"', b"`", b"'+'", b"','", b"${", b"}", b"\\", b"\\x41", b"\\u0041", b"\\u{41}", b"\\101", b"%41"),
    *(b"%u0041", b"&#97;", b"&Tab;", b"&", b"atob(", b"eval(", b"reverse()", b"a+b", b"a='b'", b"/*", b"*/"),
    *(b"[1,2,3,4,5,6,7,8,9,10,11,12,", b"41 42 43 44 ", b"QUJD" * 20, b"4142" * 20, b"\0", b"\x1b(B", b"+ADw-"),
    *(b"\xff\xfe", b"createObjectURL", b"a.download=", b"setAttribute('download", b"_0x1a2b", b"(![]+[])"),
    *(b"eJwDAAAAAAE", b"<", b">", b"=", b",", b"\n", b"/"),
)
SLOW = 5.0
"""Seconds of CPU for at most some 100 KB, far beyond anything that is linear."""


def one_input(data: bytes) -> None:
    """Look at `data` as a page and as an image."""
    for content_type in ("text/html", "image/svg+xml"):
        part = Part("1", ("page",), content_type, data)
        budget = Budget(Limits(bytes_floor=3_000_000, bytes_ratio=1, parts=300), len(data))
        start = time.process_time()
        try:
            plain = charsets.ascii_view(data, "")
            for names, media_type, content in markup.members(part, plain, "", budget):
                assert isinstance(content, bytes) and all(names) and media_type == media_type.lower()
                budget.part()
        except LimitReached:
            pass
        assert time.process_time() - start < SLOW, "too slow"
        assert all(finding.detail.isprintable() for finding in part.findings)


def samples() -> list[bytes]:
    """The corpus's pages and images."""
    from tests.corpus import markup as corpus

    made = (corpus.pages(), corpus.images(), corpus.harmless_pages(), corpus.harmless_images())
    return [page.encode() for group in made for page in group.values() if len(page) < 8000]


if __name__ == "__main__":
    sys.exit(driver.main(one_input, samples(), TOKENS))
