#!/usr/bin/python
"""What a gateway says of itself: services, cutoff, scanner, queue, and who its domains' mail exchangers are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_state
short_description: Look at a running gateway, and change nothing
description:
  - Reads what supervise says of the services, what is cut off, what C(gatescan doctor) finds, and what the queue holds.
  - Asks the host's own resolver for the MX records of domains, and for the addresses that they lead to.
  - Asks for the records by which others accept mail of ours: PTR, SPF, DKIM, DMARC, MTA-STS, TLSA.
  - Says whether the address that this run comes from may relay.
options:
  domains:
    description: Domains whose MX records are looked up.
    type: list
    elements: str
    default: []
  authors:
    description: Domains whose addresses send mail through this gateway, beside those whose DKIM keys it has.
    type: list
    elements: str
    default: []
  own_addresses:
    description: Addresses of this gateway that its interfaces do not have.
    type: list
    elements: str
    default: []
  certificate:
    description: File of the certificate that port 25 shows; empty if it shows none.
    type: str
    default: ""
  units:
    description: Units of systemd that must run, beside what supervise runs.
    type: list
    elements: str
    default: []
  resolver:
    description: Address of the resolver.
    type: str
    default: 127.0.0.1
author: Gatewright
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""

EXAMPLES = r"""
- name: Look at the gateway
  gateway_state:
    domains: [example.org]
