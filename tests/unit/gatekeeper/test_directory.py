"""gatekeeper-ldap: what becomes of a directory's entries, and what a directory that fails changes (nothing)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatekeeper import directory
from gatekeeper_rig import PATIENCE, PROJECT, Gatekeeper, wait_for

from tests.unpacked import environment, find

ATTRIBUTES = ("mail", "proxyAddresses")


def addresses(*entries: dict[str, list[bytes]], domain: str = "corp.test") -> list[str]:
    """The addresses of entries."""
    return list(directory.addresses(entries, ATTRIBUTES, domain))


def test_addresses_are_mail_and_the_smtp_ones_of_proxy_addresses() -> None:
    proxies = [b"SMTP:Ann@corp.test", b"smtp:a.miller@Corp.test", b"x500:/o=Corp/cn=ann", b"sip:ann@corp.test"]
    assert addresses({"mail": [b"ann@corp.test"], "proxyAddresses": proxies, "other": [b"bob@corp.test"]}) == [
        "ann@corp.test",
        "Ann@corp.test",
        "a.miller@corp.test",
    ]


def test_those_of_other_domains_and_what_is_no_address_are_left_out() -> None:
    values = [b"ann@other.test", b"ann@a.corp.test", b"no address", b"", b"ann", b"a b@corp.test", b"\xff@corp.test"]
    assert addresses({"MAIL": [*values, b"bob@corp.test"]}) == ["\ufffd@corp.test", "bob@corp.test"]
    assert addresses({"mail": values}, domain=".corp.test") == ["ann@a.corp.test"]


def test_a_list_has_its_end_and_is_put_in_the_place_of_the_old_one(tmp_path: Path) -> None:
    from gatekeeper.listfile import read_listing

    path = tmp_path / "corp.test"
    for found in (["ann@corp.test"], ["ann@corp.test", "bob@corp.test"]):
        directory.write(path, found)
        listing = read_listing(path)
        assert (len(listing), listing.is_marked) == (len(found), True)
    assert path.stat().st_mode & 0o777 == 0o640 and [each.name for each in tmp_path.iterdir()] == ["corp.test"]


def test_an_address_that_looks_like_a_comment_spoils_no_list(tmp_path: Path) -> None:
    from gatekeeper.listfile import read_listing

    directory.write(tmp_path / "corp.test", addresses({"mail": [b"ann@corp.test", b"smtp:#sales@corp.test"]}))
    found = read_listing(tmp_path / "corp.test").table
    assert found.knows("#sales", "corp.test", "+") and found.knows("ann", "corp.test", "+")


class Answers:
    """A connection of ldap3 whose server says this: references to others, and how it ended."""

    def __init__(self, code: int, *references: str) -> None:
        self.response: list[dict[str, Any]] = [{"type": "searchResEntry", "raw_attributes": {"mail": [b"a@corp.test"]}}]
        self.response += [{"type": "searchResRef", "uri": [each]} for each in references]
        self.result = {"result": code, "description": "limitExceeded"}

    def search(self, *_: object, **__: object) -> None:
        """Ask it."""


DIRECTORY = directory.Directory(servers=("ldaps://dc.corp.test",), base="dc=corp,dc=test")


@pytest.mark.parametrize("code", [3, 4, 10, 11], ids=["time", "size", "referral", "administrator"])
def test_an_answer_that_a_limit_has_cut_off_is_none(code: int) -> None:
    with pytest.raises(directory.FetchError, match="limitExceeded"):
        directory._pages(Answers(code), DIRECTORY)


def test_an_answer_whose_rest_another_server_has_is_none() -> None:
    with pytest.raises(directory.FetchError, match="another server has a part, ldap://branch"):
        directory._pages(Answers(0, "ldap://branch.corp.test/DC=branch,DC=corp,DC=test"), DIRECTORY)


def test_what_active_directory_keeps_elsewhere_are_no_mailboxes() -> None:
    elsewhere = ("DC=ForestDnsZones,DC=corp,DC=test", "DC=DomainDnsZones,DC=corp,DC=test", "CN=Configuration,DC=corp")
    found = directory._pages(Answers(0, *(f"ldaps://corp.test/{name}" for name in elsewhere)), DIRECTORY)
    assert found == [{"mail": [b"a@corp.test"]}]


# Against Debian's slapd

SLAPD = find("usr/sbin/slapd")
CONFIG = """\
include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/inetorgperson.schema
attributetype (1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15)
objectclass (1.2.840.113556.1.5.9999 NAME 'mailbox' SUP top AUXILIARY MAY proxyAddresses)
modulepath {root}/usr/lib/ldap
moduleload back_mdb
pidfile {place}/pid
TLSCertificateFile {place}/cert.pem
TLSCertificateKeyFile {place}/key.pem
security tls=1
database mdb
suffix "dc=corp,dc=test"
rootdn "cn=gateway,dc=corp,dc=test"
rootpw secret
directory {place}/data
maxsize 33554432
limits dn.exact="cn=short,dc=corp,dc=test" size.soft=500 size.hard=500 size.pr=500 size.prtotal=1000
limits * size.soft=500 size.hard=500 size.pr=unlimited size.prtotal=unlimited
limits dn.exact="cn=gateway,dc=corp,dc=test" size.soft=500 size.hard=500 size.pr=unlimited size.prtotal=unlimited
"""
PEOPLE = 1203
DEBIANS_PYTHON = "/usr/bin/python3"
"""What runs gatekeeper-ldap on gateways: ldap3 is Debian's."""


