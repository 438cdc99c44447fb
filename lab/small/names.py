"""A name server for a small gateway: it knows what it is told, and that there is nothing else."""

from __future__ import annotations

import socketserver
import threading
from typing import Self, cast

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class Names(socketserver.ThreadingUDPServer):
    """Listens on a port of its own at one loopback address; use it in a `with`."""

    daemon_threads = True

    def __init__(self, address: str) -> None:
        """Bind to any free port."""
        super().__init__((address, 0), _Question)
        self.port: int = self.server_address[1]
        self._records: dict[tuple[str, str], list[str]] = {}
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def publish(self, name: str, kind: str, data: str) -> None:
        """Add a record, its data as in a zone file."""
        self._records.setdefault((name, kind), []).append(data)

    def publish_text(self, name: str, text: str) -> None:
        """Add a TXT record, whose strings have at most 255 bytes."""
        self.publish(name, "TXT", " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255)))

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """The answer to a question."""
        response = dns.message.make_response(query, recursion_available=True)
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        if data := self._records.get((name, kind)):
            response.answer.append(dns.rrset.from_text(asked.name, 300, "IN", kind, *data))
        elif not any(known == name or known.endswith(f".{name}") for known, _ in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


class _Question(socketserver.DatagramRequestHandler):
    """One question; what is none has no answer."""

    def handle(self) -> None:
        try:
            query = dns.message.from_wire(self.rfile.read())
        except dns.exception.DNSException:
            return
        self.wfile.write(cast(Names, self.server).answer(query).to_wire())
