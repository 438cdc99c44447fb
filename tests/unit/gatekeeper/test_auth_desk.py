"""The socket at which the queue client asks who a message is from."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from gatekeeper.auth import spf
from gatekeeper.auth.desk import PACKET, PING, ROOM, TEXT, UNKNOWN, Desk
from gatekeeper.auth.judge import Site
from gatekeeper.auth.tally import Tally
from gatekeeper.names import name_of, spellings
from test_dkim_verified import BODY, HEADER, signed
from test_dmarc import EVIL, SITE, SUFFIXES, zone
from zone import Zone

TRACE = b"Received: from unknown (HELO mx.evil.test) (192.0.2.7)\n  by gw.test with SMTP; 27 Nov 2026 08:00:00 -0000\n"
ENVIRONMENT = b"\1PROTO=TCP\0TCPREMOTEIP=192.0.2.7\0"


def files(place: Path, message: bytes, envelope: bytes) -> list[int]:
    (place / "message").write_bytes(bytes(ROOM) + message)
    (place / "envelope").write_bytes(envelope)
    return [os.open(place / name, os.O_RDONLY) for name in ("message", "envelope")]


def ask(
    fds: list[int],
    names: Zone,
    site: Site = SITE,
    packet: bytes = ENVIRONMENT,
    patience: float = 20,
    tally: Tally | None = None,
) -> bytes:
    """The packet that answers; empty if none does. All descriptors are closed in the end."""

    async def talk() -> bytes:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        ours.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
        await Desk(site, names, patience, tally=tally).serve(theirs)
        with ours:
            return ours.recv(PACKET)

    before = len(os.listdir("/proc/self/fd"))
    answer = asyncio.run(talk())
    assert len(os.listdir("/proc/self/fd")) == before
    for fd in fds:
        os.close(fd)
    return answer


def test_a_good_message_has_its_results(tmp_path: Path) -> None:
    fds = files(tmp_path, TRACE + signed(HEADER + BODY), b"Fx@evil.test\0Tbob@gw.test\0\0")
    answer = ask(fds, zone())
    assert answer[:2] == b"\1\0"
    assert answer[8:].decode() == (
        "- spf=pass smtp.mailfrom=evil.test; dkim=pass header.d=corp.test; arc=none; "
        "dmarc=pass header.from=corp.test policy.dmarc=reject"
    )


def test_a_bounce_is_its_clients_own_and_helo_is_read_from_the_trace(tmp_path: Path) -> None:
    answer = ask(files(tmp_path, TRACE + HEADER + BODY, b"F\0Tbob@gw.test\0\0"), zone())
    assert answer[8:].decode().startswith("reject spf=pass smtp.helo=mx.evil.test; dkim=none")


def test_a_forged_colleague_is_told(tmp_path: Path) -> None:
    site = Site(SUFFIXES, "gw.test", own=frozenset({"corp.test"}))
    fds = files(tmp_path, TRACE + HEADER + BODY, b"Fx@evil.test\0Tbob@gw.test\0\0")
    assert ask(fds, Zone(txt=EVIL), site)[8:].startswith(b"spoofed spf=")


def test_what_a_name_server_does_not_say_is_told_apart(tmp_path: Path) -> None:
    names = zone()
    names.failing = {"_dmarc.corp.test"}
    answer = ask(files(tmp_path, TRACE + HEADER + BODY, b"Fx@evil.test\0Tbob@gw.test\0\0"), names)
    assert answer[8:].startswith(b"temperror spf=pass") and b"dmarc=temperror" in answer


def test_a_strangers_slow_name_server_hides_no_forged_colleague(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Zone):
        async def texts(self, name: str) -> list[str]:
            await asyncio.sleep(600 if name == "evil.test" else 0)
            return await super().texts(name)

    monkeypatch.setattr(spf, "SECONDS", 0.5)
    site = Site(SUFFIXES, "gw.test", own=frozenset({"corp.test"}))
    fds = files(tmp_path, TRACE + HEADER + BODY, b"Fx@evil.test\0Tbob@gw.test\0\0")
    assert ask(fds, Slow(), site, patience=0.5)[8:].startswith(b"spoofed spf=temperror smtp.mailfrom=evil.test; ")


def test_name_servers_that_take_too_long_are_no_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spf, "SECONDS", 0.05)

    class Slow(Zone):
        async def texts(self, name: str) -> list[str]:
            await asyncio.sleep(600)
            return []

    answer = ask(files(tmp_path, HEADER, b"Fx@evil.test\0Tbob@gw.test\0\0"), Slow(), patience=0.05)
    assert answer[8:].decode() == UNKNOWN


def test_what_is_no_request_has_no_answer(tmp_path: Path) -> None:
    envelope = b"Fx@evil.test\0Tbob@gw.test\0\0"

    assert ask(files(tmp_path, HEADER, envelope), zone(), packet=b"\2PROTO=TCP\0") == b""
    assert ask(files(tmp_path, HEADER, b"garbage"), zone()) == b""
    assert ask(files(tmp_path, HEADER, envelope)[:1], zone()) == b""
    assert ask([], zone()) == b""
    reading, writing = os.pipe()
    assert ask([reading, writing], zone()) == b""


def test_who_asks_whether_anybody_is_there_hears_so() -> None:
    assert ask([], zone(), packet=PING)[8:] == b"ready"


def test_long_domains_push_no_result_out_of_the_answer(tmp_path: Path) -> None:
    """Else a long name would hide from the site's rules that its SPF fails."""
    long = ".".join(["a" * 60] * 4)[:240] + ".test"
    field = f"DKIM-Signature: v=1; a=rsa-sha256; d={long}; s=s; h=from; bh=YQ==; b=YQ==\n".encode()
    fds = files(tmp_path, TRACE + field * 4 + HEADER + BODY, f"Fx@{long}\0Tbob@gw.test\0\0".encode())
    names = zone(**{long: "v=spf1 -all"})
    answer = ask(fds, names)[8:].decode()
    assert len(answer) <= TEXT
    methods = [item.partition("=")[0] for item in answer.partition(" ")[2].split("; ")]
    assert methods == ["spf", *["dkim"] * 4, "arc", "dmarc"]
    assert "spf=fail " in answer
    assert answer.endswith("dmarc=fail header.from=corp.test policy.dmarc=reject")