class Slapd:
    """Debian's slapd on ports of 127.0.0.1, with many people in it."""

    def __init__(self, place: Path) -> None:
        assert SLAPD
        self.place, self.program = place, str(SLAPD)
        self.ports = free_ports(2)
        (place / "data").mkdir()
        (place / "slapd.conf").write_text(CONFIG.format(root=str(SLAPD).removesuffix("/usr/sbin/slapd"), place=place))
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
        options: list[str | Path] = [
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            place / "key.pem",
            "-out",
            place / "cert.pem",
        ]
        subprocess.run([*command.split(), *options], check=True, capture_output=True, timeout=PATIENCE)
        self.run("-T", "add", "-l", str(self._people()))
        self.process: subprocess.Popen[bytes] | None = None

    def _people(self) -> Path:
        entries = ["dn: dc=corp,dc=test\nobjectClass: domain\ndc: corp\n"]
        entries.append("dn: cn=short,dc=corp,dc=test\nobjectClass: person\ncn: short\nsn: x\nuserPassword: secret\n")
        for number in range(PEOPLE):
            entries.append(
                f"dn: cn=user{number},dc=corp,dc=test\nobjectClass: inetOrgPerson\nobjectClass: mailbox\n"
                f"cn: user{number}\nsn: x\nmail: user{number}@corp.test\n"
                f"proxyAddresses: smtp:alias{number}@corp.test\nproxyAddresses: sip:user{number}@corp.test\n"
            )
        path = self.place / "people.ldif"
        path.write_text("\n".join(entries))
        return path

    def run(self, *words: str) -> None:
        """Run it as one of its tools."""
        command: list[str | Path] = [self.program, *words, "-f", self.place / "slapd.conf"]
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        urls = f"ldap://127.0.0.1:{self.ports[0]}/ ldaps://127.0.0.1:{self.ports[1]}/"
        command: list[str | Path] = [self.program, "-d", "0", "-h", urls, "-f", self.place / "slapd.conf"]
        self.process = subprocess.Popen(command, env=environment())
        wait_for(lambda: all(listens(port) for port in self.ports), "slapd")

    def stop(self) -> None:
        """End it."""
        if self.process:
            self.process.terminate()
            self.process.wait(PATIENCE)
        self.process = None


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    return ports


def listens(port: int) -> bool:
    """Whether somebody listens at a port."""
    with socket.socket() as wire:
        return wire.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A directory that runs."""
    if subprocess.run([DEBIANS_PYTHON, "-c", "import ldap3"], check=False, capture_output=True).returncode:
        pytest.skip("Debian's python3-ldap3 is needed to ask a directory")
    if not SLAPD or not shutil.which("openssl"):
        pytest.skip("slapd is neither unpacked (./gw pytest) nor installed, or openssl is missing")
    found = Slapd(tmp_path_factory.mktemp("slapd"))
    found.start()
    yield found
    found.stop()


def fetch(slapd: Slapd, place: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run gatekeeper-ldap."""
    settings = {
        "servers": [f"ldaps://localhost:{slapd.ports[1]}"],
        "base": "dc=corp,dc=test",
        "user": "cn=gateway,dc=corp,dc=test",
        "password": "secret",
        "ca": str(slapd.place / "cert.pem"),
        **changes,
    }
    config = place / "ldap.json"
    config.write_text(json.dumps({"corp.test": {"ldap": settings, "file": str(place / "corp.test")}}))
    program = "import sys; from gatekeeper.directory import main; sys.exit(main(sys.argv[1:]))"
    command = [DEBIANS_PYTHON, "-c", program, "--config", str(config)]
    env = {**os.environ, "PYTHONPATH": str(PROJECT / "roles/gatekeeper/files")}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)


@pytest.mark.parametrize("way", ["ldaps", "ldap"])
def test_all_pages_are_fetched_over_tls(slapd: Slapd, keeper: Gatekeeper, way: str) -> None:
    server = f"{way}://localhost:{slapd.ports[way == 'ldaps']}"
    done = fetch(slapd, keeper.place, servers=["ldaps://localhost:1", server])
    assert done.returncode == 0, done.stderr
    keeper.start(recipients={"corp.test": {"file": str(keeper.place / "corp.test")}}, guesses=0)
    wait_for(lambda: keeper.ask("user1@corp.test") == "DUNNO", "the list")
    assert f": {2 * PEOPLE} addresses" in keeper.log
    assert keeper.ask(f"alias{PEOPLE - 1}@corp.test") == keeper.ask("User7+x@corp.test") == "DUNNO"
    assert keeper.ask("bob@corp.test").startswith("550 ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, "invalidCredentials"),
        ({"user": "cn=short,dc=corp,dc=test"}, "sizeLimitExceeded"),
        ({"ca": "/etc/ssl/certs/ca-certificates.crt"}, "certificate verify failed"),
        ({"base": "dc=nowhere,dc=test"}, "noSuchObject"),
        ({"filter": "(mail=nobody@corp.test)"}, "has no address at corp.test"),
        ({"servers": ["ldaps://localhost:1"]}, "ldaps://localhost:1"),
    ],
    ids=["password", "limit", "certificate", "base", "nobody", "down"],
)
def test_what_cannot_be_fetched_changes_nothing(
    slapd: Slapd, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    directory.write(tmp_path / "corp.test", ["ann@corp.test"])
    before = (tmp_path / "corp.test").read_bytes()
    done = fetch(slapd, tmp_path, **changes)
    assert done.returncode == 1 and words in done.stderr and "the list of before stays" in done.stderr, done.stderr
    assert "secret" not in done.stderr and (tmp_path / "corp.test").read_bytes() == before
