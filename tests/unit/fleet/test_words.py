"""Words of pages that strangers wrote."""

from __future__ import annotations

import time

import pytest

from gatewright.console.words import words


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("<p>Hello<br>Ann</p><script>x</script>!", "Hello\nAnn !"),
        ("<STYLE>p {}</style ><title>Offer</title>1 < 2 &amp; 3", "Offer 1 < 2 & 3"),
        ("a<!-- <p>b</p> -->c<!-->d<?x?>e<!doctype x>f", "a c d e f"),
        ("<a href='http://evil.test/y'>bank</a>", "bank [http://evil.test/y]"),
        ("<a/HREF = http://evil.test/?a=1&amp;b>bank</A >", "bank [http://evil.test/?a=1&b]"),
        ("<a title=' href=http://bank.test ' href='http://evil.test'>x</a>", "x [http://evil.test]"),
        ("<a data-href=http://bank.test href=http://evil.test>x</a>", "x [http://evil.test]"),
        ("pay <a href='x", "pay <a href='x"),
        ("<p>a</p><script>b = '<p>'", "a <script>b = '<p>'"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
    ],
)
def test_words_are_shown_with_where_links_lead_and_what_has_no_end_as_it_is(page: str, shown: str) -> None:
    assert words(page) == shown


@pytest.mark.parametrize(
    "piece", ["<!--", "<a ", "<a x='", "<?", "</", "<", "<![CDATA[", "<script>", "<a href=' ", "&#"]
)
def test_a_page_of_openings_without_an_end_is_read_at_once(piece: str) -> None:
    began = time.monotonic()
    words(piece * (200_000 // len(piece)))
    assert time.monotonic() - began < 10, "html.parser takes minutes"
