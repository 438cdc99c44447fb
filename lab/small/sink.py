"""A mail server that takes everything and keeps it: the office's and the outside's, for a small gateway."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading
from pathlib import Path
from typing import Self, cast


class Sink(socketserver.ThreadingTCPServer):
    """Listens on a port of its own at one loopback address; use it in a `with`."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: str) -> None:
        """Bind to any free port."""
        super().__init__((address, 0), _Session)
        self.messages: list[bytes] = []
        self.tls: ssl.SSLContext | None = None
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def offer_tls(self, certificate: Path, key: Path) -> None:
        """Offer STARTTLS from now on."""
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)


class _Session(socketserver.StreamRequestHandler):
    """One SMTP session (RFC 5321), with STARTTLS (RFC 3207) where the sink has a certificate."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client was killed
            self._converse(cast(Sink, self.server))

    def _converse(self, sink: Sink) -> None:
        self._say("220 sink ESMTP")
        while line := self.rfile.readline(2000):
            verb = line[:4].upper()
            if verb == b"QUIT":
                self._say("221 bye")
                return
            if verb == b"STAR" and sink.tls:
                self._say("220 go on")
                self._encrypt(sink.tls)
                continue
            if verb == b"EHLO" and sink.tls:
                self._say("250-sink\r\n250-STARTTLS")
            if verb == b"DATA":
                self._say("354 go on")
                message = self._message()
                if message is None:
                    return
                sink.messages.append(message)
            self._say("250 ok")

    def _encrypt(self, tls: ssl.SSLContext) -> None:
        """Shake hands; the rest of the session is in there."""
        self.request = tls.wrap_socket(self.request, server_side=True)
        self.setup()

    def _message(self) -> bytes | None:
        """The message up to its dot, as it would be stored: without the dots put before others; None without a dot."""
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return None
            lines.append(line[1:] if line.startswith(b"..") else line)
        return b"".join(lines).replace(b"\r\n", b"\n")

    def _say(self, reply: str) -> None:
        self.wfile.write(reply.encode() + b"\r\n")
