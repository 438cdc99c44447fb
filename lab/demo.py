"""gw demo: builds two gateways in the lab, sends real mail through them, and shows what happened to each message.

Where this machine runs no containers, or with --small: the small demonstration, which needs no privilege (lab.small).
"""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from on_gateway.trace.asked import Request
from on_gateway.trace.search import Places, trace

from gatewright.fleet.trace import lines
from lab import artifacts, hosts
from lab.__main__ import bring_up, prepare
from lab.demonstration import BANK_RECORDS, Demonstration, table
from lab.machine import LabError
from lab.small.gateway import NEIGHBOUR, SmallGateway, small_gateway
from lab.talk import Gateway, Peer, lab_host
from lab.topology import PROJECT

NOT_SHOWN = (
    "Not shown, for want of containers: firewall and open ports, IPv6, TLS of mail that comes in, a resolver, "
    "hardening, supervision, and the run of playbooks/site.yml itself."
)
INVENTORY = "inventory/lab"
PAGE = "All that as a page, with charts (docs/console.png is its picture)"
TRACE, CONSOLE = ("trace", "-i", INVENTORY, "--since"), f"./gw console -i {INVENTORY}"
TRUSTED = "/usr/local/share/ca-certificates/lab-outside.crt"


def show_doors(shown: Demonstration, outside: Peer, gateway: Gateway, family: int) -> None:
    """All TCP ports of a gateway, as another host sees them."""
    target = ["-6", gateway.ipv6] if family == 6 else [gateway.ipv4]
    report = outside.run(
        "nmap", "-Pn", "-n", "-sS", "-p-", "-T4", "--min-rate", "4000", "--max-retries", "2", "-oX", "-", *target
    )
    ports = [
        port.get("portid", "")
        for port in ElementTree.fromstring(report).findall("./host/ports/port")
        if port.find("state[@state='open']") is not None
    ]
    way = f"outside -> {gateway.name}"
    shown.add(f"all 65535 TCP ports, IPv{family}", way, "open: 22 25", f"open: {' '.join(ports)}")


def describe_world(outside: Peer, gateways: Sequence[Gateway]) -> None:
    """The outside offers TLS, by a certificate that the gateways trust; the DNS has a bank's records."""
    dns = lab_host("dns")
    hosts.serve_dns(dns, hosts.dns_data([gateway.host for gateway in gateways]) + hosts.text_records(BANK_RECORDS))
    certificate = outside.offer_tls(f"DNS:{outside.host.fqdn}")
    for gateway in gateways:
        gateway.run("tee", TRUSTED, stdin=certificate)
        gateway.run("update-ca-certificates")


def whole() -> int:
    """Two gateways, made by playbooks/site.yml. Raises LabError where the lab cannot be brought up."""
    started = time.monotonic()
    prepare()
    bring_up([], internal=False)
    gateways = [Gateway(lab_host(name)) for name in ("gw1", "gw2")]
    office, outside = Peer(lab_host("office")), Peer(lab_host("outside"))
    describe_world(outside, gateways)
    print("\nplaybooks/site.yml makes gateways of gw1 (Debian 13) and gw2 (Debian 12):\n", flush=True)
    command = ["ansible-playbook", "-i", INVENTORY, "-e", "@lab/demo.yml", "playbooks/site.yml"]
    done = subprocess.run(command, cwd=PROJECT, check=False)
    if done.returncode:
        return done.returncode
    print("\nReal mail, from other hosts:\n", flush=True)
    begun = time.monotonic()
    shown = Demonstration(office, outside, "user@corp.test", office.address(24))
    for gateway in gateways:
        shown.mail(gateway)
    shown.unknown(gateways[0])
    shown.forged(gateways[0])
    shown.signed(gateways[0])
    shown.attachments(gateways[0])
    for gateway in gateways:
        for family in (4, 6):
            show_doors(shown, outside, gateway, family)
    status = conclude(shown, gateways[0].run("gatescan", "quarantine", "list"), started)
    artifacts.warn()
    since = f"{(time.monotonic() - begun) // 60 + 1:.0f}m"
    print(f"\nWhat became of each message (./gw {' '.join(TRACE)} {since}):\n", flush=True)
    subprocess.run([sys.executable, "-m", "gatewright.fleet", *TRACE, since], cwd=PROJECT, check=False)
    print(f"\n{PAGE}: {CONSOLE}")
    print("The lab stays up: ./gw lab shell gw1 to look around, ./gw lab down to remove it.")
    return status


def small() -> int:
    """The mail path alone, on this machine's loopback address."""
    started = time.monotonic()
    print("\nA small gateway on loopback ports, configured from inventory/example:\n", flush=True)
    try:
        with small_gateway() as gateway:
            shown = Demonstration(gateway.office, gateway.outside, "user@example.org", NEIGHBOUR)
            shown.mail(gateway)
            shown.unknown(gateway)
            shown.forged(gateway)
            shown.signed(gateway)
            shown.attachments(gateway)
            status = conclude(shown, gateway.run("gatescan", "quarantine", "list"), started)
            show_trace(gateway)
            print(f"\n{NOT_SHOWN}\nqmail here: {gateway.qmail}. Nothing was left behind.")
    except (LabError, AssertionError) as error:  # it cannot be built, or a message does not come
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return status


def show_trace(gateway: SmallGateway) -> None:
    """What became of all messages, as `gw trace` tells it of gateways in an inventory."""
    print("\nWhat became of each message (on gateways of yours: ./gw trace -i INVENTORY):\n")
    for record in trace(Request(), Places(gateway.place.path))["records"]:
        print("\n".join(lines(gateway.name, record)))
    print(f"\n{PAGE}: ./gw console -i INVENTORY")


def conclude(shown: Demonstration, quarantine: str, started: float) -> int:
    """Print the table and what is held; returns the exit status: 0 when all went as expected."""
    met = sum(row.is_as_expected for row in shown.rows)
    print(f"\n{table(shown.rows)}\n\nThe quarantine (gatescan quarantine list):\n\n{quarantine}")
    print(f"{met} of {len(shown.rows)} as expected, in {time.monotonic() - started:.0f} s.")
    return 0 if met == len(shown.rows) else 1


def main(arguments: Sequence[str]) -> int:
    """Show what this machine can show."""
    if "--small" in arguments:
        return small()
    try:
        return whole()
    except LabError as error:
        print(f"demo: this machine does not run the lab: {error}\ndemo: so the small demonstration.", flush=True)
        return small()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