# Own names

NAMES = ["Ann Miller", "Zo\u00eb \u0141uk", "Amy Lane", "Jo Hansen", "Ana Maria de la Cruz"]
PEOPLE = replace(SITE, own=frozenset({"gw.test"}), protected=tuple(map(name_of, NAMES)))


@pytest.mark.parametrize(
    ("author", "is_borrowed"),
    [
        ("Ann Miller <ann@gmail.test>", True),
        ('"Miller, Ann (CEO)" <ann@gmail.test>', True),
        ("ann@gmail.test (ANN MILLER)", True),
        ("=?utf-8?b?QW5uIE1p?= =?utf-8?q?ller?= <ann@gmail.test>", True),
        ("=?windows-1251?b?wG5uIE1pbGxlcg==?= <ann@gmail.test>", True),  # a Cyrillic A
        ("A\u200bnn\u00a0Mi\u0301ller <ann@gmail.test>", True),
        ("zoe luk <x@gmail.test>", True),
        ("\u0391nn \u039ciller <ann@gmail.test>", True),  # Greek capitals
        ("\u13aann \u13b7i\u01c0\u01c0er <ann@gmail.test>", True),  # Cherokee, and clicks
        ("\u1d00\u0274\u0274 \u1d0diller <ann@gmail.test>", True),  # small capitals
        ("\U0001d5d4\U0001d5fb\U0001d5fb \U0001f15cILLER <ann@gmail.test>", True),  # bold, and in a circle
        ("A\u034fn\u3164n\u3164 Mil\ufe0fler <ann@gmail.test>", True),  # what cannot be seen
        ("Ann MiIIer <ann@gmail.test>", True),
        ("Ann Mi11er <ann@gmail.test>", True),
        ("A n n  M.i.l.l.e.r <ann@gmail.test>", True),
        ("AnnMiller <ann@gmail.test>", True),
        ("AnnMiller (Work) <ann@gmail.test>", True),
        ("MillerAnn (Work) <ann@gmail.test>", True),
        ("annmiller (work) <ann@gmail.test>", True),
        ("CEOAnnMiller <ann@gmail.test>", True),
        ("AnnMi\u0456\u0406erCEO <ann@gmail.test>", True),  # Cyrillic
        ("A n n M i l l e r - CEO <ann@gmail.test>", True),
        ("Our M i l l e r, A n n <ann@gmail.test>", True),
        ("An nMil ler of Sales <ann@gmail.test>", True),
        ("Zo\u00eb\u200b\u0141uk (Home) <x@gmail.test>", True),
        ("AmyLane (Work) <amy@gmail.test>", True),
        ("amylane <amy@gmail.test>", True),
        ("a a m y l a n e <amy@gmail.test>", True),
        ("JoHansen at home <jo@gmail.test>", True),
        ("AnaMariaDeLaCruz, CFO <ana@gmail.test>", True),
        ("CruzLaDeMariaAna, CFO <ana@gmail.test>", True),
        ("A\\nn Miller <ann@gmail.test>", True),
        ("\u202erelliM nnA\u202c <ann@gmail.test>", True),  # shown from behind
        ("Sales: Miller \u202ennA <ann@gmail.test>", True),
        ("\u2067Ann\u2069 \u2066Miller\u2069 <ann@gmail.test>", True),
        ("Ann rniller <ann@gmail.test>", True),
        ("\u15e9nn \u15f0iller <ann@gmail.test>", True),  # Canadian syllabics
        ("A\u0578\u0578 Mill\u04bdr <ann@gmail.test>", True),  # Armenian, and Abkhasian
        ("\uab7ann \uab87iller <ann@gmail.test>", True),  # small Cherokee
        ('"<Ann Miller>" <ann@gmail.test>', True),
        ('"ann.miller@gw.test" <eve@gmail.test>', True),
        ('"=?utf-8?q?Ann_Miller?=" <ann@gmail.test>', True),
        ("=?utf-7?q?Ann+ACA-Miller?= <ann@gmail.test>", True),
        ("Ann Miller: ann@gmail.test;", True),
        ('"ann.miller@gmail.test" <ann.miller@gmail.test>', False),
        ("Lena May <lena@gmail.test>", False),
        ("L e n a M a y <lena@gmail.test>", False),
        ("LenaMay (Work) <lena@gmail.test>", False),
        ("Erik Johansen <erik@gmail.test>", False),
        ("Johansen, Erik <erik@gmail.test>", False),
        ("ErikJoh\u00e4nsen <erik@gmail.test>", False),
        ("Tamy Lanes <t@gmail.test>", False),
        ("Tam yLane Store <t@gmail.test>", False),
        ("JoannMillerson (Work) <ann@gmail.test>", False),
        ("Joann Millerson <ann@gmail.test>", False),
        ("Ann Miller <ann@gw.test>", False),
        ("Ann <ann@gmail.test>", False),
        ("Annabel Millerson <ann@gmail.test>", False),
        ("ann.miller@gmail.test", False),
        ("Ann Smith <miller@gmail.test>", False),
        ("\u202eAnn Miller\u202c <ann@gmail.test>", True),  # programs show marks differently
        ("Ann Mi\u202crellim <ann@gmail.test>", False),
    ],
)
def test_a_name_of_ours_with_a_foreign_address_is_told(tmp_path: Path, author: str, is_borrowed: bool) -> None:
    header = f"From: {author}\nTo: bob@gw.test\n\n".encode()
    answer = ask(files(tmp_path, TRACE + header, b"Fx@evil.test\0Tbob@gw.test\0\0"), zone(), PEOPLE)[8:]
    assert (b"own-name" in answer.partition(b" ")[0]) is is_borrowed


