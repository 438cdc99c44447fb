"""A name server that leads each domain to one mail server: python -m bench.delivery.names PORT."""

from __future__ import annotations

import asyncio
import sys

import dns.message
import dns.rdatatype
import dns.rrset

SERVER = "sink.bench."
SECONDS = 300
"""How long an answer may be kept."""


class Names(asyncio.DatagramProtocol):
    """Answers MX and A."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, client: tuple[str | object, int]) -> None:
        """One question."""
        self.transport.sendto(answer(data), client)


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


async def main(port: int) -> None:
    """Serve until killed."""
    await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=("127.0.0.1", port))
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
