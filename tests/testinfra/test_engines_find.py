"""What real engines know is found wherever it is hidden: the corpus with EICAR in it, and ClamAV's own test files.

SpamAssassin is left out here: it has no part in this, and takes most of a message's time.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator

import pytest
from engine_lab import EICAR, Engines, corpus_with
from lab_hosts import Gateway, Peer, eventually, token
from scanner_lab import order, send_all

from tests.corpus import packers as pack
from tests.corpus.case import TEXT, attached, file_entity, multipart, single

TEST_FILES = "/usr/share/clamav-testfiles"
NOT_EICAR = re.compile(
    r"/pe$|/quoted-printable/(bare-cr|raw-8-bit)$"  # the corpus writes a program's first bytes over it
    r"|/zip-cut/data-program$"  # half of it is missing
    r"|/referred(-in-zip)?/(no-filter|predictor)(-packed)?/"  # packed by what is not undone: held for that
    r"|/smuggling/literal$"  # a word in a script that nothing decodes
    r"|^readings/coded-without-fields/"  # base64 that no field tells of is known by the program's first bytes
    r"|^markup/"  # what a script makes is judged by its form: the scanner runs none
)
"""Cases that do not hold it in one piece; what such cases are made of is another test's."""


@pytest.fixture
def clamd_alone(gateway: Gateway) -> Iterator[Engines]:
    """The gateway's engines with all but clamd switched off."""
    engines = Engines(gateway)
    with engines.configured("engines = [one for one in engines if one['type'] == 'clamd']"):
        yield engines


def beside_others() -> Iterator[tuple[str, bytes]]:
    """EICAR behind what a hasty scanner might stop at."""
    data = EICAR.encode()
    virus = file_entity(b"notes.txt", data)
    paper = file_entity(b"paper.txt", b"A harmless page.\n" * 20)
    yield "as the text", single(b"", data + b"\n")
    yield "with white space after it", attached(b"notes.txt", data + b" \t\r\n" * 15)
    yield "the last of 500 files", multipart(TEXT, *[paper] * 499, virus)
    yield "the first of 500 files", multipart(virus, TEXT, *[paper] * 499)
    yield "after a megabyte", multipart(file_entity(b"photo.jpg", b"\xff\xd8\xff\xe0" + bytes(1_000_000)), virus)
    yield "after a file that cannot be opened", multipart(file_entity(b"papers.zip", b"PK\3\4" + bytes(40)), virus)
    many = [(f"{number}.txt", b"A harmless page.\n") for number in range(500)]
    yield "the last of 500 in an archive", attached(b"papers.zip", pack.zip_bytes([*many, ("notes.txt", data)]))
    yield (
        "in the second of two archives",
        multipart(
            file_entity(b"one.zip", pack.zip_bytes(many[:5])),
            file_entity(b"two.zip", pack.zip_bytes([("notes.txt", data)])),
        ),
    )


def judged(
    engines: Engines, sender: Peer, recipient: Peer, messages: dict[str, bytes]
) -> dict[str, tuple[str, str, bool]]:
    """Send all of them; what became of each: its verdict, what was done, and whether clamd found something."""
    mark = token()
    numbers = dict(enumerate(messages))
    server = engines.gateway.ipv4
    orders = [order(server, messages[name], f"{mark}.{number}@corp.test") for number, name in numbers.items()]
    replies = send_all(sender, orders, sessions=4)
    refused = {numbers[number]: tries for number, tries in enumerate(replies) if tries[-1].code != 250}
    assert not refused, refused
    scanner = engines.scanner
    lines = eventually(lambda: len(found := scanner.lines(f"{mark}.")) == len(messages) and found, 60, "all judged")
    fates = {}
    for line in lines:
        number, *_ = map(int, re.findall(r"\.(\d+)@", line["to"][0]))
        found = any(finding.get("source") == "clamd" for finding in line.get("findings", []))
        fates[numbers[number]] = (line["verdict"], line["action"], found)
    assert not recipient.find(mark)
    engines.gateway.run("gatescan", "quarantine", "delete", "--all", "--to", f"{mark}.*")
    return fates


def test_eicar_is_found_in_every_hiding_place_of_the_corpus(clamd_alone: Engines, outside: Peer, office: Peer) -> None:
    found = corpus_with(EICAR.encode())
    # qmail-smtpd takes no message with a NUL byte: test_smtp_door.py
    messages = {name: data for name, data in found.items() if not NOT_EICAR.search(name) and b"\0" not in data}
    assert len(messages) > 500
    fates = judged(clamd_alone, outside, office, messages | dict(beside_others()))
    assert {name: fate for name, fate in fates.items() if fate != ("infected", "quarantine", True)} == {}


def test_what_clamscan_finds_in_its_test_files_is_held(clamd_alone: Engines, outside: Peer, office: Peer) -> None:
    gateway = clamd_alone.gateway
    told = gateway.sh(f"clamscan --no-summary -d /var/lib/clamav {TEST_FILES}", check=False)
    found = re.findall(rf"^{TEST_FILES}/(\S+): \S+ FOUND$", told, re.MULTILINE)
    assert len(found) > 40, told
    files = gateway.sh(f"cd {TEST_FILES} && for name in *; do echo $name $(base64 -w 0 $name); done").splitlines()
    messages = {name: attached(b"papers.bin", b64decode(data)) for name, data in map(str.split, files) if name in found}
    databytes = "/var/qmail/control/databytes"
    gateway.sh(f"cp -p {databytes} {databytes}.test; echo 50000000 > {databytes}")
    try:
        fates = judged(clamd_alone, outside, office, messages)
    finally:
        gateway.sh(f"mv {databytes}.test {databytes}")
    assert {name: fate for name, fate in fates.items() if fate != ("infected", "quarantine", True)} == {}
