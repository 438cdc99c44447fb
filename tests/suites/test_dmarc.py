"""DMARC's cases of two other implementations, read out of their own tests. They are files below GATEWRIGHT_SUITES:

opendmarc/test_*.c     OpenDMARC's libopendmarc/tests
mail-dmarc/*.t         mail-dmarc's t
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from gatekeeper.auth import dkim, dmarc, suffixes
from gatekeeper.auth.dmarc import Evidence, Policy, Record
from gatekeeper.auth.mail import authors, of_bytes

from tests.suites.public import text_of

SYNTAX = "what else is wrong in a record counts as its default (RFC 7489, 6.6.3)"
OTHERWISE = {
    "v=DMARC1; p=n;": "OpenDMARC takes the beginning of a policy's name",
    **dict.fromkeys((f"v=DMARC1; p=none; {tag};" for tag in ("adkim=bob", "aspf=bob", "rf=bob", "ri=bob")), SYNTAX),
    "v=DMARC1; p=none; pct=500;": SYNTAX,
    "v=DMARC1; p=none; rf=000000000000000000000000000000000": SYNTAX,
    ".mac.com. mac.com STRICT": "a name with an empty label is none",
    "....mac.com.... mac.com STRICT": "a name with an empty label is none",
    "a": "a top level that is not listed is a public suffix",
    "z": "a top level that is not listed is a public suffix",
}
"""Cases in which gatekeeper says something else, and why."""


def listed() -> suffixes.Suffixes:
    """Debian's list, or a skip."""
    if not suffixes.LIST.exists():
        pytest.skip("Debian's package publicsuffix is not here")
    return suffixes.load()


def is_aligned(name: str, author: str, is_strict: bool) -> bool:
    """Whether a signature of a domain speaks for an author's."""
    record = Record(Policy.REJECT, Policy.REJECT, strict_dkim=is_strict)
    return bool(Evidence(None, [dkim.Signature(dkim.Result.PASS, name)], listed()).aligned(author, record))


Case = tuple[str, bool]
"""A case, and whether gatekeeper says what the suite says."""


def records() -> Iterator[Case]:
    """OpenDMARC: records, and whether they are some."""
    found = re.findall(r'\{"([^"]*)",\s*DMARC_PARSE_(\w+)\}', text_of("opendmarc/test_dmarc_parse.c"))
    yield from ((text, (dmarc.parse(text) is not None) == (said == "OKAY")) for text, said in found)


def alignments() -> Iterator[Case]:
    """OpenDMARC: pairs of names, and whether one speaks for the other."""
    pattern = r'\{"([^"]*)",\s*"([^"]*)",\s*DMARC_RECORD_A_(\w+),\s*(-?\d)\}'
    for name, author, mode, said in re.findall(pattern, text_of("opendmarc/test_alignment.c")):
        yield f"{name} {author} {mode}", is_aligned(name, author, mode == "STRICT") == (said == "0")


def first_authors() -> Iterator[Case]:
    """OpenDMARC: what stands in From, and the domain that it looks at."""
    found = re.findall(r'\{"((?:[^"\\]|\\.)*)",\s*"([^"]+)"\}', text_of("opendmarc/test_finddomain.c"))
    for text, domain in found:
        value = text.replace('\\"', '"')
        yield value, domain in authors(of_bytes(f"From: {value}\n\nx\n".encode())).domains


def only_authors() -> Iterator[Case]:
    """mail-dmarc: what stands in From, and its domain; empty: none that counts."""
    (part,) = re.findall(r"sub get_test_headers \{(.*?)\n\}", text_of("mail-dmarc/04.PurePerl.t"), re.DOTALL)
    for text, domain in re.findall(r"'([^'\n]*)'\s*=> '([^']*)'", part):
        found = authors(of_bytes(f"From: {text.removeprefix('From: ')}\n\nx\n".encode()))
        yield text, (found.domains[0] if found.is_one else "") == domain


def public_suffixes() -> Iterator[Case]:
    """mail-dmarc: names, and whether they are public suffixes."""
    (part,) = re.findall(r"sub __is_public_suffix \{(.*?)\);", text_of("mail-dmarc/03.Base.t"), re.DOTALL)
    for name, said in re.findall(r"'([^']+)'\s*=> ([01])", part):
        yield name, (listed().organisation(f"y.x.{name}") == f"x.{name}") == (said == "1")


def policies() -> Iterator[Case]:
    """mail-dmarc: values of p and sp that are some, and that are none."""
    text = text_of("mail-dmarc/01.Policy.t")
    for kind in ("good", "bad"):
        (part,) = re.findall(rf"my %{kind}_vals = \((.*?)\n    \);", text, re.DOTALL)
        for tag, values in re.findall(r"^\s+(p|sp)\s+=> \[qw/ (.*?) /\]", part, re.MULTILINE):
            for value in values.split():
                record = f"v=DMARC1; {'p=none; ' if tag == 'sp' else ''}{tag}={value}"
                yield record, (dmarc.parse(record) is not None) == (kind == "good")


SUITES = (records, alignments, first_authors, only_authors, public_suffixes, policies)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_dmarc_is_that_of_others(suite: Callable[[], Iterator[Case]], capsys: pytest.CaptureFixture[str]) -> None:
    cases = list(suite())
    wrong = [name for name, is_same in cases if not is_same]
    with capsys.disabled():
        print(f"\n{suite.__doc__} {len(cases)} cases, {len(wrong)} otherwise: {', '.join(wrong)}")
    assert cases
    assert set(wrong) == {name for name, _ in cases} & OTHERWISE.keys()
