"""Connecting: addresses get a head start one after another, and the first that answers is taken (as in RFC 8305)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable

from gatepost.model import Address
from gatepost.wire import Wire

Failure = Callable[[Address, bool], None]
"""Told of an address that did not answer, and whether it timed out."""


async def dial(
    addresses: Iterable[Address],
    port: int,
    *,
    connect_seconds: float,
    head_start: float,
    seconds: float,
    on_failure: Failure,
) -> Wire | None:
    """A connection to the first address that answers, or None. seconds: the connection's patience later on."""
    waiting = list(addresses)
    tries: dict[asyncio.Task[Wire], Address] = {}
    winner: Wire | None = None
    try:
        while winner is None and (waiting or tries):
            if waiting:
                address = waiting.pop(0)
                tries[asyncio.create_task(_connect(address, port, connect_seconds, seconds))] = address
            done, _ = await asyncio.wait(
                tries, timeout=head_start if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None and winner is None:
                    winner = task.result()
                    del tries[task]
                elif error is not None:
                    on_failure(tries.pop(task), _is_timeout(error))
    finally:
        for task in tries:
            task.add_done_callback(_hang_up)
            task.cancel()
    return winner


async def _connect(address: Address, port: int, connect_seconds: float, seconds: float) -> Wire:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(connect_seconds):
        _, wire = await loop.create_connection(lambda: Wire(seconds), address.text, port)
    wire.address, wire.port = address, port
    return wire


def _hang_up(task: asyncio.Task[Wire]) -> None:
    """A connection that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().hang_up()


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or (isinstance(error, OSError) and error.errno == errno.ETIMEDOUT)
