"""A mail server that can be killed: it adds each message's number to a file, synced, before it says 250.

python killable_sink.py PORT FILE
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading

NUMBER = re.compile(rb"^Subject: (\d+)\r?$", re.MULTILINE)


def serve(link: socket.socket, book: int) -> None:
    """One session."""
    with link, link.makefile("rwb", buffering=0) as stream:
        stream.write(b"220 sink\r\n")
        while line := stream.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                stream.write(b"354 go\r\n")
                _take(stream, book)
            stream.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")


def _take(stream: socket.SocketIO, book: int) -> None:
    message = bytearray()
    while (line := stream.readline()) != b".\r\n":
        if not line:
            raise ConnectionError("it hung up within a message")
        message += line
    found = NUMBER.search(message)
    os.write(book, (found[1] if found else b"?") + b"\n")


def main() -> None:
    """Serve until killed."""
    book = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64) as listener:
        print("ready", flush=True)
        while True:
            link, _ = listener.accept()
            threading.Thread(target=_session, args=(link, book), daemon=True).start()


def _session(link: socket.socket, book: int) -> None:
    try:
        serve(link, book)
    except OSError:
        return


if __name__ == "__main__":
    main()