"""

RETURN = r"""
me: {description: The gateway's own name., type: str, returned: always}
addresses: {description: The host's own addresses., type: list, returned: always}
services: {description: Service to what supervise (or systemd) says of it., type: dict, returned: always}
cutoff: {description: What is cut off (inbound or outbound)., type: list, returned: always}
doctor: {description: What C(gatescan doctor) finds; none without a scanner., type: list, returned: always}
door: {description: What C(gatekeeper doctor) finds; null where gatekeeper is off., type: list, returned: always}
queue: {description: Messages in the queue., type: int, returned: always}
controller: {description: "Where this run comes from; is it denied, may it relay?", type: dict, returned: always}
records:
  description:
    - C(addresses), a public address to the names that lead back to it; C(texts), a name to C(error) and C(found).
    - C(domains), whose mail leaves here; C(dkim), a name to the record of the key that is here.
    - C(tlsa), the server's C(name), C(error), C(found), and what is C(wanted) of its certificate.
  type: dict
  returned: always
mx: {description: "Domain to C(error) and C(hosts) (host, preference, addresses).", type: dict, returned: always}
"""

import base64
import hashlib
import ipaddress
import json
import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PATH = "/command:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECONDS = 20
TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}
AT_ONCE = 16
"""Questions that the resolver is asked at once."""
RESPONSE_CODES = {1: "format error", 2: "server failure", 3: "no such domain", 5: "refused"}


class DnsError(Exception):
    """A question that got no answer; the message says why."""


def run(*command: str, stdin: str = "", **environment: str) -> str:
    """Return what a program prints, or nothing when it cannot be run."""
    try:
        done = subprocess.run(
            command, env={"PATH": PATH, **environment}, input=stdin, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # short arguments, many a line # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def read_name(message: bytes, position: int) -> tuple[str, int]:
    """Read a domain name; return it with the place behind it (RFC 1035, 4.1.4)."""
    labels, behind = [], 0
    for _hop in range(128):
        length = message[position]
        if length >= 192:
            behind = behind or position + 2
            position = struct.unpack_from("!H", message, position)[0] & 0x3FFF
        elif length:
            labels.append(message[position + 1 : position + 1 + length].decode("ascii", "replace"))
            position += 1 + length
        else:
            return ".".join(labels).lower(), behind or position + 1
    raise DnsError("an answer with a name that has no end")


def exchange(resolver: str, query: bytes) -> bytes:
    """Ask over TCP, which has room for any answer."""
    with socket.create_connection((resolver, 53), timeout=SECONDS) as link:
        link.sendall(struct.pack("!H", len(query)) + query)
        with link.makefile("rb") as stream:
            (size,) = struct.unpack("!H", stream.read(2))
            return stream.read(size)


def look_up(resolver: str, name: str, kind: str) -> tuple[list[int], bytes]:
    """Return the records of one type as (start of the data, message); raise DnsError."""
    try:
        labels = [label.encode("idna") for label in name.strip(".").split(".")]
    except UnicodeError:
        raise DnsError("no name that DNS could have") from None
    question = b"".join(bytes([len(label)]) + label for label in labels) + struct.pack("!BHH", 0, TYPES[kind], 1)
    try:
        message = exchange(resolver, os.urandom(2) + struct.pack("!5H", 0x100, 1, 0, 0, 0) + question)
        code, questions, answers = message[3] & 15, *struct.unpack_from("!HH", message, 4)
        if code:
            raise DnsError(RESPONSE_CODES.get(code, f"response code {code}"))
        position = 12
        for _question in range(questions):
            position = read_name(message, position)[1] + 4
        found = []
        for _answer in range(answers):
            position = read_name(message, position)[1]
            answered, _class, _ttl, size = struct.unpack_from("!HHIH", message, position)
            position += 10
            if answered == TYPES[kind]:
                found.append(position)
            position += size
    except (OSError, struct.error, IndexError) as error:
        raise DnsError(f"no answer ({error})") from error
    return found, message


def addresses_of(resolver: str, name: str) -> list[str]:
    """Every address of a host name."""
    found: list[str] = []
    for kind, family, size in (("A", socket.AF_INET, 4), ("AAAA", socket.AF_INET6, 16)):
        try:
            places, message = look_up(resolver, name, kind)
        except DnsError:
            continue
        found += [socket.inet_ntop(family, message[place : place + size]) for place in places]
    return found


def exchangers(resolver: str, domain: str) -> dict[str, Any]:
    """The mail exchangers of a domain, or what went wrong."""
    try:
        places, message = look_up(resolver, domain, "MX")
        found = []
        for place in places:
            host = read_name(message, place + 2)[0]
            preference = struct.unpack_from("!H", message, place)[0]
            found.append({"host": host, "preference": preference, "addresses": addresses_of(resolver, host)})
    except DnsError as error:
        return {"error": str(error), "hosts": []}
    return {"error": "", "hosts": sorted(found, key=lambda item: (item["preference"], item["host"]))}


def data_of(message: bytes, place: int) -> bytes:
    """A record's data; its length stands in front of it."""
    return message[place : place + struct.unpack_from("!H", message, place - 2)[0]]


def text_of(data: bytes) -> str:
    """The strings of a TXT record as one (RFC 1035, 3.3.14)."""
    found, at = b"", 0
    while at < len(data):
        found += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return found.decode("utf-8", "replace")


def hex_of(data: bytes) -> str:
    """A TLSA record as zone files write it."""
    return f"{data[0]} {data[1]} {data[2]} {data[3:].hex()}" if len(data) > 3 else ""


def records(resolver: str, name: str, kind: str) -> dict[str, Any]:
    """The TXT or TLSA records of a name; that there are none is no error."""
    try:
        places, message = look_up(resolver, name, kind)
        read = text_of if kind == "TXT" else hex_of
        return {"error": "", "found": sorted(read(data_of(message, place)) for place in places)}
    except DnsError as error:
        return {"error": "" if str(error) == RESPONSE_CODES[3] else str(error), "found": []}


def names_of(resolver: str, address: str) -> list[str]:
    """The names that DNS gives an address, and that lead back to it."""
    try:
        places, message = look_up(resolver, ipaddress.ip_address(address).reverse_pointer, "PTR")
    except DnsError:
        return []
    names = [read_name(message, place)[0] for place in places]
    return sorted(name for name in names if address in addresses_of(resolver, name))


def with_parents(domain: str) -> list[str]:
    """A domain and its parents, but for the top."""
    labels = domain.split(".")
    return [".".join(labels[at:]) for at in range(max(1, len(labels) - 1))]


def public(addresses: Iterable[str]) -> list[str]:
    """The addresses that other networks can reach."""
    return sorted({address for address in addresses if ipaddress.ip_address(address).is_global})


def tlsa_records(certificate: str) -> list[str]:
    """The TLSA records that senders accept for a certificate's file, 3 1 1 of its key first; none if it cannot be read.

    Those of the server's own certificate (usage 3), and of the authorities that the file has behind it (usage 2).
    """
    try:
        text = Path(certificate).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for depth, block in enumerate(re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.S)):
        key = run("openssl", "x509", "-noout", "-pubkey", stdin=block)
        for selector, part in ((1, der_of(key)), (0, der_of(block))):
            data = {1: hashlib.sha256(part).hexdigest(), 2: hashlib.sha512(part).hexdigest(), 0: part.hex()}
            found += [f"{2 if depth else 3} {selector} {kind} {value}" for kind, value in data.items() if part]
    return found


def der_of(pem: str) -> bytes:
    """What is between the first and the last line of a PEM block; nothing if that is no base64."""
    try:
        return base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))
    except ValueError:
        return b""


