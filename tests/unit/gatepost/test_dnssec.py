"""The validating resolver as the role sets it up: what it asks, whom it believes, and what that means for mail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gatepost_rig import PROJECT, Gatepost, NameServer
from server_rig import Server
from signed_zone import SignedZone, configuration, unbound
from test_mx import free_port, tlsa

from tests.unpacked import find

UNBOUND = find("usr/sbin/unbound")
needs_unbound = pytest.mark.skipif(
    not UNBOUND, reason="Debian's unbound is neither unpacked (./gw pytest) nor installed"
)


def lines(**values: Any) -> list[str]:
    """The lines of unbound's configuration."""
    return [line.strip() for line in configuration(**values).splitlines()]


def test_it_believes_the_root_key_of_debian_unless_the_site_names_others() -> None:
    assert 'trust-anchor-file: "/usr/share/dns/root.key"' in lines()
    own = lines(gatepost_dnssec_anchors=[". IN DS 1 8 2 " + "AB" * 32])
    assert f'trust-anchor: ". IN DS 1 8 2 {"AB" * 32}"' in own
    assert not [line for line in own if "root.key" in line]


def test_where_nothing_is_signed_it_has_no_key_which_would_count_more_than_that() -> None:
    assert not [line for line in lines(gatepost_dnssec_unsigned=["."]) if line.startswith("trust-anchor")]


@pytest.mark.parametrize(("forwards", "kind"), [(False, "stub"), (True, "forward")])
def test_it_asks_whom_dnscache_asks(forwards: bool, kind: str) -> None:
    zones = {".": ["192.0.2.1", "192.0.2.2"], "corp.example": ["10.0.0.53"]}
    text = configuration(zones=zones, dnscache_forward_only=forwards)
    assert text.endswith(
        f'{kind}-zone:\n  name: "."\n  {kind}-addr: 192.0.2.1\n  {kind}-addr: 192.0.2.2\n'
        f'{kind}-zone:\n  name: "corp.example"\n  {kind}-addr: 10.0.0.53\n'
    )


def test_it_serves_this_host_alone_and_cannot_be_steered() -> None:
    found = lines(gatepost_dnssec_unsigned=["corp.example"])
    wanted = {
        "interface: 127.0.0.1",
        "access-control: 0.0.0.0/0 refuse",
        "control-enable: no",
        "val-permissive-mode: no",
    }
    assert wanted <= set(found)
    assert 'domain-insecure: "corp.example"' in found


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def zone(authority: Path, port: int) -> SignedZone:
    """right.test: its server's certificate; wrong.test: another one; forged.test: records that nobody signed."""
    names = [
        f"{name}.test 60 MX 10 mx.{name}.test.\nmx.{name}.test 60 A 127.0.0.1\n"
        f"_{port}._tcp.mx.{name}.test 60 TLSA {tlsa(authority) if name != 'wrong' else '3 1 1 ' + '00' * 32}\n"
        for name in ("right", "wrong", "forged")
    ]
    zone = SignedZone("".join(names))
    zone.forged.add("mx.forged.test.")
    return zone


@pytest.fixture(scope="module")
def gatepost(zone: SignedZone, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gatepost]:
    """A daemon that asks unbound."""
    assert UNBOUND
    place = tmp_path_factory.mktemp("gatepost")
    with unbound(UNBOUND, place, zone) as resolver:
        daemon = Gatepost(place, NameServer())
        daemon.furnish()
        daemon.start(name_server_port=resolver, is_validating=True, port=port)
        yield daemon
        daemon.stop()


@needs_unbound
def test_mail_goes_by_dane_where_unbound_vouches_for_it(gatepost: Gatepost, authority: Path, port: int) -> None:
    server = Server(authority, port=port)
    report = gatepost.run(domain="right.test")
    server.close()
    assert b"certificate verified (DANE)" in report, report


@needs_unbound
@pytest.mark.parametrize("domain", ["wrong.test", "forged.test"])
def test_mail_waits_where_the_certificate_or_the_answer_is_another(
    gatepost: Gatepost, authority: Path, port: int, domain: str
) -> None:
    server = Server(authority, port=port)
    report = gatepost.run(domain=domain)
    server.close()
    assert report.startswith(b"Z"), report
    assert server.messages == []


@pytest.mark.parametrize("unit", ["gatepost-dns", "gatepost-sts"])
def test_its_unit_sets_no_filter_by_itself_which_not_every_systemd_can_for_a_users_unit(unit: str) -> None:
    role = yaml.safe_load((PROJECT / "roles/gatepost/vars/main.yml").read_text())
    usual = yaml.safe_load((PROJECT / "roles/hardening/vars/main/sandbox.yml").read_text())["_hardening_filters"]
    filters = {*usual, *role["_gatepost_sandboxes"][unit]["filtered"]}
    text = (PROJECT / f"roles/gatepost/templates/etc/systemd/system/{unit}.service.j2").read_text()
    directives = {line.partition("=")[0] for line in (text + role["_gatepost_sandbox"]).splitlines()}
    assert "User" in directives and "PrivateDevices" in filters
    assert directives & filters == set()
