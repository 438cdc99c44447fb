"""A mail server with manners to be chosen."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path

PATIENCE = 30.0
"""Seconds after which a program that does not end fails a test."""


class Server:
    """A mail server, on 127.0.0.1 if nothing else is said.

    replies: what it says in place of its usual reply, by a command's verb; `.` ends a message, `tls VERB` came by TLS.
    drops, stalls: where it ends the connection, or says no more. paces: seconds that it takes for a reply.
    behind: what it says behind its reply to STARTTLS.
    heard: every line, and whether it came by TLS. asked_for: the names of servers that handshakes asked for.
    """

    def __init__(self, certificate: Path | None, address: str = "127.0.0.1", port: int = 0) -> None:
        self.certificate = certificate
        self.greeting = b"220 mx.test here\r\n"
        self.replies: dict[str, bytes] = {}
        self.drops: set[str] = set()
        self.stalls: set[str] = set()
        self.paces: dict[str, float] = {}
        self.behind = b""
        self.newest = ssl.TLSVersion.TLSv1_3
        self.ciphers = ""
        self.heard: list[tuple[bool, bytes]] = []
        self.messages: list[bytes] = []
        self.asked_for: list[str | None] = []
        self.connections = self.ended = 0
        self.closing = threading.Event()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, port), family=family)
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections; end those that stall."""
        self.closing.set()
        with contextlib.suppress(OSError), self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for a connection

    def all_heard(self) -> list[tuple[bool, bytes]]:
        """Every line, once the last connection has ended; nothing stalls from here on."""
        self.closing.set()
        deadline = time.monotonic() + PATIENCE
        while self.ended < self.connections:
            assert time.monotonic() < deadline, "the program has ended, its connection has not"
            time.sleep(0.01)
        return self.heard

    def lines(self, encrypted: bool) -> list[bytes]:
        """What came by TLS, or in plain text."""
        return [line for by_tls, line in self.all_heard() if by_tls is encrypted]

    def serve(self) -> None:
        """Each connection in a thread of its own."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve_one, args=(connection,), daemon=True).start()

    def serve_one(self, connection: socket.socket) -> None:
        """One connection."""
        with connection, contextlib.suppress(OSError):
            self.talk(connection)
        self.ended += 1

    def react(self, wire: socket.socket, what: str, usual: bytes) -> bool:
        """Reply as it was told; False ends the talk."""
        words = [f"tls {what}", what] if isinstance(wire, ssl.SSLSocket) else [what]
        if any(word in self.stalls for word in words):
            self.closing.wait(PATIENCE)
        if any(word in self.drops | self.stalls for word in words):
            return False
        self.closing.wait(max(self.paces.get(word, 0.0) for word in words))
        wire.sendall(next((self.replies[word] for word in words if word in self.replies), usual))
        return True

    def talk(self, wire: socket.socket) -> None:
        """One session."""
        if not self.react(wire, "greeting", self.greeting):
            return
        stream = wire.makefile("rb")
        while line := stream.readline():
            encrypted = isinstance(wire, ssl.SSLSocket)
            self.heard.append((encrypted, line))
            verb = line.split(b" ")[0].split(b":")[0].strip().upper().decode("latin-1")
            usual = b"250 fine\r\n"
            if verb == "EHLO":
                offer = b"250-STARTTLS\r\n" if self.certificate and not encrypted else b""
                usual = b"250-mx.test\r\n250-PIPELINING\r\n" + offer + b"250 8BITMIME\r\n"
            elif verb == "STARTTLS":
                usual = b"220 go ahead\r\n" + self.behind
            elif verb == "DATA":
                usual = b"354 go on\r\n"
            if not self.react(wire, verb, usual) or verb == "QUIT":
                return
            if verb == "STARTTLS" and self.replies.get(verb, b"220").startswith(b"220"):
                wire = self.encrypt(wire)
                stream = wire.makefile("rb")
            elif verb == "DATA" and self.replies.get(verb, b"354").startswith(b"354"):
                message = b""
                while not message.endswith(b"\r\n.\r\n") and message != b".\r\n":
                    line = stream.readline()
                    if not line:
                        return
                    message += line
                    if "message" in self.stalls:
                        self.closing.wait(PATIENCE)
                    if "message" in self.drops | self.stalls:
                        return
                self.messages.append(message.removesuffix(b".\r\n"))
                if not self.react(wire, ".", b"250 taken\r\n"):
                    return

    def encrypt(self, wire: socket.socket) -> socket.socket:
        """Shake hands."""
        if "handshake" in self.stalls:
            self.closing.wait(PATIENCE)
        if "handshake" in self.replies:
            wire.sendall(wire.recv(1)[:0] + self.replies["handshake"])
        if "handshake" in self.stalls | self.drops | self.replies.keys() or self.certificate is None:
            raise OSError("as it was told")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, self.newest
        context.set_ciphers(self.ciphers or "ALL:@SECLEVEL=0")
        context.load_cert_chain(self.certificate)
        context.sni_callback = lambda _wire, name, _context: self.asked_for.append(name)
        return context.wrap_socket(wire, server_side=True, suppress_ragged_eofs=True)
