"""A mail server that takes everything and keeps it: the office's and the outside's, for a small gateway."""

from __future__ import annotations

import socketserver
import threading
from typing import cast


class Sink(socketserver.ThreadingTCPServer):
    """Listens on a port of its own at one loopback address; use it in a `with`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: str) -> None:
        """Bind to any free port."""
        super().__init__((address, 0), _Session)
        self.messages: list[bytes] = []
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Sink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Session(socketserver.StreamRequestHandler):
    """One SMTP session (RFC 5321), without extensions."""

    def handle(self) -> None:
        self._say("220 sink ESMTP")
        while line := self.rfile.readline(2000):
            verb = line[:4].upper()
            if verb == b"QUIT":
                self._say("221 bye")
                return
            if verb == b"DATA":
                self._say("354 go on")
                cast(Sink, self.server).messages.append(self._message())
            self._say("250 ok")

    def _message(self) -> bytes:
        """The message up to its dot, as it would be stored: without the dots put before others."""
        lines: list[bytes] = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        return b"".join(lines).replace(b"\r\n", b"\n")

    def _say(self, reply: str) -> None:
        self.wfile.write(reply.encode() + b"\r\n")
