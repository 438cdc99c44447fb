"""Waiting for something that no event tells of."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Look again and again until a condition is true; TimeoutError after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}")
        with_children_reaped()
        time.sleep(0.02)


def with_children_reaped() -> None:
    """Collect what has ended, so that it does not stay in its group."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def listens(port: int) -> bool:
    """Does anybody accept connections on this port of the loopback address?"""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