def mail_records(resolver: str, me: str, authors: list[str], addresses: list[str], certificate: str) -> dict[str, Any]:
    """What DNS says of mail that leaves by this gateway, and what of it is the gateway's to know."""
    said = run("gatepost", "dkim", "show", "--json")
    keys: dict[str, str] = json.loads(said) if said.startswith("{") else {}
    signed = {name.partition("._domainkey.")[2] for name in keys}
    domains = sorted({*authors, *signed})
    texts = {name for domain in domains for name in (domain, f"_mta-sts.{domain}")}
    texts |= {f"_dmarc.{name}" for domain in domains for name in with_parents(domain)} | keys.keys()
    fitting = tlsa_records(certificate)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        server = pool.submit(records, resolver, f"_25._tcp.{me}", "TLSA")
        pointers = {address: pool.submit(names_of, resolver, address) for address in public(addresses)}
        answers = {name: pool.submit(records, resolver, name, "TXT") for name in sorted(texts)}
    return {
        "domains": domains,
        "addresses": {address: answer.result() for address, answer in pointers.items()},
        "texts": {name: answer.result() for name, answer in answers.items()},
        "dkim": keys,
        "tlsa": {"name": f"_25._tcp.{me}", "fitting": fitting, **server.result()},
    }


def services(units: list[str]) -> dict[str, str]:
    """Every supervised service and what supervise says of it; units of systemd in the same words."""
    found: dict[str, str] = {}
    for path in sorted(Path("/service").glob("*")):
        line = run("svstat", str(path)).strip()
        found[path.name] = line.partition(": ")[2] or "is not supervised"
    for unit in units:
        said = run("systemctl", "is-active", unit).strip() or "unknown to systemd"
        found[unit.removesuffix(".service")] = f"up ({said})" if said == "active" else said
    return found


def controller() -> dict[str, Any]:
    """The address at the other end of this SSH connection, and what tcpserver would do with it."""
    address = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    said = run("tcprulescheck", "/etc/tcp.smtp.cdb", TCPREMOTEIP=address) if address else ""
    return {"address": address, "denied": "deny connection" in said, "may_relay": "variable RELAYCLIENT=" in said}


def doctor(program: str) -> list[dict[str, str]]:
    """What `gatescan doctor` or `gatekeeper doctor` finds."""
    lines = [line for line in run(program, "doctor", "--json").splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "domains": {"type": "list", "elements": "str", "default": []},
            "authors": {"type": "list", "elements": "str", "default": []},
            "own_addresses": {"type": "list", "elements": "str", "default": []},
            "certificate": {"type": "str", "default": ""},
            "units": {"type": "list", "elements": "str", "default": []},
            "resolver": {"type": "str", "default": "127.0.0.1"},
        },
        supports_check_mode=True,
    )
    me = Path("/var/qmail/control/me")
    if not me.exists():
        module.fail_json(msg=f"{me} is not there: this host is no gateway yet; run site.yml first")
    waiting = re.search(r"messages in queue: (\d+)", run("/var/qmail/bin/qmail-qstat"))
    name = me.read_text().strip().lower()
    addresses = run("hostname", "-I").split()
    given = module.params
    cut = re.findall(r"^(inbound|outbound): cut off", run("gatewright-cutoff", "status"), re.MULTILINE)
    module.exit_json(
        changed=False,
        me=name,
        addresses=addresses,
        services=services(given["units"]),
        cutoff=cut,
        doctor=doctor("gatescan"),
        # without SMTPPOLICY nobody asks it, though its package may be there
        door=doctor("gatekeeper") if Path("/service/gatekeeper").exists() else None,
        queue=int(waiting[1]) if waiting else -1,
        controller=controller(),
        mx={domain: exchangers(given["resolver"], domain) for domain in given["domains"]},
        records=mail_records(
            given["resolver"], name, given["authors"], addresses + given["own_addresses"], given["certificate"]
        ),
    )


if __name__ == "__main__":
    main()
