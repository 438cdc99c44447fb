"""A mail server that takes everything and keeps nothing: python -m bench.delivery.sink PORT CERTIFICATE [TOGETHER].

TOGETHER: it answers no message before so many have come whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext, crowd: asyncio.Barrier
) -> None:
    """One session."""
    writer.write(b"220 sink.bench\r\n")
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                await crowd.wait()
                writer.write(b"250 ok\r\n")
            elif verb == b"STAR":
                writer.write(b"220 go\r\n")
                await writer.start_tls(tls)
            elif verb == b"EHLO":
                offer = b"" if writer.get_extra_info("sslcontext") else b"250-STARTTLS\r\n"
                writer.write(b"250-sink.bench\r\n250-PIPELINING\r\n" + offer + b"250 8BITMIME\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
            await writer.drain()
    writer.close()


async def main(port: int, certificate: str, together: int) -> None:
    """Serve until killed."""
    crowd = asyncio.Barrier(together)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer, tls, crowd)

    server = await asyncio.start_server(session, "127.0.0.1", port, limit=1 << 20, backlog=512)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else 1))
