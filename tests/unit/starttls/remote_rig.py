"""The qmail-remote in front, a mail server with manners to be chosen, and a name server for both."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

PATIENCE = 30.0
"""Seconds after which a program that does not end fails a test."""

REAL = """\
#!/bin/sh
# In the place of qmail's own program: notes what it was given, and that the message can be read from its beginning.
printf '%s\\n' "$@" > {home}/real
cat >> {home}/real
printf 'r\\0Kthe real one\\n\\0'
"""


class NameServer:
    """Answers questions for addresses on a port of 127.0.0.1 as long as the process lives."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = int(self.socket.getsockname()[1])
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            question, client = self.socket.recvfrom(512)
            self.socket.sendto(self.answer(question), client)

    def answer(self, question: bytes) -> bytes:
        """The answer to a question for one of the names below; one with `soft` in it fails for now."""
        end = question.index(b"\0", 12) + 5
        name = question[12 : end - 4]

        def record(kind: int, data: bytes) -> bytes:
            return b"\xc0\x0c" + kind.to_bytes(2) + b"\0\x01\0\0\0\0" + len(data).to_bytes(2) + data

        here, elsewhere = record(1, b"\x7f\0\0\x01"), record(1, b"\x7f\0\0\x09")
        found = {
            b"\x02mx\x04test\0": [here],
            b"\x02mx\x04corp\x04test\0": [here],
            b"\x03two\x04test\0": [elsewhere, here],
            b"\x05alias\x04test\0": [record(5, b"\x04none\x04test\0")],
            b"\x05short\x04test\0": [record(1, b"\x7f\0")],
        }.get(name)
        code = 2 if b"soft" in name else 3 if found is None else 0
        head = question[:2] + bytes((0x81, 0x80 | code)) + b"\0\x01" + len(found or []).to_bytes(2) + b"\0\0\0\0"
        return head + question[12:end] + b"".join(found or [])


class Server:
    """A mail server, on 127.0.0.1 if nothing else is said.

    replies: what it says in place of its usual reply, by a command's verb; `.` ends a message, `tls VERB` came by TLS.
    drops, stalls: where it ends the connection, or says no more. behind: what it says behind its reply to STARTTLS.
    heard: every line, and whether it came by TLS.
    """

    def __init__(self, certificate: Path | None, address: str = "127.0.0.1", port: int = 0) -> None:
        self.certificate = certificate
        self.greeting = b"220 mx.test here\r\n"
        self.replies: dict[str, bytes] = {}
        self.drops: set[str] = set()
        self.stalls: set[str] = set()
        self.behind = b""
        self.newest = ssl.TLSVersion.TLSv1_3
        self.ciphers = ""
        self.heard: list[tuple[bool, bytes]] = []
        self.messages: list[bytes] = []
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
                    if "message" in self.drops:
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
        return context.wrap_socket(wire, server_side=True, suppress_ragged_eofs=True)


class Remote:
    """The program in front, and the home in which it works."""

    def __init__(self, home: Path, program: Path) -> None:
        self.home = home
        self.program = program

    def furnish(self) -> None:
        """Make the home anew: control files, qmail's own program, the table of hosts that do not answer."""
        shutil.rmtree(self.home, ignore_errors=True)
        for name in ("bin", "control", "queue/lock"):
            (self.home / name).mkdir(parents=True)
        (self.home / "bin/qmail-remote").write_text(REAL.format(home=self.home))
        (self.home / "bin/qmail-remote").chmod(0o755)
        (self.home / "queue/lock/tcpto").write_bytes(bytes(1024))
        self.control(me="gw.test\n", timeoutremote="10\n", timeoutconnect="5\n")

    def control(self, **files: str) -> None:
        """Write control files."""
        for name, text in files.items():
            (self.home / "control" / name).write_text(text)

    def route(self, server: Server, policy: str, host: str = "[127.0.0.1]") -> None:
        """Lead corp.test to a server."""
        self.control(smtproutes=f"corp.test:{host}:{server.port}\n", tlsroutes=f"corp.test:{policy}\n")

    def run(
        self,
        *recipients: str,
        message: bytes = b"Subject: x\n\nhello\n",
        sender: str = "ann@gw.test",
        domain: str = "corp.test",
    ) -> bytes:
        """Deliver a message; returns the report."""
        letter = self.home / "message"
        letter.write_bytes(message)
        (self.home / "real").unlink(missing_ok=True)
        with letter.open("rb") as file:
            done = subprocess.run(
                [self.program, domain, sender, *(recipients or ("bob@corp.test",))],
                stdin=file, capture_output=True, timeout=PATIENCE, check=False,
            )  # fmt: skip
        assert done.stderr == b"", done.stderr.decode()
        assert done.returncode == 0
        return done.stdout

    def was_handed_over(self) -> bool:
        """Whether qmail's own program did the work, with all that it needs."""
        real = self.home / "real"
        return real.exists() and real.read_bytes().endswith((self.home / "message").read_bytes())

    def table(self) -> dict[str, tuple[int, int]]:
        """Hosts that did not answer: address -> (timeouts, seconds since the last)."""
        data = (self.home / "queue/lock/tcpto").read_bytes()
        places = [data[at : at + 16] for at in range(0, len(data), 16)]
        now = int(time.time())
        return {
            socket.inet_ntoa(place[:4]): (place[4], now - int.from_bytes(place[8:12], "little"))
            for place in places
            if any(place)
        }

    def write_table(self, *places: tuple[str, int, int]) -> None:
        """Fill the table's first places with address, timeouts, and seconds since the last."""
        now = int(time.time())
        data = b"".join(
            socket.inet_aton(address) + bytes((count, 0, 0, 0)) + (now - age).to_bytes(4, "little") + bytes(4)
            for address, count, age in places
        )
        (self.home / "queue/lock/tcpto").write_bytes(data.ljust(1024, b"\0"))
