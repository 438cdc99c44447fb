"""MTA-STS (RFC 8461): asks a policy daemon (postfix-mta-sts-resolver) by the socketmap protocol over a unix socket.

The daemon fetches policies by HTTPS and keeps them; gatepost itself never does. Its answers are Postfix's TLS policies:
`OK secure match=mx1.example.org:.example.org servername=hostname`, `NOTFOUND `, or an error.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

SECONDS = 20.0
"""Patience with the daemon, which may have to fetch a policy."""
LIMIT = 100_000
"""Bytes of an answer."""
ZONE = b"postfix"


class PolicyUnavailable(Exception):
    """The policy daemon does not answer, or cannot tell: mail waits.

    is_domains: whether that is the domain's affair, as the daemon itself answers.
    """

    def __init__(self, text: str, *, is_domains: bool = False) -> None:
        super().__init__(text)
        self.is_domains = is_domains


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force. patterns: names of servers; `.example.org` stands for one label in front of it."""

    patterns: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The patterns as the policy itself writes them."""
        return tuple(f"*{item}" if item.startswith(".") else item for item in self.patterns)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the policy, as far as they are known: the daemon tells no max_age."""
        return ("version: STSv1", "mode: enforce", *(f"mx: {host}" for host in self.hosts))

    def allows(self, name: str) -> bool:
        """Whether a server's name is one of the policy's."""
        name = name.lower().rstrip(".")
        parent = "." + name.partition(".")[2]
        return any(parent == item if item.startswith(".") else name == item for item in self.patterns)


async def policy_of(path: str, domain: str) -> Policy | None:
    """The policy that a domain's mail must obey, if it has one in force; raises PolicyUnavailable."""
    try:
        async with asyncio.timeout(SECONDS):
            answer = await _ask(path, domain)
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
        raise PolicyUnavailable(f"the MTA-STS policy daemon does not answer: {error}") from error
    word, _, rest = answer.partition(" ")
    if word == "NOTFOUND":
        return None
    level, *attributes = rest.split() or [""]
    match = [item.removeprefix("match=") for item in attributes if item.startswith("match=")]
    if word != "OK" or level not in ("secure", "verify") or not match:
        raise PolicyUnavailable(f"the MTA-STS policy daemon says {answer[:100]!r}", is_domains=True)
    return Policy(tuple(item.lower() for item in match[0].split(":") if item))


async def _ask(path: str, domain: str) -> str:
    """One netstring each way."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        question = ZONE + b" " + domain.lower().encode("ascii")
        writer.write(b"%d:%s," % (len(question), question))
        await writer.drain()
        length = int((await reader.readuntil(b":"))[:-1])
        if not 0 <= length <= LIMIT:
            raise ValueError(f"{length} bytes")
        return (await reader.readexactly(length + 1))[:-1].decode("utf-8", "replace")
    finally:
        writer.close()
