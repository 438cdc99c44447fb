"""A mail server that can be killed: it adds each message's number, and `tls` or `plain`, to a file before it says 250.

python killable_sink.py PORT FILE CERTIFICATE FLAG    with a certificate it offers TLS, unless there is a file FLAG
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import sys
import threading

NUMBER = re.compile(rb"^Subject: (\d+)\r?$", re.MULTILINE)


def serve(link: socket.socket, book: int, certificate: str, flag: str) -> None:
    """One session."""
    link.sendall(b"220 sink\r\n")
    offers = bool(certificate) and not os.path.exists(flag)
    if not _talk(link, book, b"250-sink\r\n250 STARTTLS\r\n" if offers else b"250 sink\r\n"):
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with context.wrap_socket(link, server_side=True) as encrypted:
        _talk(encrypted, book, b"250 sink\r\n")


def _talk(link: socket.socket, book: int, hello: bytes) -> bool:
    """Talk to the end; returns whether it ends because TLS is to begin."""
    answers = {b"EHLO": hello, b"STAR": b"220 go\r\n", b"QUIT": b"221 bye\r\n"}
    with link.makefile("rwb", buffering=0) as stream:
        while line := stream.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                stream.write(b"354 go\r\n")
                _take(stream, book, b"tls" if isinstance(link, ssl.SSLSocket) else b"plain")
            stream.write(answers.get(verb, b"250 ok\r\n"))
            if verb == b"STAR":
                return True
    return False


def _take(stream: socket.SocketIO, book: int, how: bytes) -> None:
    message = bytearray()
    while (line := stream.readline()) != b".\r\n":
        if not line:
            raise ConnectionError("it hung up within a message")
        message += line
    found = NUMBER.search(message)
    os.write(book, (found[1] if found else b"?") + b" " + how + b"\n")


def main() -> None:
    """Serve until killed."""
    book = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64) as listener:
        print("ready", flush=True)
        while True:
            link, _ = listener.accept()
            threading.Thread(target=_session, args=(link, book), daemon=True).start()


def _session(link: socket.socket, book: int) -> None:
    with link:
        try:
            serve(link, book, *sys.argv[3:])
        except OSError:
            return


if __name__ == "__main__":
    main()
