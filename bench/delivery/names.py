"""A name server that leads each domain to one mail server: python -m bench.delivery.names PORT."""

from __future__ import annotations

import socket
import sys

import dns.message
import dns.rdatatype
import dns.rrset

SERVER = "sink.bench."
SECONDS = 300
"""How long an answer may be kept."""


def answer(question: bytes) -> bytes:
    """The answer to a question."""
    query = dns.message.from_wire(question)
    asked = query.question[0]
    response = dns.message.make_response(query, recursion_available=True)
    records = {dns.rdatatype.MX: ("MX", f"10 {SERVER}"), dns.rdatatype.A: ("A", "127.0.0.1")}
    if asked.rdtype in records:
        kind, record = records[asked.rdtype]
        response.answer.append(dns.rrset.from_text(asked.name, SECONDS, "IN", kind, record))
    return response.to_wire()


def main(port: int) -> None:
    """Serve until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(("127.0.0.1", port))
        print("ready", flush=True)
        while True:
            question, client = link.recvfrom(4096)
            link.sendto(answer(question), client)


if __name__ == "__main__":
    main(int(sys.argv[1]))
