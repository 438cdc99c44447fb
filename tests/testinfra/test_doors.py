"""Two doors: what another host can reach, and what listens on the host itself."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from lab_hosts import GATEWAYS, Gateway, Peer, lab_host

ALL_TCP = ("-sS", "-p-", "-T4", "--min-rate", "4000", "--max-retries", "2")

USUAL_UDP = "53,67,68,69,111,123,137,138,161,500,514,520,631,1434,1900,2049,4500,5353"


def scan(peer: Peer, *options: str) -> dict[int, str]:
    """Return port -> state as nmap sees it from another host, for ports that are not simply filtered."""
    report = ElementTree.fromstring(peer.run("nmap", "-Pn", "-n", "-oX", "-", *options))
    assert report.find("./runstats/hosts[@up='1']") is not None
    return {
        int(port.get("portid", "0")): state.get("state", "")
        for port in report.findall("./host/ports/port")
        for state in port.findall("state")
        if state.get("state") != "filtered"
    }


def target(host: Gateway, family: int) -> list[str]:
    """nmap's words for a host's address."""
    return ["-6", host.ipv6] if family == 6 else [host.ipv4]


@pytest.fixture(scope="session")
def tcp_scans(outside: Peer) -> Iterator[dict[tuple[str, int], Future[dict[int, str]]]]:
    """All TCP ports of each gateway and family, by (name, family): they take half a minute each, so all at once."""
    wanted = [(name, family) for name in GATEWAYS for family in (4, 6)]
    with ThreadPoolExecutor(len(wanted)) as pool:
        yield {
            (name, family): pool.submit(scan, outside, *ALL_TCP, *target(Gateway(lab_host(name)), family))
            for name, family in wanted
        }


@pytest.mark.parametrize("family", [4, 6])
def test_only_ssh_and_smtp_answer(
    gateway: Gateway, family: int, tcp_scans: dict[tuple[str, int], Future[dict[int, str]]]
) -> None:
    found = tcp_scans[gateway.name, family].result()
    assert found == {22: "open", 25: "open" if family == 4 or gateway.speaks_ipv6 else "closed"}


@pytest.mark.parametrize("family", [4, 6])
def test_no_udp_port_answers(gateway: Gateway, outside: Peer, family: int) -> None:
    found = scan(outside, "-sU", "-p", USUAL_UDP, "--max-retries", "1", *target(gateway, family))
    assert set(found.values()) <= {"open|filtered"}


def test_the_hosts_own_sockets_are_the_declared_ones(gateway: Gateway) -> None:
    lines = gateway.run("ss", "-H", "-l", "-n", "-t", "-u").splitlines()
    found = {(fields[0], fields[4].replace("[::]", "*").replace("0.0.0.0", "*")) for fields in map(str.split, lines)}
    assert found == {("tcp", "*:22"), ("tcp", "*:25"), ("tcp", "127.0.0.1:53"), ("udp", "127.0.0.1:53")}
