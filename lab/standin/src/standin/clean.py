"""qmail-clean: removes queue files for qmail-send, by commands on descriptor 0; and leftovers of dead submissions."""

from __future__ import annotations

import os
import time

from standin import auto
from standin.queue import split_path

OSSIFIED = 129600
"""Seconds after which an unfinished submission is surely dead: a day for qmail-queue, and half a day more."""


def remove(path: str) -> bool:
    """Remove a file if it is there; False when that fails."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def obey(command: bytes) -> bytes:
    """Carry out `foop/N` (the message is done) or `todo/N` (it is preprocessed); returns + done, ! not, x nonsense."""
    verb, _, number = command.partition(b"/")
    if verb not in (b"foop", b"todo") or not number.isdigit():
        return b"x"
    name = int(number)
    second = split_path("mess", name) if verb == b"foop" else f"todo/{name}"
    return b"+" if remove(f"intd/{name}") and remove(second) else b"!"


def main() -> int:
    """Run qmail-clean until its input ends; returns its exit status."""
    os.chdir(f"{auto.HOME}/queue")
    for name in os.listdir("pid"):
        if os.stat(f"pid/{name}").st_atime < time.time() - OSSIFIED:
            remove(f"pid/{name}")
    unread = b""
    while piece := os.read(0, 4096):
        *commands, unread = (unread + piece).split(b"\0")
        for command in commands:
            os.write(1, obey(command))
    return 0
