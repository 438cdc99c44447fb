"""starttls-smtpd, compiled here, between a socket and a server that writes down what it hears."""

from __future__ import annotations

import json
import shlex
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[3] / "roles/starttls/files"
PATIENCE = 20.0
"""Seconds after which a silent peer fails a test."""

SERVER = """\
#!/usr/bin/env python3
# A server of SMTP's manners that notes its environment, each line it hears, and that it ended.
import json, os, sys
log = open({log!r}, "ab", 0)
def say(text):
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
known = {{name: os.environ[name] for name in ("SSL_PROTOCOL", "SSL_CIPHER") if name in os.environ}}
log.write(json.dumps({{"started": known}}).encode() + b"\\n")
say(os.environ.get("GREETING", "220 here").encode() + b"\\r\\n")
data = False
for line in sys.stdin.buffer:
    log.write(json.dumps({{"heard": line.decode("latin-1")}}).encode() + b"\\n")
    word = line[:4].upper()
    if data:
        data = line != b".\\r\\n"
        if not data:
            say(b"250 taken\\r\\n")
    elif word == b"DATA":
        data = True
        say(b"354 go\\r\\n")
    elif word == b"EHLO":
        say(b"250-here\\r\\n250-PIPELINING\\r\\n250 8BITMIME\\r\\n")
    elif word == b"QUIT":
        say(b"221 bye\\r\\n")
        break
    elif word == b"STAR":
        say(b"502 unimplemented\\r\\n")
    else:
        say(b"250 ok\\r\\n")
sys.exit(7)
"""


@dataclass
class Session:
    """A client's connection to starttls-smtpd. log: what the servers behind it noted; offers: STARTTLS is offered."""

    wire: socket.socket
    process: subprocess.Popen[bytes]
    log: Path
    offers: bool

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.wire.sendall(data)

    def hear(self, end: bytes) -> bytes:
        """What comes until these bytes close it, or the connection ends."""
        heard = b""
        while not heard.endswith(end):
            block = self.wire.recv(65536)
            if not block:
                break
            heard += block
        return heard

    def ask(self, command: bytes, end: bytes = b"\r\n") -> bytes:
        """Give a command and hear the reply to its end."""
        self.send(command)
        return self.hear(end)

    def greeted(self) -> Session:
        """Wait for the greeting and introduce the client."""
        assert self.hear(b"\r\n").startswith(b"220")
        self.ask(b"EHLO client\r\n", b"250 STARTTLS\r\n" if self.offers else b"250 8BITMIME\r\n")
        return self

    def encrypt(self, context: ssl.SSLContext | None = None) -> None:
        """Shake hands."""
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.wire = context.wrap_socket(self.wire)

    def noted(self) -> list[dict[str, Any]]:
        """All that the servers noted."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def heard(self) -> list[str]:
        """Every line that a server heard."""
        return [item["heard"] for item in self.noted() if "heard" in item]


def compile_program(compiler: str, built: Path, *flags: str) -> None:
    """Make one of the role's programs, of the name of `built`, by the role's Makefile, as strictly as it can be."""
    settings = {
        "CC": compiler,
        "OUT": str(built.parent),
        "CFLAGS": "-O1 -fsanitize=address,undefined -fno-sanitize-recover=all",
        "WARNINGS": "-Wall -Wextra -Werror",
        "HARDENING": "",
        "DEFINES": shlex.join(flags),
    }
    words = [f"{name}={value}" for name, value in settings.items()]
    subprocess.run(["make", "-s", "-C", str(SOURCES), *words, str(built)], check=True)


def make_certificate(path: Path, *options: str) -> Path:
    """A key and a certificate for it in one file."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made = subprocess.run(
        ["openssl", "req", "-x509", *key, "-subj", "/CN=gateway.test", "-keyout", "-", *options],
        capture_output=True,
        check=True,
    )
    path.write_bytes(made.stdout)
    return path


Start = Callable[..., Session]
"""Starts a session; see the fixture of this name."""
