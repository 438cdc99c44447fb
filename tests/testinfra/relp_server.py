"""Run on a host of the lab: takes RELP over TLS, and writes what it hears to standard output, a line each.

usage: relp_server.py PORT CERTIFICATE
"""

from __future__ import annotations

import socketserver
import ssl
import sys
from io import BufferedIOBase


def word(stream: BufferedIOBase) -> bytes:
    """Bytes up to a blank or the end of a line."""
    found = b""
    while (letter := stream.read(1)) not in (b"", b" ", b"\n"):
        found += letter
    return found


class Session(socketserver.StreamRequestHandler):
    """A client."""

    def handle(self) -> None:
        """Acknowledge each line once it is written."""
        while number := word(self.rfile):
            command, length = word(self.rfile), int(word(self.rfile))
            data = self.rfile.read(length + 1)[:length] if length else b""
            if command == b"syslog":
                print(data.decode(), flush=True)
            said = b"200 OK" if command == b"syslog" else b"200 OK\nrelp_version=0\ncommands=syslog"
            self.wfile.write(b"%s rsp %d %s\n" % (number, len(said), said))
            self.wfile.flush()


class Server(socketserver.ThreadingTCPServer):
    """All clients."""

    allow_reuse_address = True
    daemon_threads = True

    def get_request(self) -> tuple[ssl.SSLSocket, tuple[str, int]]:
        """A connection, by TLS."""
        plain, address = super().get_request()
        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address


if __name__ == "__main__":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    Server(("0.0.0.0", int(sys.argv[1])), Session).serve_forever()
