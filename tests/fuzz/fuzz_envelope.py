"""Fuzz the envelope and the request: whatever comes, it is read, or refused with a code; nothing else escapes.

    python3 -m tests.fuzz.fuzz_envelope [--runs N] [--seed K]

With atheris installed it is guided by coverage; without, it mutates sound input at random. It stops by itself.
"""

from __future__ import annotations

import argparse
import array
import fcntl
import importlib.util
import os
import random
import socket
import sys

from gatescan.service import protocol
from gatescan.service.envelope import EnvelopeError, parse

SOUND = (
    b"Fa@example.org\0Tb@example.net\0\0",
    b"F\0T\0\0",
    b"F" + b"x" * 1002 + b"\0T" + b"y" * 1002 + b"\0\0",
    b"\1TCPREMOTEIP=192.0.2.1\0RELAYCLIENT=\0",
    b"\1PROTO=TCP\0TCPREMOTEHOST=" + b"h" * 512 + b"\0",
)


def one_input(data: bytes) -> None:
    """An envelope and a request made of the same bytes."""
    try:
        assert bytes(parse(data)) == data
    except EnvelopeError as error:
        assert error.code in (11, 91)
    _request(data)


def _request(data: bytes) -> None:
    """The bytes as a packet; its first byte says how many files come with it, the second if they are sealed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    count = 2 if data[:1] == b"\1" else sum(data[:1]) % 4
    files = [_file(data, sealed=data[1:2] != b"\xff") for _ in range(count)]
    open_before = len(os.listdir("/proc/self/fd"))
    with ours, theirs:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        theirs.sendmsg([data[: protocol.PACKET_LIMIT + 1] or b"\0"], rights)
        try:
            with protocol.receive(ours) as request:
                assert len(request.read_message()) == max(0, len(data))
                assert request.read_envelope().endswith(data)
        except protocol.ProtocolError:
            pass
        except protocol.Ping:
            assert (data or protocol.PING) == protocol.PING and not files
        assert len(os.listdir("/proc/self/fd")) == open_before, "a descriptor was left open"
    for fd in files:
        os.close(fd)


def _file(data: bytes, sealed: bool) -> int:
    fd = os.memfd_create("fuzz", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.pwrite(fd, data, protocol.HEADER_ROOM)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    return fd


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Sound input with a few bytes changed, cut out, doubled or put in."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(out))
        end = min(len(out), at + rng.randint(0, 4))
        out[at:end] = rng.choice((b"", b"\0", b"F", b"T", b"\xff", b"=", out[at:end] * 2, rng.randbytes(3)))
    return bytes(out)


def main() -> int:
    """Fuzz, guided or not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20021122)
    chosen = parser.parse_args()
    if importlib.util.find_spec("atheris"):
        import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it may not be here

        atheris.instrument_func(parse)
        atheris.Setup([sys.argv[0], f"-runs={chosen.runs}", f"-seed={chosen.seed}"], one_input)
        atheris.Fuzz()
        return 0
    rng = random.Random(chosen.seed)
    for _ in range(chosen.runs):
        one_input(mutated(rng, rng.choice(SOUND)))
    print(f"{chosen.runs} mutations of sound input (atheris is not installed: not guided by coverage)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