@pytest.mark.parametrize(
    ("name", "shown", "is_borrowed"),
    [
        ("J\u00fcrgen Wei\u00df", "Juergen Weiss", True),
        ("J\u00fcrgen Wei\u00df", "J\u00fcrgen WEISS", True),
        ("Juergen Weiss", "Wei\u00df, J\u00fcrgen", True),
        ("Juergen Weiss", "Wei\u00df, Ju\u0308rgen", True),
        ("J\u00fcrgen Wei\u00df", "Jurgen Weiss", True),
        ("J\u00fcrgen Mueller", "JuergenM\u00fcller (Work)", True),
        ("S\u00f8ren B\u00e6k", "Soeren Baek", True),
        ("\u00c5sa Lund", "Aasa Lund", True),
        ("\u00de\u00f3ra J\u00f3nsd\u00f3ttir", "Thora Jonsdottir", True),
        ("J\u00fcrgen Wei\u00df", "Juergen Weisser", False),
        ("Jo Hansen", "Joe Hansen", False),
    ],
)
def test_letters_that_are_written_as_two_are_the_same(tmp_path: Path, name: str, shown: str, is_borrowed: bool) -> None:
    people = replace(PEOPLE, protected=tuple(spellings(name)))
    header = f"From: {shown} <x@gmail.test>\nTo: bob@gw.test\n\n".encode()
    answer = ask(files(tmp_path, TRACE + header, b"Fx@evil.test\0Tbob@gw.test\0\0"), zone(), people)[8:]
    assert (b"own-name" in answer.partition(b" ")[0]) is is_borrowed


def test_a_name_of_ours_is_read_without_a_charset_too(tmp_path: Path) -> None:
    header = "From: Zo\u00eb Luk <zoe@gmail.test>\nTo: bob@gw.test\n\n".encode("latin-1")
    answer = ask(files(tmp_path, TRACE + header, b"Fx@evil.test\0Tbob@gw.test\0\0"), zone(), PEOPLE)[8:]
    assert answer.startswith(b"own-name ")
