"""The real daemon with a judge that does what the message's first line says; for the tests of the daemon.

pass            PASS, with a header that tells what the worker knew    hold           HELD
code N TEXT     that exit code and text                                raise          an exception
wait FIFO       pass, once somebody writes to the fifo                 kill N         a signal to itself
stuck           never comes back                                       grow N         allocates N bytes
heap N          takes its time, and leaves a heap of N bytes full of holes
try ACT|WORD... pass, after one of hostile.ACTS; the header tells its errno
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import hostile
from gatescan.config import Config
from gatescan.context import Context
from gatescan.model import Buffer
from gatescan.service import daemon
from gatescan.service.slots import SLOW
from gatescan.service.worker import Handler, Ids

_kept: list[list[bytearray]] = []


@dataclass(frozen=True)
class Told:
    code: int = 0
    text: str = ""
    headers_to_add: bytes = b""
    replaced: int = 0


def handler_of(config: Config) -> Handler:
    def handle(message: Buffer, context: Context, ids: Ids) -> Told:
        line = re.match(rb"[^\n]*", message)
        word, _, rest = (line.group().decode() if line else "").partition(" ")
        if word == "hold":
            return Told()
        if word == "code":
            code, _, text = rest.partition(" ")
            return Told(int(code), text)
        if word == "raise":
            raise RuntimeError(rest)
        if word == "wait":
            Path(rest + ".begun").touch()
            Path(rest).read_bytes()
        if word == "kill":
            os.kill(os.getpid(), int(rest))
        if word == "stuck":
            ctypes.CDLL(None).pause()
        if word == "grow":
            bytearray(int(rest))
        if word == "heap":
            blocks = [bytearray(1000) for _ in range(int(rest) // 1000)]
            _kept.append(blocks[:: len(blocks) // 50])
            blocks.clear()
            time.sleep(2 * SLOW)
        seen = saw(message, context, ids, config)
        if word == "try":
            seen["errno"] = hostile.tried(*rest.split("|"))
        return Told(headers_to_add=b"X-Saw: %s\n" % json.dumps(seen).encode())

    return handle


def saw(message: Buffer, context: Context, ids: Ids, config: Config) -> dict[str, object]:
    """What the worker knew of the message."""
    return {
        "size": len(message),
        "pid": ids.pid,
        "uid": ids.uid,
        "worker": os.getpid(),
        "sender": context.sender,
        "recipients": len(context.recipients),
        "env": dict(context.env),
        "hostname": config.hostname,
        "descriptors": sorted(os.listdir("/proc/self/fd")),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--allow-root", action="store_true")
    chosen = parser.parse_args()
    raise SystemExit(daemon.run(chosen.config, check=chosen.check, allow_root=chosen.allow_root, handler_of=handler_of))
