"""Signatures for a message that leaves: asks the signer, and makes the fields that go in front of it."""

from __future__ import annotations

import asyncio
import os
import socket

from gatepost import dkim, message

SECONDS = 10.0
"""Patience with the signer."""
HEAD = 4096
"""Bytes in which the lines of qmail-queue and the scanner stand."""
ANSWER = 4096
_asking = asyncio.Semaphore(32)
"""Questions at once: half of what the signer takes, as a worker that is being replaced asks, too. Others wait."""


class NotSigned(Exception):
    """The signer does not answer: mail that is to be signed waits."""


async def fields_for(fd: int, path: str) -> tuple[bytes, tuple[str, ...]]:
    """The signature fields of a message of ours (each ended by CRLF), and their selectors; nothing for others' mail.

    path: the signer's socket. Raises NotSigned, OSError.
    """
    if not dkim.is_ours(os.pread(fd, HEAD, 0)):
        return b"", ()
    signable = await asyncio.to_thread(lambda: dkim.prepare(message.normal_blocks(fd)))
    domain = dkim.author_domain(signable.fields) if signable else ""
    if signable is None or not domain:
        return b"", ()
    now = dkim.now()
    made = b""
    keys = await _keys(path, domain)
    for key in keys:
        field, digest = dkim.unsigned(signable, key, now)
        signature = await _ask(path, b"S%s %s " % (key.domain.encode(), key.selector.encode()) + digest)
        if not signature:
            raise NotSigned(f"the signer has no key {key.selector} of {key.domain}")
        made += dkim.fold(field, signature)
    return made, tuple(f"{key.selector}._domainkey.{key.domain}" for key in keys)


async def _keys(path: str, domain: str) -> list[dkim.Key]:
    try:
        name = domain.encode("ascii")
    except UnicodeError:
        return []
    answer = await _ask(path, b"K" + name)
    if not answer:
        raise NotSigned("the signer ended without an answer")
    lines = answer.decode().split("\n")
    return [dkim.Key(*line.split(" ")) for line in lines if line]


async def _ask(path: str, question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SECONDS), _asking:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.setblocking(False)
                await loop.sock_connect(client, path)
                await loop.sock_sendall(client, question)
                return await loop.sock_recv(client, ANSWER)
    except (OSError, TimeoutError) as error:
        raise NotSigned(f"the signer does not answer: {error}") from error
